"""`reprogrok list`: what there is to train, to judge by and to sit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reprogrok.cli.options import CRITERIA, PARAMS

if TYPE_CHECKING:
    from rich.console import Console


def list_everything(
    params: PARAMS = Path("params.yaml"),
    criteria: CRITERIA = Path("audit/criteria"),
    sources: Annotated[bool, typer.Option("--sources", help="Also print where each experiment comes from.")] = False,
) -> None:
    """Show the experiments of params.yaml, the gates of audit/criteria, the exams, and what packages offer."""
    from rich.box import SIMPLE
    from rich.table import Table

    from reprogrok.console import console
    from reprogrok.gates.criteria import find_gate, gate_names, load_gate
    from reprogrok.model.shapes import count_parameters
    from reprogrok.params import read_params
    from reprogrok.schema import load
    from reprogrok.spec import ModularTask
    from reprogrok.tasks.operations import find_operation
    from reprogrok.tasks.protocols import EXAM_SEEDS, MODULAR_PROTOCOL, PER_STRATUM, PROTOCOL, STRESS_SUITE, TEST
    from reprogrok.text import seeds_text

    read = read_params(params)
    experiments = Table(box=SIMPLE, title="experiments (reprogrok train NAME)", title_justify="left")
    for name in ("name", "parameters", "steps", "seeds", "what"):
        experiments.add_column(name, justify="right" if name in ("parameters", "steps") else "left")
    for experiment in read.experiments.values():
        if isinstance(experiment.task, ModularTask):
            with read.placed(experiment.name):
                find_operation(experiment.task.operation).values(experiment.task.modulus)
        mark = " (default pipeline)" if experiment.name in read.pipeline else ""
        size = f"{count_parameters(experiment.model):,}"
        what = experiment.title + mark + (f"\n{experiment.source}" if sources else "")
        experiments.add_row(experiment.name, size, f"{experiment.steps:,}", seeds_text(experiment.seeds), what)
    gates = Table(box=SIMPLE, title="gates (reprogrok sanity NAME)", title_justify="left")
    for name in ("name", "criteria", "what a GO allows"):
        gates.add_column(name)
    if criteria.is_dir():
        listed = [load_gate(find_gate(name, criteria)) for name in gate_names(criteria)]
    else:
        file = find_gate(criteria.stem, criteria)
        listed = [load_gate(file, load(file, "criteria").data["gate"])]  # whatever the file is called
    for gate in listed:
        gates.add_row(gate.name, str(len(gate.criteria)), gate.title)
    exams = Table(box=SIMPLE, title="exams (reprogrok eval CKPT)", title_justify="left")
    for name in ("exam", "suite", "problems"):
        exams.add_column(name)
    uniform = f"{len(EXAM_SEEDS) * TEST:,}: {len(EXAM_SEEDS)} published test sets of {TEST:,}"
    exams.add_row(PROTOCOL, "uniform", uniform)
    exams.add_row(
        STRESS_SUITE, "stress", f"{PER_STRATUM:,} a stratum: carry chains, lengths, sums of 10^10, edge pairs"
    )
    exams.add_row(MODULAR_PROTOCOL, "held-out, train", "every equation of the checkpoint's own split")
    screen = console()
    screen.print(experiments)
    if gates.rows:
        screen.print(gates)
    else:
        screen.print(f"no gates in {criteria}\n", soft_wrap=True)
    screen.print(exams)
    _print_offered(screen)


def _print_offered(screen: Console) -> None:
    """Operations, splits and metrics of installed packages; nothing where there are none.

    Raises:
        InputError: one of the packages is broken.
    """
    from rich.box import SIMPLE
    from rich.table import Table

    from reprogrok.metrics import own_metrics
    from reprogrok.tasks import operations, packages, splits

    words = {
        operations.GROUP: {name: found.formula for name, found in operations.all_operations().items()},
        splits.GROUP: splits.own_splits(),
        own_metrics.GROUP: {name: found.title for name, found in own_metrics.all_metrics().items()},
    }
    built_in = {operations.GROUP: operations.OPERATIONS, splits.GROUP: splits.KINDS, own_metrics.GROUP: ()}
    offered = Table(box=SIMPLE, title="of installed packages (docs/own-project.md)", title_justify="left")
    for name in ("kind", "name", "package", "what"):
        offered.add_column(name)
    for group, described in words.items():
        for name, entry in sorted(packages.offered(group, built_in[group]).items()):
            offered.add_row(packages.kind_of(group), name, packages.release(entry), described[name])
    if offered.rows:
        screen.print(offered)

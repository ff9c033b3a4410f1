"""The body of `reprogrok list`: params.yaml, criteria, exams and installed packages -> tables."""

from __future__ import annotations

from pathlib import Path

from rich.box import SIMPLE
from rich.table import Table

from reprogrok.console import console
from reprogrok.errors import ExitCode
from reprogrok.gates.gate_files import find_gate, gate_names, load_gate
from reprogrok.metrics import own_metrics
from reprogrok.model.shapes import count_parameters
from reprogrok.params import Params, read_params
from reprogrok.schema import load
from reprogrok.spec.task import SPLIT_KINDS, ModularTask
from reprogrok.tasks import operations, packages, splits
from reprogrok.tasks.protocols import EXAM_SEEDS, MODULAR_PROTOCOL, PER_STRATUM, PROTOCOL, STRESS_SUITE, TEST
from reprogrok.text import seeds_text


def run(params: Path, criteria: Path, *, sources: bool) -> ExitCode:
    """Print every experiment, gate and exam, and what installed packages offer.

    Raises:
        InputError: a file or a package is broken.
    """
    screen = console()
    experiments = _experiments(read_params(params), sources=sources)
    gates = _gates(criteria)
    screen.print(experiments)
    if gates.rows:
        screen.print(gates)
    else:
        screen.print(f"no gates in {criteria}\n", soft_wrap=True)
    screen.print(_exams())
    if (offered := _offered()).rows:
        screen.print(offered)
    return ExitCode.PASS


def _table(title: str, *columns: str) -> Table:
    table = Table(box=SIMPLE, title=title, title_justify="left")
    for name in columns:
        table.add_column(name, justify="right" if name in {"parameters", "steps"} else "left")
    return table


def _experiments(params: Params, *, sources: bool) -> Table:
    table = _table("experiments (reprogrok train NAME)", "name", "parameters", "steps", "seeds", "what")
    for experiment in params.experiments.values():
        if isinstance(experiment.task, ModularTask):
            with params.located(experiment.name):
                operations.find_operation(experiment.task.operation).values(experiment.task.modulus)
        mark = " (default pipeline)" if experiment.name in params.pipeline else ""
        size = f"{count_parameters(experiment.model):,}"
        what = experiment.title + mark + (f"\n{experiment.source}" if sources else "")
        table.add_row(experiment.name, size, f"{experiment.steps:,}", seeds_text(experiment.seeds), what)
    return table


def _gates(criteria: Path) -> Table:
    table = _table("gates (reprogrok sanity NAME)", "name", "criteria", "what a GO allows")
    if criteria.is_dir():
        gates = [load_gate(find_gate(name, criteria)) for name in gate_names(criteria)]
    else:
        file = find_gate(criteria.stem, criteria)
        gates = [load_gate(file, load(file, "criteria").data["gate"])]  # whatever the file is called
    for gate in gates:
        table.add_row(gate.name, str(len(gate.criteria)), gate.title)
    return table


def _exams() -> Table:
    table = _table("exams (reprogrok eval CKPT)", "exam", "suite", "problems")
    uniform = f"{len(EXAM_SEEDS) * TEST:,}: {len(EXAM_SEEDS)} published test sets of {TEST:,}"
    stress = f"{PER_STRATUM:,} a stratum: carry chains, lengths, sums of 10^10, edge pairs"
    table.add_row(PROTOCOL, "uniform", uniform)
    table.add_row(STRESS_SUITE, "stress", stress)
    table.add_row(MODULAR_PROTOCOL, "held-out, train", "every equation of the checkpoint's own split")
    return table


def _offered() -> Table:
    """Return the operations, splits and metrics of installed packages; no rows where there are none.

    Raises:
        InputError: one of the packages is broken.
    """
    described = {
        operations.GROUP: {name: found.formula for name, found in operations.all_operations().items()},
        splits.GROUP: splits.own_splits(),
        own_metrics.GROUP: {name: found.title for name, found in own_metrics.all_metrics().items()},
    }
    built_in = {operations.GROUP: operations.OPERATIONS, splits.GROUP: SPLIT_KINDS, own_metrics.GROUP: ()}
    table = _table("of installed packages (docs/own-project.md)", "kind", "name", "package", "what")
    for group, texts in described.items():
        for name, entry in sorted(packages.offered(group, built_in[group]).items()):
            table.add_row(packages.kind_of(group), name, packages.release(entry), texts[name])
    return table

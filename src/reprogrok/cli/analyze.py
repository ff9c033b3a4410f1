"""`reprogrok analyze RUN`: when and how a run learned, with what its checkpoints (or its logs) show around that."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reprogrok.cli.options import DEVICE, Format

if TYPE_CHECKING:
    from reprogrok.runs.analysis import Analysis


def analyze(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN", help="A run's folder, ours or of others, or the name of an experiment.", show_default=False
        ),
    ],
    t_grok: Annotated[
        int | None, typer.Option("--t-grok", min=0, help="Step of the transition.", show_default="estimated")
    ] = None,
    window: Annotated[
        int, typer.Option(min=0, help="Checkpoints no further than this from the transition are near it.")
    ] = 10_000,
    claim: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="STEPS",
            help="Judge the claim that the test was learned within so many steps.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="One seed of the run.", show_default="all")] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            help="The file to write; with several seeds its name gets -seed-N.",
            show_default="post_analysis.json in the run's folder; for runs of others, here",
        ),
    ] = None,
    device: DEVICE = "cpu",
    format: Annotated[Format, typer.Option(help="What is printed.")] = Format.TABLE,  # noqa: A002 - the option's name
) -> None:
    """Say when a run learned training and test, how steadily, and in which regime; write post_analysis.json.

    Times are intervals between evaluations. Rank and entropy, and for sums and differences the Fourier measures, are
    those of checkpoints 3 before, 2 near and 3 after the transition, other estimators in the document alone; a run
    without checkpoints is analysed from its logs.
    """
    from reprogrok.commands.runs import find_run
    from reprogrok.console import console
    from reprogrok.files import check_writable, pretty_json, write_bytes
    from reprogrok.formats.foreign_runs import read_run
    from reprogrok.model.device import choose_device
    from reprogrok.runs.analysis import analyse
    from reprogrok.runs.checkpoint_snapshots import states_of
    from reprogrok.runs.post_analysis import document
    from reprogrok.runs.tables import print_analyses

    record = read_run(find_run(run))
    seeds = list(record.replicas) if seed is None else [seed]
    analyses = [analyse(record, one, t_grok, claim) for one in seeds]
    places = [_place(analysis, output, alone=len(seeds) == 1) for analysis in analyses]
    for path in places:
        check_writable(path)
    torch_device = choose_device(device)
    documents = [document(analysis, states_of(analysis, torch_device), window) for analysis in analyses]
    for path, written in zip(places, documents, strict=True):
        write_bytes(path, pretty_json(written))
    if format is Format.JSON:
        shown: Any = documents[0] if len(documents) == 1 else {"analyses": documents}
        typer.echo(pretty_json(shown).decode(), nl=False)
        return
    print_analyses(documents, console())
    for path in places:
        typer.echo(f"wrote {path}")


def _place(analysis: Analysis, output: Path | None, *, alone: bool) -> Path:
    from reprogrok.runs.post_analysis import place

    if output is None:
        return place(analysis)
    return output if alone else output.with_stem(f"{output.stem}-seed-{analysis.seed}")

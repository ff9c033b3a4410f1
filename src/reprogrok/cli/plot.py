"""`reprogrok plot RUN...`: learning curves of runs, as a CSV for DVC and as pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def plot(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN", help="Runs' folders, ours or of others, or names of experiments.", show_default=False
        ),
    ],
    csv: Annotated[
        Path | None, typer.Option(help="Lowest, median and highest over the seeds, and their number, per step.")
    ] = None,
    png: Annotated[
        Path | None, typer.Option(help="A picture: several runs over each other, or one seed by seed.")
    ] = None,
    svg: Annotated[Path | None, typer.Option(help="The same picture as SVG.")] = None,
    log_steps: Annotated[bool, typer.Option("--log-steps", help="Logarithmic steps, linear up to the first.")] = False,
    metric: Annotated[
        list[str] | None,
        typer.Option(help="Draw this metric; may be repeated.", show_default="accuracy, losses, rank, entropy"),
    ] = None,
) -> None:
    """Draw the learning curves of runs, exactly as they were measured, the grok step marked.

    The files of our own runs are checked against their hashes first. What is defined differently in these runs gets a
    panel per definition; the CSV leaves it out and says so, but for a --metric, which is then refused.
    """
    from reprogrok.errors import InputError
    from reprogrok.files import check_writable
    from reprogrok.formats.foreign_runs import read_run
    from reprogrok.runs.curves import choose_metrics, one_definition_each, write_csv
    from reprogrok.runs.identity import run_labels

    if csv is None and png is None and svg is None:
        raise InputError("nothing to write", expected="--csv FILE or --png FILE or --svg FILE")
    for path in (csv, png, svg):
        if path is not None:
            check_writable(path)
    from reprogrok.commands.runs import find_run

    records = [read_run(find_run(run)) for run in runs]
    labelled = dict(zip(run_labels(records), records, strict=True))
    metrics = choose_metrics(records, metric or ())
    if csv is not None:
        alike, others = one_definition_each(labelled, metrics)
        # A column that was asked for by name must not be missing in silence, nor may a CSV be empty.
        write_csv(labelled, metrics if metric or not alike else alike, csv)
        if not metric:
            for name, found in others.items():
                typer.echo(f"left out of {csv}: {name}, which does not mean the same in these runs ({found})")
        typer.echo(f"wrote {csv}")
    for kind, path in (("png", png), ("svg", svg)):
        if path is not None:
            from reprogrok.runs.pictures import write_picture

            write_picture(labelled, metrics, path, kind=kind, log_steps=log_steps)
            typer.echo(f"wrote {path}")

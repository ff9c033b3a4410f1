"""`reprogrok plot RUN...`: draw learning curves of runs, as a CSV for DVC and as pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def plot(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN", help="Folders of runs, ours or foreign, or names of experiments.", show_default=False
        ),
    ],
    csv: Annotated[
        Path | None, typer.Option(help="Write lowest, median and highest over the seeds, and their number, per step.")
    ] = None,
    png: Annotated[
        Path | None, typer.Option(help="Write a picture: several runs over each other, or one seed by seed.")
    ] = None,
    svg: Annotated[Path | None, typer.Option(help="Write the same picture as SVG.")] = None,
    log_steps: Annotated[bool, typer.Option("--log-steps", help="Logarithmic steps, linear up to the first.")] = False,
    metric: Annotated[
        list[str] | None,
        typer.Option(help="Draw this metric; may be repeated.", show_default="accuracy, losses, rank, entropy"),
    ] = None,
) -> None:
    """Draw the learning curves of runs, with the grok step marked.

    The files of our own runs are checked against their hashes first. A metric of several definitions gets a panel per
    definition; the CSV leaves it out with a message, or is refused if --metric requests it.
    """
    from reprogrok.commands.plot import run

    raise typer.Exit(run(runs, csv=csv, png=png, svg=svg, log_steps=log_steps, requested=metric or ()))

"""`reprogrok compare A B...`: compare evaluations, or two runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reprogrok.cli.options import FORMAT, Format


def compare(
    evaluations: Annotated[
        list[Path],
        typer.Argument(
            metavar="EVALUATION",
            help="A file of `eval --output`, or a published evaluation; or two runs, by folder or experiment.",
            show_default=False,
        ),
    ],
    output: Annotated[Path | None, typer.Option(help="Also write the comparison as JSON.")] = None,
    metrics: Annotated[Path | None, typer.Option(help="Also write its numbers as a DVC metrics file.")] = None,
    output_format: FORMAT = Format.TABLE,
) -> None:
    """Compare evaluations of one exam, or two runs.

    Print scores with intervals and McNemar's exact test for every pair of checkpoints. p-values are adjusted for the
    number of pairs (Holm). For two runs, ours or foreign, print the settings that differ, the grok times, the delay
    factor, and rank and entropy before and after. Metrics of different definitions are never compared.
    """
    from reprogrok.commands.compare import run

    raise typer.Exit(run(evaluations, output=output, metrics=metrics, as_json=output_format is Format.JSON))

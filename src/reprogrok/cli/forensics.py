"""`reprogrok forensics FILE`: a log or a claims file -> findings about its numbers, and the exit code."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reprogrok.cli.options import FORMAT, Format


def forensics(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="A run's folder, a log, an evaluation, or a claims file (or a folder of them).",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path | None, typer.Option("--output", metavar="FILE", help="Also write the findings to FILE, as JSON.")
    ] = None,
    output_format: FORMAT = Format.TABLE,
) -> None:
    """Find printed numbers that do not fit together.

    An inconsistency is not evidence of fraud; each finding names honest explanations.
    Exit code: 0 if there are none, 1 if a finding is certain or telling.
    """
    from reprogrok.commands.forensics import run

    raise typer.Exit(run(file, output=output, json=output_format is Format.JSON))

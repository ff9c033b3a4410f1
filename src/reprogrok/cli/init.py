"""`reprogrok init [DIR]`: start a project."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def init(
    directory: Annotated[
        Path, typer.Argument(metavar="[DIR]", help="The folder: new, or without any of these files.")
    ] = Path(),
    no_dvc: Annotated[bool, typer.Option("--no-dvc", help="Write the files only; do not run `dvc init`.")] = False,
) -> None:
    """Start a project with one experiment, its gate and a claim.

    It gets a pipeline and a README too. `dvc repro` trains and judges, and `reprogrok audit` prints the verdict on the
    claim. Nothing is overwritten.
    """
    from reprogrok.commands.init import run

    raise typer.Exit(run(directory, dvc=not no_dvc))

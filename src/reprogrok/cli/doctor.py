"""`reprogrok doctor`: the state of this machine, its training rates, and what is missing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reprogrok.cli.options import FORMAT, Format
from reprogrok.console import remark
from reprogrok.errors import ExitCode


def doctor(
    compile: Annotated[  # noqa: A002 - the option's name
        bool, typer.Option("--compile", help="Also try torch.compile with an empty cache (ten seconds and more).")
    ] = False,
    output: Annotated[Path | None, typer.Option(help="Also write the diagnosis as JSON.")] = None,
    output_format: FORMAT = Format.TABLE,
) -> None:
    """Examine this machine and measure its training rates.

    Print devices and their promises, versions, compiler and disk.
    Exit code: 0 if it can train on the CPU, 1 if something that is needed is broken, with the reason.
    """
    try:
        from reprogrok.commands.doctor import run
    except (ImportError, OSError) as error:  # OSError: a library of torch does not load
        remark(f"FAULT: a package that is needed cannot be loaded: {error}")
        raise typer.Exit(ExitCode.FAIL) from error
    raise typer.Exit(run(compiles=compile, output=output, as_json=output_format is Format.JSON))

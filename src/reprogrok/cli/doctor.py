"""`reprogrok doctor`: the state of this machine, its training rates, and what is missing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reprogrok.cli.options import Format
from reprogrok.errors import ExitCode


def doctor(
    compile: Annotated[  # noqa: A002 - the option's name
        bool, typer.Option("--compile", help="Also try torch.compile with an empty cache (ten seconds and more).")
    ] = False,
    output: Annotated[Path | None, typer.Option(help="Also write the diagnosis as JSON.")] = None,
    format: Annotated[Format, typer.Option(help="What is printed.")] = Format.TABLE,  # noqa: A002 - the option's name
) -> None:
    """Examine this machine: devices and their promises, versions, compiler, disk, and training rates.

    Exit code: 0 if it can train on the CPU, 1 if something that is needed is broken, with the reason.
    """
    try:
        from reprogrok.commands.doctor import run
    except (ImportError, OSError) as error:  # OSError: a library of torch does not load
        typer.echo(f"FAULT: a package that is needed cannot be loaded: {error}", err=True)
        raise typer.Exit(ExitCode.FAIL) from error
    raise typer.Exit(run(compiles=compile, output=output, as_json=format is Format.JSON))

"""`reprogrok doctor`: what this machine can be expected to do, and what is missing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reprogrok.cli.options import Format
from reprogrok.errors import ExitCode
from reprogrok.files import check_writable, pretty_json, write_bytes


def doctor(
    compile: Annotated[  # noqa: A002 - the option's name
        bool, typer.Option("--compile", help="Also try torch.compile with an empty cache (ten seconds and more).")
    ] = False,
    output: Annotated[Path | None, typer.Option(help="Also write what was found, as JSON.")] = None,
    format: Annotated[Format, typer.Option(help="What is printed.")] = Format.TABLE,  # noqa: A002 - the option's name
) -> None:
    """Look at this machine: devices and what they promise, versions, compiler, disk, and how fast it trains.

    Exit code: 0 if it can train on the CPU, 1 if something that is needed is broken, with the reason.
    """
    if output is not None:
        check_writable(output)
    try:
        from reprogrok.train.diagnosis import diagnose
    except (ImportError, OSError) as error:  # OSError: a library of torch does not load
        typer.echo(f"FAULT: a package that is needed cannot be loaded: {error}", err=True)
        raise typer.Exit(ExitCode.FAIL) from error
    from reprogrok.console import console
    from reprogrok.train.diagnosis_tables import print_diagnosis

    diagnosis = diagnose(compiles=compile)
    document = pretty_json(diagnosis.as_dict())
    if output is not None:
        write_bytes(output, document)
    if format is Format.JSON:
        typer.echo(document.decode(), nl=False)
    else:
        print_diagnosis(diagnosis, console())
    raise typer.Exit(diagnosis.exit_code)

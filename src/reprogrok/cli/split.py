"""`reprogrok split EXPERIMENT`: audit the split of a modular experiment."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reprogrok.cli.options import PARAMS, Format


def split(
    experiment: Annotated[str, typer.Argument(metavar="EXPERIMENT", help="A name in params.yaml.", show_default=False)],
    format: Annotated[Format, typer.Option(help="Output format.")] = Format.TABLE,  # noqa: A002 - the option's name
    params: PARAMS = Path("params.yaml"),
) -> None:
    """Audit the split of a modular experiment: sizes, coverage, twins, and the accuracy that memorisation can reach.

    The audit describes and does not judge: the exit code is 0 for every split.
    """
    from reprogrok.commands.split import run

    raise typer.Exit(run(experiment, params=params, as_json=format is Format.JSON))

"""`reprogrok loss-bounds EXPERIMENT`: the least loss by position and window, for each kind of knowledge."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reprogrok.cli.options import PARAMS, Format


def loss_bounds(
    experiment: Annotated[str, typer.Argument(metavar="EXPERIMENT", help="A name in params.yaml.", show_default=False)],
    format: Annotated[Format, typer.Option(help="Output format.")] = Format.TABLE,  # noqa: A002 - the option's name
    params: PARAMS = Path("params.yaml"),
) -> None:
    """Compute the least loss of a modular experiment: task known, answers at chance, training set memorised.

    Operands cannot be predicted, so a mean over all positions has a lower bound, which depends on the window.
    """
    from reprogrok.commands.loss_bounds import run

    raise typer.Exit(run(experiment, params=params, as_json=format is Format.JSON))

"""`reprogrok loss-bounds EXPERIMENT`: the least loss by position and window, for each kind of knowledge."""

from __future__ import annotations

from pathlib import Path

import typer

from reprogrok.cli.options import EXPERIMENT, FORMAT, PARAMS, Format


def loss_bounds(
    experiment: EXPERIMENT, output_format: FORMAT = Format.TABLE, params: PARAMS = Path("params.yaml")
) -> None:
    """Compute the least loss that each kind of knowledge allows.

    The kinds: the task is known, answers are at chance, the training set is memorised.
    Operands cannot be predicted, so a mean over all positions has a lower bound, which depends on the window.
    """
    from reprogrok.commands.loss_bounds import run

    raise typer.Exit(run(experiment, params=params, as_json=output_format is Format.JSON))

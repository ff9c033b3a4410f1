"""`reprogrok predict CKPT A B`: print one answer token by token, with the margin of each."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reprogrok.cli.options import DEVICE, PARAMS


def predict(
    checkpoint: Annotated[
        Path, typer.Argument(metavar="CHECKPOINT", help="A .pt, .safetensors or llm.c .bin file.", show_default=False)
    ],
    a: Annotated[str, typer.Argument(metavar="A", help="First operand.", show_default=False)],
    b: Annotated[str, typer.Argument(metavar="B", help="Second operand.", show_default=False)],
    device: DEVICE = "auto",
    experiment: Annotated[str | None, typer.Option(help="Experiment of the task, if the file names none.")] = None,
    params: PARAMS = Path("params.yaml"),
) -> None:
    """Ask a model for one answer; exit 0 if it is right, 1 if it is wrong.

    The operands of a modular task are residues, or the numbers of elements of S5. A margin is the logit of the right
    token minus the largest other logit.
    """
    from reprogrok.commands.predict import run

    raise typer.Exit(run(checkpoint, a, b, device=device, experiment=experiment, params=params))

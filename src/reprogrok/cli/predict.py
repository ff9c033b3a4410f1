"""`reprogrok predict CKPT A B`: print one answer token by token, with the margin of each."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reprogrok.cli.options import DEVICE, PARAMS, TASK_OF


def predict(
    checkpoint: Annotated[
        Path, typer.Argument(metavar="CHECKPOINT", help="A .pt, .safetensors or llm.c .bin file.", show_default=False)
    ],
    a: Annotated[str, typer.Argument(metavar="A", help="First operand.", show_default=False)],
    b: Annotated[str, typer.Argument(metavar="B", help="Second operand.", show_default=False)],
    device: DEVICE = "auto",
    experiment: TASK_OF = None,
    params: PARAMS = Path("params.yaml"),
) -> None:
    """Ask a model for one answer and print the margin of each token.

    The operands of a modular task are residues, or the numbers of elements of S5. A margin is the logit of the right
    token minus the largest other logit. Exit code: 0 if the answer is right, 1 if it is wrong.
    """
    from reprogrok.commands.predict import run

    raise typer.Exit(run(checkpoint, a, b, device=device, experiment=experiment, params=params))

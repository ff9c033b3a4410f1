"""`reprogrok floors EXPERIMENT`: the least loss by position and over each window, for each degree of knowledge."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reprogrok.cli.options import PARAMS, Format


def floors(
    experiment: Annotated[str, typer.Argument(metavar="EXPERIMENT", help="A name in params.yaml.", show_default=False)],
    format: Annotated[Format, typer.Option(help="What is printed.")] = Format.TABLE,  # noqa: A002 - the option's name
    params: PARAMS = Path("params.yaml"),
) -> None:
    """Compute the least loss of a modular experiment: task known, answers at chance, training set memorised.

    Operands cannot be foreseen, so a mean over all positions has a floor, and the floor depends on the window.
    """
    from reprogrok.cli.modular import modular_experiment

    chosen, task = modular_experiment(experiment, params)
    from reprogrok.console import console
    from reprogrok.files import pretty_json
    from reprogrok.tasks.loss_bound_tables import document_of, print_loss_bounds
    from reprogrok.tasks.loss_bounds import loss_bounds

    computed = loss_bounds(task, block=chosen.block)
    if format is Format.JSON:
        typer.echo(pretty_json(document_of(chosen.name, task, computed)).decode(), nl=False)
    else:
        print_loss_bounds(chosen.name, task, computed, console())

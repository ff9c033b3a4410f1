"""`reprogrok loss-bounds`: a modular experiment -> its loss bounds, printed as a table or JSON."""

from __future__ import annotations

import sys
from pathlib import Path

from reprogrok.commands.modular import modular_experiment
from reprogrok.console import console
from reprogrok.errors import ExitCode
from reprogrok.files import pretty_json
from reprogrok.tasks.loss_bound_tables import document_of, print_loss_bounds
from reprogrok.tasks.loss_bounds import loss_bounds


def run(experiment: str, *, params: Path, as_json: bool) -> ExitCode:
    """Compute the loss bounds of a modular experiment.

    Raises:
        InputError: the experiment is unknown, is of another task, or its split is not possible.
    """
    chosen, task = modular_experiment(experiment, params)
    bounds = loss_bounds(task, block=chosen.block)
    if as_json:
        sys.stdout.write(pretty_json(document_of(chosen.name, task, bounds)).decode())
    else:
        print_loss_bounds(chosen.name, task, bounds, console())
    return ExitCode.PASS

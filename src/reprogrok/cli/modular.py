"""A name in `params.yaml` -> a modular experiment and its task, for the commands that know no other."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from reprogrok.errors import InputError

if TYPE_CHECKING:
    from reprogrok.spec import Experiment, ModularTask


def modular_experiment(name: str, params: Path) -> tuple[Experiment, ModularTask]:
    """The experiment of that name, with its task.

    Raises:
        InputError: there is none, it is of another task, or its split cannot be made.
    """
    from reprogrok.params import read_params
    from reprogrok.spec import ModularTask
    from reprogrok.tasks.splits import make_split

    read = read_params(params)
    experiment = read.experiment(name, params)
    if not isinstance(experiment.task, ModularTask):
        raise InputError(
            path=params,
            field=f"$.experiments.{name}.task.name",
            expected="modular, whose examples are all known",
            found=experiment.task.name,
        )
    with read.placed(name):
        make_split(experiment.task)
    return experiment, experiment.task

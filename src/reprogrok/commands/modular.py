"""A name in `params.yaml` -> a modular experiment and its task, for the commands that need one."""

from __future__ import annotations

from pathlib import Path

from reprogrok.errors import InputError
from reprogrok.params import read_params
from reprogrok.spec.experiment import Experiment
from reprogrok.spec.task import ModularTask
from reprogrok.tasks.splits import make_split


def modular_experiment(name: str, params: Path) -> tuple[Experiment, ModularTask]:
    """Return an experiment and its modular task.

    Raises:
        InputError: it is unknown, is of another task, or its split is not possible.
    """
    read = read_params(params)
    experiment = read.experiment(name, params)
    if not isinstance(experiment.task, ModularTask):
        raise InputError(
            path=params,
            field=f"$.experiments.{name}.task.name",
            expected="modular, whose examples are all known",
            found=experiment.task.name,
        )
    with read.located(name):
        make_split(experiment.task)
    return experiment, experiment.task

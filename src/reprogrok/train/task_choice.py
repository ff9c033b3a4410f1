"""Experiment -> its training task: the choice between addition and modular tasks, and the checks before training."""

from __future__ import annotations

import torch

from reprogrok.spec.experiment import Experiment
from reprogrok.spec.task import AdditionTask
from reprogrok.train.addition import AdditionTraining
from reprogrok.train.modular import ModularTraining, check_modular, modular_packages
from reprogrok.train.training_task import TrainingTask


def training_task_of(experiment: Experiment, seeds: tuple[int, ...], device: torch.device) -> TrainingTask:
    """Return the training task of an experiment for some seeds.

    Raises:
        InputError: the operation, the split or the batch size is invalid.
    """
    if isinstance(experiment.task, AdditionTask):
        return AdditionTraining(experiment, experiment.task, seeds, device)
    return ModularTraining(experiment, experiment.task, seeds, device)


def check_trainable(experiment: Experiment) -> None:
    """Check that an experiment has training examples, before any work is done.

    Raises:
        InputError: the operation, the split or the batch size is invalid; the field is inside the experiment.
    """
    if not isinstance(experiment.task, AdditionTask):
        check_modular(experiment, experiment.task)


def packages_of(experiment: Experiment) -> dict[str, str]:
    """Return the installed packages that an experiment uses: `split small-sums` -> `my-lab 0.1 (my_lab:small_sums)`."""
    return {} if isinstance(experiment.task, AdditionTask) else modular_packages(experiment, experiment.task)

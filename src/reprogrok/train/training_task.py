"""The training task: the part of the engine that supplies batches and evaluations for one kind of task.

    experiment + seeds --task_choice--> TrainingTask: batches(steps) -> tokens;  evaluate(weights) -> metrics

Axes: R replicas, T positions, B problems, N items.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from torch import Tensor

from reprogrok.model.decoder import Weights
from reprogrok.spec.experiment import Experiment
from reprogrok.spec.task import AdditionTask


class TrainingTask(Protocol):
    """Training batches and evaluations of some seeds on one device.

    Attributes:
        first: the first position whose prediction is scored.
    """

    first: int

    def batches(self, steps: range) -> Iterator[Tensor]:
        """Yield the tokens (R, T + 1, B) of each step, on the device; every position predicts the next token."""
        ...

    def evaluate_batch(self, weights: Weights, tokens_RTB: Tensor) -> dict[str, Tensor]:
        """Return metrics of a training batch before its update: (R,) each."""
        ...

    def evaluate(self, weights: Weights, *, analyse: bool) -> dict[str, Tensor]:
        """Return metrics of the weights, (R,) each on the CPU; with `analyse` also those that are taken rarely."""
        ...


def score_of(experiment: Experiment) -> str:
    """Return the name of the metric by which the best weights are chosen."""
    return "test_exact_match" if isinstance(experiment.task, AdditionTask) else "test_accuracy"


def fraction_true(right_RN: Tensor) -> Tensor:
    """Return the fraction of true values per replica, (R,) in float64 on the CPU: MPS has no float64."""
    return right_RN.sum(1).cpu().double() / right_RN.shape[1]

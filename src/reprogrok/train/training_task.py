"""What an experiment teaches: its batches, and how well replicas have learned; the loop itself knows no task.

    experiment + seeds --lessons_of--> Lessons: batches(steps) -> tokens;  measured(weights) -> metrics

Axes: R replicas, T positions, B problems.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

from reprogrok.spec import AdditionTask, Experiment

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from reprogrok.model.decoder import Weights


class Lessons(Protocol):
    """The examples of some seeds on one device.

    Attributes:
        first: the first position whose prediction counts.
    """

    first: int

    def batches(self, steps: range) -> Iterator[Tensor]:
        """What these steps read and predict: (R, T + 1, B) each, on the device; each token predicts the next."""
        ...

    def answered(self, weights: Weights, tokens_RTB: Tensor) -> dict[str, Tensor]:
        """Metrics of a batch before the update: (R,) each."""
        ...

    def measured(self, weights: Weights, *, analyse: bool) -> dict[str, Tensor]:
        """Metrics of the weights, (R,) each on the CPU; with `analyse` those too that are taken rarely."""
        ...


def lessons_of(experiment: Experiment, seeds: tuple[int, ...], device: torch.device) -> Lessons:
    """The lessons of an experiment.

    Raises:
        InputError: its operation, split or batch cannot be.
    """
    # One of the two is needed, and the other brings numpy and a dozen modules.
    if isinstance(experiment.task, AdditionTask):
        from reprogrok.train.addition import AdditionLessons  # noqa: PLC0415

        return AdditionLessons(experiment, experiment.task, seeds, device)
    from reprogrok.train.modular import ModularLessons  # noqa: PLC0415

    return ModularLessons(experiment, experiment.task, seeds, device)


def check(experiment: Experiment) -> None:
    """See that an experiment has examples to learn from, before anything is done for it.

    Raises:
        InputError: its operation, split or batch cannot be; the field is inside the experiment.
    """
    if not isinstance(experiment.task, AdditionTask):
        from reprogrok.train.modular import check_batches  # noqa: PLC0415

        check_batches(experiment, experiment.task)


def packages_of(experiment: Experiment) -> dict[str, str]:
    """What of the experiment comes from installed packages: `split small-sums` -> `my-lab 0.1 (my_lab:small_sums)`."""
    if isinstance(experiment.task, AdditionTask):
        return {}
    from reprogrok.train.modular import packages_of_equations  # noqa: PLC0415

    return packages_of_equations(experiment, experiment.task)


def score_of(experiment: Experiment) -> str:
    """The metric by which the best weights are chosen."""
    return "test_exact_match" if isinstance(experiment.task, AdditionTask) else "test_accuracy"


def share(right_RN: Tensor) -> Tensor:
    """The share of true values per replica, (R,) in float64 on the CPU: MPS has no float64."""
    return right_RN.sum(1).cpu().double() / right_RN.shape[1]

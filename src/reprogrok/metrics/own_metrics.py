"""Metrics of one's own: a function of an installed package, measured beside ours at every evaluation of a modular run.

    logits at the answer of all rows of a side --Metric.measure--> one number per replica --checked--> SIDE_NAME

A package offers a `Metric` under the entry-point group `reprogrok.metrics`, and an experiment asks for it by name:

    [project.entry-points."reprogrok.metrics"]
    second_guess = "my_package:SECOND_GUESS"       # params.yaml: metrics: [second_guess]

It is called for one replica at a time, so that no replica's number depends on its neighbours. What it gives is held to
the bounds that it promises: criteria and claims are judged by them. A replica with logits that are not finite has no
value of it. Axes: R replicas, V vocabulary, N rows of a side, B rows of a pass.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from reprogrok.errors import InputError
from reprogrok.metrics.positions import ROWS
from reprogrok.model.decoder import Weights, logits
from reprogrok.spec import ModelSpec
from reprogrok.tasks import packages
from reprogrok.tasks.operations import Integers

GROUP = "reprogrok.metrics"
SIDES = ("train", "test")
_FIELD = "$.metrics"
_SLACK = 1e-5  # of rounding, relative


@dataclass(frozen=True, eq=False)
class Answers:
    """What one replica says to all equations of one side, in file order, and what is right.

    Attributes:
        logits_NV: float32, of all V tokens at the position that predicts the answer; token k < p is the residue k.
        answer_N: int64, the right tokens.
        a_N: int64, first operands.
        b_N: int64, second operands.
    """

    logits_NV: npt.NDArray[np.float32]
    answer_N: Integers
    a_N: Integers
    b_N: Integers


@dataclass(frozen=True)
class Metric:
    """One estimator.

    Attributes:
        name: as `metrics` in `params.yaml` has it; a record holds `train_NAME` and `test_NAME`.
        definition: id of the estimator, best with the package's name in it; another estimator is another id.
        title: for people, one line.
        measure: what one replica answers -> one number; NaN where there is none.
        low: no value is smaller; -infinity where nothing is known.
        high: no value is larger; infinity likewise.
    """

    name: str
    definition: str
    title: str
    measure: Callable[[Answers], float]
    low: float = -math.inf
    high: float = math.inf

    def __post_init__(self) -> None:
        """See that the bounds are an interval.

        Raises:
            InputError: they are not.
        """
        if not self.low <= self.high:
            raise InputError(f"metric {self.name}", expected="low <= high", found=f"{self.low} and {self.high}")

    def value(self, answers: Answers) -> float:
        """The number of one replica, checked.

        Raises:
            InputError: `measure` raised, gave no number, or one out of bounds.
        """
        if not np.isfinite(answers.logits_NV).all():
            return math.nan
        try:
            found = self.measure(answers)
        except Exception as error:  # code of another package may raise anything
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            raise InputError(f"metric {self.name} cannot be measured ({reason})", field=_FIELD) from error
        if not isinstance(found, Real | np.bool_):
            raise InputError(f"metric {self.name}", field=_FIELD, expected="a number", found=type(found).__name__)
        value = float(found)
        slack = _SLACK * max(1.0, abs(value))
        if not (math.isnan(value) or self.low - slack <= value <= self.high + slack) or math.isinf(value):
            expected = f"a number from {self.low:g} to {self.high:g}, as it promises"
            raise InputError(f"metric {self.name}", field=_FIELD, expected=expected, found=f"{value:g}")
        return value


def find_metric(name: str) -> Metric:
    """The metric of that name that an installed package offers.

    Raises:
        InputError: there is none, or the package that offers it is broken.
    """
    return packages.load(packages.find(GROUP, name, (), _FIELD), Metric)


def all_metrics() -> dict[str, Metric]:
    """What installed packages offer, by name.

    Raises:
        InputError: one of the packages is broken.
    """
    return {name: packages.load(entry, Metric) for name, entry in sorted(packages.offered(GROUP, ()).items())}


def own_metric(recorded: str) -> Metric | None:
    """The metric behind a name in a record, `test_second_guess`; None where no installed package offers it.

    Raises:
        InputError: the package that offers it is broken.
    """
    side, _, name = recorded.partition("_")
    entries = packages.offered(GROUP, ()) if side in SIDES else {}
    return packages.load(entries[name], Metric) if name in entries else None


def own_definitions(names: Sequence[str], taken: Mapping[str, str]) -> dict[str, str]:
    """What a record says of these metrics: name -> definition id.

    Raises:
        InputError: a name is not known, or already in use in the record.
    """
    found = {f"{side}_{metric.name}": metric.definition for metric in map(find_metric, names) for side in SIDES}
    if clash := next((name for name in found if name in taken), None):
        raise InputError("this name is taken", field=_FIELD, expected="a metric by another name", found=clash)
    return found


@torch.inference_mode()
def answer_logits(spec: ModelSpec, weights: Weights, tokens_TN: Tensor, answer: int, rows: int = ROWS) -> Tensor:
    """The logits at the answer of all rows of a side: (R, N, V) float32 on the CPU.

    Args:
        spec: the shape of the models.
        weights: tensors with a leading axis of R.
        tokens_TN: whole rows as columns, of which those up to `answer` are read.
        answer: the position that predicts the answer.
        rows: rows per forward pass.
    """
    R = weights["token_emb.weight"].shape[0]
    passes = [
        logits(spec, weights, tokens_TB.expand(R, -1, -1), answer)[:, :, 0].transpose(1, 2).float().cpu()
        for tokens_TB in tokens_TN[: answer + 1].split(rows, dim=1)
    ]
    return torch.cat(passes, dim=1)


def measure_own(metrics: Sequence[Metric], side: str, answers: Sequence[Answers]) -> dict[str, Tensor]:
    """`SIDE_NAME` -> the numbers of all replicas, (R,) in float64, from what each of them answers.

    Raises:
        InputError: as `Metric.value`.
    """
    return {
        f"{side}_{metric.name}": torch.tensor([metric.value(one) for one in answers], dtype=torch.float64)
        for metric in metrics
    }

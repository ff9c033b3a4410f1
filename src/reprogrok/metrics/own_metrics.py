"""Metrics of installed packages: measured beside the built-in ones at every evaluation of a modular run.

A package offers a `Metric` under the entry-point group `reprogrok.metrics`, and an experiment requests it by name:

    [project.entry-points."reprogrok.metrics"]
    second_guess = "my_package:SECOND_GUESS"       # params.yaml: metrics: [second_guess]

`metrics.own_measurement` calls it; its values are held to the bounds that it promises, because criteria and claims are
judged by them. The registry of metrics looks it up, so this module loads neither NumPy nor torch.
Axes: V vocabulary, N rows of a side.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reprogrok.errors import InputError
from reprogrok.tasks import packages

if TYPE_CHECKING:  # a verdict on a run loads no NumPy
    import numpy as np
    import numpy.typing as npt

    from reprogrok.tasks.operations import Integers

GROUP = "reprogrok.metrics"
SIDES = ("train", "test")
FIELD = "$.metrics"


@dataclass(frozen=True, eq=False)
class Answers:
    """The answers of one replica to all equations of one side, in file order, with the right ones.

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
        name: as in `metrics` of `params.yaml`; a record holds `train_NAME` and `test_NAME`.
        definition: id of the estimator, best with the package's name in it; another estimator is another id.
        title: one line for readers.
        measure: answers of one replica -> one number, NaN if there is none.
        low: least possible value; -infinity if unknown.
        high: largest possible value; infinity if unknown.
    """

    name: str
    definition: str
    title: str
    measure: Callable[[Answers], float]
    low: float = -math.inf
    high: float = math.inf

    def __post_init__(self) -> None:
        """Check that the bounds are an interval.

        Raises:
            InputError: they are not.
        """
        if not self.low <= self.high:
            raise InputError(f"metric {self.name}", expected="low <= high", found=f"{self.low} and {self.high}")


def find_metric(name: str) -> Metric:
    """Return the metric of that name that an installed package offers.

    Raises:
        InputError: there is none, or the package that offers it is broken.
    """
    return packages.load(packages.find(GROUP, name, (), FIELD), Metric)


def all_metrics() -> dict[str, Metric]:
    """Return the metrics that installed packages offer, by name.

    Raises:
        InputError: one of the packages is broken.
    """
    return {name: packages.load(entry, Metric) for name, entry in sorted(packages.offered(GROUP, ()).items())}


def own_metric(recorded: str) -> Metric | None:
    """Return the metric behind a name in a record, `test_second_guess`; None if no installed package offers it.

    Raises:
        InputError: the package that offers it is broken.
    """
    side, _, name = recorded.partition("_")
    entries = packages.offered(GROUP, ()) if side in SIDES else {}
    return packages.load(entries[name], Metric) if name in entries else None


def own_definitions(names: Sequence[str], taken: Mapping[str, str]) -> dict[str, str]:
    """Return the definitions of these metrics in a record: name -> definition id.

    Raises:
        InputError: a name is not known, or already in use in the record.
    """
    found = {f"{side}_{metric.name}": metric.definition for metric in map(find_metric, names) for side in SIDES}
    if clash := next((name for name in found if name in taken), None):
        raise InputError("this name is taken", field=FIELD, expected="a metric by another name", found=clash)
    return found

"""Columns of a log -> values that repeat more often than their density, or than a moving model, lets expect.

    a column --neighbours a few units in the last place away--> pairs that chance makes equal --Poisson--> telling?
    a column, the others --equal while they change--> frozen, equal to another column, equal to another seed

Equal losses are no wonder: 2,000 float32 losses within a few thousandths fall together by the birthday paradox (five
pairs in the published log of v1). What stands still with the model (weights that no longer change, a saturated loss)
is honest as well, so a frozen column is found only beside one that moves. Columns that are written with few places are
left alone: at a floor they print the same digits for ever.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import pairwise

import numpy as np
from scipy.stats import poisson

from reprogrok.forensics.findings import Finding, Flaw, Grade
from reprogrok.metrics.grokking import measured
from reprogrok.record import Record, Series

UNLIKELY = 1e-6  # repeats less probable than this in a whole column are telling
FULL = 9  # from so many places on, a column is written as its bits are
_MOVED = 100  # units in the last place that a column has gone through, to count as one that moves
_MANY, _PLACES = 20, 4  # values, and places of them, that have to be equal where a column is rounded
_NEAR = (2, 5, 10, 20, 50)  # units in the last place around a value in which its neighbours are counted
_CLUSTERED = 3  # pairs of equal values scatter more than Poisson's where values crowd


def decimals(value: float) -> int:
    """Decimal places that a value is written with."""
    text = f"{value!r}"
    mantissa, _, power = text.partition("e")
    return max(0, len(mantissa.partition(".")[2]) - int(power or 0))


def is_full(series: Series) -> bool:
    """Whether a column holds its bits and not a few places of them."""
    return max((decimals(value) for _, value in measured(series)), default=0) >= FULL


def _unit(value: float, places: int) -> float:
    """The resolution of a logged loss: that of float32, or of the places that are written, if they are fewer."""
    single = 2.0 ** (math.floor(math.log2(abs(value))) - 23) if value else 2.0**-149
    return max(single, 10.0**-places)


def repeats(series: Series, where: str) -> Iterator[Finding]:
    """Equal losses at different steps: one by one against the birthday paradox, and stretches against chance."""
    points = measured(series)
    kept = [point for before, point in pairwise([(-1, math.nan), *points]) if point[1] != before[1] and point[1] > 0]
    if len(kept) < 6:
        return
    places = max(decimals(value) for _, value in kept)
    values = np.sort(np.array([value for _, value in kept]))
    units = np.array([_unit(float(value), places) for value in values])
    equal = sum(count * (count - 1) // 2 for count in Counter(values.tolist()).values())
    # The narrowest window sees the top of a peak, the widest has enough pairs in it: whichever lets expect the most.
    expected = 0.0
    for width in _NEAR:
        near = np.searchsorted(values, values + (width + 0.5) * units, side="right") - np.arange(len(values)) - 1
        expected = max(expected, (int(near.sum()) - equal + 3) / (2 * width))
    chance = float(poisson.sf(equal - 1, expected))
    said = "a model that returns to the same weights, or evaluations that were read twice, repeat losses honestly"
    if equal > _CLUSTERED * expected and chance < UNLIKELY:
        value, times = Counter(values.tolist()).most_common(1)[0]
        arithmetic = (
            f"{equal:,} pairs of equal losses at steps that do not follow each other; their density lets expect"
            f" {expected:.2g} (birthday paradox in float32)"
        )
        shown = f"{value!r} {times} times"
        yield Finding(Flaw.REPEATED, where, shown, arithmetic, Grade.TELLING, said, chance)
        return
    first: dict[tuple[float, ...], int] = {}
    for index in range(len(kept) - 2):
        stretch = tuple(value for _, value in kept[index : index + 3])
        earlier = first.setdefault(stretch, index)
        if index - earlier >= 3 and len(set(stretch)) == 3:
            spread = float(values[-1] - values[0]) or 1.0
            chance = min(1.0, len(kept) ** 2 / 2 * (float(units.max()) / spread * _NEAR[-1]) ** 3)
            if chance < UNLIKELY:
                arithmetic = (
                    f"three losses in a row, steps {kept[earlier][0]:,} on, stand again at {kept[index][0]:,} on"
                )
                yield Finding(Flaw.REPEATED, where, str(stretch), arithmetic, Grade.TELLING, said, chance)
                return


def frozen(name: str, metrics: Mapping[str, Series], definitions: Mapping[str, str], where: str) -> Iterator[Finding]:
    """A loss with all its digits that stands still, evaluation by evaluation, while the model is seen to move."""
    points = measured(metrics[name])
    changes = [abs(after - before) for (_, before), (_, after) in pairwise(points) if after != before]
    if not changes:
        return
    usual, places = float(np.median(changes)), max(decimals(value) for _, value in points)
    start = 0
    for index in range(1, len(points) + 1):
        if index < len(points) and points[index][1] == points[start][1]:
            continue
        first, last = points[start], points[index - 1]
        length, start = index - start, index
        if length < 3 or first[1] <= 0:
            continue
        other = _moving(name, metrics, definitions, range(first[0], last[0] + 1))
        # Where evaluations differ by a few units in the last place, three of them fall together now and then.
        chance = len(points) * min(1.0, _unit(first[1], places) / usual) ** (length - 1)
        if other is None or chance >= UNLIKELY:
            continue
        arithmetic = f"the same to the last digit at {length:,} evaluations in a row, while {other} changes among them"
        said = "a column that was filled up with its last value, because it is measured less often, looks the same"
        at = f"{where}, steps {first[0]:,} to {last[0]:,}"
        yield Finding(Flaw.REPEATED, at, repr(first[1]), arithmetic, Grade.TELLING, said, chance)


def _moving(name: str, metrics: Mapping[str, Series], definitions: Mapping[str, str], steps: range) -> str | None:
    """Another number of the same model that changes at these steps; a minibatch changes without the model."""
    fresh = ("minibatch", "/batch", "llmc")
    if any(mark in definitions[name] for mark in fresh[:2]):
        return "the batch"
    for other, series in metrics.items():
        if other == name or any(mark in definitions[other] for mark in fresh) or other == "learning_rate":
            continue
        if len({value for step, value in measured(series) if step in steps}) > 1:
            return other
    return None


def equal_columns(metrics: Mapping[str, Series], where: str) -> Iterator[Finding]:
    """A training and a test column that are the same numbers."""
    for train, test in (
        ("train_loss", "test_loss"),
        ("train_set_loss", "test_loss"),
        ("train_accuracy", "test_accuracy"),
        ("train_exact_match", "test_exact_match"),
    ):
        if train not in metrics or test not in metrics:
            continue
        one, other = dict(measured(metrics[train])), dict(measured(metrics[test]))
        shared = [step for step in one if step in other and 0 < one[step] != 1]
        equal = [step for step in shared if one[step] == other[step]]
        distinct = {one[step] for step in equal}
        # Two columns that have come down to one floor agree there, within a few units of their last place. With few
        # places two sets of one kind may agree at most evaluations, so there all have to.
        written = max(map(decimals, distinct), default=0)
        unit = max((_unit(value, written) for value in distinct), default=0.0)
        few = written < FULL
        enough = len(distinct) >= (_MANY if few else 3) and len(equal) >= len(shared) / (1 if few else 2)
        if enough and written >= _PLACES and max(distinct) - min(distinct) > _MOVED * unit:
            arithmetic = (
                f"{len(equal):,} of {len(shared):,} evaluations agree to the last digit, {len(distinct):,} values"
            )
            said = "one set read under two names explains it as well"
            at = f"{where}, {train} and {test}"
            yield Finding(Flaw.REPEATED, at, repr(one[equal[0]]), arithmetic, Grade.TELLING, said)


def equal_seeds(record: Record) -> Iterator[Finding]:
    """Two seeds with one and the same curve of the loss."""
    first: dict[tuple[float, ...], int] = {}
    for seed, metrics in record.replicas.items():
        series = metrics.get("train_loss")
        if series is None or not is_full(series) or len(series.values) < 3:
            continue
        if (earlier := first.setdefault(series.values, seed)) != seed:
            arithmetic = f"all {len(series.values):,} losses are those of seed {earlier}"
            said = "a seed that nothing depends on explains it as well"
            at = f"seed {seed}, train_loss"
            yield Finding(Flaw.REPEATED, at, repr(series.values[0]), arithmetic, Grade.TELLING, said)

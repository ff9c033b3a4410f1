"""Columns of a log -> findings: values that repeat more often than their density, or a moving model, explains.

    a column --count neighbours a few units in the last place away--> expected equal pairs --Poisson--> telling?
    a column, the others --equal while they change--> frozen, equal to another column, equal to another seed

Equal losses are common: 2,000 float32 losses within a few thousandths coincide by the birthday paradox (five pairs in
the published log of v1). A loss that stands still with its model is honest too, so a frozen column is a finding only if
another column moves. Columns written with few places are not checked: near a bound they print the same digits.
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

UNLIKELY = 1e-6  # repeats in a whole column with a smaller probability are telling
FULL = 9  # a column with at least so many decimal places holds all digits
_MOVED = 100  # span in units of the last place from which equal columns count as moving
_MANY, _PLACES = 20, 4  # values, and decimal places, from which equal rounded columns are a finding
_NEAR = (2, 5, 10, 20, 50)  # widths of the windows in which neighbours are counted, in units of the last place
_CLUSTERED = 3  # required excess over the expectation: dense values scatter more than Poisson's law


def decimals(value: float) -> int:
    """Return the decimal places of the shortest text of a value."""
    mantissa, _, power = repr(value).partition("e")
    return max(0, len(mantissa.partition(".")[2]) - int(power or 0))


def is_full(series: Series) -> bool:
    """Return whether a column holds all digits and is not rounded."""
    return max((decimals(value) for _, value in measured(series)), default=0) >= FULL


def _unit(value: float, places: int) -> float:
    """Return the resolution of a logged loss: that of float32, or of its decimal places if they are coarser."""
    single = 2.0 ** (math.floor(math.log2(abs(value))) - 23) if value else 2.0**-149
    return max(single, 10.0**-places)


def repeats(series: Series, where: str) -> Iterator[Finding]:
    """Find equal losses at different steps: more pairs than the density predicts, or a repeated stretch of three."""
    points = measured(series)
    kept = [point for before, point in pairwise([(-1, math.nan), *points]) if point[1] != before[1] and point[1] > 0]
    if len(kept) < 6:
        return
    places = max(decimals(value) for _, value in kept)
    values = np.sort(np.array([value for _, value in kept]))
    units = np.array([_unit(float(value), places) for value in values])
    equal = sum(count * (count - 1) // 2 for count in Counter(values.tolist()).values())
    # Narrow windows resolve a peak of the density, wide ones hold enough pairs; the largest expectation counts.
    expected = 0.0
    for width in _NEAR:
        near = np.searchsorted(values, values + (width + 0.5) * units, side="right") - np.arange(len(values)) - 1
        expected = max(expected, (int(near.sum()) - equal + 3) / (2 * width))
    chance = float(poisson.sf(equal - 1, expected))
    explanation = "a model that returns to the same weights, or evaluations that were read twice"
    if equal > _CLUSTERED * expected and chance < UNLIKELY:
        value, times = Counter(values.tolist()).most_common(1)[0]
        arithmetic = (
            f"{equal:,} pairs of equal losses at steps that do not follow each other; their density predicts"
            f" {expected:.2g} (birthday paradox in float32)"
        )
        shown = f"{value!r} {times} times"
        yield Finding(Flaw.REPEATED, where, shown, arithmetic, Grade.TELLING, explanation, chance)
        return
    first: dict[tuple[float, ...], int] = {}
    for index in range(len(kept) - 2):
        stretch = tuple(value for _, value in kept[index : index + 3])
        earlier = first.setdefault(stretch, index)
        if index - earlier >= 3 and len(set(stretch)) == 3:
            spread = float(values[-1] - values[0]) or 1.0
            chance = min(1.0, len(kept) ** 2 / 2 * (float(units.max()) / spread * _NEAR[-1]) ** 3)
            if chance < UNLIKELY:
                arithmetic = f"three losses in a row from step {kept[earlier][0]:,} repeat from step {kept[index][0]:,}"
                yield Finding(Flaw.REPEATED, where, str(stretch), arithmetic, Grade.TELLING, explanation, chance)
                return


def frozen(name: str, metrics: Mapping[str, Series], definitions: Mapping[str, str], where: str) -> Iterator[Finding]:
    """Find a loss with all digits that stands still at consecutive evaluations while another number moves."""
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
        # Losses that differ by a few units in the last place coincide by chance now and then.
        chance = len(points) * min(1.0, _unit(first[1], places) / usual) ** (length - 1)
        if other is None or chance >= UNLIKELY:
            continue
        arithmetic = f"the same to the last digit at {length:,} evaluations in a row, while {other} changes among them"
        explanation = "a column that is measured less often and was filled with its last value"
        at = f"{where}, steps {first[0]:,} to {last[0]:,}"
        yield Finding(Flaw.REPEATED, at, repr(first[1]), arithmetic, Grade.TELLING, explanation, chance)


def _moving(name: str, metrics: Mapping[str, Series], definitions: Mapping[str, str], steps: range) -> str | None:
    """Return a number of the same model that changes at these steps; a minibatch changes without the model."""
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
    """Find a training column and a test column with the same numbers."""
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
        # Two columns at one bound agree within a few units of the last place, so equal values must span more. Rounded
        # columns may agree at most evaluations, so they must agree at all.
        written = max(map(decimals, distinct), default=0)
        unit = max((_unit(value, written) for value in distinct), default=0.0)
        few = written < FULL
        enough = len(distinct) >= (_MANY if few else 3) and len(equal) >= len(shared) / (1 if few else 2)
        if enough and written >= _PLACES and max(distinct) - min(distinct) > _MOVED * unit:
            agreement = f"{len(equal):,} of {len(shared):,} evaluations agree to the last digit"
            arithmetic = f"{agreement}, {len(distinct):,} values"
            explanation = "one set read under two names"
            at = f"{where}, {train} and {test}"
            yield Finding(Flaw.REPEATED, at, repr(one[equal[0]]), arithmetic, Grade.TELLING, explanation)


def equal_seeds(record: Record) -> Iterator[Finding]:
    """Find two seeds with the same training loss at every step."""
    first: dict[tuple[float, ...], int] = {}
    for seed, metrics in record.replicas.items():
        series = metrics.get("train_loss")
        if series is None or not is_full(series) or len(series.values) < 3:
            continue
        if (earlier := first.setdefault(series.values, seed)) != seed:
            arithmetic = f"all {len(series.values):,} losses are those of seed {earlier}"
            explanation = "a seed on which nothing depends"
            at = f"seed {seed}, train_loss"
            yield Finding(Flaw.REPEATED, at, repr(series.values[0]), arithmetic, Grade.TELLING, explanation)

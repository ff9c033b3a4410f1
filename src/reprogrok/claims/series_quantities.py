"""One metric's series -> its value, time or change; each quantity is an entry of one table.

    Series (cut at `until`) + Quantity --entry of SERIES--> Measured, or Missing with the reason

A definition carries its number (`first-above/0.80`) or names the metric's own definition (`change/argmax/answer`), so
that numbers of two definitions are never mistaken for one another.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from reprogrok.claims.claims import Quantity
from reprogrok.claims.measurements import Measured, Measurement, Missing, misasked
from reprogrok.metrics.grokking import (
    MAX_RISE5,
    Censored,
    StepInterval,
    Unknown,
    first_above,
    max_rise5,
    measured,
)
from reprogrok.metrics.regime import find_regime
from reprogrok.metrics.spikes import Spikes, answer_levels, fall_levels, find_spikes
from reprogrok.record import Series

ABOVE, BELOW, TIMES_ABOVE, CHANGE = "first-above/", "first-below/", "times-above/", "change/"
OWN = "the metric's own"  # of an unprocessed value

Point = tuple[int, float]
Points = list[Point]


@dataclass(frozen=True)
class SeriesQuantity:
    """A quantity of one series.

    Attributes:
        definitions: ids, as documented; X stands for a number.
        unit: unit of the value.
        measure: (series up to `until`, quantity) -> measurement.
        whole: whether it needs the run to its end, or to `until`.
        says: the definition, for people.
    """

    definitions: tuple[str, ...]
    unit: str
    measure: Callable[[Series, Quantity], Measurement]
    whole: bool
    says: str


def cut(series: Series, until: int | None) -> Series:
    """Return the evaluations up to step `until`."""
    if until is None:
        return series
    kept = sum(step <= until for step in series.steps)
    return Series(series.steps[:kept], series.values[:kept])


def threshold(quantity: Quantity, *prefixes: str) -> float | Missing:
    """Return the number in the quantity's definition, which begins with one of the prefixes."""
    if (level := level_of(quantity.definition, *prefixes)) is not None:
        return level
    expected = " or ".join(f"{prefix}X" for prefix in prefixes)
    return misasked(f"the definition of {quantity.name} is {expected} with X as 0.80, 0.99 or 0.995")


def level_of(definition: str, *prefixes: str) -> float | None:
    """Return the number in a definition such as `first-above/0.80`; None if it is missing or spelled another way."""
    prefix, slash, number = definition.rpartition("/")
    try:
        level = float(number)
    except ValueError:
        return None
    fits = prefix + slash in prefixes and math.isfinite(level) and level_text(level) == number
    return level if fits else None


def level_text(level: float) -> str:
    """Return a limit as definition ids spell it: 0.80, 1.00, 0.995."""
    short = f"{level:.2f}"
    return short if float(short) == level else repr(float(level))


def first_step(series: Series, quantity: Quantity) -> Measurement:
    """Return the time at which the series reached the level in the definition; its value is that evaluation."""
    level = threshold(quantity, ABOVE, BELOW)
    if isinstance(level, Missing):
        return level
    above = quantity.definition.startswith(ABOVE)
    time = first_above(series, level) if above else first_below(series, level)
    if isinstance(time, Unknown):
        return Missing(time.reason)
    return Measured(float(time.by) if isinstance(time, StepInterval) else None, time=time)


def first_below(series: Series, limit: float) -> StepInterval | Censored | Unknown:
    """Return when a series was first strictly below `limit`; definition `first-below/0.10`."""
    definition, before = f"{BELOW}{level_text(limit)}", None
    for step, value in measured(series):
        if value < limit:
            return StepInterval(before, step, definition)
        before = step
    return Unknown("no evaluation has a value", definition) if before is None else Censored(before, definition)


def _points(series: Series, quantity: Quantity) -> Points | Missing:
    if quantity.definition != quantity.measured_as:
        return misasked(f"the definition of {quantity.name} is {OWN}, {quantity.measured_as}")
    return measured(series) or Missing("no evaluation has a value")


def _of_points(choose: Callable[[Points], Point]) -> Callable[[Series, Quantity], Measurement]:
    def chosen(series: Series, quantity: Quantity) -> Measurement:
        points = _points(series, quantity)
        if isinstance(points, Missing):
            return points
        step, value = choose(points)
        return Measured(value, at_step=step)

    return chosen


def _at_step(series: Series, quantity: Quantity) -> Measurement:
    points = _points(series, quantity)
    if isinstance(points, Missing):
        return points
    if quantity.step is None:
        return misasked("no step is named")
    value = dict(points).get(quantity.step)
    if value is None:
        near = min(points, key=lambda point: abs(point[0] - (quantity.step or 0)))[0]
        return Missing(f"nothing was measured at step {quantity.step:,} (the nearest evaluation is at {near:,})")
    return Measured(value, at_step=quantity.step)


def _steepest(series: Series, quantity: Quantity) -> Measurement:
    if quantity.definition != MAX_RISE5:
        return misasked(f"the definition of {quantity.name} is {MAX_RISE5}")
    rise = max_rise5(series)
    if isinstance(rise, Unknown):
        return Missing(rise.reason)
    if quantity.name == "steepest_step":
        return Measured(float(rise.step), at_step=rise.step)
    return (
        Missing("there are at most five evaluations") if rise.rise is None else Measured(rise.rise, at_step=rise.step)
    )


def _change(series: Series, quantity: Quantity) -> Measurement:
    if quantity.definition != f"{CHANGE}{quantity.measured_as}":
        return misasked(f"the definition of {quantity.name} is {CHANGE}{quantity.measured_as}")
    points, sign = measured(series), 1 if quantity.name == "largest_rise" else -1
    if len(points) < 2:
        return Missing("there are not two evaluations with a value")
    best, since, found = -math.inf, sign * points[0][1], points[1][0]
    for step, value in points[1:]:
        if (change := sign * value - since) > best:
            best, found = change, step
        since = min(since, sign * value)
    return Measured(best, at_step=found)


def _times_above(series: Series, quantity: Quantity) -> Measurement:
    level = threshold(quantity, TIMES_ABOVE)
    if isinstance(level, Missing):
        return level
    above = [value >= level for _, value in measured(series)]
    starts = sum(now and not before for before, now in zip([False, *above], above, strict=False))
    return Measured(float(starts)) if above else Missing("no evaluation has a value")


def _spikes(series: Series, quantity: Quantity) -> Measurement:
    candidates = {levels.definition: levels for levels in (answer_levels(), fall_levels(series)) if levels is not None}
    found: Spikes | None = None
    if quantity.definition in candidates:
        found = find_spikes(series, candidates[quantity.definition])
    elif (losses := find_regime(None, series).losses) is not None and losses.levels.definition == quantity.definition:
        found = losses
    if found is None:
        return misasked(f"no levels {quantity.definition} for this series (or it hardly fell)")
    if quantity.name == "spikes":
        return Measured(float(len(found.spikes)))
    highest = max(found.spikes, key=lambda spike: spike.height, default=None)
    return Missing("there was no spike") if highest is None else Measured(highest.height, at_step=highest.peak_step)


_SPIKES = ("spikes/0.5-1", "spikes/fall-0.1-0.2", "spikes/error-of-0.99-0.9")

SERIES: Mapping[str, SeriesQuantity] = {
    "first_step": SeriesQuantity(
        ("first-above/X", "first-below/X"), "steps", first_step, whole=False,
        says="the interval between the last evaluation below X and the first at or above it (strictly below)",
    ),
    "steepest_step": SeriesQuantity(
        (MAX_RISE5,), "steps", _steepest, whole=True, says="where accuracy rose most over five evaluations"
    ),
    "steepest_rise": SeriesQuantity(
        (MAX_RISE5,), "of the metric", _steepest, whole=True, says="by how much it rose there"
    ),
    "first": SeriesQuantity(
        (OWN,), "of the metric", _of_points(lambda points: points[0]), whole=False, says="the first evaluation's value"
    ),
    "final": SeriesQuantity(
        (OWN,), "of the metric", _of_points(lambda points: points[-1]), whole=True, says="the last evaluation's value"
    ),
    "lowest": SeriesQuantity(
        (OWN,), "of the metric", _of_points(lambda points: min(points, key=lambda point: point[1])), whole=True,
        says="the least value, the first of equals",
    ),
    "highest": SeriesQuantity(
        (OWN,), "of the metric", _of_points(lambda points: max(points, key=lambda point: point[1])), whole=True,
        says="the largest value, the first of equals",
    ),
    "at_step": SeriesQuantity(
        (OWN,), "of the metric", _at_step, whole=False, says="the value at the evaluation `step`"
    ),
    "largest_drop": SeriesQuantity(
        ("change/ID",), "of the metric", _change, whole=True, says="the largest x_i - x_j for i before j"
    ),
    "largest_rise": SeriesQuantity(
        ("change/ID",), "of the metric", _change, whole=True, says="the largest x_j - x_i for i before j"
    ),
    "times_above": SeriesQuantity(
        ("times-above/X",), "times", _times_above, whole=True, says="separate stretches of evaluations at or above X"
    ),
    "spikes": SeriesQuantity(
        _SPIKES, "spikes", _spikes, whole=True, says="separate stretches above the level (docs/measures.md)"
    ),
    "highest_spike": SeriesQuantity(_SPIKES, "of the metric", _spikes, whole=True, says="the largest value in one"),
}  # fmt: skip

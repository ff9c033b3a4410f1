"""The operators of criteria: points of one series -> readings, which a limit is applied to.

    always      one reading per point: its value
    eventually  the same readings; one that meets the limit is enough
    at_end      one reading: the value at the last step of the expected grid; none if that point was not measured
    max_drop    one reading per point j: the largest x_i - x_j over i before j (within W steps, if requested)
    max_rise    the same for x_j - x_i
    slope       two readings: the ends of the confidence interval of the slope over the grid (`stats.slope`)

    points --operator--> readings --limit--> signed margins; the deciding one is the condition's margin

The margin is the signed distance of a value from its limit, in the metric's unit: the robustness of signal temporal
logic (Fainekos and Pappas 2009; Donze and Maler 2010). Positive holds, negative fails, and zero holds unless the limit
is strict (`more_than`, `less_than`). Rank 13 under `at_least: 30` has margin 13 - 30 = -17. `docs/gates.md` has more
examples, and the rules for holes. Numbers are decimals as written: 0.8 - 0.7 is 0.1 here, but more in binary.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal
from enum import StrEnum

from reprogrok.metrics.bounds import Bounds
from reprogrok.stats.slope import fit_slope

# Doubles have at most 17 digits; with 60, sums of metrics that differ by forty orders of magnitude are still exact.
_EXACT = Context(prec=60)


@dataclass(frozen=True)
class Point:
    """One measured value of a metric."""

    step: int
    value: Decimal


@dataclass(frozen=True)
class Reading:
    """One value that a limit is applied to.

    Attributes:
        step: step of the value; for a change or a slope, of the later point.
        value: in the metric's unit.
        since: for a change or a slope, the step of the earlier point.
        note: origin of the value, where steps do not tell it.
    """

    step: int
    value: Decimal
    since: int | None = None
    note: str = ""


@dataclass(frozen=True)
class Frame:
    """The arguments of an operator next to the points.

    Attributes:
        grid: the steps at which points are expected.
        within: for changes, the largest distance in steps between the two points; None for the whole window.
    """

    grid: range
    within: int | None = None
    confidence: float | None = None


class Quantifier(StrEnum):
    """How the readings of an operator decide a condition."""

    EVERY = "every reading must meet the limit; one that does not is a violation, whatever else is missing"
    SOME = "one reading that meets the limit is enough; that none does is known only of a whole grid"
    INTERVAL = "the readings are the ends of an interval: both meet the limit, or neither does, or nothing is decided"


class Relation(StrEnum):
    """The side of the limit that a value must lie on."""

    AT_LEAST = "at_least"
    MORE_THAN = "more_than"
    AT_MOST = "at_most"
    LESS_THAN = "less_than"

    @property
    def sign(self) -> str:
        """As written in a table."""
        return {"at_least": ">=", "more_than": ">", "at_most": "<=", "less_than": "<"}[self.value]


@dataclass(frozen=True)
class Limit:
    """A number and the side of it that a reading must lie on."""

    relation: Relation
    value: Decimal

    def margin(self, value: Decimal) -> Decimal:
        """Return the distance of `value` from the limit, in the metric's unit; negative on the wrong side."""
        if self.relation in {Relation.AT_LEAST, Relation.MORE_THAN}:
            return _EXACT.subtract(value, self.value)
        return _EXACT.subtract(self.value, value)

    def holds(self, value: Decimal) -> bool:
        """Return whether `value` meets the limit; a margin of exactly zero does unless the limit is strict."""
        margin = self.margin(value)
        return margin > 0 if self.relation in {Relation.MORE_THAN, Relation.LESS_THAN} else margin >= 0

    def __str__(self) -> str:
        return f"{self.relation.sign} {float(self.value):.6g}"


class Feasibility(StrEnum):
    """Whether a condition can decide anything, given the bounds of its metric."""

    POSSIBLE = "POSSIBLE"
    IMPOSSIBLE = "IMPOSSIBLE"
    VACUOUS = "VACUOUS"


@dataclass(frozen=True)
class Operator:
    """The reading of a series by one operator.

    Attributes:
        text: the operator in a table, before its limit.
        readings: (usable points in order of steps, frame) -> readings in order of steps.
        span: bounds of the metric -> (smallest, largest) value of a reading.
        needs: the least number of points in a grid.
        quantifier: how the readings decide.
    """

    text: str
    readings: Callable[[Sequence[Point], Frame], Iterator[Reading]]
    span: Callable[[Bounds], tuple[Decimal, Decimal]]
    needs: int
    quantifier: Quantifier = Quantifier.EVERY


def decimal(value: float) -> Decimal:
    """Return the shortest decimal that reads back as this double, not its binary expansion."""
    return Decimal(repr(float(value)))


def feasibility(operator: Operator, limit: Limit, bounds: Bounds) -> Feasibility:
    """Return whether some, no or every value inside the bounds meets the limit; the ends of the span decide."""
    ends = [limit.holds(end) for end in operator.span(bounds)]
    if all(ends):
        return Feasibility.VACUOUS
    return Feasibility.POSSIBLE if any(ends) else Feasibility.IMPOSSIBLE


def _every_point(points: Sequence[Point], _frame: Frame) -> Iterator[Reading]:
    return (Reading(point.step, point.value) for point in points)


def _last_point(points: Sequence[Point], frame: Frame) -> Iterator[Reading]:
    # Not the last recorded point: a run that was cut short has not reached its end.
    return (Reading(point.step, point.value) for point in points if point.step == frame.grid[-1])


def _drops(points: Sequence[Point], frame: Frame) -> Iterator[Reading]:
    """Yield the largest drop that ends at each point; linear in the number of points.

    `highest` holds the earlier points that can still be the maximum, with falling values: its head is the maximum.
    """
    highest: deque[Point] = deque()
    for point in points:
        while frame.within is not None and highest and point.step - highest[0].step > frame.within:
            highest.popleft()
        if highest:
            yield Reading(point.step, _EXACT.subtract(highest[0].value, point.value), highest[0].step)
        while highest and highest[-1].value < point.value:
            highest.pop()
        highest.append(point)


def _rises(points: Sequence[Point], frame: Frame) -> Iterator[Reading]:
    return _drops([Point(point.step, -point.value) for point in points], frame)


def _slope_ends(points: Sequence[Point], frame: Frame) -> Iterator[Reading]:
    # Only of a whole grid, and of no other points: those in between would tilt the line to where more was measured.
    on_grid = [point for point in points if point.step in frame.grid]
    if len(on_grid) < len(frame.grid) or frame.confidence is None:
        return
    found = fit_slope([(point.step, point.value) for point in on_grid], frame.confidence)
    for end in (found.low, found.high):
        yield Reading(frame.grid[-1], end, frame.grid[0], str(found))


def _value_span(bounds: Bounds) -> tuple[Decimal, Decimal]:
    return decimal(bounds.low), decimal(bounds.high)


def _change_span(bounds: Bounds) -> tuple[Decimal, Decimal]:
    widest = _EXACT.subtract(decimal(bounds.high), decimal(bounds.low))
    return -widest, widest


def _slope_span(_bounds: Bounds) -> tuple[Decimal, Decimal]:
    # The steepest line through bounded values depends on the grid; no limit on a slope is called impossible.
    return Decimal("-Infinity"), Decimal("Infinity")


OPERATORS: Mapping[str, Operator] = {
    "always": Operator("always", _every_point, _value_span, needs=1),
    "eventually": Operator("eventually", _every_point, _value_span, needs=1, quantifier=Quantifier.SOME),
    "at_end": Operator("at the end", _last_point, _value_span, needs=1),
    "max_drop": Operator("largest drop", _drops, _change_span, needs=2),
    "max_rise": Operator("largest rise", _rises, _change_span, needs=2),
    # Fewer points do not show the correlation of neighbours.
    "slope": Operator("slope", _slope_ends, _slope_span, needs=10, quantifier=Quantifier.INTERVAL),
}

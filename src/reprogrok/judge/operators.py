"""The operators of criteria: points of one series -> readings, each of which the limit of a condition must hold for.

    always     one reading per point: its value
    at_end     one reading: the value at the last step of the expected grid; none if that point was not measured
    max_drop   one reading per point j: the largest x_i - x_j over i before j (and within W steps, if asked)
    max_rise   the same for x_j - x_i

    points --operator--> readings --limit--> signed margins; the smallest margin is the condition's margin

The margin says how far a value is on the right side of its limit, in the metric's unit, as the robustness of signal
temporal logic does: positive holds, negative fails, and zero holds unless the limit is strict (`more_than`,
`less_than`). Example: rank 13 under `at_least: 30` has margin 13 - 30 = -17; a rise of 0.04 under `at_most: 0.10`
has margin 0.10 - 0.04 = +0.06.

Numbers are judged as the decimals they are written as: 0.8 - 0.7 is 0.1 here, while in binary floating point it is
larger than 0.1 and would break a limit that the log keeps.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal
from enum import StrEnum

from reprogrok.judge.bounds import Bounds

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
        step: where it was reached.
        value: what is compared with the limit, in the metric's unit.
        since: for a change between two points, the step of the earlier one.
    """

    step: int
    value: Decimal
    since: int | None = None


class Relation(StrEnum):
    """On which side of the limit a value must lie."""

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
        """How far `value` lies on the right side, in the metric's unit; negative on the wrong one."""
        if self.relation in {Relation.AT_LEAST, Relation.MORE_THAN}:
            return _EXACT.subtract(value, self.value)
        return _EXACT.subtract(self.value, value)

    def holds(self, value: Decimal) -> bool:
        """Whether `value` meets the limit; a margin of exactly zero does unless the limit is strict."""
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
    """How an operator reads a series.

    Attributes:
        words: for a table, with the limit behind them.
        readings: (points in order of steps, `within` or None, last step of the grid) -> readings in order of steps.
        span: bounds of the metric -> (smallest, largest) value that a reading can have.
        needs: the least number of points in the grid for which there is a reading.
    """

    words: str
    readings: Callable[[Sequence[Point], int | None, int], Iterator[Reading]]
    span: Callable[[Bounds], tuple[Decimal, Decimal]]
    needs: int


def decimal(value: float) -> Decimal:
    """The decimal that a double is written as (its shortest spelling), not its binary expansion."""
    return Decimal(repr(float(value)))


def feasibility(operator: Operator, limit: Limit, bounds: Bounds) -> Feasibility:
    """Whether some, no or every value inside the bounds meets the limit.

    A limit is a half-line, so looking at the two ends of the readings' span decides it.
    """
    smallest, largest = operator.span(bounds)
    ends = (limit.holds(smallest), limit.holds(largest))
    if all(ends):
        return Feasibility.VACUOUS
    return Feasibility.POSSIBLE if any(ends) else Feasibility.IMPOSSIBLE


def _every_point(points: Sequence[Point], _within: int | None, _last: int) -> Iterator[Reading]:
    return (Reading(point.step, point.value) for point in points)


def _last_point(points: Sequence[Point], _within: int | None, last: int) -> Iterator[Reading]:
    # Not "the last point there is": a run that was cut short has not reached its end, neither well nor badly.
    return (Reading(point.step, point.value) for point in points if point.step == last)


def _drops(points: Sequence[Point], within: int | None, _last: int) -> Iterator[Reading]:
    """The largest drop that ends at each point; linear in the number of points.

    `highest` holds the earlier points that can still be the maximum, with falling values: its head is the maximum.
    """
    highest: deque[Point] = deque()
    for point in points:
        while within is not None and highest and point.step - highest[0].step > within:
            highest.popleft()
        if highest:
            yield Reading(point.step, _EXACT.subtract(highest[0].value, point.value), highest[0].step)
        while highest and highest[-1].value < point.value:
            highest.pop()
        highest.append(point)


def _rises(points: Sequence[Point], within: int | None, last: int) -> Iterator[Reading]:
    return _drops([Point(point.step, -point.value) for point in points], within, last)


def _value_span(bounds: Bounds) -> tuple[Decimal, Decimal]:
    return decimal(bounds.low), decimal(bounds.high)


def _change_span(bounds: Bounds) -> tuple[Decimal, Decimal]:
    widest = _EXACT.subtract(decimal(bounds.high), decimal(bounds.low))
    return -widest, widest


OPERATORS: Mapping[str, Operator] = {
    "always": Operator("always", _every_point, _value_span, needs=1),
    "at_end": Operator("at the end", _last_point, _value_span, needs=1),
    "max_drop": Operator("largest drop", _drops, _change_span, needs=2),
    "max_rise": Operator("largest rise", _rises, _change_span, needs=2),
}

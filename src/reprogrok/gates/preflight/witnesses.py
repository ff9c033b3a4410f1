"""Series that prove that a criterion can hold or can fail: bounds + limits -> a series judged HOLDS, or FAILS.

    values at and next to the limits, ends of the bounds --shapes--> series on the criterion's grid --judge--> outcome

A witness is a proof: the gate's own judge judged exactly this series, and the metric can have each of its values.
Constants are tried first, because they are easiest to read.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal
from itertools import permutations
from pathlib import Path

from reprogrok.gates.criteria import Condition, Criterion, Gate
from reprogrok.gates.gate import judge
from reprogrok.gates.verdict import Outcome
from reprogrok.metrics.bounds import Bounds
from reprogrok.record import Record, Series

LEVELS = 12  # values that steps and slopes are made of; all pairs of them are tried


@dataclass(frozen=True)
class Witness:
    """A series with one value per step of a criterion's grid, and a text that describes its shape."""

    text: str
    values: tuple[float, ...]


def outcome(criterion: Criterion, values: tuple[float, ...], facts: Mapping[str, int]) -> Outcome:
    """Judge a criterion on a series with these values, one per step of its grid."""
    gate = Gate("witness", "", "", (criterion,), Path(), "", {})
    series = Series(tuple(criterion.grid), values)
    definitions = {criterion.metric: criterion.definition}
    record = Record(Path(), "witness", "reprogrok", {0: {criterion.metric: series}}, definitions, facts)
    return judge(gate, record).replicas[0].criteria[0].outcome


def find(
    criterion: Criterion, wanted: Outcome, bounds: Bounds, count: int | None, facts: Mapping[str, int]
) -> Witness | None:
    """Return a series inside the bounds with this outcome, or None; `count` is n where values are k/n, else None."""
    tried = candidates(criterion, bounds, count)
    return next((witness for witness in tried if outcome(criterion, witness.values, facts) is wanted), None)


def candidates(criterion: Criterion, bounds: Bounds, count: int | None) -> Iterator[Witness]:
    """Yield constants, then two-valued series (a step in the middle, another last value), then straight lines."""
    values, steps = levels(criterion.conditions, bounds, count), criterion.grid
    for value in values:
        yield Witness(f"{_text(value, count)} throughout", (value,) * len(steps))
    if len(steps) < 2:
        return
    middle, last = len(steps) // 2, len(steps) - 1
    for before, after in permutations(values[:LEVELS], 2):
        for at in dict.fromkeys((middle, last)):
            text = f"{_text(before, count)} before step {steps[at]:,}, {_text(after, count)} from there on"
            yield Witness(text, (before,) * at + (after,) * (len(steps) - at))
    for first, final in permutations(values[:LEVELS], 2):
        line = tuple(_on_grid(first + (final - first) * index / last, count) for index in range(len(steps)))
        yield Witness(f"evenly from {_text(first, count)} to {_text(final, count)}", line)


def levels(conditions: Iterable[Condition], bounds: Bounds, count: int | None) -> tuple[float, ...]:
    """Return the values that decide: the ends of the bounds, each limit, and the nearest values on both sides of it."""
    limits = [float(condition.limit.value) for condition in conditions]
    reach = 2 * max(1.0, *map(abs, limits)) if limits else 2.0
    low = bounds.low if math.isfinite(bounds.low) else -reach
    high = bounds.high if math.isfinite(bounds.high) else max(low, 0.0) + 2 * reach
    near = []
    for limit in limits:
        gap = 1 / count if count else max(1e-6, abs(limit) * 1e-3)
        near += [limit, limit - gap, limit + gap]
    inside = [_on_grid(value, count) for value in (low, high, *near, (low + high) / 2) if low <= value <= high]
    return tuple(dict.fromkeys(inside))


def _on_grid(value: float, count: int | None) -> float:
    """Return the largest k/n not above the value; the value itself where values are not counted."""
    if count is None:
        return value
    k = (Decimal(repr(value)) * count).to_integral_value(ROUND_FLOOR)
    return int(k) / count


def _text(value: float, count: int | None) -> str:
    return f"{value:.6g}" if count is None else f"{round(value * count):,} of {count:,} ({value:.6g})"

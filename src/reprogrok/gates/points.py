"""The points of a series that can be judged, and why others cannot.

    Series + window --finite, inside the bounds of the metric--> Point ..., reasons

Criteria (`gates.gate`) and requirements (`gates.requirements`) both judge these points. Values that are not usable are
left out, never filled in.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from reprogrok.gates.operators import Point, decimal
from reprogrok.metrics.bounds import Bounds
from reprogrok.record import Series
from reprogrok.text import counted


def not_comparable(
    metric: str, definition: str, metrics: Mapping[str, Series], definitions: Mapping[str, str]
) -> str | None:
    """Return why a replica has no values of this metric by this estimator; None if it has."""
    if metric not in metrics:
        recorded = ", ".join(sorted(metrics)) or "nothing"
        return f"{metric} is missing (recorded: {recorded})"
    if (found := definitions.get(metric)) != definition:
        return f"{metric} was measured as {found or 'an unknown definition'}, not as {definition}"
    return None


def usable(series: Series, steps: range, limits: Bounds) -> tuple[list[Point], list[str]]:
    """Return the points of a window that can be judged, and the reasons why others cannot."""
    window = [(step, value) for step, value in zip(series.steps, series.values, strict=True) if step in steps]
    not_numbers = [step for step, value in window if not math.isfinite(value)]
    beyond = [(step, value) for step, value in window if math.isfinite(value) and not limits.contains(value)]
    reasons = []
    if not_numbers:
        reasons.append(f"{counted(len(not_numbers), 'value')} not a number, the first at step {not_numbers[0]:,}")
    if beyond:
        step, value = beyond[0]
        count = counted(len(beyond), "value")
        reasons.append(f"{count} outside the bounds, the first {value:.6g} at step {step:,}: {limits.arithmetic}")
    points = [Point(step, decimal(value)) for step, value in window if math.isfinite(value) and limits.contains(value)]
    return points, reasons

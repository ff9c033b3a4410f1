"""Bounds of metrics, known before anything is measured: facts of a run -> the interval that every value lies in.

    facts of a record (positions, width, ...) --rule of the metric's quantity--> Bounds [low, high], with the arithmetic

The gate compares criteria with these bounds before any training. `metrics.registry` assigns a rule to each metric.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

Facts = Mapping[str, int]
"""Facts of a record by name: positions, width, classes, train_examples, test_examples, steps."""
Rule = Callable[[Facts], "Bounds"]

# Values are measured in float32: this far beyond a bound is rounding, not a contradiction.
ROUNDING = 1e-5


@dataclass(frozen=True)
class Bounds:
    """The closed interval that every value of a metric lies in.

    Attributes:
        low: smallest possible value, in the metric's unit.
        high: largest possible value; infinite if there is none or the record lacks the fact that gives it.
        arithmetic: derivation of both, as one clause.
        missing: the fact that the record lacks for a tighter bound, if any.
    """

    low: float
    high: float
    arithmetic: str
    missing: str | None = None

    def contains(self, value: float) -> bool:
        """Return whether `value` can be a measurement, up to float32 rounding."""
        slack = ROUNDING * max(1.0, abs(self.low), abs(value))
        return self.low - slack <= value <= self.high + slack


def largest_entropy(positions: int) -> float:
    """Return the largest mean attention entropy over T causal query positions, in nats: ln(T!)/T.

    Query t sees t+1 positions, so its entropy is at most ln(t+1) (uniform weights); the mean over t = 0..T-1 is
    ln(T!)/T. T = 8 gives 1.3256.
    """
    return math.lgamma(positions + 1) / positions


def fraction(_facts: Facts) -> Bounds:
    """Bound a fraction of examples."""
    return Bounds(0.0, 1.0, "a fraction of examples lies in [0, 1]")


def cross_entropy(_facts: Facts) -> Bounds:
    """Bound a cross-entropy in nats."""
    return Bounds(0.0, math.inf, "a cross-entropy is at least 0 nats and has no upper bound")


def rank(facts: Facts) -> Bounds:
    """Bound a rank by the width."""
    if (width := facts.get("width", 0)) < 1:
        return Bounds(1.0, math.inf, "a rank is at least 1; the record does not state the width", "width")
    return Bounds(1.0, width, f"a rank lies in [1, width = {width}]")


def entropy(facts: Facts) -> Bounds:
    """Bound the mean attention entropy over all positions."""
    if (positions := facts.get("positions", 0)) < 1:
        return Bounds(0.0, math.inf, "an entropy is at least 0; the record does not state the positions", "positions")
    high = largest_entropy(positions)
    return Bounds(
        0.0,
        high,
        f"the mean over T = {positions} causal positions is at most ln({positions}!)/{positions} = {high:.4f} nats",
    )


def normalised_entropy(_facts: Facts) -> Bounds:
    """Bound an entropy divided by the largest one of as many keys."""
    return Bounds(0.0, 1.0, "an entropy over the largest one of as many keys lies in [0, 1]")


def margin(_facts: Facts) -> Bounds:
    """Leave a margin unbounded."""
    return Bounds(-math.inf, math.inf, "a margin of logits may be any number")


def norm(_facts: Facts) -> Bounds:
    """Bound a norm or a rate."""
    return Bounds(0.0, math.inf, "a norm or a rate is at least 0 and has no upper bound")

"""Points of one series -> the slope of the line through them, with an interval for correlated neighbours.

    (step, value), ... --least squares--> slope, residuals --lag-1 correlation--> effective points --> interval

The evaluations of one training run are correlated, so the ordinary interval of a regression is too narrow. The
correction is that of Santer et al. (2000, J. Geophys. Res. 105, 7337-7356, section 4): with r the lag-1 correlation of
the n residuals, they count as n (1 - r) / (1 + r) independent points, in the standard error and in the degrees of
freedom of Student's t. A negative r is taken as 0, which never narrows the interval. The correction is approximate: r
is underestimated from few points, and too small for a series like a random walk (`docs/gates.md` has its coverage).

Slopes are in the metric's unit per 1,000 steps. Sums are exact fractions of the decimals that a log holds, so that a
constant series has the slope 0 and an interval of width 0; only the root and Student's t are floating point.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Context, Decimal
from fractions import Fraction
from itertools import pairwise

from scipy.special import stdtrit

PER = 1000  # steps
_EXACT = Context(prec=60)


@dataclass(frozen=True)
class Slope:
    """A slope per 1,000 steps with its interval.

    Attributes:
        estimate: least squares.
        low: lower end; minus infinity if the points count as two or fewer.
        high: upper end; infinity if the points count as two or fewer.
        points: number of points.
        worth: number of independent points that they count as.
        confidence: level of the interval.
        definition: `least-squares/lag1`.
    """

    estimate: Decimal
    low: Decimal
    high: Decimal
    points: int
    worth: float
    confidence: float
    definition: str = "least-squares/lag1"

    def __str__(self) -> str:
        interval = f"{100 * self.confidence:g} % interval {float(self.low):.4g} to {float(self.high):.4g}"
        return (
            f"slope {float(self.estimate):+.4g} per {PER:,} steps, {interval} "
            f"({self.points:,} points, worth {self.worth:.3g} independent ones)"
        )


def fit_slope(points: Sequence[tuple[int, Decimal]], confidence: float) -> Slope:
    """Fit the slope of (step, value) points, with a two-sided interval.

    Values 0, 1, 0, 1, ... at steps 1,000 to 10,000 have the slope 1/33 per 1,000 steps; the residuals alternate, so all
    ten points count, and the 95 % interval is -0.1095 to 0.1701.

    Args:
        points: at least three, at different steps.
        confidence: between 0 and 1.
    """
    n = len(points)
    x = [Fraction(step, PER) for step, _ in points]
    y = [Fraction(value) for _, value in points]
    mean_x, mean_y = sum(x, Fraction()) / n, sum(y, Fraction()) / n
    spread = sum(((a - mean_x) ** 2 for a in x), Fraction())
    slope = sum(((a - mean_x) * b for a, b in zip(x, y, strict=True)), Fraction()) / spread
    residuals = [b - mean_y - slope * (a - mean_x) for a, b in zip(x, y, strict=True)]
    squares = sum((e * e for e in residuals), Fraction())
    estimate = _EXACT.divide(Decimal(slope.numerator), Decimal(slope.denominator))
    if not squares:
        return Slope(estimate, estimate, estimate, n, n, confidence)
    alike = max(Fraction(), sum((a * b for a, b in pairwise(residuals)), Fraction()) / squares)
    worth = float(n * (1 - alike) / (1 + alike))
    if worth <= 2:
        return Slope(estimate, Decimal("-Infinity"), Decimal("Infinity"), n, worth, confidence)
    error = math.sqrt(squares / spread / Fraction(worth - 2))
    half = Decimal(repr(float(stdtrit(worth - 2, (1 + confidence) / 2)) * error))
    return Slope(estimate, _EXACT.subtract(estimate, half), _EXACT.add(estimate, half), n, worth, confidence)

"""k of n -> its exact interval. A rate is never a bare number: 0 errors in 100,000 is "at most 3.69e-05".

Needs no more of SciPy than `scipy.special`, because every table of scores imports it.
"""

from __future__ import annotations

from dataclasses import dataclass

from scipy.special import betaincinv

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Proportion:
    """k of n with its exact two-sided interval."""

    k: int
    n: int
    low: float
    high: float

    @property
    def estimate(self) -> float:
        """The fraction k / n."""
        return self.k / self.n


def proportion(k: int, n: int, confidence: float = CONFIDENCE) -> Proportion:
    """Return k of n with its Clopper-Pearson interval (Clopper & Pearson 1934): two quantiles of beta distributions.

    The numbers are those of `scipy.stats.binomtest(k, n).proportion_ci(method="exact")`.

    Worked value: k = 0, n = 100,000 gives [0, 3.6888e-05].
    """
    tail = (1 - confidence) / 2
    low = float(betaincinv(k, n - k + 1, tail)) if k > 0 else 0.0
    high = float(betaincinv(k + 1, n - k, 1 - tail)) if k < n else 1.0
    return Proportion(k, n, low, high)


def interval_text(rate: Proportion) -> str:
    """Return the interval as text: one-sided where one end is certain."""
    if rate.k == 0:
        return f"at most {rate.high:.3g}"
    if rate.k == rate.n:
        return f"at least {rate.low:.6g}"
    return f"{rate.low:.3g} to {rate.high:.3g}"

"""Counts -> intervals and tests; every distribution function is SciPy's.

A rate is never a bare number: 0 errors in 100,000 is "at most 3.69e-05", and 0 of 2 seeds is "at most 0.84".
"""

from __future__ import annotations

from dataclasses import dataclass

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
        """The share k / n."""
        return self.k / self.n


def proportion(k: int, n: int, confidence: float = CONFIDENCE) -> Proportion:
    """Take k of n and its Clopper-Pearson interval (Clopper & Pearson 1934): two quantiles of beta distributions.

    Worked value: k = 0, n = 100,000 gives [0, 3.6888e-05].
    """
    # The same numbers as `scipy.stats.binomtest(k, n).proportion_ci(method="exact")`, whose import alone takes as long
    # as an exam.
    from scipy.special import betaincinv

    tail = (1 - confidence) / 2
    low = float(betaincinv(k, n - k + 1, tail)) if k > 0 else 0.0
    high = float(betaincinv(k + 1, n - k, 1 - tail)) if k < n else 1.0
    return Proportion(k, n, low, high)


def interval_text(rate: Proportion) -> str:
    """The interval in words: one-sided where one end is certain."""
    if rate.k == 0:
        return f"at most {rate.high:.3g}"
    if rate.k == rate.n:
        return f"at least {rate.low:.6g}"
    return f"{rate.low:.3g} to {rate.high:.3g}"


def mcnemar(only_first: int, only_second: int) -> float:
    """Exact McNemar test of two models on the same problems: the two-sided binomial p of the discordant ones.

    Args:
        only_first: problems that only the first model gets wrong.
        only_second: problems that only the second model gets wrong.

    Worked value: 0 and 12 give 2 * 0.5**12 = 0.00048828.
    """
    from scipy.stats import binomtest

    discordant = only_first + only_second
    return 1.0 if discordant == 0 else float(binomtest(only_first, discordant, 0.5).pvalue)


def fisher(k1: int, n1: int, k2: int, n2: int) -> float:
    """Two-sided p of Fisher's exact test for k1 of n1 against k2 of n2, for scores that cannot be paired."""
    import numpy as np
    from scipy.stats import fisher_exact

    return float(fisher_exact(np.array([[k1, n1 - k1], [k2, n2 - k2]])).pvalue)


def holm(p_values: list[float]) -> list[float]:
    """Holm's step-down adjustment (Holm 1979): p-values to be compared with one level for all of them together.

    Worked value: [0.01, 0.04, 0.03] gives [0.03, 0.06, 0.06].
    """
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    adjusted, floor = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        floor = max(floor, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = floor
    return adjusted

"""Counts -> exact p-values: McNemar, Fisher and Boschloo by SciPy, and Holm's adjustment for several.

k of n, k of n --rates_differ--> p of Boschloo's test, of Fisher's beyond 300 replicas
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest, boschloo_exact, fisher_exact

BOSCHLOO_UP_TO = 300  # replicas in both arms together: 0.1 s; at 600 it is seconds


def mcnemar(only_first: int, only_second: int) -> float:
    """Return the exact McNemar p of two models on the same problems: two-sided binomial p of the discordant ones.

    Args:
        only_first: problems that only the first model gets wrong.
        only_second: problems that only the second model gets wrong.

    Worked value: 0 and 12 give 2 * 0.5**12 = 0.00048828.
    """
    discordant = only_first + only_second
    return 1.0 if discordant == 0 else float(binomtest(only_first, discordant, 0.5).pvalue)


def fisher(k1: int, n1: int, k2: int, n2: int) -> float:
    """Return the two-sided p of Fisher's exact test for k1 of n1 against k2 of n2, for unpaired scores."""
    return float(fisher_exact(np.array([[k1, n1 - k1], [k2, n2 - k2]])).pvalue)


def holm(p_values: list[float]) -> list[float]:
    """Return Holm's step-down adjustment (Holm 1979): p-values to compare with one level for all of them together.

    Worked value: [0.01, 0.04, 0.03] gives [0.03, 0.06, 0.06].
    """
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


@dataclass(frozen=True)
class RateTest:
    """The two-sided p of two rates, and the name of the test that gave it."""

    p: float
    test: str


def rates_differ(k1: int, n1: int, k2: int, n2: int) -> RateTest:
    """Test k1 of n1 against k2 of n2: Boschloo (1970) up to 300 replicas together, Fisher's exact test beyond.

    Boschloo's test takes Fisher's p as its statistic and is at least as powerful; its time grows with both arms. The
    two-sided p is twice the smaller one-sided one, so a p of at most 0.05 tells the direction at 0.025.

    Worked value: 0 of 5 against 5 of 5 gives 2 * 0.5**10 = 0.0019531, and Fisher's p is 2 / 252 = 0.0079365.
    """
    total = n1 + n2
    name = "Boschloo's exact test" if total <= BOSCHLOO_UP_TO else "Fisher's exact test"
    if k1 + k2 in (0, total):  # all alike: SciPy has no p for a table with an empty row
        return RateTest(1.0, name)
    table = np.array([[k1, k2], [n1 - k1, n2 - k2]])
    if total <= BOSCHLOO_UP_TO:
        return RateTest(min(1.0, float(boschloo_exact(table).pvalue)), name)
    tails = (float(fisher_exact(table, alternative=side).pvalue) for side in ("less", "greater"))
    return RateTest(min(1.0, 2 * min(tails)), name)

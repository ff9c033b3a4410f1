"""Counts -> intervals and tests; every distribution function is SciPy's.

A rate is never a bare number: 0 errors in 100,000 is "at most 3.69e-05", and 0 of 2 seeds is "at most 0.84".

    k of n            --proportion--> exact interval
    k of n, k of n    --rates_differ--> p of Boschloo's test, of Fisher's beyond a size
    k of n so far, and the rate that is assumed --seeds_for_*--> how many more until an interval or a test decides

How many seeds a decision needs is computed from exact binomial probabilities, never from a normal approximation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CONFIDENCE = 0.95
POWER = 0.8
MOST_SEEDS = 10_000  # nobody trains more; searches for a number of seeds end here
BOSCHLOO_UP_TO = 300  # replicas in both arms together: 0.1 s; at 600 it is seconds


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


@dataclass(frozen=True)
class RateTest:
    """Two rates side by side: the two-sided p, and the name of the test that gave it."""

    p: float
    test: str


def rates_differ(k1: int, n1: int, k2: int, n2: int) -> RateTest:
    """Test k1 of n1 against k2 of n2: Boschloo (1970) up to 300 replicas together, Fisher's exact test beyond.

    Boschloo's test takes Fisher's p as its statistic and is never the weaker of the two; its time grows with both arms.
    The two-sided p is twice the smaller one-sided one, so a p of at most 0.05 tells the direction at 0.025.

    Worked value: 0 of 5 against 5 of 5 gives 2 * 0.5**10 = 0.0019531, and Fisher's p is 2 / 252 = 0.0079365.
    """
    import numpy as np
    from scipy.stats import boschloo_exact, fisher_exact

    total = n1 + n2
    name = "Boschloo's exact test" if total <= BOSCHLOO_UP_TO else "Fisher's exact test"
    if k1 + k2 in (0, total):  # all alike: SciPy has no p for a table with an empty row
        return RateTest(1.0, name)
    table = np.array([[k1, k2], [n1 - k1, n2 - k2]])
    if total <= BOSCHLOO_UP_TO:
        return RateTest(min(1.0, float(boschloo_exact(table).pvalue)), name)
    tails = (float(fisher_exact(table, alternative=side).pvalue) for side in ("less", "greater"))
    return RateTest(min(1.0, 2 * min(tails)), name)


def seeds_for_region(
    k: int, n: int, rate: float, low: float, high: float, *, confidence: float = CONFIDENCE, power: float = POWER
) -> int | None:
    """How many more seeds until the interval of `proportion` lies inside [low, high] or beside it, with that power.

    Args:
        k: events so far, which count as they are.
        n: replicas so far.
        rate: of the replicas to come: the alternative for which the power is asked.
        low: least rate of the region.
        high: largest rate of the region.
        confidence: of the interval.
        power: wanted probability of a decision, either one.

    Returns:
        The least number from which on every number up to 10,000 has the power (a larger sample can have a smaller one:
        counts are whole); None if that takes more than 10,000, as it does if the rate lies on the region's edge.

    Worked value: 0 of 2 against [0.5, 1] with a rate of 0 takes 4 more, as 0 of 6 is "at most 0.459" and 0 of 5 0.522.
    """
    import numpy as np

    more = np.arange(1, MOST_SEEDS + 1)
    first_low, last_low, first_in, last_in = _deciding_counts(n + more, low, high, confidence)
    found = _between(more, rate, first_low - k, last_low - k) + _between(more, rate, first_in - k, last_in - k)
    first_high = _first_above(n + more, high, confidence)
    found += _between(more, rate, first_high - k, n + more - k)
    return _first_lasting(more, found, power)


def seeds_for_same_rate(
    k: int, n: int, rate: float, other: tuple[int, int], margin: float, *, power: float = POWER
) -> int | None:
    """How many more seeds until k of n is told from another count, or shown to be within `margin` of it.

    The other count stays as it is. Different: twice Fisher's one-sided p is at most 0.05, so Boschloo's is too. Within
    the margin: the two intervals at 97.5 % leave no larger difference. `rate` is that of the replicas to come.

    Returns:
        As `seeds_for_region`, on a grid of numbers that are at most 5 % apart.
    """
    confidence = 1 - (1 - CONFIDENCE) / 2
    fixed = proportion(*other, confidence)
    more = _ladder()
    low, high = max(0.0, fixed.high - margin), min(1.0, fixed.low + margin)
    _, _, first_in, last_in = _deciding_counts(n + more, low, high, confidence)
    if low > high:
        last_in = first_in - 1
    below, above = fisher_limits(n + more, *other)
    found = _between(more, rate, -k, below - k) + _between(more, rate, above - k, n + more - k)
    first_in, last_in = (first_in.clip(below + 1, above), last_in.clip(below, above - 1))
    found += _between(more, rate, first_in - k, last_in - k)
    return _first_lasting(more, found, power)


def seeds_for_order(k1: int, n1: int, k2: int, n2: int, *, power: float = POWER) -> int | None:
    """How many more seeds per arm until two rates differ significantly, if both arms go on at the rates seen so far.

    Computed with twice Fisher's one-sided p at 0.05; Boschloo's test needs as many or fewer.

    Returns:
        The least number on a grid that is at most 5 % apart, from which on two in a row have the power; None if that
        takes more than 10,000.
    """
    if k1 * n2 == k2 * n1:
        return None
    seen = False
    ladder = _ladder()
    # Rates 0.05 apart take at most some 1,600 per arm; only closer ones are worth the dear look at the last rung first.
    if abs(k1 / n1 - k2 / n2) < 0.05 and _order_power((k1, n1), (k2, n2), int(ladder[-1])) < power:
        return None
    for index, more in enumerate(ladder):
        enough = _order_power((k1, n1), (k2, n2), int(more)) >= power
        if enough and seen:
            return int(ladder[index - 1])
        seen = enough
    return int(ladder[-1])


def _order_power(one: tuple[int, int], other: tuple[int, int], more: int) -> float:
    """The probability that Fisher's test tells two arms apart after `more` seeds in each at the rates seen so far."""
    import numpy as np
    from scipy.stats import binom

    (k1, n1), (k2, n2) = one, other
    # All but 2e-6 of the probability; what is left out makes the power smaller, never larger.
    drawn = np.arange(binom.ppf(1e-6, more, k1 / n1), binom.isf(1e-6, more, k1 / n1) + 1)
    below, above = fisher_limits(np.full(len(drawn), n2 + more), k1 + drawn, n1 + more)
    decided = binom.cdf(below - k2, more, k2 / n2) + binom.sf(above - k2 - 1, more, k2 / n2)
    return float(np.sum(binom.pmf(drawn, more, k1 / n1) * decided))


def fisher_limits(
    n: NDArray[np.int64], k2: int | NDArray[np.float64], n2: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each n: the largest k that is significantly rarer than k2 of n2, and the smallest that is more frequent.

    Significant is twice the one-sided p of Fisher's test <= 0.05. None is -1 and n + 1.

    Worked value: against 0 of 5, 5 of 5 and 4 of 5 are more frequent (p = 2/252, 12/252), 3 of 5 (p = 42/252) is not.
    """
    import numpy as np
    from scipy.stats import hypergeom

    level = (1 - CONFIDENCE) / 2
    below = _largest(n, lambda k: np.asarray(hypergeom.cdf(k, n + n2, k + k2, n) <= level))
    above = n - _largest(n, lambda k: np.asarray(hypergeom.sf(n - k - 1, n + n2, n - k + k2, n) <= level))
    return below, above


def _largest(n: NDArray[np.int64], holds: Callable[[NDArray[np.int64]], NDArray[Any]]) -> NDArray[np.int64]:
    """By bisection, for each n the largest k in 0..n up to which `holds`; -1 if it does not even at 0."""
    import numpy as np

    yes, no = np.full_like(n, -1), n + 1
    while np.any(no - yes > 1):
        middle = np.clip((yes + no) // 2, 0, n)
        good = holds(middle) & (no - yes > 1)
        yes, no = np.where(good, middle, yes), np.where(good | (no - yes <= 1), no, middle)
    return yes


def _deciding_counts(n: NDArray[np.int64], low: float, high: float, confidence: float) -> tuple[NDArray[np.int64], ...]:
    """The counts whose interval lies below the region, as first and last, and those whose interval lies inside it.

    A limit of an interval is compared through the tail of the binomial that defines it: the upper limit of k is below
    `low` if and only if k or fewer of n have a probability below (1 - confidence) / 2 at the rate `low`.
    """
    import numpy as np
    from scipy.stats import binom

    tail = (1 - confidence) / 2
    below = binom.ppf(tail, n, low) - 1 if low > 0 else np.full(len(n), -1)
    first_in = binom.isf(tail, n, low) + 1 if low > 0 else np.zeros(len(n))
    last_in = binom.ppf(tail, n, high) - 1 if high < 1 else n
    kinds = np.zeros(len(n)), below, first_in, last_in
    return tuple(np.asarray(counts, dtype=np.int64) for counts in kinds)


def _first_above(n: NDArray[np.int64], high: float, confidence: float) -> NDArray[np.int64]:
    """The smallest count whose interval lies above `high`; n + 1 if there is none."""
    import numpy as np
    from scipy.stats import binom

    first = binom.isf((1 - confidence) / 2, n, high) + 1 if high < 1 else n + 1
    return np.asarray(first, dtype=np.int64)


def _between(
    more: NDArray[np.int64], rate: float, first: NDArray[np.int64] | int, last: NDArray[np.int64]
) -> NDArray[np.float64]:
    """The probability that `more` draws at `rate` give from `first` to `last` events; 0 where that is empty."""
    import numpy as np
    from scipy.stats import binom

    share = binom.cdf(last, more, rate) - binom.cdf(np.asarray(first) - 1, more, rate)
    return np.asarray(np.clip(share, 0.0, 1.0), dtype=np.float64)


def _first_lasting(more: NDArray[np.int64], found: NDArray[np.float64], power: float) -> int | None:
    """The first number from which on the power is never again below what is wanted."""
    import numpy as np

    short = np.flatnonzero(found < power)
    if len(short) == 0:
        return int(more[0])
    return None if short[-1] == len(more) - 1 else int(more[short[-1] + 1])


def _ladder() -> NDArray[np.int64]:
    """Numbers of seeds from 1 to 10,000, each at most 5 % (or one seed) larger than the one before."""
    import numpy as np

    steps = [1]
    while steps[-1] < MOST_SEEDS:
        steps.append(min(MOST_SEEDS, max(steps[-1] + 1, steps[-1] * 21 // 20)))
    return np.array(steps, dtype=np.int64)

"""k of n so far and an assumed rate -> how many more seeds until an interval or a test decides, with a given power.

Computed from exact binomial probabilities, never from a normal approximation.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom, hypergeom

from reprogrok.stats.proportions import CONFIDENCE, proportion

POWER = 0.8
MOST_SEEDS = 10_000  # nobody trains more; searches for a number of seeds end here

Ints = NDArray[np.int64]


def seeds_for_region(
    k: int, n: int, rate: float, low: float, high: float, *, confidence: float = CONFIDENCE, power: float = POWER
) -> int | None:
    """Return how many more seeds put the interval of `proportion` inside or outside [low, high] with the given power.

    Args:
        k: events so far, which count as they are.
        n: replicas so far.
        rate: assumed rate of the replicas to come.
        low: least rate of the region.
        high: largest rate of the region.
        confidence: of the interval.
        power: probability of a decision, either one.

    Returns:
        The least number from which on every number up to 10,000 has the power (a larger sample can have a smaller one:
        counts are whole); None if that takes more than 10,000, as it does if the rate lies on the region's edge.

    Worked value: 0 of 2 against [0.5, 1] with a rate of 0 takes 4 more, as 0 of 6 is "at most 0.459" and 0 of 5 0.522.
    """
    more = np.arange(1, MOST_SEEDS + 1)
    first_low, last_low, first_in, last_in = _deciding_counts(n + more, low, high, confidence)
    found = _between(more, rate, first_low - k, last_low - k) + _between(more, rate, first_in - k, last_in - k)
    first_high = _first_above(n + more, high, confidence)
    found += _between(more, rate, first_high - k, n + more - k)
    return first_lasting(more, found, power)


def seeds_for_same_rate(
    k: int, n: int, rate: float, other: tuple[int, int], margin: float, *, power: float = POWER
) -> int | None:
    """Return how many more seeds tell k of n from another count, or show it to be within `margin` of it.

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
    return first_lasting(more, found, power)


def seeds_for_order(k1: int, n1: int, k2: int, n2: int, *, power: float = POWER) -> int | None:
    """Return how many more seeds per arm make two rates differ significantly, if both go on at the rates seen so far.

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
    """Return the power of Fisher's test after `more` seeds in each arm at the rates seen so far."""
    (k1, n1), (k2, n2) = one, other
    # All but 2e-6 of the probability; what is left out makes the power smaller, never larger.
    drawn = np.arange(binom.ppf(1e-6, more, k1 / n1), binom.isf(1e-6, more, k1 / n1) + 1)
    below, above = fisher_limits(np.full(len(drawn), n2 + more), k1 + drawn, n1 + more)
    decided = binom.cdf(below - k2, more, k2 / n2) + binom.sf(above - k2 - 1, more, k2 / n2)
    return float(np.sum(binom.pmf(drawn, more, k1 / n1) * decided))


def fisher_limits(n: Ints, k2: int | NDArray[np.float64], n2: int) -> tuple[Ints, Ints]:
    """Return for each n the largest k significantly rarer than k2 of n2, and the smallest that is more frequent.

    Significant means that twice the one-sided p of Fisher's test is <= 0.05. None is -1 and n + 1.

    Worked value: against 0 of 5, 5 of 5 and 4 of 5 are more frequent (p = 2/252, 12/252), 3 of 5 (p = 42/252) is not.
    """
    level = (1 - CONFIDENCE) / 2
    below = _largest(n, lambda k: np.asarray(hypergeom.cdf(k, n + n2, k + k2, n) <= level))
    above = n - _largest(n, lambda k: np.asarray(hypergeom.sf(n - k - 1, n + n2, n - k + k2, n) <= level))
    return below, above


def _largest(n: Ints, holds: Callable[[Ints], NDArray[np.bool_]]) -> Ints:
    """Return by bisection, for each n, the largest k in 0..n up to which `holds`; -1 if it fails at 0."""
    yes, no = np.full_like(n, -1), n + 1
    while np.any(no - yes > 1):
        middle = np.clip((yes + no) // 2, 0, n)
        good = holds(middle) & (no - yes > 1)
        yes, no = np.where(good, middle, yes), np.where(good | (no - yes <= 1), no, middle)
    return yes


def _deciding_counts(n: Ints, low: float, high: float, confidence: float) -> tuple[Ints, ...]:
    """Return the first and last count whose interval lies below the region, and those whose interval lies inside it.

    A limit of an interval is compared through the tail of the binomial that defines it: the upper limit of k is below
    `low` if and only if k or fewer of n have a probability below (1 - confidence) / 2 at the rate `low`.
    """
    tail = (1 - confidence) / 2
    below = binom.ppf(tail, n, low) - 1 if low > 0 else np.full(len(n), -1)
    first_in = binom.isf(tail, n, low) + 1 if low > 0 else np.zeros(len(n))
    last_in = binom.ppf(tail, n, high) - 1 if high < 1 else n
    kinds = np.zeros(len(n)), below, first_in, last_in
    return tuple(np.asarray(counts, dtype=np.int64) for counts in kinds)


def _first_above(n: Ints, high: float, confidence: float) -> Ints:
    """Return the smallest count whose interval lies above `high`; n + 1 if there is none."""
    first = binom.isf((1 - confidence) / 2, n, high) + 1 if high < 1 else n + 1
    return np.asarray(first, dtype=np.int64)


def _between(more: Ints, rate: float, first: Ints | int, last: Ints) -> NDArray[np.float64]:
    """Return the probability that `more` draws at `rate` give from `first` to `last` events; 0 where that is empty."""
    found = binom.cdf(last, more, rate) - binom.cdf(np.asarray(first) - 1, more, rate)
    return np.asarray(np.clip(found, 0.0, 1.0), dtype=np.float64)


def first_lasting(more: Ints, found: NDArray[np.float64], power: float) -> int | None:
    """Return the first number from which on the power is never again below `power`; None if there is none."""
    short = np.flatnonzero(found < power)
    if len(short) == 0:
        return int(more[0])
    return None if short[-1] == len(more) - 1 else int(more[short[-1] + 1])


def _ladder() -> Ints:
    """Return numbers of seeds from 1 to 10,000, each at most 5 % (or one seed) larger than the one before."""
    steps = [1]
    while steps[-1] < MOST_SEEDS:
        steps.append(min(MOST_SEEDS, max(steps[-1] + 1, steps[-1] * 21 // 20)))
    return np.array(steps, dtype=np.int64)

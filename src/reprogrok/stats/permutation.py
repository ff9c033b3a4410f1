"""Two samples of replicas -> scores -> a two-sided permutation p, and how many more seeds it lacks.

    two samples --logrank_scores or ranks--> scores --permutation--> p
    two samples --seeds_for_scores--> about how many more seeds until the p is small enough

Source of the scores: Mantel 1966, Peto & Peto 1972; Mann & Whitney 1947.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import comb

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.special import ndtri
from scipy.stats import permutation_test, rankdata

from reprogrok.stats.proportions import CONFIDENCE
from reprogrok.stats.sample_sizes import MOST_SEEDS, POWER, Ints

Floats = NDArray[np.float64]

EXACT_SPLITS = 5_000  # of two samples: all of them are tried up to here (7 + 7 replicas have 3,432)
RANDOM_SPLITS = 9_999
SIMULATED = 2_000  # samples per size when the seeds needed are estimated
_ROUNDING = 1e-9  # equal scores are sums of the same fractions in another order


def logrank_scores(ends: Sequence[float], reached: Sequence[bool]) -> Floats:
    """Return the log-rank score of each replica of a pooled sample: 1 if it got there, minus its cumulative hazard.

    The hazard is the sum over the steps up to its own of (replicas that got there) / (replicas that had not before).
    The sum of the scores over one arm is Mantel's observed minus expected number, the numerator of the log-rank test
    (Mantel 1966): positive where an arm is earlier.

    Worked value: reached at 1, 2, 3 gives 2/3, 1/6, -5/6.
    """
    at, got = np.asarray(ends, dtype=float), np.asarray(reached, dtype=bool)
    hazard = np.zeros(len(at))
    for step in np.unique(at[got]):
        hazard[at >= step] += np.count_nonzero(got & (at == step)) / np.count_nonzero(at >= step)
    return np.asarray(got - hazard, dtype=np.float64)


def ranks(values: Sequence[float]) -> Floats:
    """Return the rank of each value of a pooled sample from the largest (-1) on, ties at their mean: higher is earlier.

    The sum over one arm is Wilcoxon's, so its permutation test is that of Mann & Whitney (1947), exact with ties too.
    """
    return np.asarray(-rankdata(values), dtype=np.float64)


@dataclass(frozen=True)
class Permutation:
    """The result of a permutation test on two samples of scores.

    Attributes:
        p: two-sided p: twice the smaller one-sided one, at most 1.
        first_is_higher: whether the first sample has the higher mean score.
        splits: number of splits that were tried.
        exact: whether these are all splits.
    """

    p: float
    first_is_higher: bool
    splits: int
    exact: bool


def permutation(first: Floats, second: Floats, rng: Generator) -> Permutation:
    """Test whether the labels of the replicas matter to the sum of the first scores, with SciPy's permutation test.

    All splits up to 5,000; beyond that 9,999 random ones, and p = (b + 1) / (m + 1) with b of m as extreme (Davison &
    Hinkley 1997; Phipson & Smyth 2010), which never is 0.

    Worked value: 4 against 4 that do not overlap give 2 / 70 = 0.02857; 3 against 3 give 2 / 20 = 0.1 at best.
    """
    splits = comb(len(first) + len(second), len(first))
    exact = splits <= EXACT_SPLITS
    earlier = bool(np.mean(first) > np.mean(second))
    if min(len(first), len(second)) == 1:  # SciPy's test wants two of each; here a split is a choice of one replica
        alone, pooled = (first if len(first) == 1 else second)[0], np.concatenate([first, second])
        tails = (np.mean(pooled <= alone + _ROUNDING), np.mean(pooled >= alone - _ROUNDING))
        return Permutation(min(1.0, 2 * float(min(tails))), earlier, splits, exact=True)
    result = permutation_test(
        (first, second),
        lambda one, _, axis: np.sum(one, axis=axis),
        vectorized=True,
        n_resamples=EXACT_SPLITS if exact else RANDOM_SPLITS,
        rng=rng,
    )
    return Permutation(float(result.pvalue), earlier, splits if exact else RANDOM_SPLITS, exact)


def least_per_arm(n1: int, n2: int) -> int:
    """Return how many more seeds per arm make a p of at most 0.05 possible; 0 if it already is."""
    more = 0
    while 2 / comb(n1 + n2 + 2 * more, n1 + more) > 1 - CONFIDENCE:
        more += 1
    return more


def seeds_for_scores(
    first: Sequence[tuple[float, bool]],
    second: Sequence[tuple[float, bool]],
    score: Callable[[Ints, NDArray[np.bool_]], Floats],
    rng: Generator,
    *,
    power: float = POWER,
) -> int | None:
    """Estimate how many more seeds per arm make two samples differ, if those to come are drawn from those seen.

    2,000 samples are drawn per size, and judged by the normal approximation of the permutation distribution, whose mean
    and variance are exact. Sizes grow by a quarter, then the gap is halved.

    Args:
        first: (value, reached) of each replica.
        second: the same for the second sample.
        score: `logrank_class_scores` or `rank_class_scores`.
        rng: generator of the samples.
        power: probability of a significant difference.

    Returns:
        None if it takes more than 10,000 or if the samples do not differ at all.
    """
    classes = sorted({*first, *second}, key=lambda seen: (seen[0], not seen[1]))
    reached = np.array([seen[1] for seen in classes])
    counts = [np.array([sample.count(seen) for seen in classes]) for sample in (list(first), list(second))]
    one, other = counts

    def found(more: int) -> float:
        drawn = [seen + rng.multinomial(more, seen / seen.sum(), size=SIMULATED) for seen in (one, other)]
        pooled_SC = drawn[0] + drawn[1]
        scores_SC = score(pooled_SC, reached)
        n1, n2 = int(one.sum()) + more, int(other.sum()) + more
        total = n1 + n2
        mean = np.sum(pooled_SC * scores_SC, axis=1) / total
        spread = np.sum(pooled_SC * (scores_SC - mean[:, None]) ** 2, axis=1) * n1 * n2 / (total * (total - 1))
        away = np.abs(np.sum(drawn[0] * scores_SC, axis=1) - n1 * mean)
        return float(np.mean((spread > 0) & (away >= -ndtri((1 - CONFIDENCE) / 2) * np.sqrt(spread))))

    high = max(1, least_per_arm(int(one.sum()), int(other.sum())))
    low = high - 1
    if found(MOST_SEEDS) < power:
        return None
    while high < MOST_SEEDS and found(high) < power:
        low, high = high, min(MOST_SEEDS, max(high + 1, high * 5 // 4))
    while high - low > max(1, high // 20):
        middle = (low + high) // 2
        low, high = (low, middle) if found(middle) >= power else (middle, high)
    return high


def logrank_class_scores(counts_SC: Ints, reached: NDArray[np.bool_]) -> Floats:
    """Return `logrank_scores` for samples as counts of ascending classes; a row is a sample, a column a class.

    Classes of one step come reached first, then censored, so that the censored count as still there.
    """
    there = np.cumsum(counts_SC[:, ::-1], axis=1)[:, ::-1]
    hazard = np.cumsum(np.where(reached, counts_SC, 0) / np.maximum(there, 1), axis=1)
    return np.asarray(reached - hazard, dtype=np.float64)


def rank_class_scores(counts_SC: Ints, _reached: NDArray[np.bool_]) -> Floats:
    """Return `ranks` for samples as counts of ascending classes."""
    return np.asarray(-(np.cumsum(counts_SC, axis=1) - (counts_SC - 1) / 2), dtype=np.float64)

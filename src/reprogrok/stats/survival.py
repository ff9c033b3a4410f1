"""Times to an event over replicas, some of which never got there -> curves, medians, and two samples side by side.

    times --right_ends--> RightEnd(least, most) --kaplan_meier--> Survival with its band
    intervals around n values --median_interval--> exact interval of the median
    two samples --logrank_scores or ranks--> scores --permutation--> p, two-sided
    two samples --seeds_for_scores--> about how many more seeds until the p is small enough

Times are the right ends of their intervals: the evaluation that had got there, as published logs give "the step". Two
samples of right ends can be compared only if the evaluations agree (`grid_difference`); otherwise the denser grid looks
earlier. A replica that did not get there is later than its last evaluation, or never: right-censored, and no value.

Source of the curve: Kaplan & Meier 1958; of its band: Kalbfleisch & Prentice's log(-log) interval, both SciPy's. Of the
interval read off the band: Brookmeyer & Crowley 1982. Of the scores: Mantel 1966, Peto & Peto 1972.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import comb
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr, ndtri
from scipy.stats import CensoredData, ecdf, permutation_test, rankdata

from reprogrok.metrics.grokking import Censored, StepInterval
from reprogrok.stats.statistics import CONFIDENCE, MOST_SEEDS, POWER

if TYPE_CHECKING:
    from numpy.random import Generator

Times = Sequence[StepInterval | Censored]
Floats = NDArray[np.float64]

EXACT_SPLITS = 5_000  # of two samples: all of them are tried up to here (7 + 7 replicas have 3,432)
RANDOM_SPLITS = 9_999
SIMULATED = 2_000  # samples per size when seeds needed are estimated
_ROUNDING = 1e-9  # equal scores are sums of the same fractions in another order
LEAST_FOR_MEDIAN = 6  # 2 * 0.5**5 = 0.0625 is more than 0.05


@dataclass(frozen=True)
class Survival:
    """The share of replicas that have not got there yet, after each step at which that changed.

    Attributes:
        n: replicas.
        events: of them, those that got there.
        steps: right ends at which replicas got there, ascending.
        share: Kaplan-Meier estimate from that step on.
        low: lower end of its pointwise 95 % band; NaN where the band is not defined (nobody or everybody got there).
        high: upper end.
        last: the last step at which every replica that had not got there was still watched.
    """

    n: int
    events: int
    steps: tuple[int, ...]
    share: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    last: int | None

    @property
    def median(self) -> int | None:
        """The first step at which at most half had not got there; None if the median was not reached."""
        return _first(self.steps, self.share)

    @property
    def median_band(self) -> tuple[int | None, int | None]:
        """The steps at which the band crosses one half (Brookmeyer & Crowley 1982); None where it does not.

        An approximation for many replicas: see docs/statistics.md for how often it holds the median of a few.
        """
        return _first(self.steps, self.low), _first(self.steps, self.high)


def _first(steps: Sequence[int], shares: Sequence[float]) -> int | None:
    # Sums such as 1 - 0.1 - 0.4 miss one half by rounding alone.
    return next((step for step, share in zip(steps, shares, strict=True) if share <= 0.5 + 1e-12), None)


def kaplan_meier(times: Times) -> Survival:
    """The Kaplan-Meier estimate of when replicas get there, with its pointwise band (SciPy's `ecdf`).

    Args:
        times: at least one, of one definition, on one grid of evaluations.

    Worked value (Freireich et al. 1963, treated arm, n = 21): S(6) = 0.857, S(10) = 0.753, S(23) = 0.448, median 23.
    """
    reached = [time.by for time in times if isinstance(time, StepInterval)]
    ends = [time.at for time in times if isinstance(time, Censored)]
    last = min(ends, default=None)
    if not reached:
        return Survival(len(times), 0, (), (), (), (), last)
    curve = ecdf(CensoredData(uncensored=reached, right=ends)).sf
    with warnings.catch_warnings():  # a band around a share of 0 or 1 is 0/0: SciPy says NaN, and warns
        warnings.simplefilter("ignore", RuntimeWarning)
        band = curve.confidence_interval(CONFIDENCE, method="log-log")
    steps = sorted(set(reached))
    return Survival(
        n=len(times),
        events=len(reached),
        steps=tuple(steps),
        share=_at(curve, steps),
        low=_at(band.low, steps),
        high=_at(band.high, steps),
        last=last,
    )


def _at(curve: Any, steps: Sequence[int]) -> tuple[float, ...]:
    """Values of SciPy's step function, whose type its stubs do not know."""
    return tuple(float(share) for share in curve.evaluate(steps))


def right_ends(times: Times) -> tuple[list[float], list[float]]:
    """The least and the largest right end of each time: the same for one that was reached, at + 1 and infinity else."""
    least = [float(time.by if isinstance(time, StepInterval) else time.earliest) for time in times]
    most = [float(time.by) if isinstance(time, StepInterval) else math.inf for time in times]
    return least, most


def median_rank(n: int, confidence: float = CONFIDENCE) -> int:
    """The largest d for which the d-th smallest and the d-th largest of n values enclose the median; 0 if none does.

    They miss it with a probability of at most 2 * P(Binomial(n, 1/2) < d): on one side fewer than d values lie, which
    is the sign test turned round (Thompson 1936; David & Nagaraja 2003, section 7.1), whatever the distribution.

    Worked values: n = 6 gives 1 (missed with 2 * 0.5**6 = 0.03125), n = 5 none (0.0625), n = 20 gives 6 (0.0414).
    """
    ranks = np.arange(n // 2)
    return int(np.count_nonzero(2 * bdtr(ranks, n, 0.5) <= 1 - confidence))


def median_interval(least: Sequence[float], most: Sequence[float]) -> tuple[float, float] | None:
    """The exact 95 % interval of a median of values each of which is only known to lie in an interval; None below 6.

    The d-th smallest of the lower ends is no larger than the d-th smallest value, the d-th largest of the upper ends no
    smaller than the d-th largest value: so the interval holds at least as often as that of `median_rank`, whatever was
    censored, why, and where. Replicas that were all censored at one common end lose nothing by it.

    Worked value: 100, ..., 600 give [100, 600]; with the two largest censored at 500, [100, inf].
    """
    rank = median_rank(len(least))
    if rank == 0:
        return None
    return sorted(least)[rank - 1], sorted(most)[len(most) - rank]


def seeds_for_median(below: int, above: int, n: int, *, power: float = POWER) -> int | None:
    """How many more seeds until the interval of the median lies inside the region or beside it.

    Args:
        below: values so far that are below the region; those to come are with the same frequency.
        above: values above it.
        n: all values so far.
        power: wanted probability of a decision.

    Where values lie is all that the decision depends on: inside if fewer than d are below and fewer than d above,
    beside it if fewer than d are not below (or not above). The probability that both hold is taken to be 1 minus both
    that they do not (Bonferroni), which is never too large, so the true power is at least the one wanted.

    Returns:
        The least number from which on every number up to 10,000 has the power; None if that takes more.

    Worked value: 3 of 3 above take 3 more, because 6 of 6 have an interval and 5 of 5 have none.
    """
    more = np.arange(1, MOST_SEEDS + 1)
    ranks = _median_ranks(n + more)
    outside = _at_most(more, below / n, ranks - 1 - below), _at_most(more, above / n, ranks - 1 - above)
    inside = np.clip(outside[0] + outside[1] - 1, 0, 1)
    beside = _at_most(more, 1 - below / n, ranks - 1 - (n - below)) + _at_most(
        more, 1 - above / n, ranks - 1 - (n - above)
    )
    short = np.flatnonzero(np.where(ranks > 0, np.clip(inside + beside, 0, 1), 0) < power)
    if len(short) == 0:
        return 1
    return None if short[-1] == len(more) - 1 else int(more[short[-1] + 1])


def _median_ranks(n: NDArray[np.int64]) -> NDArray[np.int64]:
    """`median_rank` for many n: found through the normal quantile, then put right by at most a few."""
    level = (1 - CONFIDENCE) / 2
    rank = np.maximum(n / 2 + ndtri(level) * np.sqrt(n) / 2 - 3, 0).astype(np.int64)
    for _ in range(8):
        rank = np.where((rank < n // 2) & (bdtr(rank, n, 0.5) <= level), rank + 1, rank)
    return rank


def _at_most(n: NDArray[np.int64], rate: float, k: NDArray[np.int64]) -> Floats:
    """P(Binomial(n, rate) <= k), 0 for a negative k and 1 from n on."""
    inner = bdtr(np.clip(k, 0, n), n, min(max(rate, 0.0), 1.0))
    return np.where(k < 0, 0.0, np.where(k >= n, 1.0, inner))


def grid_difference(first: Times, second: Times) -> str | None:
    """Say how the evaluations behind two samples differ, as far as the times show it; None if nothing shows.

    On one grid no evaluation lies strictly between two neighbours, and the widest intervals seen in both arms are
    equally wide and whole multiples apart. A grid that becomes coarser later looks like two grids, which costs a
    decision and never makes a wrong one.

    Worked values: (0, 100] beside (0, 500] differ, for 100 lies inside (0, 500]; (300, 400] beside (500, 1000] do, too.
    """
    arms = [[(time.after, time.by) for time in arm if isinstance(time, StepInterval)] for arm in (first, second)]
    known = [[(after, by) for after, by in arm if after is not None] for arm in arms]
    points = {time.at for time in (*first, *second) if isinstance(time, Censored)}
    points |= {by for arm in arms for _, by in arm} | {after for arm in known for after, _ in arm}
    for after, by in sorted({*known[0], *known[1]}):
        if inside := [point for point in points if after < point < by]:
            return f"a replica was not evaluated between {after:,} and {by:,}, another one was, at {min(inside):,}"
    if not all(known):
        return None
    width, other = (max(by - after for after, by in arm) for arm in known)
    if width != other:
        return f"evaluated every {width:,} steps in the first, every {other:,} in the second"
    starts = {after % width for arm in known for after, by in arm if by - after == width}
    return None if len(starts) == 1 else f"evaluated every {width:,} steps in both, but not at the same ones"


def common_end(first: Times, second: Times) -> tuple[list[tuple[float, bool]], list[tuple[float, bool]], int | None]:
    """Both samples as (right end, reached), watched equally long: up to the least step at which one was censored.

    What happened later than that is not counted, for some replicas were no longer watched: so a run that ended early
    cannot make its arm look slow, and the two samples can be exchanged if nothing tells them apart.
    """
    end = min((time.at for time in (*first, *second) if isinstance(time, Censored)), default=None)
    cut = math.inf if end is None else float(end)

    def seen(time: StepInterval | Censored) -> tuple[float, bool]:
        return (float(time.by), True) if isinstance(time, StepInterval) and time.by <= cut else (cut, False)

    return [seen(time) for time in first], [seen(time) for time in second], end


def logrank_scores(ends: Sequence[float], reached: Sequence[bool]) -> Floats:
    """The log-rank score of each replica of a pooled sample: 1 if it got there, minus the hazard it went through.

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
    """The rank of each value of a pooled sample from the largest (-1) on, ties at their mean: positive is earlier.

    The sum over one arm is Wilcoxon's, so its permutation test is that of Mann & Whitney (1947), exact with ties too.
    """
    return np.asarray(-rankdata(values), dtype=np.float64)


@dataclass(frozen=True)
class Permutation:
    """Two samples of scores under all splits.

    Attributes:
        p: two-sided: twice the smaller one-sided one, at most 1.
        first_is_higher: the mean score of the first sample is the higher one.
        splits: how many were tried.
        exact: all of them.
    """

    p: float
    first_is_higher: bool
    splits: int
    exact: bool


def permutation(first: Floats, second: Floats, rng: Generator) -> Permutation:
    """Is the first sum of scores as one would expect if the labels of the replicas meant nothing (SciPy's test)?

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
    """How many more seeds per arm until the smallest possible p is at most 0.05; 0 if it is already."""
    more = 0
    while 2 / comb(n1 + n2 + 2 * more, n1 + more) > 1 - CONFIDENCE:
        more += 1
    return more


def seeds_for_scores(
    first: Sequence[tuple[float, bool]],
    second: Sequence[tuple[float, bool]],
    score: Callable[[NDArray[np.int64], NDArray[np.bool_]], Floats],
    rng: Generator,
    *,
    power: float = POWER,
) -> int | None:
    """About how many more seeds per arm until two samples differ, if those to come are drawn from those seen.

    2,000 samples are drawn per size, and judged by the normal approximation of the permutation distribution, whose mean
    and variance are exact. Sizes grow by a quarter, then the gap is halved.

    Args:
        first: (value, reached) of each replica.
        second: likewise.
        score: `logrank_class_scores` or `rank_class_scores`.
        rng: draws the samples.
        power: wanted probability.

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


def logrank_class_scores(counts_SC: NDArray[np.int64], reached: NDArray[np.bool_]) -> Floats:
    """`logrank_scores` for samples given as counts of classes in ascending order; a row is a sample, a column a class.

    Classes of one step come reached first, then censored, so that the censored count as still there.
    """
    there = np.cumsum(counts_SC[:, ::-1], axis=1)[:, ::-1]
    hazard = np.cumsum(np.where(reached, counts_SC, 0) / np.maximum(there, 1), axis=1)
    return np.asarray(reached - hazard, dtype=np.float64)


def rank_class_scores(counts_SC: NDArray[np.int64], _reached: NDArray[np.bool_]) -> Floats:
    """`ranks` for samples given as counts of classes in ascending order."""
    return np.asarray(-(np.cumsum(counts_SC, axis=1) - (counts_SC - 1) / 2), dtype=np.float64)

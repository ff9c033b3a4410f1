"""Times to an event over replicas, some of which never got there -> medians, and whether two samples are comparable.

    times --right_ends--> least and largest right end --median_interval--> exact interval of the median
    times --kaplan_meier--> curve --> its median, for people
    two samples --grid_difference, common_end--> right ends that `permutation` may exchange

Times are the right ends of their intervals: the evaluation that had got there, as published logs give "the step". Two
samples of right ends can be compared only if the evaluations agree (`grid_difference`); otherwise the denser grid looks
earlier. A replica that did not get there is later than its last evaluation, or never: right-censored, and no value.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr, ndtri
from scipy.stats import CensoredData, ecdf

from reprogrok.metrics.grokking import Censored, StepInterval
from reprogrok.stats.proportions import CONFIDENCE
from reprogrok.stats.sample_sizes import MOST_SEEDS, POWER, Ints, first_lasting

Times = Sequence[StepInterval | Censored]

LEAST_FOR_MEDIAN = 6  # 2 * 0.5**5 = 0.0625 is more than 0.05


def kaplan_meier(times: Times) -> tuple[tuple[int, float], ...]:
    """Return (step, fraction that has not got there) after each step at which replicas got there, ascending.

    The Kaplan-Meier estimate (Kaplan & Meier 1958), by SciPy's `ecdf`.

    Args:
        times: at least one, of one definition, on one grid of evaluations.

    Worked value (Freireich et al. 1963, treated arm, n = 21): S(6) = 0.857, S(10) = 0.753, S(23) = 0.448.
    """
    reached = [time.by for time in times if isinstance(time, StepInterval)]
    ends = [time.at for time in times if isinstance(time, Censored)]
    if not reached:
        return ()
    curve = ecdf(CensoredData(uncensored=reached, right=ends)).sf
    steps = sorted(set(reached))
    return tuple((step, float(fraction)) for step, fraction in zip(steps, curve.evaluate(steps), strict=True))


def median_time(times: Times) -> int | None:
    """Return the first step after which at most half have not got there; None if the median was not reached."""
    # Sums such as 1 - 0.1 - 0.4 miss one half by rounding alone.
    return next((step for step, fraction in kaplan_meier(times) if fraction <= 0.5 + 1e-12), None)


def right_ends(times: Times) -> tuple[list[float], list[float]]:
    """Return the least and the largest right end of each time: equal if it was reached, else at + 1 and infinity."""
    least = [float(time.by if isinstance(time, StepInterval) else time.earliest) for time in times]
    most = [float(time.by) if isinstance(time, StepInterval) else math.inf for time in times]
    return least, most


def median_ranks(n: Ints) -> Ints:
    """Return for each n the largest d so that the d-th smallest and d-th largest value enclose the median; 0 if none.

    They miss it with a probability of at most 2 * P(Binomial(n, 1/2) < d): on one side fewer than d values lie, which
    is the sign test inverted (Thompson 1936; David & Nagaraja 2003, section 7.1), whatever the distribution.

    Worked values: n = 6 gives 1 (missed with 2 * 0.5**6 = 0.03125), n = 5 none (0.0625), n = 20 gives 6 (0.0414).
    """
    level = (1 - CONFIDENCE) / 2
    # The normal quantile is at most a few ranks off.
    rank = np.maximum(n / 2 + ndtri(level) * np.sqrt(n) / 2 - 3, 0).astype(np.int64)
    for _ in range(8):
        rank = np.where((rank < n // 2) & (bdtr(rank, n, 0.5) <= level), rank + 1, rank)
    return rank


def median_interval(least: Sequence[float], most: Sequence[float]) -> tuple[float, float] | None:
    """Return the exact 95 % interval of the median of values that are each known to lie in an interval; None below 6.

    The d-th smallest of the lower ends is no larger than the d-th smallest value, the d-th largest of the upper ends no
    smaller than the d-th largest value: so the interval holds at least as often as that of `median_ranks`, whatever was
    censored, why, and where. Replicas that were all censored at one common end lose nothing by it.

    Worked value: 100, ..., 600 give [100, 600]; with the two largest censored at 500, [100, inf].
    """
    rank = int(median_ranks(np.array([len(least)]))[0])
    if rank == 0:
        return None
    return sorted(least)[rank - 1], sorted(most)[len(most) - rank]


def seeds_for_median(below: int, above: int, n: int, *, power: float = POWER) -> int | None:
    """Return how many more seeds put the interval of the median inside or outside the region.

    Args:
        below: values so far below the region; those to come are assumed to lie there as often.
        above: values so far above it.
        n: all values so far.
        power: probability of a decision.

    Where values lie is all that the decision depends on: inside if fewer than d are below and fewer than d above,
    beside it if fewer than d are not below (or not above). The probability that both hold is taken to be 1 minus both
    that they do not (Bonferroni), which is never too large, so the true power is at least the one wanted.

    Returns:
        The least number from which on every number up to 10,000 has the power; None if that takes more.

    Worked value: 3 of 3 above take 3 more, because 6 of 6 have an interval and 5 of 5 have none.
    """
    more = np.arange(1, MOST_SEEDS + 1)
    ranks = median_ranks(n + more)
    outside = _at_most(more, below / n, ranks - 1 - below), _at_most(more, above / n, ranks - 1 - above)
    inside = np.clip(outside[0] + outside[1] - 1, 0, 1)
    beside = _at_most(more, 1 - below / n, ranks - 1 - (n - below)) + _at_most(
        more, 1 - above / n, ranks - 1 - (n - above)
    )
    return first_lasting(more, np.where(ranks > 0, np.clip(inside + beside, 0, 1), 0.0), power)


def _at_most(n: Ints, rate: float, k: Ints) -> NDArray[np.float64]:
    """P(Binomial(n, rate) <= k), 0 for a negative k and 1 from n on."""
    inner = bdtr(np.clip(k, 0, n), n, min(max(rate, 0.0), 1.0))
    return np.where(k < 0, 0.0, np.where(k >= n, 1.0, inner))


def grid_difference(first: Times, second: Times) -> str | None:
    """Describe how the evaluations behind two samples differ, as far as the times show it; None if they agree.

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
    """Return both samples as (right end, reached), followed up to the least step at which a replica was censored.

    Later events do not count, because some replicas were no longer followed: a run that ended early cannot make its
    arm look slow, and under the null hypothesis the two samples can be exchanged.
    """
    end = min((time.at for time in (*first, *second) if isinstance(time, Censored)), default=None)
    cut = math.inf if end is None else float(end)

    def seen(time: StepInterval | Censored) -> tuple[float, bool]:
        return (float(time.by), True) if isinstance(time, StepInterval) and time.by <= cut else (cut, False)

    return [seen(time) for time in first], [seen(time) for time in second], end

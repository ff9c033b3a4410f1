"""Numbers against a claimed region or order -> a judgement; pure rules that read no claims and no files.

    judge_number                                        arithmetic: inside or outside
    judge_range, judge_less                             arithmetic on proved ranges
    judge_rate, judge_count                             k of n seeds
    judge_median, judge_median_time                     the median over seeds
    judge_order_rates, _order_times, _order_values      two samples of seeds, one claimed direction

Regions: an exact 95 % interval inside the region is REPRODUCED, one that does not meet it CONTRADICTED, anything else
INCONCLUSIVE. A wrong decision needs an interval that misses the truth, so at most 5 % of the decisions are wrong.
Orders: REPRODUCED if the claimed direction is significant, CONTRADICTED only if the opposite one is. "Not significant"
is never "the same".

INCONCLUSIVE says how many more seeds would decide with a probability of 80 %, and under which assumption; where no
number would, it says so. See docs/statistics.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

from numpy.random import Generator

from reprogrok.claims.claims import Order
from reprogrok.claims.judgements import ClaimDecision, Judgement
from reprogrok.metrics.grokking import Censored, StepInterval
from reprogrok.stats.exact_tests import rates_differ
from reprogrok.stats.permutation import (
    Permutation,
    least_per_arm,
    logrank_class_scores,
    logrank_scores,
    permutation,
    rank_class_scores,
    ranks,
    seeds_for_scores,
)
from reprogrok.stats.proportions import CONFIDENCE, interval_text, proportion
from reprogrok.stats.ranges import Range
from reprogrok.stats.sample_sizes import MOST_SEEDS, seeds_for_order, seeds_for_region, seeds_for_same_rate
from reprogrok.stats.survival import (
    LEAST_FOR_MEDIAN,
    common_end,
    grid_difference,
    median_interval,
    median_time,
    right_ends,
    seeds_for_median,
)

LEVEL = 1 - CONFIDENCE
MARGIN = 0.25
LESS = frozenset({Order.EARLIER, Order.LOWER, Order.LESS_OFTEN})  # orders that claim the smaller number
_FOR_POWER = "for a power of 80 %"
_MEDIAN = "order-statistic interval of the median against a region"


def judge_number(observed: float, low: float | None, high: float | None) -> Judgement:
    """Judge one number that involves no sampling against the closed region from `low` to `high`.

    None is no limit. A NaN is INCONCLUSIVE.
    """
    name = "one number against a region"
    if math.isnan(observed):
        return _open(name, "not a number", "a value", error_bound=0.0)
    inside = (low is None or observed >= low) and (high is None or observed <= high)
    decision = ClaimDecision.REPRODUCED if inside else ClaimDecision.CONTRADICTED
    return Judgement(decision, name, f"{observed:,.10g} against {_region(low, high)}")


def judge_range(known: Range, low: Fraction | None, high: Fraction | None) -> ClaimDecision:
    """Judge a range against the closed region from `low` to `high`; None is no limit.

    A range inside the region is REPRODUCED, one that does not meet it CONTRADICTED.

    Worked values: at most 0 is the claimed 0; 1 to 5 is not; 0 to 5 leaves it open.
    """
    above = low is None or known.at_least >= low
    below = high is None or (known.at_most is not None and known.at_most <= high)
    if above and below:
        return ClaimDecision.REPRODUCED
    beyond = high is not None and known.at_least > high
    short = low is not None and known.at_most is not None and known.at_most < low
    return ClaimDecision.CONTRADICTED if beyond or short else ClaimDecision.INCONCLUSIVE


def judge_less(one: Range, other: Range) -> ClaimDecision:
    """Judge whether the first number is less than the second; two equal known numbers contradict it.

    Worked values: 0 to 2 is less than 3 to 4; 3 is not less than 1 to 3; 0 to 3 and 3 to 4 are left open.
    """
    if one.at_most is not None and one.at_most < other.at_least:
        return ClaimDecision.REPRODUCED
    if other.at_most is not None and one.at_least >= other.at_most:
        return ClaimDecision.CONTRADICTED
    return ClaimDecision.INCONCLUSIVE


def judge_rate(k: int, n: int, low: float, high: float) -> Judgement:
    """Judge the Clopper-Pearson interval of k of n against the rates from `low` to `high`, both included.

    Worked values: 0 of 2 is "at most 0.842" and says nothing about [0.5, 1]; 0 of 6 ("at most 0.459") contradicts it.
    """
    name = "Clopper-Pearson interval against a region"
    if n == 0:
        return _open(name, "no replica", "replicas", interval=(0.0, 1.0))
    rate = proportion(k, n)
    decision = _against(rate.low, rate.high, low, high)
    missing: str | None = None
    seeds: int | None = None
    if decision is ClaimDecision.INCONCLUSIVE:
        seeds = seeds_for_region(k, n, k / n, low, high)
        missing = f"{_count(seeds)} {_FOR_POWER} if the rate is {k / n:.2g}"
        if seeds is None and k / n in (low, high):
            missing = f"a rate beside the region's edge: no number of seeds decides if it is {k / n:.2g}"
    numbers = f"{k} of {n}, rate {interval_text(rate)}"
    return _of_several(
        Judgement(decision, name, numbers, missing, seeds, interval=(rate.low, rate.high), error_bound=LEVEL), n
    )


def decide_rate(k: int, n: int, low: float, high: float) -> ClaimDecision:
    """Return the decision of `judge_rate` without the number of missing seeds, which takes a tenth of a second."""
    if n < 2:
        return ClaimDecision.INCONCLUSIVE
    rate = proportion(k, n)
    return _against(rate.low, rate.high, low, high)


def judge_count(k: int, n: int, claimed_k: int, claimed_n: int, margin: float = MARGIN) -> Judgement:
    """Judge k of n against a published count: different, or close enough to call the same.

    CONTRADICTED if Boschloo's test tells the two rates apart. REPRODUCED if both intervals at 97.5 %, which together
    hold in 95 % of all cases, leave no difference of rates larger than `margin`. A published 0 of 1 allows rates up to
    0.9875, so nothing reproduces it, and only a rate close to 1 contradicts it.
    """
    name = f"two counts: Boschloo's exact test, or equal within {margin:g}"
    if n == 0:
        return _open(name, "no replica", "replicas")
    test = rates_differ(k, n, claimed_k, claimed_n)
    name = f"two counts: {test.test}, or equal within {margin:g}"
    ours, theirs = (proportion(*count, 1 - LEVEL / 2) for count in ((k, n), (claimed_k, claimed_n)))
    apart = max(ours.high - theirs.low, theirs.high - ours.low)
    decision = ClaimDecision.INCONCLUSIVE
    if test.p <= LEVEL:
        decision = ClaimDecision.CONTRADICTED
    elif apart <= margin:
        decision = ClaimDecision.REPRODUCED
    missing: str | None = None
    seeds: int | None = None
    if decision is ClaimDecision.INCONCLUSIVE:
        seeds = seeds_for_same_rate(k, n, k / n, (claimed_k, claimed_n), margin)
        missing = f"{_count(seeds)} {_FOR_POWER} if the rate is {k / n:.2g}"
        if seeds is None:
            missing += f"; {claimed_k} of {claimed_n} fits rates {interval_text(theirs)}"
    shown = proportion(k, n)
    numbers = f"{k} of {n} beside {claimed_k} of {claimed_n}, p = {test.p:.2g}, rates at most {apart:.2g} apart"
    found = Judgement(decision, name, numbers, missing, seeds, test.p, (shown.low, shown.high), LEVEL)
    return _of_several(found, n)


def judge_median(values: Sequence[float], low: float | None, high: float | None) -> Judgement:
    """Judge the exact interval of the median (order statistics, the sign test inverted) against a region.

    Below 6 seeds no interval of 95 % exists: the whole range of 5 values misses the median with 0.0625.
    """
    if any(math.isnan(value) for value in values):
        return _open(_MEDIAN, "a value is not a number", "a value of each seed", error_bound=0.0)
    middle = sorted(values)[(len(values) - 1) // 2 : len(values) // 2 + 1]
    shown = f"median {sum(middle) / len(middle):,.6g}" if middle else "no value"
    return _median(values, values, low, high, shown)


def judge_median_time(times: Sequence[StepInterval | Censored], low: float | None, high: float | None) -> Judgement:
    """Judge the exact interval of the median right end against a region of steps.

    A time counts as its right end, as logs give it, unless the region ends inside its interval: (0, 1000] may be by
    500. A replica that did not get there is later than its last evaluation and may never get there: nothing is assumed
    about why it was not followed longer, so the interval is exact, and wide where many were censored early.
    """
    median = median_time(times) if times else None
    shown = "no replica" if not times else "median not reached" if median is None else f"median {median:,}"
    reached = sum(isinstance(time, StepInterval) for time in times)
    least, most = right_ends(times)
    ends = [end for end in (low, high) if end is not None]
    for index, time in enumerate(times):
        # Evaluated on both sides of an end of the region, but not at it: the side is unknown.
        if isinstance(time, StepInterval) and any((time.after or 0) < end < time.by for end in ends):
            least[index] = float(time.earliest)
    return _median(least, most, low, high, f"{shown}, {reached} of {len(times)} got there")


def _median(
    least: Sequence[float], most: Sequence[float], low: float | None, high: float | None, shown: str
) -> Judgement:
    n, interval = len(least), median_interval(least, most)
    if interval is None:
        seeds: int | None = LEAST_FOR_MEDIAN - n
        missing = f"{seeds} more seeds: an interval of a median takes at least {LEAST_FOR_MEDIAN} seeds"
        return _open(_MEDIAN, f"n = {n}, {shown}", missing, seeds_needed=seeds)
    bounds = (-math.inf if low is None else low, math.inf if high is None else high)
    ends = " to ".join("not reached" if math.isinf(end) else f"{end:,.6g}" for end in interval)
    found = Judgement(
        _against(*interval, *bounds), _MEDIAN, f"n = {n}, {shown}, interval {ends}", interval=interval,
        error_bound=LEVEL,
    )  # fmt: skip
    if not found.is_open:
        return found
    pairs = list(zip(least, most, strict=True))
    unclear = [other for one, other in pairs if one < bounds[0] <= other or one <= bounds[1] < other]
    if coarse := sum(math.isfinite(other) for other in unclear):
        missing = f"denser evaluations: {coarse} of {n} may lie on either side of an end of the region"
        return replace(found, missing=missing)
    if unclear:
        missing = f"longer runs: {len(unclear)} of {n} ended before one could tell on which side of the region they are"
        return replace(found, missing=missing)
    below, above = sum(value < bounds[0] for value in most), sum(value > bounds[1] for value in least)
    seeds = seeds_for_median(below, above, n)
    missing = f"{_count(seeds)} {_FOR_POWER} if as many lie below ({below} of {n}) and above ({above} of {n}) as so far"
    return replace(found, missing=missing, seeds_needed=seeds)


def judge_order_rates(k1: int, n1: int, k2: int, n2: int, order: Order) -> Judgement:
    """Judge a claimed direction between two rates by Boschloo's test (two-sided 0.05, so 0.025 in each direction)."""
    if 0 in (n1, n2):
        return _open("Boschloo's exact test", "no replica", "replicas of both", error_bound=0.0)
    test = rates_differ(k1, n1, k2, n2)
    decision = _directed(test.p, first_is_less=k1 * n2 < k2 * n1, order=order)
    missing: str | None = None
    seeds: int | None = None
    if decision is ClaimDecision.INCONCLUSIVE:
        seeds = seeds_for_order(k1, n1, k2, n2)
        missing = f"{_count(seeds)} in each {_FOR_POWER} if the rates are {k1 / n1:.2g} and {k2 / n2:.2g}"
        if k1 * n2 == k2 * n1:
            missing = "a difference: both rates are the same so far, and no number of seeds orders equal rates"
    numbers = f"{k1} of {n1} and {k2} of {n2}, p = {test.p:.2g}"
    return _of_several(Judgement(decision, test.test, numbers, missing, seeds, test.p, error_bound=LEVEL), n1, n2)


def judge_order_times(
    first: Sequence[StepInterval | Censored],
    second: Sequence[StepInterval | Censored],
    order: Order,
    rng: Generator,
) -> Judgement:
    """Judge a claimed direction between two samples of times by a permutation log-rank test on the right ends.

    INCONCLUSIVE if the evaluations differ: the denser grid would look earlier. Both arms are followed up to the first
    step at which a replica was censored, so that their labels can be exchanged.

    Worked values: 4 against 4 replicas that do not overlap have p = 2 / 70; 3 against 3 at best 2 / 20.
    """
    name = "log-rank test by permutation"
    if not first or not second:
        return _open(name, "no replica", "replicas of both")
    if (differ := grid_difference(first, second)) is not None:
        return _open(name, differ, "runs that are evaluated at the same steps")
    one, other, end = common_end(first, second)
    scores = logrank_scores(*(list(column) for column in zip(*one, *other, strict=True)))
    found = permutation(scores[: len(one)], scores[len(one) :], rng)
    reached = [sum(got for _, got in arm) for arm in (one, other)]
    until = "" if end is None else f" by step {end:,}"
    shown = f"{reached[0]} of {len(one)} and {reached[1]} of {len(other)} got there{until}"
    decision = _directed(found.p, first_is_less=found.first_is_higher, order=order)
    seeds: int | None = None
    if decision is ClaimDecision.INCONCLUSIVE and sum(reached) > 0:
        seeds = seeds_for_scores(one, other, logrank_class_scores, rng)
    return _ordered(name, shown, found, decision, n=(len(one), len(other)), seeds=seeds)


def judge_order_values(first: Sequence[float], second: Sequence[float], order: Order, rng: Generator) -> Judgement:
    """Judge a claimed direction between two samples of numbers by Mann & Whitney's test, exact under ties."""
    name = "Mann-Whitney test by permutation"
    if not first or not second or any(math.isnan(value) for value in (*first, *second)):
        return _open(name, "not every seed has a value", "a value of each seed")
    scores = ranks([*first, *second])
    found = permutation(scores[: len(first)], scores[len(first) :], rng)
    decision = _directed(found.p, first_is_less=found.first_is_higher, order=order)
    seeds: int | None = None
    if decision is ClaimDecision.INCONCLUSIVE:
        seeds = seeds_for_scores([(x, True) for x in first], [(x, True) for x in second], rank_class_scores, rng)
    n = (len(first), len(second))
    return _ordered(name, f"{n[0]} and {n[1]} values", found, decision, n=n, seeds=seeds)


def _ordered(
    name: str, shown: str, found: Permutation, decision: ClaimDecision, *, n: tuple[int, int], seeds: int | None
) -> Judgement:
    tried = f"{'all' if found.exact else 'random'} {found.splits:,} splits"
    numbers = f"{shown}, p = {found.p:.2g} of {tried}"
    missing = None
    if decision is ClaimDecision.INCONCLUSIVE:
        missing = f"about {_count(seeds)} in each {_FOR_POWER} if both go on as so far"
        if least := least_per_arm(*n):
            missing += f"; {least} at least, for a p of 0.05 to be possible"
    return _of_several(Judgement(decision, name, numbers, missing, seeds, found.p, error_bound=LEVEL), *n)


def _open(
    name: str,
    numbers: str,
    missing: str,
    *,
    seeds_needed: int | None = None,
    interval: tuple[float, float] | None = None,
    error_bound: float = LEVEL,
) -> Judgement:
    return Judgement(
        ClaimDecision.INCONCLUSIVE, name, numbers, missing, seeds_needed, interval=interval, error_bound=error_bound
    )


def _of_several(found: Judgement, *replicas: int) -> Judgement:
    """Leave a decision by one seed open: however rare its outcome, the device or a fault of ours may explain it."""
    if min(replicas) > 1 or found.is_open:
        return found
    missing = "a second seed: one seed contradicts a bitwise claim at most"
    return replace(found, decision=ClaimDecision.INCONCLUSIVE, missing=missing, seeds_needed=1)


def _against(least: float, most: float, low: float, high: float) -> ClaimDecision:
    """Decide an interval against a closed region."""
    if most < low or least > high:
        return ClaimDecision.CONTRADICTED
    return ClaimDecision.REPRODUCED if low <= least and most <= high else ClaimDecision.INCONCLUSIVE


def _directed(p: float, *, first_is_less: bool, order: Order) -> ClaimDecision:
    if p > LEVEL:
        return ClaimDecision.INCONCLUSIVE
    return ClaimDecision.REPRODUCED if first_is_less == (order in LESS) else ClaimDecision.CONTRADICTED


def _count(seeds: int | None) -> str:
    if seeds is None:
        return f"more than {MOST_SEEDS:,} more seeds"
    return f"{seeds:,} more seed{'' if seeds == 1 else 's'}"


def _region(low: float | None, high: float | None) -> str:
    if low is not None and low == high:
        return f"{low:,.10g}"
    ends = ("any" if end is None else f"{end:,.10g}" for end in (low, high))
    return " to ".join(ends)

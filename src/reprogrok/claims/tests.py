"""Numbers against a claimed region or order -> a decision, with what it rests on; pure rules, no claims and no files.

    judge_number                                        arithmetic: inside or not
    judge_rate, judge_seen                              k of n seeds
    judge_median, judge_median_time                     the median over seeds
    judge_order_rates, _order_times, _order_values      two samples of seeds, one claimed direction
    expected_wrong, adjusted                            many decisions at once

One rule for regions: an exact 95 % interval inside the region is REPRODUCED, one that has no point in common with it
CONTRADICTED, anything else INCONCLUSIVE. A wrong decision needs an interval that misses the truth, so at most 5 % of
the decisions are wrong either way, whatever the truth is. One rule for orders: REPRODUCED if the claimed direction is
significant, CONTRADICTED only if the opposite one is. "Not significant" is never "the same".

INCONCLUSIVE says how many more seeds would give a decision with a probability of 80 %, and for which truth; where no
number does, it says so. See docs/statistics.md.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from reprogrok.claims.claims import Order
from reprogrok.metrics.grokking import Censored, StepInterval
from reprogrok.stats.statistics import (
    CONFIDENCE,
    MOST_SEEDS,
    holm,
    interval_text,
    proportion,
    rates_differ,
    seeds_for_order,
    seeds_for_region,
    seeds_for_same_rate,
)
from reprogrok.stats.survival import (
    LEAST_FOR_MEDIAN,
    Permutation,
    common_end,
    grid_difference,
    kaplan_meier,
    least_per_arm,
    logrank_class_scores,
    logrank_scores,
    median_interval,
    permutation,
    rank_class_scores,
    ranks,
    right_ends,
    seeds_for_median,
    seeds_for_scores,
)

if TYPE_CHECKING:
    from numpy.random import Generator

LEVEL = 1 - CONFIDENCE
MARGIN = 0.25
_FIRST_IS_LESS = {Order.EARLIER, Order.LOWER, Order.LESS_OFTEN}
_FOR_POWER = "for a power of 80 %"


class Decision(StrEnum):
    """What the numbers say of a claim."""

    REPRODUCED = "REPRODUCED"
    CONTRADICTED = "CONTRADICTED"
    INCONCLUSIVE = "INCONCLUSIVE"


@dataclass(frozen=True)
class TestResult:
    """A decision and what it rests on.

    Attributes:
        decision: what the numbers say.
        test: name of the rule.
        numbers: one clause with the numbers.
        p: two-sided, of a test; None where an interval decides.
        interval: what decides, or what a reader wants to see; an end may be infinite.
        needs: for INCONCLUSIVE: what is missing, one clause.
        seeds_needed: more seeds (per arm) for a power of 80 %; None if decided, or if no number up to 10,000 is enough.
        error_bound: the chance that a decided verdict of this rule is wrong: 0 for arithmetic.
    """

    __test__ = False  # no test case, in spite of its name

    decision: Decision
    test: str
    numbers: str
    p: float | None = None
    interval: tuple[float, float] | None = None
    needs: str | None = None
    seeds_needed: int | None = None
    error_bound: float = 0.0


def judge_number(observed: float, low: float | None, high: float | None) -> TestResult:
    """One number that was computed or measured without sampling, against the closed region from low to high.

    None is no limit. A NaN is no number: INCONCLUSIVE.
    """
    name = "one number against a region"
    if math.isnan(observed):
        return TestResult(Decision.INCONCLUSIVE, name, "not a number", needs="a value")
    inside = (low is None or observed >= low) and (high is None or observed <= high)
    decision = Decision.REPRODUCED if inside else Decision.CONTRADICTED
    return TestResult(decision, name, f"{observed:,.10g} against {_region(low, high)}")


def judge_rate(k: int, n: int, low: float, high: float) -> TestResult:
    """The Clopper-Pearson interval of k of n against the rates from low to high, both included.

    Worked values: 0 of 2 is "at most 0.842" and says nothing about [0.5, 1]; 0 of 6 ("at most 0.459") contradicts it.
    """
    name = "Clopper-Pearson interval against a region"
    if n == 0:
        return TestResult(Decision.INCONCLUSIVE, name, "no replica", None, (0.0, 1.0), "replicas", None, LEVEL)
    rate = proportion(k, n)
    decision = _against(rate.low, rate.high, low, high)
    needs: str | None = None
    seeds: int | None = None
    if decision is Decision.INCONCLUSIVE:
        seeds = seeds_for_region(k, n, k / n, low, high)
        needs = f"{_count(seeds)} {_FOR_POWER} if the rate is {k / n:.2g}"
        if seeds is None and k / n in (low, high):
            needs = f"a rate beside the region's edge: no number of seeds decides if it is {k / n:.2g}"
    numbers = f"{k} of {n}, rate {interval_text(rate)}"
    return _of_several(TestResult(decision, name, numbers, None, (rate.low, rate.high), needs, seeds, LEVEL), n)


def decide_rate(k: int, n: int, low: float, high: float) -> Decision:
    """What `judge_rate` decides, without the number of seeds that are missing, which takes a tenth of a second."""
    if n < 2:
        return Decision.INCONCLUSIVE
    rate = proportion(k, n)
    return _against(rate.low, rate.high, low, high)


def judge_seen(k: int, n: int, claimed_k: int, claimed_n: int, margin: float = MARGIN) -> TestResult:
    """Our k of n against a published count: are they different, or close enough to say the same?

    CONTRADICTED if Boschloo's test tells the two rates apart. REPRODUCED if both intervals at 97.5 %, which hold
    together in 95 % of all cases, leave no difference of rates larger than `margin`. A published 0 of 1 allows rates up
    to 0.9875, so nothing reproduces it, and only a rate close to 1 contradicts it.
    """
    name = f"two counts: Boschloo's exact test, or equal within {margin:g}"
    if n == 0:
        return TestResult(Decision.INCONCLUSIVE, name, "no replica", needs="replicas", error_bound=LEVEL)
    test = rates_differ(k, n, claimed_k, claimed_n)
    name = f"two counts: {test.test}, or equal within {margin:g}"
    ours, theirs = (proportion(*count, 1 - LEVEL / 2) for count in ((k, n), (claimed_k, claimed_n)))
    apart = max(ours.high - theirs.low, theirs.high - ours.low)
    decision = Decision.INCONCLUSIVE
    if test.p <= LEVEL:
        decision = Decision.CONTRADICTED
    elif apart <= margin:
        decision = Decision.REPRODUCED
    needs: str | None = None
    seeds: int | None = None
    if decision is Decision.INCONCLUSIVE:
        seeds = seeds_for_same_rate(k, n, k / n, (claimed_k, claimed_n), margin)
        needs = f"{_count(seeds)} {_FOR_POWER} if the rate is {k / n:.2g}"
        if seeds is None:
            needs += f"; {claimed_k} of {claimed_n} fits rates {interval_text(theirs)}"
    shown = proportion(k, n)
    numbers = f"{k} of {n} beside {claimed_k} of {claimed_n}, p = {test.p:.2g}, rates at most {apart:.2g} apart"
    return _of_several(TestResult(decision, name, numbers, test.p, (shown.low, shown.high), needs, seeds, LEVEL), n)


def judge_median(values: Sequence[float], low: float | None, high: float | None) -> TestResult:
    """The exact interval of the median (order statistics, the sign test turned round) against a region.

    Below 6 seeds no interval of 95 % exists: the whole range of 5 values misses the median with 0.0625.
    """
    if any(math.isnan(value) for value in values):
        name = "order-statistic interval of the median against a region"
        return TestResult(Decision.INCONCLUSIVE, name, "a value is not a number", needs="a value of each seed")
    middle = sorted(values)[(len(values) - 1) // 2 : len(values) // 2 + 1]
    shown = f"median {sum(middle) / len(middle):,.6g}" if middle else "no value"
    return _median(values, values, low, high, shown)


def judge_median_time(times: Sequence[StepInterval | Censored], low: float | None, high: float | None) -> TestResult:
    """The exact interval of the median right end against a region of steps.

    A time is its right end, as logs give it, unless the region ends inside its interval: (0, 1000] may be by 500.
    A replica that did not get there is later than its last evaluation, at most for ever: no assumption is made on why
    it was not watched any longer, so the interval is exact, and wide where many were censored early.
    """
    median = kaplan_meier(times).median if times else None
    shown = "no replica" if not times else "median not reached" if median is None else f"median {median:,}"
    reached = sum(isinstance(time, StepInterval) for time in times)
    least, most = right_ends(times)
    ends = [end for end in (low, high) if end is not None]
    for index, time in enumerate(times):
        # Evaluated on both sides of an end of the region, and not at it: on which side it was is not known.
        if isinstance(time, StepInterval) and any((time.after or 0) < end < time.by for end in ends):
            least[index] = float(time.earliest)
    return _median(least, most, low, high, f"{shown}, {reached} of {len(times)} got there")


def _median(
    least: Sequence[float], most: Sequence[float], low: float | None, high: float | None, shown: str
) -> TestResult:
    name = "order-statistic interval of the median against a region"
    n, interval = len(least), median_interval(least, most)
    if interval is None:
        needs = f"{LEAST_FOR_MEDIAN - n} more seeds: an interval of a median takes at least {LEAST_FOR_MEDIAN} seeds"
        numbers = f"n = {n}, {shown}"
        return TestResult(Decision.INCONCLUSIVE, name, numbers, None, None, needs, LEAST_FOR_MEDIAN - n, LEVEL)
    bounds = (-math.inf if low is None else low, math.inf if high is None else high)
    ends = " to ".join("not reached" if math.isinf(end) else f"{end:,.6g}" for end in interval)
    numbers = f"n = {n}, {shown}, interval {ends}"
    decision = _against(*interval, *bounds)
    if decision is not Decision.INCONCLUSIVE:
        return TestResult(decision, name, numbers, None, interval, error_bound=LEVEL)
    pairs = list(zip(least, most, strict=True))
    unclear = [other for one, other in pairs if one < bounds[0] <= other or one <= bounds[1] < other]
    if coarse := sum(math.isfinite(other) for other in unclear):
        needs = f"denser evaluations: {coarse} of {n} may lie on either side of an end of the region"
        return TestResult(decision, name, numbers, None, interval, needs, None, LEVEL)
    if unclear:
        needs = f"longer runs: {len(unclear)} of {n} ended before one could tell on which side of the region they are"
        return TestResult(decision, name, numbers, None, interval, needs, None, LEVEL)
    below, above = sum(value < bounds[0] for value in most), sum(value > bounds[1] for value in least)
    seeds = seeds_for_median(below, above, n)
    needs = f"{_count(seeds)} {_FOR_POWER} if as many lie below ({below} of {n}) and above ({above} of {n}) as so far"
    return TestResult(decision, name, numbers, None, interval, needs, seeds, LEVEL)


def judge_order_rates(k1: int, n1: int, k2: int, n2: int, order: Order) -> TestResult:
    """One claimed direction between two rates, by Boschloo's test (two-sided 0.05, so 0.025 in each direction)."""
    if 0 in (n1, n2):
        return TestResult(Decision.INCONCLUSIVE, "Boschloo's exact test", "no replica", needs="replicas of both")
    test = rates_differ(k1, n1, k2, n2)
    decision = _directed(test.p, first_is_less=k1 * n2 < k2 * n1, order=order)
    needs: str | None = None
    seeds: int | None = None
    if decision is Decision.INCONCLUSIVE:
        seeds = seeds_for_order(k1, n1, k2, n2)
        needs = f"{_count(seeds)} in each {_FOR_POWER} if the rates are {k1 / n1:.2g} and {k2 / n2:.2g}"
        if k1 * n2 == k2 * n1:
            needs = "a difference: both rates are the same so far, and no number of seeds orders equal rates"
    numbers = f"{k1} of {n1} and {k2} of {n2}, p = {test.p:.2g}"
    return _of_several(TestResult(decision, test.test, numbers, test.p, None, needs, seeds, LEVEL), n1, n2)


def judge_order_times(
    first: Sequence[StepInterval | Censored],
    second: Sequence[StepInterval | Censored],
    order: Order,
    rng: Generator,
) -> TestResult:
    """One claimed direction between two samples of times: the log-rank test by permutation, on the right ends.

    INCONCLUSIVE if the evaluations differ: the denser grid would look earlier. Both arms are followed up to the first
    step at which a replica was censored, so that their labels can be exchanged.

    Worked values: 4 against 4 replicas that do not overlap have p = 2 / 70; 3 against 3 at best 2 / 20.
    """
    name = "log-rank test by permutation"
    if not first or not second:
        return TestResult(Decision.INCONCLUSIVE, name, "no replica", needs="replicas of both", error_bound=LEVEL)
    if (differ := grid_difference(first, second)) is not None:
        needs = "runs that are evaluated at the same steps"
        return TestResult(Decision.INCONCLUSIVE, name, differ, needs=needs, error_bound=LEVEL)
    one, other, end = common_end(first, second)
    scores = logrank_scores(*(list(column) for column in zip(*one, *other, strict=True)))
    found = permutation(scores[: len(one)], scores[len(one) :], rng)
    reached = [sum(got for _, got in arm) for arm in (one, other)]
    until = "" if end is None else f" by step {end:,}"
    shown = f"{reached[0]} of {len(one)} and {reached[1]} of {len(other)} got there{until}"
    decision = _directed(found.p, first_is_less=found.first_is_higher, order=order)
    seeds: int | None = None
    if decision is Decision.INCONCLUSIVE and sum(reached) > 0:
        seeds = seeds_for_scores(one, other, logrank_class_scores, rng)
    return _ordered(name, shown, found, decision, n=(len(one), len(other)), seeds=seeds)


def judge_order_values(first: Sequence[float], second: Sequence[float], order: Order, rng: Generator) -> TestResult:
    """One claimed direction between two samples of numbers: Mann & Whitney's test by permutation, exact with ties."""
    name = "Mann-Whitney test by permutation"
    if not first or not second or any(math.isnan(value) for value in (*first, *second)):
        needs = "a value of each seed"
        return TestResult(Decision.INCONCLUSIVE, name, "not every seed has a value", needs=needs, error_bound=LEVEL)
    scores = ranks([*first, *second])
    found = permutation(scores[: len(first)], scores[len(first) :], rng)
    decision = _directed(found.p, first_is_less=found.first_is_higher, order=order)
    seeds: int | None = None
    if decision is Decision.INCONCLUSIVE:
        seeds = seeds_for_scores([(x, True) for x in first], [(x, True) for x in second], rank_class_scores, rng)
    n = (len(first), len(second))
    return _ordered(name, f"{n[0]} and {n[1]} values", found, decision, n=n, seeds=seeds)


def _ordered(
    name: str, shown: str, found: Permutation, decision: Decision, *, n: tuple[int, int], seeds: int | None
) -> TestResult:
    tried = f"{'all' if found.exact else 'random'} {found.splits:,} splits"
    numbers = f"{shown}, p = {found.p:.2g} of {tried}"
    needs = None
    if decision is Decision.INCONCLUSIVE:
        needs = f"about {_count(seeds)} in each {_FOR_POWER} if both go on as so far"
        if least := least_per_arm(*n):
            needs += f"; {least} at least, for a p of 0.05 to be possible"
    return _of_several(TestResult(decision, name, numbers, found.p, None, needs, seeds, LEVEL), *n)


def expected_wrong(results: Iterable[TestResult]) -> float:
    """How many of the decided verdicts would be wrong by chance, at most: the sum of their error bounds.

    Worked value: ten decided by intervals, five by arithmetic and three undecided give 0.5.
    """
    return math.fsum(result.error_bound for result in results if result.decision is not Decision.INCONCLUSIVE)


def adjusted(results: Sequence[TestResult]) -> list[float | None]:
    """Holm's p for each result that has a p, adjusted for all of those; None for the others."""
    tested = iter(holm([result.p for result in results if result.p is not None]))
    return [None if result.p is None else next(tested) for result in results]


def _of_several(result: TestResult, *replicas: int) -> TestResult:
    """One seed decides nothing about a training, however rare its outcome: it may be the device or a fault of ours."""
    if min(replicas) > 1 or result.decision is Decision.INCONCLUSIVE:
        return result
    needs = "a second seed: one seed contradicts a bitwise claim at most"
    return replace(result, decision=Decision.INCONCLUSIVE, needs=needs, seeds_needed=1)


def _against(least: float, most: float, low: float, high: float) -> Decision:
    """An interval against a closed region."""
    if most < low or least > high:
        return Decision.CONTRADICTED
    return Decision.REPRODUCED if low <= least and most <= high else Decision.INCONCLUSIVE


def _directed(p: float, *, first_is_less: bool, order: Order) -> Decision:
    if p > LEVEL:
        return Decision.INCONCLUSIVE
    return Decision.REPRODUCED if first_is_less == (order in _FIRST_IS_LESS) else Decision.CONTRADICTED


def _count(seeds: int | None) -> str:
    if seeds is None:
        return f"more than {MOST_SEEDS:,} more seeds"
    return f"{seeds:,} more seed{'' if seeds == 1 else 's'}"


def _region(low: float | None, high: float | None) -> str:
    if low is not None and low == high:
        return f"{low:,.10g}"
    ends = ("any" if end is None else f"{end:,.10g}" for end in (low, high))
    return " to ".join(ends)

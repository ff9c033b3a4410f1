"""`python tests/campaign calibration [--short] [--broken]`: simulated studies against what the statistics promise.

    truth --simulated studies--> decisions, intervals --Bar--> a row: how often, of how many, and is the promise kept

The promises: a 95 % interval holds the truth in at least 93.5 % of all studies; a claim that is true is CONTRADICTED,
and one that is false REPRODUCED, in at most 5 %; with as many more seeds as a result says it needs, at least 80 % of
the studies decide. A row misses its bar if even the exact 99.9 % interval of the simulated share lies beyond it: the
simulation's own error never fails a promise that is kept, save once in a thousand rows. --broken runs deliberately
wrong rules and wants each of them to miss a bar. Exit code 1 if a bar was missed (or, with --broken, one was not).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import product
from unittest.mock import patch

import numpy as np
import scipy
from scipy.stats import norm

from reprogrok.claims import rules
from reprogrok.claims.claims import Order
from reprogrok.claims.judgements import ClaimDecision, Judgement
from reprogrok.claims.rules import (
    judge_count,
    judge_median_time,
    judge_order_rates,
    judge_order_times,
    judge_order_values,
    judge_rate,
)
from reprogrok.metrics.grokking import Censored, StepInterval
from reprogrok.stats.permutation import logrank_class_scores, seeds_for_scores
from reprogrok.stats.proportions import proportion
from reprogrok.stats.sample_sizes import seeds_for_order, seeds_for_region, seeds_for_same_rate
from reprogrok.stats.survival import median_interval, median_time, right_ends, seeds_for_median

SEED = 20_260_801
COVERAGE, WRONG, POWER = 0.935, 0.05, 0.8
RATES = (0.01, 0.05, 0.1, 0.25, 0.38, 0.5, 0.75, 0.9, 0.99)
EVERY = 100  # steps between two evaluations
DEFINITION = "first-above/0.90"
STUDIES = {"full": (10_000, 2_000, 1_000), "short": (2_000, 60, 20)}  # counts, medians, permutations


@dataclass(frozen=True)
class Row:
    """A share of simulated studies beside its bar; `bar` None is for information."""

    scenario: str
    what: str
    hits: int
    studies: int
    bar: float | None = None
    at_least: bool = True

    @property
    def missed(self):
        share = proportion(self.hits, self.studies, 0.999)
        if self.bar is None:
            return False
        return share.high < self.bar if self.at_least else share.low > self.bar

    def __str__(self):
        sign = ">=" if self.at_least else "<="
        bar = "-" if self.bar is None else f"{sign} {self.bar:.1%}"
        share = f"{self.hits / self.studies:.2%}"
        return f"{self.scenario:<64}{self.what:<20}{share:>9}{self.studies:>9,}{bar:>10}{'  MISSED' * self.missed}"


def worst(rows, *, largest):
    """The row whose share is the worst one."""
    return (max if largest else min)(rows, key=lambda row: row.hits / row.studies)


def exact_interval(k, n):
    found = proportion(k, n)
    return found.low, found.high


def wald_interval(k, n):
    """The interval of most textbooks, which is wrong for few: k/n +- 1.96 standard errors."""
    rate = k / n
    half = norm.ppf(0.975) * np.sqrt(rate * (1 - rate) / n)
    return rate - half, rate + half


def rate_coverage(rng, studies, interval=exact_interval):
    for n in (1, 2, 5, 6, 10, 20, 50, 256):
        ends = np.array([interval(k, n) for k in range(n + 1)])
        rows = []
        for rate in RATES:
            low, high = ends[rng.binomial(n, rate, studies)].T
            held = int(np.sum((low <= rate) & (rate <= high)))
            rows.append(
                Row(f"interval of a rate, n = {n}, worst of {len(RATES)} rates", "holds the truth", held, studies)
            )
        yield Row(**vars(worst(rows, largest=False)) | {"bar": COVERAGE})


def region_rule(rng, studies, judge=judge_rate):
    for low, high in ((0.5, 1.0), (0.0, 0.5), (0.2, 0.6), (0.9, 1.0)):
        wrong = {"false CONTRADICTED": [], "false REPRODUCED": []}
        for n in (2, 6, 10, 20, 50, 256):
            decisions = np.array([judge(k, n, low, high).decision for k in range(n + 1)])
            for rate in sorted({*RATES, low, high, max(low - 0.01, 0), min(high + 0.01, 1)}):
                kind, bad = (
                    ("false CONTRADICTED", ClaimDecision.CONTRADICTED)
                    if low <= rate <= high
                    else ("false REPRODUCED", ClaimDecision.REPRODUCED)
                )
                hits = int(np.sum(decisions[rng.binomial(n, rate, studies)] == bad))
                wrong[kind].append(Row(f"rate against [{low}, {high}], worst of 6 n and 11 rates", kind, hits, studies))
        for rows in wrong.values():
            yield Row(**vars(worst(rows, largest=True)) | {"bar": WRONG, "at_least": False})


def two_counts(rng, studies, judge=judge_count):
    """Pairs of counts: equal rates, and rates that are further apart than the margin."""
    for (n, claimed), (one, other) in product(
        ((8, 2), (8, 8), (20, 20), (60, 40)), ((0.1, 0.1), (0.38, 0.38), (0.5, 0.5), (0.3, 0.56), (0.05, 0.31))
    ):
        decide = cache(lambda k, seen, n=n, claimed=claimed: judge(k, n, seen, claimed).decision)
        pairs = zip(rng.binomial(n, one, studies).tolist(), rng.binomial(claimed, other, studies).tolist(), strict=True)
        found = [decide(*pair) for pair in pairs]
        bad = ClaimDecision.CONTRADICTED if one == other else ClaimDecision.REPRODUCED
        scenario = f"n = {n} beside a published n = {claimed}, rates {one}, {other}"
        yield Row(scenario, f"false {bad}", found.count(bad), studies, WRONG, at_least=False)


SMALL_ARMS = ((3, 3), (5, 5))
ARMS = (*SMALL_ARMS, (8, 8), (20, 20), (10, 40))


def ordered_rates(rng, studies, judge=judge_order_rates, arms=ARMS):
    """A claimed order that is true by a hair is contradicted rarely; of equal rates, rarely one is called higher."""
    for (n1, n2), rate in product(arms, (0.1, 0.38, 0.5, 0.9)):
        decide = cache(lambda k1, k2, n1=n1, n2=n2: judge(k1, n1, k2, n2, Order.MORE_OFTEN).decision)
        pairs = zip(rng.binomial(n1, rate, studies).tolist(), rng.binomial(n2, rate, studies).tolist(), strict=True)
        found = [decide(*pair) for pair in pairs]
        hits = sum(decision is not ClaimDecision.INCONCLUSIVE for decision in found)
        yield Row(
            f"order of two equal rates {rate}, n = {n1}, {n2}", "any decision", hits, studies, WRONG, at_least=False
        )


def seen_at(steps, ends):
    """Times as evaluations see them: every 100 steps, up to each replica's own end."""
    by = np.maximum(np.ceil(np.asarray(steps) / EVERY), 1).astype(int) * EVERY
    return [
        StepInterval(int(step) - EVERY, int(step), DEFINITION) if step <= end else Censored(int(end), DEFINITION)
        for step, end in zip(by, np.broadcast_to(ends, by.shape), strict=True)
    ]


def smooth(rng, n):
    return rng.lognormal(np.log(10_000), 0.8, n)  # median 10,000


def coarse(rng, n):
    return np.ceil(rng.lognormal(np.log(180), 0.5, n) / 100) * 100  # heavy ties, median 200


def two_humps(rng, n):
    return np.where(rng.random(n) < 0.45, rng.normal(5_000, 300, n), rng.normal(30_000, 2_000, n)).clip(1)


MEDIANS = {smooth: 10_000, coarse: 200, two_humps: None}


def true_median(draw):
    """The least right end at or below which at least half of all replicas are."""
    by = np.ceil(np.sort(draw(np.random.default_rng(0), 1_000_001)) / EVERY) * EVERY
    return float(by[500_000])


def followed(rng, times, how):
    """The last evaluation of each replica: all at one end, each at its own, or the slow ones give up early."""
    if how == "all watched":
        return np.full(len(times), 10**9)
    if how == "one end":
        return np.full(len(times), round(true_ends[how] / EVERY) * EVERY)
    if how == "own ends":
        return np.ceil(rng.uniform(0.3, 3, len(times)) * 10_000 / EVERY).astype(int) * EVERY
    return np.where(times > 12_000, 6_000, 10**9)  # a replica that would have been slow is given up at step 6,000


true_ends = {"one end": 12_000.0}
FOLLOWED = ("all watched", "one end", "own ends", "slow ones given up")


def order_statistics(times):
    return median_interval(*right_ends(times))


def median_coverage(rng, studies, interval=order_statistics):
    for draw, n in product(MEDIANS, (6, 7, 10, 20, 50)):
        truth = true_median(draw)
        for how in FOLLOWED if draw is smooth else FOLLOWED[:1]:
            held = 0
            for _ in range(studies):
                steps = draw(rng, n)
                low, high = interval(seen_at(steps, followed(rng, steps, how)))
                held += low <= truth <= high
            yield Row(f"median, {draw.__name__}, {how}, n = {n}", "holds the truth", held, studies, COVERAGE)


def median_rule(rng, studies, judge=judge_median_time):
    for n, how in product((6, 10, 30), FOLLOWED):
        for (low, high), bad in (
            ((10_000, 20_000), ClaimDecision.CONTRADICTED),
            ((None, 10_000), ClaimDecision.CONTRADICTED),
            ((None, 9_900), ClaimDecision.REPRODUCED),
            ((10_100, None), ClaimDecision.REPRODUCED),
        ):
            hits = 0
            for _ in range(studies // 2):
                steps = smooth(rng, n)
                hits += judge(seen_at(steps, followed(rng, steps, how)), low, high).decision is bad
            scenario = f"median 10,000 against [{low}, {high}], {how}, n = {n}"
            yield Row(scenario, f"false {bad}", hits, studies // 2, WRONG, at_least=False)


# Beyond 7 + 7 replicas the splits are random, and a test takes 20 ms.
PAIRS = ((4, 4, 1), (5, 8, 1), (6, 6, 1), (8, 8, 4))


def ordered_times(rng, studies, judge=judge_order_times, pairs=PAIRS):
    for (n1, n2, slow), draw, ends in product(pairs, (smooth, coarse), ("all", "cut")):
        hits = 0
        for _ in range(studies // slow):
            end = 10**9 if ends == "all" else 200 if draw is coarse else 12_000
            first, second = (seen_at(draw(rng, n), end) for n in (n1, n2))
            hits += judge(first, second, Order.EARLIER, rng).decision is not ClaimDecision.INCONCLUSIVE
        scenario = f"order of equal times, {draw.__name__}, {ends}, n = {n1}, {n2}"
        yield Row(scenario, "any decision", hits, studies // slow, WRONG, at_least=False)
    for n1, n2, slow in pairs:
        samples = [(coarse(rng, n1).tolist(), coarse(rng, n2).tolist()) for _ in range(studies // slow)]
        found = [judge_order_values(*pair, Order.LOWER, rng).decision for pair in samples]
        hits = len(found) - found.count(ClaimDecision.INCONCLUSIVE)
        scenario = f"order of equal values with ties, n = {n1}, {n2}"
        yield Row(scenario, "any decision", hits, len(found), WRONG, at_least=False)


def power_of_rates(rng, studies, seeds=seeds_for_region):
    for (k, n), (low, high) in product(
        ((0, 2), (1, 3), (3, 8), (5, 8), (8, 8), (30, 100)), ((0.5, 1.0), (0.1, 0.7), (0.0, 0.15))
    ):
        if judge_rate(k, n, low, high).decision is not ClaimDecision.INCONCLUSIVE:
            continue
        if (more := seeds(k, n, k / n, low, high)) is None:
            continue
        decide = cache(lambda seen, total=n + more, low=low, high=high: judge_rate(seen, total, low, high).decision)
        found = [decide(k + drawn) for drawn in rng.binomial(more, k / n, studies).tolist()]
        hits = studies - found.count(ClaimDecision.INCONCLUSIVE)
        yield Row(f"{more:,} more than {k} of {n}, rate against [{low}, {high}]", "decides", hits, studies, POWER)
    for (k, n), other in (((3, 8), (30, 80)), ((2, 4), (0, 8)), ((6, 8), (3, 20)), ((1, 6), (8, 64))):
        more = seeds_for_same_rate(k, n, k / n, other, 0.25)
        decide = cache(lambda seen, total=n + more, other=other: judge_count(seen, total, *other).decision)
        found = [decide(k + drawn) for drawn in rng.binomial(more, k / n, studies).tolist()]
        hits = studies - found.count(ClaimDecision.INCONCLUSIVE)
        yield Row(f"{more:,} more than {k} of {n}, beside {other[0]} of {other[1]}", "decides", hits, studies, POWER)
    for k1, n1, k2, n2 in ((0, 2, 2, 2), (1, 4, 3, 4), (3, 8, 6, 8), (1, 8, 3, 8)):
        more = seeds_for_order(k1, n1, k2, n2)
        decide = cache(
            lambda one, two, n1=n1 + more, n2=n2 + more: judge_order_rates(one, n1, two, n2, Order.MORE_OFTEN).decision
        )
        drawn = (rng.binomial(more, k / n, studies).tolist() for k, n in ((k1, n1), (k2, n2)))
        found = [decide(k1 + one, k2 + two) for one, two in zip(*drawn, strict=True)]
        hits = studies - found.count(ClaimDecision.INCONCLUSIVE)
        yield Row(f"{more:,} more in each than {k1} of {n1} and {k2} of {n2}", "decides", hits, studies, POWER)


def power_of_medians(rng, studies):
    for below, above, n in ((0, 3, 3), (0, 2, 6), (1, 2, 8), (6, 0, 8), (0, 6, 10)):
        more = seeds_for_median(below, above, n)
        values = [0.0] * below + [3.0] * above + [1.0] * (n - below - above)
        hits = 0
        for _ in range(studies):
            drawn = [*values, *rng.choice(values, more)]
            hits += rules.judge_median(drawn, 0.5, 1.5).decision is not ClaimDecision.INCONCLUSIVE
        scenario = f"{more:,} more than {n}, median ({below} below, {above} above)"
        yield Row(scenario, "decides", hits, studies, POWER)


def power_of_orders(rng, studies):
    for first, second in (
        ((100, 200, 300), (400, 500, 600)),
        ((100, 200, 700), (400, 600, 900)),
        ((100, 300, 500, 900), (400, 800, 1_000, 1_000)),
    ):
        pilots = [[(float(step), step < 1_000) for step in arm] for arm in (first, second)]
        more = seeds_for_scores(*pilots, logrank_class_scores, rng)
        hits = 0
        for _ in range(studies // 4):
            arms = [[*arm, *rng.choice(arm, more)] for arm in (first, second)]
            times = [seen_at(arm, 900) for arm in arms]
            hits += judge_order_times(*times, Order.EARLIER, rng).decision is not ClaimDecision.INCONCLUSIVE
        scenario = f"about {more} more in each, times {len(first)} and {len(second)}"
        yield Row(scenario, "decides", hits, studies // 4, POWER)


def whole_ledgers(rng, studies):
    """Twenty true or false claims at once: how many are decided wrongly, beside the bound that the ledger prints."""
    wrong = bound = 0.0
    judge = cache(judge_rate)
    for _ in range(studies):
        rates = rng.uniform(0, 1, 20)
        results = [judge(int(rng.binomial(24, rate)), 24, 0.4, 1.0) for rate in rates]
        truth = [ClaimDecision.REPRODUCED if rate >= 0.4 else ClaimDecision.CONTRADICTED for rate in rates]
        pairs = zip(results, truth, strict=True)
        wrong += sum(result.decision not in {right, ClaimDecision.INCONCLUSIVE} for result, right in pairs)
        bound += sum(result.error_bound for result in results if not result.is_open)
    name = "wrong verdicts in ledgers of 20 claims"
    yield Row(name, "of the bound", round(wrong), round(bound), 1.0, at_least=False)


def without_level(k, n, low, high):
    """A rule that takes the rate it sees for the rate there is."""
    decision = ClaimDecision.REPRODUCED if low <= k / n <= high else ClaimDecision.CONTRADICTED
    return Judgement(decision, "no interval", f"{k} of {n}")


def larger_is_larger(k1, n1, k2, n2, _order):
    """A rule that calls every difference one."""
    decision = ClaimDecision.INCONCLUSIVE if k1 * n2 == k2 * n1 else ClaimDecision.REPRODUCED
    return Judgement(decision, "no test", "")


def range_of_middle(times):
    """The middle half of the values, called an interval of the median."""
    least, most = (sorted(ends) for ends in right_ends(times))
    return least[len(times) // 4], most[len(times) - 1 - len(times) // 4]


def earlier_median(first, second, _order, _rng):
    """A rule that compares two medians, and calls what it sees significant."""
    one, other = (median_time(times) for times in (first, second))
    return Judgement(ClaimDecision.INCONCLUSIVE if one == other else ClaimDecision.REPRODUCED, "no test", "")


def half_the_seeds(*asked):
    more = seeds_for_region(*asked)
    return None if more is None else max(1, more // 2)


BROKEN: dict[str, Callable[[np.random.Generator, tuple[int, int, int]], Iterator[Row]]] = {
    "Wald's interval": lambda rng, studies: rate_coverage(rng, studies[0], wald_interval),
    "a rule without its level": lambda rng, studies: region_rule(rng, studies[0], without_level),
    "every difference is one": lambda rng, studies: ordered_rates(rng, studies[0], larger_is_larger),
    "the middle half for the median's interval": lambda rng, studies: median_coverage(rng, studies[1], range_of_middle),
    "the earlier median is earlier": lambda rng, studies: ordered_times(rng, studies[2], earlier_median),
    "half the seeds needed": lambda rng, studies: power_of_rates(rng, studies[0], half_the_seeds),
}


def campaign(rng, studies, *, short) -> Iterator[Row]:
    """All scenarios; in short without those that take many of Boschloo's tests."""
    counts, medians, splits = studies
    yield from rate_coverage(rng, counts)
    yield from region_rule(rng, counts)
    yield from ordered_rates(rng, counts, arms=SMALL_ARMS if short else ARMS)
    yield from median_coverage(rng, medians)
    yield from median_rule(rng, medians)
    yield from ordered_times(rng, splits, pairs=PAIRS[:1] if short else PAIRS)
    yield from power_of_medians(rng, medians)
    yield from whole_ledgers(rng, medians)
    if not short:
        yield from two_counts(rng, counts)
        yield from power_of_rates(rng, counts)
        yield from power_of_orders(rng, splits)


def without_search():
    """Leave out what a result says it still needs: it costs most of the time and changes no decision."""
    names = ("seeds_for_region", "seeds_for_same_rate", "seeds_for_order", "seeds_for_median", "seeds_for_scores")
    return patch.multiple(rules, **{name: lambda *_: None for name in names})


def calibrate(*, short, broken, say):
    """Carry out the campaign, or see that broken rules are found; the exit code."""
    began, studies = time.monotonic(), STUDIES["short" if short else "full"]
    failed = rows = 0
    with without_search():
        if broken:
            for name, scenario in BROKEN.items():
                missed = [row for row in scenario(np.random.default_rng(SEED), STUDIES["short"]) if row.missed]
                say(f"{name}: {len(missed)} bars missed" + (f"\n    {missed[0]}" if missed else ""))
                failed += not missed
            return int(failed > 0)
        say(f"{'scenario':<64}{'what':<20}{'share':>9}{'studies':>9}{'bar':>10}")
        for row in campaign(np.random.default_rng(SEED), studies, short=short):
            say(str(row))
            rows, failed = rows + (row.bar is not None), failed + row.missed
    say(f"{rows} bars, {failed} missed; {time.monotonic() - began:.0f} s, scipy {scipy.__version__}, seed {SEED}")
    return int(failed > 0)

"""Rules of decision: worked values, what can never happen, and how each says what is missing."""

import math

import numpy as np
import pytest
from draws import draws
from hypothesis import given
from hypothesis import strategies as st

from reprogrok.claims.claims import Order
from reprogrok.claims.judgements import ClaimDecision
from reprogrok.claims.rules import (
    decide_rate,
    judge_count,
    judge_median,
    judge_median_time,
    judge_number,
    judge_order_rates,
    judge_order_times,
    judge_order_values,
    judge_rate,
)
from reprogrok.metrics.grokking import Censored, StepInterval

ID = "first-above/0.90"
YES, NO, OPEN = ClaimDecision.REPRODUCED, ClaimDecision.CONTRADICTED, ClaimDecision.INCONCLUSIVE


def generator():
    return np.random.default_rng(7)


def reached(by, width=100):
    return StepInterval(by - width, by, ID)


@pytest.mark.parametrize(
    ("value", "low", "high", "decision"),
    [(3.0, 3, 3, YES), (3.0, None, 2.9, NO), (3.0, None, None, YES), (-1.0, 0, None, NO), (math.nan, 0, None, OPEN)],
)
def test_a_number_is_in_the_region_or_not(value, low, high, decision):
    result = judge_number(value, low, high)
    assert result.decision is decision
    assert result.error_bound == 0.0


@pytest.mark.parametrize(
    ("count", "low", "decision", "seeds"),
    [
        ((0, 2), 0.5, OPEN, 4),  # at most 84 % is not "did not reproduce"
        ((0, 6), 0.5, NO, None),  # at most 45.9 %
        ((6, 6), 0.5, YES, None),  # at least 54.1 %
        ((0, 5), 0.5, OPEN, 1),
        ((1, 2), 0.5, OPEN, None),  # a rate on the edge
        ((0, 0), 0.5, OPEN, None),
        ((2, 5), 0.0, YES, None),
    ],
)
def test_rates_against_a_least_rate(count, low, decision, seeds):
    result = judge_rate(*count, low, 1.0)
    assert (result.decision, result.seeds_needed) == (decision, seeds)
    assert (result.missing is not None) == (decision is OPEN)


def test_a_rate_on_the_edge_is_said_to_stay_open():
    assert "no number of seeds decides" in judge_rate(1, 2, 0.5, 1.0).missing
    assert judge_rate(0, 2, 0.5, 1.0).missing == "4 more seeds for a power of 80 % if the rate is 0"
    assert judge_rate(0, 2, 0.5, 1.0).numbers == "0 of 2, rate at most 0.842"


@pytest.mark.parametrize("region", [(0.0, 0.2), (0.5, 1.0), (0.3, 0.9)])
@pytest.mark.parametrize("n", [0, 1, 2, 6, 20])
def test_a_rate_is_decided_the_same_way_with_and_without_what_is_missing(n, region):
    assert [decide_rate(k, n, *region) for k in (0, n)] == [judge_rate(k, n, *region).decision for k in (0, n)]


SCALE = {NO: 0, OPEN: 1, YES: 2}


@given(st.integers(1, 12), st.floats(0.0, 1.0))
@draws(10)
def test_more_events_never_speak_against_a_least_rate(n, low):
    order = [SCALE[judge_rate(k, n, low, 1.0).decision] for k in range(n + 1)]
    assert order == sorted(order)


@given(st.integers(1, 60).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.floats(0.05, 0.95))
@draws(15)
def test_a_claim_and_its_opposite_are_never_both_reproduced(count, edge):
    below, above = judge_rate(*count, 0.0, edge - 1e-9).decision, judge_rate(*count, edge, 1.0).decision
    assert {below, above} in ({YES, NO}, {OPEN})


def test_a_published_count_beside_ours():
    assert judge_count(8, 8, 0, 8).decision is NO
    assert judge_count(30, 100, 30, 100).decision is YES
    assert judge_count(3, 8, 3, 8).decision is OPEN  # alike so far is not the same
    one = judge_count(0, 2, 0, 1)
    assert (one.decision, one.seeds_needed) == (OPEN, None)
    assert "0 of 1 fits rates at most 0.988" in one.missing
    assert judge_count(0, 0, 0, 1).decision is OPEN


def test_a_median_takes_six_seeds():
    assert judge_median([1, 2, 3, 4, 5, 6], 1, 6).decision is YES
    assert judge_median([1, 2, 3, 4, 5, 6], 7, None).decision is NO
    assert judge_median([1, 2, 3, 4, 5, 6], 2, None).decision is OPEN
    five = judge_median([1, 2, 3, 4, 5], 1, 6)
    assert (five.decision, five.seeds_needed) == (OPEN, 1)
    assert "at least 6 seeds" in five.missing
    assert judge_median([], 1, 6).seeds_needed == 6
    assert judge_median([1.0] * 6 + [math.nan], 1, 1).decision is OPEN


def test_times_that_were_not_reached_are_later():
    never = [Censored(5_000, ID)] * 6
    assert judge_median_time(never, 0, 5_000).decision is NO
    assert judge_median_time(never, 5_001, None).decision is YES
    later = judge_median_time(never, 0, 9_000)
    assert later.decision is OPEN
    assert "longer runs: 6 of 6" in later.missing
    assert "median not reached, 0 of 6 got there" in later.numbers
    assert judge_median_time([reached(100 * step) for step in range(1, 7)], 100, 600).decision is YES


def test_an_evaluation_grid_too_coarse_for_the_region_decides_nothing():
    coarse = [StepInterval(0, 1_000, "first-above/0.99")] * 8  # somewhere up to 1,000: by 500, or not
    found = judge_median_time(coarse, 0, 500)
    assert found.decision is OPEN
    assert "denser evaluations: 8 of 8" in str(found.missing)
    assert judge_median_time(coarse, 500, None).decision is OPEN
    assert judge_median_time(coarse, 0, 1_000).decision is YES
    fine = [StepInterval(500, 1_000, "first-above/0.99")] * 8  # after 500, certainly
    assert judge_median_time(fine, 0, 500).decision is NO
    assert judge_median_time(fine, 501, 1_000).decision is YES


def test_an_order_of_rates():
    assert judge_order_rates(8, 8, 0, 8, Order.MORE_OFTEN).decision is YES
    assert judge_order_rates(8, 8, 0, 8, Order.LESS_OFTEN).decision is NO
    assert judge_order_rates(3, 8, 1, 8, Order.MORE_OFTEN).seeds_needed > 8
    assert "no number of seeds orders equal rates" in judge_order_rates(3, 8, 3, 8, Order.MORE_OFTEN).missing


@pytest.mark.parametrize(("order", "decision"), [(Order.EARLIER, YES), (Order.LATER, NO)])
def test_an_order_of_times(order, decision):
    first = [reached(100 * step) for step in (1, 2, 3, 4)]
    second = [*(reached(100 * step) for step in (5, 6, 7)), Censored(900, ID)]
    result = judge_order_times(first, second, order, generator())
    assert result.decision is decision
    assert result.p == pytest.approx(2 / 70)
    opposite = {Order.EARLIER: Order.LATER, Order.LATER: Order.EARLIER}[order]
    assert judge_order_times(second, first, opposite, generator()).decision is decision


def test_three_against_three_can_decide_nothing_and_say_how_many_can():
    first, second = ([reached(100 * step) for step in steps] for steps in ((1, 2, 3), (4, 5, 6)))
    result = judge_order_times(first, second, Order.EARLIER, generator())
    assert (result.decision, result.seeds_needed) == (OPEN, 1)
    assert result.p == pytest.approx(0.1)
    assert "1 at least, for a p of 0.05 to be possible" in result.missing


def test_times_of_two_grids_are_not_compared():
    result = judge_order_times([reached(100)] * 5, [reached(1_000, 500)] * 5, Order.EARLIER, generator())
    assert result.decision is OPEN
    assert "every 100 steps" in result.numbers
    assert judge_order_times([], [reached(100)], Order.EARLIER, generator()).decision is OPEN


def test_nobody_got_there_is_no_order():
    result = judge_order_times([Censored(900, ID)] * 6, [Censored(900, ID)] * 6, Order.EARLIER, generator())
    assert (result.decision, result.p, result.seeds_needed) == (OPEN, 1.0, None)


VALUES = st.lists(st.integers(0, 9).map(float), min_size=1, max_size=5)


@given(VALUES, VALUES)
@draws(15)
def test_swapping_the_arms_turns_the_order(first, second):
    one = judge_order_values(first, second, Order.LOWER, generator())
    other = judge_order_values(second, first, Order.HIGHER, generator())
    assert (one.decision, one.p) == (other.decision, pytest.approx(other.p))
    turned = judge_order_values(first, second, Order.HIGHER, generator()).decision
    assert {one.decision, turned} in ({YES, NO}, {OPEN})


def test_one_seed_decides_nothing_about_a_training_however_rare_its_outcome():
    rng = np.random.default_rng(0)
    late = [StepInterval(900, 1_000, "first-above/0.99")] * 39
    alone = [
        judge_rate(1, 1, 0.0, 0.02),  # at least 0.025: outside
        judge_rate(1, 1, 0.02, 1.0),  # inside
        judge_count(1, 1, 0, 100),
        judge_order_rates(1, 1, 0, 100, Order.LESS_OFTEN),
        judge_order_times([StepInterval(0, 100, "first-above/0.99")], late, Order.LATER, rng),
        judge_order_values([1.0], [float(value) for value in range(10, 50)], Order.HIGHER, rng),
    ]
    assert {found.decision for found in alone} == {ClaimDecision.INCONCLUSIVE}
    assert {found.seeds_needed for found in alone if found.missing and "second seed" in found.missing} == {1}
    assert judge_rate(2, 2, 0.0, 0.02).decision is ClaimDecision.CONTRADICTED

"""Times of replicas: a published trial, plain second implementations, and what must always hold."""

import math
from itertools import combinations

import numpy as np
import pytest
from draws import draws
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import CensoredData, binom, logrank

from reprogrok.metrics.grokking import Censored, StepInterval
from reprogrok.stats.permutation import (
    least_per_arm,
    logrank_class_scores,
    logrank_scores,
    permutation,
    rank_class_scores,
    ranks,
    seeds_for_scores,
)
from reprogrok.stats.survival import (
    common_end,
    grid_difference,
    kaplan_meier,
    median_interval,
    median_ranks,
    median_time,
    right_ends,
    seeds_for_median,
)

ID = "first-above/0.90"
# Freireich et al. 1963, weeks of remission, as in Cox 1972; negative is censored.
TREATED = [6, 6, 6, -6, 7, -9, 10, -10, -11, 13, 16, -17, -19, -20, 22, 23, -25, -32, -32, -34, -35]
PLACEBO = [1, 1, 2, 2, 3, 4, 4, 5, 5, 8, 8, 8, 8, 11, 11, 12, 12, 15, 17, 22, 23]


def reached(by, width=1):
    return StepInterval(by - width, by, ID)


def times(weeks):
    return [reached(week) if week > 0 else Censored(-week, ID) for week in weeks]


def test_the_curve_of_a_published_trial():
    curve = kaplan_meier(times(TREATED))
    expected = {6: 0.857, 7: 0.807, 10: 0.753, 13: 0.690, 16: 0.627, 22: 0.538, 23: 0.448}
    assert dict(curve) == pytest.approx(expected, abs=5e-4)
    assert median_time(times(TREATED)) == 23


def test_a_median_that_was_not_reached_is_none():
    assert median_time([reached(5), reached(9), Censored(20, ID), Censored(20, ID), Censored(30, ID)]) is None
    assert kaplan_meier([Censored(20, ID)] * 3) == ()


def test_without_censoring_the_curve_is_the_fraction_that_is_left():
    four = [reached(step) for step in (100, 200, 200, 400)]
    assert dict(kaplan_meier(four)) == pytest.approx({100: 0.75, 200: 0.25, 400: 0.0})
    assert median_time(four) == 200


@pytest.mark.parametrize(
    ("n", "rank"), [(0, 0), (1, 0), (5, 0), (6, 1), (8, 1), (9, 2), (10, 2), (15, 4), (20, 6), (50, 18)]
)
def test_ranks_of_the_medians_interval(n, rank):
    assert median_ranks(np.array([n])).item() == rank  # the table of the sign test at 5 %, two-sided, plus one
    assert rank == 0 or 2 * binom.cdf(rank - 1, n, 0.5) <= 0.05 < 2 * binom.cdf(rank, n, 0.5)


@given(st.lists(st.integers(1, 40), min_size=6, max_size=12), st.lists(st.integers(1, 40), min_size=12, max_size=12))
@draws(50)
def test_censoring_widens_the_interval_of_the_median_and_never_moves_it_away(steps, ends):
    whole = median_interval(*right_ends([reached(step) for step in steps]))
    seen = [reached(step) if step <= end else Censored(end, ID) for step, end in zip(steps, ends, strict=False)]
    low, high = median_interval(*right_ends(seen))
    assert low <= whole[0] <= whole[1] <= high


def test_worked_intervals_of_the_median():
    steps = [100, 200, 300, 400, 500, 600]
    assert median_interval(steps, steps) == (100, 600)
    assert median_interval(steps[:5], steps[:5]) is None
    cut = right_ends([*(reached(step) for step in steps[:4]), Censored(500, ID), Censored(500, ID)])
    assert median_interval(*cut) == (100, math.inf)
    assert median_interval(*right_ends([Censored(500, ID)] * 6)) == (501, math.inf)


def test_seeds_for_a_median_have_the_power():
    assert seeds_for_median(0, 3, 3) == 3
    assert seeds_for_median(0, 3, 6) is None  # as many above as not: the edge
    more = seeds_for_median(0, 2, 6)

    def power(extra):
        rank = median_ranks(np.array([6 + extra])).item()
        above = range(extra + 1)
        decided = [a for a in above if 2 + a <= rank - 1 or 6 + extra - (2 + a) <= rank - 1]
        return sum(binom.pmf(a, extra, 2 / 6) for a in decided)

    assert power(more) >= 0.8 > power(more - 1)


def test_the_scores_of_a_published_trial_are_observed_minus_expected():
    pooled = TREATED + PLACEBO
    scores = logrank_scores([abs(week) for week in pooled], [week > 0 for week in pooled])
    assert float(np.sum(scores[:21])) == pytest.approx(9 - 19.25, abs=5e-3)  # Cox 1972 and every textbook since
    assert float(np.sum(scores)) == pytest.approx(0, abs=1e-9)
    assert logrank_scores([1, 2, 3], [True] * 3) == pytest.approx([2 / 3, 1 / 6, -5 / 6])


def test_the_permutation_test_of_a_published_trial_agrees_with_the_normal_one():
    arms = [
        CensoredData(uncensored=[w for w in arm if w > 0], right=[-w for w in arm if w < 0])
        for arm in (TREATED, PLACEBO)
    ]
    assert logrank(*arms).statistic ** 2 == pytest.approx(16.79, abs=5e-3)
    pooled = TREATED + PLACEBO
    scores = logrank_scores([abs(week) for week in pooled], [week > 0 for week in pooled])
    found = permutation(scores[:21], scores[21:], np.random.default_rng(1))
    assert found.p == pytest.approx(2 / 10_000)  # none of 9,999 random splits: (0 + 1) / (9,999 + 1), twice
    assert not found.first_is_higher
    assert (found.exact, found.splits) == (False, 9_999)


@given(st.lists(st.integers(0, 6), min_size=1, max_size=4), st.lists(st.integers(0, 6), min_size=1, max_size=4))
@draws(40)
def test_few_replicas_are_judged_by_all_splits(first, second):
    scores = ranks([*first, *second])
    n, pooled = len(first), range(len(scores))
    found = permutation(scores[:n], scores[n:], np.random.default_rng(0))
    sums = [sum(scores[i] for i in split) for split in combinations(pooled, n)]
    seen = sum(scores[:n])
    tails = [sum(s >= seen - 1e-9 for s in sums), sum(s <= seen + 1e-9 for s in sums)]
    assert found.p == pytest.approx(min(1.0, 2 * min(tails) / len(sums)))
    assert found.exact
    swapped = permutation(scores[n:], scores[:n], np.random.default_rng(0))
    assert swapped.p == pytest.approx(found.p)


@pytest.mark.parametrize(("n1", "n2", "more"), [(1, 1, 3), (3, 3, 1), (4, 4, 0), (1, 39, 0), (2, 3, 2)])
def test_the_least_number_of_replicas_for_a_significant_result(n1, n2, more):
    assert least_per_arm(n1, n2) == more
    assert 2 / math.comb(n1 + n2 + 2 * more, n1 + more) <= 0.05


def test_classes_have_the_scores_of_their_members():
    ends, got = [100, 100, 200, 300, 300, 300, 400], [True, True, False, True, True, False, True]
    classes = sorted(set(zip(ends, got, strict=True)), key=lambda seen: (seen[0], not seen[1]))
    counts = np.array([[list(zip(ends, got, strict=True)).count(one) for one in classes]])
    by_class = logrank_class_scores(counts, np.array([one[1] for one in classes]))[0]
    alone = dict(zip(zip(ends, got, strict=True), logrank_scores(ends, got), strict=True))
    assert by_class == pytest.approx([alone[one] for one in classes])
    values = [5.0, 5.0, 6.0, 9.0]
    assert rank_class_scores(np.array([[2, 1, 1]]), np.ones(3, dtype=bool))[0] == pytest.approx(
        ranks(values)[[0, 2, 3]]
    )


def test_samples_that_are_alike_need_more_seeds_than_there_are():
    same = [(1.0, True), (2.0, True)]
    assert seeds_for_scores(same, same, rank_class_scores, np.random.default_rng(0)) is None


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        ([reached(100, 100)], [reached(500, 500)], "not evaluated between 0 and 500"),
        ([reached(400, 100)], [reached(1_000, 500)], "every 100 steps in the first, every 500"),
        ([reached(400, 100)], [reached(950, 100)], "not at the same ones"),
        ([Censored(250, ID)], [reached(300, 100)], "was, at 250"),
    ],
)
def test_grids_that_differ_are_seen(first, second, words):
    assert words in grid_difference(first, second)
    assert grid_difference(second, first) is not None


def test_one_grid_is_no_difference():
    assert (
        grid_difference([reached(400, 100), Censored(900, ID)], [reached(900, 100), StepInterval(None, 100, ID)])
        is None
    )


def test_both_arms_are_followed_to_the_first_end():
    one, other, end = common_end([reached(300, 100), Censored(500, ID)], [reached(700, 100), Censored(900, ID)])
    assert (one, other, end) == ([(300.0, True), (500.0, False)], [(500.0, False), (500.0, False)], 500)

"""Numbers with their uncertainty: worked values, SciPy's own distributions as the judge, and what must always hold."""

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta, binom, binomtest, hypergeom

from reprogrok.stats.exact_tests import BOSCHLOO_UP_TO, fisher, holm, mcnemar, rates_differ
from reprogrok.stats.proportions import Proportion, interval_text, proportion
from reprogrok.stats.sample_sizes import (
    MOST_SEEDS,
    fisher_limits,
    seeds_for_order,
    seeds_for_region,
    seeds_for_same_rate,
)

COUNTS = st.integers(1, 2_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@pytest.mark.parametrize(
    ("k", "n", "low", "high"),
    [
        (0, 100_000, 0.0, 3.688811e-05),  # 1 - 0.025 ** (1 / n)
        (12, 100_000, 6.20070e-05, 2.09609e-04),
        (100_000, 100_000, 1 - 3.688811e-05, 1.0),
        (0, 2, 0.0, 0.8418861),
        (2, 5, 0.0527450, 0.8533672),
        (4, 6, 0.2227781, 0.9567281),
        (10, 20, 0.2719578, 0.7280422),
    ],
)
def test_worked_intervals(k, n, low, high):
    found = proportion(k, n)
    assert (found.k, found.n, found.estimate) == (k, n, k / n)
    assert (found.low, found.high) == pytest.approx((low, high), rel=2e-5)


@given(COUNTS, st.sampled_from([0.9, 0.95, 0.99]))
def test_intervals_are_those_of_the_beta_distribution(counts, confidence):
    k, n = counts
    tail, found = (1 - confidence) / 2, proportion(k, n, confidence)
    assert found.low == pytest.approx(beta.ppf(tail, k, n - k + 1) if k else 0.0, rel=1e-6, abs=1e-12)
    assert found.high == pytest.approx(beta.ppf(1 - tail, k + 1, n - k) if k < n else 1.0, rel=1e-6)
    assert 0 <= found.low <= found.estimate <= found.high <= 1
    judge = binomtest(k, n).proportion_ci(confidence, method="exact")
    assert (found.low, found.high) == pytest.approx((judge.low, judge.high), rel=1e-6, abs=1e-12)


@given(COUNTS)
def test_an_interval_mirrors_and_grows_with_the_count(counts):
    k, n = counts
    found, mirrored = proportion(k, n), proportion(n - k, n)
    assert (found.low, found.high) == pytest.approx((1 - mirrored.high, 1 - mirrored.low), abs=1e-9)
    if k < n:
        more = proportion(k + 1, n)
        assert more.low >= found.low
        assert more.high >= found.high
    assert proportion(k * 10, n * 10).high - proportion(k * 10, n * 10).low < found.high - found.low


@pytest.mark.parametrize("n", [5, 20])
@pytest.mark.parametrize("rate", [0.01, 0.1, 0.37, 0.5, 0.93])
def test_an_interval_holds_the_truth_as_often_as_it_says(n, rate):
    held = sum(binom.pmf(k, n, rate) for k in range(n + 1) if proportion(k, n).low <= rate <= proportion(k, n).high)
    assert held >= 0.95


@pytest.mark.parametrize(
    ("k", "n", "text"),
    [
        (0, 100_000, "at most 3.69e-05"),
        (100_000, 100_000, "at least 0.999963"),
        (12, 100_000, "6.2e-05 to 0.00021"),
        (0, 2, "at most 0.842"),
    ],
)
def test_intervals_in_words(k, n, text):
    assert interval_text(proportion(k, n)) == text


def test_a_proportion_is_a_value():
    assert Proportion(1, 4, 0.1, 0.9) == Proportion(1, 4, 0.1, 0.9)
    assert Proportion(1, 4, 0.1, 0.9).estimate == 0.25


@pytest.mark.parametrize(
    ("first", "second", "p"),
    [(0, 12, 2 * 0.5**12), (0, 0, 1.0), (5, 5, 1.0), (0, 1, 1.0), (1, 8, 0.0390625), (0, 5, 0.0625), (0, 6, 0.03125)],
)
def test_worked_values_of_mcnemar(first, second, p):
    assert mcnemar(first, second) == pytest.approx(p)
    assert mcnemar(second, first) == pytest.approx(p)


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_is_the_two_sided_binomial(first, second):
    n = first + second
    tail = sum(math.comb(n, i) for i in range(min(first, second) + 1)) / 2**n
    assert mcnemar(first, second) == pytest.approx(min(1.0, 2 * tail), rel=1e-9)


@pytest.mark.parametrize(
    ("k1", "n1", "k2", "n2"), [(0, 10, 5, 10), (3, 8, 3, 8), (1, 4, 9, 12), (0, 5, 0, 9), (6, 6, 0, 3)]
)
def test_fisher_sums_the_tables_that_are_no_likelier(k1, n1, k2, n2):
    tables = [hypergeom.pmf(k, n1 + n2, k1 + k2, n1) for k in range(min(n1, k1 + k2) + 1)]
    expected = sum(p for p in tables if p <= tables[k1] * (1 + 1e-7))
    assert fisher(k1, n1, k2, n2) == pytest.approx(expected)
    assert fisher(k2, n2, k1, n1) == pytest.approx(expected)


def test_fisher_on_the_published_counts():
    assert fisher(0, 100_000, 12, 100_000) == pytest.approx(2 * 0.5**12, rel=1e-3)


def test_worked_values_of_holm():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []
    assert holm([0.2]) == [0.2]
    assert holm([0.9, 0.8]) == [1.0, 1.0]


@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm_rejects_what_the_step_down_procedure_rejects(p_values):
    adjusted = holm(p_values)
    assert all(p <= a <= 1 for p, a in zip(p_values, adjusted, strict=True))
    for (p, a), (q, b) in product(zip(p_values, adjusted, strict=True), repeat=2):
        assert a <= b or p > q
    for level in (0.01, 0.05, 0.2):
        rejected, order = set(), sorted(range(len(p_values)), key=p_values.__getitem__)
        for rank, index in enumerate(order):
            if (len(order) - rank) * p_values[index] > level:
                break
            rejected.add(index)
        assert {index for index, a in enumerate(adjusted) if a <= level} == rejected


def one_sided_fisher(k1, n1, k2, n2):
    """P of as few or fewer than k1 in the first, given how many there are in both."""
    return sum(
        math.comb(n1, k) * math.comb(n2, k1 + k2 - k) / math.comb(n1 + n2, k1 + k2)
        for k in range(max(0, k1 + k2 - n2), k1 + 1)
    )


def plain_boschloo(k1, n1, k2, n2):
    """Twice the smaller one-sided p: the largest probability, over a grid of common rates, of no larger a Fisher p."""
    tables = list(product(range(n1 + 1), range(n2 + 1)))
    grid = np.linspace(0, 1, 2_001)
    tails = []
    for flip in (False, True):
        statistic = {
            (a, b): one_sided_fisher(*((n1 - a, n1, n2 - b, n2) if flip else (a, n1, b, n2))) for a, b in tables
        }
        extreme = [table for table in tables if statistic[table] <= statistic[k1, k2] * (1 + 1e-9)]
        size = sum(
            math.comb(n1, a) * math.comb(n2, b) * grid ** (a + b) * (1 - grid) ** (n1 + n2 - a - b) for a, b in extreme
        )
        tails.append(float(np.max(size)))
    return min(1.0, 2 * min(tails))


def test_worked_values_of_two_rates():
    assert rates_differ(0, 5, 5, 5).p == pytest.approx(2 * 0.5**10)
    assert rates_differ(0, 5, 5, 5).test == "Boschloo's exact test"
    assert 2 * one_sided_fisher(0, 5, 5, 5) == pytest.approx(2 / 252)
    assert rates_differ(0, 4, 0, 9).p == rates_differ(4, 4, 9, 9).p == 1.0


@pytest.mark.parametrize(
    ("k1", "n1", "k2", "n2"), [(1, 4, 5, 6), (3, 8, 1, 8), (0, 1, 7, 8), (2, 2, 0, 6), (4, 7, 4, 7)]
)
def test_two_rates_are_told_apart_by_an_enumeration_of_all_tables(k1, n1, k2, n2):
    found = rates_differ(k1, n1, k2, n2).p
    assert found == pytest.approx(plain_boschloo(k1, n1, k2, n2), rel=2e-3)
    assert found == pytest.approx(rates_differ(k2, n2, k1, n1).p, rel=1e-6)
    assert found <= 2 * min(one_sided_fisher(k1, n1, k2, n2), one_sided_fisher(k2, n2, k1, n1)) * (1 + 1e-6)


def test_beyond_a_size_the_test_is_fishers_and_says_so():
    n = BOSCHLOO_UP_TO
    found = rates_differ(30, n, 60, n)
    assert found.test == "Fisher's exact test"
    assert found.p == pytest.approx(2 * one_sided_fisher(30, n, 60, n), rel=1e-6)


@pytest.mark.parametrize(("k2", "n2"), [(0, 5), (5, 5), (0, 1), (3, 8), (30, 80)])
def test_limits_of_fishers_test_are_those_of_each_count(k2, n2):
    sizes = np.array([1, 3, 5, 12, 30])
    for n, below, above in zip(sizes.tolist(), *(ends.tolist() for ends in fisher_limits(sizes, k2, n2)), strict=True):
        rarer = [k for k in range(n + 1) if 2 * one_sided_fisher(k, n, k2, n2) <= 0.05]
        more = [k for k in range(n + 1) if 2 * one_sided_fisher(n - k, n, n2 - k2, n2) <= 0.05]
        assert (below, above) == (max(rarer, default=-1), min(more, default=n + 1))


def plain_power(k, n, more, rate, decided):
    return sum(binom.pmf(drawn, more, rate) for drawn in range(more + 1) if decided(k + drawn, n + more))


@pytest.mark.parametrize(
    ("k", "n", "rate", "low", "high"),
    [
        (0, 2, 0.0, 0.5, 1.0),
        (0, 2, 0.2, 0.5, 1.0),
        (1, 3, 0.33, 0.0, 0.8),
        (4, 6, 0.9, 0.5, 1.0),
        (3, 8, 0.375, 0.1, 0.7),
    ],
)
def test_seeds_needed_are_found_by_trying_every_number(k, n, rate, low, high):
    def decided(seen, total):
        found = proportion(seen, total)
        return found.high < low or found.low > high or (low <= found.low and found.high <= high)

    more = seeds_for_region(k, n, rate, low, high)
    assert more is not None
    assert plain_power(k, n, more, rate, decided) >= 0.8
    assert more == 1 or plain_power(k, n, more - 1, rate, decided) < 0.8
    assert all(plain_power(k, n, later, rate, decided) >= 0.8 for later in range(more, more + 12))


def test_worked_values_of_seeds_needed():
    assert seeds_for_region(0, 2, 0.0, 0.5, 1.0) == 4  # 0 of 6 is at most 0.459, 0 of 5 at most 0.522
    assert seeds_for_region(1, 2, 0.5, 0.5, 1.0) is None  # on the edge no number decides
    assert seeds_for_order(3, 8, 3, 8) is None
    assert seeds_for_order(99, 200, 100, 200) is None  # more than 10,000
    assert seeds_for_same_rate(3, 8, 0.375, (0, 1), 0.25) is None  # one published seed allows nearly any rate
    assert MOST_SEEDS == 10_000


@pytest.mark.parametrize(("one", "other"), [((0, 2), (2, 2)), ((1, 4), (3, 4)), ((0, 5), (2, 5))])
def test_seeds_for_an_order_have_the_power(one, other):
    def power(more):
        return sum(
            binom.pmf(x, more, one[0] / one[1]) * binom.pmf(y, more, other[0] / other[1])
            for x, y in product(range(more + 1), repeat=2)
            if 2 * one_sided_fisher(one[0] + x, one[1] + more, other[0] + y, other[1] + more) <= 0.05
        )

    more = seeds_for_order(*one, *other)
    assert power(more) >= 0.8
    assert power(more + 1) >= 0.8 - 1e-5
    assert more == 1 or min(power(more - 1), power(more)) < 0.8


def test_seeds_for_the_same_rate_have_the_power():
    narrow = proportion(30, 80, 0.975)

    def decided(seen, total):
        ours = proportion(seen, total, 0.975)
        apart = max(ours.high - narrow.low, narrow.high - ours.low)
        differs = 2 * min(one_sided_fisher(seen, total, 30, 80), one_sided_fisher(total - seen, total, 50, 80)) <= 0.05
        return differs or apart <= 0.25

    more = seeds_for_same_rate(3, 8, 0.375, (30, 80), 0.25)
    assert plain_power(3, 8, more, 0.375, decided) >= 0.8
    assert plain_power(3, 8, more * 9 // 10, 0.375, decided) < 0.8

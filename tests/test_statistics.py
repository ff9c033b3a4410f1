"""Numbers with their uncertainty: worked values, SciPy's own distributions as the judge, and what must always hold."""

import math
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta, binom, binomtest, hypergeom

from reprogrok.measure.statistics import Proportion, fisher, holm, interval_text, mcnemar, proportion

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

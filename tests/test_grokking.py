"""Grok times: intervals, censoring, delays with their resolution, the published estimator, scores beside guessing."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reprogrok.formats.foreign_runs import read_run
from reprogrok.metrics.grokking import (
    Censored,
    Delay,
    MaxRise,
    StepInterval,
    Unknown,
    chance,
    claim_resolution,
    delay,
    first_above,
    max_rise5,
    right_answers,
    span,
    within,
)
from reprogrok.record import Series

V1, V2A, V2B = "v1_baseline", "v2a_interpolation_regime", "v2b_conflict_split"


def series(*values, every=100):
    """Values at the steps 100, 200, ..."""
    return Series(tuple(every * (index + 1) for index in range(len(values))), values)


@pytest.fixture
def accuracy(fixtures_dir):
    return lambda name: read_run(fixtures_dir / "runs" / name).replicas[42]["test_accuracy"]


@pytest.mark.parametrize(
    ("name", "threshold", "after", "by"),
    [
        (V1, 0.8, 33_600, 33_700),
        (V1, 0.9, 39_800, 39_900),
        (V2A, 0.8, 19_300, 19_400),
        (V2A, 0.9, 19_300, 19_400),
    ],
)
def test_published_logs_get_there_between_these_evaluations(accuracy, name, threshold, after, by):
    logged = accuracy(name)
    assert first_above(logged, threshold) == StepInterval(after, by, f"first-above/{threshold:.2f}")
    # "Above" read strictly names the same evaluation.
    assert next(s for s, v in zip(logged.steps, logged.values, strict=True) if v > threshold) == by


@pytest.mark.parametrize("threshold", [0.8, 0.9, 0.99])
def test_v2b_never_gets_there_and_is_censored_at_its_last_step(accuracy, threshold):
    assert first_above(accuracy(V2B), threshold) == Censored(20_000, f"first-above/{threshold:.2f}")


@pytest.mark.parametrize(
    ("name", "step", "rise", "below"),
    [(V1, 17_100, 0.137, True), (V2A, 19_500, 0.178, False), (V2B, 19_800, 0.0007, True)],
)
def test_the_published_estimator_finds_the_published_steps(accuracy, name, step, rise, below):
    found = max_rise5(accuracy(name))
    assert (found.step, found.below_threshold, found.skipped) == (step, below, 0)
    assert found.rise == pytest.approx(rise, abs=5e-4)


def test_exactly_the_threshold_is_there():
    assert first_above(series(0.5, 1.0), 1.0) == StepInterval(100, 200, "first-above/1.00")


def test_a_threshold_of_many_digits_keeps_them_in_its_id():
    assert first_above(series(0.5), 0.999).definition == "first-above/0.999"


def test_the_first_evaluation_bounds_one_side_only():
    time = first_above(series(0.9), 0.8)
    assert (time, time.earliest, time.latest) == (StepInterval(None, 100, "first-above/0.80"), 0, 100)


def test_a_hole_widens_the_interval_and_does_not_move_it():
    assert first_above(series(0.1, math.nan, math.nan, 0.9), 0.8) == StepInterval(100, 400, "first-above/0.80")
    assert first_above(series(0.1, math.nan), 0.8) == Censored(100, "first-above/0.80")


@pytest.mark.parametrize(("given_series", "reason"), [(None, "lacks this metric"), (series(math.nan), "no evaluation")])
def test_what_was_not_measured_is_unknown_with_its_reason(given_series, reason):
    for found in (first_above(given_series, 0.8), max_rise5(given_series)):
        assert isinstance(found, Unknown)
        assert reason in found.reason


@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=40),
    st.integers(1, 7),
    st.floats(0.01, 0.99),
)
def test_the_true_crossing_of_a_rising_metric_lies_in_the_interval(rises, every, threshold):
    # The metric of every step, of which only some are evaluated.
    total = sum(rises) or 1.0
    dense = [sum(rises[: n + 1]) / total for n in range(len(rises))]
    steps = range(0, len(dense), every)
    time = first_above(Series(tuple(steps), tuple(dense[step] for step in steps)), threshold)
    crossing = next((step for step, value in enumerate(dense) if value >= threshold), None)
    if isinstance(time, StepInterval):
        assert time.earliest <= crossing <= time.latest
    else:
        assert crossing is None or crossing >= time.earliest


steps_of = st.tuples(st.integers(0, 500), st.integers(1, 500)).map(lambda pair: (pair[0], sum(pair)))


@given(steps_of, steps_of, st.data())
def test_no_pair_of_crossings_escapes_the_delay(memorised, generalised, data):
    found = delay(StepInterval(*memorised, "a/0.99"), StepInterval(*generalised, "a/0.99"))
    first = data.draw(st.integers(memorised[0] + 1, memorised[1]))
    second = data.draw(st.integers(generalised[0] + 1, generalised[1]))
    assert found.low <= second - first <= found.high
    assert found.factor_low <= second / first <= found.factor_high
    assert found.resolution == (memorised[1] - memorised[0] - 1) + (generalised[1] - generalised[0] - 1)


def test_a_delay_has_the_resolution_of_its_evaluations():
    found = delay(StepInterval(100, 200, "first-above/0.99"), StepInterval(900, 1000, "first-above/0.99"))
    assert found == Delay(701, 899, 901 / 200, 1000 / 101, "delay/0.99-0.99")
    assert found.resolution == 198
    assert [found.within(steps) for steps in (700, 800, 899)] == [False, None, True]


def test_learned_between_the_same_evaluations_the_delay_may_have_either_sign():
    both = StepInterval(0, 500, "first-above/0.99")
    found = delay(both, both)
    assert (found.low, found.high, found.within(100)) == (-499, 499, None)


def test_what_never_came_bounds_the_delay_on_one_side():
    reached, never = StepInterval(100, 200, "first-above/0.99"), Censored(5_000, "first-above/0.99")
    later, sooner = delay(reached, never), delay(never, reached)
    assert (later.low, later.high, later.factor_low, later.factor_high) == (4_801, None, 5_001 / 200, None)
    assert (sooner.low, sooner.high) == (None, 200 - 5_001)
    assert delay(never, never) == Unknown("neither was reached", "delay/0.99-0.99")
    assert delay(Unknown("lost", "first-above/0.99"), reached) == Unknown("lost", "delay/0.99-0.99")


def test_the_factor_between_two_published_runs(accuracy):
    low, high = span(first_above(accuracy(V1), 0.8), first_above(accuracy(V2A), 0.8))
    assert (low, high) == pytest.approx((19_301 / 33_700, 19_400 / 33_601))


@pytest.mark.parametrize(("steps", "answer"), [(500, True), (450, None), (400, False)])
def test_within_is_undecided_inside_the_interval(steps, answer):
    assert within(StepInterval(400, 500, "x"), steps) is answer


def test_within_of_what_never_came():
    assert [within(Censored(500, "x"), steps) for steps in (500, 501)] == [False, None]
    assert within(Unknown("lost", "x"), 10) is None


@pytest.mark.parametrize(
    ("claimed", "decidable", "words"),
    [
        (500, True, "at most 500 steps"),
        (1_200, True, "up to step 1,500"),
        (100, False, "what happens within 100 steps cannot be seen"),
        (9_999, False, "the last evaluation is at step 2,000"),
    ],
)
def test_a_claim_finer_than_the_evaluations_is_refused(claimed, decidable, words):
    found = claim_resolution(series(0.1, 0.2, 0.3, 0.4, every=500), claimed)
    assert found.decidable is decidable
    assert words in found.reason


def test_a_hole_makes_the_evaluations_coarser():
    assert claim_resolution(series(math.nan, 0.2, every=500), 500).gap == 1_000
    assert not claim_resolution(series(math.nan, 0.2, every=500), 500).decidable
    assert not claim_resolution(None, 500).decidable


def slow_max_rise(values):
    """The definition in exact arithmetic."""
    rises = [
        (Fraction(values[i]) - sum(map(Fraction, values[i - 5 : i])) / 5, -i) for i in range(5, len(values))
    ]  # fmt: skip
    rise, negative = max(rises)
    return 100 * (1 - negative), rise


@given(st.lists(st.integers(0, 50), min_size=6, max_size=40))
def test_the_largest_rise_is_that_of_exact_arithmetic_and_the_first_of_equals(counts):
    step, rise = slow_max_rise([Fraction(count, 50) for count in counts])
    found = max_rise5(series(*(count / 50 for count in counts)))
    assert (found.step, found.rise) == (step, pytest.approx(float(rise), abs=1e-12))


@pytest.mark.parametrize(("count", "middle"), [(1, 100), (2, 200), (5, 300)])
def test_with_at_most_five_evaluations_it_is_the_middle_one(count, middle):
    assert max_rise5(series(*[0.5] * count)) == MaxRise(middle, None, below_threshold=True)


def test_a_rise_over_a_hole_is_passed_over_and_counted():
    values = [0.0, math.nan, 0.0, 0.0, 0.0, 0.0, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9]
    found = max_rise5(series(*values))
    # Evaluations 6 and 7 have the hole among their five; 8 is the first without.
    assert (found.skipped, found.step) == (2, 800)
    assert isinstance(max_rise5(series(*[0.1, math.nan] * 5)), Unknown)


def test_few_right_answers_have_their_exact_probability():
    found = chance(4, 4_753, 97)
    exact = sum(math.comb(4_753, k) * Fraction(1, 97) ** k * Fraction(96, 97) ** (4_753 - k) for k in range(5))
    assert found.probability == pytest.approx(float(exact), rel=1e-9)
    assert found.probability == pytest.approx(1.1e-16, rel=0.01)
    assert found.below
    assert not chance(49, 4_753, 97).below


def test_a_share_gives_back_its_count_or_nothing():
    assert right_answers(4 / 4_753, 4_753) == 4
    assert right_answers(0.0, 4_753) == 0
    assert right_answers(0.5, 4_753) is None


@pytest.mark.parametrize(("name", "examples", "most"), [(V1, 1_882, 1_882), (V2A, 4_235, 4_224), (V2B, 4_753, 4)])
def test_the_published_logs_hold_whole_numbers_of_right_answers(accuracy, name, examples, most):
    counts = [right_answers(value, examples) for value in accuracy(name).values]
    assert max(counts) == most

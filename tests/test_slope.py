"""The slope of a series against SciPy's own, and its interval against what it promises."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import linregress, t

from reprogrok.stats.slope import fit_slope


def points(values, every=1000):
    return [(every * (number + 1), Decimal(repr(float(value)))) for number, value in enumerate(values)]


def test_the_worked_value_of_the_docstring():
    found = fit_slope(points([0, 1] * 5), 0.95)
    assert float(found.estimate) == pytest.approx(1 / 33)
    assert (float(found.low), float(found.high)) == pytest.approx((-0.1095, 0.1701), abs=5e-5)
    assert found.worth == 10


@given(st.lists(st.floats(-1e3, 1e3, width=32), min_size=10, max_size=40), st.sampled_from([10, 500, 4000]))
def test_the_slope_is_that_of_scipy(values, every):
    x = np.arange(1, len(values) + 1) * every / 1000
    assert float(fit_slope(points(values, every), 0.95).estimate) == pytest.approx(
        linregress(x, values).slope, rel=1e-6, abs=1e-6
    )


@given(st.lists(st.integers(-50, 50), min_size=5, max_size=20), st.floats(0.5, 0.999))
def test_where_neighbours_differ_the_interval_is_that_of_scipy(values, confidence):
    alternating = [value for number in values for value in (number, -number - 101)]
    found = fit_slope(points(alternating), confidence)
    n = len(alternating)
    x = np.arange(1, n + 1)
    usual = linregress(x, alternating)
    half = t.ppf((1 + confidence) / 2, n - 2) * usual.stderr
    assert found.worth == n
    assert (float(found.low), float(found.high)) == pytest.approx((usual.slope - half, usual.slope + half), rel=1e-6)


def test_a_constant_and_a_straight_line_are_known_exactly():
    for values, slope in (([0.1] * 12, "0"), ([round(0.1 * k, 1) for k in range(12)], "0.1")):
        found = fit_slope(points(values), 0.95)
        assert found.low == found.estimate == found.high == Decimal(slope)


def test_points_that_all_say_the_same_are_worth_too_little_for_any_interval():
    # Two long plateaus about a flat line: the residuals hardly change sign.
    values = [0] * 30 + [1] * 60 + [0] * 30
    found = fit_slope(points(values), 0.95)
    assert found.worth < 3
    wandering = np.cumsum(np.ones(4000)) % 3999  # a line that falls back once, at the very end
    assert fit_slope(points(wandering[-12:]), 0.95).low < 0


def test_the_interval_holds_a_true_slope_of_alike_neighbours_as_often_as_the_guide_says():
    """First-order autoregressive noise of 0.6, 40 points: 0.90 of the intervals, where the ordinary one has 0.67."""
    rng = np.random.RandomState(7)
    held = usual_held = 0
    for _ in range(400):
        noise = rng.standard_normal(60)
        series = [0.0]
        for shock in noise:
            series.append(0.6 * series[-1] + shock)
        values = np.round(series[-40:], 6)
        found = fit_slope(points(values), 0.95)
        held += found.low <= 0 <= found.high
        usual = linregress(np.arange(40), values)
        usual_held += abs(usual.slope) <= t.ppf(0.975, 38) * usual.stderr
    # 400 series know a share of 0.9 to about 0.015.
    assert 0.85 <= held / 400 <= 0.95
    assert usual_held / 400 <= 0.75

"""Loss spikes: counted from where the loss had settled, with height, recovery and what was not seen."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reprogrok.metrics.spikes import Levels, Spike, answer_levels, fall_levels, find_spikes
from reprogrok.record import Series

LEVELS = Levels(0.1, 1.0, "spikes/0.1-1")


def series(*values, every=10):
    return Series(tuple(every * (index + 1) for index in range(len(values))), values)


def test_the_worked_example():
    found = find_spikes(series(0.03, 0.2, 0.03, 0.5, 4.4, 0.03), LEVELS)
    assert found.spikes == (Spike(start=40, peak_step=50, height=4.4, end=60, least=11, most=29),)
    assert found.spikes[0].recovery == 10
    assert (found.settled, found.above, found.evaluations, found.steps, found.grid) == (10, 1, 6, 50, 10)


@pytest.mark.parametrize("height", [4.4, 1.33])
def test_both_published_spikes_of_the_answer_loss_count(height):
    found = find_spikes(series(4.6, 0.03, height, 0.03), answer_levels())
    assert [spike.height for spike in found.spikes] == [height]


def test_the_fall_at_the_beginning_is_no_spike():
    assert find_spikes(series(4.6, 4.5, 0.05, 0.03), LEVELS).spikes == ()


def test_a_loss_that_never_settled_has_none_and_says_so():
    found = find_spikes(series(4.6, 2.0, 4.4), LEVELS)
    assert (found.settled, found.spikes, found.evaluations, found.fraction) == (None, (), 0, 0.0)


def test_noise_around_the_level_is_no_spike():
    assert find_spikes(series(0.05, 0.2, 0.05, 0.3, 0.05), LEVELS).spikes == ()


def test_a_spike_that_is_still_on_at_the_end_is_censored():
    (spike,) = find_spikes(series(0.05, 2.0, 3.0), LEVELS).spikes
    assert (spike.end, spike.recovery, spike.most, spike.least) == (None, None, None, 11)


def test_a_hole_belongs_to_no_side():
    (spike,) = find_spikes(series(0.05, math.nan, 2.0, math.nan, 0.05), LEVELS).spikes
    assert (spike.start, spike.end, spike.least, spike.most) == (30, 50, 1, 39)
    assert find_spikes(series(0.05, math.nan, 2.0, math.nan, 0.05), LEVELS).evaluations == 3


def test_what_happens_between_evaluations_leaves_no_trace():
    dense = [0.03] * 50
    dense[23], dense[24] = 4.4, 1.2
    assert len(find_spikes(series(*dense, every=1), LEVELS).spikes) == 1
    coarse = find_spikes(series(*dense[::10]), LEVELS)
    assert (coarse.spikes, coarse.grid) == ((), 10)


@given(st.lists(st.floats(0, 5), min_size=1, max_size=60), st.integers(2, 6))
def test_a_coarser_grid_never_sees_a_higher_peak_nor_a_longer_least_stay(values, every):
    values[0] = 0.0
    dense = find_spikes(Series(tuple(range(len(values))), tuple(values)), LEVELS)
    coarse = find_spikes(Series(tuple(range(0, len(values), every)), tuple(values[::every])), LEVELS)
    # Without the evaluations between, two stretches may become one; heights stay those of the log.
    assert max((s.height for s in coarse.spikes), default=0) <= max((s.height for s in dense.spikes), default=0)
    assert all(spike.most is None or spike.least <= spike.most for spike in (*dense.spikes, *coarse.spikes))


def test_levels_of_a_loss_with_an_unknown_floor_are_shares_of_its_fall():
    found = fall_levels(series(4.6, 0.1, 2.0))
    assert (found.level, found.trigger) == pytest.approx((0.55, 1.0))
    assert found.definition == "spikes/fall-0.1-0.2"


def test_a_loss_that_only_rose_or_hardly_fell_has_no_levels():
    assert fall_levels(series(2.2, 2.3, 4.0)) is None
    assert fall_levels(series(2.2, 2.0, 4.0)) is None
    assert fall_levels(series(0.0, 0.0)) is None
    assert fall_levels(series(math.nan)) is None


def test_a_trigger_below_the_level_is_refused():
    with pytest.raises(ValueError, match="trigger"):
        find_spikes(series(1.0), Levels(1.0, 0.5, "x"))

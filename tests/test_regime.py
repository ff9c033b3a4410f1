"""Regimes: each rule decides where it should, says why with numbers, and stays undecided where nobody looked."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from reprogrok.metrics.regime import RULES, Regime, Rules, find_regime
from reprogrok.record import Series


def run(train, test, *, every=100, **facts):
    """The regime of accuracies at steps 0, 100, 200, ...; the two lists may have one value for the rest."""
    length = max(len(train or ()), len(test))
    steps = tuple(range(0, length * every, every))
    padded = [None if x is None else Series(steps, (*x, *[x[-1]] * (length - len(x)))) for x in (train, test)]
    return find_regime(*padded, **facts)


RISING = [0.01, 0.5, 1.0]
LATE = [0.01] * 20 + [0.5, 1.0]


def test_training_long_before_test_is_delayed():
    found = run(RISING, LATE)
    assert found.regime is Regime.DELAYED
    # Memorised in (100, 200], generalised in (2000, 2100]: 2001/200 to 2100/101.
    assert (found.delay.low, found.delay.high) == (1_801, 1_999)
    assert "at least 10 times later" in found.reason


def test_test_with_training_is_at_once():
    found = run([0.01, 0.2, 0.4, 0.6, 1.0], [0.01, 0.2, 0.4, 0.6, 1.0])
    assert found.regime is Regime.AT_ONCE
    assert "less than 2 times later (a delay of -99 to 99 steps)" in found.reason


def test_at_once_is_refused_where_the_evaluations_are_too_far_apart():
    found = run([0.01, 1.0], [0.01, 1.0], every=500)
    assert found.regime is Regime.UNDECIDED
    assert "too far apart" in found.reason
    # The same curve seen more often is decided.
    assert run([0.01] * 9 + [1.0], [0.01] * 9 + [1.0], every=50).regime is Regime.AT_ONCE


def test_test_before_training_is_at_once():
    assert run([0.9], [0.01, 0.5, 1.0]).regime is Regime.AT_ONCE


def test_training_alone_is_memorising_only_as_far_as_it_was_watched():
    found = run(RISING, [0.01, 0.02, 0.3, 0.2])
    assert found.regime is Regime.MEMORISING
    assert "at most 0.3 (step 200) until step 300" in found.reason


def test_half_way_is_not_memorising_only():
    assert run(RISING, [0.01, 0.7, 0.8]).regime is Regime.UNDECIDED


@pytest.mark.parametrize(
    ("memoriser", "regime"), [(0.8, Regime.MEMORISING), (0.76, Regime.MEMORISING), (0.3, Regime.UNDECIDED)]
)
def test_what_remembering_can_reach_is_no_generalisation(memoriser, regime):
    found = run(RISING, [0.01, 0.7, 0.8], memoriser=memoriser)
    assert found.regime is regime
    assert f"(remembering alone can reach {memoriser:.3g})" in found.reason


def test_neither_learned_is_undecided():
    found = run([0.1], [0.01, 0.02])
    assert found.regime is Regime.UNDECIDED
    assert "did not reach 0.99 either" in found.reason


@pytest.mark.parametrize("test", [[0.01, 1.0], [0.01, 0.02]])
def test_without_train_accuracy_it_is_undecided_and_says_so(test):
    found = run(None, test)
    assert found.regime is Regime.UNDECIDED
    assert "not known" in found.reason


def test_without_test_accuracy_it_is_undecided():
    assert find_regime(Series((0,), (1.0,)), None).regime is Regime.UNDECIDED
    assert find_regime(None, Series((0,), (math.nan,))).regime is Regime.UNDECIDED


def test_a_split_without_a_way_to_the_answers_cannot_generalise():
    found = run(None, [0.0, 4 / 4_753, 0.0], ceiling=0.0)
    assert found.regime is Regime.CANNOT
    assert "reaches at most 0 on this test set; test accuracy was at most 0.000842 (step 100)" in found.reason


@pytest.mark.parametrize("ceiling", [0.0, 0.57])
def test_a_run_that_learned_nothing_says_nothing_of_its_split(ceiling):
    found = run([0.01], [0.0, 0.01], ceiling=ceiling)
    assert found.regime is Regime.UNDECIDED
    assert found.reason.endswith(
        "train accuracy did not reach 0.99 either; besides, a learner that only gives answers it has seen in training "
        f"reaches at most {ceiling:.4g} on this test set"
    )
    diverged = run([0.01], [0.0, 0.01], ceiling=ceiling, diverged=150)
    assert diverged.regime is Regime.UNSTABLE


def test_a_partial_ceiling_decides_only_where_training_is_known_to_be_learned():
    assert run(RISING, [0.01, 0.3, 0.57], ceiling=0.57).regime is Regime.CANNOT
    unknown = run(None, [0.01, 0.3, 0.57], ceiling=0.57)
    assert unknown.regime is Regime.UNDECIDED
    assert "is not known" in unknown.reason
    assert "reaches at most 0.57" in unknown.reason


def test_the_documented_rules_are_the_rules():
    text = (Path(__file__).parents[1] / "docs" / "measures.md").read_text("utf-8")
    rows = (line.split(" | ", 1) for line in text.splitlines() if line.startswith("| "))
    documented = {name.removeprefix("| "): rule for name, rule in rows}
    share, rules = f"{RULES.lost_share:.0%}".replace("%", " %"), RULES
    assert f"within {rules.beyond_ceiling:g} of the ceiling" in documented["cannot generalise"]
    assert f"training was learned ({rules.memorised:g})" in documented["cannot generalise"]
    assert f"a ceiling below {rules.generalised:g}" in documented["cannot generalise"]
    assert f"then below {rules.lost:g} at least {['', 'once', 'twice'][rules.losses]}" in documented["unstable"]
    assert f"at least {share} of the evaluations since" in documented["unstable"]
    assert rules.delay_factor == 2
    for name in ("delayed generalisation", "generalising at once"):
        assert "twice" in documented[name]
    assert f"{rules.beyond_ceiling:g} above" in documented["memorising only"]
    assert f"({rules.memorising_at_most:g} where" in documented["memorising only"]


def test_a_score_above_the_ceiling_refutes_the_ceiling():
    assert run(RISING, [0.01, 0.4], ceiling=0.0).regime is Regime.MEMORISING
    assert run(RISING, LATE, ceiling=0.0).regime is Regime.DELAYED


def test_a_full_ceiling_says_nothing():
    assert run(RISING, [0.01, 0.02], ceiling=1.0).regime is Regime.MEMORISING


def test_a_diverged_replica_is_unstable():
    found = run(RISING, [0.01, 0.02], diverged=250)
    assert found.regime is Regime.UNSTABLE
    assert "step 250" in found.reason


def test_learned_and_lost_again_and_again_is_unstable():
    found = run([1.0], [0.01, 1.0, 0.2, 1.0, 0.95, 1.0, 0.3, 1.0])
    assert found.regime is Regime.UNSTABLE
    assert "fell below 0.9 2 times, in 2 of 7 evaluations" in found.reason


def test_one_loss_with_recovery_is_an_incident():
    assert run([0.5, 1.0], [0.01, 1.0, 0.2, 1.0]).regime is not Regime.UNSTABLE


def test_falls_in_a_twentieth_of_the_evaluations_leave_a_delay_a_delay():
    shaken = [0.01] * 10 + [1.0] * 80
    shaken[30] = shaken[50] = shaken[60] = shaken[80] = 0.2
    found = run([0.5, 1.0], shaken)
    assert found.regime is Regime.DELAYED
    assert found.reason.endswith("; afterwards it fell below 0.9 4 times, in 4 of 80 evaluations")


def test_two_losses_in_a_thousand_evaluations_are_incidents():
    steady = [0.01, *[1.0] * 1000]
    steady[300] = steady[700] = 0.2
    assert run([0.5, 1.0], steady).regime is not Regime.UNSTABLE


def test_lost_at_the_end_is_unstable():
    found = run([1.0], [0.01, 1.0, 1.0, 0.1])
    assert found.regime is Regime.UNSTABLE
    assert "ended at 0.1 (step 300), below 0.9" in found.reason


def test_exactly_the_limits_count_as_learned_and_as_kept():
    found = run([0.5, 1.0], [0.01, 0.99, 0.9, 0.99, 0.9, 0.99])
    assert found.losses.spikes == ()
    assert found.regime is not Regime.UNSTABLE


def test_the_thresholds_travel_with_the_answer():
    rules = Rules(delay_factor=100.0)
    assert run(RISING, LATE).rules == RULES
    assert (run(RISING, LATE, rules=rules).regime, run(RISING, LATE, rules=rules).rules) == (Regime.AT_ONCE, rules)

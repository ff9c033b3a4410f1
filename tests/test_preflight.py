"""A gate seen from before the run, against brute force on small grids, the trainer's words, and arithmetic by hand."""

from __future__ import annotations

import dataclasses
import itertools
import math
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from draws import draws
from engine_runs import finished
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom
from test_engine_modular import TINY

from reprogrok.errors import ExitCode, InputError
from reprogrok.gates.criteria import Condition, Criterion, Gate, Requirement
from reprogrok.gates.gate_files import load_gate
from reprogrok.gates.operators import Limit, Relation, decimal
from reprogrok.gates.preflight.checks import NoteKind
from reprogrok.gates.preflight.criteria import check_criterion, counted
from reprogrok.gates.preflight.planned_run import PlannedRun, plan_run
from reprogrok.gates.preflight.preflight import preflight
from reprogrok.gates.preflight.requirements import check_requirement, least_by_luck
from reprogrok.gates.requirements import SplitAnswers, judge_requirements
from reprogrok.gates.verdict import GateDecision, Outcome
from reprogrok.metrics.logged import facts_of
from reprogrok.metrics.registry import ANALYSED, METRICS, denominator
from reprogrok.params import read_params
from reprogrok.record import Record, Series
from reprogrok.train.engine import Engine

ROOT = Path(__file__).resolve().parents[1]
PARAMS = read_params(ROOT / "params.yaml")
CRITERIA = ROOT / "audit" / "criteria"
LONG = {
    **dict.fromkeys(("e1", "e2", "e5", "e7", "e8", "e9", "e10"), "addition"),
    **{name: "modular" for name in PARAMS.experiments if name.startswith(("c12-", "d10-")) and "mini" not in name},
    "v1": "v1",
    "v2a": "modular",
    "power-add": "modular",
}
GRID = range(0, 31, 10)


def small(**changes):
    """An experiment with evaluations at 0, 10, 20 and 30."""
    recipe = dataclasses.replace(PARAMS.experiments["c12-5"], steps=31, evaluate_every=10, early=None, analyse_every=20)
    return dataclasses.replace(recipe, **changes)


def plan_of(n, definitions=None, split=None, **changes):
    facts = {"positions": 8, "width": 4, "test_examples": n, "train_examples": n, "classes": 97}
    logged = {
        "test_accuracy": "argmax/answer",
        "train_accuracy": "argmax/answer",
        "final_layer_rank": "pca99/blockin",
        "attention_entropy": "attn/all-queries",
        "train_answer_loss": "ce/answer",
    }
    return PlannedRun(small(**changes), definitions or logged, facts, frozenset({"final_layer_rank"}), split)


def condition(operator="always", relation="at_most", value="0.5", within=None):
    return Condition(operator, Limit(Relation(relation), Decimal(value)), within, 7)


def criterion_of(*conditions, metric="test_accuracy", definition="argmax/answer", grid=GRID):
    window = range(grid[0], grid[-1] + 1)
    return Criterion("c", "a title", "a source", metric, definition, window, grid, conditions, 5)


def kinds(check):
    return {note.kind for note in (*check.notes, *(note for item in check.conditions for note in item.notes))}


# A second reading of the operators, in fractions and by looking at every pair of points.
MEETS = {
    Relation.AT_LEAST: lambda x, limit: x >= limit,
    Relation.MORE_THAN: lambda x, limit: x > limit,
    Relation.AT_MOST: lambda x, limit: x <= limit,
    Relation.LESS_THAN: lambda x, limit: x < limit,
}


def holds(asked, values, grid=GRID):
    """Does a series of fractions meet a condition?"""
    meets, limit = MEETS[asked.limit.relation], Fraction(asked.limit.value)
    if asked.operator == "always":
        return all(meets(x, limit) for x in values)
    if asked.operator == "eventually":
        return any(meets(x, limit) for x in values)
    if asked.operator == "at_end":
        return meets(values[-1], limit)
    sign = 1 if asked.operator == "max_rise" else -1
    near = math.inf if asked.within is None else asked.within
    pairs = [(i, j) for i, j in itertools.combinations(range(len(values)), 2) if grid[j] - grid[i] <= near]
    return all(meets(sign * (values[j] - values[i]), limit) for i, j in pairs)


levels = st.builds(
    condition,
    st.sampled_from(["always", "eventually", "at_end"]),
    st.sampled_from([relation.value for relation in Relation]),
    st.sampled_from(["-0.1", "0", "0.1", "0.3", "0.4", "0.5", "0.9", "1", "1.2"]),
)
changes = st.builds(
    condition,
    st.sampled_from(["max_drop", "max_rise"]),
    st.just("at_most"),
    st.sampled_from(["0", "0.1", "0.34", "0.5", "0.7", "1", "1.5"]),
    st.sampled_from([None, 10, 20]),
)


def close(values, n):
    """Values of k/n as they were written, back to fractions."""
    return tuple(Fraction(round(value * n), n) for value in values)


@draws(150)
@given(st.one_of(levels, changes), st.integers(1, 3))
def test_what_is_called_impossible_has_no_series_and_what_is_called_vacuous_none_that_breaks_it(asked, n):
    every = list(itertools.product([Fraction(k, n) for k in range(n + 1)], repeat=len(GRID)))
    pass_, fail = (any(holds(asked, values) is wanted for values in every) for wanted in (True, False))
    check = check_criterion(criterion_of(asked), plan_of(n))
    (one,) = check.conditions
    assert (NoteKind.IMPOSSIBLE in kinds(check)) is not pass_
    assert (NoteKind.VACUOUS in kinds(check)) is not fail
    assert NoteKind.NOT_SHOWN not in kinds(check)
    assert (check.can_pass, check.can_fail) == (pass_, fail)
    if pass_:
        assert holds(asked, close(one.passes.values, n))
    if fail:
        assert not holds(asked, close(one.fails.values, n))


@draws(100)
@given(st.lists(st.one_of(levels, changes), min_size=2, max_size=3), st.integers(1, 3))
def test_all_conditions_at_once_are_shown_by_one_series_or_ruled_out_with_reason(asked, n):
    every = itertools.product([Fraction(k, n) for k in range(n + 1)], repeat=len(GRID))
    possible = any(all(holds(item, values) for item in asked) for values in every)
    check = check_criterion(criterion_of(*asked), plan_of(n))
    if check.passes is not None:
        assert all(holds(item, close(check.passes.values, n)) for item in asked)
        assert check.can_pass
    if NoteKind.IMPOSSIBLE in kinds(check):
        assert not possible
    if not possible:
        assert kinds(check) & {NoteKind.IMPOSSIBLE, NoteKind.NOT_SHOWN}
        assert not check.can_pass


def test_two_half_lines_without_a_share_between_them_are_impossible_together():
    # Between 0 and 1/3 there is a number, but no k of 3.
    asked = (condition("always", "more_than", "0.1"), condition("always", "at_most", "0.3"))
    check = check_criterion(criterion_of(*asked), plan_of(3))
    (note,) = check.notes
    assert note.kind is NoteKind.IMPOSSIBLE
    assert "no value of test_accuracy meets always > 0.1 and always <= 0.3 at once" in note.arithmetic
    assert check_criterion(criterion_of(*asked), plan_of(4)).can_pass


def test_a_drop_larger_than_the_bounds_are_apart_breaks_nothing():
    rank = {"metric": "final_layer_rank", "definition": "pca99/blockin", "grid": range(0, 21, 20)}
    check = check_criterion(criterion_of(condition("max_drop", value="3"), **rank), plan_of(5))
    (note,) = check.conditions[0].notes
    assert (note.kind, note.line) == (NoteKind.VACUOUS, 7)
    assert note.arithmetic == "a rank lies in [1, width = 4], so no value can break final_layer_rank largest drop <= 3"
    assert (check.can_pass, check.can_fail) == (True, False)
    assert kinds(check_criterion(criterion_of(condition("max_drop", value="2.9"), **rank), plan_of(5))) == set()


@pytest.mark.parametrize(
    ("relation", "value", "n", "words"),
    [
        ("at_most", "0.0001", 4753, "k <= 0 of 4,753"),
        ("at_most", "0.05", 1882, "k <= 94 of 1,882"),
        ("at_least", "0.99", 4705, "k >= 4,658 of 4,705"),
        ("less_than", "0.5", 4, "k <= 1 of 4"),
        ("more_than", "0.5", 4, "k >= 3 of 4"),
        ("more_than", "0.6", 4, "k >= 3 of 4"),
    ],
)
def test_a_limit_on_a_share_is_a_limit_on_a_count(relation, value, n, words):
    assert counted(condition("always", relation, value), n) == words
    assert denominator("test_accuracy", "argmax/answer", {"test_examples": n}) == n


def test_a_run_that_does_not_measure_where_the_criterion_looks_can_never_hold():
    rank = {"metric": "final_layer_rank", "definition": "pca99/blockin"}
    for criterion, words in (
        # Analyses come at 0, 20 and the end.
        (criterion_of(condition(value="3"), **rank), "at 1 of the 4 required steps, the first of them 10"),
        (criterion_of(condition(), grid=range(0, 51, 10)), "2 of the 6 required steps"),
        (
            criterion_of(condition(), grid=range(0, 51, 10)),
            "the first of them 40, and its last evaluation is at step 30",
        ),
        (criterion_of(condition(), metric="test_exact_match", definition="exact/answer/validation-5000"), "not log"),
        (criterion_of(condition(), metric="test_loss", definition="ce/all-8"), "does not log test_loss"),
    ):
        check = check_criterion(criterion, plan_of(5))
        assert NoteKind.UNMEASURED in kinds(check)
        assert words in check.notes[0].arithmetic
        assert not check.can_pass
    other = plan_of(5, {"train_loss": "ce/answer/batch"})
    loss = criterion_of(condition(), metric="train_loss", definition="ce/all-8/batch")
    (note,) = check_criterion(loss, other).notes
    assert "logs train_loss as ce/answer/batch, not as ce/all-8/batch" in note.arithmetic


@pytest.mark.parametrize("name", [*PARAMS.experiments])
def test_criteria_may_speak_of_whatever_a_run_will_log(name):
    experiment = PARAMS.experiments[name]
    planned = plan_run(experiment)
    assert planned.facts == facts_of(experiment)
    assert all(definition in METRICS[metric].definitions for metric, definition in planned.definitions.items())
    assert (planned.split is None) == (experiment.task.name == "addition")


def test_the_steps_of_the_plan_are_those_of_a_run():
    planned = plan_run(TINY)
    assert planned.analysed == set(ANALYSED)
    torch.set_num_threads(1)
    _, evaluations = finished(Engine(TINY, (44,), torch.device("cpu"), "eager"))
    for metric in planned.definitions:
        assert planned.steps(metric) == tuple(item.step for item in evaluations if metric in item.metrics), metric
    assert planned.steps("test_exact_match") == ()


def found(gate, experiment):
    return preflight(load_gate(CRITERIA / f"{gate}.yaml"), PARAMS.experiments[experiment], PARAMS)


def test_v2b_asks_for_more_entropy_than_there_is_and_its_criteria_1_and_4_say_nothing():
    verdict = found("v2b", "v2b")
    assert (verdict.decision, verdict.exit_code) == (GateDecision.NO_GO, ExitCode.FAIL)
    assert [(note.kind, note.where) for note in verdict.notes] == [
        (NoteKind.UNINFORMATIVE, "accuracy-stays-low"),
        (NoteKind.IMPOSSIBLE, "no-entropy-collapse"),
        (NoteKind.UNINFORMATIVE, "no-accuracy-jump"),
    ]
    assert f"ln(8!)/8 = {math.log(math.factorial(8)) / 8:.4f} nats" in verdict.notes[1].arithmetic
    assert "1.3256" in verdict.notes[1].arithmetic
    for note in (verdict.notes[0], verdict.notes[2]):
        assert (
            "49 of 49 test answers, those of 4,753 of 4,753 test examples, never occur in training" in note.arithmetic
        )
        assert "at most 0 of 4,753 right" in note.arithmetic
    assert [check.can_pass for check in verdict.criteria] == [True, True, False, True]
    assert all(check.can_fail for check in verdict.criteria)
    assert [check.measured for check in verdict.criteria] == [200, 40, 40, 200]


def test_expectations_alone_stop_nothing():
    published = load_gate(CRITERIA / "v2b.yaml")
    gate = dataclasses.replace(published, criteria=(published.criteria[0], published.criteria[3]))
    verdict = preflight(gate, PARAMS.experiments["v2b"], PARAMS)
    assert {note.kind for note in verdict.notes} == {NoteKind.UNINFORMATIVE}
    assert verdict.decision is GateDecision.GO


def test_the_corrected_gate_stops_v2_before_it_starts_and_lets_a_fair_split_through():
    verdict = found("v2b-fixed", "v2")
    assert verdict.exit_code is ExitCode.FAIL
    assert [(note.kind, note.where) for note in verdict.notes if note.kind.stops] == [
        (NoteKind.FAILS, "answers-learnable")
    ]
    assert NoteKind.OUT_OF_REACH in {note.kind for note in verdict.notes}
    assert verdict.requirements[0].decided is Outcome.FAILS
    assert all(check.can_pass and check.can_fail for check in verdict.criteria)
    fair = found("v2b-fixed", "v2a")
    assert fair.decision is GateDecision.GO
    assert fair.requirements[0].decided is Outcome.HOLDS
    assert fair.notes == ()


@pytest.mark.parametrize(("name", "gate"), LONG.items())
def test_every_sane_long_run_may_start(name, gate):
    verdict = found(gate, name)
    assert verdict.notes == ()
    assert verdict.decision is GateDecision.GO
    assert all(check.can_pass and check.can_fail for check in verdict.criteria)
    assert PARAMS.experiments[name].gates == (gate,)


def test_what_remembering_reaches_is_named_and_stops_nothing():
    # Of v1's 1,882 test pairs most are trained on with their operands swapped.
    asked = criterion_of(condition("eventually", "at_least", "0.5"), grid=range(0, 10_001, 1_000))
    gate = Gate("g", "t", "s", (asked,), Path("g.yaml"), "0" * 64, {})
    verdict = preflight(gate, PARAMS.experiments["v1"], PARAMS)
    (note,) = verdict.notes
    assert note.kind is NoteKind.REMEMBERED
    assert "reach 1,493 of 1,882 (0.7933), so test_accuracy eventually >= 0.5 does not take the rule" in note.arithmetic
    assert verdict.decision is GateDecision.GO


def test_a_criterion_above_what_seen_answers_reach_is_expected_to_fail():
    asked = criterion_of(condition("at_end", "at_least", "0.9"), grid=range(0, 10_001, 1_000))
    gate = Gate("g", "t", "s", (asked,), Path("g.yaml"), "0" * 64, {})
    verdict = preflight(gate, PARAMS.experiments["v2"], PARAMS)
    assert [note.kind for note in verdict.notes] == [NoteKind.OUT_OF_REACH]
    assert verdict.decision is GateDecision.GO


def below(**changes):
    settings_ = {"level": 0.001, "window": range(30, 31)} | changes
    return Requirement("not-below-chance", "test_accuracy", "argmax/answer", **settings_)


@pytest.mark.parametrize(
    ("n", "classes", "level", "looks"), [(4753, 97, 0.001, 1), (4753, 97, 0.001, 200), (500, 31, 0.01, 7)]
)
def test_the_line_between_bad_luck_and_worse_than_guessing_is_that_of_the_binomial(n, classes, level, looks):
    k = least_by_luck(n, classes, level, looks)
    assert binom.cdf(k, n, 1 / classes) * looks >= level > binom.cdf(k - 1, n, 1 / classes) * looks


def test_the_line_is_the_judges_own():
    # One evaluation of 4,753 examples: 28 right are worse than guessing, 29 are not.
    planned = plan_of(4753)
    check = check_requirement(below(), planned)
    assert check.passes == "k >= 29 of 4,753 at each of 1 evaluation"
    assert check.notes == ()
    for k, outcome in ((28, Outcome.FAILS), (29, Outcome.HOLDS)):
        record = Record(
            path=Path(),
            experiment="x",
            layout="reprogrok",
            replicas={0: {"test_accuracy": Series((30,), (k / 4753,))}},
            definitions=planned.definitions,
            facts=planned.facts,
        )
        judged = judge_requirements((below(),), record, SplitAnswers(possible=97, ceiling=None, source="the test"))
        assert judged[0][0].outcome is outcome


def test_a_test_set_too_small_to_be_below_chance_can_fail_nothing():
    # (96/97)^500 = 0.0056: nothing right of 500 is no surprise at a level of 0.001.
    check = check_requirement(below(), plan_of(500))
    (note,) = check.notes
    assert (note.kind, note.kind.stops, check.fails) == (NoteKind.VACUOUS, True, None)
    assert "even 0 right has a probability of 0.0056" in note.arithmetic
    assert check_requirement(below(level=0.01), plan_of(500)).notes == ()


def memorised(**changes):
    settings_ = {"at_least": decimal(0.99), "by": 20} | changes
    return Requirement("training-memorised", "train_accuracy", "argmax/answer", **settings_)


def test_what_training_has_to_reach_is_looked_for_where_the_run_looks():
    check = check_requirement(memorised(), plan_of(5))
    assert check.passes == "train_accuracy >= 0.99 at one of 3 evaluations up to step 20"
    assert check.notes == ()
    for asked, planned, words in (
        (memorised(by=40), plan_of(5), "ends at step 30, before step 40"),
        (memorised(), plan_of(5, {"test_accuracy": "argmax/answer"}), "does not log train_accuracy"),
        (below(window=range(21, 30)), plan_of(5), "does not measure test_accuracy from step 21 to 29"),
        (
            below(),
            plan_of(5, {"test_accuracy": "argmax/position/c"}),
            "logs test_accuracy as argmax/position/c, not as",
        ),
        (Requirement("answers-learnable", at_least=decimal(1)), plan_of(5), "no split of known equations"),
    ):
        (note,) = check_requirement(asked, planned).notes
        assert note.kind is NoteKind.UNMEASURED
        assert words in note.arithmetic
    for least, kind in ((1.5, NoteKind.IMPOSSIBLE), (0.0, NoteKind.VACUOUS)):
        assert [note.kind for note in check_requirement(memorised(at_least=decimal(least)), plan_of(5)).notes] == [kind]


def test_any_share_of_learnable_answers_is_more_than_none():
    planned = plan_run(PARAMS.experiments["v2"])
    (note,) = check_requirement(Requirement("answers-learnable", at_least=decimal(0)), planned).notes
    assert note.kind is NoteKind.VACUOUS


def test_a_split_that_cannot_be_is_an_error_at_its_place():
    experiment = PARAMS.experiments["c12-5"]
    broken = dataclasses.replace(experiment, batch=5_000)
    with pytest.raises(InputError) as caught:
        preflight(load_gate(CRITERIA / "modular.yaml"), broken, PARAMS)
    assert caught.value.path is not None
    assert caught.value.field == "$.experiments.c12-5.batch.size"

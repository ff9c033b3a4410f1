"""The judge against a brute-force reading of the rules, on random records; and what must never change a verdict."""

from __future__ import annotations

import dataclasses
import io
import json
import math
from fractions import Fraction
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from draws import draws
from hypothesis import assume, given
from hypothesis import strategies as st
from rich.console import Console

from reprogrok.errors import ExitCode, RecordError
from reprogrok.gates.criteria import Condition, Criterion, Gate
from reprogrok.gates.documents import as_github, as_json, as_junit
from reprogrok.gates.gate import judge
from reprogrok.gates.operators import Limit, Relation, decimal
from reprogrok.gates.tables import print_verdict
from reprogrok.gates.verdict import GateDecision, Outcome, RegistrationStatus
from reprogrok.record import Record, Registration, Series

GRID = range(10, 101, 10)
WINDOW = range(5, 101)
DEFINITION = {
    "test_accuracy": "argmax/answer",
    "attention_entropy": "attn/all-queries",
    "final_layer_rank": "pca99/blockin",
}
RELATIONS = {
    Relation.AT_LEAST: lambda x, limit: x >= limit,
    Relation.MORE_THAN: lambda x, limit: x > limit,
    Relation.AT_MOST: lambda x, limit: x <= limit,
    Relation.LESS_THAN: lambda x, limit: x < limit,
}


def condition(operator="always", relation="at_most", value=0.5, within=None, line=None):
    return Condition(operator, Limit(Relation(relation), decimal(value)), within, line)


def gate_of(*criteria, content=None, sha256="0" * 64):
    return Gate("g", "a title", "a source", criteria, Path("audit/criteria/g.yaml"), sha256, content or {"gate": "g"})


def criterion_of(*conditions, metric="test_accuracy", name="c"):
    return Criterion(name, f"title of {name}", "source", metric, DEFINITION[metric], WINDOW, GRID, conditions, 3)


def record_of(*replicas, definitions=DEFINITION, **changes):
    """Each replica is {metric: {step: value}}; seeds count from 0."""
    series = {
        seed: {
            name: Series(tuple(sorted(cells)), tuple(cells[step] for step in sorted(cells)))
            for name, cells in metrics.items()
        }
        for seed, metrics in enumerate(replicas)
    }
    facts = {"positions": 8, "width": 64}
    return dataclasses.replace(Record(Path("runs/g"), "g", "columns", series, definitions, facts), **changes)


def full(value=0.1, **changes):
    return dict.fromkeys(GRID, value) | {int(step[1:]): cell for step, cell in changes.items()}


def only(verdict):
    """The one criterion's result of a verdict with one replica and one criterion."""
    ((result,),) = (replica.criteria for replica in verdict.replicas)
    return result


# Two decimals, as logs have them: ties and changes exactly at the limit are frequent.
hundredths = st.integers(0, 100).map(lambda k: k / 100)
conditions = st.one_of(
    st.builds(
        condition, st.sampled_from(["always", "at_end"]), st.sampled_from([r.value for r in Relation]), hundredths
    ),
    st.builds(
        condition,
        st.sampled_from(["max_drop", "max_rise"]),
        st.just("at_most"),
        hundredths,
        st.none() | st.integers(10, 120),
    ),
)
cells = st.dictionaries(st.integers(0, 120), hundredths | st.just(math.nan), max_size=14)
# A record whose grid is mostly whole, or one with points anywhere.
series = (
    st.builds(lambda whole, extra: whole | extra, st.fixed_dictionaries(dict.fromkeys(GRID, hundredths)), cells) | cells
)


def oracle(asked, cells):
    """The rules read word by word, in exact fractions of the decimals, with every pair looked at."""
    x = {step: Fraction(repr(value)) for step, value in cells.items() if step in WINDOW and not math.isnan(value)}
    limit = Fraction(str(asked.limit.value))
    if asked.operator == "always":
        readings = [(step, None, x[step]) for step in x]
    elif asked.operator == "at_end":
        readings = [(100, None, x[100])] if 100 in x else []
    else:
        sign = 1 if asked.operator == "max_rise" else -1
        readings = [
            (j, i, sign * (x[j] - x[i]))
            for i in x
            for j in x
            if i < j and (asked.within is None or j - i <= asked.within)
        ]
    holds = RELATIONS[asked.limit.relation]
    broken = [reading for reading in readings if not holds(reading[2], limit)]
    complete = all(step in x for step in GRID) and not any(
        math.isnan(value) for step, value in cells.items() if step in WINDOW
    )
    outcome = "FAILS" if broken else "HOLDS" if complete else "INCONCLUSIVE"
    upwards = asked.limit.relation in {Relation.AT_LEAST, Relation.MORE_THAN}
    margins = [value - limit if upwards else limit - value for _, _, value in readings]
    return (
        outcome,
        min(margins, default=None),
        min((step for step, _, _ in broken), default=None),
        sum(s in x for s in GRID),
    )


@draws(600)
@given(conditions, series)
def test_a_condition_agrees_with_a_brute_force_reading_of_the_rules(asked, cells):
    result = only(judge(gate_of(criterion_of(asked)), record_of({"test_accuracy": cells})))
    (found,) = result.conditions
    outcome, margin, first, seen = oracle(asked, cells)
    assert found.outcome.value == outcome
    assert (None if found.margin is None else Fraction(str(found.margin))) == margin
    assert (None if found.first_violation is None else found.first_violation.step) == first
    assert result.measured == seen


@draws(300)
@given(conditions, series)
def test_the_sign_of_the_margin_is_the_outcome(asked, cells):
    (found,) = only(judge(gate_of(criterion_of(asked)), record_of({"test_accuracy": cells}))).conditions
    if found.margin is None:
        assert found.outcome is Outcome.INCONCLUSIVE
    else:
        strict = asked.limit.relation in {Relation.MORE_THAN, Relation.LESS_THAN}
        assert (found.outcome is Outcome.FAILS) == (found.margin < 0 or (strict and found.margin == 0))


@draws(300)
@given(st.lists(conditions, min_size=1, max_size=3), series, st.sampled_from(list(WINDOW)), st.booleans())
def test_a_nan_or_a_deleted_point_never_gives_go(asked, cells, step, delete):
    before = judge(gate_of(criterion_of(*asked)), record_of({"test_accuracy": cells})).decision
    damaged = {key: value for key, value in cells.items() if key != step} if delete else cells | {step: math.nan}
    assume(not delete or step in GRID)
    after = judge(gate_of(criterion_of(*asked)), record_of({"test_accuracy": damaged})).decision
    assert after is not GateDecision.GO
    if before is not GateDecision.NO_GO:
        assert after is GateDecision.INCONCLUSIVE  # missing data creates no violation either


@draws(100)
@given(st.lists(conditions, min_size=1, max_size=3), st.lists(series, min_size=1, max_size=4))
def test_a_run_is_the_worst_of_its_replicas_and_every_format_says_the_same(asked, replicas):
    gate = gate_of(criterion_of(*asked))
    verdict = judge(gate, record_of(*({"test_accuracy": cells} for cells in replicas)))
    alone = {judge(gate, record_of({"test_accuracy": cells})).decision for cells in replicas}
    expected = next(d for d in (GateDecision.NO_GO, GateDecision.INCONCLUSIVE, GateDecision.GO) if d in alone)
    code = {GateDecision.GO: 0, GateDecision.NO_GO: 1, GateDecision.INCONCLUSIVE: 3}[expected]
    assert (verdict.decision, verdict.exit_code) == (expected, code)

    document = json.loads(as_json(verdict))
    assert (document["verdict"], document["exit_code"]) == (expected.value, code)
    outcomes = [replica["outcome"] for criterion in document["criteria"] for replica in criterion["replicas"]]
    suite = ET.fromstring(as_junit(verdict)).find("testsuite")  # noqa: S314 - our own text
    assert (
        len(suite.findall("testcase")),
        len(suite.findall("testcase/failure")),
        len(suite.findall("testcase/error")),
    ) == (
        int(suite.get("tests")),
        outcomes.count("FAILS"),
        outcomes.count("INCONCLUSIVE"),
    )
    github = as_github(verdict).decode()
    assert ("::error " in github) == (expected is GateDecision.NO_GO)
    assert f"g: {expected} (exit {code})" in github
    table = printed(verdict)
    assert table.startswith(f"g: {expected} (exit {code})")
    assert sum(table.count(f" {outcome} ") for outcome in Outcome) >= len(asked) * len(replicas)


def printed(verdict, width=200):
    console = Console(file=io.StringIO(), width=width)
    print_verdict(verdict, console)
    return console.file.getvalue()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_finite_number_is_a_hole(value):
    verdict = judge(gate_of(criterion_of(condition())), record_of({"test_accuracy": full(s50=value)}))
    assert verdict.decision is GateDecision.INCONCLUSIVE
    assert only(verdict).reasons == (
        "1 value not a number, the first at step 50",
        "1 of 10 points missing, the first at step 50",
    )


def test_a_drop_is_seen_across_a_nan_and_a_nan_makes_none():
    asked = condition("max_drop", value=0.3)
    seen = judge(gate_of(criterion_of(asked)), record_of({"test_accuracy": full(s40=0.9, s50=math.nan, s60=0.1)}))
    assert seen.decision is GateDecision.NO_GO
    (found,) = only(seen).conditions
    assert (found.first_violation.since, found.first_violation.step) == (40, 60)
    unseen = judge(gate_of(criterion_of(asked)), record_of({"test_accuracy": full(s50=math.nan)}))
    assert unseen.decision is GateDecision.INCONCLUSIVE


def test_a_change_of_exactly_the_limit_keeps_it_in_decimals():
    assert 0.8 - 0.7 > 0.1  # the trap: in binary floating point this rise is too large
    cells = dict.fromkeys(GRID, 0.7) | dict.fromkeys(range(60, 101, 10), 0.8)
    verdict = judge(gate_of(criterion_of(condition("max_rise", value=0.1))), record_of({"test_accuracy": cells}))
    assert verdict.decision is GateDecision.GO
    assert only(verdict).conditions[0].margin == 0


def test_points_beside_the_grid_are_judged_but_fill_no_hole():
    holes = {step: value for step, value in full().items() if step != 50} | {49: 0.1, 51: 0.1}
    verdict = judge(gate_of(criterion_of(condition())), record_of({"test_accuracy": holes}))
    assert (verdict.decision, only(verdict).measured, only(verdict).off_grid) == (GateDecision.INCONCLUSIVE, 9, 2)
    violated = judge(gate_of(criterion_of(condition())), record_of({"test_accuracy": full(s51=0.9)}))
    assert violated.decision is GateDecision.NO_GO


def test_what_lies_outside_the_window_changes_nothing():
    verdict = judge(gate_of(criterion_of(condition())), record_of({"test_accuracy": full(s4=0.9, s101=math.nan)}))
    assert (verdict.decision, only(verdict).off_grid) == (GateDecision.GO, 0)


def test_a_run_that_was_cut_short_has_not_reached_its_end():
    cells = {step: 0.1 for step in GRID if step <= 50}
    verdict = judge(gate_of(criterion_of(condition("at_end", "at_least", 0.9))), record_of({"test_accuracy": cells}))
    assert verdict.decision is GateDecision.INCONCLUSIVE
    assert only(verdict).reasons == ("5 of 10 points missing, the first at step 60 (the record ends at step 50)",)


def test_a_metric_of_another_definition_is_not_judged():
    bad = full(0.9)  # breaks the limit, but measures something else
    record = record_of({"test_accuracy": bad}, definitions={"test_accuracy": "teacher-forced/all"})
    verdict = judge(gate_of(criterion_of(condition())), record)
    assert verdict.decision is GateDecision.INCONCLUSIVE
    assert only(verdict).reasons == ("test_accuracy was measured as teacher-forced/all, not as argmax/answer",)


def test_a_missing_metric_is_inconclusive_unless_another_criterion_fails():
    entropy = criterion_of(condition(), metric="attention_entropy", name="entropy")
    accuracy = criterion_of(condition(), name="accuracy")
    missing = judge(gate_of(accuracy, entropy), record_of({"test_accuracy": full()}))
    assert missing.decision is GateDecision.INCONCLUSIVE
    assert missing.replicas[0].criteria[1].reasons == ("attention_entropy is missing (recorded: test_accuracy)",)
    assert judge(gate_of(accuracy, entropy), record_of({"test_accuracy": full(0.9)})).decision is GateDecision.NO_GO


def test_a_value_that_the_metric_cannot_have_never_helps():
    # 2.5 nats over 8 positions cannot be; taken at face value it would pass "more than 2".
    entropy = criterion_of(condition("always", "more_than", 2.0), metric="attention_entropy")
    verdict = judge(gate_of(entropy), record_of({"attention_entropy": full(2.5)}))
    assert verdict.decision is GateDecision.INCONCLUSIVE
    assert "10 values outside the bounds, the first 2.5 at step 10" in only(verdict).reasons[0]
    rounding = judge(gate_of(criterion_of(condition())), record_of({"test_accuracy": full(-1e-9)}))
    assert rounding.decision is GateDecision.GO


def test_a_record_without_replicas_gives_nothing_to_judge():
    with pytest.raises(RecordError, match="nothing to judge"):
        judge(gate_of(criterion_of(condition())), record_of())


def test_an_impossible_and_a_vacuous_condition_are_named_in_every_format():
    entropy = criterion_of(condition("always", "more_than", 2.0, line=7), metric="attention_entropy", name="entropy")
    rank = criterion_of(condition("always", "at_least", 1, line=9), metric="final_layer_rank", name="rank")
    verdict = judge(gate_of(entropy, rank), record_of({"attention_entropy": full(1.0), "final_layer_rank": full(5.0)}))
    assert [(f.kind.value, f.criterion.id) for f in verdict.notes] == [
        ("IMPOSSIBLE", "entropy"),
        ("VACUOUS", "rank"),
    ]
    for text in (printed(verdict), as_json(verdict).decode(), as_junit(verdict).decode(), as_github(verdict).decode()):
        assert "IMPOSSIBLE" in text
        assert "VACUOUS" in text
        assert "ln(8!)/8 = 1.3256 nats" in text
        assert "[1, width = 64]" in text
    assert "::warning file=audit/criteria/g.yaml,line=7,title=IMPOSSIBLE in g::" in as_github(verdict).decode()


def test_a_bound_that_cannot_be_known_is_said():
    entropy = criterion_of(condition("always", "more_than", 2.0), metric="attention_entropy")
    verdict = judge(gate_of(entropy), record_of({"attention_entropy": full(2.5)}, facts={}))
    assert (verdict.decision, verdict.notes) == (GateDecision.GO, ())
    assert "the record does not state the positions" in printed(verdict)
    assert json.loads(as_json(verdict))["criteria"][0]["bounds"]["high"] is None


@pytest.mark.parametrize(
    ("stored", "status", "difference"),
    [
        (None, RegistrationStatus.UNREGISTERED, None),
        (Registration("0" * 64, {"gate": "g", "limit": 2}), RegistrationStatus.REGISTERED, None),
        (Registration("1" * 64, {"gate": "g", "limit": 2}), RegistrationStatus.AMENDED, None),
        (
            Registration("1" * 64, {"gate": "g", "limit": 3}),
            RegistrationStatus.AMENDED,
            ('-  "limit": 3', '+  "limit": 2'),
        ),
    ],
)
def test_registration_is_reported_and_withholds_a_go_only_from_amended_criteria(stored, status, difference):
    gate = gate_of(criterion_of(condition()), content={"gate": "g", "limit": 2})
    gates = {} if stored is None else {"g": stored}
    verdict = judge(gate, record_of({"test_accuracy": full()}, layout="reprogrok", gates=gates))
    decision = GateDecision.GO if difference is None else GateDecision.INCONCLUSIVE
    assert (verdict.registration.status, verdict.decision) == (status, decision)
    lines = verdict.registration.difference
    assert lines == () if difference is None else set(difference) <= set(lines)
    assert f"registration: {status}" in printed(verdict)
    assert json.loads(as_json(verdict))["registration"]["difference"] == list(lines)
    assert all(line in printed(verdict) for line in lines)


AMENDED = {"g": Registration("1" * 64, {"gate": "g", "limit": 3})}


@pytest.mark.parametrize(
    ("cells", "accept", "decision", "code"),
    [
        (full(0.1), False, "INCONCLUSIVE", 3),
        (full(0.1), True, "GO", 0),
        (full(0.9), False, "NO_GO", 1),
        (full(0.9), True, "NO_GO", 1),
        (full(s50=math.nan), False, "INCONCLUSIVE", 3),
        (full(s50=math.nan), True, "INCONCLUSIVE", 3),
    ],
)
def test_amended_criteria_give_no_go_ahead_until_somebody_accepts_them(cells, accept, decision, code):
    gate = gate_of(criterion_of(condition()), content={"gate": "g", "limit": 2})
    record = record_of({"test_accuracy": cells}, layout="reprogrok", gates=AMENDED)
    verdict = judge(gate, record, accept_amended=accept)
    assert (verdict.decision, verdict.exit_code) == (decision, code)
    withheld = "GO withheld: the criteria were amended after training began (--accept-amended gives it)"
    document, junit, github = json.loads(as_json(verdict)), as_junit(verdict).decode(), as_github(verdict).decode()
    assert document["registration"]["amendment_accepted"] is accept
    accepted = "the amendment was accepted (--accept-amended)"
    assert all((accepted in text) is accept for text in (printed(verdict), junit, github))
    would_pass = cells == full(0.1)
    assert document["withheld"] == (withheld if would_pass and not accept else None)
    assert all((withheld in text) == (would_pass and not accept) for text in (printed(verdict), junit, github))
    suite = ET.fromstring(junit).find("testsuite")  # noqa: S314 - our own text
    assert (suite.find("testcase/error") is None) == (decision != "INCONCLUSIVE")
    assert len(suite.findall("testcase")) == int(suite.get("tests"))


def test_accepting_an_amendment_that_is_none_is_not_recorded():
    gate = gate_of(criterion_of(condition()), content={"gate": "g", "limit": 2})
    comments_only = {"g": Registration("1" * 64, {"gate": "g", "limit": 2})}
    record = record_of({"test_accuracy": full()}, layout="reprogrok", gates=comments_only)
    verdict = judge(gate, record, accept_amended=True)
    assert (verdict.registration.status, verdict.decision) == (RegistrationStatus.AMENDED, GateDecision.GO)
    assert json.loads(as_json(verdict))["registration"]["amendment_accepted"] is False
    assert "only its comments or layout: the criteria are the same, and no GO is withheld" in printed(verdict)


def test_seeds_are_shown_where_there_is_more_than_one():
    gate = gate_of(criterion_of(condition()))
    one = judge(gate, record_of({"test_accuracy": full()}))
    two = judge(gate, record_of({"test_accuracy": full()}, {"test_accuracy": full(0.9)}))
    assert "seed" not in printed(one)
    assert " seed " in printed(two)
    assert two.exit_code is ExitCode.FAIL
    assert "(1 of 2 seeds, worst seed 1)" in as_github(two).decode()


def test_brackets_control_characters_and_commands_in_names_stay_text():
    nasty = "[bold]x[/bold] \x1b[31m %0A::error::a,b:c\n]]>&<\x00"
    criterion = dataclasses.replace(criterion_of(condition(line=4), name="c"), title=nasty)
    record = record_of({"test_accuracy": full(0.9)}, path=Path(nasty.replace("\x00", "")))
    verdict = judge(gate_of(criterion), record)
    assert "[bold]x[/bold]" in printed(verdict)
    suite = ET.fromstring(as_junit(verdict))  # noqa: S314 - our own text
    assert suite.find("testsuite/testcase/failure") is not None
    commands = as_github(verdict).decode().splitlines()
    assert len(commands) == 2
    assert all(command.startswith("::error file=audit/criteria/g.yaml,") for command in commands)
    assert "%250A::error::a,b:c%0A" in commands[0]
    assert json.loads(as_json(verdict))["run"]["path"] == nasty.replace("\x00", "")


@pytest.mark.parametrize("width", [40, 80, 200])
def test_a_table_wraps_and_cuts_nothing(width):
    verdict = judge(
        gate_of(criterion_of(condition(), name="a-long-name-of-a-criterion")), record_of({"test_accuracy": full(0.9)})
    )
    text = printed(verdict, width)
    assert "…" not in text
    assert "..." not in text
    if width == 200:
        assert "a-long-name-of-a-criterion" in text


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_in_a_narrow_terminal_every_number_is_there_and_at_80_columns_no_word_is_broken(width):
    asked = condition("max_rise", within=20, value=0.1)
    verdict = judge(
        gate_of(criterion_of(condition(), asked, name="accuracy-stays-low")),
        record_of({"test_accuracy": full(0.9)}),
    )
    text = printed(verdict, width)
    assert max(map(len, text.splitlines()[5:])) <= width
    words = ["accuracy-stays-low", "test_accuracy", "HOLDS", "FAILS", "10/10"] if width >= 80 else []
    assert all(word in text.split() for word in [*words, "0.9", "-0.4", "+0.1"])

"""What a gate requires beside its criteria: every outcome of every kind, from numbers worked by hand."""

from __future__ import annotations

import dataclasses
import io
import json
import math
from decimal import Decimal
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from reprogrok.errors import InputError
from reprogrok.gates.criteria import Requirement
from reprogrok.gates.documents import as_github, as_json, as_junit
from reprogrok.gates.gate import judge
from reprogrok.gates.gate_files import load_gate
from reprogrok.gates.requirements import SplitAnswers
from reprogrok.gates.tables import print_verdict
from reprogrok.record import Record, Series

CRITERIA = Path(__file__).resolve().parents[1] / "audit" / "criteria"
SMOKE = load_gate(CRITERIA / "smoke.yaml")
MEMORISED = Requirement("training-memorised", "train_accuracy", "argmax/answer", Decimal("0.99"), by=100, line=40)
LEARNABLE = Requirement("answers-learnable", at_least=Decimal(1), line=41)
CHANCE = Requirement("not-below-chance", "test_accuracy", "argmax/answer", level=0.001, window=range(101), line=42)
DEFINITIONS = {"train_accuracy": "argmax/answer", "test_accuracy": "argmax/answer"}
N = 970
KNOWN = SplitAnswers(97, 1.0, "the split")


def required(asked, *, train=None, test=None, answers=KNOWN, facts=None, **changes):
    """The verdict of a gate that requires `asked`, and nothing that its one criterion would not give."""
    series = {"train_accuracy": train, "test_accuracy": test}
    metrics = {name: Series(tuple(cells), tuple(map(float, cells.values()))) for name, cells in series.items() if cells}
    loss = Series((0, 50, 100, 150), (2.5, 1.0, 0.6, 0.5))
    record = Record(
        Path("runs/smoke"), "smoke", "columns", {0: metrics | {"train_loss": loss}},
        DEFINITIONS | {"train_loss": "ce/answer+eos/batch"}, {"test_examples": N} if facts is None else facts,
    )  # fmt: skip
    gate = dataclasses.replace(SMOKE, requires=(asked,))
    return judge(gate, dataclasses.replace(record, **changes), answers)


def result(*arguments, **series):
    verdict = required(*arguments, **series)
    ((found,),) = (replica.requires for replica in verdict.replicas)
    codes = {"HOLDS": 0, "FAILS": 1, "INCONCLUSIVE": 3}
    assert verdict.exit_code == codes[found.outcome]  # the criteria all hold, so the requirement decides
    return found


@pytest.mark.parametrize(
    ("train", "outcome", "words"),
    [
        ({0: 0.1, 50: 0.99, 100: 0.9}, "HOLDS", "first reached: 0.99 at step 50"),
        ({0: 0.1, 50: 0.9, 120: 1}, "FAILS", "highest 0.9 at step 50"),
        ({0: 0.1, 50: 0.9}, "INCONCLUSIVE", "the record ends at step 50, before step 100"),
        ({0: 0.1, 50: 1.0}, "INCONCLUSIVE", "the record ends at step 50, before step 100"),
        ({0: 0.1, 50: math.nan, 100: 0.2}, "INCONCLUSIVE", "1 value not a number, the first at step 50"),
        ({0: 0.1, 50: math.nan, 100: 1}, "INCONCLUSIVE", "1 value not a number, the first at step 50"),
        ({0: 0.1, 50: 1.5, 100: 0.2}, "INCONCLUSIVE", "1 value outside the bounds, the first 1.5 at step 50"),
        ({120: 1}, "INCONCLUSIVE", "no evaluation with a value from step 0 to 100"),
        (None, "INCONCLUSIVE", "train_accuracy is missing (recorded: train_loss)"),
    ],
)
def test_training_is_memorised_if_an_evaluation_says_so_in_time(train, outcome, words):
    found = result(MEMORISED, train=train)
    assert found.outcome.value == outcome
    assert words in "; ".join([found.numbers, *found.reasons])


@pytest.mark.parametrize(
    ("ceiling", "outcome"), [(1.0, "HOLDS"), (0.999, "FAILS"), (0.0, "FAILS"), (None, "INCONCLUSIVE")]
)
def test_answers_are_learnable_as_far_as_the_split_lets_them(ceiling, outcome):
    found = result(LEARNABLE, answers=SplitAnswers(97, ceiling, "the split"))
    assert (found.outcome.value, found.value) == (outcome, ceiling)


def tail(k, n, p):
    return math.fsum(math.comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(k + 1))


@pytest.mark.parametrize(
    ("test", "outcome", "fewest", "looked_at"),
    [
        ({0: 10 / N, 50: 12 / N, 100: 9 / N}, "HOLDS", 9, 3),
        ({0: 10 / N, 50: 0, 100: 9 / N}, "FAILS", 0, 3),
        ({0: 10 / N, 50: 0}, "FAILS", 0, 2),  # what was seen cannot be unseen
        ({0: 10 / N, 50: 12 / N}, "INCONCLUSIVE", 10, 2),
        ({0: 10 / N, 50: math.nan, 100: 9 / N}, "INCONCLUSIVE", 9, 2),
        ({0: 10 / N, 50: 0.0101, 100: 9 / N}, "INCONCLUSIVE", 9, 2),  # no share of 970 examples
    ],
)
def test_so_few_right_answers_are_no_bad_luck(test, outcome, fewest, looked_at):
    found = result(CHANCE, test=test)
    assert found.outcome.value == outcome
    assert found.value == pytest.approx(min(1, looked_at * tail(fewest, N, 1 / 97)))


def test_every_look_at_the_accuracy_counts():
    # One right answer of 970 at 1/97: 4.8e-4 in one look, and 1.4e-3 in three, which is above the level.
    assert tail(1, N, 1 / 97) == pytest.approx(4.8e-4, rel=0.02)
    assert result(CHANCE, test={100: 1 / N}).outcome.value == "FAILS"
    assert result(CHANCE, test={0: 10 / N, 50: 1 / N, 100: 9 / N}).outcome.value == "HOLDS"


@pytest.mark.parametrize(
    ("facts", "answers", "words"),
    [
        ({}, KNOWN, "the number of test examples is not known"),
        (None, SplitAnswers(None, None, "-"), "the number of possible answers is not known"),
    ],
)
def test_chance_needs_the_number_of_examples_and_of_answers(facts, answers, words):
    found = result(CHANCE, test={0: 0, 100: 0}, facts=facts, answers=answers)
    assert (found.outcome.value, found.reasons) == ("INCONCLUSIVE", (words,))


def test_a_metric_of_another_definition_is_not_looked_at():
    found = result(
        MEMORISED, train={0: 0, 100: 0}, definitions={"train_accuracy": "x", "train_loss": "ce/answer+eos/batch"}
    )
    assert found.outcome.value == "INCONCLUSIVE"
    assert found.reasons == ("train_accuracy was measured as x, not as argmax/answer",)


@given(
    st.dictionaries(st.integers(0, 140), st.integers(0, 20).map(lambda k: k / N), min_size=1, max_size=8),
    st.integers(0, 140),
    st.sampled_from([math.nan, math.inf, 1.7, -0.2]),
)
def test_a_hole_in_its_window_never_lets_a_requirement_hold(cells, step, damage):
    damaged = dict(sorted((cells | {step: damage}).items()))
    for asked, side in ((MEMORISED, "train"), (CHANCE, "test")):
        if step <= 100:
            assert result(asked, **{side: damaged}).outcome.value != "HOLDS"


@pytest.mark.parametrize(
    ("asked", "series", "outcome"),
    [
        (CHANCE, {"test": {0: 0, 100: 0}}, "FAILS"),
        (MEMORISED, {"train": {0: 0.1}}, "INCONCLUSIVE"),
        (LEARNABLE, {}, "HOLDS"),
    ],
)
def test_every_format_shows_a_requirement_with_its_numbers(asked, series, outcome):
    verdict = required(asked, **series)
    screen = Console(file=io.StringIO(), width=250)
    print_verdict(verdict, screen)
    table, junit, github = screen.file.getvalue(), as_junit(verdict).decode(), as_github(verdict).decode()
    (document,) = json.loads(as_json(verdict))["requires"]
    assert (document["kind"], document["outcome"]) == (asked.kind, outcome)
    suite = ET.fromstring(junit).find("testsuite")  # noqa: S314 - our own text
    case = next(case for case in suite.findall("testcase") if case.get("name") == asked.kind)
    assert [child.tag for child in case] == [
        {"FAILS": "failure", "INCONCLUSIVE": "error", "HOLDS": "system-out"}[outcome]
    ]
    (found,) = document["replicas"]
    shown = found["numbers"] or found["reasons"][0]
    assert asked.kind in table
    assert shown in junit
    assert "1 requirement: 1 " in table
    if outcome != "HOLDS":
        level = {"FAILS": "error", "INCONCLUSIVE": "warning"}[outcome]
        assert f"::{level} file={verdict.gate.path},line={asked.line},title={outcome} smoke {asked.kind}::" in github
        assert shown in github.replace("%25", "%")


REQUIRES = """requires:
  - training-memorised: {metric: train_accuracy, definition: argmax/answer, at_least: 0.99, by: 20000}
  - answers-learnable: {at_least: 1.0}
  - not-below-chance: {metric: test_accuracy, definition: argmax/answer, level: 0.001, from: 100, to: 20000}
"""
V2B = (CRITERIA / "v2b.yaml").read_text("utf-8")


def test_what_a_file_requires_is_read_with_its_lines(tmp_path):
    path = tmp_path / "v2b.yaml"
    path.write_text(V2B + REQUIRES, "utf-8")
    requires = load_gate(path).requires
    first = V2B.count("\n") + 2
    assert requires == (
        Requirement("training-memorised", "train_accuracy", "argmax/answer", Decimal("0.99"), by=20_000, line=first),
        Requirement("answers-learnable", at_least=Decimal(1), line=first + 1),
        Requirement(
            "not-below-chance", "test_accuracy", "argmax/answer", level=0.001, window=range(100, 20_001), line=first + 2
        ),
    )


@pytest.mark.parametrize(
    ("old", "new", "place", "words"),
    [
        ("training-memorised", "training-memorized", "$.requires[0].training-memorized", "did you mean training-mem"),
        ("at_least: 0.99", "at_least: 1.01", "$.requires[0].training-memorised.at_least", "at most 1"),
        ("at_least: 0.99, ", "", "$.requires[0].training-memorised", "at_least is missing"),
        (
            "metric: train_accuracy",
            "metric: train_acuracy",
            "$.requires[0].training-memorised.metric",
            "unknown metric",
        ),
        (
            "train_accuracy, definition: argmax/answer",
            "train_loss, definition: ce/answer/batch",
            "$.requires[0].training-memorised.metric",
            "a metric that is a fraction",
        ),
        (
            "metric: test_accuracy",
            "metric: train_accuracy",
            "$.requires[2].not-below-chance.metric",
            "test_accuracy, mea",
        ),
        ("level: 0.001", "level: 0", "$.requires[2].not-below-chance.level", "more than 0"),
        ("from: 100,", "from: 20001,", "$.requires[2].not-below-chance.to", "an empty window"),
        ("answers-learnable: {", "answers-learnable: {by: 3, ", "$.requires[1].answers-learnable.by", "unknown field"),
        (
            "  - answers-learnable: {at_least: 1.0}",
            "  - answers-learnable: {at_least: 1.0}\n  - answers-learnable: {at_least: 0.5}",
            "$.requires[2].answers-learnable",
            "this id is taken",
        ),
    ],
)
def test_a_requirement_without_meaning_is_refused_with_line_and_field(tmp_path, old, new, place, words):
    assert old in REQUIRES
    path = tmp_path / "v2b.yaml"
    path.write_text(V2B + REQUIRES.replace(old, new, 1), "utf-8")
    with pytest.raises(InputError) as caught:
        load_gate(path)
    assert f" {place}: " in str(caught.value)
    assert words in str(caught.value)


def test_a_criterion_cannot_take_the_name_of_a_requirement(tmp_path):
    path = tmp_path / "v2b.yaml"
    path.write_text((V2B + REQUIRES).replace("id: accuracy-stays-low", "id: answers-learnable"), "utf-8")
    with pytest.raises(InputError, match="this id is taken"):
        load_gate(path)

"""Criteria files: what the shipped gate says, and that every file that makes no sense is refused at its place."""

from __future__ import annotations

import json
import math
import re
from decimal import Decimal
from pathlib import Path

import pytest

from reprogrok.errors import InputError
from reprogrok.gates.gate_files import find_gate, gate_names, load_gate
from reprogrok.gates.operators import OPERATORS, Feasibility, Limit, Relation, feasibility
from reprogrok.metrics.bounds import largest_entropy
from reprogrok.metrics.registry import METRICS, bounds
from reprogrok.schema import validator

ROOT = Path(__file__).resolve().parents[1]
CRITERIA = ROOT / "audit" / "criteria"
V2B = (CRITERIA / "v2b.yaml").read_text("utf-8")


def refusal(tmp_path, text, name="v2b"):
    path = tmp_path / "v2b.yaml"
    path.write_text(text, "utf-8")
    with pytest.raises(InputError) as caught:
        load_gate(path, name)
    return str(caught.value).removeprefix(str(path))


def test_the_shipped_gate_says_what_its_authors_wrote():
    gate = load_gate(CRITERIA / "v2b.yaml")
    asked = [
        (
            c.metric,
            c.definition,
            c.window,
            c.grid,
            [(d.operator, d.limit.relation, d.limit.value, d.within) for d in c.conditions],
        )
        for c in gate.criteria
    ]
    window, every_100, every_500 = range(20_001), range(100, 20_001, 100), range(500, 20_001, 500)
    at_most = Relation.AT_MOST
    accuracy = ("test_accuracy", "argmax/answer", window, every_100)
    assert asked == [
        (*accuracy, [("always", at_most, Decimal("0.05"), None)]),
        (
            *("final_layer_rank", "pca99/blockin", window, every_500),
            [("always", Relation.AT_LEAST, 30, None), ("max_drop", at_most, 10, None)],
        ),
        (
            *("attention_entropy", "attn/all-queries", window, every_500),
            [("always", Relation.MORE_THAN, 2, None), ("max_drop", at_most, Decimal("0.5"), None)],
        ),
        (*accuracy, [("max_rise", at_most, Decimal("0.1"), 1_000)]),
    ]


def test_conditions_know_their_line():
    gate = load_gate(CRITERIA / "v2b.yaml")
    lines = V2B.splitlines()
    for criterion in gate.criteria:
        assert f"id: {criterion.id}" in lines[criterion.line - 1]
        for condition in criterion.conditions:
            assert f"- {condition.operator}:" in lines[condition.line - 1]


def test_every_shipped_gate_loads_under_its_own_name():
    assert [load_gate(CRITERIA / f"{name}.yaml").name for name in gate_names(CRITERIA)] == gate_names(CRITERIA)


ALWAYS, MAX_DROP = "always: {at_most: 0.05}", "max_drop: {at_most: 10}"
ONE, TWO = "$.criteria[0].conditions[0]", "$.criteria[1].conditions[1]"


@pytest.mark.parametrize(
    ("old", "new", "place", "words"),
    [
        (ALWAYS, "allways: {at_most: 0.05}", f"17 {ONE}.allways", "did you mean always?"),
        (ALWAYS, "always: {at_mots: 0.05}", f"17 {ONE}.always.at_mots", "did you mean at_most?"),
        (ALWAYS, "always: {}", f"17 {ONE}.always", "at least 1 field"),
        (ALWAYS, "always: {at_most: 0.05, at_least: 0}", f"17 {ONE}.always", "at most 1 field"),
        (ALWAYS, "always: {at_most: .nan}", f"17 {ONE}.always.at_most", "a finite number"),
        (ALWAYS, f"always: {{at_most: 1{'0' * 400}}}", f"17 {ONE}.always.at_most", "at most 1e+300"),
        (ALWAYS, "always: {at_most: yes}", f"17 {ONE}.always.at_most", "type number"),
        (MAX_DROP, "max_drop: {at_most: -1}", f"28 {TWO}.max_drop.at_most", "at least 0"),
        (MAX_DROP, "max_drop: {at_most: 10, within: 499}", f"28 {TWO}.max_drop.within", "at least 500"),
        ("metric: final_layer_rank", "metric: final_layer_rnak", "22 $.criteria[1].metric", "did you mean"),
        ("pca99/blockin", "pca99/all", "23 $.criteria[1].definition", "no such definition"),
        ("to: 20000}", "to: -1}", "14 $.criteria[0].window.to", "at least 0"),
        ("{from: 0, to: 20000}", "{from: 20001, to: 20000}", "14 $.criteria[0].window", "an empty window"),
        ("first: 100,", "first: 20100,", "15 $.criteria[0].coverage.first", "outside the window"),
        ("every: 100}", "every: 0}", "15 $.criteria[0].coverage.every", "at least 1"),
        ("first: 500,", "first: 20000,", f"28 {TWO}.max_drop", "needs at least 2 points"),
        ("id: rank-high-and-flat", "id: accuracy-stays-low", "19 $.criteria[1].id", "this id is taken"),
        ("gate: v2b", "gate: v2", "5 $.gate", "expected v2b"),
        ("    metric: final_layer_rank\n", "", "19 $.criteria[1]", "metric is missing"),
        ("reprogrok.criteria/1", "reprogrok.criteria/2", "4 $.format", "reprogrok.criteria/1"),
    ],
)
def test_a_file_without_meaning_is_refused_with_line_and_field(tmp_path, old, new, place, words):
    assert old in V2B
    message = refusal(tmp_path, V2B.replace(old, new, 1))
    assert message.startswith(f":{place}: "), message
    assert words in message


def test_a_gate_in_another_gates_file_is_refused(tmp_path):
    assert "$.gate: another gate: expected v9" in refusal(tmp_path, V2B, name="v9")


def test_an_unknown_gate_lists_those_there_are(tmp_path):
    (tmp_path / "v2b.yaml").touch()
    (tmp_path / "v3.yaml").touch()
    with pytest.raises(
        InputError, match=re.escape("no such gate: expected one of v2b, v3 (did you mean v2b?), found v2bb")
    ):
        find_gate("v2bb", tmp_path)


@pytest.mark.parametrize("name", ["../v2b", "sub/v2b", "", ".", "/etc/passwd"])
def test_a_gate_is_never_looked_up_outside_its_folder(tmp_path, name):
    (tmp_path / "v2b.yaml").touch()
    (tmp_path / "criteria" / "sub").mkdir(parents=True)
    (tmp_path / "criteria" / "sub" / "v2b.yaml").touch()
    with pytest.raises(InputError, match="no such gate"):
        find_gate(name, tmp_path / "criteria")


def test_schema_and_operators_name_the_same_operators_and_relations():
    definitions = validator("criteria").schema["$defs"]
    # Flat is written as one and judged as a drop, perhaps a rise, and the two ends of a slope.
    assert set(definitions["condition"]["properties"]) - {"flat"} == set(OPERATORS) - {"slope"}
    assert set(definitions["bound"]["properties"]) == set(Relation)


def test_readers_of_the_repository_see_the_shipped_schemas():
    shown = ROOT / "audit" / "schemas" / "criteria.schema.json"
    assert json.loads(shown.read_text("utf-8")) == validator("criteria").schema


@pytest.mark.parametrize(("positions", "nats"), [(1, 0.0), (2, 0.34657), (8, 1.32558), (33, 2.57741)])
def test_largest_entropy_is_the_mean_of_the_uniform_entropies(positions, nats):
    assert largest_entropy(positions) == pytest.approx(sum(math.log(t) for t in range(1, positions + 1)) / positions)
    assert largest_entropy(positions) == pytest.approx(nats, rel=2e-3)


FACTS = {"positions": 8, "width": 256}


@pytest.mark.parametrize(
    ("metric", "operator", "relation", "value", "expected"),
    [
        ("attention_entropy", "always", "more_than", "2.0", "IMPOSSIBLE"),
        ("attention_entropy", "always", "more_than", "1.32", "POSSIBLE"),
        ("attention_entropy", "always", "at_least", "0", "VACUOUS"),
        ("attention_entropy", "max_drop", "at_most", "1.33", "VACUOUS"),
        ("attention_entropy", "max_drop", "at_most", "0.5", "POSSIBLE"),
        ("final_layer_rank", "always", "at_least", "257", "IMPOSSIBLE"),
        ("final_layer_rank", "always", "at_least", "256", "POSSIBLE"),
        ("final_layer_rank", "always", "more_than", "256", "IMPOSSIBLE"),
        ("final_layer_rank", "at_end", "less_than", "1", "IMPOSSIBLE"),
        ("final_layer_rank", "at_end", "at_least", "1", "VACUOUS"),
        ("test_accuracy", "always", "at_most", "1", "VACUOUS"),
        ("test_accuracy", "always", "less_than", "1", "POSSIBLE"),
        ("test_accuracy", "always", "less_than", "0", "IMPOSSIBLE"),
        ("test_accuracy", "max_rise", "at_most", "1", "VACUOUS"),
        ("test_loss", "always", "at_least", "0", "VACUOUS"),
        ("test_loss", "always", "less_than", "0", "IMPOSSIBLE"),
        ("test_loss", "max_drop", "at_most", "1000", "POSSIBLE"),
    ],
)
def test_conditions_that_nothing_can_meet_or_break_are_told_apart(metric, operator, relation, value, expected):
    definition = next(iter(METRICS[metric].definitions))
    limit = Limit(Relation(relation), Decimal(value))
    assert feasibility(OPERATORS[operator], limit, bounds(metric, definition, FACTS)) is Feasibility(expected)


def test_a_bound_whose_fact_is_unknown_says_so_and_stays_open():
    unknown = bounds("attention_entropy", "attn/all-queries", {"width": 256})
    assert (unknown.high, unknown.missing) == (float("inf"), "positions")

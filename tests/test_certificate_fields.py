"""Every field of a certificate, changed one at a time: text decides nothing, and every other field is checked.

The model has two digits, so that another condition can be compared with the stated one on all 10,000 problems.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from certificate_statements import search_block
from plain_failures import PlainProblems

from reprogrok.certificate.certification import SearchedBlock, certify
from reprogrok.certificate.checker import confirm as confirm_module
from reprogrok.certificate.checker.carries import blocks
from reprogrok.certificate.checker.check import check_block, statement
from reprogrok.certificate.checker.confirm import answer_differences, confirm, statement_differences
from reprogrok.certificate.checker.enclosure import Enclosure
from reprogrok.certificate.checker.failure_counts import FailureCounts
from reprogrok.certificate.checker.problem_sets import DigitCondition
from reprogrok.certificate.document import certificate_document, load_document, read_certificate, read_statement
from reprogrok.certificate.search.estimated_boxes import SearchedModel
from reprogrok.errors import InputError
from reprogrok.evaluation.examination import examinee
from reprogrok.exam.exam import CLOSE
from reprogrok.files import pretty_json
from reprogrok.formats.checkpoints import Checkpoint
from reprogrok.model.device import choose_device
from reprogrok.model.initialise import initial_weights
from reprogrok.model.shapes import count_parameters
from reprogrok.spec.model import ModelSpec
from reprogrok.tasks.addition import Addition

DIGITS = 2
SPEC = ModelSpec(n_layer=1, d_model=6, n_head=1, d_ff=14, max_seq_len=9, vocab_size=14)
# Fields that describe how a certificate came about: nothing in them is checked.
NOT_CHECKED = ("reprogrok", "checkpoint.path", "environment", "search")
# Numbers of which one side claims less than can be shown.
SMALLER_IS_LESS = ("smallest_margin", "at_least", "wrong_at_least")
LARGER_IS_LESS = ("at_most", "wrong_at_most", "widest_box")


@pytest.fixture(scope="module")
def model():
    """Random weights, larger than at the start of a training, so that answers differ."""
    weights = {name: tensor if "ln" in name else 6 * tensor for name, tensor in initial_weights(SPEC, 0).items()}
    return Checkpoint(Path("tiny.pt"), "ab" * 32, SPEC, weights, "float32", None, None, None, None)


@pytest.fixture(scope="module")
def asked(model):
    return examinee(model, Addition(DIGITS), choose_device("cpu"))


@pytest.fixture(scope="module")
def certificate(model, asked):
    enclosure = Enclosure(model.spec, model.weights, DIGITS)
    weights = {name: tensor.double().numpy() for name, tensor in model.weights.items()}
    estimates = SearchedModel(model.spec, weights, DIGITS)
    searched = [SearchedBlock(search_block(estimates, block, 0.0), 0.5) for block in blocks(DIGITS)]
    return certify(model, DIGITS, searched, enclosure, asked, budget=3.0)


@pytest.fixture(scope="module")
def document(certificate):
    return json.loads(pretty_json(certificate_document(certificate)))


@pytest.fixture
def outcome(model, certificate, document, asked, tmp_path, monkeypatch):  # noqa: C901, PLR0917 - two ways to check
    """Confirmed, refused or not confirmed, of the document with another statement; its blocks are bounded once."""
    enclosure = Enclosure(model.spec, model.weights, DIGITS)
    checked = [check_block(enclosure, proof) for proof in certificate.proofs]
    path = tmp_path / "c.json"
    # Pure functions of what a change mostly leaves as it is, so their results are kept.
    known, counted = {}, {}

    def stated_again(_checked, digits, arithmetic, examples):
        if examples not in known:
            known[examples] = statement(checked, digits, arithmetic, examples)
        return known[examples]

    def counts_again(place, digits, wrong, opened, examples):
        key = place, tuple(each for each in examples if each.place == place)
        if key not in counted:
            counted[key] = FailureCounts.of(place, digits, wrong, opened, examples)
        return counted[key]

    monkeypatch.setattr(confirm_module, "statement", stated_again)
    monkeypatch.setattr(confirm_module, "FailureCounts", SimpleNamespace(of=counts_again))

    def of(changed):
        if any(json.dumps(changed[name]) != json.dumps(document[name]) for name in ("checkpoint", "blocks")):
            return whole(changed)
        path.write_bytes(pretty_json(changed))
        try:
            read = load_document(path)
        except InputError:
            return "refused"
        if read.data["task"]["digits"] != DIGITS:
            return "refused"  # by `require_is_of`
        stated = read_statement(read.data)
        different = [*statement_differences(stated, checked, DIGITS, certificate.arithmetic)]
        return "not confirmed" if different or [*answer_differences(stated, asked, DIGITS)] else "confirmed"

    def whole(changed):
        path.write_bytes(pretty_json(changed))
        try:
            read = read_certificate(path)
            read.require_is_of(model, DIGITS)
        except InputError:
            return "refused"
        found = confirm(read.certificate, enclosure, asked, count_parameters(SPEC))
        return "confirmed" if found.confirmed else "not confirmed"

    return of


def leaves(value, steps=()):
    """Every value that is no container (an empty one is a value), with the steps to it."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    if not value or not isinstance(value, dict | list):
        yield steps
    for key, item in items:
        yield from leaves(item, (*steps, key))


def at(value, steps):
    for step in steps:
        value = value[step]
    return value


def other_values(value):
    """Values of the same kind, and of a kind that Python takes for equal."""
    if value is None or isinstance(value, bool):
        return [0]
    if isinstance(value, list | dict):
        return [None]
    if isinstance(value, str) and value.isdecimal():
        return [str(int(value) + 1), str(max(int(value) - 1, 0)), int(value)]
    if isinstance(value, str):
        return [f"{value}x"]
    other = [float(value), *([True] if value == 1 else [])] if isinstance(value, int) else [value / 2]
    return [value + 1, value - 1, *other]


def is_less(steps, before, after):
    """Whether the change of a number claims less; the counts of failure conditions are exact."""
    name, kinds = steps[-1], {type(before), type(after)}
    if steps == ("smallest_seen", "margin"):
        return abs(after - before) < CLOSE  # two evaluations of one margin may differ by less
    if steps[0] == "failures" or name not in SMALLER_IS_LESS + LARGER_IS_LESS or len(kinds) > 1:
        return False
    less, more = float(after) < float(before), float(after) > float(before)
    return (name in SMALLER_IS_LESS and less and float(after) >= 0) or (name in LARGER_IS_LESS and more)


def same_problems(document, changed, steps):
    """Whether a changed condition is met by the same problems as the stated ones."""
    if "conditions" not in steps:
        return False
    every, until = PlainProblems(DIGITS), steps[: steps.index("conditions") + 1]
    before, after = ([DigitCondition(**each) for each in at(each, until)] for each in (document, changed))
    return bool((every.rule(before) == every.rule(after)).all())


@pytest.mark.long(quick="test_a_change_of_a_proof_is_confirmed_only_where_the_leaves_still_follow")
def test_a_change_of_any_field_but_text_that_is_not_checked_is_seen(document, outcome):
    assert outcome(document) == "confirmed"
    places = list(leaves({name: value for name, value in document.items() if name != "blocks"}))
    few = {0, len(document["counterexamples"]) - 1}  # of counterexamples, which are alike
    places = [steps for steps in places if steps[0] != "counterexamples" or steps[1] in few]
    assert {steps[0] for steps in places} == document.keys() - {"blocks"}
    wrong = []
    for steps in places:
        before = at(document, steps)
        for after in other_values(before):
            if type(after) is type(before) and after == before:
                continue
            changed = copy.deepcopy(document)
            at(changed, steps[:-1])[steps[-1]] = after
            name = ".".join(map(str, steps))
            if name.startswith(NOT_CHECKED):
                if type(after) is type(before) and isinstance(after, str):
                    wrong += [(name, after)] if outcome(changed) != "confirmed" else []
            elif is_less(steps, before, after):
                wrong += [(name, before, after, "less")] if outcome(changed) != "confirmed" else []
            elif outcome(changed) == "confirmed" and not same_problems(document, changed, steps):
                wrong.append((name, before, after))
    assert wrong == []


def test_a_change_of_a_proof_is_confirmed_only_where_the_leaves_still_follow(document, outcome):
    """Bases, orders and trees are untrusted: what follows from them is what counts."""
    for index in (0, 4, len(document["blocks"]) - 1):
        for name in ("place", "token", "leaves"):
            changed = copy.deepcopy(document)
            block = changed["blocks"][index]
            block[name] = block[name] + 1 if name != "leaves" else document["blocks"][index - 1]["leaves"][:-8]
            assert outcome(changed) in {"refused", "not confirmed"}, (index, name)
        changed = copy.deepcopy(document)
        changed["blocks"][index]["basis"][0][0] += 1e5
        assert outcome(changed) in {"confirmed", "not confirmed"}


def test_true_is_not_1_and_14_is_not_14_0_in_a_models_shape(document, outcome):
    for value, other in ((1, True), (14, 14.0), (False, 0)):
        names = [name for name, each in document["checkpoint"]["model_config"].items() if each == value]
        names = [name for name in names if type(document["checkpoint"]["model_config"][name]) is type(value)]
        assert names
        for name in names:
            changed = copy.deepcopy(document)
            changed["checkpoint"]["model_config"][name] = other
            assert outcome(changed) == "not confirmed", name

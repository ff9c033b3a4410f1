"""The document of a certificate and its check: what is stated, what is confirmed, and every way to lie in one.

The model has two digits and weights at random, so all of its 10,000 problems are asked beside what is stated of them.
"""

from __future__ import annotations

import base64
import copy
import json
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from reprogrok.certificate import certification
from reprogrok.certificate import document as certificate
from reprogrok.certificate.certification import CertificationWork, SearchedBlock, certify, search_all
from reprogrok.certificate.checker.answers import ProblemAnswer, ask
from reprogrok.certificate.checker.carries import Block, blocks
from reprogrok.certificate.checker.check import check_block, statement, weakened
from reprogrok.certificate.checker.confirm import Reason, answer_differences, confirm
from reprogrok.certificate.checker.counts import Part, count
from reprogrok.certificate.checker.enclosure import Enclosure
from reprogrok.certificate.checker.rounding import FLOAT32, REAL, Arithmetic
from reprogrok.certificate.checker.statement import (
    CertificateStatus,
    SmallestSeen,
    WrongBounds,
    rounded_down,
    rounded_up,
)
from reprogrok.certificate.checker.trees import BlockProof, Leaf, LeafStatus, decode
from reprogrok.certificate.document import certificate_document, read_certificate, write_certificate
from reprogrok.certificate.search.proof_search import FoundProof
from reprogrok.certificate.single_problems import draw, seat
from reprogrok.certificate.tables import confirmation_document
from reprogrok.errors import InputError
from reprogrok.evaluation.examination import examinee
from reprogrok.files import pretty_json
from reprogrok.formats.checkpoints import Checkpoint
from reprogrok.model.decoder import logits
from reprogrok.model.initialise import initial_weights
from reprogrok.model.shapes import count_parameters
from reprogrok.spec.model import ModelSpec
from reprogrok.tasks.addition import EQUALS, Addition

DIGITS = 2
SPEC = ModelSpec(n_layer=1, d_model=6, n_head=1, d_ff=8, max_seq_len=9, vocab_size=14)
HALVED = Block(2, 2, 0)  # the block of which the first case is halved; its far place is 0


@dataclass
class Oracle:
    """An enclosure that is told what to say: the margin of every leaf."""

    margin: float
    arithmetic: Arithmetic = FLOAT32

    def block(self, _block, _basis, _orders):
        return self

    def margins(self, leaves):
        every_L = np.full(len(leaves), self.margin)
        return SimpleNamespace(lowest_L=every_L, beaten_L=every_L.copy(), width_L=np.zeros(len(leaves)))


@pytest.fixture(scope="module")
def model():
    """Random weights, larger than at the start of a training, so that answers differ."""
    weights = {name: tensor if "ln" in name else 6 * tensor for name, tensor in initial_weights(SPEC, 0).items()}
    return Checkpoint(Path("tiny.pt"), "ab" * 32, SPEC, weights, "float32", None, None, None, None)


@pytest.fixture(scope="module")
def asked(model):
    return examinee(model, Addition(DIGITS), torch.device("cpu"))


@pytest.fixture(scope="module")
def enclosure(model):
    return Enclosure(model.spec, model.weights, DIGITS)


@pytest.fixture(scope="module")
def margins_NA(model):  # noqa: N802 - the name of an array ends in its axes
    """Of every problem, a first, and every answer digit: its lead in float32, the right digits before it given."""
    number = torch.arange(100**DIGITS)
    rows_TB = Addition(DIGITS).columns(number // 100, number % 100)
    weights = {name: tensor.unsqueeze(0) for name, tensor in model.weights.items()}
    logits_VAB = logits(SPEC, weights, rows_TB[:-2].unsqueeze(0), 2 * DIGITS + 1)[0]
    right_1AB = rows_TB[2 * DIGITS + 2 : -1].unsqueeze(0)
    lead_AB = logits_VAB.gather(0, right_1AB)[0] - logits_VAB.scatter(0, right_1AB, -torch.inf).amax(0)
    return lead_AB.T.numpy()


def kept(enclosure):
    """Every case as one leaf, or a few of halves, with the status that the bounds give it."""
    for block in blocks(DIGITS):
        orders = {0: np.arange(len(block.choices(0)))[::-1].copy()} if block == HALVED else {}
        whole = [Leaf(case, LeafStatus.OPEN, 0, ()) for case in range(len(block.cases))]
        margins = enclosure.block(block, np.eye(SPEC.d_model), orders).margins(whole)
        found = zip(margins.lowest_L, margins.beaten_L, strict=True)
        signs = ["A" if lowest > 0.001 else "a" if beaten < -0.001 else "?" for lowest, beaten in found]
        if block == HALVED:
            signs[0] = "0" + 2 * signs[0]
        yield SearchedBlock(
            FoundProof(BlockProof(block, np.eye(SPEC.d_model), orders, "".join(signs)), ((12, 34),), 7), 0.5
        )


@pytest.fixture(scope="module")
def made(model, enclosure, asked):
    return certify(model, DIGITS, list(kept(enclosure)), enclosure, asked, budget=3.0)


@pytest.fixture(scope="module")
def content(made):
    return json.loads(pretty_json(certificate_document(made)))


@pytest.fixture
def file(tmp_path, made):
    """A certificate that is wholly true."""
    path = tmp_path / "tiny.certificate.json"
    write_certificate(path, made)
    return path


@pytest.fixture
def checked(file, enclosure, asked):
    """Check the certificate after `change` was made to it."""

    def run(change=lambda _content: None, enclosure=enclosure):
        spoiled = json.loads(file.read_bytes())
        change(spoiled)
        file.write_bytes(pretty_json(spoiled))
        read = read_certificate(file)
        return confirm(read.certificate, enclosure, asked, count_parameters(SPEC))

    return run


def test_what_was_made_is_confirmed_and_reads_back(file, made, content, checked):
    read = read_certificate(file)
    again = read.certificate
    assert json.loads(pretty_json(certificate_document(again))) == content
    assert (again.digits, again.statement) == (2, made.statement)
    assert again.statement.status is CertificateStatus.REFUTED
    found = checked()
    assert (found.differences, found.refused) == ((), None)
    assert confirmation_document(read, found)["confirmed"]


def test_the_number_of_wrong_problems_lies_in_its_bounds_at_every_place_and_in_all(content, margins_NA):
    wrong_NA = ~(margins_NA > 0)
    assert int(content["wrong"]["at_least"]) <= wrong_NA.any(1).sum() <= int(content["wrong"]["at_most"])
    for row, seen in zip(content["places"], wrong_NA.sum(0), strict=True):
        assert int(row["wrong_at_least"]) <= seen <= int(row["wrong_at_most"])
    assert any(row["wrong"] for row in content["places"])
    assert any(row["open"] for row in content["places"])
    assert (content["problems"], [row["cases"] for row in content["places"]]) == ("10000", [100, 10_000, 200])


def test_the_margin_is_below_that_of_every_problem_of_a_place_that_is_wholly_right(model, asked, margins_NA):
    certain = certify(model, DIGITS, list(kept(Oracle(1.25))), Oracle(1.25), _silent(asked), budget=0.0).statement
    assert (certain.status, certain.smallest_margin, certain.failures) == ("PROVED", 1.25, ())
    assert margins_NA.min() < 0  # so this is a lie, and it is the bounds alone that tell


def _silent(asked):
    """The same model, of which nothing is asked: its answers would give the lie away."""

    def generate(pairs):
        rows = Addition(DIGITS).encode(pairs.a, pairs.b)[:, 6:9]
        return rows, 5.0 * torch.nn.functional.one_hot(rows, 14).transpose(1, 2)

    return SimpleNamespace(spec=asked.spec, device=asked.device, generate=generate)


def test_a_certificate_that_says_proved_of_a_wrong_model_is_not_confirmed(model, asked, enclosure, tmp_path):
    lie = certify(model, DIGITS, list(kept(Oracle(1.25))), Oracle(1.25), _silent(asked), budget=0.0)
    write_certificate(tmp_path / "lie.json", lie)
    read = read_certificate(tmp_path / "lie.json")
    found = confirm(read.certificate, enclosure, asked, count_parameters(SPEC))
    assert (found.confirmed, found.refused.block) == (False, Block(2, 0, EQUALS))
    first = confirmation_document(read, found)["differences"][0]
    assert (first["where"][:24], first["says"], first["found"]) == (
        "place 0 after =, case 0 ", "right", "no proof of it",
    )  # fmt: skip


def test_of_real_arithmetic_alone_a_float32_answer_is_no_contradiction_within_a_logit(model, asked, tmp_path):
    def nearly(pairs):  # as if rounding turned every answer: it trails by half a logit
        rows, logits = _silent(asked).generate(pairs)
        others = (rows + 1) % 10
        return others, logits + 5.5 * torch.nn.functional.one_hot(others, 14).transpose(1, 2)

    turned = SimpleNamespace(spec=asked.spec, device=asked.device, generate=nearly)
    with pytest.raises(AssertionError, match="where no error was proved possible"):
        certify(model, DIGITS, list(kept(Oracle(0.5))), Oracle(0.5), turned, budget=0.0)
    real = certify(model, DIGITS, list(kept(Oracle(0.5))), Oracle(0.5, REAL), turned, budget=0.0)
    stated = real.statement
    assert (stated.status, stated.counterexamples, stated.wrong.at_least) == ("PROVED", (), 0)
    written = certificate_document(real)["arithmetic"]
    assert written == {"name": "real", "unit": 0.0, "elementary": 0.0, "tiny": 0.0}
    write_certificate(tmp_path / "real.json", real)
    read = read_certificate(tmp_path / "real.json")
    read.require_is_of(model, DIGITS)
    assert read.certificate.arithmetic == REAL
    assert confirm(read.certificate, Oracle(0.5, REAL), turned, count_parameters(SPEC)).confirmed


def test_of_a_model_without_doubt_proved_is_confirmed(model, asked, tmp_path):
    certain = certify(model, DIGITS, list(kept(Oracle(1.25))), Oracle(1.25), _silent(asked), budget=0.0)
    write_certificate(tmp_path / "sure.json", certain)
    read = read_certificate(tmp_path / "sure.json").certificate
    assert read.statement.status is CertificateStatus.PROVED
    assert confirm(read, Oracle(1.25), _silent(asked), count_parameters(SPEC)).confirmed
    lower = confirm(read, Oracle(1.249), _silent(asked), count_parameters(SPEC))
    assert {each.field[-1] for each in lower.differences} == {"smallest_margin"}


def test_proved_stands_beside_no_wrong_problem(model, asked):
    certain = certify(model, DIGITS, list(kept(Oracle(1.25))), Oracle(1.25), _silent(asked), budget=0.0)
    places = list(certain.statement.places)
    places[1] = replace(places[1], wrong_problems=WrongBounds(0, 7))
    for change, field in (
        ({"wrong": WrongBounds(0, 7)}, ("wrong", "at_most")),
        ({"places": tuple(places)}, ("places", 1, "wrong_at_most")),
    ):
        changed = replace(certain, statement=replace(certain.statement, **change))
        found = confirm(changed, Oracle(1.25), _silent(asked), count_parameters(SPEC))
        assert [(each.field, each.stated, each.found) for each in found.differences] == [(field, 7, 0)]


def test_the_smallest_margin_met_is_of_a_right_answer_however_close_to_zero(model, asked):
    """The answer is wrong by a thousandth of a logit, less than two evaluations of one margin may differ by."""

    def nearly(pairs):
        rows, logits = _silent(asked).generate(pairs)
        others = (rows + 1) % 10
        return others, logits + 5.001 * torch.nn.functional.one_hot(others, 14).transpose(1, 2)

    certain = certify(model, DIGITS, list(kept(Oracle(1.25))), Oracle(1.25), _silent(asked), budget=0.0)
    turned = SimpleNamespace(spec=asked.spec, device=asked.device, generate=nearly)
    close = replace(certain.statement, smallest_seen=SmallestSeen(0.0, 1, 2, 0))
    (found,) = answer_differences(close, turned, DIGITS)
    assert (found.field, found.reason) == (("smallest_seen",), Reason.ANSWERED_WRONG)


def test_bounds_that_are_not_a_number_confirm_nothing(enclosure):
    for each in kept(enclosure):
        proof = replace(each.found.proof, orders={}, text="A" * len(each.found.proof.block.cases))
        assert len(check_block(Oracle(float("nan")), proof).refused) == len(proof.block.cases)


def test_what_contradicts_itself_is_a_fault_of_the_program_not_a_verdict(model, asked):
    with pytest.raises(AssertionError, match="where no error was proved possible"):
        certify(model, DIGITS, list(kept(Oracle(1.25))), Oracle(1.25), asked, budget=0.0)
    with pytest.raises(AssertionError, match="is answered right, where it is proved to be wrong"):
        certify(model, DIGITS, list(kept(Oracle(-1.25))), Oracle(-1.25), _silent(asked), budget=0.0)
    with pytest.raises(AssertionError, match=r"has a margin of 5\.0, below the proved 6\.0"):
        certify(model, DIGITS, list(kept(Oracle(6.0))), Oracle(6.0), _silent(asked), budget=0.0)


def test_a_wrong_answer_where_a_part_is_proved_right_is_a_fault_of_the_program(model, asked):
    class OneUnknown(Oracle):
        """The same, but that nothing is known of the last leaf of a block."""

        def margins(self, leaves):
            found = super().margins(leaves)
            found.lowest_L[-1], found.beaten_L[-1] = -np.inf, np.inf
            return found

    with pytest.raises(AssertionError, match="where it is proved to be right"):
        certify(model, DIGITS, list(kept(OneUnknown(1.25))), OneUnknown(1.25), asked, budget=0.0)


@pytest.mark.parametrize(
    "block", [Block(2, 0, EQUALS), pytest.param(Block(2, 1, 4), marks=pytest.mark.long), HALVED, Block(3, 3, 7)]
)
def test_a_part_holds_what_is_drawn_from_it_and_as_many_problems_as_it_is_counted_to_have(block):
    rng = np.random.default_rng(1)
    for case in range(0, len(block.cases), 37):
        part = Part(block, case, {place: rng.random(len(block.choices(place))) < 0.5 for place in block.far})
        seats = [seat(a, b, block.place, block.digits) for a, b in draw(part, 5, rng)]
        assert all(at.block == block and at.is_in(part) for at in seats)
        if block.digits == 2 and case % 5 == 0:
            seats = [seat(a, b, block.place, 2) for a in range(100) for b in range(100)]
            held = sum(at.block == block and at.is_in(part) for at in seats)
            assert held == count(block, case, part.allowed)


def put(*steps_and_value):
    """A change: the value is put where the steps lead."""
    *steps, last, value = steps_and_value

    def change(content):
        for step in steps:
            content = content[step]
        content[last] = value(content[last]) if callable(value) else value

    return change


def more(text):
    return str(int(text) + 1)


def less(text):
    return str(int(text) - 1)


def right_one(content):
    content["counterexamples"][0] |= {"a": "100"}


def leaves(old, new, index=0):
    """The first `old` in the trees of a block becomes `new`."""

    def change(content):
        entry = content["blocks"][index]
        text = zlib.decompress(base64.b64decode(entry["leaves"])).decode("ascii")
        assert old in text
        entry["leaves"] = packed(text.replace(old, new, 1))

    return change


def packed(text):
    return base64.b64encode(zlib.compress(text.encode())).decode("ascii")


# What a result is worded with.
FILE = {
    "path": Path("tiny.json"),
    "sha256": "",
    "certificate": SimpleNamespace(
        model=SimpleNamespace(sha256=""), statement=SimpleNamespace(status=CertificateStatus.REFUTED)
    ),
}
OPEN_BLOCK = 0  # place 0, all of whose cases are open
MORE_THAN_SHOWN = {
    "parameters": (put("checkpoint", "parameters", 455), "checkpoint.parameters"),
    "model_config": (put("checkpoint", "model_config", "d_ff", 9), "checkpoint.model_config"),
    "verdict": (put("verdict", "PROVED"), "verdict"),
    "problems": (put("problems", more), "problems"),
    "at least": (put("wrong", "at_least", more), "wrong.at_least"),
    "at most": (put("wrong", "at_most", less), "wrong.at_most"),
    "margin": (put("smallest_margin", 9.5), "smallest_margin"),
    "seen": (put("smallest_seen", {"margin": 123.0, "a": "1", "b": "2", "place": 0}), "smallest_seen"),
    "places": (put("places", lambda rows: rows[:2]), "places"),
    "order of places": (put("places", lambda rows: rows[::-1]), "places[0].place"),
    "cases": (put("places", 1, "cases", 9_999), "places[1].cases"),
    "leaves": (put("places", 1, "leaves", 1), "places[1].leaves"),
    "right": (put("places", 2, "right", 200), "places[2].right"),
    "wrong": (put("places", 1, "wrong", lambda count: count - 1), "places[1].wrong"),
    "open": (put("places", 1, "open", 0), "places[1].open"),
    "margin there": (put("places", 1, "smallest_margin", 9.5), "places[1].smallest_margin"),
    "box there": (put("places", 1, "widest_box", 0.0), "places[1].widest_box"),
    "at least there": (put("places", 0, "wrong_at_least", more), "places[0].wrong_at_least"),
    "at most there": (put("places", 1, "wrong_at_most", less), "places[1].wrong_at_most"),
    "no counterexample": (put("counterexamples", []), "verdict"),
    "another answer": (put("counterexamples", 0, "answer", "000"), "counterexamples[0].answer"),
    "another sum": (put("counterexamples", 0, "expected", "7"), "counterexamples[0].expected"),
    "another place": (put("counterexamples", 0, "place", 2), "counterexamples[0].place"),
    "a problem that is none": (put("counterexamples", 0, "a", "100"), "counterexamples[0]"),
    "a place that is none": (put("counterexamples", 0, "place", 3), "counterexamples[0]"),
    "open as right": (leaves("?", "A", OPEN_BLOCK), "place 0 after =, case"),
    "open as wrong": (leaves("?", "a", OPEN_BLOCK), "place 0 after =, case"),
    "wrong as right": (leaves("a", "A", 1), "place 1 after 0, case"),
    "wrong as open": (leaves("a", "?", 1), "places[1].wrong"),
}  # fmt: skip


@pytest.mark.parametrize("name", MORE_THAN_SHOWN)
def test_what_says_more_than_can_be_shown_is_not_confirmed(name, checked):
    change, where = MORE_THAN_SHOWN[name]
    found = checked(change)
    wheres = [each["where"] for each in confirmation_document(SimpleNamespace(**FILE), found)["differences"]]
    assert any(each.startswith(where) for each in wheres), wheres
    assert not found.confirmed


LESS_THAN_SHOWN = {
    "version": put("reprogrok", "99.0"),
    "path": put("checkpoint", "path", "elsewhere.pt"),
    "verdict": put("verdict", "PARTIAL"),
    "at least": put("places", 0, "wrong_at_least", "0"),
    "at most": put("places", 0, "wrong_at_most", "10000"),
    "margin": put("smallest_margin", None),
    "margin there": put("places", 1, "smallest_margin", None),
    "box": put("places", 1, "widest_box", 1e9),
    "seen": put("smallest_seen", None),
    "failures": put("failures", []),
    "environment": put("environment", {}),
    "search": put("search", {"seconds": 0.0, "budget": None, "cells": None}),
}


@pytest.mark.parametrize("name", LESS_THAN_SHOWN)
def test_what_says_less_or_nothing_about_the_model_is_confirmed(name, checked):
    assert checked(LESS_THAN_SHOWN[name]).confirmed


def test_another_basis_and_another_order_are_untrusted_and_change_no_truth(checked):
    rng, refused = np.random.default_rng(0), []
    for _ in range(3):

        def change(content):
            content["blocks"][3]["basis"] = rng.standard_normal((4, SPEC.d_model)).tolist()
            order = content["blocks"][11]["orders"]["0"]
            content["blocks"][11]["orders"]["0"] = base64.b64encode(base64.b64decode(order)[::-1]).decode()

        found = checked(change)
        assert found.differences == ()  # what changes is which leaves are confirmed
        refused.append(found.refused)
    assert all(each is None or each.refused for each in refused)


def test_a_certificate_of_something_else_is_refused(file, model):
    read = read_certificate(file)
    read.require_is_of(model, DIGITS)
    with pytest.raises(InputError, match=r"\$\.checkpoint\.sha256: a certificate of another checkpoint than tiny\.pt"):
        read.require_is_of(replace(model, sha256="cd" * 32), DIGITS)
    with pytest.raises(InputError, match=r"\$\.task\.digits: another task: expected 3, found 2"):
        read.require_is_of(model, 3)
    changed = json.loads(file.read_bytes())
    changed["arithmetic"]["unit"] = 0.0  # those of real arithmetic under the name of the other
    file.write_bytes(pretty_json(changed))
    with pytest.raises(InputError, match=r"\$\.arithmetic\.unit: another arithmetic: expected 5\.96"):
        read_certificate(file)


def trees(text):
    return put("blocks", 0, "leaves", packed(text))


UNREADABLE = {
    "format 1": (
        put("format", "reprogrok.certificate/1"),
        "a certificate of another version: make it again with `reprogrok certify`: expected reprogrok.certificate/2, ",
    ),
    "another format": (put("format", "reprogrok.manifest/1"), "no certificate: expected reprogrok.certificate/2, "),
    "unknown field": (put("extra", 1), r"\$\.extra: unknown field"),
    "missing field": (lambda content: content.pop("places"), "the field places is missing"),
    "verdict": (put("verdict", "PERHAPS"), r"\$\.verdict: expected one of PROVED, REFUTED, PARTIAL"),
    "sha256": (put("checkpoint", "sha256", "ab"), r"\$\.checkpoint\.sha256"),
    "a number that is no text": (put("wrong", "at_least", 3), r"\$\.wrong\.at_least"),
    "a negative margin": (put("smallest_margin", -0.5), r"\$\.smallest_margin"),
    "more digits": (put("task", "digits", 3), r"\$\.blocks: not the blocks of 3 digits: expected 31 items, found 21"),
    "no digits": (put("task", "digits", 0), r"\$\.task\.digits: expected at least 1"),
    "many counterexamples": (
        lambda content: content["counterexamples"].extend(content["counterexamples"] * 20),
        r"\$\.counterexamples: expected at most 1000 item",
    ),
    "a block is missing": (lambda content: content["blocks"].pop(), r"\$\.blocks: not the blocks of 2 digits"),
    "a block twice": (
        lambda content: content["blocks"].__setitem__(2, content["blocks"][1]), r"\$\.blocks\[2\]\.token: another",
    ),
    "ragged basis": (put("blocks", 0, "basis", [[1.0, 2.0], [3.0]]), r"\$\.blocks\[0\]\.basis: expected rows of one"),
    "too many rows": (put("blocks", 0, "basis", [[1.0], [2.0]]), r"\$\.blocks\[0\]\.basis: expected rows of one"),
    "huge basis": (put("blocks", 0, "basis", [[1e300]]), r"\$\.blocks\[0\]\.basis\[0\]\[0\]: expected at most 1000000"),
    "no order": (put("blocks", 11, "orders", {}), r"\$\.blocks\[11\]\.orders: a place is halved that has no order"),
    "short order": (put("blocks", 11, "orders", "0", "AAEC"), r"\$\.blocks\[11\]\.orders\.0: .*expected 100 choices"),
    "order of no far place": (put("blocks", 11, "orders", "1", "AAEC"), r"\$\.blocks\[11\]\.orders\.1: "),
    "order twice the same": (
        put("blocks", 11, "orders", "0", base64.b64encode(bytes(100)).decode()), "expected each of 0 to 99 once",
    ),
    "no base64": (put("blocks", 0, "leaves", "%%%"), r"\$\.blocks\[0\]\.leaves: not base64"),
    "no zlib": (put("blocks", 0, "leaves", "AAAA"), r"\$\.blocks\[0\]\.leaves: .*zlib"),
    "no letters": (trees("A" * 99 + "\u00e4"), r"\$\.blocks\[0\]\.leaves: "),
    "a tree too few": (trees("A" * 99), r"\$\.blocks\[0\]\.leaves: .*expected 100 trees.*found 99"),
    "a tree too many": (trees("A" * 101), r"\$\.blocks\[0\]\.leaves: .*expected the end, after 100 trees"),
    "an unknown grid": (trees("A" * 99 + "Z"), r"\$\.blocks\[0\]\.leaves: "),
    "a place that is not far": (trees("0AA" + "A" * 99), r"\$\.blocks\[0\]\.leaves: "),
    "a tree without end": (trees("1" * 200), r"\$\.blocks\[0\]\.leaves: "),
    "a bomb": (trees("?" * 2**23), r"\$\.blocks\[0\]\.leaves: .*expected at most 4194304 characters"),
}  # fmt: skip


@pytest.mark.parametrize("name", UNREADABLE)
def test_what_cannot_be_checked_is_refused_by_its_field(name, content, tmp_path):
    change, message = UNREADABLE[name]
    spoiled = copy.deepcopy(content)
    change(spoiled)
    (tmp_path / "x.json").write_bytes(pretty_json(spoiled))
    with pytest.raises(InputError, match=message) as refused:
        read_certificate(tmp_path / "x.json")
    assert str(refused.value).startswith(f"{tmp_path / 'x.json'} $")
    assert "\n" not in str(refused.value)


def test_a_file_that_is_none_is_refused(tmp_path, monkeypatch):
    for name, text, message in (
        ("x.json", "{", "not JSON"),
        ("x.json", "[1, 2]", "no certificate"),
        ("x.json", '{"format": 1e999}', "no certificate"),
        ("x.json", "[" * 100_000, "nested too deeply"),
        ("x.yaml", "{}", "expected a name that ends in .json"),
    ):
        (tmp_path / name).write_text(text, "utf-8")
        with pytest.raises(InputError, match=message):
            read_certificate(tmp_path / name)
    with pytest.raises(InputError, match="No such file"):
        read_certificate(tmp_path / "none.json")
    monkeypatch.setattr(certificate, "MAX_FILE_BYTES", 10)
    (tmp_path / "x.json").write_text(" " * 11, "utf-8")
    with pytest.raises(InputError, match="too large: expected at most 10 bytes"):
        read_certificate(tmp_path / "x.json")


def test_numbers_are_written_on_the_safe_side():
    assert (rounded_down(0.52345678), rounded_down(0.5), rounded_down(4e-7), rounded_down(float("inf"))) == (
        0.523456, 0.5, None, None,
    )  # fmt: skip
    assert (rounded_up(0.0400001), rounded_up(0.04), rounded_up(float("inf"))) == (0.040001, 0.04, None)


def test_a_refused_leaf_becomes_open_and_no_other():
    block = HALVED
    proof = BlockProof(block, np.eye(6), {0: np.arange(100)}, "0Aa" + "A" * 9 + "?" * 10)

    class Picky(Oracle):
        def margins(self, leaves):
            found = super().margins(leaves)
            found.lowest_L[2] = -1.0
            return found

    raw = check_block(Picky(1.0), proof)
    assert raw.refused == (1, 2)
    weaker, checked = weakened(proof, raw)
    assert weaker.text == "0A??" + "A" * 8 + "?" * 10
    assert [leaf.status for leaf in decode(weaker.text, block)] == [leaf.status for leaf in checked.leaves]
    assert (len(checked.open), checked.refused) == (12, ())
    assert checked.open_problems == sum(_problems(part) for part in checked.open)


def _problems(part):
    """Plainly: every pair of digits of place 0 that is allowed and has the case's carry."""
    allowed = part.allowed.get(0, np.ones(100, dtype=bool))
    carry = part.block.cases.carry[part.case]
    return sum(bool(allowed[10 * a + b]) for a in range(10) for b in range(10) if (a + b >= 10) == bool(carry))


def test_statements_of_enumerated_leaves_count_each_wrong_problem_once(margins_NA):
    wrong_NA = ~(margins_NA > 0)
    checked = []
    for block in blocks(DIGITS):
        lowest_C, beaten_C = np.full(len(block.cases), np.inf), np.full(len(block.cases), -np.inf)
        case_N = case_of_every_problem(block)
        inside_N = case_N >= 0
        np.minimum.at(lowest_C, case_N[inside_N], margins_NA[inside_N, block.place])
        np.maximum.at(beaten_C, case_N[inside_N], margins_NA[inside_N, block.place])
        both = zip(lowest_C, beaten_C, strict=True)
        text = "".join("A" if low > 0 else "a" if high < 0 else "?" for low, high in both)
        oracle = Oracle(0.0)
        oracle.margins = lambda leaves, low=lowest_C, high=beaten_C: SimpleNamespace(
            lowest_L=low[[leaf.case for leaf in leaves]],
            beaten_L=high[[leaf.case for leaf in leaves]],
            width_L=np.zeros(len(leaves)),
        )
        checked.append(check_block(oracle, BlockProof(block, np.eye(6), {}, text)))
        assert not checked[-1].refused
    stated = statement(checked, DIGITS)
    assert stated.wrong.at_least <= wrong_NA.any(1).sum() <= stated.wrong.at_most
    for row, seen in zip(stated.places, wrong_NA.sum(0), strict=True):
        assert row.wrong_problems.at_least <= seen <= row.wrong_problems.at_most
        if not row.open:
            assert row.wrong_problems.at_least == seen
    assert stated.places[1].wrong > 1_000


def case_of_every_problem(block):
    """The number of the block's case that each problem belongs to, or -1: plain arithmetic on its digits."""
    a_N, b_N = np.divmod(np.arange(10_000), 100)

    def digits(place):
        if not 0 <= place < DIGITS:
            return np.zeros_like(a_N), np.zeros_like(a_N)
        return a_N // 10**place % 10, b_N // 10**place % 10

    carry_N = (a_N % 10 + b_N % 10) // 10 * int(block.place == 2)
    columns = (carry_N, *digits(block.place - 1), *digits(block.place))
    cases = block.cases
    wanted = (cases.carry, cases.a_before, cases.b_before, cases.a, cases.b)
    table = np.full((2, 10, 10, 10, 10), -1)
    table[tuple(wanted)] = np.arange(len(cases))
    return table[columns]


def test_drawn_problems_lie_in_their_part():
    rng = np.random.default_rng(0)
    block = Block(4, 3, 5)
    choices = {place: block.choices(place) for place in block.far}
    for case in range(0, len(block.cases), 97):
        allowed = {place: rng.random(len(table)) < 0.3 for place, table in choices.items()}
        for a, b in draw(Part(block, case, allowed), 5, rng):
            carry = 0
            for place in range(4):
                x, y = a // 10**place % 10, b // 10**place % 10
                if place in allowed:
                    assert allowed[place][100 * carry + 10 * x + y if place else 10 * x + y]
                if place == 2:
                    cases = block.cases
                    assert (carry, x, y) == (cases.carry[case], cases.a_before[case], cases.b_before[case])
                if place == 3:
                    assert (x, y) == (cases.a[case], cases.b[case])
                carry = (x + y + carry) // 10


def test_every_problem_of_a_part_is_drawn_and_none_of_an_empty_one():
    rng = np.random.default_rng(0)
    allowed = np.zeros(100, dtype=bool)
    allowed[[19, 91, 11]] = True  # 1 + 9, 9 + 1 and 1 + 1
    carried = next(case for case, carry in enumerate(HALVED.cases.carry) if carry)
    problems = {(a % 10, b % 10) for a, b in draw(Part(HALVED, carried, {0: allowed}), 50, rng)}
    assert problems == {(1, 9), (9, 1)}
    assert draw(Part(HALVED, carried, {0: np.zeros(100, dtype=bool)}), 5, rng) == []


def test_what_the_model_answers_is_what_its_margins_say(asked, margins_NA):
    problems = [(a, b) for a in range(0, 100, 9) for b in range(0, 100, 7)]
    for (a, b), met in zip(problems, ask(asked, DIGITS, problems), strict=True):
        margin_A = margins_NA[100 * a + b]
        assert met.right == (margin_A > 0).all()
        if met.right:
            assert met.margins == pytest.approx(margin_A, abs=1e-4)
        else:  # before the first wrong digit the model was given the right ones
            assert met.place == int((margin_A <= 0).argmax())
            assert met.margins[: met.place + 1] == pytest.approx(margin_A[: met.place + 1], abs=1e-4)
    assert ask(asked, DIGITS, []) == []


def test_a_search_that_was_stopped_goes_on_where_it_was(model, enclosure, tmp_path):
    work = CertificationWork.of(model, DIGITS, 0.0, base=tmp_path)

    class StoppedError(Exception):
        pass

    def stop(block):
        if block.place == 1 and block.token == 3:
            raise StoppedError

    with pytest.raises(StoppedError):
        search_all(work, model, 0.0, enclosure, stop)
    assert work.kept() == 4, "those of place 1, which are done at once: no place is far from them"
    before = {path.name: path.read_bytes() for path in work.folder.iterdir()}
    (work.folder / "place-01-token-01.json").write_text("{}", "utf-8")  # spoiled: it is searched anew
    again = search_all(work, model, 0.0, enclosure)
    assert work.kept() == work.blocks == len(again) == 21
    for name in ("place-01-token-00.json", "place-01-token-02.json"):
        assert (work.folder / name).read_bytes() == before[name]
    fresh = search_all(CertificationWork.of(model, DIGITS, 0.0, base=tmp_path / "other"), model, 0.0, enclosure)
    assert [each.found.proof.text for each in again] == [each.found.proof.text for each in fresh]
    others = (
        CertificationWork.of(model, DIGITS, 1.0, base=tmp_path),
        CertificationWork.of(model, DIGITS, 0.0, REAL, tmp_path),
    )
    assert len({work.folder, *(each.folder for each in others)}) == 3
    work.remove()
    assert list(tmp_path.iterdir()) == [tmp_path / "other"]


def test_what_rounding_may_turn_is_neither_a_counterexample_nor_the_smallest_margin():
    answers = [
        ProblemAnswer(1, 2, "3", right=True, place=0, margins=(1e-6, 3.0)),
        ProblemAnswer(3, 4, "7", right=True, place=1, margins=(2.0, 0.5)),
        ProblemAnswer(5, 6, "12", right=False, place=0, margins=(-1e-6, 3.0)),
        ProblemAnswer(7, 8, "16", right=False, place=0, margins=(-0.5, 1e-6)),
    ]
    assert certification._smallest(answers).a == 3
    assert [each.a for each in certification._chosen(answers)] == [7]
    assert certification._smallest(answers[:1]).a == 1, "better than none"
    assert [each.a for each in certification._chosen(answers[2:3])] == [5]

"""Claims files: what fits together is read, every misfit is an error with file, line and field, nothing is executed."""

from pathlib import Path

import pytest

from reprogrok.claims.claims import (
    Between,
    Order,
    PublishedCount,
    Quantity,
    Rate,
    Subject,
    Tier,
    Value,
    Word,
    all_claims,
    claims_files,
    load_citations,
)
from reprogrok.errors import InputError

HEAD = """\
format: reprogrok.claims/1
source: {file: paper.txt, title: A paper}
claims:
"""
CLAIM = {
    "id": "first",
    "words": '"it groks"',
    "at": "7",
    "says": "It groks.",
    "kind": "score",
    "tier": "numeric",
    "subject": "{log: a_log}",
    "quantity": "{name: final, definition: argmax/answer, metric: test_accuracy, measured_as: argmax/answer}",
    "expect": "{value: 0.5, tolerance: 0.1}",
    "contradicted_by": "It does not.",
}
TRAINED = {"tier": "statistical", "subject": "{experiment: e1}"}


def claim(**fields):
    entry = {name: value for name, value in {**CLAIM, **fields}.items() if value is not None}
    return "  - " + "\n    ".join(f"{name}: {value}" for name, value in entry.items()) + "\n"


@pytest.fixture
def write(tmp_path):
    def write_claims(*entries, name="claims.yaml"):
        path = tmp_path / name
        path.write_text(HEAD + "".join(entries), "utf-8")
        return path

    return write_claims


def only(path):
    ((source,),) = (load_citations([path]),)
    return source.claims[0]


def test_a_claim_is_read_as_it_is_written(write):
    read = only(write(claim(disputes=None, note="A note.")))
    assert (read.id, read.at, read.tier, read.words) == ("first", 7, Tier.NUMERIC, "it groks")
    assert read.subject == Subject("log", "a_log")
    assert read.quantity == Quantity("final", "argmax/answer", metric="test_accuracy", measured_as="argmax/answer")
    assert read.expect == Value(0.5, 0.1)
    assert (read.note, read.line) == ("A note.", 4)


@pytest.mark.parametrize(
    ("expect", "read", "fields"),
    [
        ("{value: 12, tolerance: 0, n: 100000}", Value(12, 0, 100_000), {}),
        ("{between: [30, null]}", Between(30, None), {}),
        ("{is: unstable}", Word("unstable"), {}),
        ("{rate: {k: 0, n: 2}}", PublishedCount(0, 2), TRAINED),
        ("{rate: {between: [0.5, 1]}}", Rate(0.5, 1), TRAINED),
        ("{order: more-often}", Order.MORE_OFTEN, {**TRAINED, "against": "{experiment: e2}"}),
    ],
)
def test_every_form_of_expectation_is_read(write, expect, read, fields):
    assert only(write(claim(expect=expect, **fields))).expect == read


MISFITS = [
    ({"expect": "{order: earlier}"}, "$.claims[0].expect", "an order needs another subject"),
    ({"against": "{log: b}"}, "$.claims[0].against", "compared with nothing"),
    ({"expect": "{rate: {k: 3, n: 2}}", **TRAINED}, "$.claims[0].expect.rate", "k of n with n > 0 and k <= n"),
    ({"expect": "{rate: {k: 0, n: 0}}", **TRAINED}, "$.claims[0].expect.rate", "k of n with n > 0 and k <= n"),
    ({"expect": "{between: [null, null]}"}, "$.claims[0].expect", "every number lies between these"),
    ({"expect": "{between: [2, 1]}"}, "$.claims[0].expect", "no number lies between these"),
    ({"expect": "{rate: {between: [1, 0.5]}}", **TRAINED}, "$.claims[0].expect", "no number lies between these"),
    ({"expect": "{rate: {k: 0, n: 2}}"}, "$.claims[0].subject", "only trained replicas have a rate"),
    ({"expect": "{rate: {k: 0, n: 2}}", **TRAINED, "tier": "numeric"}, "$.claims[0].tier", "a rate is one over seeds"),
    ({"tier": "statistical"}, "$.claims[0].tier", "what was not trained over seeds"),
    ({"subject": "{experiment: e1}"}, "$.claims[0].tier", "a training is no single number"),
    ({"tier": "bitwise", "subject": "{experiment: e1}", "device": "cpu"}, "$.claims[0]", "seed goes with"),
    ({"tier": "bitwise", "subject": "{experiment: e1}", "seed": "1"}, "$.claims[0]", "device goes with"),
    (
        {
            "tier": "bitwise",
            "subject": "{experiment: e1}",
            "seed": "1",
            "device": "cpu",
            "against": "{experiment: e2}",
            "expect": "{order: earlier}",
        },
        "$.claims[0].against",
        "one seed is compared with nothing",
    ),
    ({"seed": "1"}, "$.claims[0].seed", "seed goes with"),
    ({"quantity": "{name: final, definition: x, metric: test_loss}"}, "$.claims[0].quantity", "go together"),
    ({"disputes": "[nobody]"}, "$.claims[0].disputes[0]", "no such other claim"),
    ({"disputes": "[first]"}, "$.claims[0].disputes[0]", "no such other claim"),
]


@pytest.mark.parametrize(("fields", "place", "message"), MISFITS)
def test_what_does_not_fit_together_is_named_with_its_place(write, fields, place, message):
    path = write(claim(**fields))
    with pytest.raises(InputError) as caught:
        load_citations([path])
    assert str(caught.value).startswith(f"{path}:")
    assert caught.value.field == place
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"words": None}, "the field words is missing"),
        ({"id": "Not a name"}, "text that matches"),
        ({"tier": "sometimes"}, "one of bitwise, numeric, statistical"),
        ({"expect": "{value: 1}"}, "the field tolerance is missing"),
        ({"expect": "{value: 1, tolerance: -1}"}, "at least 0"),
        ({"at": "0"}, "at least 1"),
        ({"colour": "red"}, "unknown field"),
        ({"subject": "{experiment: a, log: b}"}, "at most 1 field"),
        ({"says": "!!python/object:os.system x"}, "tags are not accepted"),
    ],
)
def test_what_the_schema_does_not_know_is_refused(write, fields, message):
    with pytest.raises(InputError, match=message.replace("(", r"\(")):
        load_citations([write(claim(**fields))])


def test_an_id_is_taken_once_over_all_files(write):
    one, other = write(claim(), name="one.yaml"), write(claim(), name="other.yaml")
    with pytest.raises(InputError, match="this id is taken") as caught:
        load_citations([one, other])
    assert caught.value.path == other
    assert f"{one}:4" in str(caught.value)


def test_a_dispute_may_lead_to_another_document(write):
    one = write(claim(disputes="[second]"), name="one.yaml")
    other = write(claim(id="second"), name="other.yaml")
    assert set(all_claims(load_citations([one, other]))) == {"first", "second"}


def test_a_folder_without_claims_is_named(tmp_path):
    with pytest.raises(InputError, match="no claims here"):
        claims_files(tmp_path)
    with pytest.raises(InputError, match="no claims here"):
        claims_files(Path(tmp_path / "nowhere"))


def test_the_files_of_a_folder_come_sorted(write, tmp_path):
    paths = [write(claim(), name=name) for name in ("b.yaml", "a.yaml")]
    assert claims_files(tmp_path) == sorted(paths)

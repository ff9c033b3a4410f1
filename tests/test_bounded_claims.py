"""Bounds of a number against claims: by plain sets of whole numbers, by exact fractions, and as people read them."""

from __future__ import annotations

import json
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_audit import CHECKPOINT, CONTRADICTED, INCONCLUSIVE, OTHER_CHECKPOINT, REPRODUCED, audit, claim, known

from reprogrok.certificate.certified import Stated
from reprogrok.certificate.checker.statement import CertificateStatus
from reprogrok.claims.certificate_quantities import quantities_of
from reprogrok.claims.claims import Between, Order, Quantity, Value, Word, load_citations
from reprogrok.claims.documents import document_of
from reprogrok.claims.evidence import Evidence, gather
from reprogrok.claims.evidence_files import EvidenceEntry, write_evidence
from reprogrok.claims.measurements import Measured
from reprogrok.claims.rules import judge_less, judge_range
from reprogrok.errors import InputError
from reprogrok.schema import check_written
from reprogrok.stats.range_text import count_text, decimal_text, down_text, range_text, up_text
from reprogrok.stats.ranges import Range, intersection

ALL = 10**20
WRONG = Quantity("wrong_problems", "certificate/1")
RATE = Quantity("wrong_rate", "certificate/1")
MARGIN = Quantity("smallest_margin", "certificate/1")
PROOF = Quantity("proved", "certificate/1")


def bounds(low, high, of=None):
    return Range(Fraction(low), None if high is None else Fraction(high), of)


def measured(low, high, of=None):
    return Measured(bounds=bounds(low, high, of))


def judged(expect, *outcomes, quantity=WRONG):
    """The verdict on a claim about a checkpoint, each outcome in a file of its own."""
    files = [known(CHECKPOINT, quantity, found, origin=f"{number}.json") for number, found in enumerate(outcomes)]
    return audit([claim(expect, subject=CHECKPOINT, quantity=quantity)], *files).verdicts[0]


@given(st.lists(st.integers(0, 12), min_size=2, max_size=2), st.lists(st.integers(0, 12), min_size=2, max_size=2))
def test_bounds_decide_if_every_number_between_them_agrees_on_the_claim(ends, claimed):
    (low, high), (from_, to) = sorted(ends), sorted(claimed)
    fits = {from_ <= number <= to for number in range(low, high + 1)}
    expected = REPRODUCED if fits == {True} else CONTRADICTED if fits == {False} else INCONCLUSIVE
    assert judge_range(bounds(low, high), Fraction(from_), Fraction(to)) is expected


@given(st.lists(st.integers(0, 9), min_size=2, max_size=2), st.lists(st.integers(0, 9), min_size=2, max_size=2))
def test_one_number_is_less_if_it_is_for_every_pair_of_them(one, other):
    (a, b), (c, d) = sorted(one), sorted(other)
    less = {x < y for x in range(a, b + 1) for y in range(c, d + 1)}
    expected = REPRODUCED if less == {True} else CONTRADICTED if less == {False} else INCONCLUSIVE
    assert judge_less(bounds(a, b), bounds(c, d)) is expected


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=4))
def test_what_several_bounds_say_together_is_what_each_of_them_allows(pairs):
    pairs = [tuple(sorted(pair)) for pair in pairs]
    left = set.intersection(*({*range(low, high + 1)} for low, high in pairs))
    found = intersection(bounds(low, high) for low, high in pairs)
    assert left == (set() if found is None else {*range(int(found.at_least), int(found.at_most) + 1)})


def test_without_an_upper_end_nothing_is_below():
    assert judge_range(bounds(5, None), Fraction(5), None) is REPRODUCED
    assert judge_range(bounds(5, None), None, Fraction(9)) is INCONCLUSIVE
    assert judge_range(bounds(5, None), None, Fraction(4)) is CONTRADICTED
    assert judge_less(bounds(5, None), bounds(9, None)) is INCONCLUSIVE


@pytest.mark.parametrize(
    ("expect", "low", "high", "decision"),
    [
        (Value(0, 0, ALL), 0, 0, REPRODUCED),
        (Value(0, 0, ALL), 1, 5, CONTRADICTED),
        (Value(0, 0, ALL), 0, 1, INCONCLUSIVE),
        (Value(ALL, 0, ALL), ALL - 1, ALL - 1, CONTRADICTED),  # as floats these two are one number
        (Between(ALL - 1, None), ALL - 2, ALL - 2, CONTRADICTED),
        (Between(None, ALL - 1), ALL - 1, ALL - 1, REPRODUCED),
    ],
)
def test_a_count_of_all_problems_is_compared_to_the_last_one(expect, low, high, decision):
    found = judged(expect, measured(low, high, ALL))
    assert (found.decision, found.judgement.test) == (decision, "certified bounds")
    assert not found.by_statistics


def test_a_claim_about_other_problems_than_the_certificates_is_left_open():
    found = judged(Value(0, 0, 100_000), measured(0, 0, ALL))
    assert found.decision is INCONCLUSIVE
    assert found.judgement.missing == "a certificate of 100,000 problems"


def test_a_later_certificate_that_leaves_less_open_decides():
    found = judged(Value(0, 0, ALL), measured(0, 10**15, ALL), measured(0, 0, ALL))
    assert (found.decision, found.judgement.numbers) == (REPRODUCED, "0 of 10^20, claimed: 0 of 10^20")


def test_two_certificates_that_cannot_both_be_true_decide_nothing_and_are_named():
    found = judged(Value(0, 0, ALL), measured(3, 9, ALL), measured(0, 0, ALL))
    assert found.decision is INCONCLUSIVE
    assert "0.json" in found.judgement.numbers
    assert "1.json" in found.judgement.numbers


@pytest.mark.parametrize(
    ("claimed", "seen", "decision"),
    [
        ("PROVED", "PROVED", REPRODUCED),
        ("PROVED", "REFUTED", CONTRADICTED),
        ("PROVED", "PARTIAL", INCONCLUSIVE),  # it does not say that no proof is possible
        ("REFUTED", "PARTIAL", INCONCLUSIVE),
    ],
)
def test_what_a_certificate_leaves_open_contradicts_nothing(claimed, seen, decision):
    assert judged(Word(claimed), Measured(word=seen), quantity=PROOF).decision is decision


@pytest.mark.parametrize(
    ("order", "first", "second", "decision"),
    [
        (Order.LOWER, (0, 0), (1, 5), REPRODUCED),
        (Order.HIGHER, (0, 0), (1, 5), CONTRADICTED),
        (Order.LOWER, (0, 3), (3, 5), INCONCLUSIVE),
        (Order.HIGHER, (6, 9), (3, 5), REPRODUCED),
    ],
)
def test_two_checkpoints_are_ordered_if_their_bounds_are_apart(order, first, second, decision):
    one = claim(order, subject=CHECKPOINT, against=OTHER_CHECKPOINT, quantity=WRONG)
    arms = known(CHECKPOINT, WRONG, measured(*first, ALL)), known(OTHER_CHECKPOINT, WRONG, measured(*second, ALL))
    assert audit([one], *arms).verdicts[0].decision is decision


@given(st.integers(0, ALL), st.integers(0, 25))
def test_a_number_is_written_with_every_digit(count, places):
    value = Fraction(count, 10**places)
    assert Fraction(Decimal(decimal_text(value))) == value
    assert "e" not in decimal_text(value).lower()


@given(st.integers(0, 10**24), st.integers(1, 10**24))
def test_shown_numbers_are_rounded_outwards(numerator, denominator):
    value = Fraction(numerator, denominator)
    low, high = (Fraction(Decimal(text(value).replace(",", ""))) for text in (down_text, up_text))
    assert low <= value <= high
    assert high - low <= value / 10**5


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (bounds(0, 0, ALL), "0 of 10^20"),
        (bounds(0, 1234, ALL), "at most 1,234 of 10^20"),
        (bounds(11 * 10**15, 13 * 10**15, ALL), "1.1e+16 to 1.3e+16 of 10^20"),
        (bounds("0.5", None), "at least 0.5"),
        (bounds(Fraction(1, 3), Fraction(2, 3)), "0.333333 to 0.666667"),
        (bounds(Fraction(1, 3), Fraction(1, 3)), "about 0.333333"),
    ],
)
def test_bounds_are_written_as_people_read_them(found, text):
    assert range_text(found) == text


def test_a_power_of_ten_with_too_many_noughts_is_written_as_one():
    assert [count_text(n) for n in (100_000, 10**14, 10**20, 10**20 + 1)] == [
        "100,000", "100,000,000,000,000", "10^20", "100,000,000,000,000,000,001",
    ]  # fmt: skip


def stated(low, high, verdict="REFUTED", margin=0.5, seen=0.625):
    return Stated(CertificateStatus(verdict), bounds(low, high, ALL), margin, seen)


def test_a_certificate_says_how_many_what_share_and_the_least_margin_of_a_proved_one():
    found = quantities_of(stated(0, 0, "PROVED"))
    assert found == {
        WRONG: measured(0, 0, ALL),
        RATE: measured(0, 0),
        PROOF: Measured(word="PROVED"),
        MARGIN: measured("0.5", "0.625"),
    }
    found = quantities_of(stated(12, ALL // 8))
    assert found[RATE] == measured(Fraction(12, ALL), Fraction(1, 8))
    assert MARGIN not in found  # of the right answers alone it says nothing of all


def test_evidence_keeps_every_digit_and_reads_back_as_what_was_stated(tmp_path):
    known_of = quantities_of(stated(ALL - 3, ALL - 1))
    write_evidence(tmp_path / "e.json", "t", "c", [EvidenceEntry(CHECKPOINT, {None: known_of})])
    (entry,) = json.loads((tmp_path / "e.json").read_bytes())["observations"]
    assert [item for item in entry["measured"] if "bounds" in item][:2] == [
        {"quantity": WRONG.as_dict(), "bounds": {"at_least": str(ALL - 3), "at_most": str(ALL - 1), "of": str(ALL)}},
        {"quantity": RATE.as_dict(), "bounds": {"at_least": "0." + "9" * 19 + "7", "at_most": "0." + "9" * 20}},
    ]
    evidence = gather(tmp_path)
    for quantity in (WRONG, RATE):
        (seen,) = evidence.observations(CHECKPOINT, quantity)
        assert seen.bounds == known_of[quantity].bounds


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({"bounds": {"at_least": "5", "at_most": "4"}}, "at least 5 and at most 4, which no number is"),
        ({"bounds": {"at_least": "0", "at_most": "5", "of": "4"}}, "which no number is"),
        ({"bounds": {"at_least": "0"}, "value": 0}, "known and bounded; one of the two"),
        ({"bounds": {"at_least": "1e3"}}, "text that matches"),
        ({"bounds": {"at_most": "3"}}, "the field at_least is missing"),
    ],
)
def test_bounds_that_no_number_keeps_are_refused_with_their_place(tmp_path, item, message):
    entry = {"subject": {"checkpoint": "small"}, "measured": [{"quantity": WRONG.as_dict()} | item]}
    document = {"format": "reprogrok.evidence/3", "title": "t", "command": "c", "observations": [entry]}
    (tmp_path / "e.json").write_text(json.dumps(document), "utf-8")
    with pytest.raises(InputError, match=message):
        gather(tmp_path)


def test_the_json_of_an_audit_holds_the_bounds_as_text():
    one = claim(Value(0, 0, ALL), subject=CHECKPOINT, quantity=WRONG)
    document = document_of(audit([one], known(CHECKPOINT, WRONG, measured(0, 10**19 + 1, ALL))))
    check_written(document, "audit")
    (seen,) = document["claims"][0]["evidence"][0]["observations"]
    assert {name: seen[name] for name in ("at_least", "at_most", "of")} == {
        "at_least": "0", "at_most": "10000000000000000001", "of": "100000000000000000000",
    }  # fmt: skip


def test_what_is_missing_of_a_certificate_is_one():
    assert "reprogrok certify" in Evidence(()).missing(CHECKPOINT, WRONG)
    assert "reprogrok eval" in Evidence(()).missing(CHECKPOINT, Quantity("errors", "addition-100k/1"))


def test_a_claim_keeps_a_whole_number_that_no_float_is(tmp_path):
    text = """
format: reprogrok.claims/1
source: {file: a.txt, title: A}
claims:
  - id: one
    words: w
    at: 1
    says: It is so.
    kind: score
    tier: numeric
    subject: {checkpoint: small}
    quantity: {name: wrong_problems, definition: certificate/1}
    expect: EXPECT
    contradicted_by: If not.
"""
    found = []
    for expect in (
        "{value: 99999999999999999999, tolerance: 0, n: 100000000000000000000}",
        "{between: [0, 9007199254740993]}",
    ):
        path = tmp_path / "claims.yaml"
        path.write_text(text.replace("EXPECT", expect), "utf-8")
        found.append(load_citations([path])[0].claims[0].expect)
    assert found == [Value(ALL - 1, 0, ALL), Between(0, 2**53 + 1)]
    assert judged(found[0], measured(ALL, ALL, ALL)).decision is CONTRADICTED

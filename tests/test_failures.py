"""Failure conditions: counts against every problem of two or three digits; conditions and text against parts made by
hand whose description is known; real checkpoints, by problems drawn at random."""

from __future__ import annotations

import functools
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from plain_failures import PlainProblems
from rich.console import Console

from reprogrok.certificate.checker.carries import blocks
from reprogrok.certificate.checker.check import statement
from reprogrok.certificate.checker.counts import Part
from reprogrok.certificate.checker.failure_counts import FailureCounts
from reprogrok.certificate.checker.problem_sets import ATTRIBUTES, DigitCondition, ProblemSet, meets
from reprogrok.certificate.checker.statement import Counterexample, WrongBounds
from reprogrok.certificate.failures.histograms import histograms, largest
from reprogrok.certificate.failures.mining import mine_failures
from reprogrok.certificate.failures.rules import common_rule, covered, sharp_rules
from reprogrok.certificate.failures.tables import print_failures
from reprogrok.certificate.failures.text import (
    WrongDigit,
    bounds_text,
    count_text,
    paragraph,
    percent_text,
    place_reports,
    rule_text,
)
from reprogrok.certificate.single_problems import single
from reprogrok.exam.exam import Exam, Examinee
from reprogrok.formats.checkpoints import load_checkpoint
from reprogrok.tasks.addition import Addition
from reprogrok.tasks.problems import Pairs, Stratum

plain = functools.cache(PlainProblems)


@functools.cache
def blocks_of(digits):
    return list(blocks(digits))


def parts_of(place, digits, holds, allowed=None):
    """The cases of a place whose (carry, a_before, b_before, a, b) `holds`, with what is left of far places."""
    return [
        Part(block, case, {far: mask(block.choices(far)) for far, mask in (allowed or {}).items()})
        for block in blocks_of(digits)
        if block.place == place
        for case in range(len(block.cases))
        if holds(
            *(int(column[case]) for column in (
                block.cases.carry, block.cases.a_before, block.cases.b_before, block.cases.a, block.cases.b
            ))
        )
    ]  # fmt: skip


def example(a, b, answer):
    """A counterexample, with the place of its first wrong digit."""
    tokens = re.findall(r"<\w+>|.", str(answer))[::-1]
    right = list(str(int(a) + int(b)))[::-1]
    length = max(len(tokens), len(right))
    pairs = zip(tokens + ["0"] * (length - len(tokens)), right + ["0"] * (length - len(right)), strict=True)
    place = next(place for place, (given, wanted) in enumerate(pairs) if given != wanted)
    return Counterexample(int(a), int(b), str(int(a) + int(b)), str(answer), place)


def failed(wrong, open_, digits, examples=(), bounds=None):
    """A statement with the failures that parts and counterexamples have."""
    stated = statement([], digits, counterexamples=examples)
    places = tuple(
        replace(row, wrong_problems=FailureCounts.of(row.place, digits, wrong, open_, examples).bounds())
        for row in stated.places
    )
    counts = [row.wrong_problems for row in places]
    least, most = max(each.at_least for each in counts), min(sum(each.at_most for each in counts), 100**digits)
    failures = mine_failures(wrong, open_, digits, examples)
    return replace(stated, wrong=bounds or WrongBounds(least, most), places=places, failures=failures)


def told(stated):
    return paragraph(place_reports(stated), stated.wrong)


@st.composite
def part_sets(draw):
    """A few parts of one place that do not overlap (each of another case), with halved places."""
    digits = draw(st.integers(1, 2))
    place = draw(st.integers(0, digits))
    cases = [(block, case) for block in blocks_of(digits) if block.place == place for case in range(len(block.cases))]
    chosen = draw(st.lists(st.sampled_from(range(len(cases))), min_size=1, max_size=5, unique=True))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    parts = []
    for index in chosen:
        block, case = cases[index]
        halved = [far for far in block.far if rng.random() < 0.7]
        parts.append(Part(block, case, {far: rng.random(len(block.choices(far))) < 0.5 for far in halved}))
    return place, digits, parts


@st.composite
def rules_of(draw, place, digits):
    rule = []
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, min(place, digits - 1)) | st.integers(0, digits - 1))
        what = draw(st.sampled_from([x for x in ATTRIBUTES if at <= place or x not in ("carry", "digit")]))
        low, high = sorted(draw(st.lists(st.integers(0, ATTRIBUTES[what] - 1), min_size=2, max_size=2)))
        rule.append(DigitCondition(what, at, low, high))
    return tuple(rule)


@given(data=st.data())
def test_sizes_and_histograms_of_parts_are_those_of_the_problems_one_by_one(data):
    place, digits, parts = data.draw(part_sets())
    rule = data.draw(rules_of(place, digits))
    every = plain(digits)
    inside_N = np.logical_or.reduce([every.part(part) for part in parts]) & every.rule(rule)
    problems = ProblemSet.of_parts(parts, place, digits)
    assert problems.size(rule) == inside_N.sum()
    for what, at, sizes_V in histograms(problems, rule):
        expected_V = np.bincount(every.values(what, at)[inside_N], minlength=ATTRIBUTES[what])
        np.testing.assert_allclose(sizes_V, expected_V, atol=1e-9, err_msg=f"{what} at place {at}")


@given(data=st.data())
def test_what_several_rules_cover_is_counted_once(data):
    place, digits, parts = data.draw(part_sets())
    rules = [data.draw(rules_of(place, digits)) for _ in range(3)]
    every = plain(digits)
    either_N = np.logical_or.reduce([every.rule(rule) for rule in rules])
    inside_N = np.logical_or.reduce([every.part(part) for part in parts])
    assert covered(ProblemSet.of_parts(parts, place, digits), rules) == (either_N & inside_N).sum()


@pytest.mark.parametrize("place", range(4))
def test_every_attribute_of_three_digits_is_counted_for_each_asked_place(place):
    every = plain(3)
    problems = ProblemSet.everything(place, 3)
    assert problems.size() == 10**6
    seen = set()
    for what, at, sizes_V in histograms(problems, ()):
        seen.add((what, at))
        np.testing.assert_allclose(sizes_V, np.bincount(every.values(what, at), minlength=ATTRIBUTES[what]))
    assert {at for what, at in seen if what == "pair"} == {0, 1, 2}
    assert {at for what, at in seen if what == "carry"} == set(range(1, place + 1))


@pytest.mark.parametrize("digits", [10, 12])
def test_all_problems_of_many_digits_are_counted_exactly(digits):
    for place in (0, 1, 5, digits):
        everything = ProblemSet.everything(place, digits)
        assert everything.size() == 100**digits
        assert everything.size((DigitCondition("unordered", 3, 78, 78),)) == 2 * 100 ** (digits - 1)
    # Half less a half of 10^-n of all problems carry out of the last place: pairs that sum to 10^n or more.
    carried = ProblemSet.everything(digits, digits).size((DigitCondition("carry", digits, 1, 1),))
    assert carried == 10**digits * (10**digits - 1) // 2


@given(st.integers(0, 99), st.integers(0, 99), st.integers(0, 2))
def test_a_single_problem_is_a_part_of_one_problem(a, b, place):
    every = plain(2)
    inside_N = every.part(single(a, b, place, 2))
    assert [(int(x[inside_N][0]), int(y[inside_N][0])) for x, y in [every.operands]] == [(a, b)]
    assert inside_N.sum() == 1


@given(part_sets(), st.integers(1, 4))
def test_the_largest_rows_are_those_with_most_problems(drawn_parts, rows):
    place, digits, parts = drawn_parts
    sizes = sorted((int(plain(digits).part(part).sum()) for part in parts), reverse=True)
    kept = largest(ProblemSet.of_parts(parts, place, digits), rows)
    assert (len(kept), kept.size()) == (min(rows, len(parts)), sum(sizes[:rows]))


def test_what_is_answered_is_read_from_the_last_digit_on():
    def digit(*problem):
        each = example(*problem)
        (report,) = place_reports(failed([], [], max(len(problem[0]), len(problem[1])), [each]))
        (wrong,) = report.answers()
        return each.place, wrong.answer, wrong.right, wrong.carry

    assert digit("999", "1", "0999") == (0, "9", 0, 0)
    assert digit("95", "15", "10") == (2, "0", 1, 1)  # zeros in front may be missing
    assert digit("95", "15", "1<eos>0")[:2] == (1, "<eos>")


@given(st.data())
def test_a_problem_meets_a_rule_as_it_does_among_all_problems(data):
    rule = data.draw(rules_of(2, 2))
    a, b = data.draw(st.integers(0, 99)), data.draw(st.integers(0, 99))
    assert meets(rule, a, b) == plain(2).rule(rule)[100 * a + b]


@pytest.mark.parametrize(
    ("condition", "asked", "known"),
    [
        (DigitCondition("carry", 2, 1, 1), 2, True),
        (DigitCondition("carry", 3, 1, 1), 2, False),  # above the asked place carries are not modelled
        (DigitCondition("digit", 3, 0, 1), 2, False),
        (DigitCondition("digit", 0, 0, 1), 2, True),
        (DigitCondition("carry", 0, 0, 0), 2, False),  # nothing is carried into place 0
        (DigitCondition("carry", 4, 1, 1), 4, True),
        (DigitCondition("carry", 4, 1, 1), 3, False),
        (DigitCondition("total", 4, 0, 3), 4, False),  # place n has no digits
        (DigitCondition("total", 5, 0, 3), 4, False),
        (DigitCondition("total", 1, 0, 19), 2, False),  # beyond what the attribute can be
        (DigitCondition("total", 1, 3, 2), 2, False),
        (DigitCondition("mood", 1, 0, 1), 2, False),
    ],
)
def test_a_condition_without_a_meaning_is_seen(condition, asked, known):
    assert condition.is_known(asked, 4) is known


# The parts below are all problems of four digits with 9 + 9 at place 2, 7 + 8 or 8 + 7 at place 1, and digits that sum
# to at most 1 at place 3: two cases for each carry into place 1, times 3 pairs at place 3, times 100 at place 0.
def hard_cases(carry, a_before, b_before, a, b):
    return carry == 0 and {a_before, b_before} == {7, 8} and (a, b) == (9, 9)


def test_a_description_of_cases_and_a_far_place_is_found():
    parts = parts_of(2, 4, hard_cases, {3: lambda choices: choices.a + choices.b <= 1})
    failing, everything = ProblemSet.of_parts(parts, 2, 4), ProblemSet.everything(2, 4)
    rule = common_rule(failing, everything)
    assert everything.size(rule) == failing.size(rule) == failing.size() == 2 * 3 * 55
    assert rule_text(rule, 4) == (
        "0 + 0, 0 + 1 or 1 + 0 at place 3, 9 + 9 at place 2 and 7 + 8 or 8 + 7 at place 1 with no carry into it"
    )


def test_a_map_says_how_much_is_sure_and_how_much_is_open_in_exact_numbers():
    allowed = {3: lambda choices: choices.a + choices.b <= 1}
    wrong = [part for part in parts_of(2, 4, hard_cases, allowed) if part.block.cases.a_before[part.case] == 7]
    open_ = [part for part in parts_of(2, 4, hard_cases, allowed) if part.block.cases.a_before[part.case] == 8]
    found = failed(wrong, open_, 4, [example("0970", "0980", "01850")], WrongBounds(3 * 55, 6 * 55))
    (entry,) = found.failures
    (report,) = place_reports(found)
    assert (entry.place, report.wrong) == (2, WrongBounds(165, 330))
    assert report.answers() == [WrongDigit(9, "8", 1, 1)]
    first = entry.failing[0]
    assert rule_text(first.conditions, 4).endswith("9 + 9 at place 2 and 7 + 8 at place 1 with no carry into it")
    assert (first.problems, first.wrong.at_least, entry.seen) == (165, 165, None)
    assert first.carried == WrongBounds(165, 165)
    assert told(found) == (
        "At least 165 and at most 330 of the 1e8 problems (0.00016 % to 0.00033 %) are answered wrong. Place 2 (at "
        "least 165 and at most 330 wrong): the model has not learned to carry into place 2 in problems with 0 + 0, "
        "0 + 1 or 1 + 0 at place 3, 9 + 9 at place 2 and 7 + 8 at place 1 with no carry into it. Of the 165 problems "
        "like this every one fails, and they make all of what surely fails there. In the one counterexample there 8 "
        "is answered instead of 9, with a carry into the place."
    )


def test_what_is_open_alone_is_not_called_wrong():
    open_ = parts_of(4, 4, lambda carry, a, b, *_: carry == 1 and (a, b) == (5, 5), {})
    found = failed([], open_, 4)
    (entry,) = found.failures
    assert found.places[4].wrong_problems == WrongBounds(0, 499_500)  # with a carry out of three digits
    assert entry.seen is None
    assert told(found) == (
        "At most 499,500 of the 1e8 problems (0.50 %) are answered wrong; none was shown or seen to be. Place 4, the "
        "leading digit (at most 499,500 wrong): the model is not shown to get the digit of place 4 right in problems "
        "with 5 + 5 at place 3 with a carry into it. Of the 499,500 problems like this at most 100 % fail, and they "
        "make all of what fails or is open there."
    )


def test_without_a_failure_there_is_no_entry():
    assert mine_failures([], [], 10) == ()


def test_counterexamples_alone_are_described_by_what_they_share():
    rng = np.random.default_rng(5)
    examples = []
    for high in rng.integers(0, 10**4, (40, 4)).tolist():
        a, b = 10**6 * high[0] + 99 * 10**4 + high[1], 10**6 * high[2] + 91 * 10**4 + high[3]
        examples.append(example(a, b, a + b + 10**6))
    found = failed([], [], 10, examples)
    (entry,) = found.failures
    assert (entry.place, entry.failing, entry.seen.counterexamples) == (6, (), 40)
    assert rule_text(entry.seen.conditions, 10) == "9 + 9 at place 5 and 9 + 1 at place 4"
    assert told(found).startswith("40 problems were seen to be answered wrong; nothing was counted. Place 6 ")


def test_beside_much_that_is_open_counterexamples_are_described_at_the_near_places_alone():
    # Open is every problem with a 9 and a 9 at place 2; seen are those with 7 + 8 before, and always 4 + 4 at place 3.
    open_ = parts_of(2, 4, lambda *digits: digits[3:] == (9, 9))
    seen = [example(f"497{last}", f"498{9 - last}", "9859") for last in range(10)]
    (entry,) = mine_failures([], open_, 4, seen)
    assert rule_text(entry.failing[0].conditions, 4) == "9 + 9 at place 2"
    assert rule_text(entry.seen.conditions, 4) == "9 + 9 at place 2 and 7 + 8 at place 1"
    (entry,) = mine_failures([], parts_of(2, 4, hard_cases), 4, seen)
    assert len(entry.failing) == 1
    assert entry.seen is not None
    same = [example(f"49{x}{last}", f"49{y}{9 - last}", "9859") for last in range(10) for x, y in ("78", "87")]
    (entry,) = mine_failures([], parts_of(2, 4, hard_cases), 4, same)
    assert (len(entry.failing), entry.seen) == (1, None)  # no second time


def test_accidents_of_a_few_counterexamples_are_not_described():
    rng = np.random.default_rng(6)
    for size in (1, 2, 3):
        pairs = rng.integers(0, 10**10, (size, 2)).tolist()
        for entry in mine_failures([], [], 10, [example(a, b, a + b + 10**4) for a, b in pairs]):
            assert entry.seen.conditions == ()
            assert rule_text(entry.seen.conditions, 10) == "nothing that sets them apart"


def test_two_reasons_are_two_narrower_rules_inside_what_they_share():
    def fails(carry, a_before, b_before, a, b):
        return (carry, a, b) in {(1, 0, 8), (0, 0, 9)} and a_before + b_before == (3 if b == 8 else 9)

    failing = ProblemSet.of_parts(parts_of(2, 3, fails), 2, 3)
    everything = ProblemSet.everything(2, 3)
    common = common_rule(failing, everything)
    sharp = sharp_rules(failing, everything, common)
    assert failing.size(common) >= 0.9 * failing.size()
    assert covered(failing, sharp) >= 0.9 * failing.size(common)
    for rule in sharp:
        assert rule[: len(common)] == common
        assert failing.size(rule) == everything.size(rule)  # every problem of these fails


def test_parts_without_anything_in_common_are_not_described():
    rng = np.random.default_rng(7)
    found = failed([part for part in parts_of(5, 6, lambda *_: True) if rng.random() < 0.5], [], 6)
    (entry,) = found.failures
    assert entry.failing[0].conditions == ()
    assert "nothing narrower describes where" in told(found)


def test_failures_do_not_depend_on_the_order_of_its_parts():
    rng = np.random.default_rng(8)
    parts = [
        Part(block, case, {0: rng.random(100) < 0.5, 4: rng.random(100) < 0.2})
        for block in blocks_of(5)
        if block.place == 3 and block.token < 3
        for case in range(0, len(block.cases), 9)
    ]
    shuffled = [parts[index] for index in rng.permutation(len(parts))]
    assert mine_failures(parts[:60], parts[60:], 5) == mine_failures(
        [part for part in shuffled if part in parts[:60]], [part for part in shuffled if part not in parts[:60]], 5
    )


def test_numbers_are_written_as_in_the_worked_values():
    assert count_text(9_999_999) == "9,999,999"
    assert (count_text(123_456_789, upper=True), count_text(123_456_789, upper=False)) == ("1.24e8", "1.23e8")
    assert count_text(10**20) == "1e20"
    assert bounds_text(WrongBounds(0, 12_345)) == "at most 12,345"
    assert bounds_text(WrongBounds(3, 3)) == "3"
    assert bounds_text(WrongBounds(10**17 + 1, 2 * 10**17 + 1)) == "at least 1e17 and at most 2.01e17"
    assert [percent_text(part, 1000) for part in (0, 1, 500, 999, 1000)] == ["0 %", "0.10 %", "50 %", "99.9 %", "100 %"]
    assert percent_text(1, 10**6) == "0.00010 %"
    assert (percent_text(2, 3, upper=True), percent_text(2, 3, upper=False)) == ("67 %", "66 %")
    assert (percent_text(1, 3 * 10**17, upper=True), percent_text(1, 3 * 10**17, upper=False)) == (
        "3.4e-16 %", "3.3e-16 %",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (
            (DigitCondition("carry", 10, 1, 1), DigitCondition("pair", 9, 55, 55)),
            "a carry into place 10 and 5 + 5 at place 9",
        ),
        (
            (DigitCondition("carry", 3, 0, 0), DigitCondition("least", 3, 6, 9)),
            "both digits at least 6 at place 3 with no carry into it",
        ),
        ((DigitCondition("total", 2, 14, 14), DigitCondition("total", 2, 9, 18)), "digits that sum to 14 at place 2"),
        ((DigitCondition("most", 4, 0, 3), DigitCondition("total", 4, 0, 6)), "both digits at most 3 at place 4"),
        (
            (DigitCondition("digit", 0, 0, 0), DigitCondition("a", 1, 2, 4)),
            "a digit of the first operand of 2 to 4 at place 1 and a sum digit of 0 at place 0",
        ),
        (
            (DigitCondition("a", 8, 0, 0), DigitCondition("digit", 8, 0, 0)),
            "0 + 0 without a carry into it or 0 + 9 with a carry into it at place 8",
        ),
        ((), "nothing that sets them apart"),
    ],
)  # fmt: skip
def test_a_rule_reads_place_by_place_without_saying_anything_twice(rule, words):
    assert rule_text(rule, 10) == words


def test_the_table_has_a_row_for_each_description_and_fits_80_columns(capsys):
    allowed = {3: lambda choices: choices.a + choices.b <= 1}
    open_ = parts_of(4, 4, lambda c, *_: c == 1)
    found = failed(parts_of(2, 4, hard_cases, allowed), open_, 4, [example("0970", "0980", "01850")])
    print_failures(found, Console(width=80, force_terminal=False))
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 80
    assert " ".join(printed.split()).startswith(told(found))
    for text in ("9 + 9 at place 2", "answered: 8 for 9 (1)", "100 %", "330"):
        assert text in " ".join(printed.split())


# What real checkpoints get wrong, by problems drawn at random.
def examined(path, a_N, b_N):
    """Which of these problems a model answers wrong, and these as counterexamples."""
    checkpoint, task = load_checkpoint(path), Addition()
    pairs = Pairs(torch.tensor(a_N), torch.tensor(b_N))
    exam = Exam("drawn", "uniform", task, (Stratum("drawn", "drawn at random", pairs),))
    result = Examinee(checkpoint.spec, checkpoint.weights, task, torch.device("cpu")).examine(exam, "forward", 2_000)
    missed = result.failures["drawn"]
    wrong_N = np.zeros(len(a_N), dtype=bool)
    wrong_N[missed.index] = True
    return wrong_N, [example(a, b, text) for a, b, text in zip(missed.a, missed.b, missed.answer, strict=True)]


def drawn(count, seed, **fixed):
    """Pairs drawn uniformly, with the digits that are `fixed`: `at3=(9, 9)`."""
    rng = np.random.default_rng(seed)
    digits = rng.integers(0, 10, (2, 10, count))
    for place, (a, b) in fixed.items():
        digits[0, int(place[2:])], digits[1, int(place[2:])] = a, b
    powers = 10 ** np.arange(10)
    return powers @ digits[0], powers @ digits[1]


@pytest.fixture(scope="module")
def model_512(fixtures_dir):
    return fixtures_dir / "checkpoints" / "best_512params.pt"


def test_the_model_of_512_parameters_loses_every_carry_into_99_after_87_where_little_follows(model_512):
    a_N, b_N = drawn(4_000, 1, at0=(8, 7), at1=(9, 9))
    wrong_N, examples = examined(model_512, a_N, b_N)
    following_N = a_N // 100 % 10 + b_N // 100 % 10
    assert (wrong_N == (following_N <= 3)).all()
    found = failed([], [], 10, examples)
    (report,) = place_reports(found)
    assert report.place == 1
    assert rule_text(report.described[0].conditions, 10) == (
        "digits that sum to at most 3 at place 2, 9 + 9 at place 1 and 8 + 7 at place 0"
    )
    assert report.answers() == [WrongDigit(9, "8", 1, int(wrong_N.sum()))]
    assert "does not always carry into place 1" in told(found)


def test_the_model_of_512_parameters_drops_the_leading_1_after_55_where_the_last_digits_are_0(model_512):
    a_N, b_N = drawn(20_000, 2, at9=(5, 5))
    wrong_N, examples = examined(model_512, a_N, b_N)
    found = failed([], [], 10, [each for each in examples if each.place == 10])
    (report,) = place_reports(found)
    assert rule_text(report.described[0].conditions, 10) == (
        "5 + 5 at place 9 with a carry into it, a sum digit of at most 2 at place 1 and 0 + 0 at place 0"
    )
    assert [(each.right, each.answer) for each in report.answers()] == [(1, "0")]
    a_N, b_N = drawn(4_000, 3, at9=(5, 5), at0=(0, 0), at8=(7, 6))
    wrong_N, _ = examined(model_512, a_N, b_N)
    little_N = (a_N + b_N) // 10 % 10 <= 2
    assert wrong_N[little_N].mean() > 0.85
    assert wrong_N[~little_N].mean() < 0.05


def test_a_model_that_is_right_on_100_000_uniform_problems_fails_sums_of_two_billion_by_one_pair_of_digits():
    path = load_path("e15-s47.pt")
    a_N = np.random.default_rng(4).integers(0, 2 * 10**9 + 1, 6_000)
    _, examples = examined(path, a_N, 2 * 10**9 - a_N)
    found = failed([], [], 10, examples)
    (report,) = place_reports(found)
    assert report.place == 9
    assert [(each.right, each.answer, each.carry) for each in report.answers()] == [(2, "1", 1)]
    assert "does not always carry into place 9" in told(found)
    # All of them have 9 + 0 (or 0 + 9) at place 8: where another pair sums to 9 there, the carry is seen.
    assert all({f"{each.a:010}"[1], f"{each.b:010}"[1]} == {"0", "9"} for each in examples)


def load_path(name):
    from conftest import ROOT

    return ROOT / "checkpoints" / name

"""Failure conditions of a statement -> plain English. Bounds are rounded outwards.

The model "has not learned" a digit if at least nine tenths of the described problems surely fail; otherwise it "does
not always" get it right, and where no failure was shown or seen it "is not shown to".
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Context
from itertools import product

import numpy as np

from reprogrok.certificate.checker.carries import Mask, Numbers
from reprogrok.certificate.checker.problem_sets import DigitCondition, Rule, meets, standing
from reprogrok.certificate.checker.statement import (
    Counterexample,
    FailureCondition,
    PlaceFailures,
    Statement,
    WrongBounds,
)
from reprogrok.certificate.failures.mining import mostly_wrong

_EXACT_BELOW = 10_000_000
_NOT_LEARNED = 0.9  # fraction of the problems under a rule that surely fail
_MOST = 0.9  # fraction of the counterexamples with the same kind of wrong digit
_IN_FULL = 4  # places that get sentences of their own
_LONG = -6  # power of ten of a percentage, below which it is written as a power of ten
_FEW = 3  # pairs of digits that are named one by one
_TOKEN = re.compile(r"<\w+>|.")  # of an answer as text


@dataclass(frozen=True)
class WrongDigit:
    """A wrong digit: the right one, the token instead, the carry into the place, and how many counterexamples."""

    right: int
    answer: str
    carry: int
    count: int


@dataclass(frozen=True)
class PlaceReport:
    """The failures of one place: conditions, number of wrong problems, counterexamples; `digits` is n."""

    failures: PlaceFailures
    digits: int
    wrong: WrongBounds
    examples: tuple[Counterexample, ...]

    @property
    def place(self) -> int:
        """The place, from the least significant on."""
        return self.failures.place

    @property
    def described(self) -> tuple[FailureCondition, ...]:
        """The conditions of the failing problems, then those of the counterexamples."""
        seen = self.failures.seen
        return (*self.failures.failing, *(() if seen is None else (seen,)))

    def answers(self, rule: Rule = ()) -> list[WrongDigit]:
        """Count the wrong digits of the counterexamples under a rule, the most frequent first."""
        counted = Counter(
            (*_right_and_answer(each), standing(each.a, each.b, each.place)[0])
            for each in self.examples
            if meets(rule, each.a, each.b)
        )
        ranked = sorted(counted.items(), key=lambda item: (-item[1], *map(str, item[0])))
        return [WrongDigit(*key, count) for key, count in ranked]


def place_reports(statement: Statement) -> list[PlaceReport]:
    """Return a report for each place with failures."""
    return [
        PlaceReport(
            entry,
            len(statement.places) - 1,
            statement.places[entry.place].wrong_problems,
            tuple(each for each in statement.counterexamples if each.place == entry.place),
        )
        for entry in statement.failures
    ]


def _right_and_answer(example: Counterexample) -> tuple[int, str]:
    """Return the right digit and the token instead. For 999 + 1 answered 0999, at place 0: 0 and "9"."""
    tokens = _TOKEN.findall(example.answer)[::-1]
    right = (example.a + example.b) // int(10**example.place) % 10
    return right, tokens[example.place] if example.place < len(tokens) else "0"  # zeros in front may be left out


def rule_text(rule: Rule, digits: int) -> str:
    """Describe conditions place by place, the most significant first.

    Worked value: of the carry into place 10 and the pair 5 and 5 at place 9,
    "5 + 5 at place 9 and a carry into place 10".
    """
    if not rule:
        return "nothing that sets them apart"
    places = sorted({condition.place for condition in rule}, reverse=True)
    return joined([_place_text(place, [part for part in rule if part.place == place], digits) for place in places])


def _place_text(place: int, conditions: Sequence[DigitCondition], digits: int) -> str:
    carries = [0, 1] if place > 0 else [0]
    table = np.array(list(product(carries, range(10), range(10)))).T
    conditions = _needed(conditions, table)
    carry, a, b = table[:, _fitting(conditions, table)]
    spoken = any(condition.what in {"carry", "digit"} for condition in conditions)
    into = ""
    if spoken and place > 0 and len(set(carry.tolist())) == 1:
        into = "a carry into it" if carry[0] else "no carry into it"
    if place == digits or all(condition.what == "carry" for condition in conditions):
        return f"{into.removesuffix(' it')} place {place}"
    pairs = sorted({(int(x), int(y)) for x, y in zip(a, b, strict=True)})
    if len(pairs) <= _FEW:
        what = joined([f"{x} + {y}" for x, y in pairs], "or")
        sums = {(int(c), int(x), int(y)) for c, x, y in zip(carry, a, b, strict=True)}
        if spoken and not into and len(sums) < 2 * len(pairs):  # the carry goes with the pair
            what = joined(
                [f"{x} + {y} {'with a' if c else 'without a'} carry into it" for c, x, y in sorted(sums)], "or"
            )
        return f"{what} at place {place}" + (f" with {into}" if into else "")
    parts = [_condition_text(condition) for condition in conditions if condition.what != "carry"]
    carried = into and any(condition.what == "carry" for condition in conditions)
    return f"{joined(parts)} at place {place}" + (f" with {into}" if carried else "")


def _fitting(conditions: Sequence[DigitCondition], table: Numbers) -> Mask:
    """Tell which of the carries and pairs of digits (3, N) meet all conditions, (N,)."""
    fits = np.ones(table.shape[1], dtype=np.bool_)
    for condition in conditions:
        fits &= condition.holds(table[0], table[1], table[2])
    return fits


def _needed(conditions: Sequence[DigitCondition], table: Numbers) -> list[DigitCondition]:
    """Leave out conditions that follow from the others; ranges of one attribute become one range."""
    ranges: dict[str, DigitCondition] = {}
    for each in conditions:
        known = ranges.get(each.what, each)
        ranges[each.what] = DigitCondition(each.what, each.place, max(each.low, known.low), min(each.high, known.high))
    needed = list(ranges.values())
    fits = _fitting(needed, table)
    for each in list(needed):
        others = [other for other in needed if other != each]
        if others and np.array_equal(_fitting(others, table), fits):
            needed = others
    return needed


def _condition_text(condition: DigitCondition) -> str:
    low, high = condition.low, condition.high
    if condition.what == "least":
        return f"both digits at least {low}" if high == 9 else f"a smaller digit of {_range_text(low, high, 9)}"
    if condition.what == "most":
        return f"both digits at most {high}" if low == 0 else f"a greater digit of {_range_text(low, high, 9)}"
    if condition.what == "total":
        return f"digits that sum to {_range_text(low, high, 18)}"
    names = {"a": "a digit of the first operand", "b": "a digit of the second operand", "digit": "a sum digit"}
    return f"{names[condition.what]} of {_range_text(low, high, 9)}"


def _range_text(low: int, high: int, top: int) -> str:
    if low == high:
        return str(low)
    if low == 0:
        return f"at most {high}"
    return f"at least {low}" if high == top else f"{low} to {high}"


def joined(parts: list[str], last: str = "and") -> str:
    """`a`, `a and b`, `a, b and c`."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} {last} {parts[-1]}"


def count_text(count: int, *, upper: bool | None = None) -> str:
    """Write a whole number, exact up to ten million and then with three digits; `upper` says how a bound is rounded.

    Worked value: 123,456,789 as an upper bound is "1.24e8", as a lower one "1.23e8".
    """
    if count < _EXACT_BELOW:
        return f"{count:,}"
    digits, exponent = f"{Context(prec=3, rounding=_rounding(upper)).create_decimal(count):.2e}".split("e")
    return f"{digits.rstrip('0').rstrip('.')}e{int(exponent)}"


def _rounding(upper: bool | None) -> str:  # noqa: FBT001 - private
    return ROUND_HALF_EVEN if upper is None else ROUND_CEILING if upper else ROUND_FLOOR


def bounds_text(bounds: WrongBounds) -> str:
    """Write a number of problems that is known up to its bounds."""
    at_least, at_most = bounds.at_least, bounds.at_most
    if at_least == at_most:
        return f"{'' if at_most < _EXACT_BELOW else 'about '}{count_text(at_most)}"
    if at_least == 0:
        return f"at most {count_text(at_most, upper=True)}"
    return f"at least {count_text(at_least, upper=False)} and at most {count_text(at_most, upper=True)}"


def percent_text(part: int, whole: int, *, upper: bool | None = None) -> str:
    """Write a part of a whole in per cent, with enough digits to be told from none and from all.

    Worked value: 999 of 1,000 is "99.9 %", 1,000 of 1,000 "100 %", and 1 of a million "0.00010 %".
    """
    rounding = _rounding(upper)
    if part in {0, whole}:
        return "100 %" if part else "0 %"
    exact = Context(prec=40)
    percent = exact.divide(exact.multiply(exact.create_decimal(part), 100), exact.create_decimal(whole))
    near = percent if percent < 50 else 100 - percent  # digits for the smaller side
    places = max(0, 1 - near.adjusted()) if percent < 50 else max(0, -near.adjusted())
    if near.adjusted() < _LONG:
        short = Context(prec=2, rounding=rounding).plus(percent)
        return f"{short:.1e} %" if percent < 50 else "almost 100 %"
    shown = percent.quantize(exact.create_decimal(1).scaleb(-places), rounding=rounding)
    return f"{shown} %"


def paragraph(reports: Sequence[PlaceReport], wrong: WrongBounds) -> str:
    """Describe the failures in one paragraph.

    Args:
        reports: one for each place that fails, at least one.
        wrong: number of problems that are wrong at any place.
    """
    ranked = sorted(reports, key=lambda report: (-report.wrong.at_most, -len(report.examples)))
    sentences = [_opening(ranked, wrong), *map(_place_sentences, ranked[:_IN_FULL])]
    if rest := ranked[_IN_FULL:]:
        bounds = WrongBounds(
            max(report.wrong.at_least for report in rest), sum(report.wrong.at_most for report in rest)
        )
        less = f"{bounds_text(bounds)} wrong" if bounds.at_most else "seen, not counted"
        places = joined([str(report.place) for report in rest])
        sentences.append(f"The rest is at place{'s' * (len(rest) > 1)} {places}: {less}.")
    return " ".join(sentences)


def _opening(reports: Sequence[PlaceReport], wrong: WrongBounds) -> str:
    total = 100 ** reports[0].digits
    of = f"of the {count_text(total)} problems"
    seen = sum(len(report.examples) for report in reports)
    if wrong.at_most == 0:
        return f"{seen:,} problem{'s were' if seen > 1 else ' was'} seen to be answered wrong; nothing was counted."
    if wrong.at_least == wrong.at_most:
        return f"{bounds_text(wrong)} {of} ({percent_text(wrong.at_most, total)}) are answered wrong.".capitalize()
    most = percent_text(wrong.at_most, total, upper=True)
    if wrong.at_least:
        fraction = f"{percent_text(wrong.at_least, total, upper=False)} to {most}"
        return f"{bounds_text(wrong)} {of} ({fraction}) are answered wrong.".capitalize()
    found = f"{seen:,} of them were seen to be" if seen else "none was shown or seen to be"
    return f"{bounds_text(wrong)} {of} ({most}) are answered wrong; {found}.".capitalize()


def _place_sentences(report: PlaceReport) -> str:
    """Describe the failures of a place, how surely they fail, and how many of them meet the conditions."""
    place, first, examples = report.place, report.described[0], len(report.examples)
    name = f"Place {place}"
    name += ", the leading digit" if place == report.digits else ", the last digit" if place == 0 else ""
    much = f" ({bounds_text(report.wrong)} wrong)" if report.wrong.at_most else " (seen, not counted)"
    fails, problems = first.wrong, first.problems
    surely, of = (fails.at_least, problems) if first.conditions else (report.wrong.at_least, 100**report.digits)
    never = surely >= _NOT_LEARNED * of
    shown = "never" if never else "partly" if report.wrong.at_least or examples else "open"
    said = f"{name}{much}: the model {_VERBS[_kind(report), shown].format(place=place)}"
    if not first.conditions:
        return f"{said}; nothing narrower describes where."
    said += f" in problems with {rule_text(first.conditions, report.digits)}."
    if report.wrong.at_most:
        said += f" Of the {count_text(problems)} problems like this {_fail_text(fails, problems)}, and they make "
        said += f"{_recall(report)}."
    else:
        said += f" So have {first.counterexamples:,} of the {examples:,} counterexamples there."
    if len(report.failures.failing) > 1:
        sharper = report.failures.failing[1]
        extra = rule_text(sharper.conditions[len(first.conditions) :], report.digits)
        said += f" Of those that also have {extra} {_fail_text(sharper.wrong, sharper.problems)}."
    if report.failures.failing and (seen := report.failures.seen) is not None:
        said += f" Of the {examples:,} counterexamples there {seen.counterexamples:,} have "
        said += f"{rule_text(seen.conditions, report.digits)}."
    return said + _answer_sentence(report)


def _fail_text(fails: WrongBounds, problems: int) -> str:
    """Say how many of the problems under a rule fail."""
    if fails.at_least == problems:
        return "every one fails"
    most = percent_text(fails.at_most, problems, upper=True)
    if fails.at_least == fails.at_most:
        return f"{percent_text(fails.at_least, problems)} fail"
    if fails.at_least == 0:
        return f"at most {most} fail"
    return f"at least {percent_text(fails.at_least, problems, upper=False)} and at most {most} fail"


def _answer_sentence(report: PlaceReport) -> str:
    """Say what is answered instead, by the counterexamples."""
    if not (answers := report.answers()):
        return ""
    top, counted = answers[0], len(report.examples)
    carry = "a carry" if top.carry else "no carry"
    how = f"{top.answer} is answered instead of {top.right}, with {carry} into the place"
    if top.count == counted:
        return f" In {'the one counterexample' if counted == 1 else f'all {counted:,} counterexamples'} there {how}."
    return f" In {top.count:,} of {counted:,} counterexamples there {how}."


def _recall(report: PlaceReport) -> str:
    """Say how many of the failing problems of the place meet the first conditions."""
    here, all_of = report.described[0].wrong, report.wrong
    if mostly_wrong(all_of):
        part, of = (here.at_least, all_of.at_least), "fails there"
        of = of if all_of.at_least == all_of.at_most else f"surely {of}"
    else:
        part, of = (here.at_most, all_of.at_most), "fails or is open there"
    return f"all of what {of}" if part[0] == part[1] else f"{percent_text(*part)} of what {of}"


def _kind(report: PlaceReport) -> str:
    """Tell whether a carry is lost, or one is made up, in most of the described problems; else "digit".

    Carries into the place are counted on the failing problems, answers on the counterexamples.
    """
    first = report.described[0]
    bound = "at_least" if mostly_wrong(report.wrong) else "at_most"
    fails, carried = getattr(first.wrong, bound), getattr(first.carried, bound)
    answers = report.answers(first.conditions) or report.answers()
    for kind, carry, step in (("lost", 1, -1), ("made up", 0, 1)):
        with_it = [each for each in answers if each.carry == carry]
        so = [each for each in with_it if each.answer == str((each.right + step) % 10)]
        counted = sum(each.count for each in (with_it if fails else answers))
        mostly = (carried if carry else fails - carried) >= _MOST * fails
        if counted and mostly and sum(each.count for each in so) >= _MOST * counted:
            return kind
    return "digit"


_VERBS = {
    ("lost", "never"): "has not learned to carry into place {place}",
    ("lost", "partly"): "does not always carry into place {place}",
    ("made up", "never"): "has not learned that nothing is carried into place {place}",
    ("made up", "partly"): "does not always see that nothing is carried into place {place}",
    ("digit", "never"): "has not learned the digit of place {place}",
    ("digit", "partly"): "does not always get the digit of place {place} right",
    ("digit", "open"): "is not shown to get the digit of place {place} right",
}

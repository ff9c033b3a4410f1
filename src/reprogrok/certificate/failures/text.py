"""Rules and numbers of a failure map -> plain English; nothing here adds to what the numbers say.

Numbers that are bounds are rounded outwards: a lower one down, an upper one up. Strong words have a meaning: the model
"has not learned" what it surely gets wrong in at least nine tenths of the problems that are described; otherwise it
"does not always" get it right, and where nothing was shown or seen to fail it "is not shown to".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Context
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from reprogrok.certificate.failures.sets import Condition, Rule

if TYPE_CHECKING:
    from numpy.typing import NDArray

_EXACT_BELOW = 10_000_000
_NOT_LEARNED = 0.9  # of the problems under a rule surely fail
_MOST = 0.9  # of the counterexamples say how a digit is wrong
_IN_FULL = 4  # places that get sentences of their own
_LONG = -6  # power of ten of a percentage, below which it is written as a power of ten
_FEW = 3  # pairs of digits that are named one by one


def rule_words(rule: Rule, digits: int) -> str:
    """The conditions, place by place, the most significant first.

    Worked value: of the carry into place 10 and the pair 5 and 5 at place 9,
    "5 + 5 at place 9 and a carry into place 10".
    """
    if not rule:
        return "nothing that sets them apart"
    places = sorted({condition.place for condition in rule}, reverse=True)
    clauses = [_place_words(place, [part for part in rule if part.place == place], digits) for place in places]
    return joined(clauses)


def _place_words(place: int, conditions: Sequence[Condition], digits: int) -> str:
    """What stands at one place."""
    carries = [0, 1] if place > 0 else [0]
    table = np.array(list(product(carries, range(10), range(10)))).T
    conditions = _needed(conditions, table)
    fits = _fitting(conditions, table)
    carry, a, b = table[:, fits]
    spoken = any(condition.what in ("carry", "digit") for condition in conditions)
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
    parts = [_condition_words(condition) for condition in conditions if condition.what != "carry"]
    return f"{joined(parts)} at place {place}" + (f" with {into}" if into and _says(conditions, "carry") else "")


def _fitting(conditions: Sequence[Condition], table: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which of the carries and pairs of digits (3, N) hold all conditions, (N,)."""
    fits = np.ones(table.shape[1], dtype=np.bool_)
    for condition in conditions:
        fits &= condition.holds(table[0], table[1], table[2])
    return fits


def _needed(conditions: Sequence[Condition], table: NDArray[np.int64]) -> list[Condition]:
    """The conditions without those that say no more than the others; ranges of one attribute are one range."""
    ranges: dict[str, Condition] = {}
    for each in conditions:
        known = ranges.get(each.what, each)
        ranges[each.what] = Condition(each.what, each.place, max(each.low, known.low), min(each.high, known.high))
    needed = list(ranges.values())
    fits = _fitting(needed, table)
    for each in list(needed):
        others = [other for other in needed if other != each]
        if others and np.array_equal(_fitting(others, table), fits):
            needed = others
    return needed


def _says(conditions: Sequence[Condition], what: str) -> bool:
    return any(condition.what == what for condition in conditions)


def _condition_words(condition: Condition) -> str:
    low, high = condition.low, condition.high
    if condition.what == "least":
        return f"both digits at least {low}" if high == 9 else f"a smaller digit of {_range(low, high, 9)}"
    if condition.what == "most":
        return f"both digits at most {high}" if low == 0 else f"a greater digit of {_range(low, high, 9)}"
    if condition.what == "total":
        return f"digits that sum to {_range(low, high, 18)}"
    names = {"a": "a digit of the first operand", "b": "a digit of the second operand", "digit": "a sum digit"}
    return f"{names[condition.what]} of {_range(low, high, 9)}"


def _range(low: int, high: int, top: int) -> str:
    if low == high:
        return str(low)
    if low == 0:
        return f"at most {high}"
    return f"at least {low}" if high == top else f"{low} to {high}"


def joined(parts: list[str], last: str = "and") -> str:
    """`a`, `a and b`, `a, b and c`."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} {last} {parts[-1]}"


def count_words(count: int, *, upper: bool | None = None) -> str:
    """A whole number, exact up to ten million and then with three digits; `upper` says which way a bound is rounded.

    Worked value: 123,456,789 as an upper bound is "1.24e8", as a lower one "1.23e8".
    """
    if count < _EXACT_BELOW:
        return f"{count:,}"
    rounding = ROUND_HALF_EVEN if upper is None else ROUND_CEILING if upper else ROUND_FLOOR
    digits, exponent = f"{Context(prec=3, rounding=rounding).create_decimal(count):.2e}".split("e")
    return f"{digits.rstrip('0').rstrip('.')}e{int(exponent)}"


def bounds_words(at_least: int, at_most: int) -> str:
    """How many there are, as far as it is certain."""
    if at_least == at_most:
        return f"{'' if at_most < _EXACT_BELOW else 'about '}{count_words(at_most)}"
    if at_least == 0:
        return f"at most {count_words(at_most, upper=True)}"
    return f"at least {count_words(at_least, upper=False)} and at most {count_words(at_most, upper=True)}"


def share_words(part: int, whole: int, *, upper: bool | None = None) -> str:
    """A part of a whole in per cent, with enough digits to be told from none and from all.

    Worked value: 999 of 1,000 is "99.9 %", 1,000 of 1,000 "100 %", and 1 of a million "0.0001 %".
    """
    rounding = ROUND_HALF_EVEN if upper is None else ROUND_CEILING if upper else ROUND_FLOOR
    if part in (0, whole):
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


def paragraph(places: Sequence[Mapping[str, Any]], digits: int, bounds: tuple[int, int]) -> str:
    """What a failure map says, in one paragraph.

    Args:
        places: the entries of the map.
        digits: of the task.
        bounds: how many problems are answered wrong, at least and at most.
    """
    total = 100**digits
    if not places:
        return f"No failure: each of the {count_words(total)} problems is answered right."
    ranked = sorted(places, key=lambda entry: (-int(entry["wrong"]["at_most"]), -entry["counterexamples"]))
    sentences = [_opening(ranked, total, bounds)]
    sentences += [_place_sentences(entry, digits) for entry in ranked[:_IN_FULL]]
    if rest := [str(entry["place"]) for entry in ranked[_IN_FULL:]]:
        bounds_of = [_pair(entry["wrong"]) for entry in ranked[_IN_FULL:]]
        least, most = max(each[0] for each in bounds_of), sum(each[1] for each in bounds_of)
        less = f"{bounds_words(least, most)} wrong" if most else "seen, not counted"
        sentences.append(f"The rest is at place{'s' * (len(rest) > 1)} {joined(rest)}: {less}.")
    return " ".join(sentences)


def _opening(places: Sequence[Mapping[str, Any]], total: int, bounds: tuple[int, int]) -> str:
    at_least, at_most = bounds
    of = f"of the {count_words(total)} problems"
    seen = sum(entry["counterexamples"] for entry in places)
    if at_most == 0:
        return f"{seen:,} problem{'s were' if seen > 1 else ' was'} seen to be answered wrong; nothing was counted."
    if at_least == at_most:
        return f"{bounds_words(*bounds)} {of} ({share_words(at_most, total)}) are answered wrong.".capitalize()
    if at_least:
        share = f"{share_words(at_least, total, upper=False)} to {share_words(at_most, total, upper=True)}"
        return f"{bounds_words(*bounds)} {of} ({share}) are answered wrong.".capitalize()
    found = f"{seen:,} of them were seen to be" if seen else "none was shown or seen to be"
    share = share_words(at_most, total, upper=True)
    return f"{bounds_words(*bounds)} {of} ({share}) are answered wrong; {found}.".capitalize()


def _place_sentences(entry: Mapping[str, Any], digits: int) -> str:
    """What is said about one place: what is not learned, how surely, and how much of the failures that is."""
    place, first = entry["place"], entry["descriptions"][0]
    at_least, at_most = _pair(entry["wrong"])
    name = f"Place {place}{', the leading digit' if place == digits else ', the last digit' if place == 0 else ''}"
    much = f" ({bounds_words(at_least, at_most)} wrong)" if at_most else " (seen, not counted)"
    rule = _rule(first)
    fails, problems = _pair(first["wrong"]), int(first["problems"])
    sure = fails[0] >= _NOT_LEARNED * problems if rule else at_least >= _NOT_LEARNED * 100**digits
    shown = "never" if sure else "partly" if at_least or entry["counterexamples"] else "open"
    said = f"{name}{much}: the model {_VERBS[_kind(entry), shown].format(place=place)}"
    if not rule:
        return f"{said}; nothing narrower describes where."
    said += f" in problems with {first['words']}."
    if at_most:
        said += f" Of the {count_words(problems)} problems like this {_fail_words(fails, problems)}, and they make "
        said += f"{_recall(entry)}."
    else:
        said += f" So have {first['counterexamples']:,} of the {entry['counterexamples']:,} counterexamples there."
    sharp = [each for each in entry["descriptions"][1:] if each["of"] == first["of"]]
    if sharp:
        sharper = sharp[0]
        extra = rule_words(_rule(sharper)[len(rule) :], digits)
        fail = _fail_words(_pair(sharper["wrong"]), int(sharper["problems"]))
        said += f" Of those that also have {extra} {fail}."
    if entry["matters"] and fails[0] < _NOT_LEARNED * problems:
        depends = [str(each["place"]) for each in entry["matters"][:3]]
        said += f" Which of them fail depends most on place{'s' * (len(depends) > 1)} {joined(depends)}."
    if (last := entry["descriptions"][-1])["of"] != first["of"]:
        said += f" Of the {entry['counterexamples']:,} counterexamples there {last['counterexamples']:,} have "
        said += f"{last['words']}."
    return said + _answer_sentence(entry)


def _fail_words(fails: tuple[int, int], problems: int) -> str:
    """How many of the problems under a rule fail."""
    if fails[0] == problems:
        return "every one fails"
    if fails[0] == fails[1]:
        return f"{share_words(fails[0], problems)} fail"
    if fails[0] == 0:
        return f"at most {share_words(fails[1], problems, upper=True)} fail"
    surely, may = share_words(fails[0], problems, upper=False), share_words(fails[1], problems, upper=True)
    return f"at least {surely} and at most {may} fail"


def _answer_sentence(entry: Mapping[str, Any]) -> str:
    """What is answered instead, by the counterexamples."""
    if not entry["answers"]:
        return ""
    top, counted = entry["answers"][0], sum(each["count"] for each in entry["answers"])
    carry = "a carry" if top["carry"] else "no carry"
    how = f"{top['answer']} is answered instead of {top['right']}, with {carry} into the place"
    if top["count"] == counted:
        return f" In {'the one counterexample' if counted == 1 else f'all {counted:,} counterexamples'} there {how}."
    return f" In {top['count']:,} of {counted:,} counterexamples there {how}."


def _recall(entry: Mapping[str, Any]) -> str:
    """How much of what fails at the place holds the first description."""
    first = entry["descriptions"][0]
    (here_least, here_most), (least, most) = _pair(first["wrong"]), _pair(entry["wrong"])
    if first["of"] == "wrong":
        part, of = (here_least, least), "surely fails there" if least < most else "fails there"
    else:
        part, of = (here_most, most), "fails or is open there"
    return f"all of what {of}" if part[0] == part[1] else f"{share_words(*part)} of what {of}"


def _kind(entry: Mapping[str, Any]) -> str:
    """Whether a carry is lost, or one is made up, in most of what is described; else "digit".

    Whether there is a carry into the place is counted on what fails, and what is answered on the counterexamples.
    """
    first = entry["descriptions"][0]
    bound = "at_least" if first["of"] == "wrong" else "at_most"
    fails, carried = int(first["wrong"][bound]), int(first["carried"][bound])
    answers = first["answers"] or entry["answers"]
    for kind, carry, step in (("lost", 1, -1), ("made up", 0, 1)):
        with_it = [each for each in answers if each["carry"] == carry]
        so = [each for each in with_it if each["answer"] == str((each["right"] + step) % 10)]
        counted = sum(each["count"] for each in (with_it if fails else answers))
        mostly = (carried if carry else fails - carried) >= _MOST * fails
        if counted and mostly and sum(each["count"] for each in so) >= _MOST * counted:
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


def _pair(bounds: Mapping[str, str]) -> tuple[int, int]:
    return int(bounds["at_least"]), int(bounds["at_most"])


def _rule(description: Mapping[str, Any]) -> Rule:
    return tuple(Condition(**condition) for condition in description["conditions"])

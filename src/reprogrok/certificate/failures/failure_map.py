"""What a proof leaves wrong or open, and problems seen to fail -> where a model of addition fails, and on what.

    wrong and open parts, counterexamples --by asked place--> how many problems, exactly, at least and at most
                                                          --> what they share (failure_rules), what is answered instead
                                                          --> the same in words (failure_words)

A part is wrong if every problem of it is answered wrong, open if that is not known; so a place fails at least on its
wrong problems and at most on these and the open ones, and so does everything that is said about a rule. What is
answered instead is counted on the counterexamples; a search found them, so they are no fair sample of what fails.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reprogrok.certificate.checker.counts import Part
from reprogrok.certificate.failures.rules import VAGUE, common_rule, sharp_rules
from reprogrok.certificate.failures.sets import Condition, ProblemSet, Rule, single
from reprogrok.certificate.failures.text import paragraph, rule_words

MATTERS = 0.1  # of the failing problems would have to hold something else at a place, for the place to be named
_MOSTLY_WRONG = 0.1  # what is shown wrong is described alone if it is no less than this share of what is open
_TOKEN = re.compile(r"<\w+>|.")  # of an answer as text


@dataclass(frozen=True)
class Seen:
    """A problem that the model was seen to get wrong.

    Attributes:
        a: first operand.
        b: second operand.
        place: of the wrong digit.
        answer: the token that stands there instead, as text; None where an earlier digit is wrong already, so that
            this one answers another question.
    """

    a: int
    b: int
    place: int
    answer: str | None

    @property
    def right(self) -> int:
        """The digit that should stand there."""
        return (self.a + self.b) // int(10**self.place) % 10

    @property
    def carry(self) -> int:
        """What is carried into the place."""
        unit = int(10**self.place)
        return (self.a % unit + self.b % unit) // unit


@dataclass(frozen=True)
class _Place:
    """All that is known about one answer digit.

    Attributes:
        wrong: problems that surely fail.
        unsettled: problems that may.
        seen: the counterexamples, in the order of `examples`.
        everything: all problems.
        examples: the counterexamples.
    """

    wrong: ProblemSet
    unsettled: ProblemSet
    seen: ProblemSet
    everything: ProblemSet
    examples: Sequence[Seen]


def failure_map(
    wrong: Iterable[Part],
    unsettled: Iterable[Part],
    digits: int,
    counterexamples: Sequence[Mapping[str, Any]] = (),
    bounds: tuple[int, int] | None = None,
) -> dict[str, Any]:
    """Every place that fails or may fail, the least significant first, and a paragraph about them; ready for JSON.

    Equal inputs give equal maps.

    Args:
        wrong: parts of which every problem is answered wrong; the parts of one place do not overlap.
        unsettled: parts of which that is not known; likewise, nor do they overlap wrong ones.
        digits: of the task.
        counterexamples: problems that were seen to be answered wrong, with `a`, `b`, `answer` and, if another than
            the first wrong one is meant, `place`, as certificates have them.
        bounds: how many problems are answered wrong at any place, at least and at most, where that was counted; else
            it is bounded by the places' own numbers.
    """
    seen = [example for entry in counterexamples if (example := read_seen(entry)) is not None]
    parts: dict[int, tuple[list[Part], list[Part]]] = {place: ([], []) for place in range(digits + 1)}
    for which, given in enumerate((wrong, unsettled)):
        for part in given:
            parts[part.block.place][which].append(part)
    places = []
    for place, (fails, may) in parts.items():
        examples = [example for example in seen if example.place == place]
        if fails or may or examples:
            known = _Place(
                ProblemSet.of_parts(fails, place, digits),
                ProblemSet.of_parts(may, place, digits),
                ProblemSet.of_parts([single(each.a, each.b, place, digits) for each in examples], place, digits),
                ProblemSet.everything(place, digits),
                examples,
            )
            places.append(_entry(place, digits, known, [*fails, *may]))
    if bounds is None:
        least = max((int(entry["wrong"]["at_least"]) for entry in places), default=0)
        bounds = least, min(sum(int(entry["wrong"]["at_most"]) for entry in places), 100**digits)
    return {"paragraph": paragraph(places, digits, bounds), "places": places}


def read_seen(entry: Mapping[str, Any]) -> Seen | None:
    """A counterexample as a certificate has it; None if it is answered right and no place is named.

    Worked value: 999 + 1 answered "0999" is first wrong at place 0, where 9 stands instead of 0.
    """
    a, b = int(entry["a"]), int(entry["b"])
    tokens = list(reversed(_TOKEN.findall(str(entry["answer"]))))
    right = [str((a + b) // 10**place % 10) for place in range(max(len(tokens), len(str(a + b))))]
    tokens += ["0"] * (len(right) - len(tokens))  # zeros in front may be left out
    first = next((place for place, (x, y) in enumerate(zip(tokens, right, strict=True)) if x != y), None)
    place = first if entry.get("place") is None else int(entry["place"])
    if place is None:
        return None
    return Seen(a, b, place, tokens[place] if place == first else None)


def _entry(place: int, digits: int, known: _Place, parts: Sequence[Part]) -> dict[str, Any]:
    """What is said about one place."""
    surely, may = known.wrong.size(), known.unsettled.size()
    failing, basis = known.seen, "counterexamples"
    if surely and surely >= _MOSTLY_WRONG * may:
        failing, basis = known.wrong, "wrong"
    elif parts:
        failing, basis = ProblemSet.of_parts(parts, place, digits), "wrong and open"
    sample = len(known.seen) if basis == "counterexamples" else None
    common = common_rule(failing, known.everything, sample)
    found = [(common, basis)]
    if sample is None and failing.size(common) < VAGUE * known.everything.size(common):
        found += [(rule, basis) for rule in sharp_rules(failing, known.everything, common)]
    if basis == "wrong and open" and known.examples:
        # A search made them: at far places they hold whatever it takes to fail, which says nothing of what else may.
        rule = common_rule(known.seen, known.everything, len(known.seen), near=True)
        if not set(rule) <= set(common):  # else it was said already
            found.append((rule, "counterexamples"))
    return {
        "place": place,
        "wrong": _bounds(known, ()),
        "counterexamples": len(known.examples),
        "answers": _answers(known.examples),
        "descriptions": [_description(rule, of, digits, known) for rule, of in found],
        "matters": [] if sample is not None else _matters(failing, known.everything, common),
    }


def _description(rule: Rule, of: str, digits: int, known: _Place) -> dict[str, Any]:
    """A rule, what it was found from, and its exact numbers."""
    place = known.everything.place
    inside = [example for example, holds in zip(known.examples, known.seen.holding(rule), strict=True) if holds]
    return {
        "of": of,
        "words": rule_words(rule, digits),
        "conditions": [{"what": each.what, "place": each.place, "low": each.low, "high": each.high} for each in rule],
        "problems": str(known.everything.size(rule)),
        "wrong": _bounds(known, rule),
        "carried": _bounds(known, (*rule, Condition("carry", place, 1, 1))),
        "counterexamples": len(inside),
        "answers": _answers(inside),
    }


def _bounds(known: _Place, rule: Rule) -> dict[str, str]:
    """How many problems under a rule are answered wrong."""
    surely = known.wrong.size(rule)
    return {"at_least": str(surely), "at_most": str(surely + known.unsettled.size(rule))}


def _answers(examples: Sequence[Seen]) -> list[dict[str, Any]]:
    """What was answered instead of what, by the carry into the place, the most frequent first."""
    counted = Counter((each.right, each.answer, each.carry) for each in examples if each.answer is not None)
    return [
        {"right": right, "answer": answer, "carry": carry, "count": count}
        for (right, answer, carry), count in sorted(counted.items(), key=lambda item: (-item[1], *map(str, item[0])))
    ]


def _matters(failing: ProblemSet, everything: ProblemSet, rule: Rule) -> list[dict[str, Any]]:
    """The far places whose two digits are drawn otherwise in failing problems, under the conditions on the near ones.

    The distance is the total variation: the share of the failing problems that would have to hold other digits there
    for them to be spread as in all problems. 0.99 if all of them hold the same pair; the greatest first.
    """
    near = tuple(condition for condition in rule if condition.place in everything.near)
    of_all = {place: sizes_V for what, place, sizes_V in everything.histograms(near) if what == "pair"}
    found = []
    for what, place, sizes_V in failing.histograms(near):
        if what == "pair" and place not in everything.near:
            apart = abs(sizes_V / sizes_V.sum() - of_all[place] / of_all[place].sum()).sum() / 2
            if apart >= MATTERS:
                found.append({"place": place, "distance": round(float(apart), 3)})
    return sorted(found, key=lambda entry: (-entry["distance"], entry["place"]))

"""Wrong and open parts, counterexamples -> conditions that describe them, place by place. Untrusted.

    parts of a place --rules--> conditions --FailureCounts (checker)--> conditions with exact counts

A search found the counterexamples, so they are no fair sample of the failing problems.
"""

from __future__ import annotations

from collections.abc import Sequence

from reprogrok.certificate.checker.counts import Part
from reprogrok.certificate.checker.failure_counts import FailureCounts
from reprogrok.certificate.checker.problem_sets import ProblemSet
from reprogrok.certificate.checker.statement import Counterexample, PlaceFailures, WrongBounds
from reprogrok.certificate.failures.rules import VAGUE, common_rule, sharp_rules
from reprogrok.certificate.single_problems import single

_MOSTLY_WRONG = 0.1  # wrong problems are described alone if they are at least this fraction of the open ones


def mine_failures(
    wrong: Sequence[Part], opened: Sequence[Part], digits: int, counterexamples: Sequence[Counterexample] = ()
) -> tuple[PlaceFailures, ...]:
    """Describe every place that fails or may fail, the least significant first. Equal inputs give equal results.

    Args:
        wrong: parts whose problems are all answered wrong; the parts of one place do not overlap.
        opened: undecided parts; they overlap neither each other nor wrong ones.
        digits: n, of each operand.
        counterexamples: problems that the model answered wrong.
    """
    places = {part.block.place for part in (*wrong, *opened)} | {example.place for example in counterexamples}
    return tuple(
        _mined(FailureCounts.of(place, digits, wrong, opened, counterexamples), wrong, opened)
        for place in sorted(places)
    )


def mostly_wrong(bounds: WrongBounds) -> bool:
    """Tell whether the failing problems of a place are its wrong ones; else they are the wrong and the open ones."""
    return bounds.at_least > 0 and bounds.at_least >= _MOSTLY_WRONG * (bounds.at_most - bounds.at_least)


def _mined(counts: FailureCounts, wrong: Sequence[Part], opened: Sequence[Part]) -> PlaceFailures:
    everything, examples = counts.everything, counts.counterexamples
    place, digits = everything.place, everything.digits
    seen = ProblemSet.of_parts([single(each.a, each.b, place, digits) for each in examples], place, digits)
    only_wrong = mostly_wrong(counts.bounds())
    failing = counts.wrong
    if not only_wrong:
        parts = [part for part in (*wrong, *opened) if part.block.place == place]
        if not parts:
            return PlaceFailures(place, (), counts.count(common_rule(seen, everything, len(seen))))
        failing = ProblemSet.of_parts(parts, place, digits)
    common = common_rule(failing, everything)
    rules = [common]
    if failing.size(common) < VAGUE * everything.size(common):
        rules += sharp_rules(failing, everything, common)
    shared = None
    if not only_wrong and examples:
        # The search chose their far digits such that they fail, which says nothing of other problems.
        rule = common_rule(seen, everything, len(seen), near=True)
        if not set(rule) <= set(common):  # else the common rule says it already
            shared = counts.count(rule)
    return PlaceFailures(place, tuple(map(counts.count, rules)), shared)

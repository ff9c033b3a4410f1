"""Confirmed parts and counterexamples of one place -> exact counts of the problems that meet stated conditions.

A wrong part has only wrong problems, of an open one nothing is known: a condition is met by at least the wrong
problems that meet it, and by at most these and the open ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from reprogrok.certificate.checker.counts import Part
from reprogrok.certificate.checker.problem_sets import DigitCondition, ProblemSet, Rule, meets
from reprogrok.certificate.checker.statement import Counterexample, FailureCondition, WrongBounds


@dataclass(frozen=True)
class FailureCounts:
    """The problems of one place.

    Attributes:
        wrong: problems that are proved wrong.
        open: problems of open leaves.
        everything: all problems.
        counterexamples: those whose first wrong digit is the place's.
    """

    wrong: ProblemSet
    open: ProblemSet
    everything: ProblemSet
    counterexamples: tuple[Counterexample, ...]

    @staticmethod
    def of(
        place: int, digits: int, wrong: Iterable[Part], opened: Iterable[Part], examples: Sequence[Counterexample]
    ) -> FailureCounts:
        """Take what concerns a place from all wrong parts, open parts and counterexamples."""
        wrong_set, open_set = (
            ProblemSet.of_parts([part for part in parts if part.block.place == place], place, digits)
            for parts in (wrong, opened)
        )
        seen = tuple(example for example in examples if example.place == place)
        return FailureCounts(wrong_set, open_set, ProblemSet.everything(place, digits), seen)

    def count(self, rule: Rule) -> FailureCondition:
        """Count the problems that meet all conditions, each of which is known at the place."""
        carried = (*rule, DigitCondition("carry", self.everything.place, 1, 1))
        return FailureCondition(
            rule,
            self.everything.size(rule),
            self.bounds(rule),
            self.bounds(carried) if self.everything.place else WrongBounds(0, 0),
            sum(meets(rule, example.a, example.b) for example in self.counterexamples),
        )

    def bounds(self, rule: Rule = ()) -> WrongBounds:
        """Bound how many problems that meet all conditions are wrong at the place."""
        surely = self.wrong.size(rule)
        return WrongBounds(surely, surely + self.open.size(rule))

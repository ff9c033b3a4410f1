"""Confirmed parts and counterexamples of one place -> exact counts of the problems that meet stated conditions.

A wrong part has only wrong problems, an open one unknown ones: at least the wrong problems that meet a condition are
wrong, and at most these and the open ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from reprogrok.certificate.checker.counts import Part
from reprogrok.certificate.checker.problem_sets import DigitCondition, ProblemSet, Rule, meets
from reprogrok.certificate.checker.statement import Counterexample, FailureCondition, WrongBounds


@dataclass(frozen=True)
class FailureCounts:
    """The proved wrong, open and all problems of one place, and the counterexamples whose first wrong digit it is."""

    wrong: ProblemSet
    open: ProblemSet
    everything: ProblemSet
    counterexamples: tuple[Counterexample, ...]

    @staticmethod
    def of(
        place: int, digits: int, wrong: Iterable[Part], opened: Iterable[Part], examples: Sequence[Counterexample]
    ) -> FailureCounts:
        """Select the parts and counterexamples of one place."""
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
        """Bound the number of problems that meet all conditions and are wrong at the place."""
        surely = self.wrong.size(rule)
        return WrongBounds(surely, surely + self.open.size(rule))

"""What a look at a gate before the run comes to: one check per criterion, condition and requirement, and its notes.

Nothing here looks; `preflight_criteria` and `preflight_requirements` fill these in, and what follows from them is a
property, so that no two parts can disagree.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from reprogrok.gates.criteria import Condition, Criterion, Requirement
from reprogrok.gates.verdict import Outcome
from reprogrok.gates.witness import Witness
from reprogrok.metrics.bounds import Bounds


class Kind(StrEnum):
    """What can be wrong with a condition, a criterion or a requirement before any data."""

    IMPOSSIBLE = "IMPOSSIBLE"
    VACUOUS = "VACUOUS"
    UNMEASURED = "UNMEASURED"
    FAILS = "FAILS"
    NOT_SHOWN = "NOT_SHOWN"
    UNINFORMATIVE = "UNINFORMATIVE"
    OUT_OF_REACH = "OUT_OF_REACH"
    REMEMBERED = "REMEMBERED"

    @property
    def stops(self) -> bool:
        """Is it certain, so that there is no use in starting? The others are expectations."""
        return self not in {Kind.UNINFORMATIVE, Kind.OUT_OF_REACH, Kind.REMEMBERED}


@dataclass(frozen=True)
class Note:
    """One finding.

    Attributes:
        kind: what it is.
        where: id of the criterion, or kind of the requirement.
        arithmetic: why, with the numbers, as one sentence.
        line: in the criteria file.
    """

    kind: Kind
    where: str
    arithmetic: str
    line: int | None = None


@dataclass(frozen=True)
class ConditionCheck:
    """One condition alone.

    Attributes:
        condition: what is asked.
        passes: a series that it calls HOLDS, were it the only one; None if there is none, or none was found.
        fails: a series that it calls FAILS; None likewise.
        counted: its limit as a count of examples, where values are k/n.
        notes: what is wrong with it.
    """

    condition: Condition
    passes: Witness | None
    fails: Witness | None
    counted: str | None
    notes: tuple[Note, ...]


@dataclass(frozen=True)
class CriterionCheck:
    """One criterion: all of its conditions at once, in this run.

    Attributes:
        criterion: what is asked.
        bounds: of its metric in this run.
        measured: points of its grid at which the run will measure it, as it asks for.
        conditions: one each.
        passes: a series that meets all conditions; None if there is none, or none was found.
        notes: what is wrong with the whole of it.
    """

    criterion: Criterion
    bounds: Bounds
    measured: int
    conditions: tuple[ConditionCheck, ...]
    passes: Witness | None
    notes: tuple[Note, ...]

    @property
    def can_pass(self) -> bool:
        """Is there a series that the run could log and that meets every condition?"""
        return self.passes is not None and self.measured == len(self.criterion.grid)

    @property
    def can_fail(self) -> bool:
        """Is there a series that the run could log and that breaks some condition?"""
        return self.measured > 0 and any(check.fails is not None for check in self.conditions)


@dataclass(frozen=True)
class RequirementCheck:
    """One requirement.

    Attributes:
        requirement: what is asked.
        decided: what it came to, if that is known before the training; else None.
        passes: when it holds, in words; None if it cannot.
        fails: when it fails, in words; None if it cannot.
        notes: what is wrong with it.
    """

    requirement: Requirement
    decided: Outcome | None
    passes: str | None
    fails: str | None
    notes: tuple[Note, ...]

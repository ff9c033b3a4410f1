"""The results of a preflight: one check per criterion, condition and requirement, each with its notes.

preflight.criteria, preflight.requirements --checks--> preflight.preflight, documents, tables
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from reprogrok.gates.criteria import Condition, Criterion, Requirement
from reprogrok.gates.preflight.witnesses import Witness
from reprogrok.gates.verdict import Outcome
from reprogrok.metrics.bounds import Bounds


class NoteKind(StrEnum):
    """The kinds of notes on a condition, a criterion or a requirement before any data."""

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
        """Whether it is certain, so that the run should not start; the others are expectations."""
        return self not in {NoteKind.UNINFORMATIVE, NoteKind.OUT_OF_REACH, NoteKind.REMEMBERED}


@dataclass(frozen=True)
class PreflightNote:
    """One note on a part of a gate.

    Attributes:
        where: id of the criterion, or kind of the requirement.
        arithmetic: the reason with its numbers, as one sentence.
        line: 1-based line in the criteria file.
    """

    kind: NoteKind
    where: str
    arithmetic: str
    line: int | None = None


@dataclass(frozen=True)
class ConditionCheck:
    """One condition alone.

    Attributes:
        passes: a series on which it holds; None if none was found.
        fails: a series on which it fails; None if none was found.
        counted: its limit as a count of examples, where values are k/n.
    """

    condition: Condition
    passes: Witness | None
    fails: Witness | None
    counted: str | None
    notes: tuple[PreflightNote, ...]


@dataclass(frozen=True)
class CriterionCheck:
    """One criterion: all of its conditions at once, in this run.

    Attributes:
        bounds: bounds of its metric in this run.
        measured: points of its grid at which the run will measure its metric by its definition.
        passes: a series that meets all conditions; None if none was found.
        notes: notes on the criterion as a whole.
    """

    criterion: Criterion
    bounds: Bounds
    measured: int
    conditions: tuple[ConditionCheck, ...]
    passes: Witness | None
    notes: tuple[PreflightNote, ...]

    @property
    def can_pass(self) -> bool:
        """Whether a series that the run could log meets every condition."""
        return self.passes is not None and self.measured == len(self.criterion.grid)

    @property
    def can_fail(self) -> bool:
        """Whether a series that the run could log breaks some condition."""
        return self.measured > 0 and any(check.fails is not None for check in self.conditions)


@dataclass(frozen=True)
class RequirementCheck:
    """One requirement.

    Attributes:
        decided: its outcome, if known before training; else None.
        passes: the case in which it holds, as text; None if there is none.
        fails: the case in which it fails, as text; None if there is none.
    """

    requirement: Requirement
    decided: Outcome | None
    passes: str | None
    fails: str | None
    notes: tuple[PreflightNote, ...]

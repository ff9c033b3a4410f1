"""The verdict of a gate on a run: one object behind the table, the JSON, the CI formats and the exit code.

    GateVerdict GO / NO_GO / INCONCLUSIVE
      assessments   per criterion, before any data: the metric's bounds, and which conditions are impossible or vacuous
      replicas      per seed: one CriterionResult per criterion, each with one ConditionResult per condition, and one
                    RequirementResult per requirement
      registration  whether the criteria were registered before training; a GO by amended ones is withheld

`gates.gate` sets the outcomes; everything that follows from them is a property.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from pathlib import Path

from reprogrok.errors import ExitCode
from reprogrok.gates.criteria import Condition, Criterion, Gate, Requirement
from reprogrok.gates.operators import Feasibility, Reading
from reprogrok.metrics.bounds import Bounds


class Outcome(StrEnum):
    """The outcome of a condition, a criterion or a requirement on one replica."""

    HOLDS = "HOLDS"
    FAILS = "FAILS"
    INCONCLUSIVE = "INCONCLUSIVE"


class GateDecision(StrEnum):
    """The decision of a gate."""

    GO = "GO"
    NO_GO = "NO_GO"
    INCONCLUSIVE = "INCONCLUSIVE"

    @property
    def exit_code(self) -> ExitCode:
        """0 for GO, 1 for NO_GO, 3 for INCONCLUSIVE."""
        return {"GO": ExitCode.PASS, "NO_GO": ExitCode.FAIL, "INCONCLUSIVE": ExitCode.INCONCLUSIVE}[self.value]


class RegistrationStatus(StrEnum):
    """Whether the criteria were fixed before the training that they judge."""

    REGISTERED = "REGISTERED"
    AMENDED = "AMENDED"
    UNREGISTERED = "UNREGISTERED"


def worst(outcomes: Iterable[Outcome]) -> Outcome:
    """Return the worst outcome: FAILS, then INCONCLUSIVE, then HOLDS; INCONCLUSIVE if there is none."""
    order = (Outcome.HOLDS, Outcome.INCONCLUSIVE, Outcome.FAILS)
    return max(outcomes, key=order.index, default=Outcome.INCONCLUSIVE)


@dataclass(frozen=True)
class ConditionResult:
    """One condition on one replica.

    Attributes:
        outcome: by the operator's quantifier; HOLDS only if the data are complete.
        worst: the reading that decides, the earliest on ties: the one with the smallest margin, or the largest where
            one reading is enough or an interval lies beyond the limit; None if nothing decides.
        margin: its signed margin in the metric's unit; negative fails, zero fails under a strict limit.
        first_violation: the earliest reading that breaks the limit, where a single reading can; else None.
        note: origin of the readings, where it is not plain; for a slope, its estimate and interval.
    """

    condition: Condition
    outcome: Outcome
    worst: Reading | None = None
    margin: Decimal | None = None
    first_violation: Reading | None = None
    note: str = ""


@dataclass(frozen=True)
class CriterionResult:
    """One criterion on one replica.

    Attributes:
        measured: points of the expected grid that carry a usable value.
        off_grid: usable points in the window beside the grid; judged, but they fill no hole.
        reasons: why the data do not suffice for HOLDS; empty when they do.
    """

    criterion: Criterion
    conditions: tuple[ConditionResult, ...]
    measured: int
    off_grid: int
    reasons: tuple[str, ...]

    @property
    def expected(self) -> int:
        """Points in the expected grid."""
        return len(self.criterion.grid)

    @property
    def outcome(self) -> Outcome:
        """The worst of the conditions."""
        return worst(result.outcome for result in self.conditions)


@dataclass(frozen=True)
class RequirementResult:
    """One requirement on one replica.

    Attributes:
        outcome: FAILS if the data break it, INCONCLUSIVE if they do not suffice, else HOLDS.
        value: the fraction compared with the limit; for `not-below-chance` the corrected probability.
        step: the step of the value; None for a property of the split.
        numbers: the value as one clause, with the counts behind it; empty if there is nothing to show.
        reasons: why the data do not suffice for HOLDS; empty when they do.
    """

    requirement: Requirement
    outcome: Outcome
    value: float | None = None
    step: int | None = None
    numbers: str = ""
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class ReplicaResult:
    """One replica: its seed, and one result per criterion and per requirement, in the order of the gate."""

    seed: int
    criteria: tuple[CriterionResult, ...]
    requires: tuple[RequirementResult, ...] = ()

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        """Outcomes of the criteria, then of the requirements."""
        return (*(result.outcome for result in self.criteria), *(result.outcome for result in self.requires))


@dataclass(frozen=True)
class FeasibilityNote:
    """A condition that no value can meet (IMPOSSIBLE) or break (VACUOUS), with the arithmetic that shows it."""

    criterion: Criterion
    condition: Condition
    kind: Feasibility
    arithmetic: str


@dataclass(frozen=True)
class Assessment:
    """A criterion before any data: the bounds of its metric in this run, and the conditions that cannot decide."""

    criterion: Criterion
    bounds: Bounds
    notes: tuple[FeasibilityNote, ...]


@dataclass(frozen=True)
class RegistrationCheck:
    """The criteria of a verdict, compared with those that the run registered before training.

    Attributes:
        difference: for AMENDED, a unified diff of the two contents, line by line; empty if only comments or layout of
            the file were edited.
    """

    status: RegistrationStatus
    note: str
    registered_sha256: str | None = None
    difference: tuple[str, ...] = ()

    @property
    def amended(self) -> bool:
        """Whether the content of the criteria differs from the registered content."""
        return bool(self.difference)


WITHHELD = "GO withheld: the criteria were amended after training began (--accept-amended gives it)"


@dataclass(frozen=True)
class GateVerdict:
    """A gate judged on a run.

    Attributes:
        layout: the layout that the run was read from.
        assessments: one per criterion, in the order of the gate.
        replicas: one per seed, in order of seeds; at least one.
        fingerprint: the run's last fingerprint; earlier ones stand under its key `earlier`. Empty if not known.
        accept_amended: whether a GO is given although the criteria were amended.
    """

    gate: Gate
    run: Path
    experiment: str
    layout: str
    registration: RegistrationCheck
    assessments: tuple[Assessment, ...]
    replicas: tuple[ReplicaResult, ...]
    fingerprint: Mapping[str, object] = field(default_factory=dict)
    accept_amended: bool = False

    @property
    def outcome(self) -> Outcome:
        """The worst of all criteria and requirements of all replicas."""
        return worst(outcome for replica in self.replicas for outcome in replica.outcomes)

    @property
    def withheld(self) -> str | None:
        """Why a GO is not given although everything holds; None if there is no such reason."""
        amended = self.registration.amended and not self.accept_amended
        return WITHHELD if amended and self.outcome is Outcome.HOLDS else None

    @property
    def amendment_accepted(self) -> bool:
        """Whether the criteria were amended and the amendment was accepted."""
        return self.accept_amended and self.registration.amended

    @property
    def decision(self) -> GateDecision:
        """GO if everything holds and nothing withholds it, NO_GO if anything fails, else INCONCLUSIVE."""
        if self.outcome is Outcome.FAILS:
            return GateDecision.NO_GO
        return GateDecision.GO if self.outcome is Outcome.HOLDS and not self.withheld else GateDecision.INCONCLUSIVE

    @property
    def exit_code(self) -> ExitCode:
        """0 for GO, 1 for NO_GO, 3 for INCONCLUSIVE."""
        return self.decision.exit_code

    @property
    def notes(self) -> tuple[FeasibilityNote, ...]:
        """Every impossible or vacuous condition of the gate."""
        return tuple(note for assessment in self.assessments for note in assessment.notes)

    def of_criterion(self, index: int) -> tuple[tuple[int, CriterionResult], ...]:
        """Return (seed, result) of criterion number `index` for every replica."""
        return tuple((replica.seed, replica.criteria[index]) for replica in self.replicas)

    def of_requirement(self, index: int) -> tuple[tuple[int, RequirementResult], ...]:
        """Return (seed, result) of requirement number `index` for every replica."""
        return tuple((replica.seed, replica.requires[index]) for replica in self.replicas)

"""One object per judgement: what the table, the JSON, the CI formats and the exit code are all made from.

    Verdict GO / NO_GO / INCONCLUSIVE
      assessments   per criterion, before any data: the metric's bounds, and which conditions are impossible or vacuous
      replicas      per seed: one CriterionResult per criterion, each with one ConditionResult per condition, and one
                    RequirementResult per requirement
      registration  whether the run knew these criteria before it trained; a GO by amended ones is withheld

Nothing here judges; the outcomes are set by `gates.gate`, and what can be derived from them is a property, so that
no two parts of a verdict can disagree.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any

from reprogrok.errors import ExitCode
from reprogrok.gates.criteria import Condition, Criterion, Gate, Requirement
from reprogrok.gates.operators import Feasibility, Reading
from reprogrok.metrics.bounds import Bounds


class Outcome(StrEnum):
    """What a condition or a criterion came to, for one replica."""

    HOLDS = "HOLDS"
    FAILS = "FAILS"
    INCONCLUSIVE = "INCONCLUSIVE"


class Decision(StrEnum):
    """What a gate came to."""

    GO = "GO"
    NO_GO = "NO_GO"
    INCONCLUSIVE = "INCONCLUSIVE"


class RegistrationStatus(StrEnum):
    """Whether the criteria were fixed before the training that they judge."""

    REGISTERED = "REGISTERED"
    AMENDED = "AMENDED"
    UNREGISTERED = "UNREGISTERED"


def worst(outcomes: Iterable[Outcome]) -> Outcome:
    """A violation that was seen outweighs everything, then missing data; no outcome at all is missing data."""
    seen = set(outcomes)
    if Outcome.FAILS in seen:
        return Outcome.FAILS
    return Outcome.HOLDS if seen == {Outcome.HOLDS} else Outcome.INCONCLUSIVE


@dataclass(frozen=True)
class ConditionResult:
    """One condition on one replica.

    Attributes:
        condition: what was asked.
        outcome: as the operator's quantifier says; HOLDS only if the data are complete.
        worst: the reading that decides, the earliest on ties: the one with the smallest margin, or the largest where
            one reading is enough or an interval lies beyond the limit; None if nothing decides.
        margin: its signed margin in the metric's unit; negative fails, zero fails under a strict limit.
        first_violation: the earliest reading that breaks the limit, where one reading does; else None.
        note: what the readings were made from, where they do not say it themselves.
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
        criterion: what was asked.
        conditions: one result per condition, in the order of the criterion.
        seen: points of the expected grid that carry a usable value.
        off_grid: usable points in the window beside the grid; judged, but they fill no hole.
        reasons: why the data do not suffice for HOLDS; empty when they do.
    """

    criterion: Criterion
    conditions: tuple[ConditionResult, ...]
    seen: int
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
        requirement: what was asked.
        outcome: FAILS if it was seen to be broken, INCONCLUSIVE if it cannot be told, else HOLDS.
        value: what was compared with the limit: a share, or for `not-below-chance` the corrected probability.
        step: where; None for what is a property of the split.
        numbers: the same as one clause, with what it was counted from; empty if there is nothing to show.
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
        """Those of the criteria, then those of the requirements."""
        return (*(result.outcome for result in self.criteria), *(result.outcome for result in self.requires))


@dataclass(frozen=True)
class Finding:
    """A condition that cannot decide anything, whatever a run does.

    Attributes:
        criterion: where it stands.
        condition: which one.
        kind: IMPOSSIBLE (no value can meet it) or VACUOUS (no value can break it).
        arithmetic: why, with the numbers.
    """

    criterion: Criterion
    condition: Condition
    kind: Feasibility
    arithmetic: str


@dataclass(frozen=True)
class Assessment:
    """What is known of a criterion before any value is looked at: the bounds of its metric in this run."""

    criterion: Criterion
    bounds: Bounds
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class RegistrationCheck:
    """The criteria judged by, beside those that the run stored before it trained.

    Attributes:
        status: what came out.
        note: the same as one clause.
        registered_sha256: hash of the criteria file that the run stored, if it did.
        difference: for AMENDED, a unified diff of the two contents, line by line; empty if only comments or layout of
            the file were edited.
    """

    status: RegistrationStatus
    note: str
    registered_sha256: str | None = None
    difference: tuple[str, ...] = ()

    @property
    def amended(self) -> bool:
        """Whether the criteria that judge say something else than those that were registered."""
        return bool(self.difference)


WITHHELD = "GO withheld: the criteria were amended after training began (--accept-amended gives it)"


@dataclass(frozen=True)
class Verdict:
    """A gate judged on a run.

    Attributes:
        gate: the criteria.
        run: the run's folder.
        experiment: the name that the run goes by.
        layout: the layout it was read from.
        registration: whether the run knew these criteria.
        assessments: one per criterion, in the order of the gate.
        replicas: one per seed, in order of seeds; at least one.
        fingerprint: what the run ended on; `earlier` in it names what it ran on before. Empty if that is not known.
        accept_amended: whoever asked for the verdict wants a GO although the criteria were amended.
    """

    gate: Gate
    run: Path
    experiment: str
    layout: str
    registration: RegistrationCheck
    assessments: tuple[Assessment, ...]
    replicas: tuple[ReplicaResult, ...]
    fingerprint: Mapping[str, Any] = field(default_factory=dict)
    accept_amended: bool = False

    @property
    def outcome(self) -> Outcome:
        """The worst of all criteria and requirements of all replicas."""
        return worst(outcome for replica in self.replicas for outcome in replica.outcomes)

    @property
    def withheld(self) -> str | None:
        """Why a GO is not given although everything holds; None if there is no such reason."""
        held_back = self.outcome is Outcome.HOLDS and self.registration.amended and not self.accept_amended
        return WITHHELD if held_back else None

    @property
    def amendment_accepted(self) -> bool:
        """The criteria were amended, and whoever asked for the verdict accepted that."""
        return self.accept_amended and self.registration.amended

    @property
    def decision(self) -> Decision:
        """GO if everything holds and nothing withholds it, NO_GO if anything fails, else INCONCLUSIVE."""
        if self.withheld:
            return Decision.INCONCLUSIVE
        return {
            Outcome.HOLDS: Decision.GO,
            Outcome.FAILS: Decision.NO_GO,
            Outcome.INCONCLUSIVE: Decision.INCONCLUSIVE,
        }[self.outcome]

    @property
    def exit_code(self) -> ExitCode:
        """0 for GO, 1 for NO_GO, 3 for INCONCLUSIVE."""
        return {
            Decision.GO: ExitCode.PASS,
            Decision.NO_GO: ExitCode.FAIL,
            Decision.INCONCLUSIVE: ExitCode.INCONCLUSIVE,
        }[self.decision]

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Every impossible or vacuous condition of the gate."""
        return tuple(finding for assessment in self.assessments for finding in assessment.findings)

    def of_criterion(self, index: int) -> tuple[tuple[int, CriterionResult], ...]:
        """(seed, result) of criterion number `index` for every replica."""
        return tuple((replica.seed, replica.criteria[index]) for replica in self.replicas)

    def of_requirement(self, index: int) -> tuple[tuple[int, RequirementResult], ...]:
        """(seed, result) of requirement number `index` for every replica."""
        return tuple((replica.seed, replica.requires[index]) for replica in self.replicas)

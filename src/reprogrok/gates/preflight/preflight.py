"""A gate and an experiment -> whether each criterion can pass and can fail, and why, before any training.

    experiment --plan_run--> definitions, steps and facts of the run, the audit of its split
    criterion --bounds--> IMPOSSIBLE, VACUOUS   --steps--> UNMEASURED   --ceilings of the split--> UNINFORMATIVE, ...
              --witnesses--> a series judged HOLDS and one judged FAILS, or NOT_SHOWN
    requirement --audit, steps--> decided now (the answers can be learned, or not), or both possible outcomes

Certain findings stop the run. Expectations about learners that give only answers seen in training stop nothing: such a
criterion may be useful when the expectation is wrong, but its holding is not evidence of success.
"""

from __future__ import annotations

from dataclasses import dataclass

from reprogrok.errors import ExitCode
from reprogrok.gates.criteria import Gate
from reprogrok.gates.preflight.checks import CriterionCheck, PreflightNote, RequirementCheck
from reprogrok.gates.preflight.criteria import check_criterion
from reprogrok.gates.preflight.planned_run import PlannedRun, plan_run
from reprogrok.gates.preflight.requirements import check_requirement
from reprogrok.gates.verdict import GateDecision
from reprogrok.params import Params
from reprogrok.spec.experiment import Experiment


@dataclass(frozen=True)
class Preflight:
    """A gate checked against a planned run: one check per criterion and per requirement, in the order of the gate."""

    gate: Gate
    planned: PlannedRun
    criteria: tuple[CriterionCheck, ...]
    requirements: tuple[RequirementCheck, ...]

    @property
    def notes(self) -> tuple[PreflightNote, ...]:
        """All notes, those of requirements first, because the worth of the criteria depends on them."""
        of_requirements = [note for check in self.requirements for note in check.notes]
        grouped = [(check.notes, *(part.notes for part in check.conditions)) for check in self.criteria]
        of_criteria = [note for groups in grouped for notes in groups for note in notes]
        return (*of_requirements, *of_criteria)

    @property
    def decision(self) -> GateDecision:
        """NO_GO if any note stops the run, else GO."""
        return GateDecision.NO_GO if any(note.kind.stops for note in self.notes) else GateDecision.GO

    @property
    def exit_code(self) -> ExitCode:
        """0 for GO, 1 for NO_GO."""
        return self.decision.exit_code


def preflight(gate: Gate, experiment: Experiment, params: Params) -> Preflight:
    """Check that each criterion and requirement of a gate can pass and can fail in a run of an experiment.

    On v2b: entropy over 8 causal positions is at most ln(8!)/8 = 1.3256 nats, so "always > 2" is IMPOSSIBLE.

    Raises:
        InputError: the experiment's split is not possible; at its place in `params.yaml`.
    """
    with params.located(experiment.name):
        planned = plan_run(experiment)
    return Preflight(
        gate,
        planned,
        tuple(check_criterion(criterion, planned) for criterion in gate.criteria),
        tuple(check_requirement(requirement, planned) for requirement in gate.requires),
    )

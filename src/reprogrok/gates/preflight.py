"""A gate and an experiment -> what each criterion can do, before anything is trained: pass, fail, and why.

    experiment --plan--> what the run will log, where, its facts, the audit of its split
    criterion --bounds--> IMPOSSIBLE, VACUOUS   --plan's steps--> UNMEASURED   --split's ceilings--> UNINFORMATIVE, ...
              --witness--> a series that it calls HOLDS and one that it calls FAILS, or NOT_SHOWN
    requirement --audit, plan--> decided now (the answers can be learned, or not), or what it can still come to

What is certain stops the run: a condition that no value meets or none breaks, one that the run will not measure, a
requirement that fails already. What is expected of any learner that gives only answers it has seen is no law, so it is
printed loudly and stops nothing: a criterion may be worth having for the day on which the unexpected happens, but it
must not be read as a success. Where no witness is found and no arithmetic says that there is none, the gate is not
shown to be able to decide, and that stops as well. Decision and exit code come from these findings alone.
"""

from __future__ import annotations

from dataclasses import dataclass

from reprogrok.errors import ExitCode
from reprogrok.gates.criteria import Gate
from reprogrok.gates.planned import Plan, plan
from reprogrok.gates.preflight_criteria import check_criterion
from reprogrok.gates.preflight_findings import CriterionCheck, Note, RequirementCheck
from reprogrok.gates.preflight_requirements import check_requirement
from reprogrok.gates.verdict import Decision
from reprogrok.params import Params
from reprogrok.spec import Experiment


@dataclass(frozen=True)
class Preflight:
    """A gate, seen from before the run.

    Attributes:
        gate: the criteria.
        plan: what the run will log.
        criteria: one check each, in the order of the gate.
        requirements: likewise.
    """

    gate: Gate
    plan: Plan
    criteria: tuple[CriterionCheck, ...]
    requirements: tuple[RequirementCheck, ...]

    @property
    def notes(self) -> tuple[Note, ...]:
        """Everything that was found: requirements first, for they say what the criteria are worth."""
        of_requirements = [note for check in self.requirements for note in check.notes]
        of_criteria = [
            note
            for check in self.criteria
            for note in (*check.notes, *(note for condition in check.conditions for note in condition.notes))
        ]
        return (*of_requirements, *of_criteria)

    @property
    def decision(self) -> Decision:
        """NO_GO if anything certain stands against the run, else GO."""
        return Decision.NO_GO if any(note.kind.stops for note in self.notes) else Decision.GO

    @property
    def exit_code(self) -> ExitCode:
        """0 for GO, 1 for NO_GO."""
        return ExitCode.PASS if self.decision is Decision.GO else ExitCode.FAIL


def preflight(gate: Gate, experiment: Experiment, params: Params) -> Preflight:
    """Show for each criterion and requirement of a gate that it can pass and that it can fail in a run.

    On v2b: entropy over 8 causal positions is at most ln(8!)/8 = 1.3256 nats, so "always > 2" is IMPOSSIBLE.

    Raises:
        InputError: the experiment's split cannot be made; at its place in `params.yaml`.
    """
    with params.located(experiment.name):
        planned = plan(experiment)
    return Preflight(
        gate,
        planned,
        tuple(check_criterion(criterion, planned) for criterion in gate.criteria),
        tuple(check_requirement(requirement, planned) for requirement in gate.requires),
    )

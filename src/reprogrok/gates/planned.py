"""What a run of an experiment is going to log, before it starts: experiment -> definitions, steps, facts, split.

    Experiment --plan--> Plan: metric -> definition id, metric -> steps, facts that bound metrics, audit of the split

`metrics.logged` says it to the trainer as well; a test holds the steps to those of a run. Addition needs no torch
here; the equations of a modular task do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reprogrok.metrics.logged import definitions_of, facts_of, facts_of_equations
from reprogrok.metrics.registry import ANALYSED
from reprogrok.spec import Experiment, ModularTask

if TYPE_CHECKING:
    from reprogrok.tasks.split_audit import SplitAudit


@dataclass(frozen=True)
class Plan:
    """What a run of an experiment will hold.

    Attributes:
        experiment: what would be trained.
        definitions: metric -> definition id, as the run's spec.json will have them.
        facts: what bounds the metrics, as the run's spec.json will have it.
        analysed: the metrics that are taken only at the analyses.
        split: of a modular task, what its split lets a learner see; None for addition, whose answers are written
            digit by digit with digits that all occur in training.
    """

    experiment: Experiment
    definitions: Mapping[str, str]
    facts: Mapping[str, int]
    analysed: frozenset[str]
    split: SplitAudit | None

    def steps(self, metric: str) -> tuple[int, ...]:
        """The steps at which a metric will have a value; none if the run does not log it."""
        if metric not in self.definitions:
            return ()
        steps = self.experiment.evaluation_steps()
        return tuple(filter(self.experiment.analyses, steps)) if metric in self.analysed else steps


def plan(experiment: Experiment) -> Plan:
    """Say what a run of this experiment will log.

    Raises:
        InputError: its operation, split or metrics cannot be; the field is inside the experiment.
    """
    if not isinstance(experiment.task, ModularTask):
        return Plan(experiment, definitions_of(experiment), facts_of(experiment), frozenset(), None)
    # Only here, because the equations bring numpy and torch.
    from reprogrok.tasks.split_audit import audit_split  # noqa: PLC0415

    split = audit_split(experiment.task, block=experiment.block)
    facts = facts_of_equations(experiment, experiment.task, split)
    return Plan(experiment, definitions_of(experiment), facts, frozenset(ANALYSED), split)

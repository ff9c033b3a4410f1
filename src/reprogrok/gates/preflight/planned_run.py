"""A run before it starts: experiment -> the definitions, steps and facts that it will log, and the audit of its split.

    Experiment --plan_run--> PlannedRun: metric -> definition id, metric -> steps, facts that bound metrics, split

`metrics.logged` states the same to the trainer; a test compares the steps with those of a run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from reprogrok.metrics.logged import definitions_of, facts_of, facts_of_equations
from reprogrok.metrics.registry import ANALYSED
from reprogrok.spec.experiment import Experiment
from reprogrok.spec.task import ModularTask
from reprogrok.tasks.split_audit import SplitAudit, audit_split


@dataclass(frozen=True)
class PlannedRun:
    """The contents of a run of an experiment.

    Attributes:
        definitions: metric -> definition id, as in the run's spec.json.
        facts: the facts that bound the metrics, as in the run's spec.json.
        analysed: the metrics that are logged only at analyses.
        split: the audit of a modular task's split; None for addition, whose answers are written digit by digit with
            digits that all occur in training.
    """

    experiment: Experiment
    definitions: Mapping[str, str]
    facts: Mapping[str, int]
    analysed: frozenset[str]
    split: SplitAudit | None

    def steps(self, metric: str) -> tuple[int, ...]:
        """Return the steps at which a metric will have a value; none if the run does not log it."""
        if metric not in self.definitions:
            return ()
        steps = self.experiment.evaluation_steps()
        return tuple(filter(self.experiment.analyses, steps)) if metric in self.analysed else steps


def plan_run(experiment: Experiment) -> PlannedRun:
    """Return the contents of a run of this experiment.

    Raises:
        InputError: its operation, split or metrics are not possible; the field is inside the experiment.
    """
    definitions = definitions_of(experiment)
    if not isinstance(experiment.task, ModularTask):
        return PlannedRun(experiment, definitions, facts_of(experiment), frozenset(), None)
    split = audit_split(experiment.task, block=experiment.block)
    facts = facts_of_equations(experiment, experiment.task, split)
    return PlannedRun(experiment, definitions, facts, frozenset(ANALYSED), split)

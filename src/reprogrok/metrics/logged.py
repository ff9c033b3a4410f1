"""The metrics that a run of an experiment logs, and the facts that bound them, known before training.

    Experiment --definitions_of--> metric -> definition id        in the run's spec.json
    Experiment --facts_of--------> positions, width, examples, steps, ...

The trainer writes both into the record; the preflight of a gate checks criteria against them.
No torch is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping

from reprogrok.metrics.own_metrics import SIDES, own_definitions
from reprogrok.metrics.registry import ANSWER_LOSS, LOSS, POSITION_ACCURACY, Occasion, logged_at
from reprogrok.spec.experiment import Experiment
from reprogrok.spec.task import FORMATS, AdditionTask, ModularTask
from reprogrok.tasks.modular import Modular
from reprogrok.tasks.protocols import VALIDATION
from reprogrok.tasks.split_audit import SplitAudit, audit_split


def definitions_of(experiment: Experiment) -> Mapping[str, str]:
    """Return the definition of each metric that a run logs.

    Raises:
        InputError: its operation, split or metrics cannot be; the field is inside the experiment.
    """
    if isinstance(experiment.task, AdditionTask):
        found = logged_at(Occasion.ADDITION)
        order = sorted(found, key=lambda name: (name.startswith("test"), "loss" not in name))  # of spec.json
        return {name: found[name] for name in order} | logged_at(Occasion.UPDATE)
    return _of_equations(experiment, experiment.task) | logged_at(Occasion.UPDATE)


def facts_of(experiment: Experiment) -> Mapping[str, int]:
    """Return the facts that bound the metrics of a run.

    Raises:
        InputError: its operation or split cannot be; the field is inside the experiment.
    """
    if isinstance(experiment.task, AdditionTask):
        return {
            "positions": experiment.model.max_seq_len,
            "width": experiment.model.d_model,
            "test_examples": VALIDATION,
            "steps": experiment.steps,
        }
    return facts_of_equations(experiment, experiment.task, audit_split(experiment.task, block=experiment.block))


def facts_of_equations(experiment: Experiment, task: ModularTask, split: SplitAudit) -> dict[str, int]:
    """Return the facts of a modular task whose split has been audited."""
    return {
        "positions": FORMATS[task.format].positions,
        "width": experiment.model.d_model,
        "classes": split.answers.possible,
        "train_examples": split.train - split.left_out,
        "test_examples": split.test,
        "steps": experiment.steps,
    }


def parts_of(task: ModularTask) -> tuple[str, ...]:
    """Return the parts of the test set, as metrics name them; pairs are trained on only if the two ranges overlap."""
    train, test = task.split.train, task.split.test
    overlap = train is not None and test is not None and max(train[0], test[0]) < min(train[1], test[1])
    return ("twin", "new", "trained") if overlap else ("twin", "new")


def _of_equations(experiment: Experiment, task: ModularTask) -> dict[str, str]:
    loss = f"ce/all-{len(task.scored)}" if task.loss == "all" else ANSWER_LOSS
    losses = {loss, f"{loss}/batch{'-dropout' * bool(experiment.dropout)}"}
    found = logged_at(Occasion.BATCH_LOSS, Occasion.SET_LOSS, ids=losses)
    at_answer = logged_at(Occasion.EQUATIONS)
    predicted = Modular(task.operation, task.modulus, task.format).predicted
    for side in SIDES:
        found |= {name: id_ for name, id_ in at_answer.items() if name.startswith(side)}
        for position in task.scored:  # the token that a position predicts depends on the format
            found[f"{side}_loss_at_{position}"] = f"{LOSS}/{predicted[position]}"
            found[f"{side}_accuracy_at_{position}"] = f"{POSITION_ACCURACY}/{predicted[position]}"
    for part in parts_of(task):
        found |= logged_at(Occasion[part.upper()])
    if experiment.analyse_every is not None:
        found |= logged_at(Occasion[f"ANALYSIS_{FORMATS[task.format].positions}"])
    return found | (own_definitions(experiment.metrics, found) if experiment.metrics else {})

"""What a run of an experiment logs: experiment -> definition of each metric, and the facts that bound them.

    Experiment --definitions_of--> metric -> definition id        as the run's spec.json has it, before a step is made
    Experiment --facts_of--------> positions, width, examples, steps, ...

The trainer writes it into the record, and a gate is held against it before anything is trained: both ask here.
Addition needs neither NumPy nor torch; the equations of a modular task do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from reprogrok.spec import FORMATS, AdditionTask, Experiment, ModularTask
from reprogrok.tasks.protocols import VALIDATION

if TYPE_CHECKING:
    from reprogrok.tasks.split_audit import SplitAudit

UPDATE = {
    "grad_norm": "l2/before-clip",
    "weight_norm": "l2/all-parameters",
    "update_norm": "l2/all-parameters",
    "learning_rate": "of-the-update",
}
ADDITION = {
    "train_loss": "ce/answer+eos/batch",
    "train_exact_match": "exact/answer/batch",
    "test_loss": f"ce/answer+eos/validation-{VALIDATION}",
    "test_exact_match": f"exact/answer/validation-{VALIDATION}",
    "test_token_accuracy": f"token/answer/validation-{VALIDATION}",
}


def definitions_of(experiment: Experiment) -> Mapping[str, str]:
    """What each metric of a run means; numbers of different definitions are never compared.

    Raises:
        InputError: its operation, split or metrics cannot be; the field is inside the experiment.
    """
    if isinstance(experiment.task, AdditionTask):
        return ADDITION | UPDATE
    return _of_equations(experiment, experiment.task) | UPDATE


def facts_of(experiment: Experiment) -> Mapping[str, int]:
    """What bounds the metrics of a run.

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
    from reprogrok.tasks.split_audit import audit_split  # noqa: PLC0415 - brings NumPy, which addition needs not

    return facts_of_equations(experiment, experiment.task, audit_split(experiment.task, block=experiment.block))


def facts_of_equations(experiment: Experiment, task: ModularTask, split: SplitAudit) -> dict[str, int]:
    """The facts of a modular task whose split has been audited already."""
    return {
        "positions": FORMATS[task.format].positions,
        "width": experiment.model.d_model,
        "classes": split.answers.possible,
        "train_examples": split.train - split.left_out,
        "test_examples": split.test,
        "steps": experiment.steps,
    }


def parts_of(task: ModularTask) -> tuple[str, ...]:
    """The parts of the test set, as metrics name them; only where two ranges overlap is a test pair trained on."""
    train, test = task.split.train, task.split.test
    overlap = train is not None and test is not None and max(train[0], test[0]) < min(train[1], test[1])
    return ("twin", "new", "trained") if overlap else ("twin", "new")


def _of_equations(experiment: Experiment, task: ModularTask) -> dict[str, str]:
    """Which set a metric was taken on is in its name."""
    # These bring NumPy and torch, which addition needs not.
    from reprogrok.metrics import own_metrics, positions, representation  # noqa: PLC0415
    from reprogrok.tasks.modular import Modular  # noqa: PLC0415

    loss = f"ce/all-{len(task.scored)}" if task.loss == "all" else "ce/answer"
    found = {
        "train_loss": f"{loss}/batch{'-dropout' * bool(experiment.dropout)}",
        "train_set_loss": loss,
        "test_loss": loss,
    }
    predicted = Modular(task.operation, task.modulus, task.format).predicted
    for side in ("train", "test"):
        found |= {
            f"{side}_accuracy": positions.ACCURACY,
            f"{side}_answer_loss": positions.ANSWER_LOSS,
            f"{side}_smallest_margin": positions.SMALLEST_MARGIN,
            f"{side}_saturated": positions.SATURATED,
        }
        for position in task.scored:  # what a position predicts depends on the format
            found[f"{side}_loss_at_{position}"] = f"{positions.LOSS}/{predicted[position]}"
            found[f"{side}_accuracy_at_{position}"] = f"{positions.POSITION_ACCURACY}/{predicted[position]}"
    for part in parts_of(task):
        found |= {f"test_{part}_accuracy": positions.ACCURACY, f"test_{part}_loss": positions.ANSWER_LOSS}
    if experiment.analyse_every is not None:
        length = FORMATS[task.format].positions
        found |= {name: representation.definition(measure, length) for name, measure in representation.LOGGED.items()}
    return found | (own_metrics.own_definitions(experiment.metrics, found) if experiment.metrics else {})

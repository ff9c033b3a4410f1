"""What a run of an experiment is going to log, before it starts: experiment -> definitions, steps, facts, split.

    Experiment --plan--> Plan: metric -> definition id, metric -> steps, facts that bound metrics, audit of the split

A judge needs no trainer, so this is a second account of what `train` writes into a run's `spec.json`, and tests hold
the two together for every experiment of `params.yaml`, and the steps to those of a run. Addition needs no torch here;
the equations of a modular task do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reprogrok.data.protocols import VALIDATION
from reprogrok.spec import FORMATS, Experiment, ModularTask

if TYPE_CHECKING:
    from reprogrok.data.split_audit import SplitAudit

PUBLISHED_POSITIONS = 8  # the ids of measures over all positions name T only where it is another

_UPDATE = {
    "grad_norm": "l2/before-clip",
    "weight_norm": "l2/all-parameters",
    "update_norm": "l2/all-parameters",
    "learning_rate": "of-the-update",
}
_ADDITION = {
    "train_loss": "ce/answer+eos/batch",
    "train_exact_match": "exact/answer/batch",
    "test_loss": f"ce/answer+eos/validation-{VALIDATION}",
    "test_exact_match": f"exact/answer/validation-{VALIDATION}",
    "test_token_accuracy": f"token/answer/validation-{VALIDATION}",
}
_SIDE = {
    "accuracy": "argmax/answer",
    "answer_loss": "ce/answer",
    "smallest_margin": "margin/answer/min-all",
    "saturated": "softmax/float32-one/answer",
}
_ANALYSED = {
    "final_layer_rank": "pca99/blockin",
    "average_rank": "pca99/blockin",
    "final_layer_rank_after": "pca99/blockout",
    "final_layer_entropy_rank": "entropy-rank/blockin",
    "final_layer_participation_ratio": "participation-ratio/blockin",
    "attention_entropy": "attn/all-queries",
    "answer_entropy": "attn/answer-query-normalised",
}


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
    task = experiment.task
    if isinstance(task, ModularTask):
        return _modular(experiment, task)
    facts = {
        "positions": experiment.model.max_seq_len,
        "width": experiment.model.d_model,
        "test_examples": VALIDATION,
        "steps": experiment.steps,
    }
    return Plan(experiment, _ADDITION | _UPDATE, facts, frozenset(), None)


def _modular(experiment: Experiment, task: ModularTask) -> Plan:
    # Only here, because the equations bring numpy and torch.
    from reprogrok.data.modular import Modular  # noqa: PLC0415
    from reprogrok.data.split_audit import audit_split  # noqa: PLC0415

    split = audit_split(task, block=experiment.block)
    shape = FORMATS[task.format]
    loss = f"ce/all-{shape.positions}" if task.loss == "all" else "ce/answer"
    found = {
        "train_loss": f"{loss}/batch{'-dropout' * bool(experiment.dropout)}",
        "train_set_loss": loss,
        "test_loss": loss,
    }
    predicted = Modular(task.operation, task.modulus, task.format).predicted
    for side in ("train", "test"):
        found |= {f"{side}_{name}": definition for name, definition in _SIDE.items()}
        for position in task.scored:
            found[f"{side}_loss_at_{position}"] = f"ce/position/{predicted[position]}"
            found[f"{side}_accuracy_at_{position}"] = f"argmax/position/{predicted[position]}"
    for part in ("twin", "new", *(("trained",) if _overlap(task) else ())):
        found |= {f"test_{part}_accuracy": "argmax/answer", f"test_{part}_loss": "ce/answer"}
    length = "" if shape.positions == PUBLISHED_POSITIONS else f"/T{shape.positions}"
    analysed = {name: f"{definition}{length}" for name, definition in _ANALYSED.items()}
    facts = {
        "positions": shape.positions,
        "width": experiment.model.d_model,
        "classes": split.answers.possible,
        "train_examples": split.train - split.left_out,
        "test_examples": split.test,
        "steps": experiment.steps,
    }
    found |= analysed if experiment.analyse_every is not None else {}
    if experiment.metrics:  # of installed packages, which are asked for their definitions
        from reprogrok.measure.own_metrics import own_definitions  # noqa: PLC0415

        found |= own_definitions(experiment.metrics, found)
    return Plan(experiment, found | _UPDATE, facts, frozenset(analysed), split)


def _overlap(task: ModularTask) -> bool:
    """Is some equation on both sides? Only two ranges of answers can overlap."""
    train, test = task.split.train, task.split.test
    return train is not None and test is not None and max(train[0], test[0]) < min(train[1], test[1])

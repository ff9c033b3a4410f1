"""The training task of modular arithmetic: epochs of known equations, and evaluations of all of them.

    split --> training rows, test rows (twins and new pairs) --weights--> loss and accuracy per position, margins,
                                                                        saturation; now and then rank and entropy

Every metric is computed on whole sets, without dropout, after the update; only the engine's `train_loss` is that of the
update's own batch, before it. Axes: R replicas, T positions, B problems, N equations of a set, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from reprogrok.metrics import own_measurement, own_metrics, positions, representation
from reprogrok.metrics.logged import definitions_of, parts_of
from reprogrok.model.decoder import Weights
from reprogrok.spec.experiment import Experiment
from reprogrok.spec.task import ModularTask, OwnSplitSpec
from reprogrok.tasks import operations, packages, splits
from reprogrok.tasks.epochs import Epochs
from reprogrok.tasks.modular import Modular
from reprogrok.tasks.modular_tokens import token_columns
from reprogrok.tasks.operations import Integers
from reprogrok.tasks.splits import NEW_PAIRS, TRAINED, TWINS, held_out_parts, make_split

_PARTS = {"twin": TWINS, "new": NEW_PAIRS, "trained": TRAINED}


def modular_packages(experiment: Experiment, task: ModularTask) -> dict[str, str]:
    """Return, for each operation, split and metric that is not built in, its package with version and entry point."""
    used = {} if task.operation in operations.OPERATIONS else {operations.GROUP: [task.operation]}
    used |= {splits.GROUP: [task.split.kind]} if isinstance(task.split, OwnSplitSpec) else {}
    used |= {own_metrics.GROUP: list(experiment.metrics)}
    return {
        f"{packages.kind_of(group)} {name}": packages.release(packages.find(group, name, (), "$"))
        for group, names in used.items()
        for name in names
    }


def check_modular(experiment: Experiment, task: ModularTask) -> None:
    """Check that the split fills both sides and a batch, and that all metrics are known.

    Raises:
        InputError: the operation, the split, the batch size or a metric is invalid.
    """
    definitions_of(experiment)
    Epochs((0,), len(make_split(task).train_N), experiment.batch, experiment.batches, torch.device("cpu"))


class ModularTraining:
    """The equations of a modular task for some seeds; see `train.training_task.TrainingTask`.

    Raises:
        InputError: the operation, the split or the batch size is invalid.
    """

    def __init__(self, experiment: Experiment, task: ModularTask, seeds: tuple[int, ...], device: torch.device) -> None:
        self._spec, self._task = experiment.model, Modular(task.operation, task.modulus, task.format)
        self._scored, self.first = task.scored, task.scored.start
        whole, equations = make_split(task), self._task.equations()
        # Equations that fill no block are never trained on: they are no training examples and make no twins.
        split = whole.in_blocks(experiment.block)
        a_N, b_N = (torch.tensor(column_N) for column_N in (equations.a_N, equations.b_N))

        def tokens(rows_N: Integers) -> Tensor:
            """Return (T + 1, N): the positions that a scored one reads or predicts."""
            index_N = torch.from_numpy(rows_N)
            return token_columns(self._task, a_N[index_N], b_N[index_N])[: task.scored.stop + 1].to(device)

        self._sides_TN = {"train": tokens(split.train_N), "test": tokens(split.test_N)}
        parts = held_out_parts(split, equations)
        self._parts_N = {part: torch.from_numpy(parts[_PARTS[part]]) for part in parts_of(task)}
        first_N = torch.from_numpy(split.test_N[: representation.BATCHES * representation.BATCH])
        # Rank and entropy are taken over every position, whichever the loss scores.
        self._analysed_TN = token_columns(self._task, a_N[first_N], b_N[first_N]).to(device)
        self._own = tuple(own_metrics.find_metric(name) for name in experiment.metrics)
        self._columns_N = {
            side: tuple(column_N[rows_N] for column_N in (equations.c_N, equations.a_N, equations.b_N))
            for side, rows_N in (("train", split.train_N), ("test", split.test_N))
        }
        self._epochs = Epochs(seeds, len(whole.train_N), experiment.batch, experiment.batches, device)

    def batches(self, steps: range) -> Iterator[Tensor]:
        """Yield the tokens (R, T + 1, B) of each step."""
        tokens_RTB = None
        for step in steps:
            if tokens_RTB is None or not self._epochs.constant:
                index_RB = self._epochs.batch(step)
                tokens_RTB = self._sides_TN["train"][:, index_RB].transpose(0, 1).contiguous()
            yield tokens_RTB

    def evaluate_batch(self, weights: Weights, tokens_RTB: Tensor) -> dict[str, Tensor]:  # noqa: ARG002 - see below
        """Return nothing: the whole training set is evaluated after the update."""
        return {}

    def evaluate(self, weights: Weights, *, analyse: bool) -> dict[str, Tensor]:
        """Return the metrics of `metrics.logged`, but for those of the update itself: (R,) each."""
        found: dict[str, Tensor] = {}
        for side, tokens_TN in self._sides_TN.items():
            seen = positions.score_positions(self._spec, weights, tokens_TN, self._scored, self._task.first_answer)
            loss = f"{side}_set_loss" if side == "train" else "test_loss"
            at = seen.answer - seen.scored.start
            found |= {
                loss: seen.loss,
                f"{side}_accuracy": seen.accuracy[:, at],
                f"{side}_answer_loss": seen.loss_RQ[:, at],
                f"{side}_smallest_margin": seen.smallest_margin_R,
                f"{side}_saturated": seen.saturated_R,
            }
            for index, position in enumerate(seen.scored):
                found[f"{side}_loss_at_{position}"] = seen.loss_RQ[:, index]
                found[f"{side}_accuracy_at_{position}"] = seen.accuracy[:, index]
        for part, of_N in self._parts_N.items():
            found[f"test_{part}_loss"], found[f"test_{part}_accuracy"] = seen.of(of_N)
        if self._own:
            for side in self._sides_TN:
                found |= self._own_metrics(weights, side)
        if analyse:
            found |= self._analysed(weights)
        return found

    def _own_metrics(self, weights: Weights, side: str) -> dict[str, Tensor]:
        tokens_TN, answer = self._sides_TN[side], self._task.first_answer
        logits_RNV = own_measurement.answer_logits(self._spec, weights, tokens_TN, answer).numpy()
        answers = [own_metrics.Answers(logits_NV, *self._columns_N[side]) for logits_NV in logits_RNV]
        return own_measurement.measure_own(self._own, side, answers)

    def _analysed(self, weights: Weights) -> dict[str, Tensor]:
        seen = representation.represent(self._spec, weights, self._analysed_TN, self._task.first_answer)
        rank_RL = seen.rank()
        return {
            "final_layer_rank": rank_RL[:, -1],
            "average_rank": rank_RL.mean(1),
            "final_layer_rank_after": seen.rank_after()[:, -1],
            "final_layer_entropy_rank": seen.entropy_rank()[:, -1],
            "final_layer_participation_ratio": seen.participation_ratio()[:, -1],
            "attention_entropy": seen.entropy_RLH.mean((1, 2)),
            "answer_entropy": seen.answer_entropy_RLH.mean((1, 2)),
        }

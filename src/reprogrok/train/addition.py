"""The training task of addition: batches drawn by curriculum, validation on the pairs that each seed holds out.

Axes: S steps of a chunk, R replicas, T positions, B problems, Q scored positions, A answer digits, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from reprogrok.model.decoder import Weights
from reprogrok.spec.experiment import Experiment
from reprogrok.spec.task import AdditionTask
from reprogrok.tasks.addition import Addition
from reprogrok.tasks.holdout import hold_out
from reprogrok.tasks.problems import Pairs
from reprogrok.train.sampling import Batches
from reprogrok.train.training_task import fraction_true
from reprogrok.train.update import loss_and_logits

CHUNK = 32  # steps drawn at once: one vectorised draw costs a tenth of 32 small ones
VALIDATION_ROWS = 1_000  # rows per forward pass of an evaluation


class AdditionTraining:
    """Addition for some seeds; see `train.training_task.TrainingTask`."""

    def __init__(
        self, experiment: Experiment, task: AdditionTask, seeds: tuple[int, ...], device: torch.device
    ) -> None:
        self._spec, self._device, self.task = experiment.model, device, Addition(task.digits)
        self.first = self.task.first_answer
        held = [hold_out(seed, task.digits) for seed in seeds]
        # MPS lacks float64, from which digits are computed: its batches are made on the CPU.
        sampling_device = device if device.type == "cuda" else torch.device("cpu")
        held_pairs = [pairs.pairs() for pairs in held]
        self._batches = Batches(seeds, experiment.batch, task.curriculum, held_pairs, sampling_device)
        self._validation_RTB = torch.stack([self._tokens(h.validation) for h in held]).to(device)

    def batches(self, steps: range) -> Iterator[Tensor]:
        """Yield the tokens (R, T + 1, B) of each step."""
        for start in range(steps.start, steps.stop, CHUNK):
            stop = min(start + CHUNK, steps.stop)
            yield from self._tokens(self._batches.pairs(start, stop)).to(self._device)

    def evaluate_batch(self, weights: Weights, tokens_RTB: Tensor) -> dict[str, Tensor]:
        """Return the fraction of the batch that is answered exactly before the update: (R,)."""
        _, logits_RVQB = loss_and_logits(self._spec, weights, tokens_RTB, self.first)
        return {"train_exact_match": fraction_true(self._right(logits_RVQB, tokens_RTB).all(1))}

    def evaluate(self, weights: Weights, *, analyse: bool) -> dict[str, Tensor]:  # noqa: ARG002 - addition has none
        """Return loss, exact match and token accuracy on each replica's own validation pairs: (R,) each."""
        losses, rights = [], []
        for tokens_RTB in self._validation_RTB.split(VALIDATION_ROWS, dim=2):
            loss_R, logits_RVQB = loss_and_logits(self._spec, weights, tokens_RTB, self.first)
            losses.append(loss_R.cpu().double())
            rights.append(self._right(logits_RVQB, tokens_RTB))
        right_RAB = torch.cat(rights, dim=2)
        return {
            "test_loss": torch.stack(losses).mean(0),
            "test_exact_match": fraction_true(right_RAB.all(1)),
            "test_token_accuracy": fraction_true(right_RAB.flatten(1)),
        }

    def _right(self, logits_RVQB: Tensor, tokens_RTB: Tensor) -> Tensor:
        """Return which answer digits are right, (R, A, B) of bools; the end token is not scored."""
        answer_RVAB = logits_RVQB[:, :, : self.task.answer_length]
        # argmax returns some token among infinities and NaN, too; it never counts as right.
        right_RAB = answer_RVAB.argmax(1) == tokens_RTB[:, self.first + 1 : -1]
        return right_RAB & answer_RVAB.isfinite().all(1)

    def _tokens(self, pairs: Pairs) -> Tensor:
        return self.task.columns(pairs.a, pairs.b)

"""An experiment and some seeds -> trained replicas: the loop, readable on one screen.

Every tensor has a leading axis of R replicas, one per seed: weights, moments, batches, losses, clip. What a replica
computes does not depend on which others run beside it. Batches, initial weights and the learning rate are functions of
(seed, step), so the state of a run is its weights, its moments and a step.

Axes: R replicas, T positions, B problems, Q scored positions, A answer digits, V vocabulary, P parameters (padded),
S steps of a chunk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from reprogrok.data.addition import Addition
from reprogrok.data.holdout import hold_out
from reprogrok.data.problems import Pairs
from reprogrok.data.sampling import Batches
from reprogrok.model.initialise import initial_weights
from reprogrok.spec import Experiment
from reprogrok.train.optimiser import learning_rate, step_numbers
from reprogrok.train.step import Layout, Rule, loss_and_logits, make_update

CHUNK = 32  # steps drawn at once: one vectorised draw costs a tenth of 32 small ones
VALIDATION_ROWS = 1_000  # rows per forward pass of an evaluation

# What each metric means; numbers of different definitions are never compared.
DEFINITIONS = {
    "train_loss": "ce/answer+eos/batch",
    "train_exact_match": "exact/answer/batch",
    "test_loss": "ce/answer+eos/validation-5000",
    "test_exact_match": "exact/answer/validation-5000",
    "test_token_accuracy": "token/answer/validation-5000",
    "grad_norm": "l2/before-clip",
    "learning_rate": "of-the-update",
}


@dataclass
class State:
    """All that a run needs to go on: the next step, weights, moments, and the best weights so far per replica.

    A replica that diverged (loss, gradient or next weights were not finite) holds its last weights before that step.
    """

    step: int
    weights_RP: Tensor
    mean_RP: Tensor
    square_RP: Tensor
    diverged_R: Tensor  # int64: the step at which a replica diverged, or -1
    best_RP: Tensor
    best_step: list[int]
    best_score: list[float]

    def last_steps(self) -> list[int]:
        """The last update of every replica: that of the run, or the one before it diverged; 0 before any."""
        ends = (self.step if step < 0 else step for step in self.diverged_R.tolist())
        return [max(end - 1, 0) for end in ends]

    def updated(self) -> tuple[Tensor, ...]:
        """What a step changes, in the order of `make_update`."""
        return self.weights_RP, self.mean_RP, self.square_RP, self.diverged_R

    def as_dict(self) -> dict[str, Any]:
        """Plain tensors and numbers, for a file."""
        tensors = (*self.updated(), self.best_RP)
        plain: dict[str, Any] = {name: x.detach().cpu() for name, x in zip(_TENSORS, tensors, strict=True)}
        return plain | {"step": self.step, "best_step": self.best_step, "best_score": self.best_score}


_TENSORS = ("weights", "mean", "square", "diverged", "best")


@dataclass(frozen=True)
class Evaluation:
    """The metrics of every replica after the update of one step: name -> one value per replica.

    The values of a replica that has diverged are those of the weights that it stopped with, and no part of its record.
    """

    step: int
    metrics: dict[str, list[float]]
    diverged: list[bool]


class Engine:
    """Trains the replicas `seeds` of one experiment side by side on one device, on one path ("eager", "compiled")."""

    def __init__(self, experiment: Experiment, seeds: tuple[int, ...], device: torch.device, path: str) -> None:
        self.experiment, self.seeds, self.device, self.path = experiment, seeds, device, path
        self.spec, self.task = experiment.model, Addition(experiment.digits)
        self.layout = Layout(experiment.model)
        self._rule = Rule(experiment.model, self.task.first_answer, experiment.optimiser)
        held = [hold_out(seed, experiment.digits) for seed in seeds]
        every = [pairs.pairs() for pairs in held]
        # MPS has no float64, which digits are made with; there batches are made on the CPU.
        makes_batches = device if device.type == "cuda" else torch.device("cpu")
        self._batches = Batches(seeds, experiment.batch, experiment.curriculum, every, makes_batches)
        self._validation_RTB = torch.stack([self._tokens(h.validation) for h in held]).to(device)

    def fresh(self) -> State:
        """The state before the first update."""
        rows = [self.layout.flatten(initial_weights(self.spec, seed)) for seed in self.seeds]
        weights_RP = torch.stack(rows).to(self.device)
        count = len(self.seeds)
        return State(
            step=0,
            weights_RP=weights_RP,
            mean_RP=torch.zeros_like(weights_RP),
            square_RP=torch.zeros_like(weights_RP),
            diverged_R=torch.full((count,), -1, device=self.device),
            best_RP=weights_RP.clone(),
            best_step=[0] * count,
            best_score=[-1.0] * count,
        )

    def restore(self, saved: dict[str, Any]) -> State:
        """The state that `State.as_dict` described."""
        weights_RP, mean_RP, square_RP, diverged_R, best_RP = (saved[name].to(self.device) for name in _TENSORS)
        return State(
            step=saved["step"],
            weights_RP=weights_RP,
            mean_RP=mean_RP,
            square_RP=square_RP,
            diverged_R=diverged_R,
            best_RP=best_RP,
            best_step=list(saved["best_step"]),
            best_score=list(saved["best_score"]),
        )

    def train(self, state: State, stop: Callable[[], bool]) -> Iterator[Evaluation]:
        """Update `state` in place to the end of the run, yielding the metrics at every evaluation step.

        After each yield, and when `stop()` made the loop end early, `state` can be saved and resumed. Once every
        replica has diverged nothing is computed any more; the steps pass as they would beside one that goes on.
        """
        if not self._all_diverged(state):
            yield from self._update(state, stop)
        if self._all_diverged(state):
            yield from self._pass(state, stop)

    def _update(self, state: State, stop: Callable[[], bool]) -> Iterator[Evaluation]:
        """Steps until the end, or the first evaluation after which no replica goes on."""
        recipe, update = self.experiment, None
        for batch in self._training_batches(state.step):
            if stop():
                return
            update = update or make_update(self._rule, state.updated(), batch, self.path)
            step, tokens_RTB = state.step, batch[0]
            answered_R = self._answered(state, tokens_RTB) if recipe.evaluates(step) else None
            loss_R, norm_R = update(*batch)
            state.step += 1
            if answered_R is not None:
                train = {"train_loss": loss_R, "train_exact_match": answered_R, "grad_norm": norm_R}
                yield self._evaluation(state, step, train)
                if self._all_diverged(state):
                    return

    def _pass(self, state: State, stop: Callable[[], bool]) -> Iterator[Evaluation]:
        """Steps in which nothing changes any more."""
        if stop():
            return
        last = self.evaluate(state)
        while state.step < self.experiment.steps and not stop():
            state.step += 1
            if self.experiment.evaluates(state.step - 1):
                yield replace(last, step=state.step - 1)

    def _all_diverged(self, state: State) -> bool:
        return bool((state.diverged_R >= 0).all())

    def evaluate(self, state: State) -> Evaluation:
        """Take the validation metrics after the last update, wherever it stands, and keep `state`'s best up to date.

        What describes the update itself (its batch's loss, its gradient) is gone by then and is not among them.
        """
        return self._evaluation(state, state.step - 1, {})

    def _evaluation(self, state: State, step: int, train: dict[str, Tensor]) -> Evaluation:
        metrics = {name: value.tolist() for name, value in (train | self._validate(state)).items()}
        if train:
            recipe = self.experiment
            rate = learning_rate(recipe.schedule, recipe.optimiser.lr, step, recipe.steps)
            metrics["learning_rate"] = [rate] * len(self.seeds)
        diverged = (state.diverged_R >= 0).tolist()
        for replica, score in enumerate(metrics["test_exact_match"]):
            if score > state.best_score[replica] and not diverged[replica]:
                state.best_score[replica], state.best_step[replica] = score, step
                state.best_RP[replica] = state.weights_RP[replica]
        return Evaluation(step, metrics, diverged)

    @torch.inference_mode()
    def _answered(self, state: State, tokens_RTB: Tensor) -> Tensor:
        """The share of the batch that is answered exactly before the update: (R,)."""
        weights = self.layout.views(state.weights_RP)
        _, logits_RVQB = loss_and_logits(self.spec, weights, tokens_RTB, self.task.first_answer)
        return _share(self._right(logits_RVQB, tokens_RTB).all(1))

    def _right(self, logits_RVQB: Tensor, tokens_RTB: Tensor) -> Tensor:
        """Which answer digits are right: (R, A, B) of bools; EOS is not asked."""
        asked_RVAB = logits_RVQB[:, :, : self.task.answer_length]
        # What is chosen among infinities and NaN happens to be a token; it is never a right digit.
        right_RAB = asked_RVAB.argmax(1) == tokens_RTB[:, self.task.first_answer + 1 : -1]
        return right_RAB & asked_RVAB.isfinite().all(1)

    @torch.inference_mode()
    def _validate(self, state: State) -> dict[str, Tensor]:
        """Loss, exact match and token accuracy on each replica's own validation pairs: (R,) each."""
        weights = self.layout.views(state.weights_RP)
        losses, rights = [], []
        for tokens_RTB in self._validation_RTB.split(VALIDATION_ROWS, dim=2):
            loss_R, logits_RVQB = loss_and_logits(self.spec, weights, tokens_RTB, self.task.first_answer)
            losses.append(loss_R.cpu().double())
            rights.append(self._right(logits_RVQB, tokens_RTB))
        right_RAB = torch.cat(rights, dim=2)
        return {
            "test_loss": torch.stack(losses).mean(0),
            "test_exact_match": _share(right_RAB.all(1)),
            "test_token_accuracy": _share(right_RAB.flatten(1)),
        }

    def _sent(self, numbers: Tensor) -> Tensor:
        """Numbers on their way to the device; from pinned memory, for otherwise the host would wait for them."""
        return (
            numbers.pin_memory().to(self.device, non_blocking=True)
            if self.device.type == "cuda"
            else numbers.to(self.device)
        )

    def _tokens(self, pairs: Pairs) -> Tensor:
        return self.task.columns(pairs.a, pairs.b)

    def _training_batches(self, first: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Tokens (R, T + 1, B), numbers (3,) and step () of the updates from `first` to the end."""
        recipe = self.experiment
        for start in range(first, recipe.steps, CHUNK):
            steps = range(start, min(start + CHUNK, recipe.steps))
            tokens_SRTB = self._tokens(self._batches.pairs(steps.start, steps.stop)).to(self.device)
            rates = [learning_rate(recipe.schedule, recipe.optimiser.lr, step, recipe.steps) for step in steps]
            numbers_S3 = self._sent(step_numbers(recipe.optimiser, rates, start).float())
            steps_S = torch.arange(steps.start, steps.stop, device=self.device)
            yield from zip(tokens_SRTB, numbers_S3, steps_S, strict=True)


def _share(right_RN: Tensor) -> Tensor:
    """The share of true values per replica, (R,) in float64 on the CPU: MPS has no float64."""
    return right_RN.sum(1).cpu().double() / right_RN.shape[1]

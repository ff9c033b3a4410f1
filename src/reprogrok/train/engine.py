"""An experiment and some seeds -> trained replicas: the loop, readable on one screen.

Every tensor has a leading axis of R replicas, one per seed: weights, moments, batches, losses, clip. What a replica
computes does not depend on which others run beside it. Batches, initial weights and the learning rate are functions of
(seed, step), so the state of a run is its weights, its moments and a step.

What is taught and how well it is known is the task's (`train.lessons`). Axes: R replicas, T positions, B problems,
P parameters (padded), S steps of a chunk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from reprogrok.model.initialise import initial_weights
from reprogrok.spec import Experiment
from reprogrok.train.optimiser import learning_rate, step_numbers
from reprogrok.train.training_task import lessons_of, score_of
from reprogrok.train.update import Layout, Rule, Update, make_update

CHUNK = 32  # steps whose numbers are sent at once


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
        self.layout = Layout(experiment.model)
        self.lessons = lessons_of(experiment, seeds, device)
        self._rule = Rule(experiment.model, self.lessons.first, experiment.optimiser, experiment.dropout)
        self._seeds_R = torch.tensor(seeds, dtype=torch.int64, device=device)

    def fresh(self) -> State:
        """The state before the first update."""
        recipe = self.experiment
        rows = [self.layout.flatten(initial_weights(recipe.model, seed, recipe.initial_biases)) for seed in self.seeds]
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
        recipe, updates = self.experiment, dict[torch.Size, Update]()
        for batch in self._training_batches(state.step):
            if stop():
                return
            step, tokens_RTB = state.step, batch[0]
            if (shape := tokens_RTB.shape) not in updates:  # the last batch of an epoch may be smaller
                updates[shape] = make_update(self._rule, state.updated(), batch, self.path)
            evaluates = recipe.evaluates(step)
            train = self._before(state, tokens_RTB) if evaluates else {}
            before_RP = state.weights_RP.clone() if evaluates else None
            loss_R, norm_R = updates[shape](*batch)
            state.step += 1
            if before_RP is not None:
                change_R = torch.linalg.vector_norm(state.weights_RP - before_RP, dim=1)
                train |= {"train_loss": loss_R, "grad_norm": norm_R, "update_norm": change_R}
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
        recipe = self.experiment
        taken = train | self._measured(state, analyse=recipe.analyses(step))
        metrics = {name: value.tolist() for name, value in taken.items()}
        if train:
            rate = learning_rate(recipe.schedule, recipe.optimiser.lr, step, recipe.steps)
            metrics["learning_rate"] = [rate] * len(self.seeds)
        diverged = (state.diverged_R >= 0).tolist()
        for replica, score in enumerate(metrics[score_of(recipe)]):
            if score > state.best_score[replica] and not diverged[replica]:
                state.best_score[replica], state.best_step[replica] = score, step
                state.best_RP[replica] = state.weights_RP[replica]
        return Evaluation(step, metrics, diverged)

    @torch.inference_mode()
    def _before(self, state: State, tokens_RTB: Tensor) -> dict[str, Tensor]:
        return self.lessons.answered(self.layout.views(state.weights_RP), tokens_RTB)

    @torch.inference_mode()
    def _measured(self, state: State, *, analyse: bool) -> dict[str, Tensor]:
        norms = {"weight_norm": torch.linalg.vector_norm(state.weights_RP, dim=1)}
        return norms | self.lessons.measured(self.layout.views(state.weights_RP), analyse=analyse)

    def _sent(self, numbers: Tensor) -> Tensor:
        """Numbers on their way to the device; from pinned memory, for otherwise the host would wait for them."""
        return (
            numbers.pin_memory().to(self.device, non_blocking=True)
            if self.device.type == "cuda"
            else numbers.to(self.device)
        )

    def _training_batches(self, first: int) -> Iterator[tuple[Tensor, ...]]:
        """Tokens (R, T + 1, B), numbers (3,) and step () of the updates from `first` on; with dropout, seeds (R,)."""
        recipe = self.experiment
        batches = self.lessons.batches(range(first, recipe.steps))
        others = (self._seeds_R,) if recipe.dropout else ()
        for start in range(first, recipe.steps, CHUNK):
            steps = range(start, min(start + CHUNK, recipe.steps))
            rates = [learning_rate(recipe.schedule, recipe.optimiser.lr, step, recipe.steps) for step in steps]
            numbers_S3 = self._sent(step_numbers(recipe.optimiser, rates, start).float())
            steps_S = torch.arange(steps.start, steps.stop, device=self.device)
            for numbers_3, step in zip(numbers_S3, steps_S, strict=True):
                yield next(batches), numbers_3, step, *others

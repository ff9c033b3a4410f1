"""An experiment and some seeds -> trained replicas: the loop, readable on one screen.

Every tensor has a leading axis of R replicas, one per seed: weights, moments, batches, losses, clip. What a replica
computes does not depend on which others run beside it. Batches, initial weights and the learning rate are functions of
(seed, step), so the state of a run is its weights, its moments and a step.

Batches and evaluations come from the training task (`train.training_task`). Axes: R replicas, T positions, B problems,
P parameters (padded), S steps of a chunk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Self, TypedDict

import torch
from torch import Tensor

from reprogrok.model.initialise import initial_weights
from reprogrok.spec.experiment import Experiment
from reprogrok.train.backends import Backend
from reprogrok.train.execution import make_update
from reprogrok.train.optimiser import learning_rate, step_numbers
from reprogrok.train.task_choice import training_task_of
from reprogrok.train.training_task import score_of
from reprogrok.train.update import Layout, Rule, Update

CHUNK = 32  # steps whose numbers are sent at once


class StateContent(TypedDict):
    """A state in a file: plain tensors on the CPU, and numbers."""

    weights: Tensor
    mean: Tensor
    square: Tensor
    diverged: Tensor
    best: Tensor
    step: int
    best_step: list[int]
    best_score: list[float]


@dataclass
class EngineState:
    """The state that a run resumes from.

    A replica that diverged (loss, gradient or next weights were not finite) holds its last weights before that step.

    Attributes:
        step: the next step; the number of updates made.
        weights_RP: the weights.
        mean_RP: the first moments of AdamW.
        square_RP: the second moments of AdamW.
        diverged_R: int64, the step at which a replica diverged, or -1.
        best_RP: the weights of the best evaluation so far.
        best_step: the step of that evaluation, per replica.
        best_score: its score, per replica; -1 before the first evaluation.
    """

    step: int
    weights_RP: Tensor
    mean_RP: Tensor
    square_RP: Tensor
    diverged_R: Tensor
    best_RP: Tensor
    best_step: list[int]
    best_score: list[float]

    def last_steps(self) -> list[int]:
        """Return the last update of every replica: that of the run, or the one before it diverged; 0 before any."""
        ends = (self.step if step < 0 else step for step in self.diverged_R.tolist())
        return [max(end - 1, 0) for end in ends]

    def updated(self) -> tuple[Tensor, ...]:
        """Return the tensors that a step changes, in the order of `make_update`."""
        return self.weights_RP, self.mean_RP, self.square_RP, self.diverged_R

    @property
    def size(self) -> int:
        """The bytes of all tensors."""
        return sum(tensor.nbytes for tensor in (*self.updated(), self.best_RP))

    def content(self) -> StateContent:
        """Return the state as plain tensors on the CPU and numbers, for a file."""
        weights, mean, square, diverged, best = (x.detach().cpu() for x in (*self.updated(), self.best_RP))
        return StateContent(
            weights=weights, mean=mean, square=square, diverged=diverged, best=best,
            step=self.step, best_step=self.best_step, best_score=self.best_score,
        )  # fmt: skip

    @classmethod
    def restore(cls, content: StateContent, device: torch.device) -> Self:
        """Return the state that `content` describes, on a device."""
        tensors = (content["weights"], content["mean"], content["square"], content["diverged"], content["best"])
        weights_RP, mean_RP, square_RP, diverged_R, best_RP = (tensor.to(device) for tensor in tensors)
        best = (best_RP, list(content["best_step"]), list(content["best_score"]))
        return cls(content["step"], weights_RP, mean_RP, square_RP, diverged_R, *best)


@dataclass(frozen=True)
class StepEvaluation:
    """The metrics of every replica after the update of one step.

    The values of a replica that has diverged are those of the weights it stopped with, and no part of its record.

    Attributes:
        step: the step.
        metrics: name -> one value per replica.
        diverged: whether each replica has diverged.
    """

    step: int
    metrics: dict[str, list[float]]
    diverged: list[bool]


class Engine:
    """Trains the replicas `seeds` of one experiment side by side on one device."""

    def __init__(
        self, experiment: Experiment, seeds: tuple[int, ...], device: torch.device, backend: Backend | str
    ) -> None:
        self.experiment, self.seeds, self.device, self.backend = experiment, seeds, device, Backend(backend)
        self.layout = Layout(experiment.model)
        self.training_task = training_task_of(experiment, seeds, device)
        self._rule = Rule(experiment.model, self.training_task.first, experiment.optimiser, experiment.dropout)
        self._seeds_R = torch.tensor(seeds, dtype=torch.int64, device=device)

    def fresh(self) -> EngineState:
        """Return the state before the first update."""
        model, biases = self.experiment.model, self.experiment.initial_biases
        rows = [self.layout.flatten(initial_weights(model, seed, biases)) for seed in self.seeds]
        weights_RP = torch.stack(rows).to(self.device)
        count = len(self.seeds)
        mean_RP, square_RP = torch.zeros_like(weights_RP), torch.zeros_like(weights_RP)
        diverged_R = torch.full((count,), -1, device=self.device)
        best = (weights_RP.clone(), [0] * count, [-1.0] * count)
        return EngineState(0, weights_RP, mean_RP, square_RP, diverged_R, *best)

    def train(self, state: EngineState, stop: Callable[[], bool]) -> Iterator[StepEvaluation]:
        """Update `state` in place to the end of the run and yield the metrics at every evaluation step.

        After each yield, and when `stop()` ended the loop early, `state` can be saved and resumed. Once every replica
        has diverged nothing is computed any more; steps are counted and evaluations repeated as beside a sound replica.
        """
        if not self._all_diverged(state):
            yield from self._update(state, stop)
        if self._all_diverged(state):
            yield from self._pass(state, stop)

    def _update(self, state: EngineState, stop: Callable[[], bool]) -> Iterator[StepEvaluation]:
        """Make updates until the end, or until an evaluation finds that every replica has diverged."""
        experiment, updates = self.experiment, dict[torch.Size, Update]()
        for batch in self._training_batches(state.step):
            if stop():
                return
            step, tokens_RTB = state.step, batch[0]
            if (shape := tokens_RTB.shape) not in updates:  # the last batch of an epoch may be smaller
                updates[shape] = make_update(self._rule, state.updated(), batch, self.backend)
            evaluates = experiment.evaluates(step)
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

    def _pass(self, state: EngineState, stop: Callable[[], bool]) -> Iterator[StepEvaluation]:
        """Pass the remaining steps, in which nothing changes any more."""
        if stop():
            return
        last = self.evaluate(state)
        while state.step < self.experiment.steps and not stop():
            state.step += 1
            if self.experiment.evaluates(state.step - 1):
                yield replace(last, step=state.step - 1)

    def _all_diverged(self, state: EngineState) -> bool:
        return bool((state.diverged_R >= 0).all())

    def evaluate(self, state: EngineState) -> StepEvaluation:
        """Return the validation metrics after the last update, at any step, and keep `state`'s best up to date.

        The metrics of the update itself (loss of its batch, norm of its gradient) are no longer known and left out.
        """
        return self._evaluation(state, state.step - 1, {})

    def _evaluation(self, state: EngineState, step: int, train: dict[str, Tensor]) -> StepEvaluation:
        experiment = self.experiment
        taken = train | self._measured(state, analyse=experiment.analyses(step))
        metrics = {name: value.tolist() for name, value in taken.items()}
        if train:
            rate = learning_rate(experiment.schedule, experiment.optimiser.lr, step, experiment.steps)
            metrics["learning_rate"] = [rate] * len(self.seeds)
        diverged = (state.diverged_R >= 0).tolist()
        for replica, score in enumerate(metrics[score_of(experiment)]):
            if score > state.best_score[replica] and not diverged[replica]:
                state.best_score[replica], state.best_step[replica] = score, step
                state.best_RP[replica] = state.weights_RP[replica]
        return StepEvaluation(step, metrics, diverged)

    @torch.inference_mode()
    def _before(self, state: EngineState, tokens_RTB: Tensor) -> dict[str, Tensor]:
        return self.training_task.evaluate_batch(self.layout.views(state.weights_RP), tokens_RTB)

    @torch.inference_mode()
    def _measured(self, state: EngineState, *, analyse: bool) -> dict[str, Tensor]:
        norms = {"weight_norm": torch.linalg.vector_norm(state.weights_RP, dim=1)}
        return norms | self.training_task.evaluate(self.layout.views(state.weights_RP), analyse=analyse)

    def _sent(self, numbers: Tensor) -> Tensor:
        """Send numbers to the device, from pinned memory: otherwise the host would wait for them."""
        if self.device.type == "cuda":
            return numbers.pin_memory().to(self.device, non_blocking=True)
        return numbers.to(self.device)

    def _training_batches(self, first: int) -> Iterator[tuple[Tensor, ...]]:
        """Yield tokens (R, T + 1, B), numbers (3,), step () and, with dropout, seeds (R,) from `first` on."""
        optimiser, last = self.experiment.optimiser, self.experiment.steps
        batches = self.training_task.batches(range(first, last))
        others = (self._seeds_R,) if self.experiment.dropout else ()
        for start in range(first, last, CHUNK):
            steps = range(start, min(start + CHUNK, last))
            rates = [learning_rate(self.experiment.schedule, optimiser.lr, step, last) for step in steps]
            numbers_S3 = self._sent(step_numbers(optimiser, rates, start).float())
            steps_S = torch.arange(steps.start, steps.stop, device=self.device)
            for numbers_3, step in zip(numbers_S3, steps_S, strict=True):
                yield next(batches), numbers_3, step, *others

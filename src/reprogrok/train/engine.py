"""An experiment and some seeds -> trained replicas: the loop, readable on one screen.

Every tensor has a leading axis of R replicas, one per seed: weights, moments, batches, losses, clip. What a replica
computes does not depend on which others run beside it. Batches, initial weights and the learning rate are functions of
(seed, step), so the state of a run is its weights, its moments and a step.

Axes: R replicas, B problems, T positions, Q scored positions, V vocabulary, P parameters (padded), S steps of a chunk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from reprogrok.data.addition import Addition
from reprogrok.data.holdout import hold_out
from reprogrok.data.problems import Pairs
from reprogrok.data.sampling import Batches
from reprogrok.model.decoder import logits, one_hot
from reprogrok.model.initialise import initial_weights
from reprogrok.model.shapes import parameter_shapes
from reprogrok.spec import Experiment, ModelSpec
from reprogrok.train.optimiser import AdamW, clip_, learning_rate

CHUNK = 32  # steps drawn at once: one vectorised draw costs a tenth of 32 small ones
VALIDATION_ROWS = 1_000  # rows per forward pass of an evaluation
_PAD = 16  # rows start at multiples of a vector register, so that every replica takes the same instructions

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


class Layout:
    """Where each named tensor stands in a replica's flat row."""

    def __init__(self, spec: ModelSpec) -> None:
        self.shapes = parameter_shapes(spec)
        self.sizes = [torch.Size(shape).numel() for shape in self.shapes.values()]
        self.padding = -sum(self.sizes) % _PAD

    def flatten(self, weights: dict[str, Tensor]) -> Tensor:
        """One replica's tensors -> (P,), zeros at the end."""
        return F.pad(torch.cat([weights[name].reshape(-1) for name in self.shapes]), (0, self.padding))

    def views(self, flat_RP: Tensor) -> dict[str, Tensor]:
        """(R, P) -> name -> (R, *shape); gradients flow back as one concatenation."""
        parts = flat_RP.split([*self.sizes, self.padding], dim=1)
        return {name: part.reshape(-1, *shape) for (name, shape), part in zip(self.shapes.items(), parts, strict=False)}


@dataclass
class State:
    """All that a run needs to go on: the next step, weights, moments, and the best weights so far per replica."""

    step: int
    weights_RP: Tensor
    optimiser: AdamW
    best_RP: Tensor
    best_step: list[int]
    best_score: list[float]

    def as_dict(self) -> dict[str, Any]:
        """Plain tensors and numbers, for a file."""
        tensors = (self.weights_RP, self.optimiser.mean_RP, self.optimiser.square_RP, self.best_RP)
        names = ("weights", "mean", "square", "best")
        plain: dict[str, Any] = {name: tensor.detach().cpu() for name, tensor in zip(names, tensors, strict=True)}
        return plain | {"step": self.step, "best_step": self.best_step, "best_score": self.best_score}


@dataclass(frozen=True)
class Evaluation:
    """The metrics of every replica after the update of one step: name -> one value per replica."""

    step: int
    metrics: dict[str, list[float]] = field(default_factory=dict)


class Engine:
    """Trains the replicas `seeds` of one experiment side by side on one device."""

    def __init__(self, experiment: Experiment, seeds: tuple[int, ...], device: torch.device) -> None:
        self.experiment, self.seeds, self.device = experiment, seeds, device
        self.spec, self.task = experiment.model, Addition(experiment.digits)
        self.layout = Layout(experiment.model)
        held = [hold_out(seed, experiment.digits) for seed in seeds]
        self._batches = [
            Batches(s, experiment.batch, experiment.curriculum, h) for s, h in zip(seeds, held, strict=True)
        ]
        self._validation_RBT = self._rows([h.validation for h in held]).to(device)

    def fresh(self) -> State:
        """The state before the first update."""
        rows = [self.layout.flatten(initial_weights(self.spec, seed)) for seed in self.seeds]
        weights_RP = torch.stack(rows).to(self.device)
        count = len(self.seeds)
        return State(
            0,
            weights_RP,
            AdamW.fresh(self.experiment.optimiser, weights_RP),
            weights_RP.clone(),
            [0] * count,
            [-1.0] * count,
        )

    def restore(self, saved: dict[str, Any]) -> State:
        """The state that `State.as_dict` described."""
        weights, mean, square, best = (saved[name].to(self.device) for name in ("weights", "mean", "square", "best"))
        optimiser = AdamW(self.experiment.optimiser, mean, square)
        return State(saved["step"], weights, optimiser, best, list(saved["best_step"]), list(saved["best_score"]))

    def train(self, state: State, stop: Callable[[], bool]) -> Iterator[Evaluation]:
        """Update `state` in place to the end of the run, yielding the metrics at every evaluation step.

        After each yield, and when `stop()` made the loop end early, `state` can be saved and resumed.
        """
        recipe = self.experiment
        evaluated = set(recipe.evaluation_steps())
        for rows_RBT in self._training_rows(state.step):
            if stop():
                return
            step = state.step
            leaf_RP = state.weights_RP.detach().requires_grad_()
            loss_R, logits_RVBQ = self._loss(self.layout.views(leaf_RP), rows_RBT)
            (gradient_RP,) = torch.autograd.grad(loss_R.sum(), leaf_RP)
            with torch.no_grad():
                norm_R = clip_(gradient_RP, recipe.optimiser.clip)
                rate = learning_rate(recipe.schedule, recipe.optimiser.lr, step, recipe.steps)
                state.optimiser.update_(state.weights_RP, gradient_RP, rate, step)
            state.step += 1
            if step in evaluated:
                exact_R = _share(self._right(logits_RVBQ, rows_RBT).all(2))
                train = {"train_loss": loss_R, "train_exact_match": exact_R, "grad_norm": norm_R}
                metrics = {name: value.tolist() for name, value in (train | self._validate(state)).items()}
                self._keep_best(state, step, metrics["test_exact_match"])
                yield Evaluation(step, metrics | {"learning_rate": [rate] * len(self.seeds)})

    def _loss(self, weights: dict[str, Tensor], rows_RBT: Tensor) -> tuple[Tensor, Tensor]:
        """Mean loss over the answer and EOS, (R,) in nats, and the logits it came from."""
        first = self.task.first_answer
        onehot_RBTV = one_hot(rows_RBT, self.spec.vocab_size)
        logits_RVBQ = logits(self.spec, weights, onehot_RBTV[:, :, :-1], first)
        target_RVBQ = onehot_RBTV[:, :, first + 1 :].permute(0, 3, 1, 2)
        loss_R = -(logits_RVBQ.log_softmax(1) * target_RVBQ).sum((1, 2, 3)) / target_RVBQ[0, 0].numel()
        return loss_R, logits_RVBQ

    def _right(self, logits_RVBQ: Tensor, rows_RBT: Tensor) -> Tensor:
        """Which answer digits are right: (R, B, A) of bools; EOS is not asked."""
        digits_RBA = logits_RVBQ.detach().argmax(1)[:, :, : self.task.answer_length]
        return digits_RBA == rows_RBT[:, :, self.task.first_answer + 1 : -1]

    @torch.inference_mode()
    def _validate(self, state: State) -> dict[str, Tensor]:
        """Loss, exact match and token accuracy on each replica's own validation pairs: (R,) each."""
        weights = self.layout.views(state.weights_RP)
        losses, rights = [], []
        for rows_RBT in self._validation_RBT.split(VALIDATION_ROWS, dim=1):
            loss_R, logits_RVBQ = self._loss(weights, rows_RBT)
            losses.append(loss_R.cpu().double())
            rights.append(self._right(logits_RVBQ, rows_RBT))
        right_RBA = torch.cat(rights, dim=1)
        return {
            "test_loss": torch.stack(losses).mean(0),
            "test_exact_match": _share(right_RBA.all(2)),
            "test_token_accuracy": _share(right_RBA.flatten(1)),
        }

    def _keep_best(self, state: State, step: int, scores: list[float]) -> None:
        for replica, score in enumerate(scores):
            if score > state.best_score[replica]:
                state.best_score[replica], state.best_step[replica] = score, step
                state.best_RP[replica] = state.weights_RP[replica]

    def _rows(self, problems: list[Pairs]) -> Tensor:
        return torch.stack([self.task.encode(pairs.a, pairs.b) for pairs in problems])

    def _training_rows(self, first: int) -> Iterator[Tensor]:
        """(R, B, T + 1) token rows of the steps from `first` to the end."""
        for start in range(first, self.experiment.steps, CHUNK):
            chunk = [batches.pairs(start, min(start + CHUNK, self.experiment.steps)) for batches in self._batches]
            yield from self._rows(chunk).to(self.device).unbind(1)


def _share(right_RN: Tensor) -> Tensor:
    """The share of true values per replica, (R,) in float64 on the CPU: MPS has no float64."""
    return right_RN.sum(1).cpu().double() / right_RN.shape[1]

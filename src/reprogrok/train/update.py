"""One update of R replicas as one function of tensors, and the paths on which it can be executed.

    (weights, moments) + (tokens, numbers of the step) --loss, gradient, clip, AdamW--> (weights, moments), in place

    eager       operation by operation
    compiled    traced once, backward and optimiser included, and compiled as one graph (`train.compilation`)

On CUDA either is captured as a CUDA graph, so that a step is one launch and the host does not wait. The path is
part of a run's fingerprint: another order of additions gives other bits.

A replica whose loss, gradient or next weights are not finite is stopped there and then: it keeps the weights that it
had, the others go on. That happens on the device, so nobody has to ask after every step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial

import torch
from torch import Tensor
from torch.nn import functional as F

from reprogrok.model.decoder import Weights, logits, one_hot
from reprogrok.model.dropout import Dropout
from reprogrok.model.shapes import parameter_shapes
from reprogrok.spec import ModelSpec, OptimiserSpec
from reprogrok.train.optimiser import adamw, clipped

_PAD = 16  # rows start at multiples of a vector register, so that every replica takes the same instructions
_WARM_UP = 3  # updates before a capture: libraries allocate and choose on their first calls

Update = Callable[..., tuple[Tensor, Tensor]]  # (tokens, numbers, step) -> losses and gradient norms before it


@dataclass(frozen=True)
class Rule:
    """What an update is: the models' shape, the first position whose prediction counts, AdamW's numbers, dropout."""

    model: ModelSpec
    first: int
    optimiser: OptimiserSpec
    dropout: float = 0.0


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


@cache
def _layout(spec: ModelSpec) -> Layout:
    return Layout(spec)


def loss_and_logits(
    spec: ModelSpec, weights: Weights, tokens_RTB: Tensor, first: int, dropout: Dropout | None = None
) -> tuple[Tensor, Tensor]:
    """Mean cross-entropy in nats over the positions `first`..T - 1 and the batch, (R,), and the logits (R, V, Q, B).

    `tokens_RTB` has one position more than the model reads: each position predicts the next token.
    """
    logits_RVQB = logits(spec, weights, tokens_RTB[:, :-1], first, dropout)
    target_RQB = tokens_RTB[:, first + 1 :]
    chosen_RVQB = one_hot(target_RQB, spec.vocab_size, 1, logits_RVQB.dtype)
    return -(logits_RVQB.log_softmax(1) * chosen_RVQB).sum((1, 2, 3)) / target_RQB[0].numel(), logits_RVQB


def make_update(rule: Rule, state: Sequence[Tensor], batch: Sequence[Tensor], path: str) -> Update:
    """The update of this very state, in place.

    Args:
        rule: what an update is.
        state: weights, mean and square (R, P), and the step at which a replica diverged, or -1 (R,) int64.
        batch: an example of tokens (R, T + 1, B), numbers of a step (3,), the step itself () int64 and, where there is
            dropout, the seeds (R,) int64.
        path: "eager" or "compiled".
    """
    function: Update = partial(update_, rule)
    if path == "compiled":
        # The compiler costs a second of every start that does not need it.
        from reprogrok.train.compilation import Kind, compiled_update  # noqa: PLC0415

        function = compiled_update(rule, tuple(Kind(tuple(x.shape), x.dtype, x.device) for x in (*state, *batch)))
    if state[0].device.type == "cuda":
        return _captured(function, state, batch)
    return partial(function, *state)


def update_(rule: Rule, *state_and_batch: Tensor) -> tuple[Tensor, Tensor]:
    """One update, in place, of what `make_update` calls state and batch; losses and gradient norms before it, (R,)."""
    weights_RP, mean_RP, square_RP, diverged_R, tokens_RTB, numbers_3, step, *seeds = state_and_batch
    dropout = Dropout(rule.dropout, seeds[0], step) if rule.dropout else None
    with torch.enable_grad():
        leaf_RP = weights_RP.detach().requires_grad_()
        loss_R, _ = loss_and_logits(rule.model, _layout(rule.model).views(leaf_RP), tokens_RTB, rule.first, dropout)
        (gradient_RP,) = torch.autograd.grad(loss_R.sum(), leaf_RP)
    with torch.no_grad():
        gradient_RP, norm_R = clipped(gradient_RP, rule.optimiser.clip)
        updated = adamw(rule.optimiser, weights_RP, (mean_RP, square_RP), gradient_RP, numbers_3)
        going_R = diverged_R < 0
        # A rate can be too much for a gradient that is finite. Sums carry whatever is not a number to one test.
        sound_R = (loss_R + norm_R + sum(new_RP.sum(1) for new_RP in updated)).isfinite()
        for old_RP, new_RP in zip((weights_RP, mean_RP, square_RP), updated, strict=True):
            old_RP.copy_(torch.where((going_R & sound_R).unsqueeze(1), new_RP, old_RP))
        diverged_R.copy_(torch.where(going_R & ~sound_R, step, diverged_R))
    return loss_R.detach(), norm_R


def _captured(function: Update, state: Sequence[Tensor], batch: Sequence[Tensor]) -> Update:
    """The function as a CUDA graph: every call copies its batch to where the graph reads it, and replays."""
    inputs = [x.clone() for x in batch]
    before = [x.clone() for x in state]
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(_WARM_UP):
            function(*state, *inputs)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        results = function(*state, *inputs)
    for tensor, old in zip(state, before, strict=True):
        tensor.copy_(old)

    def replay(*batch: Tensor) -> tuple[Tensor, Tensor]:
        for place, value in zip(inputs, batch, strict=True):
            place.copy_(value)
        graph.replay()
        return results

    return replay

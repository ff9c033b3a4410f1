"""One update of R replicas as one function of tensors, all in place.

    (weights, moments) + (tokens, numbers of the step) --loss, gradient, clip, AdamW--> (weights, moments)

`train.execution` runs it on a backend. A replica whose loss, gradient or next weights are not finite is stopped at that
step: it keeps its weights, and the others go on. That is decided on the device, so the host never waits for it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F

from reprogrok.model.decoder import Weights, logits, one_hot
from reprogrok.model.dropout import Dropout
from reprogrok.model.shapes import parameter_shapes
from reprogrok.spec.experiment import OptimiserSpec
from reprogrok.spec.model import ModelSpec
from reprogrok.train.optimiser import adamw, clipped

_PAD = 16  # rows start at multiples of a vector register, so that every replica takes the same instructions

Update = Callable[..., tuple[Tensor, Tensor]]  # (tokens, numbers, step) -> losses and gradient norms before it


@dataclass(frozen=True)
class Rule:
    """The definition of an update.

    Attributes:
        model: the shape of the models.
        first: the first position whose prediction is scored.
        optimiser: the settings of AdamW and of the clip.
        dropout: the rate at which activations are dropped.
    """

    model: ModelSpec
    first: int
    optimiser: OptimiserSpec
    dropout: float = 0.0


class Layout:
    """The place of each named tensor in a replica's flat row."""

    def __init__(self, spec: ModelSpec) -> None:
        self.shapes = parameter_shapes(spec)
        self.sizes = [torch.Size(shape).numel() for shape in self.shapes.values()]
        self.padding = -sum(self.sizes) % _PAD

    def flatten(self, weights: dict[str, Tensor]) -> Tensor:
        """Return one replica's tensors as a row (P,), padded with zeros."""
        return F.pad(torch.cat([weights[name].reshape(-1) for name in self.shapes]), (0, self.padding))

    def views(self, flat_RP: Tensor) -> dict[str, Tensor]:
        """Return views of (R, P), name -> (R, *shape); gradients flow back as one concatenation."""
        parts = flat_RP.split([*self.sizes, self.padding], dim=1)
        return {name: part.reshape(-1, *shape) for (name, shape), part in zip(self.shapes.items(), parts, strict=False)}


@cache
def _layout(spec: ModelSpec) -> Layout:
    return Layout(spec)


def loss_and_logits(
    spec: ModelSpec, weights: Weights, tokens_RTB: Tensor, first: int, dropout: Dropout | None = None
) -> tuple[Tensor, Tensor]:
    """Return the mean cross-entropy in nats over positions `first`..T - 1 and the batch, (R,), and the logits.

    The logits are (R, V, Q, B). `tokens_RTB` has one position more than the model reads: each predicts the next token.
    """
    logits_RVQB = logits(spec, weights, tokens_RTB[:, :-1], first, dropout)
    target_RQB = tokens_RTB[:, first + 1 :]
    chosen_RVQB = one_hot(target_RQB, spec.vocab_size, 1, logits_RVQB.dtype)
    return -(logits_RVQB.log_softmax(1) * chosen_RVQB).sum((1, 2, 3)) / target_RQB[0].numel(), logits_RVQB


def update_(rule: Rule, *state_and_batch: Tensor) -> tuple[Tensor, Tensor]:
    """Update in place the tensors of `execution.make_update`; return losses and gradient norms before it, (R,)."""
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
        # A finite gradient can still overflow the weights. Sums carry every NaN and infinity to one test.
        sound_R = (loss_R + norm_R + sum(new_RP.sum(1) for new_RP in updated)).isfinite()
        for old_RP, new_RP in zip((weights_RP, mean_RP, square_RP), updated, strict=True):
            old_RP.copy_(torch.where((going_R & sound_R).unsqueeze(1), new_RP, old_RP))
        diverged_R.copy_(torch.where(going_R & ~sound_R, step, diverged_R))
    return loss_R.detach(), norm_R

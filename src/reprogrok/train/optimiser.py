"""Gradients of R replicas -> their next weights: a clip per replica, the schedule, AdamW, on one flat (R, P) tensor.

One flat row per replica turns the whole update into a dozen operations whatever the number of tensors, and a replica's
row never meets another's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from reprogrok.spec import OptimiserSpec, ScheduleSpec


def learning_rate(schedule: ScheduleSpec, peak: float, step: int, steps: int) -> float:
    """The learning rate of update `step` (from 0) of a run of `steps` updates.

    peak * (s + 1) / W while s < W, then peak * (f + (1 - f) * (1 + cos(pi * (s - W) / (N - W))) / 2).
    Worked value: peak 0.02, W 1350, N 27000, s 1350 gives 0.02; s 26999 gives 0.0020000.
    """
    if step < schedule.warmup:
        return peak * (step + 1) / schedule.warmup
    progress = (step - schedule.warmup) / (steps - schedule.warmup)
    return peak * (schedule.floor + (1 - schedule.floor) * (1 + math.cos(math.pi * progress)) / 2)


def clip_(gradient_RP: Tensor, largest: float) -> Tensor:
    """Scale each replica's gradient in place to an L2 norm of at most `largest`; returns the norms before, (R,).

    The 1e-6 in the denominator is that of `torch.nn.utils.clip_grad_norm_`.
    """
    norm_R: Tensor = torch.linalg.vector_norm(gradient_RP, dim=1)
    gradient_RP.mul_((largest / (norm_R + 1e-6)).clamp(max=1.0).unsqueeze(1))
    return norm_R


@dataclass
class AdamW:
    """Decoupled weight decay (Loshchilov & Hutter 2019) on every parameter, corrected as in `torch.optim.AdamW`."""

    spec: OptimiserSpec
    mean_RP: Tensor
    square_RP: Tensor

    @classmethod
    def fresh(cls, spec: OptimiserSpec, weights_RP: Tensor) -> AdamW:
        """Both moments at zero."""
        return cls(spec, torch.zeros_like(weights_RP), torch.zeros_like(weights_RP))

    def update_(self, weights_RP: Tensor, gradient_RP: Tensor, rate: float, step: int) -> None:
        """One update in place; `step` counts from 0."""
        (beta1, beta2), number = self.spec.betas, step + 1
        weights_RP.mul_(1 - rate * self.spec.weight_decay)
        self.mean_RP.lerp_(gradient_RP, 1 - beta1)
        self.square_RP.mul_(beta2).addcmul_(gradient_RP, gradient_RP, value=1 - beta2)
        root_RP = (self.square_RP.sqrt() / math.sqrt(1 - beta2**number)).add_(self.spec.eps)
        weights_RP.addcdiv_(self.mean_RP, root_RP, value=-rate / (1 - beta1**number))

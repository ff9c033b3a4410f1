"""Gradients of R replicas -> their next weights: a clip per replica, the schedule, AdamW, on flat (R, P) tensors.

One flat row per replica makes the whole update a dozen operations, whatever the number of tensors, and keeps replicas
apart. Only three numbers change from step to step; they are computed beforehand in double precision.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from reprogrok.spec.experiment import OptimiserSpec, ScheduleSpec


def learning_rate(schedule: ScheduleSpec, peak: float, step: int, steps: int) -> float:
    """Return the learning rate of update `step` (from 0) of a run of `steps` updates.

    peak * (s + 1) / W while s < W, then peak * (f + (1 - f) * (1 + cos(pi * (s - W) / (N - W))) / 2).
    Worked value: peak 0.02, W 1350, N 27000, s 1350 gives 0.02; s 26999 gives 0.0020000.
    """
    if step < schedule.warmup:
        return peak * (step + 1) / schedule.warmup
    progress = (step - schedule.warmup) / (steps - schedule.warmup)
    return peak * (schedule.floor + (1 - schedule.floor) * (1 + math.cos(math.pi * progress)) / 2)


def step_numbers(spec: OptimiserSpec, rates: list[float], first: int) -> Tensor:
    """Return the numbers that `adamw` needs for every step from `first` on, with these learning rates: (S, 3) float64.

    1 - lr * decay, lr / (1 - beta1^n) and sqrt(1 - beta2^n), for the n-th update, n = step + 1.
    """
    (beta1, beta2), decay = spec.betas, spec.weight_decay
    rows = [
        (1 - rate * decay, rate / (1 - beta1**number), math.sqrt(1 - beta2**number))
        for number, rate in enumerate(rates, first + 1)
    ]
    return torch.tensor(rows, dtype=torch.float64)


def clipped(gradient_RP: Tensor, largest: float | None) -> tuple[Tensor, Tensor]:
    """Scale each replica's gradient to an L2 norm of at most `largest`, if given; return it and the norms before, (R,).

    The 1e-6 in the denominator is that of `torch.nn.utils.clip_grad_norm_`.
    """
    norm_R: Tensor = torch.linalg.vector_norm(gradient_RP, dim=1)
    if largest is None:
        return gradient_RP, norm_R
    return gradient_RP * (largest / (norm_R + 1e-6)).clamp(max=1.0).unsqueeze(1), norm_R


def adamw(
    spec: OptimiserSpec, weights_RP: Tensor, moments: tuple[Tensor, Tensor], gradient_RP: Tensor, numbers_3: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the next weights, mean and square, all (R, P), from one row of `step_numbers`.

    Decoupled weight decay (Loshchilov & Hutter 2019) on every parameter; bias correction as in `torch.optim.AdamW`.
    """
    (beta1, beta2), (keep, rate, root) = spec.betas, numbers_3.unbind()
    mean_RP = torch.lerp(moments[0], gradient_RP, 1 - beta1)
    square_RP = moments[1] * beta2 + gradient_RP * gradient_RP * (1 - beta2)
    return weights_RP * keep - rate * mean_RP / (square_RP.sqrt() / root + spec.eps), mean_RP, square_RP

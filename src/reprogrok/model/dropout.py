"""(seed, step, place in the model) -> the activations that a replica drops, decided by comparing integers.

An activation is dropped if 16 random bits are below rate x 2^16, so the choice is the same on every device and backend
and does not depend on other replicas. The rate is rounded to the threshold: 0.1 becomes 6554/65536 = 0.100006, and
kept activations are scaled for exactly that rate. Eight activations share one call of the generator.

Axes: R replicas, W calls of the generator, each of eight half words.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from reprogrok.tasks.streams import Purpose, draw

_STEPS = 2**16  # of a threshold
_HALVES = 8  # half words of one call


@dataclass(frozen=True)
class Dropout:
    """The dropout of one step.

    Attributes:
        rate: fraction of activations to drop, 2^-16 to 0.99.
        seeds_R: int64, one per replica.
        step: () int64.
    """

    rate: float
    seeds_R: Tensor
    step: Tensor

    def of(self, x: Tensor, site: int) -> Tensor:
        """Drop activations of `x` (R, ...) and scale up the others; every `site` of a model has its own draws."""
        threshold = round(self.rate * _STEPS)
        count = prod(x.shape[1:])
        calls_W = torch.arange(-(-count // _HALVES), device=x.device)
        words = torch.stack(draw(self.seeds_R.unsqueeze(1), Purpose.DROPOUT, self.step, calls_W, site), dim=1)
        halves_R8W = torch.cat([words >> 16, words & 0xFFFF], dim=1)
        kept = (halves_R8W >= threshold).flatten(1)[:, :count].reshape(x.shape)
        return x * (kept.to(x.dtype) * (_STEPS / (_STEPS - threshold)))

"""(seed, step, place in the model) -> which activations a replica drops, by comparing integers.

An activation is dropped where 16 random bits are below rate x 2^16, so the same ones are dropped on every device and
on either path, whatever runs beside the replica. The rate is that of the threshold: 0.1 is 6554/65536 = 0.100006, and
what is kept is divided by exactly what that leaves. Eight activations share one call of the generator.

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
        rate: share of activations that are dropped, 2^-16 to 0.99.
        seeds_R: int64, one per replica.
        step: () int64.
    """

    rate: float
    seeds_R: Tensor
    step: Tensor

    def of(self, x: Tensor, site: int) -> Tensor:
        """`x` (R, ...) with some activations zero and the others scaled up; every `site` of a model draws its own."""
        threshold = round(self.rate * _STEPS)
        count = prod(x.shape[1:])
        calls_W = torch.arange(-(-count // _HALVES), device=x.device)
        words = torch.stack(draw(self.seeds_R.unsqueeze(1), Purpose.DROPOUT, self.step, calls_W, site), dim=1)
        halves_R8W = torch.cat([words >> 16, words & 0xFFFF], dim=1)
        kept = (halves_R8W >= threshold).flatten(1)[:, :count].reshape(x.shape)
        return x * (kept.to(x.dtype) * (_STEPS / (_STEPS - threshold)))

"""Problems in bulk: pairs of operands as two columns, and named strata with the law of their draw."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Pairs:
    """N problems as two int64 tensors of shape (N,)."""

    a: torch.Tensor
    b: torch.Tensor

    def __len__(self) -> int:
        return len(self.a)

    def __getitem__(self, part: slice) -> Pairs:
        return Pairs(self.a[part], self.b[part])


@dataclass(frozen=True)
class Stratum:
    """Problems of one kind, with the law of their draw."""

    name: str
    law: str
    pairs: Pairs

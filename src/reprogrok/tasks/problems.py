"""Problems in bulk: pairs of operands as two columns, and named groups of them with the law they were drawn by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
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
    """Problems of one kind, with the law they were drawn by."""

    name: str
    law: str
    pairs: Pairs

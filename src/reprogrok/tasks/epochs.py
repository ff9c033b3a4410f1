"""(seeds, step) -> the training examples of a step, for tasks whose examples are all known.

    reshuffled   every example once an epoch, in a new order; the last batch of an epoch may be smaller
    blocks       blocks of consecutive rows are fixed and only their order changes; rows that fill no block are never
                 seen (the data loader of llm.c, which also needs one token after the last row)

An order is a pure function of (seed, epoch): the examples sorted by words of the counter-based generator. The only
state is a cached copy of the current order. Axes: R replicas, N examples or blocks, B examples of a batch.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from reprogrok.tasks.blocks import check_filled, whole_blocks
from reprogrok.tasks.streams import Purpose, draw

ORDERS = ("reshuffled", "blocks")


class Epochs:
    """The batches of several seeds, as indices into `count` examples.

    Raises:
        InputError: there are too few examples to fill a batch.
    """

    def __init__(self, seeds: Sequence[int], count: int, size: int, order: str, device: torch.device) -> None:
        if order not in ORDERS:
            raise ValueError(f"order {order!r} is none of {', '.join(ORDERS)}")
        self._blocks = order == "blocks"
        if not self._blocks:
            check_filled(count, size, count)
        self._seeds_R1 = torch.tensor(seeds, dtype=torch.int64).unsqueeze(1)
        self._size, self._device = size, device
        self._ordered = whole_blocks(count, size) if self._blocks else count  # blocks or examples to order
        self.steps = self._ordered if self._blocks else -(-count // size)  # steps of one epoch
        self._epoch, self._order_RN = -1, torch.empty(0)

    @property
    def constant(self) -> bool:
        """Whether every batch is the same."""
        return self._blocks and self.steps == 1

    def batch(self, step: int) -> Tensor:
        """Return the examples of a step, int64 (R, B); B may be smaller at the end of a reshuffled epoch."""
        epoch, place = divmod(step, self.steps)
        if epoch != self._epoch:
            self._epoch, self._order_RN = epoch, self._order(epoch).to(self._device, non_blocking=True)
        if not self._blocks:
            return self._order_RN[:, place * self._size : (place + 1) * self._size]
        first_R1 = self._order_RN[:, place : place + 1] * self._size
        return first_R1 + torch.arange(self._size, device=self._device)

    def _order(self, epoch: int) -> Tensor:
        """Return a permutation of 0 .. N - 1 per replica, (R, N): a stable sort of 63 random bits."""
        high_RN, low_RN, _, _ = draw(self._seeds_R1, Purpose.ORDER, epoch, torch.arange(self._ordered))
        return (((high_RN & 0x7FFFFFFF) << 32) | low_RN).argsort(dim=1, stable=True)

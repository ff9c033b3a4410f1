"""(seeds, step) -> which training examples a step sees, where all examples are known and an epoch goes through them.

    reshuffled   every example once an epoch, in a new order each time; the last batch of an epoch is smaller
    blocks       consecutive rows are one block for good, only the order of the blocks is new each time; rows that fill
                 no block are never seen (the data loader of llm.c, which also needs one token behind the last row)

An order is a pure function of (seed, epoch): the examples sorted by words of the counter-based generator. Nothing is
carried from step to step but a copy of the order under way. Axes: R replicas, N examples or blocks, B of a batch.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from reprogrok.errors import InputError
from reprogrok.tasks.streams import Purpose, draw

ORDERS = ("reshuffled", "blocks")


def whole_blocks(count: int, size: int) -> int:
    """How many blocks of `size` rows a file of `count` rows holds, as the loader of llm.c counts.

    The row behind the last one lends it its first token, which the last position predicts: so the very last row of a
    file never counts. Blocks of 512 hold 4,608 of 4,704 rows (nine), and of 4,608 rows 4,096 (eight).

    Raises:
        InputError: not even one.
    """
    _check_filled(count, size, count - 1)
    return (count - 1) // size


def _check_filled(count: int, size: int, most: int) -> None:
    if size > most:
        expected = f"at most {most}: there are {count} training examples"
        raise InputError("a batch that cannot be filled", field="$.batch.size", expected=expected, found=str(size))


class Epochs:
    """The batches of some seeds, as indices into `count` examples.

    Raises:
        InputError: a batch is larger than what there is to fill it.
    """

    def __init__(self, seeds: Sequence[int], count: int, size: int, order: str, device: torch.device) -> None:
        if order not in ORDERS:
            raise ValueError(f"order {order!r} is none of {', '.join(ORDERS)}")
        self._blocks = order == "blocks"
        if not self._blocks:
            _check_filled(count, size, count)
        self._seeds_R1 = torch.tensor(seeds, dtype=torch.int64).unsqueeze(1)
        self._size, self._device = size, device
        self._ordered = whole_blocks(count, size) if self._blocks else count  # what an epoch puts in order
        self.steps = self._ordered if self._blocks else -(-count // size)  # of one epoch
        self._epoch, self._order_RN = -1, torch.empty(0)

    @property
    def constant(self) -> bool:
        """Is every batch the same?"""
        return self._blocks and self.steps == 1

    def batch(self, step: int) -> Tensor:
        """The examples of a step: (R, B) int64 on the device, B smaller at the end of a reshuffled epoch."""
        epoch, place = divmod(step, self.steps)
        if epoch != self._epoch:
            self._epoch, self._order_RN = epoch, self._order(epoch).to(self._device, non_blocking=True)
        if not self._blocks:
            return self._order_RN[:, place * self._size : (place + 1) * self._size]
        first_R1 = self._order_RN[:, place : place + 1] * self._size
        return first_R1 + torch.arange(self._size, device=self._device)

    def _order(self, epoch: int) -> Tensor:
        """(R, N): every number below N once, by the size of 63 random bits; equal ones stay in their order."""
        high_RN, low_RN, _, _ = draw(self._seeds_R1, Purpose.ORDER, epoch, torch.arange(self._ordered))
        return (((high_RN & 0x7FFFFFFF) << 32) | low_RN).argsort(dim=1, stable=True)

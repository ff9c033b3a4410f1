"""(seeds, steps) -> training batches of the addition task, drawn by curriculum and never from the hold-out.

For every problem a digit count n is uniform in the range of the step's stage, and both operands are uniform in
[0, 10**n). A held-out pair is redrawn with the same n. A batch is a pure function of (seed, step); many steps are drawn
at once because one large draw costs far less than many small ones.

Axes: S steps, R replicas, B problems.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch

from reprogrok.spec.task import CurriculumStage
from reprogrok.tasks.holdout import HeldBack
from reprogrok.tasks.problems import Pairs
from reprogrok.tasks.streams import Purpose, below, draw


class Batches:
    """The training problems of some seeds, made on the device that uses them.

    Args:
        seeds: one per replica.
        size: problems per step.
        stages: the curriculum, in order, the first one starting at step 0.
        held: the distinct pairs that each seed holds out; none is ever drawn for it.
        device: the device of the draws; the numbers are the same on all.
    """

    def __init__(
        self,
        seeds: Sequence[int],
        size: int,
        stages: Sequence[CurriculumStage],
        held: Sequence[Pairs],
        device: torch.device,
    ) -> None:
        self._held = HeldBack(held, device)
        self._seeds_R1 = torch.tensor(seeds, dtype=torch.int64, device=device).unsqueeze(1)
        self._index_B = torch.arange(size, device=device)
        self._starts, self._least, self._most = (
            torch.tensor(column, device=device)
            for column in zip(*((stage.start, *stage.digits) for stage in stages), strict=True)
        )
        self._redraws = None if device.type == "cpu" else _enough_redraws(stages, held)

    def pairs(self, first: int, last: int) -> Pairs:
        """Return the problems of steps first..last-1: two int64 tensors of shape (S, R, B)."""
        steps_S11 = torch.arange(first, last, device=self._index_B.device).reshape(-1, 1, 1)
        word_SRB = draw(self._seeds_R1, Purpose.DIGIT_COUNT, steps_S11, self._index_B)[0]
        bound_SRB = 10 ** self._digit_counts(steps_S11, word_SRB)
        pairs = self._operands(steps_S11, bound_SRB, attempt=0)
        for attempt in itertools.count(1) if self._redraws is None else range(1, self._redraws + 1):
            again_SRB = self._held.contains(pairs)
            if self._redraws is None and not again_SRB.any():
                break
            redrawn = self._operands(steps_S11, bound_SRB, attempt)
            pairs = Pairs(torch.where(again_SRB, redrawn.a, pairs.a), torch.where(again_SRB, redrawn.b, pairs.b))
        return pairs

    def _digit_counts(self, steps_S11: torch.Tensor, word_SRB: torch.Tensor) -> torch.Tensor:
        """Return digit counts uniform in each step's range, by multiply and shift: off by at most range / 2**32."""
        stage_S11 = torch.bucketize(steps_S11, self._starts, right=True) - 1
        least, most = self._least[stage_S11], self._most[stage_S11]
        return least + ((word_SRB * (most - least + 1)) >> 32)

    def _operands(self, steps_S11: torch.Tensor, bound_SRB: torch.Tensor, attempt: int) -> Pairs:
        w0, w1, w2, w3 = draw(self._seeds_R1, Purpose.OPERANDS, steps_S11, self._index_B, attempt)
        return Pairs(below(bound_SRB, w0, w1), below(bound_SRB, w2, w3))


def _enough_redraws(stages: Sequence[CurriculumStage], held: Sequence[Pairs]) -> int:
    """Return a number of redraws after which one of 10**12 problems is still held out with probability 10**-12 at most.

    An accelerator makes them all, because checking whether one is needed would wait for it. A redraw changes only pairs
    that are held out, so the problems are those of a loop that checks.
    """
    counts = {n for stage in stages for n in range(stage.digits[0], stage.digits[1] + 1)}
    fraction = max(int(((p.a < 10**n) & (p.b < 10**n)).sum()) / 100**n for p in held for n in counts)
    if fraction == 1:
        raise ValueError("every problem of some number of digits is held out")
    return math.ceil(-24 * math.log(10) / math.log(fraction)) if fraction else 0

"""(seed, steps) -> training batches of the addition task, drawn by curriculum and never from the hold-out.

For every problem one digit count n is uniform in the range of the step's stage, both operands are uniform in
[0, 10**n). A pair that is held out is redrawn, keeping n. A batch is a pure function of (seed, step): batches come in
chunks of many steps at once because one large draw costs far less than many small ones, not because order matters.
"""

from __future__ import annotations

import torch

from reprogrok.data.holdout import HeldBack, HoldOut
from reprogrok.data.problems import Pairs
from reprogrok.data.streams import Purpose, below, draw
from reprogrok.spec import CurriculumStage


class Batches:
    """The training problems of one seed.

    Args:
        seed: the replica's seed.
        size: problems per step.
        stages: the curriculum, in order, the first one starting at step 0.
        held: this seed's own hold-out; none of its pairs is ever drawn.
    """

    def __init__(self, seed: int, size: int, stages: tuple[CurriculumStage, ...], held: HoldOut) -> None:
        self.seed, self.size, self.stages = seed, size, stages
        both = [(p.a, p.b) for p in (held.validation, held.test)]
        self._held = HeldBack(Pairs(*(torch.cat(column) for column in zip(*both, strict=True))))

    def pairs(self, first: int, last: int) -> Pairs:
        """The problems of steps first..last-1: two int64 tensors of shape (S, B)."""
        steps_S1 = torch.arange(first, last).unsqueeze(1)
        index_B = torch.arange(self.size)
        words = draw(self.seed, Purpose.DIGIT_COUNT, steps_S1, index_B)
        bound_SB = 10 ** self._digit_counts(steps_S1, words[0])
        pairs = self._operands(steps_S1, index_B, bound_SB, attempt=0)
        attempt = 0
        while (again_SB := self._held.contains(pairs)).any():
            attempt += 1
            redrawn = self._operands(steps_S1, index_B, bound_SB, attempt)
            pairs = Pairs(torch.where(again_SB, redrawn.a, pairs.a), torch.where(again_SB, redrawn.b, pairs.b))
        return pairs

    def _digit_counts(self, steps_S1: torch.Tensor, word_SB: torch.Tensor) -> torch.Tensor:
        """Uniform in each step's range, by multiply and shift: off by at most (range / 2**32) of a probability."""
        starts = torch.tensor([stage.start for stage in self.stages])
        stage_S1 = torch.bucketize(steps_S1, starts, right=True) - 1
        least = torch.tensor([stage.digits[0] for stage in self.stages])[stage_S1]
        most = torch.tensor([stage.digits[1] for stage in self.stages])[stage_S1]
        return least + ((word_SB * (most - least + 1)) >> 32)

    def _operands(self, steps_S1: torch.Tensor, index_B: torch.Tensor, bound_SB: torch.Tensor, attempt: int) -> Pairs:
        w0, w1, w2, w3 = draw(self.seed, Purpose.OPERANDS, steps_S1, index_B, attempt)
        return Pairs(below(bound_SB, w0, w1), below(bound_SB, w2, w3))

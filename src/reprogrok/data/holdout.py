"""A seed -> the pairs that are kept out of training: the published hold-out protocol `addition-100k/1`.

For each seed a CPU `torch.Generator` draws pairs in vectors of max(2 * missing, 4096): all values of a, then all of b,
each uniform in [0, 10**digits). The first 15,000 distinct pairs count: 5,000 for validation, then 10,000 for the test
set. The exam joins the test sets of ten published seeds. The draws, their order and their number are part of the
protocol, so this uses torch's generator and not our own streams: the pairs are the same, bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from reprogrok.data.problems import Pairs
from reprogrok.data.protocols import TEST, VALIDATION


@dataclass(frozen=True)
class HoldOut:
    """What one seed keeps out of training."""

    validation: Pairs
    test: Pairs

    def sets(self) -> dict[str, Pairs]:
        """Both parts by name."""
        return {"validation": self.validation, "test": self.test}


def hold_out(seed: int, digits: int = 10) -> HoldOut:
    """The validation and test pairs of one seed, as the protocol draws them.

    Args:
        seed: seed of the `torch.Generator`.
        digits: 10 in the published protocol; fewer for small analogues with at least 15,000 problems.

    Raises:
        ValueError: there are not 15,000 distinct problems with so few digits.
    """
    wanted = VALIDATION + TEST
    if 100**digits < wanted:
        raise ValueError(f"{digits} digits give {100**digits} problems; the protocol holds out {wanted}")
    generator = torch.Generator().manual_seed(seed)
    held = Pairs(torch.empty(0, dtype=torch.int64), torch.empty(0, dtype=torch.int64))
    while len(held) < wanted:
        count = max(2 * (wanted - len(held)), 4096)
        a = torch.randint(0, 10**digits, (count,), generator=generator, dtype=torch.int64)
        b = torch.randint(0, 10**digits, (count,), generator=generator, dtype=torch.int64)
        held = _distinct(Pairs(torch.cat([held.a, a]), torch.cat([held.b, b])))
    return HoldOut(held[:VALIDATION], held[VALIDATION:wanted])


def _distinct(pairs: Pairs) -> Pairs:
    """The first occurrence of every pair, in the order of arrival."""
    # Two stable sorts put equal pairs next to each other, the earliest first; one int64 key could not hold a pair.
    order = torch.argsort(pairs.b, stable=True)
    order = order[torch.argsort(pairs.a[order], stable=True)]
    a, b = pairs.a[order], pairs.b[order]
    repeated = torch.zeros(len(pairs), dtype=torch.bool)
    repeated[order[1:]] = (a[1:] == a[:-1]) & (b[1:] == b[:-1])
    return Pairs(pairs.a[~repeated], pairs.b[~repeated])


class HeldBack:
    """Answers, for many pairs at once, whether they are held out: a sorted search, without a loop over pairs."""

    def __init__(self, pairs: Pairs) -> None:
        order = torch.argsort(pairs.b, stable=True)
        order = order[torch.argsort(pairs.a[order], stable=True)]
        self._a, self._b = pairs.a[order].contiguous(), pairs.b[order].contiguous()

    def contains(self, pairs: Pairs) -> torch.Tensor:
        """A bool tensor of the shape of `pairs`: is this very pair (a, b) held out?"""
        a, b = pairs.a.reshape(-1).contiguous(), pairs.b.reshape(-1)
        place, end = (torch.searchsorted(self._a, a, right=right) for right in (False, True))
        found = torch.zeros(len(a), dtype=torch.bool, device=a.device)
        # Several held pairs may share an operand a: each round compares the next of them. Usually there is no round.
        while (open_ := ~found & (place < end)).any():
            rows = open_.nonzero().squeeze(1)
            found[rows] = self._b[place[rows]] == b[rows]
            place = place + 1
        return found.reshape(pairs.a.shape)

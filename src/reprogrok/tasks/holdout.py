"""A seed -> the pairs that are held out of training: the published protocol `addition-100k/1`.

For each seed a CPU `torch.Generator` draws pairs in vectors of max(2 * missing, 4096): all values of a, then all of b,
each uniform in [0, 10**digits). The first 15,000 distinct pairs are kept: 5,000 for validation, then 10,000 for the
test set. The exam joins the test sets of ten published seeds. The draws, their order and their number are part of the
protocol, so this module uses torch's generator instead of our streams and gives the published pairs exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from reprogrok.tasks.problems import Pairs
from reprogrok.tasks.protocols import TEST, VALIDATION

# Odd, so that wrapping products lose no bits; if held pairs collide under one multiplier, the next is tried.
_MULTIPLIERS = (0xBF58476D1CE4E5B9 - 2**64, 0x9E3779B97F4A7C15 - 2**64, 0xD1B54A32D192ED03 - 2**64)


@dataclass(frozen=True)
class HoldOut:
    """The pairs that one seed holds out of training."""

    validation: Pairs
    test: Pairs

    def sets(self) -> dict[str, Pairs]:
        """Return both parts by name."""
        return {"validation": self.validation, "test": self.test}

    def pairs(self) -> Pairs:
        """Return all held-out pairs."""
        return Pairs(torch.cat([self.validation.a, self.test.a]), torch.cat([self.validation.b, self.test.b]))


def hold_out(seed: int, digits: int = 10) -> HoldOut:
    """Draw the validation and test pairs of one seed by the protocol.

    Args:
        seed: seed of the `torch.Generator`.
        digits: 10 in the published protocol; fewer for a small analogue with at least 15,000 problems.

    Raises:
        ValueError: fewer than 15,000 distinct problems exist.
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
    """Keep the first occurrence of every pair, in order of arrival."""
    # Two stable sorts put equal pairs next to each other, earliest first; a pair does not fit into one int64 key.
    order = torch.argsort(pairs.b, stable=True)
    order = order[torch.argsort(pairs.a[order], stable=True)]
    a, b = pairs.a[order], pairs.b[order]
    repeated = torch.zeros(len(pairs), dtype=torch.bool)
    repeated[order[1:]] = (a[1:] == a[:-1]) & (b[1:] == b[:-1])
    return Pairs(pairs.a[~repeated], pairs.b[~repeated])


class HeldBack:
    """A vectorised test of whether pairs of R replicas are held out, without loops or synchronisation.

    A pair is looked up by a 64-bit key, a * multiplier + b with wrapping products. The multiplier is chosen so that no
    two held pairs of a replica share a key, so a key finds at most one held pair, which is then compared.
    """

    def __init__(self, held: Sequence[Pairs], device: torch.device) -> None:
        """Index the held pairs: for each replica the same number of distinct pairs."""
        a_RK, b_RK = (torch.stack(column) for column in zip(*((pairs.a, pairs.b) for pairs in held), strict=True))
        for self._multiplier in _MULTIPLIERS:
            key_RK, order_RK = (a_RK * self._multiplier + b_RK).sort(dim=1)
            if not (key_RK[:, 1:] == key_RK[:, :-1]).any():
                break
        else:
            raise ValueError("the pairs of a replica must be distinct")
        self._key_RK, self._a_RK, self._b_RK = (
            column.to(device) for column in (key_RK, a_RK.gather(1, order_RK), b_RK.gather(1, order_RK))
        )

    def contains(self, pairs: Pairs) -> torch.Tensor:
        """Return a bool tensor for pairs (..., R, B): whether each pair is held out for its replica."""
        if not self._key_RK.shape[1]:
            return torch.zeros(pairs.a.shape, dtype=torch.bool, device=pairs.a.device)
        a_RN, b_RN = (x.transpose(0, -2).flatten(1) for x in (pairs.a, pairs.b))
        key_RN = a_RN * self._multiplier + b_RN
        place_RN = torch.searchsorted(self._key_RK, key_RN).clamp(max=self._key_RK.shape[1] - 1)
        found_RN = (self._a_RK.gather(1, place_RN) == a_RN) & (self._b_RK.gather(1, place_RN) == b_RN)
        return found_RN.reshape(pairs.a.transpose(0, -2).shape).transpose(0, -2)

"""(seed, purpose, step, index) -> random integers: a pure function with the same bits on every device.

Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3") maps a 128-bit counter and a 64-bit
key to 128 random bits. The key is the seed; the counter is (index, attempt, step, purpose). Any draw can be repeated
alone, in any order and on any device, and a resumed run has no generator state to restore.

The arithmetic uses int64 tensors, whose products wrap like unsigned ones; each word stays below 2**32.
"""

from __future__ import annotations

from enum import IntEnum

import torch
from scipy.special import ndtri

Words = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]

_MASK = 0xFFFFFFFF
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10


class Purpose(IntEnum):
    """The purpose of a draw. Numbers are never reused, so that old runs stay repeatable."""

    INITIAL_WEIGHTS = 1
    DIGIT_COUNT = 2
    OPERANDS = 3
    STRESS = 4
    ORDER = 5
    DROPOUT = 6


def philox(counter: tuple[torch.Tensor | int, ...], key: tuple[torch.Tensor | int, torch.Tensor | int]) -> Words:
    """Compute Philox4x32-10 of broadcastable counters and keys.

    Args:
        counter: four int64 tensors (or ints) of values in [0, 2**32).
        key: two 32-bit words, or int64 tensors of them.

    Returns:
        Four int64 tensors of values in [0, 2**32).
    """
    # Python ints stay ints, because moving them to an accelerator would wait for it.
    x0, x1, x2, x3 = counter
    k0, k1 = key
    for _ in range(_ROUNDS):
        p0, p1 = x0 * _MULTIPLIERS[0], x2 * _MULTIPLIERS[1]
        # The shift of a negative product is arithmetic; the mask makes the high word unsigned again.
        x0, x1, x2, x3 = ((p1 >> 32) & _MASK) ^ x1 ^ k0, p1 & _MASK, ((p0 >> 32) & _MASK) ^ x3 ^ k1, p0 & _MASK
        k0, k1 = (k0 + _WEYL[0]) & _MASK, (k1 + _WEYL[1]) & _MASK
    x0, x1, x2, x3 = torch.broadcast_tensors(*(torch.as_tensor(word) for word in (x0, x1, x2, x3)))
    return x0, x1, x2, x3


def draw(
    seed: torch.Tensor | int,
    purpose: Purpose,
    step: torch.Tensor | int,
    index: torch.Tensor | int,
    attempt: torch.Tensor | int = 0,
) -> Words:
    """128 random bits for each (seed, step, index, attempt), as four 32-bit words; arguments broadcast.

    Args:
        seed: in [0, 2**64), or a tensor of seeds in [0, 2**63).
        purpose: purpose of the bits; draws of different purposes are independent.
        step: optimiser step, or another 32-bit label.
        index: place in the batch or tensor.
        attempt: number of the redraw.
    """
    return philox((index, attempt, step, int(purpose)), (seed & _MASK, (seed >> 32) & _MASK))


def below(bound: torch.Tensor | int, high: torch.Tensor, low: torch.Tensor) -> torch.Tensor:
    """Reduce 63 of the 64 bits (high, low) to [0, bound), for bounds up to 10**10.

    The remainder favours small values by at most bound / 2**63 < 1.1e-9 of their probability.
    """
    return (((high & 0x7FFFFFFF) << 32) | low) % bound


def uniform(seed: int, purpose: Purpose, label: int, count: int) -> torch.Tensor:
    """Draw `count` float64 values on the CPU, uniform in (0, 1): midpoints of 2**53 equal parts."""
    high, low, _, _ = draw(seed, purpose, label, torch.arange(count))
    return (((high << 21) | (low >> 11)).double() + 0.5) * 2.0**-53


def standard_normal(seed: int, purpose: Purpose, label: int, count: int) -> torch.Tensor:
    """Draw `count` float64 values from N(0, 1) on the CPU, by the inverse distribution function of `uniform`.

    SciPy's `ndtri` is one scalar routine, so a value does not depend on vector width or position.
    """
    return torch.from_numpy(ndtri(uniform(seed, purpose, label, count).numpy()))

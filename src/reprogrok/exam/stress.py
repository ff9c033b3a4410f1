"""Strata that uniform problems hardly reach, where a model that scores 100 % may still be wrong.

Each stratum has a name, a law (printed with the results) and problems from our counter-based streams, equal on every
device. A carry chain of length L is one place whose digit sum is 10 or more, followed (towards more significant digits)
by L - 1 places whose digit sum is exactly 9: the carry starts at the first and runs through the others. A problem
belongs to the stratum of its longest chain.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from functools import cache

import torch

from reprogrok.tasks.problems import Pairs, Stratum
from reprogrok.tasks.protocols import PER_STRATUM
from reprogrok.tasks.streams import Purpose, below, draw

# Number of the 100 digit pairs of a place with a sum below 9, of exactly 9, and of 10 or more.
LOW, NINE, HIGH = range(3)
_WAYS = (45, 10, 45)
_PAIRS_BY_KIND = tuple(
    tuple((x, y) for x in range(10) for y in range(10) if lowest <= x + y <= highest)
    for lowest, highest in ((0, 8), (9, 9), (10, 18))
)


def strata(digits: int = 10, count: int = PER_STRATUM, seed: int = 0) -> Iterator[Stratum]:
    """Yield all strata of the suite, in display order.

    Args:
        digits: number of digits of the task.
        count: problems per stratum; the edge pairs are the ten published ones (ten digits only).
        seed: seed of the streams, part of the suite's identity.
    """
    for length in range(digits + 1):
        law = f"uniform among all pairs whose longest carry chain is {length}"
        yield Stratum(f"carry chain {length}", law, carry_chains(length, digits, count, seed))
    for k in range(1, digits + 1):
        low = 0 if k == 1 else 10 ** (k - 1)
        law = f"both operands uniform among the numbers of {k} digit{'s' * (k > 1)}, [{low}, 10^{k})"
        a, b = _two_uniform(10**k - low, 100 + k, count, seed)
        yield Stratum(f"length {k}", law, Pairs(a + low, b + low))
    if digits > 1:
        law = "length of a uniform in 1..n, of b uniform among the others; then each as in its length"
        yield Stratum("unequal lengths", law, _unequal_lengths(digits, count, seed))
    a, _ = _two_uniform(10**digits - 1, 202, count, seed)
    law = f"a + b = 10^{digits}, a uniform in [1, 10^{digits})"
    yield Stratum(f"sum 10^{digits}", law, Pairs(a + 1, 10**digits - 1 - a))
    if digits == 10:
        yield Stratum("edge pairs", "the ten edge pairs of AdderBoard's verifier, all of them", _edge_pairs())


def carry_chains(length: int, digits: int, count: int, seed: int) -> Pairs:
    """Draw `count` pairs, uniform among all whose longest carry chain is exactly `length` places.

    From the least significant place on, the kind of digit pair (sum below, at, above 9) is drawn with the exact
    fraction of completions that end at `length`, rounded to 2**-32; then the pair itself, uniform of its kind.
    """
    a, b = torch.zeros(count, dtype=torch.int64), torch.zeros(count, dtype=torch.int64)
    run, longest = torch.zeros_like(a), torch.zeros_like(a)
    by_kind = torch.zeros(3, 45, 2, dtype=torch.int64)
    for kind, members in enumerate(_PAIRS_BY_KIND):
        by_kind[kind, : len(members)] = torch.tensor(members)
    ways = torch.tensor(_WAYS)
    for place in range(digits):
        w0, w1, w2, _ = draw(seed, Purpose.STRESS, 300 + length, torch.arange(count), place)
        threshold = torch.tensor(
            [[_thresholds(digits - place, r, m, length) for m in range(digits + 1)] for r in range(digits + 1)]
        )[run, longest]
        drawn = (w0.unsqueeze(1) >= threshold).sum(1)
        digit_pair = by_kind[drawn, below(ways[drawn], w1, w2)]
        a, b = a + digit_pair[:, 0] * 10**place, b + digit_pair[:, 1] * 10**place
        run, longest = _advance(run, longest, drawn)
    return Pairs(a, b)


def _advance(run: torch.Tensor, longest: torch.Tensor, kind: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    run = torch.where(kind == HIGH, 1, torch.where((kind == NINE) & (run > 0), run + 1, 0))
    return run, torch.maximum(longest, run)


@cache
def completions(places: int, run: int, longest: int, length: int) -> int:
    """Count the ways in which `places` more digit pairs end with a longest chain of exactly `length`.

    Args:
        places: number of remaining places.
        run: length of the chain that reaches this place, 0 without one.
        longest: length of the longest chain so far.
        length: requested length of the longest chain.
    """
    if longest > length:
        return 0
    if places == 0:
        return int(longest == length)
    through = run + 1 if run else 0
    return (
        _WAYS[LOW] * completions(places - 1, 0, longest, length)
        + _WAYS[NINE] * completions(places - 1, through, max(longest, through), length)
        + _WAYS[HIGH] * completions(places - 1, 1, max(longest, 1), length)
    )


def _thresholds(places: int, run: int, longest: int, length: int) -> tuple[int, int]:
    """Return the values in [0, 2**32) at which the draw for a place changes from LOW to NINE and from NINE to HIGH."""
    total = completions(places, run, longest, length)
    if total == 0:
        return (0, 0)
    through = run + 1 if run else 0
    low = _WAYS[LOW] * completions(places - 1, 0, longest, length)
    nine = _WAYS[NINE] * completions(places - 1, through, max(longest, through), length)
    return (round(Fraction(low * 2**32, total)), round(Fraction((low + nine) * 2**32, total)))


def _two_uniform(bound: torch.Tensor | int, label: int, count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    w0, w1, w2, w3 = draw(seed, Purpose.STRESS, label, torch.arange(count))
    return below(bound, w0, w1), below(bound, w2, w3)


def _unequal_lengths(digits: int, count: int, seed: int) -> Pairs:
    w0, w1, w2, w3 = draw(seed, Purpose.STRESS, 200, torch.arange(count))
    first, offset = below(digits, w0, w1), below(digits - 1, w2, w3)  # lengths minus one
    second = torch.where(offset >= first, offset + 1, offset)
    columns = []
    for place, length in enumerate((first, second)):
        low = torch.where(length == 0, 0, 10**length)
        w0, w1, _, _ = draw(seed, Purpose.STRESS, 201, torch.arange(count), place)
        columns.append(low + below(10 ** (length + 1) - low, w0, w1))
    return Pairs(*columns)


def _edge_pairs() -> Pairs:
    top = 10**10 - 1
    pairs = [
        (0, 0), (0, 1), (top, 0), (top, 1), (top, top), (5000000000, 5000000000),
        (1111111111, 8888888889), (1234567890, 9876543210), (top, top), (1, top),
    ]  # fmt: skip
    columns = torch.tensor(pairs).T
    return Pairs(columns[0].contiguous(), columns[1].contiguous())

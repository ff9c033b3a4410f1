"""How many of the 100^n problems lie in a part, exactly, in whole numbers: no float takes part.

A part is a case with what is left of its far places. Its problems are counted place by place: below the asked places
the carries must fit, so each place is a 2 x 2 table (carry in, carry out) of how many choices are left, and the tables
are multiplied; above, the numbers of choices are. Numbers reach 100^n, beyond 2^63 for ten digits: sums are Python's.

Axes: L leaves, K choices of a place, I carry in, O carry out, R runs of a place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reprogrok.data.carries import Block
from reprogrok.data.proof_trees import Leaf, Run

Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Part:
    """A case, or what is left of it where far places were halved.

    Attributes:
        block: that it belongs to.
        case: its number there.
        allowed: for each place that was halved, which of `block.choices(place)` are left; a missing place is whole.
    """

    block: Block
    case: int
    allowed: Mapping[int, Mask] = field(default_factory=dict)


def count(block: Block, case: int, allowed: Mapping[int, Mask]) -> int:
    """How many problems a part of a case holds; a whole case of ten digits at place 0 holds 100^9.

    Args:
        block: that the case belongs to.
        case: its number there.
        allowed: for each place that was halved, which of `block.choices(place)` are left; a missing place is whole.

    Raises:
        ValueError: a mask of a place that is not far, or of another shape than its choices.
    """
    _check(block, allowed)
    ways = [1, 0]  # of the places so far, by the carry out of them
    for place in block.below:
        table_IO = _table(block, place, allowed.get(place))
        ways = [sum(ways[c] * int(table_IO[c, out]) for c in (0, 1)) for out in (0, 1)]
    total = ways[int(block.cases.carry[case])]
    for place in block.above:
        total *= int(allowed[place].sum()) if place in allowed else len(block.choices(place))
    return total


def counts(block: Block, leaves: Sequence[Leaf], orders: Mapping[int, NDArray[np.int64]]) -> list[int]:
    """`count` of each leaf, in their order; about a microsecond each.

    Args:
        block: that they belong to.
        leaves: as `proof_trees.decode` gives them.
        orders: of the places that they halve, as `proof_trees.checked_order` gives them.
    """
    # Up to ten digits the places below (at most 8) and those above (at most 9) fit int64 each; their product does not.
    numbers: type = np.int64 if block.digits <= 10 else object
    known: dict[int, dict[Run | None, int]] = {place: {None: 0} for place in block.far}
    which = {place: np.zeros(len(leaves), dtype=np.int64) for place in block.far}
    for index, leaf in enumerate(leaves):
        for run in leaf.runs:
            runs = known[run[0]]
            which[run[0]][index] = runs.setdefault(run, len(runs))
    ways_LI: NDArray[Any] = np.zeros((len(leaves), 2), dtype=numbers)
    ways_LI[:, 0] = 1
    for place in block.below:
        tables_LIO: NDArray[Any] = _tables(block, place, list(known[place]), orders.get(place)).astype(numbers)[
            which[place]
        ]
        ways_LI = ways_LI[:, :1] * tables_LIO[:, 0] + ways_LI[:, 1:] * tables_LIO[:, 1]
    above_L: NDArray[Any] = np.ones(len(leaves), dtype=numbers)
    for place in block.above:
        sizes_R = [len(block.choices(place)) if run is None else run[2] - run[1] for run in known[place]]
        above_L *= np.array(sizes_R, dtype=numbers)[which[place]]
    carry_L = block.cases.carry[[leaf.case for leaf in leaves]]
    below_L = ways_LI[np.arange(len(leaves)), carry_L]
    return [int(x) * int(y) for x, y in zip(below_L.tolist(), above_L.tolist(), strict=True)]


def _tables(block: Block, place: int, runs: list[Run | None], order: NDArray[np.int64] | None) -> NDArray[np.int64]:
    tables_RIO = np.zeros((len(runs), 2, 2), dtype=np.int64)
    for index, run in enumerate(runs):
        mask = None
        if run is not None:
            if order is None:
                raise ValueError(f"place {place} is halved but has no order")
            mask = np.zeros(len(order), dtype=np.bool_)
            mask[order[run[1] : run[2]]] = True
        tables_RIO[index] = _table(block, place, mask)
    return tables_RIO


def _table(block: Block, place: int, mask: Mask | None) -> NDArray[np.int64]:
    """How many choices of a place below are left, by carry in and carry out."""
    choices = block.choices(place)
    table_IO = np.zeros((2, 2), dtype=np.int64)
    np.add.at(table_IO, (choices.carry_in, choices.carry_out), 1 if mask is None else mask)
    return table_IO


def _check(block: Block, allowed: Mapping[int, Mask]) -> None:
    for place, mask in allowed.items():
        if place not in block.far:
            raise ValueError(f"place {place} is not far from place {block.place} of {block.digits}")
        if mask.shape != (len(block.choices(place)),):
            raise ValueError(f"place {place} has {len(block.choices(place))} choices, not {mask.shape}")

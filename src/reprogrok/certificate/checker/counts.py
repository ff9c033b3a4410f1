"""Parts -> the exact number of problems in one part, and bounds of the number in at least one of many.

A part is a case with the remaining choices of its far places. Its problems are counted place by place: below, the
carries must fit, so each place is a 2 x 2 table (carry in, carry out) of its remaining choices, and the tables are
multiplied; above, the numbers of choices are. Numbers reach 100^n, beyond 2^63 for ten digits: sums are Python's.

Parts of different places overlap; `checker/sweep.py` counts the problems in at least one.

Axes: L leaves, K choices of a place, I carry in, O carry out, R runs of a place, P parts, N digits,
Y symbols of a place: 100 carry in + 10 a + b.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reprogrok.certificate.checker.carries import Block, Mask
from reprogrok.certificate.checker.overlaps import paired
from reprogrok.certificate.checker.sweep import Rows, swept
from reprogrok.certificate.checker.trees import Leaf, Run

Exact = NDArray[Any]  # int64 where that suffices, else Python's integers

# Masks of one symbol, and of one digit pair whatever the carry, as keys of a place's table.
_SYMBOLS = [row.tobytes() for row in np.eye(200, dtype=np.bool_)]
_PAIRS = [row.tobytes() for row in np.tile(np.eye(100, dtype=np.bool_), 2)]
LIMIT = 5_000
PAIRED = 2_000  # the number of parts, the largest, that are compared in pairs where a sweep takes too long


@dataclass(frozen=True, eq=False)
class Part:
    """A case, or the part of it that is left where far places were halved.

    Attributes:
        block: the case's block.
        case: its number there.
        allowed: for each halved place, which of `block.choices(place)` are left; a missing place is whole.
    """

    block: Block
    case: int
    allowed: Mapping[int, Mask] = field(default_factory=dict)


def count(block: Block, case: int, allowed: Mapping[int, Mask]) -> int:
    """Count the problems of a part, given as in `Part`; a whole case of ten digits at place 0 holds 100^9.

    Raises:
        ValueError: a mask of a place that is not far, or of another shape than its choices.
    """
    _check(block, allowed)
    ways = [1, 0]  # assignments to the places so far, by the carry out of them
    for place in block.below:
        table_IO = _table(block, place, allowed.get(place))
        ways = [sum(ways[c] * int(table_IO[c, out]) for c in (0, 1)) for out in (0, 1)]
    total = ways[int(block.cases.carry[case])]
    for place in block.above:
        total *= int(allowed[place].sum()) if place in allowed else len(block.choices(place))
    return total


def counts(block: Block, leaves: Sequence[Leaf], orders: Mapping[int, NDArray[np.int64]]) -> list[int]:
    """Return `count` of each leaf, in about a microsecond each; orders are those of `trees.checked_order`."""
    # Up to ten digits the places below (at most 8) and those above (at most 9) fit int64 each; their product does not.
    numbers: type = np.int64 if block.digits <= 10 else object
    known: dict[int, dict[Run | None, int]] = {place: {None: 0} for place in block.far}
    which = {place: np.zeros(len(leaves), dtype=np.int64) for place in block.far}
    for index, leaf in enumerate(leaves):
        for run in leaf.runs:
            runs = known[run[0]]
            which[run[0]][index] = runs.setdefault(run, len(runs))
    ways_LI: Exact = np.zeros((len(leaves), 2), dtype=numbers)
    ways_LI[:, 0] = 1
    for place in block.below:
        tables_RIO = _tables(block, place, list(known[place]), orders.get(place))
        tables_LIO: Exact = tables_RIO.astype(numbers)[which[place]]
        ways_LI = ways_LI[:, :1] * tables_LIO[:, 0] + ways_LI[:, 1:] * tables_LIO[:, 1]
    above_L: Exact = np.ones(len(leaves), dtype=numbers)
    for place in block.above:
        sizes_R = [len(block.choices(place)) if run is None else run[2] - run[1] for run in known[place]]
        above_L *= np.array(sizes_R, dtype=numbers)[which[place]]
    carry_L = block.cases.carry[[leaf.case for leaf in leaves]]
    below_L = ways_LI[np.arange(len(leaves)), carry_L]
    return [int(x) * int(y) for x, y in zip(below_L.tolist(), above_L.tolist(), strict=True)]


def parts(block: Block, leaves: Iterable[Leaf], orders: Mapping[int, NDArray[np.int64]]) -> list[Part]:
    """Return the parts that leaves of a block describe, as of `counts`; leaves with the same run share one mask."""
    masks: dict[Run, Mask] = {}
    found = []
    for leaf in leaves:
        for run in leaf.runs:
            if run not in masks:
                masks[run] = _mask(orders[run[0]], run)
        found.append(Part(block, leaf.case, {run[0]: masks[run] for run in leaf.runs}))
    return found


def bounds(
    wrong: Iterable[Part],
    open: Iterable[Part],  # noqa: A002 - the term of certificates
    digits: int,
    limit: int = LIMIT,
) -> tuple[int, int]:
    """Bound the number of problems that are answered wrong; equal if nothing is open and the union is exact.

    Args:
        wrong: parts whose problems are all answered wrong; those of one case are disjoint, as the leaves of a tree.
        open: parts of unknown answers; no wrong problem lies outside of these and the wrong ones.
        digits: n, of each operand.
        limit: of `swept`; beyond it the bounds stay true and are wider.

    Raises:
        ValueError: parts of another number of digits, or a mask that does not fit its place.
    """
    shown, unknown = list(wrong), list(open)
    for part in (*shown, *unknown):
        if part.block.digits != digits:
            raise ValueError(f"a part of {part.block.digits} digits among those of {digits}")
    low, high = _bounds(shown, digits, limit)
    return low, _bounds(shown + unknown, digits, limit)[1] if unknown else high


def _bounds(parts: list[Part], digits: int, limit: int) -> tuple[int, int]:
    """Bound the union by the sweep and, if that was not exact, by sums of parts and of pairs of parts."""
    asked_PN, symbols = _asked(parts)
    low, high = swept(asked_PN, symbols, limit)
    if low == high:
        return low, high
    sizes_P = list(_sizes(parts))
    places_P = np.array([part.block.place for part in parts])
    largest = np.array(sorted(range(len(parts)), key=sizes_P.__getitem__, reverse=True)[:PAIRED])
    sizes_J, some_J = [0] * (digits + 1), [0] * (digits + 1)
    for index, part in enumerate(parts):
        sizes_J[part.block.place] += sizes_P[index]
    for index in largest:
        some_J[places_P[index]] += sizes_P[index]
    least, surplus = paired(asked_PN[largest], symbols, some_J, places_P[largest])
    return max(low, least, *sizes_J), min(high, surplus + sum(sizes_J) - sum(some_J), 100**digits)


def _sizes(parts: Iterable[Part]) -> Iterator[int]:
    """Yield `count` of each part; whole cases with the same carry have the same one."""
    whole: dict[tuple[Block, int], int] = {}
    for part in parts:
        if part.allowed:
            yield count(part.block, part.case, part.allowed)
            continue
        key = (part.block, int(part.block.cases.carry[part.case]))
        if key not in whole:
            whole[key] = count(part.block, part.case, {})
        yield whole[key]


def _tables(block: Block, place: int, runs: list[Run | None], order: NDArray[np.int64] | None) -> NDArray[np.int64]:
    tables_RIO = np.zeros((len(runs), 2, 2), dtype=np.int64)
    for index, run in enumerate(runs):
        mask = None
        if run is not None:
            if order is None:
                raise ValueError(f"place {place} is halved but has no order")
            mask = _mask(order, run)
        tables_RIO[index] = _table(block, place, mask)
    return tables_RIO


def _mask(order: NDArray[np.int64], run: Run) -> Mask:
    mask = np.zeros(len(order), dtype=np.bool_)
    mask[order[run[1] : run[2]]] = True
    return mask


def _table(block: Block, place: int, mask: Mask | None) -> NDArray[np.int64]:
    """Count the remaining choices of a place below, by carry in and carry out."""
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


def _asked(parts: list[Part]) -> tuple[Rows, list[Mask]]:
    """Return each part's condition on each place: a row of the place's table of allowed symbols, 0 where all are."""
    digits = parts[0].block.digits if parts else 0
    tables: list[dict[bytes, int]] = [{np.ones(200, dtype=np.bool_).tobytes(): 0} for _ in range(digits)]
    known: dict[tuple[int, int, bool], tuple[Mask, int]] = {}
    asked_PN = np.zeros((len(parts), digits), dtype=np.int64)
    blocks: dict[Block, Rows] = {}
    for index, part in enumerate(parts):
        block = part.block
        if block.digits != digits:
            raise ValueError(f"a part of {block.digits} digits among those of {digits}")
        if block not in blocks:
            blocks[block] = _asked_by_cases(block, tables)
        asked_PN[index] = blocks[block][part.case]
        for place, mask in part.allowed.items():
            key = (id(mask), place, place < block.place)
            if key not in known:
                _check(block, {place: mask})
                allowed_Y = mask if len(mask) == 200 else np.tile(mask, 2)
                known[key] = mask, tables[place].setdefault(allowed_Y.tobytes(), len(tables[place]))
            asked_PN[index, place] = known[key][1]
    return asked_PN, [np.frombuffer(b"".join(table), dtype=np.bool_).reshape(-1, 200) for table in tables]


def _asked_by_cases(block: Block, tables: list[dict[bytes, int]]) -> Rows:
    """Return the conditions of whole cases on the asked place and on the one before."""
    cases = block.cases
    asked_PN = np.zeros((len(cases), block.digits), dtype=np.int64)
    wanted = []
    if block.place < block.digits:
        wanted.append((block.place, (10 * cases.a + cases.b).tolist(), _PAIRS))
    if block.place > 0:
        symbols = 100 * cases.carry + 10 * cases.a_before + cases.b_before
        wanted.append((block.place - 1, symbols.tolist(), _SYMBOLS))
    for place, symbols_P, masks in wanted:
        table = tables[place]
        asked_PN[:, place] = [table.setdefault(masks[symbol], len(table)) for symbol in symbols_P]
    return asked_PN

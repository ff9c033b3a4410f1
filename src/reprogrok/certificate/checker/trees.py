"""How a certificate says what was decided about a block: a text with one tree per case.

A leaf decides all problems of a case, or of a part of them. A part is made by halving far places: the choices of a
place stand in an order that the certificate gives; halving cuts the run of choices that is left, of length k, into its
first k // 2 and the rest. In the text of a block the trees of its cases follow each other, every tree in preorder:

    a place p       chr(48 + p)   the node is halved at place p; first half, then second half follow
    right, grid g   chr(65 + g)   every problem of the part is answered right: "A", "B", ...
    wrong, grid g   chr(97 + g)   every problem of the part is answered wrong: "a", "b", ...
    open            "?"           neither is shown

A grid says into how many cells the box of the attention's output is cut along its first two coordinates (`GRIDS`).
So a block that was shown right without any cut is the text "AAA...A".

    trees (of a search) --encode--> text --pack--> bytes --unpack--> text --decode--> leaves

A text comes from a stranger: every way in which it can be wrong is an `InputError`, and a tree is never walked by
recursion.

Axes: r rows of a basis, D width of a model, K choices of a place.
"""

from __future__ import annotations

import zlib
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from reprogrok.certificate.checker.carries import Block
from reprogrok.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

GRIDS = ((1, 1), (2, 1), (4, 1), (4, 2), (8, 4), (16, 8), (32, 16))
OPEN = "?"
_PLACE, _RIGHT, _WRONG = 48, 65, 97

# A place, the number of the first choice of a run in the place's order, and where the run ends (exclusive).
Run: TypeAlias = tuple[int, int, int]
# The text of a tree, or a node to be written: its place, first half and second half. A list may be filled in later.
Tree: TypeAlias = "str | Sequence[int | Tree]"


class LeafStatus(StrEnum):
    """What is shown about every problem of a leaf."""

    RIGHT = "right"
    WRONG = "wrong"
    OPEN = "open"


@dataclass(frozen=True)
class BlockProof:
    """What is said about one block, to be checked.

    Attributes:
        block: which.
        basis_rD: the coordinates of the attention's output that boxes are drawn in; any matrix of at most D rows is
            sound, and a good one makes small boxes.
        orders: for every place that is halved, the numbers of its choices in their order.
        text: the trees of its cases.
    """

    block: Block
    basis_rD: NDArray[np.float64]
    orders: Mapping[int, NDArray[np.int64]]
    text: str


@dataclass(frozen=True, slots=True)
class Leaf:
    """What is said about a case or a part of it.

    Attributes:
        case: number of the case in its block.
        status: what is shown about every problem of the part.
        grid: index into `GRIDS`; 0 for an open leaf.
        runs: what is left of the places that were halved, in the order of places; a place that is missing is whole.
    """

    case: int
    status: LeafStatus
    grid: int
    runs: tuple[Run, ...]


_MARKS = {chr(_RIGHT + grid): (LeafStatus.RIGHT, grid) for grid in range(len(GRIDS))}
_MARKS |= {chr(_WRONG + grid): (LeafStatus.WRONG, grid) for grid in range(len(GRIDS))}
_MARKS[OPEN] = (LeafStatus.OPEN, 0)


def mark(status: LeafStatus, grid: int = 0) -> str:
    """The character of a leaf: `mark(LeafStatus.RIGHT, 1)` is "B"; of an open leaf it is "?" whatever the grid."""
    if status is LeafStatus.OPEN:
        return OPEN
    return chr((_RIGHT if status is LeafStatus.RIGHT else _WRONG) + range(len(GRIDS))[grid])


def encode(trees: Iterable[Tree]) -> str:
    """The text of the trees of a block's cases, in their order.

    A node is (place, first half, second half), a leaf its `mark`; `encode([(3, "A", (5, "a", "?")), "B"])` is
    "3A5a?B". What was encoded before may stand in for a tree.
    """
    text: list[str] = []
    left: list[Tree] = []
    for tree in trees:
        left.append(tree)
        while left:
            node = left.pop()
            if isinstance(node, str):
                text.append(node)
            else:
                place, first, second = node
                text.append(chr(_PLACE + place))  # type: ignore[operator] # the first of three is the place
                left += (second, first)  # type: ignore[arg-type] # the other two are trees
    return "".join(text)


def decode(text: str, block: Block) -> list[Leaf]:
    """The leaves of a block, in the order of the text.

    `decode("3A5a?" + 99 * "A", Block(10, 0, EQUALS))` are 102 leaves, of which the second is
    `Leaf(0, LeafStatus.WRONG, 0, ((3, 50, 100), (5, 0, 50)))`.

    Raises:
        InputError: the text is not one tree for each case of the block, with the character (from 1) where it fails.
    """
    cases = len(block.cases)
    sizes = {place: len(block.choices(place)) for place in block.far}
    halvings = {chr(_PLACE + place): place for place in block.far}
    leaves: list[Leaf] = []
    left: list[tuple[Run, ...]] = []  # the runs of the nodes that are still to come in this tree, the next one last
    case = -1
    for index, character in enumerate(text):
        if left:
            runs = left.pop()
        else:
            case, runs = case + 1, ()
            if case == cases:
                raise _refused(block, index, f"the end, after {cases} trees", repr(character))
        leaf = _MARKS.get(character)
        if leaf is not None:
            leaves.append(Leaf(case, *leaf, runs))
            continue
        place = halvings.get(character)
        if place is None:
            raise _refused(block, index, *_unknown(character, block))
        before = bisect_left(runs, (place,))
        known = before < len(runs) and runs[before][0] == place
        first, end = runs[before][1:] if known else (0, sizes[place])
        if end - first < 2:
            raise _refused(block, index, f"a place with choices left to halve (case {case})", f"place {place}, of one")
        middle = first + (end - first) // 2
        lower, higher = runs[:before], runs[before + known :]
        left.append((*lower, (place, middle, end), *higher))
        left.append((*lower, (place, first, middle), *higher))
    if left or case < cases - 1:
        found = f"{case + 1 - bool(left)}" + (" and a tree that is cut off" if left else "")
        raise _refused(block, len(text), f"{cases} trees, one for each case", found)
    return leaves


def checked_order(order: Sequence[int] | NDArray[np.int64], block: Block, place: int) -> NDArray[np.int64]:
    """The order of a place's choices, shape (K,).

    Raises:
        InputError: the place is not far, or not every choice stands in the order exactly once.
    """
    where = f"order of place {place}"
    if place not in block.far:
        raise InputError(where, expected=f"a place among {_several(block.far)}", found=str(place))
    numbers = np.asarray(order)
    size = len(block.choices(place))
    if numbers.shape != (size,):
        raise InputError(where, expected=f"{size} choices", found=f"shape {numbers.shape}")
    if numbers.dtype.kind not in "iu" or not np.array_equal(np.sort(numbers), np.arange(size)):
        raise InputError(where, expected=f"each of 0 to {size - 1} once", found="another list")
    return numbers.astype(np.int64)


def pack(text: str) -> bytes:
    """A text as few bytes, by zlib at its highest level; a block of one kind of leaf takes about twenty."""
    return zlib.compress(text.encode("ascii"), 9)


def unpack(packed: bytes, limit: int) -> str:
    """The inverse of `pack`.

    Args:
        packed: what `pack` gave, or anything else.
        limit: how many characters are read at most; a few bytes could stand for many gigabytes.

    Raises:
        InputError: this is not what `pack` writes, or it is longer than the limit.
    """
    reader = zlib.decompressobj()
    try:
        text = reader.decompress(packed, limit + 1)
    except zlib.error as error:
        raise InputError("trees", expected="a zlib stream", found=str(error)) from error
    if len(text) > limit:
        raise InputError("trees", expected=f"at most {limit} characters", found="more")
    if not reader.eof or reader.unused_data:
        found = "one that is cut off" if not reader.eof else f"{len(reader.unused_data)} bytes after it"
        raise InputError("trees", expected="one whole zlib stream", found=found)
    if not text.isascii():
        raise InputError("trees", expected="ASCII characters", found="others")
    return text.decode("ascii")


def _refused(block: Block, index: int, expected: str, found: str) -> InputError:
    where = f"trees of place {block.place}, token {block.token}, character {index + 1}"
    return InputError(where, expected=expected, found=found)


def _unknown(character: str, block: Block) -> tuple[str, str]:
    """What was expected and found where a character is neither a leaf nor a far place."""
    place = ord(character) - _PLACE
    if 0 <= place <= block.digits:
        return f"a place among {_several(block.far)}", f"place {place}"
    if character.isascii() and character.isalpha():
        grid = ord(character.upper()) - _RIGHT
        return f"a grid below {len(GRIDS)}", f"grid {grid} ({character!r})"
    return "a place, a grid's letter or '?'", ascii(character)


def _several(places: tuple[int, ...]) -> str:
    return ", ".join(map(str, places)) or "none"

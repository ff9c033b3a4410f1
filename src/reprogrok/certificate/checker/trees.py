"""The format of a block's proof: a text with one tree per case.

A leaf decides all problems of a case, or of a part of it. Halving far places makes parts: the certificate orders the
choices of a place; halving cuts the remaining run of k choices into its first k // 2 and the rest. The text of a block
is the trees of its cases one after the other, each in preorder:

    a place p       chr(48 + p)   the node is halved at place p; first half, then second half follow
    right, grid g   chr(65 + g)   every problem of the part is answered right: "A", "B", ...
    wrong, grid g   chr(97 + g)   every problem of the part is answered wrong: "a", "b", ...
    open            "?"           neither is shown

A grid is the number of cells into which the box of the attention's output is cut along its first two coordinates
(`GRIDS`). A block that was shown right without any cut is the text "AAA...A".

    trees (of a search) --encode--> text --pack--> bytes --unpack--> text --decode--> leaves

A text is untrusted input: every malformed one is an `InputError`, and no tree is walked by recursion.

Axes: r rows of a basis, D width of a model, K choices of a place.
"""

from __future__ import annotations

import zlib
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from reprogrok.certificate.checker.carries import Block
from reprogrok.errors import InputError

GRIDS = ((1, 1), (2, 1), (4, 1), (4, 2), (8, 4), (16, 8), (32, 16))
OPEN = "?"
_PLACE, _RIGHT, _WRONG = 48, 65, 97

# A place, and a run of choices in its order: first and end (exclusive).
Run: TypeAlias = tuple[int, int, int]
# The text of a tree, or a node to be written: its place, first half and second half. A list may be filled in later.
Tree: TypeAlias = "str | Sequence[int | Tree]"


class LeafStatus(StrEnum):
    """The answer that is shown for every problem of a leaf; OPEN: none is."""

    RIGHT = "right"
    WRONG = "wrong"
    OPEN = "open"


@dataclass(frozen=True)
class BlockProof:
    """The proof of one block, to be checked.

    Attributes:
        block: the block.
        basis_rD: coordinates of the attention's output in which boxes are drawn; any matrix of at most D rows is sound,
            and a good one makes small boxes.
        orders: for every halved place, the numbers of its choices in their order.
        text: trees of its cases.
    """

    block: Block
    basis_rD: NDArray[np.float64]
    orders: Mapping[int, NDArray[np.int64]]
    text: str


@dataclass(frozen=True, slots=True)
class Leaf:
    """The statement about a case or a part of it.

    Attributes:
        case: number of the case in its block.
        status: right, wrong or open, for every problem of the part.
        grid: index into `GRIDS`; 0 for an open leaf.
        runs: remaining choices of the halved places, in the order of places; a missing place is whole.
    """

    case: int
    status: LeafStatus
    grid: int
    runs: tuple[Run, ...]


_MARKS = {chr(_RIGHT + grid): (LeafStatus.RIGHT, grid) for grid in range(len(GRIDS))}
_MARKS |= {chr(_WRONG + grid): (LeafStatus.WRONG, grid) for grid in range(len(GRIDS))}
_MARKS[OPEN] = (LeafStatus.OPEN, 0)


def mark(status: LeafStatus, grid: int = 0) -> str:
    """Return the character of a leaf: `mark(LeafStatus.RIGHT, 1)` is "B"; an open leaf is "?" for any grid."""
    if status is LeafStatus.OPEN:
        return OPEN
    return chr((_RIGHT if status is LeafStatus.RIGHT else _WRONG) + range(len(GRIDS))[grid])


def encode(trees: Iterable[Tree]) -> str:
    """Return the text of the trees of a block's cases, in their order.

    A node is (place, first half, second half), a leaf its `mark`; `encode([(3, "A", (5, "a", "?")), "B"])` is
    "3A5a?B". A tree may be given as its text.
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
    """Return the leaves of a block, in the order of the text.

    `decode("3A5a?" + 99 * "A", Block(10, 0, EQUALS))` gives 102 leaves; the second is
    `Leaf(0, LeafStatus.WRONG, 0, ((3, 50, 100), (5, 0, 50)))`.

    Raises:
        InputError: the text is not one tree for each case of the block; names the character (from 1) where it fails.
    """
    cases = len(block.cases)
    sizes = {place: len(block.choices(place)) for place in block.far}
    halvings = {chr(_PLACE + place): place for place in block.far}
    leaves: list[Leaf] = []
    left: list[tuple[Run, ...]] = []  # runs of the nodes to come in this tree, the next one last
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
    """Return the order of a place's choices, shape (K,).

    Raises:
        InputError: the place is not far, or the order is not a permutation of its choices.
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
    """Compress a text by zlib at its highest level; a block of equal leaves takes about twenty bytes."""
    return zlib.compress(text.encode("ascii"), 9)


def unpack(packed: bytes, limit: int) -> str:
    """Invert `pack`, for untrusted bytes.

    Args:
        packed: the bytes.
        limit: largest number of characters; a few bytes could expand to many gigabytes.

    Raises:
        InputError: the bytes are not one whole zlib stream of ASCII text, or the text is longer than the limit.
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
    """Return the expected and found texts for a character that is neither a leaf nor a far place."""
    place = ord(character) - _PLACE
    if 0 <= place <= block.digits:
        return f"a place among {_several(block.far)}", f"place {place}"
    if character.isascii() and character.isalpha():
        grid = ord(character.upper()) - _RIGHT
        return f"a grid below {len(GRIDS)}", f"grid {grid} ({character!r})"
    return "a place, a grid's letter or '?'", ascii(character)


def _several(places: tuple[int, ...]) -> str:
    return ", ".join(map(str, places)) or "none"

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
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from reprogrok.data.carries import Block

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

GRIDS = ((1, 1), (2, 1), (4, 1), (4, 2), (8, 4), (16, 8), (32, 16))
OPEN = "?"
_PLACE, _RIGHT, _WRONG = 48, 65, 97


class Status(StrEnum):
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

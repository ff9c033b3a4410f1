"""All problems of an addition, cut into the cases that decide one answer digit each; whole numbers only, no weights.

Places count from 0, the least significant, to n, where only a carry stands. The digit of place j is asked at a
position whose token is the sum digit of place j - 1 (of place 0: `=`). That token and the two operand digits of place
j - 1 give the carry that went into place j - 1, so with the operand digits of place j they decide the right answer:
that is a case.

    block   one place j and one token: everything that the model reads at the asked position itself
    case    (carry into place j - 1, digits of place j - 1, digits of place j) that fit the token: at most 2,000 a block
    far     every other place; its digits change the mix of attention, never the right answer
    choice  an assignment to a far place: (carry into it, digit of a, digit of b), numbered 100 carry + 10 a + b

Above place j no sum digit has been read yet, so carries do not matter there and count as 0. Below place j - 1 the
carries of neighbouring places must fit: each choice's carry out is the next one's carry in, 0 into place 0, and the
case's own into place j - 1. The cases of a block are disjoint; those of all blocks of a place hold all 100^n problems.

Axes: C cases of a block, K choices of a place.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from reprogrok.tasks.addition import EQUALS

Numbers = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Cases:
    """The cases of a block, in the order of (carry, a_before, b_before, a, b), each column of shape (C,).

    Attributes:
        carry: into the place before the one asked; 0 where there is none.
        a_before, b_before: digits of the operands at the place before; 0 for place 0, which has none.
        a, b: digits of the operands at the asked place; 0 for place n, which has none.
        right: the right answer digit.
    """

    carry: Numbers
    a_before: Numbers
    b_before: Numbers
    a: Numbers
    b: Numbers
    right: Numbers

    def __len__(self) -> int:
        return len(self.right)


@dataclass(frozen=True)
class Choices:
    """The choices of a far place, in the order of their numbers, each column of shape (K,)."""

    carry_in: Numbers
    a: Numbers
    b: Numbers
    carry_out: Numbers

    def __len__(self) -> int:
        return len(self.a)

    @property
    def digit(self) -> Numbers:
        """The sum digit at the place."""
        return (self.a + self.b + self.carry_in) % 10

    def by_carries(self, carry_in: int, carry_out: int) -> Mask:
        """Tell which choices have these carries, (K,)."""
        fits_K: Mask = (self.carry_in == carry_in) & (self.carry_out == carry_out)
        return fits_K


@dataclass(frozen=True)
class Block:
    """One answer digit and the token at the asked position.

    Attributes:
        digits: n, of each operand.
        place: j, the place of the asked digit, 0 to n.
        token: the sum digit of place j - 1, or `=` for place 0.
    """

    digits: int
    place: int
    token: int

    @property
    def asked(self) -> int:
        """The position that answers."""
        return 2 * self.digits + 1 + self.place

    @property
    def far(self) -> tuple[int, ...]:
        """Every place but the asked one and the one before."""
        return tuple(i for i in range(self.digits) if i not in (self.place - 1, self.place))

    @property
    def below(self) -> tuple[int, ...]:
        """The far places whose sum digits are read, and whose carries must fit."""
        return tuple(range(self.place - 1))

    @property
    def above(self) -> tuple[int, ...]:
        """The far places whose sum digits are not read yet."""
        return tuple(range(self.place + 1, self.digits))

    @cached_property
    def cases(self) -> Cases:
        """All cases of the block; for ten digits 100 at place 0, 1,000 at place 1, 20 at place 10, else 2,000."""
        carries = (0, 1) if self.place > 1 else (0,)
        before = [(0, 0, 0)]
        if self.place > 0:
            pairs = [(c, x, y) for c in carries for x in range(10) for y in range(10)]
            before = [(c, x, y) for c, x, y in pairs if (c + x + y) % 10 == self.token]
        own = [(x, y) for x in range(10) for y in range(10)] if self.place < self.digits else [(0, 0)]
        carry, a_before, b_before, a, b = np.array([(*left, *right) for left in before for right in own]).T
        into = (a_before + b_before + carry) // 10
        return Cases(carry, a_before, b_before, a, b, (a + b + into) % 10)

    def choices(self, place: int) -> Choices:
        """Return the choices of a far place: 200, or 100 where the carry is known or does not matter."""
        carry, pair = np.divmod(np.arange(200 if 0 < place < self.place - 1 else 100), 100)
        a, b = np.divmod(pair, 10)
        return Choices(carry, a, b, (a + b + carry) // 10)


def blocks(digits: int) -> Iterator[Block]:
    """Yield all blocks of a task, in the order of certificates: place 0 with `=`, then places 1 to n, tokens 0 to 9."""
    yield Block(digits, 0, EQUALS)
    for place in range(1, digits + 1):
        for token in range(10):
            yield Block(digits, place, token)

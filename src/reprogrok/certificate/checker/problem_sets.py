"""Conditions on the digits of a problem, and exact counts of the problems of a set that meet them.

    parts of a proof, or everything --> ProblemSet --conditions--> exact sizes

A set is a list of rows: a case of a block, with the choices that are left at its far places. A condition bounds one
number of one place: a digit, the total of both, the sum digit, the carry into it. It cuts the cases (at the asked place
and the one before) or the choices of one far place; the size of what is left is a product of carry tables, as in
`checker/counts.py`.

Axes: L rows, K choices of a place, M different masks of a place, I carry in, O carry out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from reprogrok.certificate.checker.carries import Block, Choices, Mask, Numbers, blocks
from reprogrok.certificate.checker.counts import Exact, Part
from reprogrok.tasks.addition import EQUALS

# The attributes of a place, with how many values each has. `pair` and `unordered` are numbered 10 a + b.
ATTRIBUTES = {
    "carry": 2, "pair": 100, "unordered": 100, "total": 19, "a": 10, "b": 10, "digit": 10, "least": 10, "most": 10,
}  # fmt: skip


@dataclass(frozen=True)
class DigitCondition:
    """One attribute of one place lies in a range.

    Attributes:
        what: `carry` into the place, `a` or `b` (the operands' digits), `total` (a + b), `digit` (of the sum), `pair`
            (10 a + b), `unordered` (10 times the smaller digit plus the greater), `least` and `most` of a and b.
        low, high: smallest and largest value that meet the condition.
    """

    what: str
    place: int
    low: int
    high: int

    def holds(self, carry: Numbers, a: Numbers, b: Numbers) -> Mask:
        """Tell where the condition holds, given the carry into its place and the two digits; arrays of one shape."""
        value = attribute(self.what, carry, a, b)
        return (value >= self.low) & (value <= self.high)

    def is_known(self, asked: int, digits: int) -> bool:
        """Tell whether the condition means something where the digit of place `asked` is asked.

        Above the asked place carries are not modelled, and place n holds nothing but a carry.
        """
        return self.what in attributes(self.place, asked, digits) and 0 <= self.low <= self.high < ATTRIBUTES[self.what]


Rule = tuple[DigitCondition, ...]


def attribute(what: str, carry: Numbers, a: Numbers, b: Numbers) -> Numbers:
    """Return the value of an attribute for a carry in and the digits a and b; arrays of one shape."""
    values = {"carry": carry, "a": a, "b": b, "total": a + b, "pair": 10 * a + b, "digit": (a + b + carry) % 10}
    if what in values:
        return values[what]
    least, most = np.minimum(a, b), np.maximum(a, b)
    return {"least": least, "most": most, "unordered": 10 * least + most}[what]


def attributes(place: int, asked: int, digits: int) -> list[str]:
    """List the attributes of a place that are known where the digit of place `asked` is asked."""
    if place == digits:
        return ["carry"] if asked == digits else []
    if not 0 <= place < digits:
        return []
    carried = {"carry", "digit"} if 0 < place <= asked else {"digit"} if place == 0 else set()
    return [what for what in ATTRIBUTES if what not in {"carry", "digit"} or what in carried]


def meets(rule: Rule, a: int, b: int) -> bool:
    """Tell whether the problem a + b meets every condition. 15 + 7 has a carry into place 1, and the total 1 there."""
    return all(
        condition.holds(*(np.array(value) for value in standing(a, b, condition.place))).item() for condition in rule
    )


def standing(a: int, b: int, place: int) -> tuple[int, int, int]:
    """Return the carry into a place of a + b, and the two digits that stand there."""
    unit = int(10**place)
    return (a % unit + b % unit) // unit, a // unit % 10, b // unit % 10


class ProblemSet:
    """Problems of which one digit is asked, as rows of cases with what is left of their far places.

    Args:
        place: the asked place.
        digits: n, of each operand.
        columns_5L: carry, a_before, b_before, a and b of each row's case.
        which: for each far place, the number of each row's mask, (L,).
        masks: for each far place, the choices that are left, (M, K).
    """

    def __init__(
        self, place: int, digits: int, columns_5L: Numbers, which: Mapping[int, Numbers], masks: Mapping[int, Mask]
    ) -> None:
        self.place, self.digits, self.columns_5L = place, digits, columns_5L
        self.block = _asking(place, digits)
        self.choices = {far: choices_of(self.block, far) for far in self.block.far}
        carry_L, a_before_L, b_before_L, a_L, b_L = columns_5L
        self.near = {place: ((a_before_L + b_before_L + carry_L) // 10, a_L, b_L)}
        if place > 0:
            self.near[place - 1] = (carry_L, a_before_L, b_before_L)
        self.which, self.masks = which, masks

    @classmethod
    def of_parts(cls, parts: Sequence[Part], place: int, digits: int) -> ProblemSet:
        """Make the set of all problems of some parts of one place, which do not overlap."""
        case_L = np.array([part.case for part in parts], dtype=np.int64)
        token_L = np.array([part.block.token for part in parts], dtype=np.int64)
        columns_5L = np.zeros((5, len(parts)), dtype=np.int64)
        for block in _blocks(digits):
            if block.place == place:
                rows = token_L == block.token
                columns_5L[:, rows] = _columns(block)[:, case_L[rows]]
        block = _asking(place, digits)
        masks = {far: [np.ones(len(choices_of(block, far)), dtype=np.bool_)] for far in block.far}
        known = {far: {whole.tobytes(): 0} for far, (whole,) in masks.items()}
        which = {far: np.zeros(len(parts), dtype=np.int64) for far in block.far}
        for index, part in enumerate(parts):
            for far, mask in part.allowed.items():
                number = known[far].setdefault(mask.tobytes(), len(masks[far]))
                if number == len(masks[far]):
                    masks[far].append(mask)
                which[far][index] = number
        return cls(place, digits, columns_5L, which, {far: np.array(found) for far, found in masks.items()})

    @classmethod
    def everything(cls, place: int, digits: int) -> ProblemSet:
        """Make the set of all 100^n problems, as whole cases."""
        asked = [block for block in _blocks(digits) if block.place == place]
        return cls.of_parts([Part(block, case) for block in asked for case in range(len(block.cases))], place, digits)

    def __len__(self) -> int:
        return len(self.columns_5L[0])

    @property
    def exact(self) -> type:
        """The type of numbers in which the sizes of rows are exact."""
        return np.int64 if 100 ** (self.digits - 1) < 2**63 else object

    def size(self, rule: Rule = ()) -> int:
        """Count the problems that meet every condition, exactly."""
        return sum(self.sizes(rule)[1].tolist())

    def sizes(self, rule: Rule) -> tuple[Numbers, Exact]:
        """Return the rows whose cases meet the conditions, and how many problems that do are left in each."""
        rows_L = self.rows(rule)
        ways_LI: Exact = np.zeros((len(rows_L), 2), dtype=self.exact)
        ways_LI[:, 0] = 1
        for place in self.block.below:
            table_LIO: Exact = self.tables(rule, place).astype(self.exact)[self.which[place][rows_L]]
            ways_LI = ways_LI[:, :1] * table_LIO[:, 0] + ways_LI[:, 1:] * table_LIO[:, 1]
        carry_L = self.near[max(self.place - 1, 0)][0][rows_L]
        size_L: Exact = ways_LI[np.arange(len(rows_L)), carry_L]
        for place in self.block.above:
            size_L = size_L * self.left(rule, place).sum(1).astype(self.exact)[self.which[place][rows_L]]
        return rows_L, size_L

    def rows(self, rule: Rule) -> Numbers:
        """Return the numbers of the rows whose cases meet the conditions at the near places."""
        kept = np.ones(len(self), dtype=np.bool_)
        for condition in rule:
            if condition.place in self.near:
                kept &= condition.holds(*self.near[condition.place])
        return np.flatnonzero(kept)

    def left(self, rule: Rule, place: int) -> Mask:
        """Return the different masks of a far place (M, K), cut by the conditions there."""
        choices, masks_MK = self.choices[place], self.masks[place]
        for condition in rule:
            if condition.place == place:
                masks_MK = masks_MK & condition.holds(choices.carry_in, choices.a, choices.b)
        return masks_MK

    def tables(self, rule: Rule, place: int) -> Numbers:
        """Count the choices left at a place below, (M, I, O)."""
        choices, masks_MK = self.choices[place], self.left(rule, place)
        tables_MIO = np.zeros((len(masks_MK), 2, 2), dtype=np.int64)
        for carry in (0, 1):
            for out in (0, 1):
                tables_MIO[:, carry, out] = masks_MK[:, choices.by_carries(carry, out)].sum(1)
        return tables_MIO


@cache
def choices_of(block: Block, place: int) -> Choices:
    """Return `block.choices(place)`, made once."""
    return block.choices(place)


@cache
def _blocks(digits: int) -> tuple[Block, ...]:
    return tuple(blocks(digits))


def _asking(place: int, digits: int) -> Block:
    """Return a block of the place; the token does not matter for what may stand at a far place."""
    return Block(digits, place, 0 if place > 0 else EQUALS)


@cache
def _columns(block: Block) -> NDArray[np.int64]:
    """Return carry, a_before, b_before, a and b of all cases, (5, C)."""
    cases = block.cases
    return np.array([cases.carry, cases.a_before, cases.b_before, cases.a, cases.b])

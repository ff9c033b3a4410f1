"""Sets of problems that ask for one answer digit -> how many of them hold what, exactly.

    parts of a proof, single problems, or everything --> ProblemSet --conditions--> exact sizes, and histograms

A set is a list of rows: a case of a block, with what is left of its far places. A condition speaks of one place: its
two digits, their total, the sum digit or the carry into it lies in a range. So a condition cuts the cases (the asked
place and the one before) or the choices of one far place, and the size of what is left follows from the same product
of carry tables that counts the parts of a proof.

Axes: L rows, K choices of a place, M different masks of a place, I carry in, O carry out, V values of an attribute.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reprogrok.certificate.checker.carries import Block, Choices, Numbers, blocks
from reprogrok.certificate.checker.counts import Part
from reprogrok.tasks.addition import EQUALS

Floats = NDArray[np.float64]
Masks = NDArray[np.bool_]

# What a condition can speak of, and how many values it has. `pair` and `unordered` are numbered 10 a + b.
ATTRIBUTES = {
    "carry": 2, "pair": 100, "unordered": 100, "total": 19, "a": 10, "b": 10, "digit": 10, "least": 10, "most": 10,
}  # fmt: skip
CARRIED = ("carry", "digit")  # what needs the carry into the place


@dataclass(frozen=True)
class Condition:
    """What one place holds lies in a range.

    Attributes:
        what: `carry` into the place, `a` or `b` (the operands' digits), `total` (a + b), `digit` (of the sum), `pair`
            (10 a + b), `unordered` (10 times the smaller digit and the greater), `least` and `most` of a and b.
        place: where.
        low: the least value that is meant.
        high: the greatest.
    """

    what: str
    place: int
    low: int
    high: int

    def holds(self, carry: Numbers, a: Numbers, b: Numbers) -> Masks:
        """Whether it holds for what stands at its place; arrays of one shape."""
        value = attribute(self.what, carry, a, b)
        return (value >= self.low) & (value <= self.high)


Rule = tuple[Condition, ...]


def attribute(what: str, carry: Numbers, a: Numbers, b: Numbers) -> Numbers:
    """The value of an attribute where `carry` goes in and the digits are a and b; arrays of one shape."""
    if what == "carry":
        return carry
    if what in ("a", "b"):
        return a if what == "a" else b
    if what in ("least", "most"):
        return np.minimum(a, b) if what == "least" else np.maximum(a, b)
    if what == "pair":
        return 10 * a + b
    if what == "unordered":
        return 10 * np.minimum(a, b) + np.maximum(a, b)
    return a + b if what == "total" else (a + b + carry) % 10


@dataclass(frozen=True)
class _Ways:
    """The tables of one set under one rule: what is left, from below and from above.

    Attributes:
        rows_L: the rows whose cases hold the rule; everything else is about these alone.
        size_L: problems left in each row.
        above_L: ways of the places above alone.
        before: of each place below, ways (L, I) up to the carry into it.
        after: of each place below, ways (L, O) from the carry out of it to the case.
    """

    rows_L: Numbers
    size_L: NDArray[Any]
    above_L: NDArray[Any]
    before: dict[int, NDArray[Any]]
    after: dict[int, NDArray[Any]]


class ProblemSet:
    """Rows of one asked place."""

    def __init__(
        self, place: int, digits: int, columns_5L: Numbers, which: Mapping[int, Numbers], masks: Mapping[int, Masks]
    ) -> None:
        """Rows of cases with what is left of their far places; `of_parts` and `everything` make them.

        Args:
            place: the asked one.
            digits: of the task.
            columns_5L: of the cases: carry, a_before, b_before, a, b.
            which: of each far place, which of its masks each row has, (L,).
            masks: of each far place, the choices that are left, (M, K).
        """
        self.place, self.digits, self.columns_5L = place, digits, columns_5L
        self.block = _asking(place, digits)
        self.choices = {far: _choices(self.block, far) for far in self.block.far}
        self._count: type = np.int64 if 100 ** (digits - 1) < 2**63 else object
        carry_L, a_before_L, b_before_L, a_L, b_L = columns_5L
        self.near = {place: ((a_before_L + b_before_L + carry_L) // 10, a_L, b_L)}
        if place > 0:
            self.near[place - 1] = (carry_L, a_before_L, b_before_L)
        self.which, self.masks = which, masks

    @classmethod
    def of_parts(cls, parts: Sequence[Part], place: int, digits: int) -> ProblemSet:
        """The problems of parts that all ask for `place`; they must not overlap if sizes are to be those of a union."""
        case_L = np.array([part.case for part in parts], dtype=np.int64)
        token_L = np.array([part.block.token for part in parts], dtype=np.int64)
        columns_5L = np.zeros((5, len(parts)), dtype=np.int64)
        for (of, token), block in _blocks(digits).items():
            if of == place:
                rows = token_L == token
                columns_5L[:, rows] = _columns(block)[:, case_L[rows]]
        block = _asking(place, digits)
        masks = {far: [np.ones(len(_choices(block, far)), dtype=np.bool_)] for far in block.far}
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
        """All 100^n problems, as whole cases."""
        own = [_columns(block) for key, block in _blocks(digits).items() if key[0] == place]
        columns_5L = np.concatenate(own, axis=1)
        block = _asking(place, digits)
        which = {far: np.zeros(columns_5L.shape[1], dtype=np.int64) for far in block.far}
        masks = {far: np.ones((1, len(_choices(block, far))), dtype=np.bool_) for far in block.far}
        return cls(place, digits, columns_5L, which, masks)

    def largest(self, rows: int) -> ProblemSet:
        """So many of the rows, those with most problems (the first of equals); the set itself if it has no more."""
        if len(self) <= rows:
            return self
        ways = self._ways((), self._count)
        size_L: NDArray[Any] = np.zeros(len(self), dtype=self._count)
        size_L[ways.rows_L] = ways.size_L
        kept = np.sort(np.argsort(-size_L, kind="stable")[:rows])
        which = {far: which_L[kept] for far, which_L in self.which.items()}
        return ProblemSet(self.place, self.digits, self.columns_5L[:, kept], which, self.masks)

    def __len__(self) -> int:
        return len(self.near[self.place][0])

    def size(self, rule: Rule = ()) -> int:
        """How many problems hold all conditions, exactly."""
        return sum(self._ways(rule, self._count).size_L.tolist())

    def holding(self, rule: Rule) -> list[bool]:
        """Which rows have any problem that holds all conditions, (L,)."""
        ways = self._ways(rule, self._count)
        fits = np.zeros(len(self), dtype=np.bool_)
        fits[ways.rows_L[(ways.size_L > 0).astype(np.bool_)]] = True
        return [bool(fit) for fit in fits]

    def histograms(self, rule: Rule) -> Iterator[tuple[str, int, Floats]]:
        """What the problems under a rule hold: for each attribute and place, how many by value (V,), as floats.

        The carry into a place above the asked one is not known, and so nothing that needs it is given there.
        """
        ways = self._ways(rule, np.float64)
        for place, columns in self.near.items():
            for what in self._attributes(place):
                values_L = attribute(what, *columns)[ways.rows_L]
                yield what, place, _summed(values_L, ways.size_L, ATTRIBUTES[what])
        for place, choices in sorted(self.choices.items(), key=lambda item: abs(item[0] - self.place)):
            size_K = self._by_choice(ways, rule, place)
            for what in self._attributes(place):
                values_K = attribute(what, choices.carry_in, choices.a, choices.b)
                yield what, place, _summed(values_K, size_K, ATTRIBUTES[what])

    def _attributes(self, place: int) -> list[str]:
        if place == self.digits:
            return ["carry"]
        known = 0 < place <= self.place
        return [what for what in ATTRIBUTES if what not in CARRIED or known or (what == "digit" and place < 1)]

    def _masks(self, rule: Rule, place: int) -> Masks:
        """The distinct masks of a far place (M, K), cut by the rule's conditions there."""
        choices = self.choices[place]
        masks_MK = self.masks[place]
        for condition in rule:
            if condition.place == place:
                masks_MK = masks_MK & condition.holds(choices.carry_in, choices.a, choices.b)
        return masks_MK

    def _ways(self, rule: Rule, numbers: type) -> _Ways:
        kept = np.ones(len(self), dtype=np.bool_)
        for condition in rule:
            if condition.place in self.near:
                kept &= condition.holds(*self.near[condition.place])
        rows_L = np.flatnonzero(kept)
        tables: dict[int, NDArray[Any]] = {
            place: self._tables(rule, place).astype(numbers)[self.which[place][rows_L]] for place in self.block.below
        }
        ways_LI: NDArray[Any] = np.zeros((len(rows_L), 2), dtype=numbers)
        ways_LI[:, 0] = 1
        before, after = {}, {}
        for place in self.block.below:
            before[place] = ways_LI
            ways_LI = ways_LI[:, :1] * tables[place][:, 0] + ways_LI[:, 1:] * tables[place][:, 1]
        carry_L = self.near[max(self.place - 1, 0)][0][rows_L]
        numbers_L = np.arange(len(rows_L))
        ends_LO: NDArray[Any] = np.zeros((len(rows_L), 2), dtype=numbers)
        ends_LO[numbers_L, carry_L] = 1
        below_L = ways_LI[numbers_L, carry_L]
        for place in reversed(self.block.below):
            after[place] = ends_LO
            ends_LO = ends_LO[:, :1] * tables[place][:, :, 0] + ends_LO[:, 1:] * tables[place][:, :, 1]
        above_L: NDArray[Any] = np.ones(len(rows_L), dtype=numbers)
        for place in self.block.above:
            above_L = above_L * self._masks(rule, place).sum(1).astype(numbers)[self.which[place][rows_L]]
        return _Ways(rows_L, below_L * above_L, above_L, before, after)

    def _tables(self, rule: Rule, place: int) -> NDArray[np.int64]:
        """How many choices of a place below are left, (M, I, O)."""
        choices, masks_MK = self.choices[place], self._masks(rule, place)
        tables_MIO = np.zeros((len(masks_MK), 2, 2), dtype=np.int64)
        for carry in (0, 1):
            for out in (0, 1):
                fits_K = (choices.carry_in == carry) & (choices.carry_out == out)
                tables_MIO[:, carry, out] = masks_MK[:, fits_K].sum(1)
        return tables_MIO

    def _by_choice(self, ways: _Ways, rule: Rule, place: int) -> Floats:
        """How many problems hold each choice of a far place, (K,)."""
        choices, which_L, masks_MK = self.choices[place], self.which[place][ways.rows_L], self._masks(rule, place)
        size_K: Floats = np.zeros(len(choices))
        if place in self.block.above:
            left_M = masks_MK.sum(1)
            weight_M = _summed(which_L, ways.size_L, len(masks_MK)) / np.maximum(left_M, 1)
            size_K += weight_M @ masks_MK
            return size_K
        for carry in (0, 1):
            for out in (0, 1):
                fits_K = (choices.carry_in == carry) & (choices.carry_out == out)
                weight_L = ways.before[place][:, carry] * ways.after[place][:, out] * ways.above_L
                weight_M = _summed(which_L, weight_L, len(masks_MK))
                size_K[fits_K] = weight_M @ masks_MK[:, fits_K]
        return size_K


def single(a: int, b: int, place: int, digits: int) -> Part:
    """One problem as a part: every far place has one choice left.

    Worked value: of 55 + 45 with place 2 asked, place 0 holds choice 55 (5 and 5, no carry into it).
    """
    carries = [((a % 10**i) + (b % 10**i)) // 10**i for i in range(digits + 1)]
    numbers = [(carries[i], a // 10**i % 10, b // 10**i % 10) for i in range(digits)]
    before = numbers[place - 1] if place > 0 else (0, 0, 0)
    own = numbers[place] if place < digits else (0, 0, 0)
    block = _blocks(digits)[place, sum(before) % 10 if place > 0 else EQUALS]
    cases = block.cases
    same = (cases.carry, before[0]), (cases.a_before, before[1]), (cases.b_before, before[2]), (cases.a, own[1])
    fits = np.logical_and.reduce([column == value for column, value in (*same, (cases.b, own[2]))])
    allowed = {}
    for far in block.far:
        choices = _choices(block, far)
        carry = numbers[far][0] if far < place else 0
        allowed[far] = (choices.carry_in == carry) & (choices.a == numbers[far][1]) & (choices.b == numbers[far][2])
    return Part(block, int(fits.argmax()), allowed)


def _summed(numbers: Numbers, weights: NDArray[Any], count: int) -> Floats:
    """The weights with each number from 0 to count - 1, (count,)."""
    return np.bincount(numbers, weights, minlength=count).astype(np.float64)


@cache
def _blocks(digits: int) -> dict[tuple[int, int], Block]:
    """All blocks of a task by place and token."""
    return {(block.place, block.token): block for block in blocks(digits)}


@cache
def _choices(block: Block, place: int) -> Choices:
    return block.choices(place)


def _asking(place: int, digits: int) -> Block:
    """A block of the place; which token asks does not matter for what may stand at a far place."""
    return _blocks(digits)[place, 0 if place > 0 else EQUALS]


@cache
def _columns(block: Block) -> Numbers:
    """Carry, a_before, b_before, a and b of all cases, (5, C)."""
    cases = block.cases
    return np.array([cases.carry, cases.a_before, cases.b_before, cases.a, cases.b])

"""Parts of cases <-> the single problems in them: draw problems from a part, find the part that a problem lies in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reprogrok.certificate.checker.answers import Problem
from reprogrok.certificate.checker.carries import Block, Mask
from reprogrok.certificate.checker.counts import Part
from reprogrok.certificate.checker.problem_sets import choices_of, standing
from reprogrok.tasks.addition import EQUALS


@dataclass(frozen=True)
class Seat:
    """The location of a problem in a block: its case, and its choice at every far place."""

    block: Block
    case: int
    choices: Mapping[int, int]

    def is_in(self, part: Part) -> bool:
        """Tell whether a part of the same block holds the problem."""
        return part.case == self.case and all(mask[self.choices[at]] for at, mask in part.allowed.items())


def seat(a: int, b: int, place: int, digits: int) -> Seat:
    """Locate a problem among the blocks of a place.

    Worked value: of two digits, 12 + 34 is in the case 2 + 4 of place 0, number 24, with choice 13 at place 1.
    """
    own = standing(a, b, place)
    before = standing(a, b, place - 1) if place else (0, 0, 0)
    block = Block(digits, place, sum(before) % 10 if place else EQUALS)
    cases = block.cases
    columns = np.stack([cases.carry, cases.a_before, cases.b_before, cases.a, cases.b], axis=1)
    case = int(np.flatnonzero((columns == np.array([*before, *own[1:]])).all(1))[0])
    choices = {}
    for far in block.far:
        carry, x, y = standing(a, b, far)
        choices[far] = 100 * (carry if far in block.below else 0) + 10 * x + y
    return Seat(block, case, choices)


def single(a: int, b: int, place: int, digits: int) -> Part:
    """Return one problem as a part, with one choice left at every far place."""
    at = seat(a, b, place, digits)
    masks = {far: np.arange(len(choices_of(at.block, far))) == number for far, number in at.choices.items()}
    return Part(at.block, at.case, masks)


def draw(part: Part, count: int, rng: np.random.Generator) -> list[Problem]:
    """Draw `count` problems of a part uniformly, with replacement; none where the part is empty.

    Each choice below is weighted by the number of ways in which the places after it reach the case's own carry.
    """
    block, case = part.block, part.case
    below = block.below
    allowed = {far: part.allowed.get(far, np.ones(len(choices_of(block, far)), dtype=np.bool_)) for far in block.far}
    ways = {len(below): np.eye(2)[int(block.cases.carry[case])]}  # place -> ways on from there, by the carry into it
    for place in reversed(below):
        table = choices_of(block, place)
        onward_K = allowed[place] * ways[place + 1][table.carry_out]
        ways[place] = np.array([onward_K[table.carry_in == carry].sum() for carry in (0, 1)])
    if not ways[0][0] or not all(allowed[place].any() for place in block.above):
        return []
    return [_drawn(part, allowed, ways, rng) for _ in range(count)]


def _drawn(
    part: Part, allowed: Mapping[int, Mask], ways: Mapping[int, NDArray[np.float64]], rng: np.random.Generator
) -> Problem:
    block, case = part.block, part.case
    cases = block.cases
    digits = {}
    if block.place:
        digits[block.place - 1] = int(cases.a_before[case]), int(cases.b_before[case])
    if block.place < block.digits:
        digits[block.place] = int(cases.a[case]), int(cases.b[case])
    carry = 0
    for place in block.far:
        table = choices_of(block, place)
        weight_K = allowed[place].astype(np.float64)
        if place in block.below:
            weight_K *= (table.carry_in == carry) * ways[place + 1][table.carry_out]
        chosen = int(rng.choice(len(table), p=weight_K / weight_K.sum()))
        digits[place] = int(table.a[chosen]), int(table.b[chosen])
        carry = int(table.carry_out[chosen])
    a, b = (sum(pair[operand] * 10**place for place, pair in digits.items()) for operand in (0, 1))
    return a, b

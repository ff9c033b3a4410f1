"""Parts of cases, and problems that a search names -> what the real model answers to concrete problems.

    Part --draw--> problems --ask the float32 model--> Met: answer, right or wrong, where and by how much

A certificate speaks of sets of problems; this looks at single ones: counterexamples that anybody can type into
`reprogrok predict`, and the smallest margin that was really met, beside which the one that is proved can be read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from reprogrok.certificate.checker.carries import Block, Choices
from reprogrok.certificate.checker.counts import Part
from reprogrok.exam.exam import Examinee
from reprogrok.tasks.addition import Addition
from reprogrok.tasks.problems import Pairs

if TYPE_CHECKING:
    from numpy.typing import NDArray

Problem = tuple[int, int]


@dataclass(frozen=True)
class Met:
    """One problem and what the model answers.

    Attributes:
        a: first operand.
        b: second operand.
        answer: as a person writes it; what is no digit stays visible.
        right: is every digit?
        place: the first wrong digit, from the least significant on; of a right answer the one with the least margin.
        margins: by place, how far the right digit leads the best other token, in logits.
    """

    a: int
    b: int
    answer: str
    right: bool
    place: int
    margins: tuple[float, ...]

    @property
    def margin(self) -> float:
        """The one at `place`."""
        return self.margins[self.place]


def ask(examinee: Examinee, digits: int, problems: Sequence[Problem]) -> list[Met]:
    """Decode every problem greedily, as `reprogrok predict` does."""
    if not problems:
        return []
    task = Addition(digits)
    pairs = Pairs(*torch.tensor(problems).T)
    answer_BA, logits_BVA = examinee.generate(pairs)
    right_BA = task.columns(pairs.a, pairs.b)[task.prompt_length : task.prompt_length + task.answer_length].T
    of_right_B1A = logits_BVA.gather(1, right_BA.unsqueeze(1))
    others_BVA = logits_BVA.scatter(1, right_BA.unsqueeze(1), -torch.inf)
    margin_BA = of_right_B1A.squeeze(1) - others_BVA.amax(1)
    # What was chosen among infinities and NaN happens to be a token; it is never a right digit.
    good_BA = (answer_BA == right_BA) & margin_BA.isfinite()
    met = []
    for (a, b), answer_A, good_A, margin_A in zip(problems, answer_BA, good_BA, margin_BA, strict=True):
        right = bool(good_A.all())
        place = int(margin_A.argmin()) if right else int((~good_A).int().argmax())
        met.append(Met(a, b, task.text(answer_A.tolist()), right, place, tuple(margin_A.tolist())))
    return met


@dataclass(frozen=True)
class Seat:
    """Where a problem is found in a block: its case, and its choice at every far place."""

    case: int
    choices: Mapping[int, int]

    def is_in(self, part: Part) -> bool:
        """Does a part of the same block hold the problem?"""
        return part.case == self.case and all(mask[self.choices[at]] for at, mask in part.allowed.items())


def seat(block: Block, a: int, b: int) -> Seat | None:
    """Where a problem is found in a block; None if another token stands before its asked place.

    Worked value: 12 + 34 is in the case 2 + 4 of `Block(2, 0, EQUALS)`, number 24, with choice 13 at place 1.
    """
    cases, last = block.cases, block.place - 1
    digits = {place: (a // 10**place % 10, b // 10**place % 10) for place in range(block.digits)}
    carry = {place: (a % 10**place + b % 10**place) // 10**place for place in range(block.digits)}
    before = (carry[last], *digits[last]) if last >= 0 else (0, 0, 0)
    near = np.array([*before, *digits.get(block.place, (0, 0))])
    columns = np.stack([cases.carry, cases.a_before, cases.b_before, cases.a, cases.b], axis=1)
    found = np.flatnonzero((columns == near).all(1))
    if not len(found):
        return None
    carries = {place: carry[place] if place in block.below else 0 for place in block.far}
    numbers = {place: 100 * carries[place] + 10 * digits[place][0] + digits[place][1] for place in block.far}
    return Seat(int(found[0]), numbers)


def draw(part: Part, count: int, rng: np.random.Generator) -> list[Problem]:
    """Problems of a part, each as likely as any other; none where the part is empty.

    The carries below are chosen backwards: how many ways lead from a place, with a carry into it, to the case's own.

    Args:
        part: of a block.
        count: how many; one may come twice.
        rng: where they are drawn from.
    """
    block, case = part.block, part.case
    cases, below = block.cases, block.below
    choices = {place: block.choices(place) for place in block.far}
    allowed = {place: part.allowed.get(place, np.ones(len(choices[place]), dtype=np.bool_)) for place in block.far}
    ways = {len(below): np.eye(2)[int(cases.carry[case])]}  # place -> ways on from there, by the carry into it
    for place in reversed(below):
        table = choices[place]
        onward_K = allowed[place] * ways[place + 1][table.carry_out]
        ways[place] = np.array([onward_K[table.carry_in == carry].sum() for carry in (0, 1)])
    if not ways[0][0] or not all(allowed[place].any() for place in block.above):
        return []
    return [_drawn(part, choices, allowed, ways, rng) for _ in range(count)]


def _drawn(
    part: Part,
    choices: Mapping[int, Choices],
    allowed: Mapping[int, NDArray[np.bool_]],
    ways: Mapping[int, NDArray[np.float64]],
    rng: np.random.Generator,
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
        table = choices[place]
        weight_K = allowed[place].astype(np.float64)
        if place in block.below:
            weight_K *= (table.carry_in == carry) * ways[place + 1][table.carry_out]
        chosen = int(rng.choice(len(table), p=weight_K / weight_K.sum()))
        digits[place] = int(table.a[chosen]), int(table.b[chosen])
        carry = int(table.carry_out[chosen])
    a, b = (sum(pair[operand] * 10**place for place, pair in digits.items()) for operand in (0, 1))
    return a, b

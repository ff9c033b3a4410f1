"""Proofs x model -> the statement that follows: every bound is computed here, and nothing is searched.

    BlockProof --decode--> leaves --Enclosure--> margins over every problem of each --> CheckedBlock
    all CheckedBlocks, counterexamples --exact counts--> leaves, margins, wrong problems at least and at most, status

Trees, bases and orders are untrusted: a leaf is bounded over all of its problems, and a text that leaves out a case is
refused when it is decoded.

Axes: L leaves of a block, in the order of its text.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from reprogrok.certificate.checker.carries import Block
from reprogrok.certificate.checker.counts import Part, bounds, counts, parts
from reprogrok.certificate.checker.enclosure import Enclosure
from reprogrok.certificate.checker.rounding import FLOAT32, Arithmetic
from reprogrok.certificate.checker.statement import (
    CertificateStatus,
    Counterexample,
    PlaceStatement,
    SmallestSeen,
    Statement,
    WrongBounds,
    rounded_down,
    rounded_up,
)
from reprogrok.certificate.checker.trees import OPEN, BlockProof, Leaf, LeafStatus, decode


@dataclass(frozen=True)
class CheckedBlock:
    """The leaves of a block, in the order of its text, with their results.

    Attributes:
        refused: numbers of the leaves whose status is not confirmed.
        wrong: confirmed wrong leaves, as parts.
        open: open leaves, as parts.
        smallest_margin: lower bound over every problem of every right leaf, in logits; infinite without any.
        widest_box: largest width of a decided leaf's box.
    """

    block: Block
    leaves: tuple[Leaf, ...]
    refused: tuple[int, ...]
    wrong: tuple[Part, ...]
    open: tuple[Part, ...]
    wrong_problems: int
    open_problems: int
    smallest_margin: float
    widest_box: float


def check_block(enclosure: Enclosure, proof: BlockProof, least: float = 0.0) -> CheckedBlock:
    """Bound the margins of all decided leaves of a block.

    A right leaf is confirmed if the right token's logit exceeds every other by more than `least` in all of its
    problems, a wrong one if some other token's exceeds it by more than `least` in all of them. A leaf without any
    problem (no carries fit its halves) is right.

    Args:
        enclosure: of the model.
        proof: of one block.
        least: bound that a margin must exceed, in logits; above 0 when a certificate is made.

    Raises:
        InputError: the text, the basis or an order cannot be of this block and model.
    """
    block, leaves = proof.block, decode(proof.text, proof.block)
    problems = counts(block, leaves, proof.orders)
    asked = [index for index, leaf in enumerate(leaves) if leaf.status is not LeafStatus.OPEN and problems[index]]
    refused, wrong, smallest, widest = [], [], math.inf, 0.0
    margins = enclosure.block(block, proof.basis_rD, proof.orders).margins([leaves[index] for index in asked])
    bounded = zip(asked, margins.lowest_L.tolist(), margins.beaten_L.tolist(), margins.width_L.tolist(), strict=True)
    for index, lowest, beaten, width in bounded:
        claimed = leaves[index].status
        # Written so that a NaN confirms nothing.
        if not (lowest > least if claimed is LeafStatus.RIGHT else beaten < -least):
            refused.append(index)
            continue
        widest = max(widest, width)
        if claimed is LeafStatus.RIGHT:
            smallest = min(smallest, lowest)
        else:
            wrong.append(index)
    opened = [index for index, leaf in enumerate(leaves) if leaf.status is LeafStatus.OPEN]

    def as_parts(indices: Iterable[int]) -> tuple[Part, ...]:
        return tuple(parts(block, [leaves[index] for index in indices], proof.orders))

    return CheckedBlock(
        block, tuple(leaves), tuple(refused), as_parts(wrong), as_parts(opened),
        sum(problems[index] for index in wrong), sum(problems[index] for index in opened), smallest, widest,
    )  # fmt: skip


def weakened(proof: BlockProof, checked: CheckedBlock) -> tuple[BlockProof, CheckedBlock]:
    """Return the same trees with every refused leaf open."""
    if not checked.refused:
        return proof, checked
    # A node that is halved is written as a sign below "?", a leaf as "?" or a letter behind it.
    at_leaves = [index for index, sign in enumerate(proof.text) if sign >= OPEN]
    signs, leaves = list(proof.text), list(checked.leaves)
    for index in checked.refused:
        signs[at_leaves[index]] = OPEN
        leaves[index] = replace(leaves[index], status=LeafStatus.OPEN, grid=0)
    refused = [checked.leaves[index] for index in checked.refused]
    more = tuple(parts(proof.block, refused, proof.orders))
    open_problems = checked.open_problems + sum(counts(proof.block, refused, proof.orders))
    return replace(proof, text="".join(signs)), replace(
        checked, leaves=tuple(leaves), refused=(), open=checked.open + more, open_problems=open_problems
    )


def statement(
    checked: Sequence[CheckedBlock],
    digits: int,
    arithmetic: Arithmetic = FLOAT32,
    counterexamples: Sequence[Counterexample] = (),
    smallest_seen: SmallestSeen | None = None,
) -> Statement:
    """Return what follows from the blocks of a task, all of whose leaves are confirmed, and from counterexamples.

    Without a wrong or open leaf it is PROVED, with a counterexample REFUTED, else PARTIAL. In float32 at least as many
    problems are wrong as there are counterexamples; of real arithmetic they say nothing, as rounding may have turned
    them. The failures are left out.
    """
    wrong, opened = ([part for one in checked for part in getattr(one, name)] for name in ("wrong", "open"))
    at_least, at_most = bounds(wrong, opened, digits)
    if arithmetic == FLOAT32:
        at_least = max(at_least, len({(each.a, each.b) for each in counterexamples}))
    decided = CertificateStatus.REFUTED if counterexamples else CertificateStatus.PARTIAL
    return Statement(
        status=decided if wrong or opened else CertificateStatus.PROVED,
        problems=100**digits,
        wrong=WrongBounds(at_least, at_most),
        smallest_margin=_smallest_margin(checked),
        smallest_seen=smallest_seen,
        places=tuple(
            _place([one for one in checked if one.block.place == place], place) for place in range(digits + 1)
        ),
        counterexamples=tuple(counterexamples),
        failures=(),
    )


def _smallest_margin(checked: Sequence[CheckedBlock]) -> float | None:
    return rounded_down(min((one.smallest_margin for one in checked), default=math.inf))


def _place(checked: Sequence[CheckedBlock], place: int) -> PlaceStatement:
    wrong, opened = (sum(len(getattr(one, name)) for one in checked) for name in ("wrong", "open"))
    leaves = sum(len(one.leaves) for one in checked)
    wrong_problems = sum(one.wrong_problems for one in checked)
    return PlaceStatement(
        place=place,
        cases=sum(len(one.block.cases) for one in checked),
        leaves=leaves,
        right=leaves - wrong - opened,
        wrong=wrong,
        open=opened,
        smallest_margin=_smallest_margin(checked),
        widest_box=rounded_up(max((one.widest_box for one in checked), default=0.0)),
        wrong_problems=WrongBounds(wrong_problems, wrong_problems + sum(one.open_problems for one in checked)),
    )

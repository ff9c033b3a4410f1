"""Proofs x checkpoint -> what is confirmed: no search, and nothing believed that was not bounded here.

    BlockProof --decode--> leaves --Enclosure--> margins over every problem of each --> CheckedBlock
    all CheckedBlocks --exact counts--> statement: leaves, margins, wrong problems at least and at most, failures

This is what a certificate rests on, with `checker.enclosure` (bounds of margins), `checker.trees` (which problems
a leaf stands for) and `checker.counts` (how many they are). The trees, the bases and the orders may come from
anybody: a leaf that stands for other problems than its author meant is bounded over those problems, and cases that are
missing are refused when they are decoded. A certificate may say less than can be shown, never more.

Axes: L leaves of a block, in the order of its text.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from reprogrok.certificate.checker.carries import Block
from reprogrok.certificate.checker.counts import Part, bounds, counts
from reprogrok.certificate.checker.rounding import FLOAT32, Arithmetic
from reprogrok.certificate.checker.trees import OPEN, BlockProof, Leaf, Status, allowed, decode
from reprogrok.certificate.document import Verdict, arithmetic_entry, rounded_down, rounded_up
from reprogrok.certificate.failures.failure_map import failure_map

if TYPE_CHECKING:
    from reprogrok.certificate.checker.enclosure import Enclosure


@dataclass(frozen=True)
class CheckedBlock:
    """What the bounds say of a block's leaves.

    Attributes:
        block: which.
        leaves: in the order of the text.
        refused: numbers of the leaves whose status is not confirmed.
        wrong: confirmed leaves that are wrong, as parts.
        open: leaves that are open by their own word, as parts.
        wrong_problems: in the wrong parts.
        open_problems: in the open parts.
        smallest_margin: a lower bound over every problem of every right leaf, in logits; infinite without any.
        widest_box: of the decided leaves.
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

    A right leaf is confirmed if the right token surely leads every other by more than `least` in all of its problems, a
    wrong one if it surely trails by more than `least` in all of them. A leaf without any problem (no carries fit its
    halves) is right.

    Args:
        enclosure: of the model.
        proof: of one block, as `read_block` accepts it.
        least: what a margin must exceed, in logits; more than 0 when a certificate is made.
    """
    block, leaves = proof.block, decode(proof.text, proof.block)
    problems = counts(block, leaves, proof.orders)
    asked = [index for index, leaf in enumerate(leaves) if leaf.status is not Status.OPEN and problems[index]]
    refused, wrong, smallest, widest = [], [], math.inf, 0.0
    margins = enclosure.block(block, proof.basis_rD, proof.orders).margins([leaves[index] for index in asked])
    bounded = zip(asked, margins.lowest_L.tolist(), margins.beaten_L.tolist(), margins.width_L.tolist(), strict=True)
    for index, lowest, beaten, width in bounded:
        claimed = leaves[index].status
        # Written so that a NaN confirms nothing.
        if not (lowest > least if claimed is Status.RIGHT else beaten < -least):
            refused.append(index)
            continue
        widest = max(widest, width)
        if claimed is Status.RIGHT:
            smallest = min(smallest, lowest)
        else:
            wrong.append(index)
    opened = [index for index, leaf in enumerate(leaves) if leaf.status is Status.OPEN]

    def parts(indices: Iterable[int]) -> tuple[Part, ...]:
        return tuple(Part(block, leaves[index].case, allowed(leaves[index], proof.orders)) for index in indices)

    return CheckedBlock(
        block, tuple(leaves), tuple(refused), parts(wrong), parts(opened),
        sum(problems[index] for index in wrong), sum(problems[index] for index in opened), smallest, widest,
    )  # fmt: skip


def weakened(proof: BlockProof, checked: CheckedBlock) -> tuple[BlockProof, CheckedBlock]:
    """The same trees with every refused leaf open: what may be stated of them."""
    if not checked.refused:
        return proof, checked
    # A node that is halved is written as a sign below "?", a leaf as "?" or a letter behind it.
    at_leaves = [index for index, sign in enumerate(proof.text) if sign >= OPEN]
    signs, leaves = list(proof.text), list(checked.leaves)
    for index in checked.refused:
        signs[at_leaves[index]] = OPEN
        leaves[index] = replace(leaves[index], status=Status.OPEN, grid=0)
    refused = [checked.leaves[index] for index in checked.refused]
    more = tuple(Part(proof.block, leaf.case, allowed(leaf, proof.orders)) for leaf in refused)
    open_problems = checked.open_problems + sum(counts(proof.block, refused, proof.orders))
    return replace(proof, text="".join(signs)), replace(
        checked, leaves=tuple(leaves), refused=(), open=checked.open + more, open_problems=open_problems
    )


def statement(checked: Sequence[CheckedBlock], digits: int, arithmetic: Arithmetic = FLOAT32) -> dict[str, Any]:
    """What follows from the blocks of a task, all of whose leaves are confirmed.

    Returns:
        `arithmetic`, `problems`, `wrong`, `smallest_margin` and `places`, as a certificate has them.
    """
    wrong, opened = ([part for one in checked for part in getattr(one, name)] for name in ("wrong", "open"))
    at_least, at_most = bounds(wrong, opened, digits)
    places = [_place([one for one in checked if one.block.place == place], place) for place in range(digits + 1)]
    return {
        "arithmetic": arithmetic_entry(arithmetic),
        "problems": str(100**digits),
        "wrong": {"at_least": str(at_least), "at_most": str(at_most)},
        "smallest_margin": rounded_down(min((one.smallest_margin for one in checked), default=math.inf)),
        "places": places,
    }


def failures(
    checked: Sequence[CheckedBlock],
    counterexamples: Sequence[Mapping[str, Any]],
    wrong_problems: Mapping[str, str],
    digits: int,
) -> dict[str, Any] | None:
    """Where the wrong and the open problems are, place by place; None where there are none.

    Args:
        checked: every block.
        counterexamples: as a certificate has them.
        wrong_problems: the certificate's `wrong`.
        digits: of each operand.
    """
    wrong, opened = ([part for one in checked for part in getattr(one, name)] for name in ("wrong", "open"))
    if not (wrong or opened or counterexamples):
        return None
    bounds_in_all = int(wrong_problems["at_least"]), int(wrong_problems["at_most"])
    return failure_map(wrong, opened, digits, counterexamples, bounds_in_all)


def verdict_of(stated: Mapping[str, Any], counterexamples: int) -> Verdict:
    """PROVED without a wrong or open leaf, REFUTED by a problem that was answered wrong, else PARTIAL."""
    if not any(row["wrong"] or row["open"] for row in stated["places"]):
        return Verdict.PROVED
    return Verdict.REFUTED if counterexamples else Verdict.PARTIAL


def wrong_in_all(stated: Mapping[str, Any], counterexamples: int) -> dict[str, str]:
    """How many problems are wrong: what the trees show, and at least as many as were seen to be.

    Answers are seen in float32. Of real arithmetic they say nothing, for rounding may have turned them.
    """
    at_least, at_most = (int(stated["wrong"][name]) for name in ("at_least", "at_most"))
    if stated["arithmetic"]["name"] == FLOAT32.name:
        at_least = max(at_least, counterexamples)
    return {"at_least": str(at_least), "at_most": str(at_most)}


def _place(checked: Sequence[CheckedBlock], place: int) -> dict[str, Any]:
    wrong, opened = (sum(len(getattr(one, name)) for one in checked) for name in ("wrong", "open"))
    leaves = sum(len(one.leaves) for one in checked)
    wrong_problems = sum(one.wrong_problems for one in checked)
    return {
        "place": place,
        "cases": sum(len(one.block.cases) for one in checked),
        "leaves": leaves,
        "right": leaves - wrong - opened,
        "wrong": wrong,
        "open": opened,
        "smallest_margin": rounded_down(min((one.smallest_margin for one in checked), default=math.inf)),
        "widest_box": rounded_up(max((one.widest_box for one in checked), default=0.0)),
        "wrong_at_least": str(wrong_problems),
        "wrong_at_most": str(wrong_problems + sum(one.open_problems for one in checked)),
    }

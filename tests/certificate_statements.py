"""What a certificate says of a model against what the model does: every statement that must hold, one function each.

    model --search--> proofs --check--> statuses, bounds of margins, bounds of the number of wrong problems
      |                                            |
      +--every problem tried (certificate_oracle)--+--> an `Agreement`: what was compared, and every fault

Soundness asks more than that the search's own proofs hold: the checker must bound whatever it is given. So `stray`
makes certificates at random: any basis, any order of the choices, any trees, any grids.

Axes: L leaves, B problems of a block, A answer places, D width, r rows of a basis.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from types import SimpleNamespace

import numpy as np

from reprogrok.certificate.checker.attention_box import Box
from reprogrok.certificate.checker.carries import blocks
from reprogrok.certificate.checker.check import check_block, weakened
from reprogrok.certificate.checker.counts import bounds as wrong_bounds
from reprogrok.certificate.checker.enclosure import Enclosure, Margins
from reprogrok.certificate.checker.rounding import FLOAT32, REAL
from reprogrok.certificate.checker.trees import OPEN, BlockProof, LeafStatus, decode, encode, mark
from reprogrok.certificate.search.estimated_boxes import SearchedModel
from reprogrok.certificate.search.proof_search import search

PATIENCE = 20.0  # seconds that a search may halve cases of one model
LOOSE = 1e-12  # boxes are of values as float64 has them; what those are off by goes elsewhere
NARROW = 1e-3  # a box that is no wider tells of rounding, not of how tight boxes are


@dataclass
class Comparison:
    """Bounds of leaves against the margins and attention outputs that were met in their problems.

    Attributes:
        leaves: how many bounds were compared.
        problems: how many margins, float32 and float64 alike, fell into them.
        faults: in words; empty if all bounds hold.
        closest: the smallest difference between a margin and its bound, in logits.
        gaps: per leaf with problems, its least margin less its lower bound.
        fullest: the largest use of a box, as a share of its width: 1 reaches an end.
    """

    leaves: int = 0
    problems: int = 0
    faults: list[str] = field(default_factory=list)
    closest: float = np.inf
    gaps: list[np.ndarray] = field(default_factory=list)
    fullest: float = 0.0

    def look(self, where, leaves, margins, leaf_B, both_2B):
        """Compare one block: `leaf_B` is each problem's leaf, `both_2B` its margins in float32 and float64."""
        least_B, most_B = both_2B.min(0), both_2B.max(0)
        above_B, below_B = least_B - margins.lowest_L[leaf_B], margins.beaten_L[leaf_B] - most_B
        self.leaves += len(leaves)
        self.problems += len(leaf_B)
        for name, gap_B in (("below its lowest", above_B), ("above its most", below_B)):
            outside_B = ~(gap_B >= 0)  # a NaN is outside
            if outside_B.any():
                at = int(np.nanargmin(gap_B))
                self.faults.append(
                    f"{where}: {outside_B.sum()} margins {name}, {leaves[leaf_B[at]]} by {-gap_B[at]:.3g}"
                )
        self.closest = min(self.closest, above_B.min(initial=np.inf), below_B.min(initial=np.inf))
        least_L = np.full(len(leaves), np.inf)
        np.minimum.at(least_L, leaf_B, least_B)
        met_L = np.isfinite(least_L) & np.isfinite(margins.lowest_L)
        self.gaps.append(least_L[met_L] - margins.lowest_L[met_L])

    def inside(self, where, bounded, leaf_B, output_Br):
        """Compare the coordinates of the attention's outputs in one block with the boxes of its leaves.

        A box mixes the centres of the table of values; what a value may be off from its centre is stated apart.
        """
        low_Br, high_Br = bounded.box.low_Lr[leaf_B], bounded.box.high_Lr[leaf_B]
        loose_Br = LOOSE * (1 + np.abs(output_Br)) + bounded.off_r
        outside_B = ~((low_Br - loose_Br <= output_Br) & (output_Br <= high_Br + loose_Br)).all(1)
        if outside_B.any():
            at = int(np.flatnonzero(outside_B)[0])
            self.faults.append(f"{where}: {outside_B.sum()} outputs leave their box, {bounded.leaves[leaf_B[at]]}")
        wide_Br = high_Br - low_Br > NARROW
        share_Br = np.abs(2 * output_Br - low_Br - high_Br)[wide_Br] / (high_Br - low_Br)[wide_Br]
        self.fullest = max(self.fullest, share_Br.max(initial=0.0))


@dataclass(frozen=True)
class Agreement:
    """One model's certificate beside the trial of its every problem."""

    verdict: str
    at_least: int
    at_most: int
    single: int
    double: int
    bounds: Comparison
    faults: tuple[str, ...]
    seconds: float


def estimated(model):
    """A model as the search sees it."""
    return SearchedModel(
        model.spec, {name: each.double().numpy() for name, each in model.weights.items()}, model.digits
    )


def searched(model, enclosure, patience=PATIENCE):
    """What the search says of a model, block by block."""
    return [found.proof for found in search(estimated(model), {}, patience, enclosure=enclosure)]


def search_block(model, block, seconds, clock=time.monotonic, enclosure=None):
    """Search one block alone: the others are given as found before."""
    others = {other: None for other in blocks(model.digits) if other != block}
    return list(search(model, others, seconds, clock, enclosure))[-1]


def stray(model, rng, share=1.0):
    """Certificates that nobody would write: `share` of all blocks, with random bases, orders, trees and grids."""
    width = model.spec.d_model
    for block in blocks(model.digits):
        if rng.random() >= share:
            continue
        basis_rD = rng.standard_normal((int(rng.integers(1, width + 1)), width))
        if rng.random() < 0.7:
            basis_rD = np.linalg.qr(basis_rD.T)[0].T
        orders = {place: rng.permutation(len(block.choices(place))) for place in block.far}
        sizes = {place: len(order) for place, order in orders.items()}
        trees = [_stray_tree(rng, sizes) for _ in range(len(block.cases))]
        yield BlockProof(block, basis_rD, orders, encode(trees))


def coarse(model, block, grid):
    """A certificate with wide boxes: no place is halved, and the basis is as good as any."""
    return BlockProof(block, np.eye(model.spec.d_model), {}, len(block.cases) * mark(LeafStatus.RIGHT, grid))


def _stray_tree(rng, sizes):
    places = [place for place, size in sizes.items() if size > 1]
    if not places or rng.random() < 0.9:
        return mark(LeafStatus.RIGHT, int(rng.integers(0, 3)))
    place = places[int(rng.integers(len(places)))]
    half = sizes[place] // 2
    return (
        place,
        _stray_tree(rng, sizes | {place: half}),
        _stray_tree(rng, sizes | {place: sizes[place] - half}),
    )


@dataclass(frozen=True)
class Bounded:
    """A proof with the bounds of all its leaves, whatever they claim; stands in for an enclosure, to bound them once.

    Attributes:
        margins: of the leaves, in their order.
        box: of the attention's output, where somebody asked for it.
        off_r: what a value's coordinates may be off from the centre that the box is made of.
    """

    proof: BlockProof
    leaves: list
    margins: Margins
    box: Box | None
    off_r: np.ndarray

    @staticmethod
    def of(enclosure, proof, *, box=False):
        enclosed, leaves = enclosure.block(proof.block, proof.basis_rD, proof.orders), decode(proof.text, proof.block)
        wanted = box and enclosed.attention is not None
        off_r = np.abs(proof.basis_rD) @ enclosure.tables.values.radius_LF.max(0)
        boxes = enclosed.attention.of(leaves) if wanted else None
        return Bounded(proof, leaves, enclosed.margins(leaves), boxes, off_r)

    def block(self, _block, _basis_rD, _orders):
        return SimpleNamespace(margins=self._again)

    def _again(self, leaves):
        number = {(leaf.case, leaf.runs): at for at, leaf in enumerate(self.leaves)}
        at_L = np.array([number[leaf.case, leaf.runs] for leaf in leaves], dtype=np.int64)
        return Margins(self.margins.lowest_L[at_L], self.margins.beaten_L[at_L], self.margins.width_L[at_L])

    def remarked(self):
        """The same trees, each leaf marked as its bounds allow: the certificate that says most."""
        marks = [
            mark(LeafStatus.RIGHT if lowest > 0 else LeafStatus.WRONG if beaten < 0 else LeafStatus.OPEN, leaf.grid)
            for leaf, lowest, beaten in zip(
                self.leaves, self.margins.lowest_L.tolist(), self.margins.beaten_L.tolist(), strict=True
            )
        ]
        waiting = iter(marks)
        signs = [sign if sign < OPEN else next(waiting) for sign in self.proof.text]
        return replace(self, proof=replace(self.proof, text="".join(signs)))


def compare(comparison, bounded, problems, tried):
    """The bounds of a block's leaves against those of the problems that it asks."""
    block = bounded.proof.block
    asked = problems.of(block)
    leaf_B = asked.leaves_of(bounded.leaves, bounded.proof.orders)
    both_2B = np.stack([margins_AB[block.place, asked.index_B] for margins_AB in (tried.single_AB, tried.double_AB)])
    where = f"place {block.place}, token {block.token}"
    comparison.look(where, bounded.leaves, bounded.margins, leaf_B, both_2B)
    if tried.output_ADB is not None and bounded.box is not None:
        output_BD = tried.output_ADB[block.place][:, asked.index_B].T
        comparison.inside(where, bounded, leaf_B, output_BD @ bounded.proof.basis_rD.T)


def agreement(model, problems, tried, rng, arithmetic=FLOAT32, *, strays=0.2, patience=PATIENCE):
    """Search, check, and compare with the trial of every problem: in both arithmetics, or with `REAL` in float64."""
    began = time.monotonic()
    enclosure, bounds, stated = Enclosure(model.spec, model.weights, model.digits, arithmetic), Comparison(), []
    single = arithmetic is not REAL
    if not single:
        tried = replace(tried, single_AB=tried.double_AB)
    box = tried.output_ADB is not None
    for proof in searched(model, enclosure, patience):
        bounded = Bounded.of(enclosure, proof, box=box)
        compare(bounds, bounded, problems, tried)
        stated.append(bounded.remarked())
    for proof in stray(model, rng, strays):
        compare(bounds, Bounded.of(enclosure, proof, box=box), problems, tried)
    confirmed = [weakened(each.proof, check_block(each, each.proof)) for each in stated]
    at_least, at_most, verdict = outcome([checked for _, checked in confirmed], model.digits)
    faults = list(bounds.faults)
    for name, count in (("float32", tried.wrong_single), ("float64", tried.wrong_double))[not single :]:
        if not at_least <= count <= at_most:
            faults.append(f"{count} problems are wrong in {name}, certified {at_least} to {at_most}")
        if verdict == "proved" and count:
            faults.append(f"proved, and {count} problems are wrong in {name}")
        if verdict != "partial" and not at_least == count == at_most:
            faults.append(f"all decided, and {count} in {name} is not {at_least} = {at_most}")
    faults += _statuses([proof for proof, _ in confirmed], problems, tried)
    return Agreement(
        verdict, at_least, at_most, tried.wrong_single, tried.wrong_double, bounds, tuple(faults),
        time.monotonic() - began,
    )  # fmt: skip


def outcome(checked, digits):
    """The bounds of the number of wrong problems and the verdict that they carry."""
    wrong, opened = ([part for one in checked for part in getattr(one, name)] for name in ("wrong", "open"))
    return *wrong_bounds(wrong, opened, digits), "partial" if opened else "decided" if wrong else "proved"


def _statuses(proofs, problems, tried):
    """No wrong problem in a right leaf, no right one in a wrong leaf."""
    for proof in proofs:
        leaves, asked = decode(proof.text, proof.block), problems.of(proof.block)
        right_L, wrong_L = (
            np.array([leaf.status is each for leaf in leaves]) for each in (LeafStatus.RIGHT, LeafStatus.WRONG)
        )
        leaf_B = asked.leaves_of(leaves, proof.orders)
        for name, margins_AB in (("float32", tried.single_AB), ("float64", tried.double_AB)):
            answered_B = margins_AB[proof.block.place, asked.index_B] > 0
            against_B = (right_L[leaf_B] & ~answered_B) | (wrong_L[leaf_B] & answered_B)
            if against_B.any():
                yield f"place {proof.block.place}: {against_B.sum()} problems against their leaf in {name}"

"""Mistakes that a checker of certificates could have: each, put into ours, must show in the comparison with all trials.

    name -> a context in which `certificate.checker.enclosure` and what it is made of has that mistake

`FOUND_BY_TRIALS` are found by trying every problem of small models. `NOT_SEEN` are not: a part of a bound that is
smaller than what the other parts allow too much cannot be missed in the end result. Those are left to the tests of each
step alone (test_enclosure.py and its neighbours).
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from functools import cached_property
from unittest.mock import patch

import numpy as np
from certificate_oracle import tried
from certificate_statements import Bounded, Comparison, coarse, compare, estimated, search_block, searched, stray
from scipy.special import ndtr

from reprogrok.certificate.checker import affine, attention_box, enclosure, layer_tables
from reprogrok.certificate.checker.affine import Affine
from reprogrok.certificate.checker.attention_box import AttentionBox
from reprogrok.certificate.checker.carries import Block, blocks
from reprogrok.certificate.checker.enclosure import BlockEnclosure, Enclosure
from reprogrok.certificate.checker.rounding import REAL


def _together(*patches):
    stack = ExitStack()
    for each in patches:
        stack.enter_context(each)
    return stack


def gelu_is_a_line():
    """What GELU leaves beside its tangent is forgotten."""

    def line(x, _arithmetic):
        cdf_LF = ndtr(x.centre_LF)
        slope_LF = cdf_LF + x.centre_LF * affine._density(x.centre_LF)
        return Affine(x.centre_LF * cdf_LF, slope_LF * x.slopes_sLF, np.abs(slope_LF) * x.radius_LF)

    return patch.object(enclosure, "gelu", line)


def norm_is_a_line():
    """What 1/sqrt leaves beside its tangent is forgotten."""
    return patch.object(affine, "_tangent_gap", np.zeros_like)


def radius_forgotten():
    """The radius of the residual stream does not go on: leftover coordinates, roundings, everything."""
    answer = Enclosure.answer

    def forgetful(self, stream, right_L):
        return answer(self, replace(stream, radius_LF=np.zeros_like(stream.radius_LF)), right_L)

    return patch.object(Enclosure, "answer", forgetful)


def leftover_dropped():
    """What the basis does not span is taken for nothing."""
    attention = BlockEnclosure._attention

    def spanned(self, orders):
        found = attention(self, orders)
        self.output_error_D = np.zeros_like(self.output_error_D)
        return found

    return patch.object(BlockEnclosure, "_attention", spanned)


def chain_ends_in_the_other_carry():
    """The carry that comes out of the places below is taken for its opposite."""
    far = AttentionBox._far
    return patch.object(AttentionBox, "_far", lambda self, terms, parts: far(self, terms, parts)[:, ::-1])


def carries_ignored_below():
    """A place below takes no notice of the carry that comes in: it counts as none."""
    largest = AttentionBox._largest

    def careless(self, terms_PVMX, place, parts):
        tables, index_Y = largest(self, terms_PVMX, place, parts)
        if self.block.choices(place).carry_in.any():
            tables = [np.stack([table_IOMX[0], table_IOMX[0]]) for table_IOMX in tables]
        return tables, index_Y

    return patch.object(AttentionBox, "_largest", careless)


def some_choices_forgotten():
    """Where a far place is whole, the choices with a 9 in the first operand are left out."""
    of_whole = attention_box._of_whole

    def fewer(a_VMX, *others):
        a_VMX = a_VMX.copy()
        a_VMX[9] = a_VMX[8]
        return of_whole(np.minimum(a_VMX, a_VMX[:9].max(0)), *others)

    return patch.object(attention_box, "_of_whole", fewer)


def mean_of_choices():
    """The mean of the choices stands where the largest has to."""

    def mean(a_VMX, b_VMX, digit_VMX, both):
        table_IOMX = np.full((2, 2, *a_VMX.shape[1:]), -np.inf)
        if digit_VMX is None:
            table_IOMX[0, 0] = a_VMX.mean(0) + b_VMX.mean(0)
            return table_IOMX
        for carry in (0, 1)[: 1 + both]:
            a, b = (digits.ravel() for digits in np.indices((10, 10)))
            sum_KMX = a_VMX[a] + b_VMX[b] + digit_VMX[(a + b + carry) % 10]
            for out in (0, 1):
                table_IOMX[carry, out] = sum_KMX[(a + b + carry) // 10 == out].mean(0)
        return table_IOMX

    return patch.object(attention_box, "_of_whole", mean)


def sum_digits_not_read():
    """The sum digits of the places below are taken for unread."""
    largest = AttentionBox._largest

    def blind(self, terms_PVMX, place, parts):
        terms_PVMX = terms_PVMX.copy()
        terms_PVMX[2 * self.block.digits + 2 : self.block.asked] = 0
        return largest(self, terms_PVMX, place, parts)

    return patch.object(AttentionBox, "_largest", blind)


def weights_inside_out():
    """The errors of attention's weights have the opposite sign."""

    def least(self, values_PVM, points_MX):
        beyond_PVMX = values_PVM[:, :, :, None] - points_MX
        low_PV11, high_PV11 = (ends[:, :, None, None] for ends in (self.weights_PV.lo, self.weights_PV.hi))
        return np.minimum(low_PV11 * beyond_PVMX, high_PV11 * beyond_PVMX)

    return patch.object(AttentionBox, "_terms", least)


def right_digit_off():
    """One case of every block is taken to have another answer."""
    cases = Block.cases.func

    def wrong(self):
        found = cases(self)
        right = found.right.copy()
        right[7] = (right[7] + 1) % 10
        return replace(found, right=right)

    changed = cached_property(wrong)
    changed.__set_name__(Block, "cases")
    return patch.object(Block, "cases", changed)


def only_digits_are_rivals():
    """`+`, `=`, PAD and EOS are not compared with."""
    margins = enclosure.margins

    def ten(*arguments):
        lower_LV, upper_LV = margins(*arguments)
        lower_LV[:, 10:] = upper_LV[:, 10:] = np.inf
        return lower_LV, upper_LV

    return patch.object(enclosure, "margins", ten)


def one_cell_for_all():
    """Of the cells that a box is cut into only the first is looked at."""
    of_cells = BlockEnclosure._of_cells

    def first(self, box, grid, right_L):
        width_Lr = box.high_Lr - box.low_Lr
        cut_r = np.array([*grid, *[1] * width_Lr.shape[1]])[: width_Lr.shape[1]]
        return of_cells(self, replace(box, high_Lr=box.low_Lr + width_Lr / cut_r), (1, 1), right_L)

    return patch.object(BlockEnclosure, "_of_cells", first)


def float32_is_exact():
    """Whoever evaluates the model is taken to make no rounding errors at all."""
    init = Enclosure.__init__
    return patch.object(Enclosure, "__init__", lambda self, *words: init(self, *words[:3], REAL))


def products_are_exact():
    """Only sums and products are taken to be free of rounding errors; exp, erf and 1/sqrt are not."""
    return _together(*(patch.object(module, "gamma", lambda *_: 0.0) for module in (affine, layer_tables)))


FOUND_BY_TRIALS = (
    norm_is_a_line, radius_forgotten, leftover_dropped, chain_ends_in_the_other_carry,
    carries_ignored_below, some_choices_forgotten, mean_of_choices, sum_digits_not_read, weights_inside_out,
    right_digit_off, only_digits_are_rivals, one_cell_for_all, float32_is_exact,
)  # fmt: skip
NOT_SEEN = (products_are_exact, gelu_is_a_line)


class Case:
    """A model with its trial and some proofs, made once and compared under every mistake."""

    def __init__(self, model, problems, operands, rng, arithmetic, *, top=None):
        """With `top`, only the blocks of that place: where it is the last, there are few cases and long chains."""
        self.model, self.problems, self.arithmetic = model, problems, arithmetic
        self.tried = tried(model, *operands, outputs=True)
        if arithmetic is REAL:
            self.tried = replace(self.tried, single_AB=self.tried.double_AB)
        if top is not None:
            estimates = estimated(model)
            wanted = [block for block in blocks(model.digits) if block.place == top]
            self.proofs = [search_block(estimates, block, 0.0).proof for block in wanted]
            return
        enclosure = Enclosure(model.spec, model.weights, model.digits, arithmetic)
        once = {proof.block.place: proof for proof in searched(model, enclosure, 2.0)}  # some token of every place
        whole = [coarse(model, proof.block, grid) for grid, proof in enumerate(once.values())]
        self.proofs = [*once.values(), *whole, *stray(model, rng, 0.15)]
        if model.spec.attn_out_rank == 1:  # all that attention can give lies on one line: boxes without corners
            line_1D = model.weights["blocks.0.attn.proj.B"].double().numpy()
            self.proofs += [replace(proof, basis_rD=line_1D / np.linalg.norm(line_1D)) for proof in whole]

    def faults(self):
        """What the comparison finds."""
        comparison = Comparison()
        model = Enclosure(self.model.spec, self.model.weights, self.model.digits, self.arithmetic)
        for proof in self.proofs:
            proof = replace(proof, block=replace(proof.block))  # noqa: PLW2901 - without what it remembers
            compare(comparison, Bounded.of(model, proof, box=True), self.problems, self.tried)
        return comparison.faults

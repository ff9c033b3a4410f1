"""Mistakes that a checker of certificates could have: each, put into ours, must show in the comparison with all trials.

    name -> a context in which `measure.enclosure` and what it is made of has that mistake

`FOUND_BY_TRIALS` are found by trying every problem of small models. A rounding error of which there is far less than
the bound allows cannot be seen by any trial: `NOT_SEEN` says which, and the tests of enclosures against arithmetic of
200 bits have to look for those.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from functools import cached_property
from types import SimpleNamespace
from unittest.mock import patch

import numpy as np
from certificate_oracle import tried
from certificate_statements import Bounded, Comparison, coarse, compare, searched, stray
from scipy.special import ndtr

from reprogrok.data.carries import Block
from reprogrok.measure import affine, attention_box, enclosure, layer_tables
from reprogrok.measure.affine import Affine
from reprogrok.measure.attention_box import AttentionBox
from reprogrok.measure.enclosure import BlockEnclosure, Enclosure
from reprogrok.measure.layer_tables import LayerTables
from reprogrok.measure.rounding import REAL


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
    by_carries = attention_box._by_carries

    def careless(sum_KMX, choices, chosen):
        table_IOMX = by_carries(sum_KMX, choices, chosen).copy()
        if (choices.carry_in == 1).any():
            table_IOMX[1] = table_IOMX[0]
        return table_IOMX

    return patch.object(attention_box, "_by_carries", careless)


def some_choices_forgotten():
    """The last seven choices of a far place are left out."""
    by_carries = attention_box._by_carries

    def fewer(sum_KMX, choices, chosen):
        return by_carries(sum_KMX, choices, chosen[chosen < len(choices) - 7])

    return patch.object(attention_box, "_by_carries", fewer)


def mean_of_choices():
    """The mean of the choices stands where the largest has to."""

    def mean(sum_KMX, choices, chosen):
        table_IOMX = np.full((2, 2, *sum_KMX.shape[1:]), -np.inf)
        for carry_in, carry_out in ((0, 0), (0, 1), (1, 0), (1, 1)):
            fits = (choices.carry_in[chosen] == carry_in) & (choices.carry_out[chosen] == carry_out)
            if fits.any():
                table_IOMX[carry_in, carry_out] = sum_KMX[chosen[fits]].mean(0)
        return table_IOMX

    return patch.object(attention_box, "_by_carries", mean)


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
    weights = LayerTables.weights_PV

    def inside_out(self, block, arithmetic):
        found = weights(self, block, arithmetic)
        return None if found is None else SimpleNamespace(lo=found.hi, hi=found.lo)  # an `Interval` would refuse

    return patch.object(LayerTables, "weights_PV", inside_out)


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
    gelu_is_a_line, norm_is_a_line, radius_forgotten, leftover_dropped, chain_ends_in_the_other_carry,
    carries_ignored_below, some_choices_forgotten, mean_of_choices, sum_digits_not_read, weights_inside_out,
    right_digit_off, only_digits_are_rivals, one_cell_for_all, float32_is_exact,
)  # fmt: skip
NOT_SEEN = (products_are_exact,)


class Case:
    """A model with its trial and some proofs, made once and compared under every mistake."""

    def __init__(self, model, problems, a_B, b_B, rng, arithmetic):
        self.model, self.problems, self.arithmetic = model, problems, arithmetic
        self.tried = tried(model, a_B, b_B, outputs=True)
        if arithmetic is REAL:
            self.tried = replace(self.tried, single_AB=self.tried.double_AB)
        every = Enclosure(model.spec, model.weights, model.digits, arithmetic)
        once = {proof.block.place: proof for proof in searched(model, every, 2.0)}  # some token of every place
        whole = [coarse(model, proof.block, grid) for grid, proof in enumerate(once.values())]
        self.proofs = [*once.values(), *whole, *stray(model, rng, 0.15)]

    def faults(self):
        """What the comparison finds."""
        comparison = Comparison()
        model = Enclosure(self.model.spec, self.model.weights, self.model.digits, self.arithmetic)
        for proof in self.proofs:
            proof = replace(proof, block=replace(proof.block))  # noqa: PLW2901 - without what it remembers
            compare(comparison, Bounded.of(model, proof, box=True), self.problems, self.tried)
        return comparison.faults

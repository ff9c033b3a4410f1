"""Weights and values that a block reads -> a box that holds the attention's output for every problem of a part.

The attention's output has coordinates u = sum w v / sum w over the positions read, with v from a table and w in an
interval for each (position, token). For any number l and every problem of a part, u > l + S / D is impossible, where

    S >= sum w (v - l)  and  D <= sum w   for every problem of the part and all weights in their intervals, S >= 0,

since sum w (u - l) = sum w (v - l). A sum over positions is a sum over places: the case fixes some, and each far place
holds one of its choices. So the largest sum is the case's own terms plus those of the places above, each at its largest
choice, plus those below, chained by their carries: the largest sum for a chain that ends in carry c is a maximum over
the last choice and the chain before it (max-plus dynamic programming over the two carries). Each term takes the upper
weight where v > l, else the lower.

S as a function of l is convex (a maximum of sums of max(w_high x, w_low x) with x = v - l) and falls from >= 0 at the
least value to <= 0 at the largest. It is computed at the points of a grid; between two points the line through its
values is an upper bound, and l is the zero of that line. Coarse points find the cell, fine points inside it the line.
Lower bounds are the same for -v. The result for a part does not depend on the other parts in the same call.

Float64: a sum of fewer than 64 terms w (v - l), each rounded twice and added, is off by less than 2^-46 (sum of w)
(largest |v| + |l|), and the root of a line by less than 2^-48 |v|, where S changes by no more than (sum of w) per unit
of l: `SLACK` = 2^-43 times (largest sum of w) (largest |v|) is above both together, and stands for S at l.

Axes: P positions   V tokens   r coordinates   M = 2r directions (v, then -v)   C cases   K choices of a place
      L leaves   Y distinct part shapes (runs) of leaves   N cells of the coarse grid   X points, coarse or of a cell
      I, O carries into and out of a place
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from reprogrok.certificate.checker.carries import Block, Choices, Mask, Numbers
from reprogrok.certificate.checker.intervals import Interval
from reprogrok.certificate.checker.rounding import Floats
from reprogrok.certificate.checker.trees import Leaf, Run
from reprogrok.tasks.addition import EQUALS, PLUS

COARSE, FINE = 32, 16
SLACK = 2.0**-43
PARTS = 64  # distinct part shapes at a time
Runs = tuple[Run, ...]


@dataclass(frozen=True)
class Box:
    """Bounds of every coordinate for each leaf.

    Attributes:
        low_Lr: lower bounds.
        high_Lr: upper bounds.
        empty_L: whether no choice of carries fits, so that the part has no problem.
    """

    low_Lr: Floats
    high_Lr: Floats
    empty_L: Mask


@dataclass(frozen=True)
class AttentionBox:
    """The attention weights and values that a block reads.

    Attributes:
        block: the block.
        weights_PV: weight of every readable (position, token), 0 for others.
        values_PVr: coordinates of the values.
        orders: for every halved place, its choices in their order.
    """

    block: Block
    weights_PV: Interval
    values_PVr: Floats
    orders: Mapping[int, Numbers]

    def of(self, leaves: Sequence[Leaf]) -> Box:
        """Bound the attention's output for each leaf."""
        case_L = np.array([leaf.case for leaf in leaves])
        shapes: dict[Runs, int] = {}
        shape_L = np.array([shapes.setdefault(leaf.runs, len(shapes)) for leaf in leaves])
        bounds_LM = np.empty((len(leaves), 2 * self.values_PVr.shape[2]))
        empty_L = np.zeros(len(leaves), dtype=np.bool_)
        all_runs = list(shapes)
        for start in range(0, len(all_runs), PARTS):
            these_L = np.flatnonzero((shape_L >= start) & (shape_L < start + PARTS))
            parts = all_runs[start : start + PARTS]
            bounds_LM[these_L], empty_L[these_L] = self._bounds(case_L[these_L], shape_L[these_L] - start, parts)
        negated_Lr, high_Lr = bounds_LM[:, self.values_PVr.shape[2] :], bounds_LM[:, : self.values_PVr.shape[2]]
        return Box(-negated_Lr, high_Lr, empty_L)

    def _bounds(self, case_L: Numbers, part_L: Numbers, parts: Sequence[Runs]) -> tuple[Floats, Mask]:
        """Return upper bounds in every direction, (L, M), of leaves of some part shapes; and which leaves are empty."""
        read_PV = self.weights_PV.hi > 0
        values_PVM = np.concatenate([self.values_PVr, -self.values_PVr], axis=2)
        least_M, most_M = values_PVM[read_PV].min(0), values_PVM[read_PV].max(0)
        step_M = (most_M - least_M) / (COARSE * FINE)
        every_M = np.arange(len(step_M))
        carry_L = self.block.cases.carry[case_L]

        coarse_X = np.arange(COARSE + 1) * FINE
        terms_PVMX = self._terms(values_PVM, least_M[:, None] + coarse_X * step_M[:, None])
        far_LMX = self._far(terms_PVMX, parts)[part_L, carry_L]
        positive_LM = (self._own(terms_PVMX, case_L) + far_LMX > 0).sum(2)
        cell_LM = np.clip(positive_LM - 1, 0, COARSE - 1)

        met = [np.unique(cell_LM[:, m]) for m in every_M]  # the cells of each direction, repeated where there are fewer
        cells_MN = np.stack([np.resize(cells, max(map(len, met))) for cells in met])
        index_LM = np.stack([np.searchsorted(cells, cell_LM[:, m]) for m, cells in enumerate(met)], axis=1)
        fine_MNX = cells_MN[:, :, None] * FINE + np.arange(FINE + 1)
        points_MNX = least_M[:, None, None] + fine_MNX * step_M[:, None, None]
        terms_PVMX = self._terms(values_PVM, points_MNX.reshape(len(every_M), -1))
        far_YCMNX = self._far(terms_PVMX, parts).reshape(len(parts), 2, *points_MNX.shape)
        own_LMX = self._own(terms_PVMX.reshape(*values_PVM.shape, *points_MNX.shape[1:]), case_L, index_LM)
        sum_LMX = own_LMX + far_YCMNX[part_L[:, None], carry_L[:, None], every_M, index_LM]
        root_LM = _roots(sum_LMX, points_MNX[every_M, index_LM], most_M)

        largest = float(np.abs(values_PVM[read_PV]).max())
        slack = SLACK * float(self.weights_PV.hi.max(1).sum()) * largest + 1e-300
        with np.errstate(divide="ignore"):  # where the least sum of weights is 0 only the largest value is known
            bounds_LM = root_LM + slack / self._least_sum(case_L)[:, None] + 2.0**-50 * np.abs(root_LM)
        return np.minimum(bounds_LM, most_M), np.isneginf(far_LMX[:, 0, 0])

    def _terms(self, values_PVM: Floats, points_MX: Floats) -> Floats:
        """Return the largest w (v - l) for every w in its interval: (P, V, M, X)."""
        beyond_PVMX = values_PVM[:, :, :, None] - points_MX
        terms_PVMX: Floats = self.weights_PV.hi[:, :, None, None] * beyond_PVMX
        beyond_PVMX *= self.weights_PV.lo[:, :, None, None]
        return np.maximum(terms_PVMX, beyond_PVMX, out=terms_PVMX)

    def _known(self) -> list[tuple[int, Numbers]]:
        """List the positions that a case fixes, each with the token there for every case, (C,)."""
        n, place, cases = self.block.digits, self.block.place, self.block.cases
        all_C = np.ones(len(cases), dtype=np.int64)
        known = [(n, PLUS * all_C), (2 * n + 1, EQUALS * all_C)]
        if place > 0:
            known.append((self.block.asked, self.block.token * all_C))
            known += [(n - place, cases.a_before), (2 * n + 1 - place, cases.b_before)]
        if place < n:
            known += [(n - 1 - place, cases.a), (2 * n - place, cases.b)]
        return known

    def _own(self, terms_PVMX: Floats, case_L: Numbers, index_LM: Numbers | None = None) -> Floats:
        """Sum the case's own terms: (L, M, X), at all points or in the cell that `index_LM` picks (..., N cells, X)."""
        own_LMX: Floats = np.zeros(1)
        for position, token_C in self._known():
            if index_LM is None:
                own_LMX = own_LMX + terms_PVMX[position, token_C[case_L]]
            else:
                every_M = np.arange(index_LM.shape[1])
                own_LMX = own_LMX + terms_PVMX[position, token_C[case_L][:, None], every_M, index_LM]
        return own_LMX

    def _least_sum(self, case_L: Numbers) -> Floats:
        """Bound the sum of weights from below, (L,): those that the case fixes, and the least digits elsewhere."""
        low_PV = self.weights_PV.lo
        known = self._known()
        far_P = np.setdiff1d(np.arange(len(low_PV)), [position for position, _ in known])
        least = low_PV[far_P, :10].min(1, initial=np.inf).sum() if len(far_P) else 0.0
        sum_L: Floats = least + sum(low_PV[position, token_C[case_L]] for position, token_C in known)
        return sum_L * (1.0 - 2.0**-40)

    def _far(self, terms_PVMX: Floats, parts: Sequence[Runs]) -> Floats:
        """Return the largest sum over the far places for each part and carry into the place before: (Y, 2, M, X)."""
        shape = terms_PVMX.shape[2:]
        above_YMX = np.zeros((len(parts), *shape))
        below_YOMX = np.full((len(parts), 2, *shape), -np.inf)
        below_YOMX[:, 0] = 0.0
        for place in self.block.above:
            tables, index_Y = self._largest(terms_PVMX, place, parts)
            above_YMX += np.stack([table_IOMX.max((0, 1)) for table_IOMX in tables])[index_Y]
        for place in self.block.below:
            tables, index_Y = self._largest(terms_PVMX, place, parts)
            step_YIOMX = np.stack(tables)[index_Y]
            below_YOMX = np.maximum(
                below_YOMX[:, 0, None] + step_YIOMX[:, 0], below_YOMX[:, 1, None] + step_YIOMX[:, 1]
            )
        return below_YOMX + above_YMX[:, None]

    def _largest(self, terms_PVMX: Floats, place: int, parts: Sequence[Runs]) -> tuple[list[Floats], Numbers]:
        """Return tables (I, O, M, X) of a place, the largest sum by carries, and the index of each part's table."""
        choices = self.block.choices(place)
        runs: dict[tuple[int, int] | None, int] = {}
        index_Y = np.array(
            [
                runs.setdefault(next(((first, end) for at, first, end in part if at == place), None), len(runs))
                for part in parts
            ]
        )
        read = place < self.block.place
        a_VMX, b_VMX, digit_VMX = (
            terms_PVMX[at, :10] for at in (*self._operands(place), 2 * self.block.digits + 2 + place if read else 0)
        )
        tables: list[Floats] = []
        sum_KMX = None
        for run in runs:
            if run is None:
                whole = _of_whole(a_VMX, b_VMX, digit_VMX if read else None, bool(choices.carry_in.any()))
                tables.append(whole)
                continue
            if sum_KMX is None:
                sum_KMX = a_VMX[choices.a] + b_VMX[choices.b]
                sum_KMX = sum_KMX + digit_VMX[choices.digit] if read else sum_KMX
            tables.append(_by_carries(sum_KMX, choices, self.orders[place][run[0] : run[1]]))
        return tables, index_Y

    def _operands(self, place: int) -> tuple[int, int]:
        """Return the positions of both operands' digits at a place."""
        return self.block.digits - 1 - place, 2 * self.block.digits - place


def _of_whole(a_VMX: Floats, b_VMX: Floats, digit_VMX: Floats | None, both: bool) -> Floats:  # noqa: FBT001 - one caller
    """Return `_by_carries` of all choices, without and with (`both`) a carry into the place.

    Pairs of digits with the same sum have the same sum digit and carry out, so these are added once per sum.
    """
    table_IOMX = np.full((2, 2, *a_VMX.shape[1:]), -np.inf)
    if digit_VMX is None:
        table_IOMX[0, 0] = a_VMX.max(0) + b_VMX.max(0)
        return table_IOMX
    total = np.add.outer(np.arange(10), np.arange(10)).ravel()
    order = np.argsort(total, kind="stable")
    starts = np.searchsorted(total[order], np.arange(19))
    best_SMX = np.maximum.reduceat(a_VMX[order // 10] + b_VMX[order % 10], starts)
    for carry in (0, 1) if both else (0,):
        sum_SMX = best_SMX + digit_VMX[(np.arange(19) + carry) % 10]
        table_IOMX[carry, 0] = sum_SMX[: 10 - carry].max(0)
        table_IOMX[carry, 1] = sum_SMX[10 - carry :].max(0)
    return table_IOMX


def _by_carries(sum_KMX: Floats, choices: Choices, chosen: Numbers) -> Floats:
    """Return the largest chosen sum for each carry in and out: (I, O, M, X), minus infinity where there is none."""
    table_IOMX = np.full((2, 2, *sum_KMX.shape[1:]), -np.inf)
    for carry_in in (0, 1):
        for carry_out in (0, 1):
            fits = choices.by_carries(carry_in, carry_out)[chosen]
            if fits.any():
                table_IOMX[carry_in, carry_out] = sum_KMX[chosen[fits]].max(0)
    return table_IOMX


def _roots(sum_LMX: Floats, points_LMX: Floats, most_M: Floats) -> Floats:
    """Return the zero of the line between the last positive sum and the next: (L, M).

    Without a positive sum it is the first point; without a sum that is not positive, the largest value.
    """
    last_LM = np.clip((sum_LMX > 0).sum(2) - 1, 0, FINE - 1)[:, :, None]
    left_LM, right_LM = (np.take_along_axis(points_LMX, last_LM + side, 2)[:, :, 0] for side in (0, 1))
    before_LM, after_LM = (np.take_along_axis(sum_LMX, last_LM + side, 2)[:, :, 0] for side in (0, 1))
    with np.errstate(invalid="ignore", divide="ignore"):
        between_LM = left_LM + (right_LM - left_LM) * (before_LM / (before_LM - after_LM))
    root_LM = np.where((before_LM > 0) & (after_LM <= 0), np.clip(between_LM, left_LM, right_LM), most_M)
    return np.where(sum_LMX[:, :, 0] <= 0, points_LMX[:, :, 0], root_LM)

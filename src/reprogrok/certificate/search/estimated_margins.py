"""Boxes around attention's output -> estimated bounds of the margin in each; plain float64, not rounded outward.

An affine form (a centre, a slope for every coordinate of the box, a radius for nonlinear remainders) goes through
residual, norm, MLP, norm and logits.

Axes: N boxes, D width or any other features, R coordinates (one noise symbol each), V tokens.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
from scipy.special import ndtr

from reprogrok.certificate.checker.carries import Numbers
from reprogrok.certificate.checker.trees import GRIDS
from reprogrok.certificate.search.estimated_boxes import Array, BlockBoxes, Nodes, SearchedModel

_CHUNK = 4_096  # boxes at a time: as many as fit into the cache of a core


@dataclass(frozen=True)
class EstimatedMargins:
    """Estimated bounds of the margin, the right token's logit minus the largest other one.

    Attributes:
        lowest_N: lower bound.
        beaten_N: upper bound.
        worst_N: upper bound in the worst cell.
        middle_N: the smallest margin in the middle of a cell.
        slope_NR: change of the margin against the closest rival by a unit of each coordinate, in the worst cell.
    """

    lowest_N: Array
    beaten_N: Array
    worst_N: Array
    middle_N: Array
    slope_NR: Array


def estimated_margins(boxes: BlockBoxes, nodes: Nodes, grid: int) -> EstimatedMargins:
    """Estimate the margin over all cells of every node's box."""
    with np.errstate(over="ignore", invalid="ignore"):  # a box that is too wide ends in infinities
        parts = [_estimated(boxes, nodes[at : at + _CHUNK], grid) for at in range(0, max(len(nodes), 1), _CHUNK)]
    columns = (np.concatenate([getattr(part, each.name) for part in parts]) for each in fields(EstimatedMargins))
    return EstimatedMargins(*columns)


def _estimated(boxes: BlockBoxes, nodes: Nodes, grid: int) -> EstimatedMargins:
    right_N = boxes.block.cases.right[nodes.case_N]
    centre_NR, radius_NR = (nodes.low_NR + nodes.high_NR) / 2, (nodes.high_NR - nodes.low_NR) / 2
    found: EstimatedMargins | None = None
    for offset_R, size_R in _cells(grid, centre_NR.shape[1]):
        cell = _cell(boxes, centre_NR + offset_R * radius_NR, radius_NR * size_R, right_N)
        if found is None:
            found = cell
            continue
        closer_N = cell.lowest_N < found.lowest_N
        found = EstimatedMargins(
            np.minimum(found.lowest_N, cell.lowest_N),
            np.maximum(found.beaten_N, cell.beaten_N),
            np.minimum(found.worst_N, cell.worst_N),
            np.minimum(found.middle_N, cell.middle_N),
            np.where(closer_N[:, None], cell.slope_NR, found.slope_NR),
        )
    if found is None:
        raise AssertionError("a grid has at least one cell")
    return found


def _cell(boxes: BlockBoxes, centre_NR: Array, radius_NR: Array, right_N: Numbers) -> EstimatedMargins:
    """Estimate the margin over one box by an affine form through residual, norm, MLP, residual, norm and logits."""
    model = boxes.model
    moved_NDR = boxes.basis_RD.T * radius_NR[:, None, :]
    x = _Affine(
        model.input_TVD[boxes.block.asked, boxes.block.token] + centre_NR @ boxes.basis_RD,
        moved_NDR,
        np.zeros_like(moved_NDR[..., 0]),
    )
    hidden = _normed(x, *model.gain("blocks.0.ln2"), model).mapped(model.first_FD)
    x = x.plus(_gelu(hidden).mapped(model.second_DF))
    y = _normed(x, *model.gain("ln_f"), model)
    rivals_VVD = model.embedding_VD[:, None] - model.embedding_VD
    rivals_NVD = rivals_VVD[right_N]
    middle_NV = np.einsum("nvd,nd->nv", rivals_NVD, y.centre)
    slope_NVR = rivals_NVD @ y.slope
    reach_NV = np.abs(slope_NVR).sum(2) + np.einsum("nvd,nd->nv", np.abs(rivals_NVD), y.radius)
    itself = (np.arange(len(right_N)), right_N)
    middle_NV[itself] = np.inf
    lowest_NV = middle_NV - reach_NV
    closest_N = np.nan_to_num(lowest_NV, nan=-np.inf).argmin(1)
    pull_NR = slope_NVR[np.arange(len(right_N)), closest_N]
    pull_NR = np.nan_to_num(pull_NR, nan=0.0, posinf=0.0, neginf=0.0)
    slope_NR = np.divide(pull_NR, radius_NR, out=np.zeros_like(pull_NR), where=radius_NR > 0)
    lowest_N = np.nan_to_num(lowest_NV, nan=-np.inf).min(1)
    beaten_N = np.nan_to_num(middle_NV + reach_NV, nan=np.inf).min(1)
    return EstimatedMargins(lowest_N, beaten_N, beaten_N, middle_NV.min(1), slope_NR)


@dataclass(frozen=True)
class _Affine:
    """centre + slope @ symbols + something of at most radius, symbols in [-1, 1]: (N, D), (N, D, R), (N, D)."""

    centre: Array
    slope: Array
    radius: Array

    @cached_property
    def reach(self) -> Array:
        """Bound the distance from the centre: (N, D)."""
        reach: Array = np.abs(self.slope).sum(2) + self.radius
        return reach

    def mapped(self, matrix: Array) -> _Affine:
        return _Affine(self.centre @ matrix.T, matrix @ self.slope, self.radius @ np.abs(matrix).T)

    def plus(self, other: _Affine) -> _Affine:
        return _Affine(self.centre + other.centre, self.slope + other.slope, self.radius + other.radius)


def _normed(x: _Affine, weight_D: Array, bias_D: Array, model: SearchedModel) -> _Affine:
    """Apply a norm: x / sqrt(mean(x^2) + eps) * weight + bias, to deviations from the mean if it is a LayerNorm."""
    if not model.spec.use_rmsnorm:
        width = x.centre.shape[1]
        x = x.mapped(np.eye(width) - 1 / width)
    squared_N = (x.reach**2).mean(1)  # twice the half of the square's remainder
    mean_N = (x.centre**2).mean(1) + model.eps + squared_N / 2
    mean_slope_NR = 2 * (x.centre[..., None] * x.slope).mean(1)
    mean_radius_N = 2 * (np.abs(x.centre) * x.radius).mean(1) + squared_N / 2
    mean_reach_N = np.abs(mean_slope_NR).sum(1) + mean_radius_N
    least_N = np.maximum(mean_N - mean_reach_N, model.eps)
    bend_N = 0.75 * least_N**-2.5 * mean_reach_N**2 / 4  # f'' >= 0: half of the remainder's range
    root_N = mean_N**-0.5 + bend_N
    fall_N = -0.5 * mean_N**-1.5
    root_slope_NR = fall_N[:, None] * mean_slope_NR
    root_radius_N = np.abs(fall_N) * mean_radius_N + bend_N
    root_reach_N = np.abs(root_slope_NR).sum(1) + root_radius_N
    return _Affine(
        x.centre * root_N[:, None] * weight_D + bias_D,
        (x.slope * root_N[:, None, None] + x.centre[..., None] * root_slope_NR[:, None]) * weight_D[:, None],
        (x.radius * root_N[:, None] + np.abs(x.centre) * root_radius_N[:, None] + x.reach * root_reach_N[:, None])
        * np.abs(weight_D),
    )


def _gelu(x: _Affine) -> _Affine:
    """Apply GELU, x Phi(x); its second derivative is phi(x) (2 - x^2), largest at 0 and least at +-2."""
    density = np.exp(-(x.centre**2) / 2) / np.sqrt(2 * np.pi)
    cdf = ndtr(x.centre)
    low, high = x.centre - x.reach, x.centre + x.reach
    ends = [np.exp(-(end**2) / 2) * (2 - end**2) for end in (low, high)]
    most = np.where((low < 0) & (high > 0), 2.0, np.maximum(*ends))
    least = np.minimum(*ends)
    for turn in (-2.0, 2.0):
        least = np.where((low < turn) & (high > turn), -2 * np.exp(-2.0), least)
    quarter = x.reach**2 / 4 / np.sqrt(2 * np.pi)
    up, down = np.maximum(most, 0) * quarter, np.minimum(least, 0) * quarter  # halves of the remainder's ends
    steep = cdf + x.centre * density
    return _Affine(x.centre * cdf + up + down, steep[..., None] * x.slope, np.abs(steep) * x.radius + up - down)


def _cells(grid: int, coordinates: int) -> list[tuple[Array, Array]]:
    """List centres and sizes of a grid's cells, as fractions of a box's radius: each (R,)."""
    counts = GRIDS[grid][:coordinates]
    size_R = np.ones(coordinates)
    size_R[: len(counts)] = 1 / np.array(counts)
    cells = []
    for cell in np.ndindex(*counts):
        offset_R = np.zeros(coordinates)
        offset_R[: len(counts)] = (2 * np.array(cell) + 1) / np.array(counts) - 1
        cells.append((offset_R, size_R))
    return cells

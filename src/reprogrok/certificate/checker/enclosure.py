"""Model x part of its problems -> a lower bound of the margin there, or a proof that every answer is wrong.

    model --LayerTables--> weights, values --AttentionBox--> box of the attention's output --cells, Affine--> margins

A certificate rests on this module: it searches nothing, and every bound holds for all problems of a leaf and for every
evaluation in the given `Arithmetic`. With a basis T (r rows) the attention's output is

    T' u + rest,   u in the box,   rest between the extremes over (p, t) of o - T' v,   v the table of T o,

because it is a convex combination of the o; so any T is sound, and a good one makes small boxes and no rest. The box is
cut into cells along its first two coordinates; in each, the residual stream is an affine form of the first `SYMBOLS`
coordinates, and goes through the rest of the model. A leaf's bound is the worst of its cells.

Axes: L leaves   B cells of several leaves   r coordinates of the box   s symbols   D width   V tokens   P positions
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from reprogrok.certificate.checker.affine import (
    FAINT,
    MOST_FEATURES,
    ROUNDING,
    Affine,
    Chain,
    added,
    gelu,
    mapped,
    margins,
)
from reprogrok.certificate.checker.attention_box import AttentionBox, Box
from reprogrok.certificate.checker.carries import Block, Numbers
from reprogrok.certificate.checker.layer_tables import LayerTables, linear, norm, readable
from reprogrok.certificate.checker.rounding import FLOAT32, Arithmetic, Floats, require_ieee
from reprogrok.certificate.checker.trees import GRIDS, Leaf
from reprogrok.errors import InputError
from reprogrok.spec.model import ModelSpec
from reprogrok.tasks.addition import EQUALS, VOCABULARY

SYMBOLS = 8  # coordinates that keep a symbol each, the first of the basis; the others go into the radius
CELLS = 1_024  # computed at a time
MOST_DIGITS = 14
_READ = EQUALS + 1  # tokens up to here are read before the end of an answer


@dataclass(frozen=True)
class Margins:
    """Bounds for every problem of each leaf, in logits. A leaf without problems has +inf, -inf and 0: any holds.

    Attributes:
        lowest_L: lower bound of the margin; -inf where nothing is known.
        beaten_L: upper bound of the margin; if negative, every problem is answered wrong; +inf where nothing is known.
        width_L: largest width of the box of the attention's output.
    """

    lowest_L: Floats
    beaten_L: Floats
    width_L: Floats


def refusal(spec: ModelSpec, digits: int = 10) -> str | None:
    """Return why a model is not of the family that can be enclosed; None if it is."""
    length = 3 * digits + 2
    sizes = (spec.d_model, spec.d_ff, spec.pos_rank, spec.qkv_rank, spec.attn_out_rank, spec.ffn_rank)
    reasons = (
        (spec.n_layer != 1, f"it has {spec.n_layer} layers, and a proof is known for one"),
        (spec.n_head != 1, f"it has {spec.n_head} heads, and a proof is known for one"),
        (spec.bias, "its linear maps have biases"),
        (spec.gelu != "erf", f"its GELU is the approximation {spec.gelu}, not the one by erf"),
        (spec.vocab_size != VOCABULARY, f"its vocabulary is {spec.vocab_size} tokens, that of addition {VOCABULARY}"),
        (not 1 <= digits <= MOST_DIGITS, f"operands have 1 to {MOST_DIGITS} digits, not {digits}"),
        (spec.max_seq_len < length, f"it reads {spec.max_seq_len} positions; {digits} digits need {length}"),
        (max(sizes) > MOST_FEATURES, f"it is wider than {MOST_FEATURES}"),
    )
    return next((reason for refused, reason in reasons if refused), None)


class Enclosure:
    """One model, ready to be enclosed block by block.

    Args:
        spec: its shape.
        weights: float32 tensors by published name, without a replica axis.
        digits: n of the task.
        arithmetic: the evaluations for which the bounds hold.

    Raises:
        InputError: the model is not of the family; see `refusal`.
        ArithmeticError: this process does not compute in IEEE float64.
    """

    def __init__(
        self, spec: ModelSpec, weights: Mapping[str, torch.Tensor], digits: int, arithmetic: Arithmetic = FLOAT32
    ) -> None:
        require_ieee()
        if reason := refusal(spec, digits):
            raise InputError(f"this model cannot be enclosed: {reason}")
        self.digits, self.arithmetic = digits, arithmetic
        doubles = {name: tensor.detach().cpu().double().numpy() for name, tensor in weights.items()}
        self.embedding_VD = doubles["token_emb.weight"]
        with np.errstate(all="ignore"):  # overflow and NaN end in bounds that state nothing
            # Includes the last answer digit: no asked digit depends on it, but an evaluation may read it.
            positions = min(3 * digits + 3, spec.max_seq_len)
            self.tables = LayerTables.of(spec, doubles, positions, arithmetic)
        self.after = norm(spec, doubles, "blocks.0.ln2")
        self.last = norm(spec, doubles, "ln_f")
        self.rise = Chain.of(linear(doubles, "blocks.0.mlp.fc1"))
        self.fall = Chain.of(linear(doubles, "blocks.0.mlp.fc2"))

    def block(self, block: Block, basis_rD: Floats, orders: Mapping[int, Numbers]) -> BlockEnclosure:
        """Enclose one block, in the coordinates of a basis, with the orders in which its places are halved.

        Raises:
            InputError: the basis does not fit the model or is not finite, an order does not name every choice of its
                place once, or the block is of another task.
        """
        return BlockEnclosure(self, block, np.asarray(basis_rD, dtype=np.float64), orders)

    def answer(self, stream: Affine, right_L: Numbers) -> tuple[Floats, Floats]:
        """Bound all margins, (L, V) each, from the residual stream after attention; see `margins`."""
        hidden = mapped(self.after.of(stream, self.arithmetic), self.rise, self.arithmetic)
        stream = added(stream, mapped(gelu(hidden, self.arithmetic), self.fall, self.arithmetic), self.arithmetic)
        return margins(self.last.of(stream, self.arithmetic), self.embedding_VD, right_L, self.arithmetic)


class BlockEnclosure:
    """One block of an `Enclosure`, see `Enclosure.block`."""

    def __init__(self, model: Enclosure, block: Block, basis_rD: Floats, orders: Mapping[int, Numbers]) -> None:
        width = model.embedding_VD.shape[1]
        if block.digits != model.digits:
            raise InputError("a block of another task", expected=f"{model.digits} digits", found=f"{block.digits}")
        if basis_rD.ndim != 2 or basis_rD.shape[1] != width or len(basis_rD) > width:
            raise InputError(
                "a basis that does not fit", expected=f"at most {width} rows of {width}", found=f"{basis_rD.shape}"
            )
        if not np.isfinite(basis_rD).all():
            raise InputError("a basis with entries that are not finite")
        for place, order in orders.items():
            choices = len(block.choices(place)) if place in block.far else 0
            if not np.array_equal(np.sort(order), np.arange(choices)):
                raise InputError(f"the order of place {place} does not name each of its choices once")
        self.model, self.block = model, block
        self.basis_rD = basis_rD if len(basis_rD) else np.zeros((1, width))
        with np.errstate(all="ignore"):
            self.attention = self._attention(orders)

    def _attention(self, orders: Mapping[int, Numbers]) -> AttentionBox | None:
        """Return the box, None if it is unbounded; set `asked`, the stream without attention.

        The rest of the output outside the basis lies around `shift_D` (after LayerNorm it can be a constant), within
        `output_error_D` of it with all errors.
        """
        model, tokens = self.model, self.model.tables.tokens
        weights_PV = model.tables.weights(self.block, model.arithmetic)
        read_PV = readable(self.block, tokens)
        values = model.tables.values
        value_PVD = values.centre_LF[: read_PV.size].reshape(*read_PV.shape, -1)
        loose_PVD = values.radius_LF[: read_PV.size].reshape(*read_PV.shape, -1)
        coordinates_PVr = value_PVD @ self.basis_rD.T
        again_PVD = coordinates_PVr @ self.basis_rD
        rest_PVD = value_PVD - again_PVD
        size_PVD = np.abs(value_PVD) + np.abs(coordinates_PVr) @ np.abs(self.basis_rD)
        least_D, most_D = rest_PVD[read_PV].min(0), rest_PVD[read_PV].max(0)
        self.shift_D = (least_D + most_D) / 2.0
        error_PVD = np.abs(rest_PVD - self.shift_D) + loose_PVD
        self.output_error_D = (error_PVD * (1.0 + ROUNDING) + ROUNDING * size_PVD)[read_PV].max(0)
        row = slice(model.tables.asked(self.block), model.tables.asked(self.block) + 1)
        stream = model.tables.stream
        self.asked = Affine(stream.centre_LF[row], stream.slopes_sLF[:, row], stream.radius_LF[row])
        if weights_PV is None or not np.isfinite(self.output_error_D).all() or not np.isfinite(coordinates_PVr).all():
            return None
        return AttentionBox(self.block, weights_PV[:, :_READ], coordinates_PVr[:, :_READ], orders)

    def margins(self, leaves: Sequence[Leaf]) -> Margins:
        """Bound each leaf, in their order; its grid cuts its box, its status is not read.

        A basis of one row has one coordinate to cut: the second number of a grid is then 1.
        """
        count = len(leaves)
        if self.attention is None or not count:
            return Margins(np.full(count, -np.inf), np.full(count, np.inf), np.full(count, np.inf))
        box = self.attention.of(leaves)
        grid_L = np.array([leaf.grid for leaf in leaves])
        right_L = self.block.cases.right[np.array([leaf.case for leaf in leaves])]
        lowest_L, beaten_L = np.empty(count), np.empty(count)
        for grid in np.unique(grid_L):
            of_grid_L = np.flatnonzero(grid_L == grid)
            at_once = max(1, CELLS // math.prod(GRIDS[grid]))
            for start in range(0, len(of_grid_L), at_once):
                these_L = of_grid_L[start : start + at_once]
                part = Box(box.low_Lr[these_L], box.high_Lr[these_L], box.empty_L[these_L])
                lowest_L[these_L], beaten_L[these_L] = self._of_cells(part, GRIDS[grid], right_L[these_L])
        lowest_L[box.empty_L], beaten_L[box.empty_L] = np.inf, -np.inf
        width_L = np.where(box.empty_L, 0.0, (box.high_Lr - box.low_Lr).max(1) * (1.0 + ROUNDING))
        return Margins(lowest_L, beaten_L, width_L)

    def _of_cells(self, box: Box, grid: tuple[int, int], right_L: Numbers) -> tuple[Floats, Floats]:
        """Return the least lower margin and the largest least upper margin over all cells of each leaf: (L,) each."""
        count, dimensions = box.low_Lr.shape
        cut_r = np.array([*grid, *[1] * dimensions])[:dimensions]
        cells_Nr = np.stack(np.meshgrid(*(np.arange(cut) for cut in cut_r), indexing="ij"), -1).reshape(-1, dimensions)
        with np.errstate(all="ignore"):
            width_L1r = (box.high_Lr - box.low_Lr)[:, None]
            centre_LNr = box.low_Lr[:, None] + width_L1r * ((cells_Nr + 0.5) / cut_r)
            half_LNr = width_L1r / (2.0 * cut_r) + ROUNDING * (np.abs(box.low_Lr) + np.abs(box.high_Lr))[:, None]
            half_LNr = np.broadcast_to(half_LNr, centre_LNr.shape)
            stream = self._stream(centre_LNr.reshape(-1, dimensions), half_LNr.reshape(-1, dimensions))
            right_B = np.repeat(right_L, len(cells_Nr))
            lower_BV, upper_BV = self.model.answer(stream, right_B)
        rows_B = np.arange(len(right_B))
        lower_BV[rows_B, right_B] = upper_BV[rows_B, right_B] = np.inf
        lowest_L = lower_BV.min(1).reshape(count, -1).min(1)
        beaten_L = upper_BV.min(1).reshape(count, -1).max(1)
        return np.where(np.isfinite(lowest_L), lowest_L, -np.inf), np.where(np.isfinite(beaten_L), beaten_L, np.inf)

    def _stream(self, centre_Br: Floats, half_Br: Floats) -> Affine:
        """Return the residual stream after attention for u = centre + half d: x + T' u, one symbol per coordinate."""
        count = len(centre_Br)
        slopes_sBD = half_Br.T[:SYMBOLS, :, None] * self.basis_rD[:SYMBOLS, None]
        radius_BD = half_Br[:, SYMBOLS:] @ np.abs(self.basis_rD[SYMBOLS:]) + self.output_error_D
        size_BD = (np.abs(centre_Br) + half_Br) @ np.abs(self.basis_rD) + np.abs(self.shift_D)
        radius_BD = radius_BD * (1.0 + ROUNDING) + ROUNDING * size_BD + FAINT
        output = Affine(centre_Br @ self.basis_rD + self.shift_D, slopes_sBD, radius_BD)
        shape = (count, self.basis_rD.shape[1])
        asked = Affine(
            np.broadcast_to(self.asked.centre_LF, shape),
            np.zeros((len(slopes_sBD), 1, 1)),
            np.broadcast_to(self.asked.radius_LF, shape),
        )
        return added(asked, output, self.model.arithmetic)

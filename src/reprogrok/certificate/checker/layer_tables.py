"""A one-layer model -> tables over (position, token) of everything its attention mixes, each entry with its error.

Before the only attention everything depends on position and token alone, so the residual stream x, its norm h, the
scores and the values are tables. A value o = W_o W_v h is the attention's output if one position has all the weight;
the attention's output is a convex combination of values, with weights exp(score) up to a factor.

In the given arithmetic, the model's own x and h lie in the balls of this module. With computed scores s~ and M~ the
largest of those that are read, the attention's output is

    sum w~ v~ / sum w~,   w~ = exp(s~ - M~ + e)(1 + a) + b,   |e| <= u (M~ - s~), |a| <= elementary, |b| <= tiny,

mixed, divided and projected in some order. Every factor of an attention weight, a value and a projection has a
relative error, so the result is off by at most gamma(terms of W_o and W_v + 2T + 8) |W_o| |W_v| |h|, mixed with the
same positive weights, and so by the largest of these over (p, t): they are in the radius of `LayerTables.values`. The
rest is an exact convex combination of exact values, with each weight in an interval: `LayerTables.weights`.

Axes: P positions   V tokens   D width   E width of the head, D here   r rank
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from reprogrok.certificate.checker.affine import FAINT, LARGEST, ROUNDING, Affine, Chain, Norm, added, exactly, mapped
from reprogrok.certificate.checker.carries import Block, Mask
from reprogrok.certificate.checker.intervals import Interval
from reprogrok.certificate.checker.rounding import Arithmetic, Floats, gamma
from reprogrok.model.decoder import LAYER_NORM_EPS, RMS_NORM_EPS
from reprogrok.spec.model import ModelSpec
from reprogrok.tasks.addition import EQUALS, PLUS


@dataclass(frozen=True)
class LayerTables:
    """The tables of one model.

    Attributes:
        stream: x as forms without symbols, rows in the order of (P, V).
        normed: h likewise.
        values: o likewise; its radius holds the error of mixing and projecting as well.
        scores: the bilinear form of a query's h (left) and a key's h (right).
        width: E; scores are divided by its root.
        tokens: V.
    """

    stream: Affine
    normed: Affine
    values: Affine
    scores: Chain
    width: int
    tokens: int

    @staticmethod
    def of(spec: ModelSpec, weights: Mapping[str, Floats], positions: int, arithmetic: Arithmetic) -> LayerTables:
        """Compute the tables of a model without replica axis over its first positions."""
        embedding_VD = weights["token_emb.weight"]
        if spec.pos_rank:
            place = exactly(weights["pos_emb.A"][:positions])
            place = mapped(place, Chain.of([weights["pos_emb.B"].T]), arithmetic)
        else:
            place = exactly(weights["pos_emb.weight"][:positions])
        tokens = len(embedding_VD)
        each = np.repeat(np.arange(positions), tokens)
        place = Affine(place.centre_LF[each], place.slopes_sLF[:, each], place.radius_LF[each])
        stream = added(exactly(np.tile(embedding_VD, (positions, 1))), place, arithmetic)
        normed = norm(spec, weights, "blocks.0.ln1").of(stream, arithmetic)
        query, key, value = _projections(spec, weights)
        output = Chain.of([*linear(weights, "blocks.0.attn.proj"), *value])
        mixing = replace(output, terms=output.terms + 2 * positions + 8)
        scores = Chain.of([*(factor.T for factor in reversed(query)), *key])
        values = mapped(normed, mixing, arithmetic)
        return LayerTables(stream, normed, values, scores, spec.d_model, tokens)

    @property
    def bounded(self) -> bool:
        """Whether no entry can overflow float32, those of tokens and positions that are never read included.

        A lookup by one-hot columns multiplies the other tokens by 0, and a mask is added to the scores of later
        positions; with an infinite entry both give NaN for every problem.
        """
        top = 1.0 + float(self.normed.magnitude.max())
        forms = (self.stream, self.normed, self.values)
        finite = all(bool(np.isfinite(form.radius_LF).all()) for form in forms)
        return finite and top * top * self.scores.reach * self.width < LARGEST

    def asked(self, block: Block) -> int:
        """Return the table row of the asked position and its token."""
        return block.asked * self.tokens + block.token

    def weights(self, block: Block, arithmetic: Arithmetic) -> Interval | None:
        """Bound the weight of every readable (position, token), up to a common factor; 0 for others; None if unbounded.

        With L the largest upper bound of a score, the computed weights times exp(M~ - L) <= 1 are
        exp(s~ - L + e)(1 + a) + b: `tiny` becomes no larger, and as s~ - M~ + e is at most 0 (a rounding keeps the
        sign), so is s~ - L + e.
        """
        if not self.bounded:
            return None
        low_PV, high_PV = self._scores(block, arithmetic)
        read_PV = readable(block, self.tokens)
        largest, least = high_PV[read_PV].max(), low_PV[read_PV].min()
        spread = (largest - least) * (1.0 + ROUNDING)
        if not np.isfinite(spread):
            return None
        drift = arithmetic.unit * spread * (1.0 + ROUNDING)
        low_PV, high_PV = (np.where(read_PV, scores_PV, largest) for scores_PV in (low_PV, high_PV))
        power_PV = Interval(low_PV, high_PV) - largest + Interval.between(-drift, drift)
        power_PV = Interval(np.minimum(power_PV.lo, 0.0), np.minimum(power_PV.hi, 0.0))
        weights_PV = power_PV.exp().widened(arithmetic.elementary, arithmetic.tiny).at_least(0.0)
        return Interval(np.where(read_PV, weights_PV.lo, 0.0), np.where(read_PV, weights_PV.hi, 0.0))

    def _scores(self, block: Block, arithmetic: Arithmetic) -> tuple[Floats, Floats]:
        """Bound the scores with the block's query from below and above, for all keys up to the asked position.

        With h = c + e on both sides, c'Mc is known and e'M(c + e), c'Me are bounded by |M|; the product itself is off
        by gamma(terms) |h| |factors| |h|, where the terms are those of the factors, of the product with the query, and
        of dividing by a rounded root.
        """
        asked, keys = self.asked(block), slice(0, (block.asked + 1) * self.tokens)
        query_D, loose_D = self.normed.centre_LF[asked], self.normed.radius_LF[asked]
        key_KD, apart_KD = self.normed.centre_LF[keys], self.normed.radius_LF[keys]
        chain = self.scores
        firm_D, free_D = np.abs(query_D) @ np.abs(chain.matrix_OI), loose_D @ np.abs(chain.matrix_OI)
        error = gamma(chain.terms + len(query_D) + 4, arithmetic.unit) + ROUNDING
        query_magnitude_D, key_magnitude_KD = np.abs(query_D) + loose_D, np.abs(key_KD) + apart_KD
        error_K = error * (key_magnitude_KD @ (query_magnitude_D @ chain.magnitude_OI))
        error_K = error_K + apart_KD @ (firm_D + free_D) + np.abs(key_KD) @ free_D
        top_K = (1.0 + query_magnitude_D.max()) * (1.0 + key_magnitude_KD.max(1))
        error_K = error_K + (4 * len(query_D) * chain.underflow(arithmetic) + FAINT) * top_K
        error_K[~(top_K * chain.reach * len(query_D) < LARGEST)] = np.inf
        root = math.sqrt(self.width)
        score_PV, error_PV = (
            x.reshape(-1, self.tokens) / root for x in (key_KD @ (query_D @ chain.matrix_OI), error_K)
        )
        error_PV = error_PV * (1.0 + ROUNDING)
        return score_PV - error_PV, score_PV + error_PV


def readable(block: Block, tokens: int) -> Mask:
    """Tell which tokens may stand at the positions up to the asked one: (P, V)."""
    n, read_PV = block.digits, np.zeros((block.asked + 1, tokens), dtype=np.bool_)
    read_PV[:, :10] = True
    for position, token in ((n, PLUS), (2 * n + 1, EQUALS), (block.asked, block.token)):
        read_PV[position] = np.arange(tokens) == token
    return read_PV


def norm(spec: ModelSpec, weights: Mapping[str, Floats], name: str) -> Norm:
    """Return the weights of a norm by its published name."""
    if spec.use_rmsnorm:
        return Norm(weights[f"{name}.weight"], None, RMS_NORM_EPS)
    return Norm(weights[f"{name}.weight"], weights[f"{name}.bias"], LAYER_NORM_EPS)


def linear(weights: Mapping[str, Floats], name: str) -> list[Floats]:
    """Return the factors (out, in) of a linear map, in the order of the product: the last is applied first."""
    if f"{name}.weight" in weights:
        return [weights[f"{name}.weight"]]
    return [weights[f"{name}.B"].T, weights[f"{name}.A"].T]


def _projections(spec: ModelSpec, weights: Mapping[str, Floats]) -> tuple[list[Floats], list[Floats], list[Floats]]:
    """Return the factors of query, key and value."""
    name = "blocks.0.attn.qkv"
    if not spec.qkv_rank:
        query_DD, key_DD, value_DD = np.split(weights[f"{name}.weight"], 3, axis=0)
        return [query_DD], [key_DD], [value_DD]
    if spec.tie_qkv == "shareA_tieKV":
        shared_rD = weights[f"{name}_A"].T
        query_Dr, key_Dr = weights[f"{name}_Bq"].T, weights[f"{name}_Bkv"].T
        return [query_Dr, shared_rD], [key_Dr, shared_rD], [key_Dr, shared_rD]
    shared_rD = weights[f"{name}.A"].T
    query_Dr, key_Dr, value_Dr = np.split(weights[f"{name}.B"].T, 3, axis=0)
    return [query_Dr, shared_rD], [key_Dr, shared_rD], [value_Dr, shared_rD]

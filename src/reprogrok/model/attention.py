"""Queries, keys and values -> the output of every head: causal softmax attention with problems as the last axis.

Axes: R replicas   B problems   T positions read   Q positions requested, the last Q of T   H heads
      G key heads: H, or one shared by all heads   E width of a head

Heads of width 3 or 8 make matrices too small for a matrix library. Their products are written out, one pass over
(H, Q, T, B) for each of the E components, and so is the backward pass, which reuses one buffer where autograd would
keep one for each component. The compiler fuses the passes. Wide heads use batched matrix products.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

_NARROW = 16  # heads up to this width are computed component by component


def attend(
    q_RXQB: Tensor, k_RYTB: Tensor, v_RYTB: Tensor, heads: int, drop: Callable[[Tensor], Tensor] | None = None
) -> Tensor:
    """Return softmax(q'k) v under a causal mask; the last query sees every key.

    Args:
        q_RXQB: queries of all heads, X = H x E, already scaled.
        k_RYTB: keys, Y = G x E.
        v_RYTB: values likewise.
        heads: H.
        drop: dropout of the attention weights, from (R, B, H, Q, T) to the same shape.

    Returns:
        (R, X, Q, B).
    """
    q_RHEQB, k_RGETB, v_RGETB = (_by_head(x, q_RXQB.shape[1] // heads) for x in (q_RXQB, k_RYTB, v_RYTB))
    narrow = q_RHEQB.shape[2] <= _NARROW and drop is None
    mix = _Narrow.apply if narrow else partial(_wide, drop=drop)
    mixed_RHEQB: Tensor = mix(q_RHEQB, k_RGETB, v_RGETB, _mask(q_RXQB, k_RYTB.shape[2]))
    return mixed_RHEQB.reshape(q_RXQB.shape)


def attention_weights(q_RXQB: Tensor, k_RYTB: Tensor, heads: int) -> Tensor:
    """Return the attention weights of `attend` for analysis: (R, H, Q, T, B), 0 for later keys, with sum 1 over T."""
    q_RHEQB, k_RGETB = (_by_head(x, q_RXQB.shape[1] // heads) for x in (q_RXQB, k_RYTB))
    mask_QT = _mask(q_RXQB, k_RYTB.shape[2])
    if q_RHEQB.shape[2] <= _NARROW:
        return _narrow_scores(q_RHEQB, k_RGETB, mask_QT).softmax(3)
    return _wide_scores(q_RHEQB, k_RGETB, mask_QT).softmax(-1).permute(0, 2, 3, 4, 1)


def _by_head(x_RYTB: Tensor, width: int) -> Tensor:
    """Split features by head: (R, G, E, T, B)."""
    R, _, T, B = x_RYTB.shape
    return x_RYTB.reshape(R, -1, width, T, B)


def _mask(q_RXQB: Tensor, T: int) -> Tensor:
    """Return the causal mask to add to scores, (Q, T): minus infinity for later keys. The last query is at T - 1."""
    Q = q_RXQB.shape[2]
    future_QT = torch.ones(Q, T, dtype=torch.bool, device=q_RXQB.device).triu(T - Q + 1)
    return torch.zeros(Q, T, dtype=q_RXQB.dtype, device=q_RXQB.device).masked_fill(future_QT, -math.inf)


def _wide(
    q_RHEQB: Tensor, k_RGETB: Tensor, v_RGETB: Tensor, mask_QT: Tensor, drop: Callable[[Tensor], Tensor] | None
) -> Tensor:
    """Attend with batched matrix products, for which problems come first."""
    v_RBGTE = v_RGETB.permute(0, 4, 1, 3, 2)
    weights_RBHQT = _wide_scores(q_RHEQB, k_RGETB, mask_QT).softmax(-1)
    mixed_RBHQE = (weights_RBHQT if drop is None else drop(weights_RBHQT)) @ v_RBGTE
    return mixed_RBHQE.permute(0, 2, 4, 3, 1)


def _wide_scores(q_RHEQB: Tensor, k_RGETB: Tensor, mask_QT: Tensor) -> Tensor:
    """Return scores (R, B, H, Q, T)."""
    return q_RHEQB.permute(0, 4, 1, 3, 2) @ k_RGETB.permute(0, 4, 1, 2, 3) + mask_QT


def _narrow_scores(q_RHEQB: Tensor, k_RGETB: Tensor, mask_QT: Tensor) -> Tensor:
    """Return scores (R, H, Q, T, B), summed in one buffer."""
    scores_RHQTB = torch.addcmul(mask_QT.unsqueeze(-1), _query(q_RHEQB, 0), _key(k_RGETB, 0))
    for e in range(1, q_RHEQB.shape[2]):
        scores_RHQTB.addcmul_(_query(q_RHEQB, e), _key(k_RGETB, e))
    return scores_RHQTB


class _Narrow(torch.autograd.Function):
    """Attention computed component by component, forward and backward."""

    @staticmethod
    def forward(ctx: Any, q_RHEQB: Tensor, k_RGETB: Tensor, v_RGETB: Tensor, mask_QT: Tensor) -> Tensor:
        scores_RHQTB = _narrow_scores(q_RHEQB, k_RGETB, mask_QT)
        weights_RHQTB = scores_RHQTB.softmax(3)
        ctx.save_for_backward(q_RHEQB, k_RGETB, v_RGETB, weights_RHQTB)
        return _sums(weights_RHQTB, [_key(v_RGETB, e) for e in range(v_RGETB.shape[2])], 3, buffer=scores_RHQTB)

    @staticmethod
    def backward(ctx: Any, gradient_RHEQB: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        q_RHEQB, k_RGETB, v_RGETB, weights_RHQTB = ctx.saved_tensors
        components = range(q_RHEQB.shape[2])
        buffer_RHQTB = torch.empty_like(weights_RHQTB)
        of_v = _sums(weights_RHQTB, [_query(gradient_RHEQB, e) for e in components], 2, buffer=buffer_RHQTB)
        # Softmax: d score = weight * (d weight - sum over keys of weight * d weight).
        score_RHQTB = _query(gradient_RHEQB, 0) * _key(v_RGETB, 0)
        for e in components[1:]:
            score_RHQTB.addcmul_(_query(gradient_RHEQB, e), _key(v_RGETB, e))
        score_RHQTB.mul_(weights_RHQTB)
        score_RHQTB.addcmul_(weights_RHQTB, score_RHQTB.sum(3, keepdim=True), value=-1)
        of_q = _sums(score_RHQTB, [_key(k_RGETB, e) for e in components], 3, buffer=buffer_RHQTB)
        of_k = _sums(score_RHQTB, [_query(q_RHEQB, e) for e in components], 2, buffer=buffer_RHQTB)
        if k_RGETB.shape[1] < q_RHEQB.shape[1]:
            of_k, of_v = of_k.sum(1, keepdim=True), of_v.sum(1, keepdim=True)
        return of_q, of_k, of_v, None


def _query(x_RHEQB: Tensor, e: int) -> Tensor:
    """Return component e of a tensor of queries, broadcast over keys: (R, H, Q, 1, B)."""
    return x_RHEQB[:, :, e].unsqueeze(3)


def _key(x_RGETB: Tensor, e: int) -> Tensor:
    """Return component e of a tensor of keys, broadcast over queries: (R, G, 1, T, B)."""
    return x_RGETB[:, :, e].unsqueeze(2)


def _sums(factor_RHQTB: Tensor, others: list[Tensor], axis: int, buffer: Tensor) -> Tensor:
    """Sum a factor times each of E others over queries (axis 2) or keys (axis 3), and stack the sums as components."""
    return torch.stack([torch.mul(factor_RHQTB, other, out=buffer).sum(axis) for other in others], dim=2)

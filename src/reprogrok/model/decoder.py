"""Token rows -> logits: the pre-norm decoder, for R models of one spec at once.

Axes, as they end the names of tensors:
    R replicas   B rows   T positions read   Q positions asked   H heads   D width   E width of a head   V vocabulary

What a model need not compute, it does not compute, exactly and for training, exam and analysis alike:
  - before the first attention nothing depends on more than (position, token), so the first layer's queries, keys,
    values and residual are T x V tables that rows look up;
  - after the last attention only the positions asked for matter: there are no other queries, MLP, norm or logits.

Where gradients flow, a lookup is a product with one-hot rows: its backward is a plain product too, which is faster than
a gather's scatter and the same on every run on a GPU. Elsewhere it is a gather of the same numbers. Products on the
head come out as (R, V, N): normalising over a middle axis is several times faster than over a short last one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from reprogrok.spec import ModelSpec

Weights = Mapping[str, Tensor]  # by published name, each with a leading replica axis

LAYER_NORM_EPS = 1e-5
RMS_NORM_EPS = 1e-8


def one_hot(tokens_RBT: Tensor, vocabulary: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """(..., T) tokens -> (..., T, V) rows with a single 1, in the dtype of the weights."""
    # Five times faster on a CPU than indexing or comparing, for the same ones and zeros.
    return F.embedding(tokens_RBT, torch.eye(vocabulary, dtype=dtype, device=tokens_RBT.device))


def logits(spec: ModelSpec, weights: Weights, rows: Tensor, first: int) -> Tensor:
    """What each model answers at the positions `first`, `first` + 1, ..., T - 1.

    Args:
        spec: the shape of the models.
        weights: tensors of `parameter_shapes(spec)`, each with a leading axis of R.
        rows: what is read: tokens (R, B, T), or to train what `one_hot` makes of them, (R, B, T, V); T may be shorter
            than `max_seq_len`.
        first: the first position asked; its predecessors only serve as keys and values.

    Returns:
        (R, V, B, Q) with Q = T - first.
    """
    R, B, T = rows.shape[:3]
    trains = rows.is_floating_point()
    if not trains:
        rows = rows + spec.vocab_size * torch.arange(R * T, device=rows.device).reshape(R, 1, T)
    table_RTVD = _embeddings(spec, weights, T)
    x_RBTD = None
    for layer in range(spec.n_layer):
        asked = first if layer == spec.n_layer - 1 else 0
        at = f"blocks.{layer}"
        if x_RBTD is None:
            normed_RTVD = _norm(spec, weights, f"{at}.ln1", table_RTVD)
            q, k, v = _queries_keys_values(spec, weights, f"{at}.attn", normed_RTVD)
            q_RBQD, x_RBQD = (_look_up(rows, table, asked) for table in (q, table_RTVD))
            k_RBTD = _look_up(rows, k, 0)
            # To train, the two gradients of one table are summed after its product: an order that is part of the bits.
            v_RBTD = k_RBTD if v is k and not trains else _look_up(rows, v, 0)
        else:
            normed_RBTD = _norm(spec, weights, f"{at}.ln1", x_RBTD)
            q, k_RBTD, v_RBTD = _queries_keys_values(spec, weights, f"{at}.attn", normed_RBTD)
            q_RBQD, x_RBQD = q[:, :, asked:], x_RBTD[:, :, asked:]
        mixed_RBQD = _attend(spec, q_RBQD, k_RBTD, v_RBTD)
        x_RND = x_RBQD.reshape(R, -1, spec.d_model) + _linear(
            weights, f"{at}.attn.proj", mixed_RBQD.reshape(R, -1, spec.d_model)
        )
        hidden_RNF = F.gelu(_linear(weights, f"{at}.mlp.fc1", _norm(spec, weights, f"{at}.ln2", x_RND)))
        x_RBTD = (x_RND + _linear(weights, f"{at}.mlp.fc2", hidden_RNF)).reshape(R, B, T - asked, spec.d_model)
    if x_RBTD is None:
        raise AssertionError("a spec has at least one layer")
    last_RND = _norm(spec, weights, "ln_f", x_RBTD.reshape(R, -1, spec.d_model))
    return (weights["token_emb.weight"] @ last_RND.transpose(1, 2)).reshape(R, spec.vocab_size, B, T - first)


def _embeddings(spec: ModelSpec, weights: Weights, length: int) -> Tensor:
    """Token plus position, for every one of both: (R, T, V, D)."""
    positions_RTD = (
        weights["pos_emb.A"][:, :length] @ weights["pos_emb.B"]
        if spec.pos_rank
        else weights["pos_emb.weight"][:, :length]
    )
    return weights["token_emb.weight"].unsqueeze(1) + positions_RTD.unsqueeze(2)


def _look_up(rows: Tensor, table_RTVD: Tensor, first: int) -> Tensor:
    """Every row's entries at its positions from `first` on, by one-hot rows or by number: (R, B, T - first, D)."""
    if rows.is_floating_point():
        return (rows.transpose(1, 2)[:, first:] @ table_RTVD[:, first:]).transpose(1, 2)
    return F.embedding(rows[:, :, first:], table_RTVD.reshape(-1, table_RTVD.shape[-1]))


def _norm(spec: ModelSpec, weights: Weights, name: str, x: Tensor) -> Tensor:
    """LayerNorm, or x / sqrt(mean(x^2) + eps) * weight, over the last axis of (R, ..., D)."""
    width = (x.shape[-1],)
    axes = (x.shape[0], *[1] * (x.dim() - 2), x.shape[-1])
    if spec.use_rmsnorm:
        return F.rms_norm(x, width, eps=RMS_NORM_EPS) * weights[f"{name}.weight"].reshape(axes)
    return F.layer_norm(x, width, eps=LAYER_NORM_EPS) * weights[f"{name}.weight"].reshape(axes) + weights[
        f"{name}.bias"
    ].reshape(axes)


def _linear(weights: Weights, name: str, x_RND: Tensor) -> Tensor:
    """Map (R, N, in) to (R, N, out): x W^T for a full-rank weight (out, in), x A B for a low-rank one."""
    if (weight_ROI := weights.get(f"{name}.weight")) is not None:
        return x_RND @ weight_ROI.transpose(1, 2)
    return (x_RND @ weights[f"{name}.A"]) @ weights[f"{name}.B"]


def _queries_keys_values(spec: ModelSpec, weights: Weights, name: str, x: Tensor) -> tuple[Tensor, ...]:
    """The three projections of (R, ..., D), in the two tying modes."""
    x_RND = x.reshape(x.shape[0], -1, spec.d_model)
    if spec.tie_qkv == "shareA_tieKV":
        shared_RNr = x_RND @ weights[f"{name}.qkv_A"]
        q, kv = ((shared_RNr @ weights[f"{name}.{factor}"]).reshape(x.shape) for factor in ("qkv_Bq", "qkv_Bkv"))
        return q, kv, kv
    return tuple(part.reshape(x.shape) for part in _linear(weights, f"{name}.qkv", x_RND).split(spec.d_model, dim=-1))


def _attend(spec: ModelSpec, q_RBQD: Tensor, k_RBTD: Tensor, v_RBTD: Tensor) -> Tensor:
    """Causal softmax attention; the last query sees every key: (R, B, Q, D)."""
    E = spec.d_model // spec.n_head
    R, B, Q, D = q_RBQD.shape
    T = k_RBTD.shape[2]
    q_NQE, k_NTE, v_NTE = (_heads(x, spec.n_head) for x in (q_RBQD * (1 / math.sqrt(E)), k_RBTD, v_RBTD))
    hidden_QT = torch.ones(Q, T, dtype=torch.bool, device=q_RBQD.device).triu(T - Q + 1)
    mask_QT = q_RBQD.new_zeros(Q, T).masked_fill(hidden_QT, -math.inf)
    scores_NQT = torch.baddbmm(mask_QT, q_NQE, k_NTE.transpose(1, 2))
    mixed_NQE = scores_NQT.softmax(-1) @ v_NTE
    return mixed_NQE.reshape(R, B, spec.n_head, Q, E).transpose(2, 3).reshape(R, B, Q, D)


def _heads(x_RBTD: Tensor, heads: int) -> Tensor:
    """(R, B, T, D) -> (R * B * H, T, E)."""
    R, B, T, D = x_RBTD.shape
    return x_RBTD.reshape(R, B, T, heads, D // heads).transpose(2, 3).reshape(R * B * heads, T, D // heads)

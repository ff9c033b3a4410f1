"""Tokens -> logits: the pre-norm decoder, for R models of one spec at once.

Axes, as they end the names of tensors:
    R replicas   B problems   T positions read   Q positions requested   N = T x B or Q x B   V vocabulary
    D width   F features of any kind   X features of all heads together

Problems are the innermost axis, because a model of width 7 can only be vectorised over its batch: every operation runs
along B, and norms, softmax and logits reduce over an outer axis.

Training, exams and analysis share these exact savings:
  - before the first attention, values depend on (position, token) alone, so the first layer's queries, keys, values
    and residual are looked up in T x V tables;
  - after the last attention, queries, MLP, norm and logits are computed at the requested positions only;
  - scores and values of low rank are computed at that rank (`_maps`);
  - the two factors of a low-rank matrix are multiplied before they are applied to a batch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from reprogrok.model.attention import attend, attention_weights
from reprogrok.model.dropout import Dropout
from reprogrok.spec.model import ModelSpec

Weights = Mapping[str, Tensor]  # by published name, each with a leading replica axis

LAYER_NORM_EPS = 1e-5
RMS_NORM_EPS = 1e-8
_GELU = {"erf": "none", "tanh": "tanh"}  # value in the spec -> torch's name
_ONE_HOT = 128  # vocabularies up to this size are looked up by a product with one-hot columns
_SUMMED = 16  # products over axes up to this length are sums, which the compiler fuses into one pass


@dataclass(frozen=True)
class Trace:
    """The intermediate results of one forward pass, at all T positions read.

    Attributes:
        hidden_RLDTB: residual stream before each of the L blocks and after the last, so L + 1 along that axis.
        weights_RLHQTB: attention weights of every block, Q = T queries by T keys.
        logits_RVTB: logits at every position.
    """

    hidden_RLDTB: Tensor
    weights_RLHQTB: Tensor
    logits_RVTB: Tensor

    @property
    def before(self) -> Tensor:
        """Input of each block, (R, L, D, T, B); for the first block, token plus position."""
        return self.hidden_RLDTB[:, :-1]

    @property
    def after(self) -> Tensor:
        """Output of each block, (R, L, D, T, B), before the last norm."""
        return self.hidden_RLDTB[:, 1:]


@dataclass(frozen=True)
class _Collected:
    """Hidden states (R, D, T, B) and attention weights (R, H, T, T, B) by layer, collected by `logits` for `trace`."""

    hidden: list[Tensor] = field(default_factory=list)
    weights: list[Tensor] = field(default_factory=list)


def trace(spec: ModelSpec, weights: Weights, tokens_RTB: Tensor) -> Trace:
    """Run the forward pass of `logits` at every position and return its intermediate results, for analysis.

    Args:
        spec: the shape of the models.
        weights: tensors of `parameter_shapes(spec)`, each with a leading axis of R.
        tokens_RTB: integer tokens; T may be less than `max_seq_len`.
    """
    collected = _Collected()
    answers_RVTB = logits(spec, weights, tokens_RTB, 0, collected=collected)
    return Trace(torch.stack(collected.hidden, dim=1), torch.stack(collected.weights, dim=1), answers_RVTB)


def logits(
    spec: ModelSpec,
    weights: Weights,
    tokens_RTB: Tensor,
    first: int,
    dropout: Dropout | None = None,
    *,
    collected: _Collected | None = None,
) -> Tensor:
    """Return the logits of each model at the positions `first`, `first` + 1, ..., T - 1.

    Args:
        spec: the shape of the models.
        weights: tensors of `parameter_shapes(spec)`, each with a leading axis of R.
        tokens_RTB: integer tokens; T may be less than `max_seq_len`.
        first: the first requested position; earlier positions only serve as keys and values.
        dropout: applied to the summed embeddings, attention weights and hidden MLP activations; for training only.
        collected: receives hidden states and attention weights, see `trace`.

    Returns:
        (R, V, Q, B) with Q = T - first.
    """
    R, T, B = tokens_RTB.shape
    table_RTDV = _embeddings(spec, weights, T)
    columns = _columns(spec, tokens_RTB, table_RTDV.dtype)
    x_RDTB = None
    if dropout is not None:  # then the first layer depends on more than position and token
        x_RDTB = dropout.of(_look_up(columns, table_RTDV).transpose(1, 2), site=0)
    for layer in range(spec.n_layer):
        start = first if layer == spec.n_layer - 1 else 0
        at = f"blocks.{layer}"
        drop = None if dropout is None else partial(dropout.of, site=2 * layer + 1)
        maps = _maps(spec, weights, f"{at}.attn")
        if x_RDTB is None:
            normed_RTDV = _norm(spec, weights, f"{at}.ln1", table_RTDV, axis=2)
            q, k, v, x_RDQB = _look_up_first_layer(maps, table_RTDV, normed_RTDV, columns, start)
        else:
            q, k, v = _queries_keys_values(maps, _norm(spec, weights, f"{at}.ln1", x_RDTB, axis=1), start)
            x_RDQB = x_RDTB[:, :, start:]
        if collected is not None:
            collected.hidden.append(x_RDQB)
            collected.weights.append(attention_weights(q, k, spec.n_head))
        x_RDN = x_RDQB.flatten(2) + maps.output.of(attend(q, k, v, spec.n_head, drop).flatten(2))
        hidden_RFN = _linear(weights, f"{at}.mlp.fc1").of(_norm(spec, weights, f"{at}.ln2", x_RDN, axis=1))
        active_RFN = F.gelu(hidden_RFN, approximate=_GELU[spec.gelu])
        if dropout is not None:
            active_RFN = dropout.of(active_RFN, site=2 * layer + 2)
        x_RDN = x_RDN + _linear(weights, f"{at}.mlp.fc2").of(active_RFN)
        x_RDTB = x_RDN.reshape(R, spec.d_model, T - start, B)
    if x_RDTB is None:
        raise AssertionError("a spec has at least one layer")
    if collected is not None:
        collected.hidden.append(x_RDTB)
    last_RDN = _norm(spec, weights, "ln_f", x_RDTB.flatten(2), axis=1)
    return (weights["token_emb.weight"] @ last_RDN).reshape(R, spec.vocab_size, T - first, B)


def one_hot(tokens: Tensor, vocabulary: int, axis: int, dtype: torch.dtype) -> Tensor:
    """Encode tokens of any shape as one-hot columns along a new axis of V."""
    symbols = torch.arange(vocabulary, dtype=dtype, device=tokens.device)
    symbols = symbols.reshape([-1 if at == axis else 1 for at in range(tokens.dim() + 1)])
    written = tokens.to(dtype).unsqueeze(axis)
    # Comparing numbers of the result's type into the result is five times faster than converting booleans.
    # The shape is built here because `torch.broadcast_shapes` loads SymPy, a second for every process.
    shape = (*tokens.shape[:axis], vocabulary, *tokens.shape[axis:])
    return torch.eq(written, symbols, out=written.new_empty(shape))


@dataclass(frozen=True)
class _Map:
    """The affine map x -> matrix x + bias; the identity without a matrix."""

    matrix_RXF: Tensor | None = None
    bias_RX: Tensor | None = None

    def of(self, x_RFN: Tensor) -> Tensor:
        """Map features (R, F, N) to (R, X, N)."""
        mapped = x_RFN if self.matrix_RXF is None else self.matrix_RXF @ x_RFN
        return mapped if self.bias_RX is None else mapped + self.bias_RX.unsqueeze(2)

    def of_table(self, table_RTFV: Tensor) -> Tensor:
        """Map every position of a table (R, T, F, V) to (R, T, X, V)."""
        mapped = table_RTFV if self.matrix_RXF is None else _product(self.matrix_RXF.unsqueeze(1), table_RTFV)
        return mapped if self.bias_RX is None else mapped + self.bias_RX[:, None, :, None]


class _Maps(NamedTuple):
    """The linear maps of one attention layer: source = shared(normed input); query, key and value map the source.

    Queries are already divided by sqrt(head width); `output` maps the output of the heads to the residual stream.
    """

    shared: _Map
    query: _Map
    key: _Map
    value: _Map
    output: _Map


def _maps(spec: ModelSpec, weights: Weights, name: str) -> _Maps:
    """Return a layer's maps, for both tying modes and for full or low rank.

    With q = Bq' h, k = Bk' h and v = Bv' h of one shared h of rank r, q' k = h' (Bq Bk') h. If r is less than the width
    of a head, h itself is the key and value of every head, Bk is merged into the queries and Bv into the output.
    """
    H, D, rank = spec.n_head, spec.d_model, spec.qkv_rank
    E = D // H
    output = _linear(weights, f"{name}.proj")
    if not rank:
        query_RDD, key_RDD, value_RDD = weights[f"{name}.qkv.weight"].split(D, dim=1)
        if not spec.bias:
            return _Maps(_Map(), _Map(query_RDD / math.sqrt(E)), _Map(key_RDD), _Map(value_RDD), output)
        query_RD, key_RD, value_RD = weights[f"{name}.qkv.bias"].split(D, dim=1)
        query = _Map(query_RDD / math.sqrt(E), query_RD / math.sqrt(E))
        return _Maps(_Map(), query, _Map(key_RDD, key_RD), _Map(value_RDD, value_RD), output)
    if spec.tie_qkv == "shareA_tieKV":
        left_RDr = weights[f"{name}.qkv_A"]
        query_RrD, key_RrD = weights[f"{name}.qkv_Bq"], weights[f"{name}.qkv_Bkv"]
        value_RrD = key_RrD
    else:
        left_RDr = weights[f"{name}.qkv.A"]
        query_RrD, key_RrD, value_RrD = weights[f"{name}.qkv.B"].split(D, dim=2)
    shared_RrD, query_RrD = left_RDr.transpose(1, 2), query_RrD / math.sqrt(E)
    if rank >= E:
        query, key, value = (_Map(right.transpose(1, 2)) for right in (query_RrD, key_RrD, value_RrD))
        return _Maps(_Map(shared_RrD), query, key, value, output)
    R = shared_RrD.shape[0]
    query_RHrE, key_RHrE, value_RHrE = (
        right.reshape(R, rank, H, E).transpose(1, 2) for right in (query_RrD, key_RrD, value_RrD)
    )
    query_RHrr = _product(key_RHrE, query_RHrE.transpose(2, 3))
    output_RHDE = _matrix(weights, f"{name}.proj").reshape(R, D, H, E).transpose(1, 2)
    output_RDX = _product(output_RHDE, value_RHrE.transpose(2, 3)).transpose(1, 2).reshape(R, D, H * rank)
    return _Maps(_Map(shared_RrD), _Map(query_RHrr.flatten(1, 2)), _Map(), _Map(), _Map(output_RDX))


def _look_up_first_layer(
    maps: _Maps, table_RTDV: Tensor, normed_RTDV: Tensor, columns: Tensor, start: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return queries (R, X, Q, B), keys, values (R, ., T, B) and residual (R, D, Q, B), looked up in tables."""
    source_RTFV = maps.shared.of_table(normed_RTDV)
    query_RQXV = maps.query.of_table(source_RTFV[:, start:])
    both_RQFB = _look_up(columns[:, start:], torch.cat([query_RQXV, table_RTDV[:, start:]], dim=2))
    q, x = both_RQFB.transpose(1, 2).split([query_RQXV.shape[2], table_RTDV.shape[2]], dim=1)
    if maps.key.matrix_RXF is None:
        k = v = _look_up(columns, source_RTFV).transpose(1, 2)
    else:
        tables = [each.of_table(source_RTFV) for each in (maps.key, maps.value)]
        k, v = _look_up(columns, torch.cat(tables, dim=2)).transpose(1, 2).chunk(2, dim=1)
    return q, k, v, x


def _queries_keys_values(maps: _Maps, normed_RDTB: Tensor, start: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return queries (R, X, Q, B), keys and values (R, ., T, B) of a later layer."""
    R, _, T, B = normed_RDTB.shape
    source_RFN = maps.shared.of(normed_RDTB.flatten(2))
    q_RXN = maps.query.of(source_RFN.reshape(R, -1, T, B)[:, :, start:].flatten(2))
    k_RXN, v_RXN = maps.key.of(source_RFN), maps.value.of(source_RFN)
    return q_RXN.reshape(R, -1, T - start, B), k_RXN.reshape(R, -1, T, B), v_RXN.reshape(R, -1, T, B)


def _embeddings(spec: ModelSpec, weights: Weights, length: int) -> Tensor:
    """Return token plus position embeddings, for all pairs of both: (R, T, D, V)."""
    if spec.pos_rank:
        positions_RTD = _product(weights["pos_emb.A"][:, :length], weights["pos_emb.B"])
    else:
        positions_RTD = weights["pos_emb.weight"][:, :length]
    return weights["token_emb.weight"].transpose(1, 2).unsqueeze(1) + positions_RTD.unsqueeze(3)


def _columns(spec: ModelSpec, tokens_RTB: Tensor, dtype: torch.dtype) -> Tensor:
    """Return keys for `_look_up`: one-hot columns (R, T, V, B) for small vocabularies, else the tokens themselves.

    The backward pass of a product with one-hot columns is a product: faster than a scatter, and deterministic on GPUs.
    """
    if spec.vocab_size > _ONE_HOT:
        return tokens_RTB
    return one_hot(tokens_RTB, spec.vocab_size, 2, dtype)


def _look_up(columns: Tensor, table_RTFV: Tensor) -> Tensor:
    """Look up the table's entries for every problem at every position: (R, T, F, B)."""
    if columns.is_floating_point():
        return table_RTFV @ columns
    R, T, F_, V = table_RTFV.shape
    row_RTB = columns + V * torch.arange(R * T, device=columns.device).reshape(R, T, 1)
    return F.embedding(row_RTB, table_RTFV.transpose(2, 3).reshape(R * T * V, F_)).transpose(2, 3)


def _norm(spec: ModelSpec, weights: Weights, name: str, x: Tensor, axis: int) -> Tensor:
    """Apply LayerNorm, or RMSNorm x / sqrt(mean(x^2) + eps) * weight, over one axis of (R, ..., D, ...)."""
    shape = [1] * x.dim()
    shape[0], shape[axis] = x.shape[0], x.shape[axis]
    weight = weights[f"{name}.weight"].reshape(shape)
    if spec.use_rmsnorm:
        return x * torch.rsqrt(x.square().mean(axis, keepdim=True) + RMS_NORM_EPS) * weight
    centred = x - x.mean(axis, keepdim=True)
    scale = torch.rsqrt(centred.square().mean(axis, keepdim=True) + LAYER_NORM_EPS)
    return centred * scale * weight + weights[f"{name}.bias"].reshape(shape)


def _linear(weights: Weights, name: str) -> _Map:
    """Return a linear map, with its bias if it has one."""
    return _Map(_matrix(weights, name), weights.get(f"{name}.bias"))


def _matrix(weights: Weights, name: str) -> Tensor:
    """Return a matrix (R, out, in), multiplying its factors if it has low rank."""
    full_ROI = weights.get(f"{name}.weight")
    if full_ROI is not None:
        return full_ROI
    return _product(weights[f"{name}.B"].transpose(1, 2), weights[f"{name}.A"].transpose(1, 2))


def _product(left: Tensor, right: Tensor) -> Tensor:
    """Multiply small matrices that have no batch axis."""
    if left.shape[-1] > _SUMMED:
        return left @ right
    return (left.unsqueeze(-1) * right.unsqueeze(-3)).sum(-2)

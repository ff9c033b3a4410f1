"""A model's spec -> the names and shapes of its tensors, and its parameter count; imports no torch.

Names are those of the published checkpoints. A linear weight is (out, in); a low-rank matrix is A (in, r) times
B (r, out) and has no bias. The head is tied to the token embedding and has no tensor of its own.
"""

from __future__ import annotations

import math

from reprogrok.spec.model import ModelSpec

Shapes = dict[str, tuple[int, ...]]


def parameter_shapes(spec: ModelSpec) -> Shapes:
    """Return the name and shape of every unique tensor, in the order of the forward pass."""
    d = spec.d_model
    shapes: Shapes = {"token_emb.weight": (spec.vocab_size, d)}
    if spec.pos_rank:
        shapes |= {"pos_emb.A": (spec.max_seq_len, spec.pos_rank), "pos_emb.B": (spec.pos_rank, d)}
    else:
        shapes["pos_emb.weight"] = (spec.max_seq_len, d)
    for layer in range(spec.n_layer):
        at = f"blocks.{layer}"
        shapes |= _norm(f"{at}.ln1", spec) | _qkv(f"{at}.attn", spec)
        shapes |= _linear(f"{at}.attn.proj", (d, d), spec.attn_out_rank, spec.bias)
        shapes |= _norm(f"{at}.ln2", spec)
        shapes |= _linear(f"{at}.mlp.fc1", (d, spec.d_ff), spec.ffn_rank, spec.bias)
        shapes |= _linear(f"{at}.mlp.fc2", (spec.d_ff, d), spec.ffn_rank, spec.bias)
    return shapes | _norm("ln_f", spec)


def count_parameters(spec: ModelSpec) -> int:
    """Count unique parameters after tying, the meaning of a size such as "456p"."""
    return sum(math.prod(shape) for shape in parameter_shapes(spec).values())


def _linear(name: str, sizes: tuple[int, int], rank: int, bias: bool) -> Shapes:  # noqa: FBT001 - as it is in the spec
    inputs, outputs = sizes
    if rank:
        return {f"{name}.A": (inputs, rank), f"{name}.B": (rank, outputs)}
    weight: Shapes = {f"{name}.weight": (outputs, inputs)}
    return weight | {f"{name}.bias": (outputs,)} if bias else weight


def _norm(name: str, spec: ModelSpec) -> Shapes:
    weight: Shapes = {f"{name}.weight": (spec.d_model,)}
    return weight if spec.use_rmsnorm else weight | {f"{name}.bias": (spec.d_model,)}


def _qkv(name: str, spec: ModelSpec) -> Shapes:
    d, rank = spec.d_model, spec.qkv_rank
    if spec.tie_qkv == "shareA_tieKV":
        return {f"{name}.qkv_A": (d, rank), f"{name}.qkv_Bq": (rank, d), f"{name}.qkv_Bkv": (rank, d)}
    return _linear(f"{name}.qkv", (d, 3 * d), rank, spec.bias)

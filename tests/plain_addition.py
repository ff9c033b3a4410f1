"""One-layer addition models written down plainly in float64, weights at random, and which leaf a problem belongs to.

What tests of enclosures compare with; no table, no box, nothing of the code under test. Axes: B problems, T positions,
D width, V vocabulary.
"""

import math
from itertools import product

import numpy as np
import torch
from scipy.special import erf

from reprogrok.model.decoder import logits
from reprogrok.model.shapes import parameter_shapes
from reprogrok.spec.model import ModelSpec
from reprogrok.tasks.addition import Addition


def spec_of(digits, *, rms=False, tie="none", ranks=(0, 0, 0, 0), d_model=5, d_ff=7):
    """A small model of the family; ranks of positions, query/key/value, attention's output, MLP."""
    pos, qkv, out, ffn = ranks
    return ModelSpec(
        n_layer=1, d_model=d_model, n_head=1, d_ff=d_ff, max_seq_len=3 * digits + 3, vocab_size=14, pos_rank=pos,
        qkv_rank=qkv, attn_out_rank=out, ffn_rank=ffn, use_rmsnorm=rms, tie_qkv=tie,
    )  # fmt: skip


FAMILY = [
    {"rms": rms, "tie": tie, "ranks": ranks}
    for rms, (tie, ranks) in product(
        (False, True),
        [("none", (0, 0, 0, 0)), ("none", (3, 3, 2, 3)), ("none", (1, 1, 1, 1)), ("shareA_tieKV", (2, 3, 0, 2))],
    )
]


def random_weights(spec, seed, scale=0.7):
    """Float32 weights: normal, norms about 1."""
    rng = np.random.default_rng(seed)
    weights = {}
    for name, shape in parameter_shapes(spec).items():
        is_norm = "ln" in name and name.endswith("weight")
        weights[name] = torch.tensor(rng.normal(size=shape) * scale + is_norm, dtype=torch.float32)
    return weights


def plain_forward(spec, weights, tokens_BT):
    """Attention's output (B, T, D) and logits (B, T, V), in float64."""
    w = {name: tensor.double().numpy() for name, tensor in weights.items()}
    at = "blocks.0.attn"

    def linear(x, name):
        if f"{name}.weight" in w:
            return x @ w[f"{name}.weight"].T
        return x @ w[f"{name}.A"] @ w[f"{name}.B"]

    def norm(x, name):
        if spec.use_rmsnorm:
            return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-8) * w[f"{name}.weight"]
        x = x - x.mean(-1, keepdims=True)
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5) * w[f"{name}.weight"] + w[f"{name}.bias"]

    T, D = tokens_BT.shape[1], spec.d_model
    positions = w["pos_emb.A"] @ w["pos_emb.B"] if spec.pos_rank else w["pos_emb.weight"]
    x = w["token_emb.weight"][tokens_BT] + positions[:T]
    h = norm(x, "blocks.0.ln1")
    if spec.tie_qkv == "shareA_tieKV":
        shared = h @ w[f"{at}.qkv_A"]
        q, k = shared @ w[f"{at}.qkv_Bq"], shared @ w[f"{at}.qkv_Bkv"]
        v = k
    else:
        q, k, v = np.split(linear(h, f"{at}.qkv"), 3, axis=-1)
    scores = q @ k.swapaxes(1, 2) / math.sqrt(D)
    scores = np.where(np.tril(np.ones((T, T), dtype=bool)), scores, -np.inf)
    shares = np.exp(scores - scores.max(-1, keepdims=True))
    shares /= shares.sum(-1, keepdims=True)
    attended = linear(shares @ v, f"{at}.proj")
    x = x + attended
    hidden = linear(norm(x, "blocks.0.ln2"), "blocks.0.mlp.fc1")
    x = x + linear(hidden * (1 + erf(hidden / math.sqrt(2))) / 2, "blocks.0.mlp.fc2")
    return attended, norm(x, "ln_f") @ w["token_emb.weight"].T


def float32_logits(spec, weights, tokens_BT):
    """The same logits by the model itself, (B, T, V) as float64 numbers."""
    tokens_RTB = torch.from_numpy(tokens_BT.T.copy())[None]
    answers = logits(spec, {name: tensor[None] for name, tensor in weights.items()}, tokens_RTB, 0)
    return answers[0].permute(2, 1, 0).double().numpy()


def rows(digits, a_B, b_B):
    """The tokens that the model reads, (B, T)."""
    return Addition(digits).encode(torch.as_tensor(a_B), torch.as_tensor(b_B)).numpy()[:, :-1]


def all_pairs(digits):
    """Every problem: a and b, (B,) each."""
    a_B, b_B = np.divmod(np.arange(100**digits), 10**digits)
    return a_B, b_B


def leads(logits_BV, right_B):
    """The right token's lead over each other token; infinite over itself."""
    index_B = np.arange(len(right_B))
    lead_BV = logits_BV[index_B, right_B][:, None] - logits_BV
    lead_BV[index_B, right_B] = np.inf
    return lead_BV


def digit(x_B, place):
    """The digit of numbers at a place."""
    return x_B // 10**place % 10


def carry_into(a_B, b_B, place):
    """The carry into a place."""
    return (a_B % 10**place + b_B % 10**place) // 10**place


def cases_of(block, a_B, b_B):
    """Which problems belong to the block, and the number of each one's case there."""
    place, cases = block.place, block.cases
    columns = [carry_into(a_B, b_B, place - 1), digit(a_B, place - 1), digit(b_B, place - 1)]
    if place == 0:
        columns = [0 * a_B] * 3
    columns += [digit(a_B, place), digit(b_B, place)] if place < block.digits else [0 * a_B] * 2
    names = zip(cases.carry, cases.a_before, cases.b_before, cases.a, cases.b, strict=True)
    number = {tuple(map(int, name)): index for index, name in enumerate(names)}
    case_B = np.array([number.get(tuple(map(int, key)), -1) for key in np.stack(columns, 1)])
    if place > 0:
        case_B[digit(a_B + b_B, place - 1) != block.token] = -1
    return case_B


def choice_of(block, place, a_B, b_B):
    """The number of the choice that a problem makes at a far place."""
    carry_B = carry_into(a_B, b_B, place) if 0 < place < block.place - 1 else 0 * a_B
    return 100 * carry_B + 10 * digit(a_B, place) + digit(b_B, place)

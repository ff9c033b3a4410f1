"""Models made to break an enclosure: whatever float32 answers to them, no bound says otherwise.

Weights beyond what training gives (huge, tiny, zero, alike, far off centre), evaluations in several orders of
operations, and overflow where nothing that is asked depends on it. One digit has no far places, so there the bounds
are those of rounding alone, as tight as they come.
"""

import math

import numpy as np
import pytest
import torch
from plain_addition import (
    FAMILY,
    all_pairs,
    cases_of,
    float32_logits,
    leads,
    plain_forward,
    random_weights,
    rows,
    spec_of,
)  # fmt: skip
from torch.nn import functional

from reprogrok.certificate.checker.affine import Norm, exactly
from reprogrok.certificate.checker.carries import Block
from reprogrok.certificate.checker.enclosure import Enclosure
from reprogrok.certificate.checker.rounding import FLOAT32, REAL
from reprogrok.certificate.checker.trees import Leaf, LeafStatus
from reprogrok.model.shapes import parameter_shapes

BLOCKS = (Block(1, 0, 11), Block(1, 1, 0), Block(1, 1, 7))


def margins_of(spec, weights, block, arithmetic=FLOAT32):
    leaves = [Leaf(case, LeafStatus.RIGHT, 0, ()) for case in range(len(block.cases))]
    return Enclosure(spec, weights, block.digits, arithmetic).block(block, np.eye(spec.d_model), {}).margins(leaves)


def by_torch(spec, weights, tokens_BT, order):
    """Logits (B, T, V) in float32 by torch's own norms, GELU and attention; `order` says how products associate."""

    def linear(x, name):
        if f"{name}.weight" in weights:
            return functional.linear(x, weights[f"{name}.weight"])
        left, right = weights[f"{name}.A"], weights[f"{name}.B"]
        return x @ (left @ right) if order == "factors first" else (x @ left) @ right

    def norm(x, name):
        if not spec.use_rmsnorm:
            return functional.layer_norm(x, x.shape[-1:], weights[f"{name}.weight"], weights[f"{name}.bias"], 1e-5)
        return x / torch.sqrt(x.square().mean(-1, keepdim=True) + 1e-8) * weights[f"{name}.weight"]

    def attention(q, k, v):
        if order == "torch's attention":
            return functional.scaled_dot_product_attention(q[:, None], k[:, None], v[:, None], is_causal=True)[:, 0]
        root = math.sqrt(spec.d_model)
        scores = (q / root) @ k.mT if order == "factors first" else q @ k.mT / root
        scores = scores.masked_fill(torch.ones(scores.shape[1:]).triu(1) > 0, -math.inf)
        if order == "factors first":
            weight = torch.exp(scores - scores.amax(-1, keepdim=True))
            return weight @ v / weight.sum(-1, keepdim=True)
        return scores.softmax(-1) @ v

    at, tokens = "blocks.0", torch.from_numpy(tokens_BT.copy())
    place = weights["pos_emb.A"] @ weights["pos_emb.B"] if spec.pos_rank else weights["pos_emb.weight"]
    x = weights["token_emb.weight"][tokens] + place[: tokens.shape[1]]
    h = norm(x, f"{at}.ln1")
    if spec.tie_qkv == "shareA_tieKV":
        shared = h @ weights[f"{at}.attn.qkv_A"]
        q, k = shared @ weights[f"{at}.attn.qkv_Bq"], shared @ weights[f"{at}.attn.qkv_Bkv"]
        v = k
    else:
        q, k, v = linear(h, f"{at}.attn.qkv").chunk(3, -1)
    x = x + linear(attention(q, k, v), f"{at}.attn.proj")
    x = x + linear(functional.gelu(linear(norm(x, f"{at}.ln2"), f"{at}.mlp.fc1")), f"{at}.mlp.fc2")
    return functional.linear(norm(x, "ln_f"), weights["token_emb.weight"]).double().numpy()


def all_logits(spec, weights, tokens_BT):
    """By float64, by the model itself, and by torch in three orders."""
    yield plain_forward(spec, weights, tokens_BT)[1]
    yield float32_logits(spec, weights, tokens_BT)
    for order in ("as published", "factors first", "torch's attention"):
        yield by_torch(spec, weights, tokens_BT, order)


def outside(spec, weights, arithmetic=FLOAT32):
    """How many answers of some evaluation leave the bounds of their case, and how many bounds say something."""
    a_B, b_B = all_pairs(1)
    answers = list(all_logits(spec, weights, rows(1, a_B, b_B)))
    left = told = 0
    for block in BLOCKS:
        case_B = cases_of(block, a_B, b_B)
        of_B, case_B = np.flatnonzero(case_B >= 0), case_B[case_B >= 0]
        bounds = margins_of(spec, weights, block, arithmetic)
        lowest_B, beaten_B = bounds.lowest_L[case_B], bounds.beaten_L[case_B]
        told += np.isfinite(lowest_B).sum()
        for logits_BTV in answers:
            least_B = leads(logits_BTV[of_B, block.asked], block.cases.right[case_B]).min(1)
            # Written so that NaN is outside.
            left += (np.isfinite(lowest_B) & ~(least_B >= lowest_B)).sum()
            left += (np.isfinite(beaten_B) & ~(least_B <= beaten_B)).sum()
    return left, told


def spoiled(spec, seed, how):
    """Weights of which some are what training would not give."""
    weights, rng = random_weights(spec, seed), np.random.default_rng(seed)
    for name, shape in parameter_shapes(spec).items():
        tensor = weights[name]
        if how == "one size each":
            tensor *= 10.0 ** rng.uniform(-4, 4)
        elif how == "a size for each number":
            tensor *= torch.tensor(10.0 ** rng.integers(-8, 5, size=shape), dtype=torch.float32)
        elif how == "tiny":
            tensor *= 1e-38 if rng.random() < 0.5 else 1.0
        elif how == "zero":
            tensor *= rng.random() < 0.6
        elif how == "alike" and len(shape) == 2:
            tensor[rng.integers(0, shape[0], 3)] = tensor[0].clone()
        elif how == "off centre" and len(shape) == 2:
            tensor += torch.tensor(rng.normal(size=shape[1]) * 1e3 * (name == "token_emb.weight"), dtype=torch.float32)
        elif how == "norms turned round" and len(shape) == 1:
            tensor *= -30.0
        elif how == "sharp attention" and "qkv" in name:
            tensor *= 12.0
    return weights


WAYS = (
    "one size each", "a size for each number", "tiny", "zero", "alike", "off centre", "norms turned round",
    "sharp attention",
)  # fmt: skip


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("kind", [FAMILY[0], FAMILY[1], FAMILY[4], FAMILY[7]], ids=str)
def test_no_evaluation_of_a_spoiled_model_leaves_the_bounds(how, kind):
    spec = spec_of(1, **kind, d_ff=4)
    for seed in range(2):
        assert outside(spec, spoiled(spec, seed, how))[0] == 0


def test_float32_leaves_the_bounds_of_real_arithmetic():
    spec = spec_of(1, d_ff=4)
    left, told = outside(spec, random_weights(spec, 0), REAL)
    assert left > 0
    assert told > 0


def test_overflow_of_a_token_that_is_never_read_leaves_nothing_known():
    """A product with one-hot columns multiplies its infinity by 0, so the model's own answers are no numbers."""
    spec = spec_of(1, rms=True, d_ff=3)
    weights = random_weights(spec, 3, 0.5)
    for name in ("token_emb.weight", "pos_emb.weight"):
        weights[name][:, 4] = 0
    weights["token_emb.weight"][12] = torch.eye(5)[4]  # PAD alone has this component
    weights["blocks.0.ln1.weight"][4] = 4e11
    weights["ln_f.weight"][4] = 0
    weights["blocks.0.attn.qkv.weight"][:, 4] = 0
    weights["blocks.0.attn.qkv.weight"][10, 4] = 3e27
    weights["blocks.0.attn.proj.weight"].clamp_(-0.9, 0.9)[:, 0] = 0
    weights["blocks.0.attn.proj.weight"][1, 0] = 1e-24
    tokens_BT = rows(1, *all_pairs(1))
    assert np.isfinite(plain_forward(spec, weights, tokens_BT)[1]).all()
    assert np.isnan(float32_logits(spec, weights, tokens_BT)).all()
    for block in BLOCKS:
        bounds = margins_of(spec, weights, block)
        assert (bounds.lowest_L == -np.inf).all()
        assert (bounds.beaten_L == np.inf).all()


def test_overflow_at_the_last_position_which_masks_add_to_leaves_nothing_known():
    spec = spec_of(1)
    weights = random_weights(spec, 3, 0.5)
    weights["pos_emb.weight"][5] = 3e38  # of the last answer digit, which is read where a whole row is
    assert np.isnan(float32_logits(spec, weights, rows(1, *all_pairs(1)))).all()
    for block in BLOCKS:
        assert (margins_of(spec, weights, block).lowest_L == -np.inf).all()
        assert (margins_of(spec, weights, block).beaten_L == np.inf).all()


def test_a_mean_whose_square_overflows_leaves_nothing_known():
    """Torch's LayerNorm squares the difference of two partial means, which the deviations from the mean do not show."""
    numbers_LF = np.full((1, 2), 2.0**66)
    ones, zeros = np.ones(2), np.zeros(2)
    by_torch_LF = functional.layer_norm(torch.tensor(numbers_LF, dtype=torch.float32), (2,))
    assert by_torch_LF.isnan().all()
    with np.errstate(invalid="ignore"):
        assert not np.isfinite(Norm(ones, zeros, 1e-5).of(exactly(numbers_LF), FLOAT32).radius_LF).any()
    assert np.isfinite(Norm(ones, zeros, 1e-5).of(exactly(numbers_LF * 2.0**-20), FLOAT32).radius_LF).all()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("size", [1e3, 1e6, 1e12, 1e24, 1e37])
@pytest.mark.parametrize(
    "name", ["token_emb.weight", "blocks.0.attn.qkv.weight", "blocks.0.mlp.fc1.weight", "ln_f.weight"]
)
def test_weights_of_any_size_warn_of_nothing(name, size):
    spec = spec_of(1, d_ff=4)
    weights = random_weights(spec, 5)
    weights[name] *= size
    for block in BLOCKS:
        bounds = margins_of(spec, weights, block)
        assert (bounds.lowest_L <= bounds.beaten_L).all()

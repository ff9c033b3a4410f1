"""Our decoder is the published one: logits, gradients and sizes against an independent module, replica by replica."""

import itertools
from dataclasses import asdict, replace

import pytest
import reference
import torch
from draws import draws
from hypothesis import given
from hypothesis import strategies as st

from reprogrok.formats.checkpoints import load_checkpoint
from reprogrok.model import attention, decoder
from reprogrok.model.decoder import logits
from reprogrok.model.initialise import initial_weights
from reprogrok.model.shapes import count_parameters, parameter_shapes
from reprogrok.spec.model import ModelSpec
from reprogrok.tasks.addition import Addition
from reprogrok.tasks.holdout import hold_out
from reprogrok.tasks.streams import Purpose, standard_normal

torch.set_num_threads(1)

D7 = ModelSpec(n_layer=1, d_model=7, n_head=1, d_ff=14, max_seq_len=33, vocab_size=14)
P512 = replace(D7, pos_rank=3, qkv_rank=3, attn_out_rank=3, ffn_rank=3)
P456 = replace(P512, attn_out_rank=2, use_rmsnorm=True, tie_qkv="shareA_tieKV")
SIZES = {
    763: D7,
    959: replace(D7, d_ff=28),
    1128: replace(D7, d_model=8, d_ff=28),
    498: replace(P512, attn_out_rank=2),
    512: P512,
    582: replace(P512, ffn_rank=0),
    456: P456,
}
# Every family crossed with depth and heads; the sizes are as small as they can be and still tell axes apart.
FAMILIES = [
    ModelSpec(
        n_layer=layers, d_model=6, n_head=heads, d_ff=10, max_seq_len=9, vocab_size=14, pos_rank=rank, qkv_rank=rank,
        attn_out_rank=rank, ffn_rank=rank, use_rmsnorm=rms, tie_qkv=tie,
    )
    for layers, heads, rank, rms, tie in itertools.product(
        (1, 2, 3), (1, 2, 3), (0, 3), (False, True), ("none", "shareA_tieKV")
    )
    if rank or tie == "none"
] + [
    # Wide enough for gathers and matrix products.
    ModelSpec(n_layer=2, d_model=40, n_head=2, d_ff=24, max_seq_len=9, vocab_size=140, qkv_rank=rank, bias=not rank)
    for rank in (0, 18, 30)
] + [
    ModelSpec(n_layer=layers, d_model=6, n_head=2, d_ff=10, max_seq_len=9, vocab_size=14, bias=True, gelu="tanh")
    for layers in (1, 2)
]  # fmt: skip


def name_of(spec):
    ranks = f"{spec.pos_rank}{spec.qkv_rank}{spec.attn_out_rank}{spec.ffn_rank}"
    return f"L{spec.n_layer}H{spec.n_head}r{ranks}{'rms' if spec.use_rmsnorm else 'ln'}-{spec.tie_qkv}"


def random_weights(spec, seed, dtype=torch.float64):
    """Every tensor random, norms and biases too, so that none can be forgotten unseen."""
    weights = {}
    for label, (name, shape) in enumerate(parameter_shapes(spec).items()):
        values = standard_normal(seed, Purpose.INITIAL_WEIGHTS, label, torch.Size(shape).numel()).reshape(shape)
        # Wide models sum more numbers: smaller ones keep their gradients near 1.
        scale = 0.5 if spec.d_model <= 8 else 0.1
        weights[name] = (values * scale + (len(shape) == 1)).to(dtype)
    return weights


def random_tokens(spec, rows, length, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, spec.vocab_size, (rows, length), generator=generator)


def module_of(spec, weights):
    module = reference.Decoder(asdict(spec)).to(torch.float64)
    module.load_state_dict({name: tensor.double() for name, tensor in weights.items()})
    return module


def ours(spec, weights, tokens_BT, first):
    """Logits (B, Q, V) of one model."""
    stacked = {name: tensor.unsqueeze(0) for name, tensor in weights.items()}
    return logits(spec, stacked, tokens_BT.T.unsqueeze(0), first)[0].permute(2, 1, 0)


@pytest.mark.parametrize("spec", FAMILIES, ids=name_of)
def test_logits_and_gradients_are_those_of_the_plain_module(spec):
    weights = random_weights(spec, seed=1)
    module = module_of(spec, weights)
    leaves = {name: tensor.requires_grad_() for name, tensor in weights.items()}
    for length, first in ((9, 0), (9, 5), (9, 8), (4, 1), (1, 0)):
        tokens = random_tokens(spec, 5, length)
        found, expected = ours(spec, leaves, tokens, first), module(tokens)[:, first:]
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
        direction = torch.cos(torch.arange(found.numel(), dtype=torch.float64)).reshape(found.shape)
        gradients = torch.autograd.grad((found * direction).sum(), list(leaves.values()))
        module.zero_grad()
        (expected * direction).sum().backward()
        by_name = dict(module.named_parameters())
        assert by_name.keys() == leaves.keys()
        for name, gradient in zip(leaves, gradients, strict=True):
            torch.testing.assert_close(gradient, by_name[name].grad, rtol=1e-12, atol=1e-12, msg=name)


@given(
    sizes=st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 4), st.integers(1, 9)),
    ranks=st.tuples(*[st.integers(0, 4)] * 4),
    rms=st.booleans(),
    tied=st.booleans(),
    seed=st.integers(0, 2**40),
)
@draws(60)
def test_any_shape_of_the_family_agrees(*, sizes, ranks, rms, tied, seed):
    layers, heads, width, hidden = sizes
    tie = "shareA_tieKV" if tied and ranks[1] else "none"
    spec = ModelSpec(layers, heads * width, heads, hidden, 7, 14, *ranks, use_rmsnorm=rms, tie_qkv=tie)
    assert spec.problem() is None
    weights, tokens = random_weights(spec, seed), random_tokens(spec, 3, 7)
    expected = module_of(spec, weights)(tokens)[:, 4:]
    # A width of one normalises to signs: compare to the precision that this leaves.
    torch.testing.assert_close(ours(spec, weights, tokens, 4), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("spec", [FAMILIES[0], FAMILIES[-1]], ids=name_of)
def test_the_judge_is_able_to_see_a_difference(spec):
    weights = random_weights(spec, seed=1)
    module, tokens = module_of(spec, weights), random_tokens(spec, 5, 9)
    for name, tensor in weights.items():
        changed = weights | {name: tensor * 1.001}
        difference = (ours(spec, changed, tokens, 0) - module(tokens)).abs().max()
        assert difference > 1e-9, f"{name} has no influence"


def test_what_is_asked_sees_nothing_that_comes_later():
    spec = FAMILIES[-1]
    weights, tokens = random_weights(spec, seed=2), random_tokens(spec, 4, 9)
    changed = tokens.clone()
    changed[:, 6:] = (changed[:, 6:] + 1) % 14
    before, after = (ours(spec, weights, rows, 3) for rows in (tokens, changed))
    assert torch.equal(before[:, :3], after[:, :3])
    assert not torch.equal(before[:, 3:], after[:, 3:])


@pytest.mark.parametrize("spec", [*SIZES.values(), FAMILIES[-1]], ids=name_of)
def test_replicas_side_by_side_are_replicas_one_by_one(spec):
    alone = [{k: v.unsqueeze(0) for k, v in random_weights(spec, seed, torch.float32).items()} for seed in range(3)]
    together = {name: torch.cat([weights[name] for weights in alone]) for name in alone[0]}
    tokens = torch.stack([random_tokens(spec, 64, spec.max_seq_len, seed).T for seed in range(3)])
    stacked = logits(spec, together, tokens, 3)
    for slot, weights in enumerate(alone):
        assert torch.equal(logits(spec, weights, tokens[slot : slot + 1], 3)[0], stacked[slot])


@pytest.mark.parametrize(("module", "limit"), [(decoder, "_ONE_HOT"), (decoder, "_SUMMED"), (attention, "_NARROW")])
@pytest.mark.parametrize("spec", [*SIZES.values(), *FAMILIES[-6:]], ids=name_of)
def test_the_ways_for_wide_models_compute_what_those_for_narrow_ones_do(monkeypatch, spec, module, limit):
    weights = {name: tensor.requires_grad_() for name, tensor in random_weights(spec, 3).items()}
    tokens = random_tokens(spec, 20, spec.max_seq_len - 1)

    def outcome():
        found = ours(spec, weights, tokens, 5)
        return found, *torch.autograd.grad(found.square().sum(), list(weights.values()))

    narrow = outcome()
    monkeypatch.setattr(module, limit, 0)
    for one, other in zip(narrow, outcome(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize(("size", "spec"), SIZES.items())
def test_sizes_are_the_published_ones(size, spec):
    assert count_parameters(spec) == size
    assert sum(tensor.numel() for tensor in reference.Decoder(asdict(spec)).parameters()) == size


@pytest.mark.parametrize("file", ["best_456p_s43.pt", "best_512params.pt"])
def test_published_checkpoints_give_the_reference_logits(fixtures_dir, file):
    path = fixtures_dir / "checkpoints" / file
    checkpoint, module = load_checkpoint(path), reference.load(path).double()
    pairs = hold_out(41).test[:500]
    rows = Addition().encode(pairs.a, pairs.b)[:, :-1]
    weights = {name: tensor.double() for name, tensor in checkpoint.weights.items()}
    assert count_parameters(checkpoint.spec) == checkpoint.claimed_parameters
    with torch.no_grad():
        exact = module(rows)[:, 21:]
        torch.testing.assert_close(ours(checkpoint.spec, weights, rows, 21), exact, rtol=0, atol=1e-10)
        # Single precision leaves errors of 1e-3 on logits of 100, ours as the reference's.
        error = (ours(checkpoint.spec, checkpoint.weights, rows, 21) - exact).abs().max()
        assert error < 4 * (reference.load(path)(rows)[:, 21:] - exact).abs().max()


def test_initial_weights_follow_the_published_rule():
    spec = replace(P456, d_model=64, d_ff=256, pos_rank=16, qkv_rank=16, attn_out_rank=0, ffn_rank=32)
    weights = initial_weights(spec, seed=5)
    assert {name: tuple(tensor.shape) for name, tensor in weights.items()} == parameter_shapes(spec)
    for name, tensor in weights.items():
        assert tensor.dtype == torch.float32
        if tensor.dim() == 1:
            assert tensor.eq(1).all()
            continue
        low_rank = not name.endswith(".weight") and not name.startswith("pos_emb.")
        expected = (2 / sum(tensor.shape)) ** 0.5 if low_rank else 0.02
        assert tensor.std().item() == pytest.approx(expected, rel=5 / tensor.numel() ** 0.5), name
        assert abs(tensor.mean().item()) < 5 * expected / tensor.numel() ** 0.5, name
    biased = initial_weights(D7, seed=5)
    assert all(tensor.eq(0).all() for name, tensor in biased.items() if name.endswith(".bias"))


def test_initial_weights_depend_on_seed_and_name_alone():
    one, again, other = (initial_weights(D7, seed) for seed in (1, 1, 2))
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert not torch.equal(one["token_emb.weight"], other["token_emb.weight"])
    wider = initial_weights(replace(D7, d_ff=28, n_layer=2), 1)
    assert torch.equal(one["blocks.0.attn.qkv.weight"], wider["blocks.0.attn.qkv.weight"])
    assert not torch.equal(wider["blocks.0.attn.qkv.weight"], wider["blocks.1.attn.qkv.weight"])

"""A trace is the same forward pass: its logits, and what a plain module computes at every step on its way."""

from dataclasses import replace

import pytest
import torch
from draws import draws
from hypothesis import given
from hypothesis import strategies as st
from test_decoder import D7, FAMILIES, P456, module_of, name_of, random_tokens, random_weights

from reprogrok.model import attention
from reprogrok.model.decoder import logits, trace
from reprogrok.spec.model import ModelSpec

torch.set_num_threads(1)


def stacked(weights):
    return {name: tensor.unsqueeze(0) for name, tensor in weights.items()}


def plainly(spec, weights, tokens_BT):
    """States (L + 1 of (B, T, D)) and shares (L of (B, H, T, T)) of the plain module, heard through its softmax."""
    module, states, shares = module_of(spec, weights), [], []
    for block in module.blocks:
        block.register_forward_pre_hook(lambda _, inputs: states.append(inputs[0]))
    module.blocks[-1].register_forward_hook(lambda _, __, output: states.append(output))
    softmax = torch.Tensor.softmax

    def heard(scores, axis):
        shares.append(softmax(scores, axis))
        return shares[-1]

    with pytest.MonkeyPatch.context() as patch, torch.no_grad():
        patch.setattr(torch.Tensor, "softmax", heard)
        module(tokens_BT)
    return states, shares


def agrees_with_the_plain_module(spec, weights, tokens_BT, tolerance):
    found = trace(spec, stacked(weights), tokens_BT.T.unsqueeze(0))
    states, shares = plainly(spec, weights, tokens_BT)
    assert found.hidden_RLDTB.shape[1] == len(states) == spec.n_layer + 1
    assert found.weights_RLHQTB.shape[1] == len(shares) == spec.n_layer
    for layer, state_BTD in enumerate(states):
        ours_BTD = found.hidden_RLDTB[0, layer].permute(2, 1, 0)
        torch.testing.assert_close(ours_BTD, state_BTD, rtol=tolerance, atol=tolerance)
    for layer, share_BHQT in enumerate(shares):
        ours_BHQT = found.weights_RLHQTB[0, layer].permute(3, 0, 1, 2)
        torch.testing.assert_close(ours_BHQT, share_BHQT, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("spec", FAMILIES, ids=name_of)
def test_states_and_shares_are_those_of_the_plain_module(spec):
    for length in (9, 4, 1):
        agrees_with_the_plain_module(spec, random_weights(spec, 1), random_tokens(spec, 5, length), 1e-12)


@given(
    sizes=st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(2, 20), st.integers(1, 9)),
    ranks=st.tuples(*[st.integers(0, 4)] * 4),
    tied=st.booleans(),
    seed=st.integers(0, 2**40),
)
@draws(30)
def test_any_shape_of_the_family_is_traced(*, sizes, ranks, tied, seed):
    layers, heads, width, hidden = sizes
    tie = "shareA_tieKV" if tied and ranks[1] else "none"
    spec = ModelSpec(layers, heads * width, heads, hidden, 7, 14, *ranks, tie_qkv=tie)
    agrees_with_the_plain_module(spec, random_weights(spec, seed), random_tokens(spec, 3, 7), 1e-9)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-12)])
@pytest.mark.parametrize("spec", [D7, P456, *FAMILIES[::7], *FAMILIES[-5:]], ids=name_of)
def test_its_logits_are_those_of_the_model_wherever_they_are_asked(spec, dtype, tolerance):
    weights = [stacked(random_weights(spec, seed, dtype)) for seed in range(2)]
    together = {name: torch.cat([each[name] for each in weights]) for name in weights[0]}
    tokens_RTB = torch.stack([random_tokens(spec, 6, 9, seed).T for seed in range(2)])
    found = trace(spec, together, tokens_RTB)
    assert torch.equal(found.logits_RVTB, logits(spec, together, tokens_RTB, 0))
    scale = float(found.logits_RVTB.abs().max())
    for first in (3, 8):
        asked = logits(spec, together, tokens_RTB, first)
        torch.testing.assert_close(found.logits_RVTB[:, :, first:], asked, rtol=0, atol=tolerance * max(scale, 1))


def test_what_leaves_a_block_enters_the_next():
    spec = FAMILIES[-1]
    found = trace(spec, stacked(random_weights(spec, 0)), random_tokens(spec, 4, 9).T.unsqueeze(0))
    assert found.before.shape == found.after.shape == (1, spec.n_layer, spec.d_model, 9, 4)
    assert torch.equal(found.before[:, 1:], found.after[:, :-1])


@pytest.mark.parametrize("limit", [0, 100])
def test_shares_are_causal_and_sum_to_one_for_wide_and_narrow_heads(monkeypatch, limit):
    monkeypatch.setattr(attention, "_NARROW", limit)
    spec = replace(D7, n_layer=2, d_model=8, n_head=2)
    found = trace(spec, stacked(random_weights(spec, 0)), random_tokens(spec, 4, 9).T.unsqueeze(0)).weights_RLHQTB
    torch.testing.assert_close(found.sum(4), torch.ones_like(found.sum(4)), rtol=0, atol=1e-12)
    assert found.movedim(-1, 0).triu(1).eq(0).all()
    assert found[:, :, :, 0, 0].eq(1).all()

"""Dropout: the rate that it says, drawn by integers, a function of (seed, step, place), and where the model has it."""

from __future__ import annotations

import math

import pytest
import torch
from draws import draws
from hypothesis import given
from hypothesis import strategies as st
from plain_decoder import plain_logits
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn import functional as F

from reprogrok.model import dropout as dropout_module
from reprogrok.model.compiler import compiler
from reprogrok.model.decoder import logits
from reprogrok.model.dropout import Dropout
from reprogrok.model.initialise import initial_weights
from reprogrok.spec.model import ModelSpec
from reprogrok.tasks.streams import Purpose, draw
from reprogrok.train.update import loss_and_logits

torch.set_num_threads(1)


def dropout(rate=0.1, seeds=(42,), step=7):
    return Dropout(rate, torch.tensor(seeds), torch.tensor(step))


def plain_mask(rate, seed, step, site, shape):
    """Which of so many activations one replica keeps: 16 bits each, the high and then the low half of four words."""
    count = math.prod(shape)
    calls = math.ceil(count / 8)
    halves = []
    words = [word.tolist() for word in draw(seed, Purpose.DROPOUT, step, torch.arange(calls), site)]
    for part in (lambda word: word >> 16, lambda word: word % 2**16):
        for word in words:
            halves += [part(one) for one in word]
    kept = [half >= round(rate * 2**16) for half in halves[:count]]
    return torch.tensor(kept).reshape(shape)


@pytest.mark.parametrize(
    ("rate", "threshold"), [(0.1, 6554), (0.5, 32768), (0.25, 16384), (2.0**-16, 1), (0.99, 64881)]
)
def test_the_rate_is_the_stated_one_and_what_is_kept_is_scaled_by_it(rate, threshold):
    found = dropout(rate).of(torch.ones(1, 1_000, 1_000, dtype=torch.float64), 3)
    share = threshold / 2**16
    assert found.unique().tolist() in ([0.0, 2**16 / (2**16 - threshold)], [2**16 / (2**16 - threshold)])
    dropped = int((found == 0).sum())
    assert abs(dropped - 10**6 * share) < 5 * math.sqrt(10**6 * share * (1 - share))
    assert found.mean().item() == pytest.approx(1, abs=5e-3 / math.sqrt(1 - share))


def test_the_half_word_at_the_threshold_is_kept_and_the_one_below_is_dropped(monkeypatch):
    words = [torch.full((1, 1), (6553 << 16) | 6554), *[torch.full((1, 1), (6554 << 16) | 6553)] * 3]
    monkeypatch.setattr(dropout_module, "draw", lambda *_: words)
    kept = dropout().of(torch.ones(1, 8), 0) > 0
    assert kept[0].tolist() == [False, True, True, True, True, False, False, False]


@draws(30)
@given(
    st.sampled_from([0.1, 0.3, 0.9]),
    st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=4, unique=True),
    st.integers(0, 2**31),
    st.integers(0, 200),
    st.lists(st.integers(1, 6), min_size=1, max_size=4),
)
def test_a_mask_follows_from_seed_step_site_and_place(rate, seeds, step, site, shape):
    x = torch.arange(1, 1 + len(seeds) * math.prod(shape), dtype=torch.float64).reshape(len(seeds), *shape)
    found = dropout(rate, seeds, step).of(x, site)
    scale = 2**16 / (2**16 - round(rate * 2**16))
    for slot, seed in enumerate(seeds):
        expected = torch.where(plain_mask(rate, seed, step, site, shape), x[slot] * scale, 0)
        assert torch.equal(found[slot], expected)
        assert torch.equal(dropout(rate, (seed,), step).of(x[slot : slot + 1], site)[0], expected)


def test_seeds_steps_and_sites_draw_independently():
    shape = (1, 40_000)
    masks = [
        dropout(0.5, (seed,), step).of(torch.ones(shape), site)[0] / 2
        for seed, step, site in [(1, 1, 1), (2, 1, 1), (1, 2, 1), (1, 1, 2)]
    ]
    agreement = torch.corrcoef(torch.stack(masks)).fill_diagonal_(0)
    assert agreement.abs().max().item() < 5 / math.sqrt(shape[1])


def test_a_rate_of_nothing_changes_no_bit():
    x = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0))
    assert torch.equal(dropout(0.0, (1, 2)).of(x, 0), x)


@pytest.mark.long(quick="test_engine_modular.py::test_a_compiled_step_is_the_eager_one_rounded_otherwise")
def test_compiled_and_eager_masks_are_the_same():
    if compiler() is None:
        pytest.skip("there is no C++ compiler here")
    x = torch.ones(2, 7, 19, 11)
    seeds, step = torch.tensor([2**62 + 12345, 42]), torch.tensor(123_456)

    def masks(x, seeds, step):
        one = Dropout(0.1, seeds, step)
        return one.of(x, 0), one.of(x, 131)

    compiled = torch._inductor.compile(make_fx(masks)(x, seeds, step), [x, seeds, step])
    for found, expected in zip(compiled(x, seeds, step), masks(x, seeds, step), strict=True):
        assert torch.equal(found, expected)
        assert 0 < (found == 0).sum() < found.numel()


# --- Where the model has it ---------------------------------------------------------------------------------------

SPECS = [
    ModelSpec(n_layer=2, d_model=12, n_head=3, d_ff=20, max_seq_len=16, vocab_size=30, bias=True),
    ModelSpec(n_layer=1, d_model=40, n_head=2, d_ff=24, max_seq_len=8, vocab_size=140, bias=True, gelu="tanh"),
    ModelSpec(n_layer=3, d_model=12, n_head=2, d_ff=20, max_seq_len=8, vocab_size=11),
]


def masks_of(spec, seed, step, asked, batch):
    """The plain forward pass's masks, as its rows-first tensors have them, scaled; `asked` positions at the end."""
    T, first = asked
    D, H = spec.d_model, spec.n_head
    scale = 2**16 / (2**16 - 6554)

    def mask(site, *shape):
        return plain_mask(0.1, seed, step, site, shape).double() * scale

    found = {"embeddings": mask(0, D, T, batch).permute(2, 1, 0)}  # (D, T, B) -> (B, T, D)
    for layer in range(spec.n_layer):
        begin = first if layer == spec.n_layer - 1 else 0
        Q = T - begin
        shares_BHTT = torch.ones(batch, H, T, T, dtype=torch.float64)
        shares_BHTT[:, :, begin:] = mask(2 * layer + 1, batch, H, Q, T)
        active_BTF = torch.ones(batch, T, spec.d_ff, dtype=torch.float64)
        # Features by positions times problems.
        active_BTF[:, begin:] = mask(2 * layer + 2, spec.d_ff, Q * batch).reshape(-1, Q, batch).permute(2, 1, 0)
        found |= {f"shares.{layer}": shares_BHTT, f"active.{layer}": active_BTF}
    return found


@pytest.mark.parametrize("first", [0, 4])
@pytest.mark.parametrize("spec", SPECS)
def test_the_forward_pass_drops_embeddings_shares_and_active_units_and_nothing_else(spec, first):
    seeds, step, T, batch = (3, 2**35), 11, 6, 9
    generator = torch.Generator().manual_seed(1)
    tokens_RTB = torch.randint(spec.vocab_size, (2, T + 1, batch), generator=generator)
    alone = [{k: v.double() * 3 for k, v in initial_weights(spec, seed, "zero").items()} for seed in seeds]
    weights = {name: torch.stack([one[name] for one in alone]).requires_grad_() for name in alone[0]}
    loss_R, found_RVQB = loss_and_logits(spec, weights, tokens_RTB, first, dropout(0.1, seeds, step))
    for slot, seed in enumerate(seeds):
        plain = {name: tensor[slot].detach().requires_grad_() for name, tensor in weights.items()}
        masks = masks_of(spec, seed, step, (T, first), batch)
        expected_BQV = plain_logits(spec, plain, tokens_RTB[slot, :-1].T, masks)[:, first:]
        torch.testing.assert_close(found_RVQB[slot].permute(2, 1, 0), expected_BQV, rtol=0, atol=1e-12)
        loss = F.cross_entropy(expected_BQV.flatten(0, 1), tokens_RTB[slot, first + 1 :].T.flatten())
        assert loss_R[slot].item() == pytest.approx(loss.item(), abs=1e-12)
        gradients = torch.autograd.grad(loss, list(plain.values()))
        ours = torch.autograd.grad(loss_R[slot], list(weights.values()), retain_graph=True)
        for name, one, other in zip(weights, ours, gradients, strict=True):
            torch.testing.assert_close(
                one[slot], other, rtol=0, atol=1e-12, msg=lambda text, name=name: f"{name}: {text}"
            )


def test_without_dropout_the_forward_pass_is_the_plain_one():
    spec = SPECS[0]
    weights = {name: tensor.double() for name, tensor in initial_weights(spec, 3, "uniform").items()}
    tokens_TB = torch.randint(30, (8, 5), generator=torch.Generator().manual_seed(1))
    found = logits(spec, {name: tensor.unsqueeze(0) for name, tensor in weights.items()}, tokens_TB.unsqueeze(0), 0)
    torch.testing.assert_close(found[0].permute(2, 1, 0), plain_logits(spec, weights, tokens_TB.T), rtol=0, atol=1e-12)

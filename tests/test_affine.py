"""Affine forms hold every vector they claim to hold, through each step, in real arithmetic and in float32."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from draws import draws
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import erf

from reprogrok.certificate.checker import affine
from reprogrok.certificate.checker.affine import Affine, Chain, Norm, added, exactly, gelu, mapped, margins
from reprogrok.certificate.checker.rounding import FLOAT32, REAL

SAMPLES = 200
kinds = st.tuples(
    st.integers(0, 2**32 - 1), st.integers(0, 4), st.sampled_from([1e-6, 0.01, 0.3, 3.0, 30.0]), st.booleans()
)


def forms(seed, symbols, size, features=5, count=6):
    """Forms whose centres are about 1, their slopes and radius about `size`."""
    rng = np.random.default_rng(seed)
    slopes = rng.normal(size=(symbols, count, features)) * size
    radius = np.abs(rng.normal(size=(count, features))) * size * rng.integers(0, 2, (count, 1))
    return Affine(rng.normal(size=(count, features)), slopes, radius)


def members(x, seed):
    """Vectors of each form, many of them at its corners: (SAMPLES, L, F), and the symbols (SAMPLES, s)."""
    rng = np.random.default_rng(seed)
    d = rng.uniform(-1, 1, (SAMPLES, len(x.slopes_sLF)))
    d[::2] = np.sign(d[::2])
    rest = rng.uniform(-1, 1, (SAMPLES, *x.centre_LF.shape))
    rest[::2] = np.sign(rest[::2])
    return x.centre_LF + np.tensordot(d, x.slopes_sLF, 1) + rest * x.radius_LF, d


def excess(y, values, d):
    """How far values of the same symbols leave the form, beyond float64: positive where they do."""
    line = y.centre_LF + np.tensordot(d, y.slopes_sLF, 1)
    return (np.abs(values - line) - y.radius_LF - 1e-15 * np.abs(values)).max()


def plain_norm(x, weight, bias, epsilon):
    x = x if bias is None else x - x.mean(-1, keepdims=True)
    y = x / np.sqrt((x * x).mean(-1, keepdims=True) + epsilon) * weight
    return y if bias is None else y + bias


def plain_gelu(x):
    return x * (1 + erf(x / math.sqrt(2))) / 2


@given(kinds)
@draws(60)
def test_linear_maps_and_sums_hold(kind):
    seed, symbols, size, _ = kind
    x = forms(seed, symbols, size)
    rng = np.random.default_rng(seed + 1)
    left, right = rng.normal(size=(4, 3)), rng.normal(size=(3, 5))
    values, d = members(x, seed)
    y = mapped(x, Chain.of([left, right]), REAL)
    assert excess(y, values @ right.T @ left.T, d) <= 0
    both = added(x, replace(x, centre_LF=2 * x.centre_LF), REAL)
    assert excess(both, 2 * values + x.centre_LF, d) <= 0


@given(kinds)
@draws(100)
def test_norms_hold(kind):
    seed, symbols, size, rms = kind
    x = forms(seed, symbols, size)
    rng = np.random.default_rng(seed + 1)
    weight, bias = rng.normal(size=5), None if rms else rng.normal(size=5)
    epsilon = 1e-8 if rms else 1e-5
    values, d = members(x, seed)
    assert excess(Norm(weight, bias, epsilon).of(x, REAL), plain_norm(values, weight, bias, epsilon), d) <= 0


@given(kinds)
@draws(100)
def test_gelu_holds(kind):
    seed, symbols, size, _ = kind
    x = forms(seed, symbols, size)
    values, d = members(x, seed)
    assert excess(gelu(x, REAL), plain_gelu(values), d) <= 0


def test_a_norm_whose_argument_may_vanish_holds():
    x = Affine(np.zeros((1, 3)), np.eye(3)[:, None] * 0.1, np.full((1, 3), 1e-3))
    values, d = members(x, 0)
    for epsilon in (1e-8, 1e-5):
        assert excess(Norm(np.ones(3), None, epsilon).of(x, REAL), plain_norm(values, 1.0, None, epsilon), d) <= 0


def test_gelu_holds_at_the_extremes_of_its_curvature():
    for centre in (-8.0, -3.0, -2.0, -1.4, -0.75, 0.0, 0.3, 1.4, 2.0, 5.0, 39.0, 1e4):
        for size in (1e-9, 1e-3, 0.5, 2.0, 5.0, 60.0):
            x = Affine(np.full((1, 1), centre), np.full((1, 1, 1), size), np.zeros((1, 1)))
            d = np.linspace(-1, 1, 2_001)[:, None]
            assert excess(gelu(x, REAL), plain_gelu(centre + size * d)[:, None], d) <= 0


def test_a_centred_remainder_is_half_of_the_range():
    # f(0.1 d) = 0.05 d + f''(0) / 2 * 0.01 d^2 to third order, and f''(0) = 2 phi(0) = 0.79788...
    y = gelu(Affine(np.zeros((1, 1)), np.full((1, 1, 1), 0.1), np.zeros((1, 1))), REAL)
    assert y.slopes_sLF[0, 0, 0] == pytest.approx(0.05)
    assert y.radius_LF[0, 0] == pytest.approx(0.79788 / 4 * 0.01, rel=1e-3)
    assert y.centre_LF[0, 0] == pytest.approx(0.79788 / 4 * 0.01, rel=1e-3)
    # 1/sqrt(1 + q) for |q| <= 0.1: the second derivative is 3/4, so about 3/4 / 2 / 2 * 0.01.
    gap = affine._tangent_gap(np.array([0.9, 1.1]))
    assert gap == pytest.approx([0.9**-0.5 - 1.05, 1.1**-0.5 - 0.95], rel=1e-9)


@pytest.mark.parametrize("rms", [False, True])
def test_float32_stays_within_forms_of_its_arithmetic_and_leaves_those_of_real_numbers(rms):
    rng = np.random.default_rng(3)
    x = rng.normal(size=(500, 7)).astype(np.float32)
    up, down = (rng.normal(size=shape).astype(np.float32) for shape in ((9, 7), (7, 9)))
    weight, bias = rng.normal(size=(2, 7)).astype(np.float32)
    epsilon = 1e-8 if rms else 1e-5
    norm = Norm(weight.astype(np.float64), None if rms else bias.astype(np.float64), epsilon)
    t = torch.from_numpy(x)
    c = t if rms else t - t.mean(1, keepdim=True)
    normed = c * torch.rsqrt(c.square().mean(1, keepdim=True) + epsilon) * torch.from_numpy(weight)
    normed = normed if rms else normed + torch.from_numpy(bias)
    active = torch.nn.functional.gelu(normed @ torch.from_numpy(up.T))
    answer = (t + active @ torch.from_numpy(down.T)).double().numpy()

    def off(arithmetic):
        start = exactly(x.astype(np.float64))
        hidden = mapped(norm.of(start, arithmetic), Chain.of([up.astype(np.float64)]), arithmetic)
        y = added(start, mapped(gelu(hidden, arithmetic), Chain.of([down.astype(np.float64)]), arithmetic), arithmetic)
        return np.abs(answer - y.centre_LF) - y.radius_LF, y.radius_LF

    outside, radius = off(FLOAT32)
    assert (outside <= 0).all()
    assert radius.max() < 2e-3
    assert (off(REAL)[0] > 0).any()


def test_margins_of_pairs_share_what_the_tokens_share():
    # E[0] - E[1] = (1, 0): the second component, known to 5 only, cancels.
    y = Affine(np.array([[3.0, 7.0]]), np.array([[[0.5, 0.0]]]), np.array([[0.25, 5.0]]))
    lower, upper = margins(y, np.array([[2.0, 1.0], [1.0, 1.0]]), np.array([0]), REAL)
    assert lower[0] == pytest.approx([0.0, 3.0 - 0.75])
    assert upper[0] == pytest.approx([0.0, 3.0 + 0.75])


def test_what_is_too_large_for_float32_has_no_bound():
    huge = exactly(np.full((1, 2), 1e25))
    assert np.isinf(mapped(huge, Chain.of([np.full((2, 2), 1e6)]), FLOAT32).radius_LF).all()
    assert np.isfinite(mapped(huge, Chain.of([np.eye(2)]), FLOAT32).radius_LF).all()
    assert np.isinf(Norm(np.ones(2), None, 1e-8).of(huge, FLOAT32).radius_LF).all()
    assert np.isinf(added(exactly(np.full((1, 2), 9e29)), exactly(np.full((1, 2), 9e29)), FLOAT32).radius_LF).all()
    nothing = Affine(np.zeros((1, 2)), np.zeros((0, 1, 2)), np.full((1, 2), np.inf))
    with np.errstate(all="ignore"):
        for step in (lambda x: Norm(np.ones(2), np.ones(2), 1e-5).of(x, REAL), lambda x: gelu(x, REAL)):
            assert not np.isfinite(step(nothing).radius_LF).any()


# Guards, each shown to matter.


def test_without_the_curvature_a_value_leaves_gelu(monkeypatch):
    x = forms(1, 2, 0.3)
    values, d = members(x, 1)
    monkeypatch.setattr(affine, "_curvature", np.zeros_like)
    monkeypatch.setattr(affine, "_density", lambda x: np.exp(-0.5 * x * x) / np.sqrt(2 * np.pi) * (x != 0))
    assert excess(gelu(x, REAL), plain_gelu(values), d) > 0


def test_without_the_tangents_gap_a_value_leaves_a_norm(monkeypatch):
    x = Affine(np.array([[1.0, 0.0]]), np.array([[[0.4, 0.0]]]), np.zeros((1, 2)))
    values, d = members(x, 1)
    norm = Norm(np.ones(2), None, 1e-8)
    assert excess(norm.of(x, REAL), plain_norm(values, 1.0, None, 1e-8), d) <= 0
    y = norm.of(x, REAL)
    monkeypatch.setattr(affine, "_tangent_gap", np.zeros_like)
    assert norm.of(x, REAL).radius_LF[0, 0] < y.radius_LF[0, 0] / 1.5


def test_without_float32s_units_a_rounded_product_leaves_its_form(monkeypatch):
    rng = np.random.default_rng(5)
    x, a = rng.normal(size=(400, 50)).astype(np.float32), rng.normal(size=(20, 50)).astype(np.float32)
    rounded = (torch.from_numpy(x) @ torch.from_numpy(a.T)).double().numpy()
    start, chain = exactly(x.astype(np.float64)), Chain.of([a.astype(np.float64)])
    y = mapped(start, chain, FLOAT32)
    assert (np.abs(rounded - y.centre_LF) <= y.radius_LF).all()
    monkeypatch.setattr(affine, "gamma", lambda *_: 0.0)
    y = mapped(start, chain, FLOAT32)
    assert (np.abs(rounded - y.centre_LF) > y.radius_LF).any()

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import erf, ndtr
from torch.nn import functional as F

from reprogrok.certificate.checker.rounding import (
    FLOAT32,
    REAL,
    Arithmetic,
    down,
    gamma,
    require_ieee,
    up,
)

# References are float64, whose own errors are a millionth of what is looked for (2^-53 beside 2^-24, and a hundredth).
MANY = 200_000
STRICT = replace(FLOAT32, unit=FLOAT32.unit / 100, elementary=FLOAT32.elementary / 100)


def spread(seed: int, low: float, high: float, shape: tuple[int, ...] = (MANY,)) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).uniform(low, high, shape).astype(np.float32))


def beyond(found: torch.Tensor, truth: np.ndarray, bound: np.ndarray) -> int:
    """How many numbers are off by more than the bound."""
    return int((np.abs(found.double().numpy() - truth) > bound).sum())


# What is assumed of float32, operation by operation: how many results break it.


def _single(arithmetic: Arithmetic) -> int:
    x, y = spread(1, -9.0, 9.0), spread(25, 0.01, 9.0)
    left, right = x.double().numpy(), y.double().numpy()
    pairs = [(x + y, left + right), (x - y, left - right), (x * y, left * right), (x / y, left / right)]
    return sum(beyond(found, truth, arithmetic.unit * np.abs(truth)) for found, truth in pairs)


def _root(arithmetic: Arithmetic) -> int:
    x = spread(1, 0.0, 10.0)
    truth = np.sqrt(x.double().numpy())
    return beyond(x.sqrt(), truth, arithmetic.elementary * truth)


def _exp(arithmetic: Arithmetic) -> int:
    x = torch.cat([spread(2, -87.0, 88.0), spread(3, -1.0, 1.0), spread(4, -110.0, -80.0)])
    truth = np.exp(x.double().numpy())
    return beyond(x.exp(), truth, arithmetic.elementary * truth + arithmetic.tiny)


def _erf(arithmetic: Arithmetic) -> int:
    x = torch.cat([spread(5, -6.0, 6.0), spread(6, -1.0, 1.0), spread(7, -1e-4, 1e-4)])
    truth = erf(x.double().numpy())
    return beyond(x.erf(), truth, arithmetic.elementary * np.abs(truth) + arithmetic.tiny)


def _rsqrt(arithmetic: Arithmetic) -> int:
    x = torch.cat([spread(8, 1e-9, 1.0), spread(9, 1e-8, 1e3)])
    truth = 1 / np.sqrt(x.double().numpy())
    bound = arithmetic.elementary * truth
    return beyond(x.rsqrt(), truth, bound) + beyond(1 / x.sqrt(), truth, bound)


def _gelu(arithmetic: Arithmetic) -> int:
    x = torch.cat([spread(10, -12.0, 12.0), spread(11, -1.0, 1.0), spread(12, -1e3, 1e3)])
    exact = x.double().numpy()
    truth, bound = exact * ndtr(exact), 8 * arithmetic.unit * np.abs(exact)
    written_out = x * 0.5 * (1 + (x / math.sqrt(2)).erf())
    return beyond(F.gelu(x), truth, bound) + beyond(written_out, truth, bound)


def _softmax(arithmetic: Arithmetic) -> int:
    scores = spread(13, -30.0, 30.0, (MANY // 20, 33))
    exact = scores.double().numpy()
    raised = np.exp(exact - exact.max(1, keepdims=True))
    truth = raised / raised.sum(1, keepdims=True)
    # exp feels the rounded difference; then a sum of 33 (each term off by as much as the worst) and a division.
    below = exact.max(1, keepdims=True) - exact
    term = (1 + arithmetic.elementary) * np.exp(arithmetic.unit * below) - 1
    total = term.max(1, keepdims=True) + 33 * arithmetic.unit
    relative = (1 + term) * (1 + arithmetic.unit) / (1 - total) - 1
    shares_are = [scores.softmax(1), F.softmax(scores.T.contiguous(), 0).T]
    return sum(beyond(shares, truth, relative * truth + 3 * arithmetic.tiny) for shares in shares_are)


def _sums(arithmetic: Arithmetic) -> int:
    terms = spread(14, -1.0, 1.0, (2_000, 30))
    exact = terms.double().numpy()
    bound = gamma(29, arithmetic.unit) * np.abs(exact).sum(1)
    shuffled = terms[:, torch.from_numpy(np.random.default_rng(15).permutation(30))]
    orders = [terms.sum(1), terms.cumsum(1)[:, -1], terms.flip(1).cumsum(1)[:, -1], shuffled.sum(1), terms.T.sum(0)]
    orders += [terms.view(-1, 5, 6).sum(1).sum(1), torch.from_numpy(terms.numpy().sum(1)), terms @ torch.ones(30)]
    return sum(beyond(order, exact.sum(1), bound) for order in orders)


def _products(arithmetic: Arithmetic) -> int:
    a, b = spread(16, -1.0, 1.0, (60, 20)), spread(17, -1.0, 1.0, (20, 50))
    left, right = a.double().numpy(), b.double().numpy()
    bound = gamma(20, arithmetic.unit) * (np.abs(left) @ np.abs(right))
    ways = [a @ b, (b.T @ a.T).T, torch.einsum("ij,jk->ik", a, b), (a[:, :, None] * b).sum(1), F.linear(a, b.T)]
    return sum(beyond(way, left @ right, bound) for way in ways)


def _chains(arithmetic: Arithmetic) -> int:
    """Low-rank factors, multiplied by the input one after the other, or by each other beforehand."""
    x, a, b = spread(18, -2.0, 2.0, (300, 14)), spread(19, -1.0, 1.0, (14, 3)), spread(20, -1.0, 1.0, (3, 8))
    c = spread(21, -1.0, 1.0, (8, 8))
    factors = [m.double().numpy() for m in (x, a, b, c)]
    truth = np.linalg.multi_dot(factors)
    bound = gamma(14 + 3 + 8, arithmetic.unit) * np.linalg.multi_dot([np.abs(m) for m in factors])
    ways = [x @ a @ b @ c, x @ (a @ b) @ c, x @ (a @ b @ c), x @ (a @ (b @ c)), (x @ a) @ (b @ c)]
    return sum(beyond(way, truth, bound) for way in ways)


def _norms(arithmetic: Arithmetic) -> int:
    """To first order, with room: 8 terms are summed twice, and a dozen single roundings follow one another."""
    x, weight, bias = spread(22, -3.0, 3.0, (5_000, 8)), spread(23, -2.0, 2.0, (8,)), spread(24, -1.0, 1.0, (8,))
    exact, scale, shift = (t.double().numpy() for t in (x, weight, bias))
    size = np.abs(exact).mean(1, keepdims=True)
    count = 0
    for eps, centre in ((1e-8, False), (1e-5, True)):
        mean = exact.mean(1, keepdims=True) * centre
        off = arithmetic.unit * (np.abs(exact - mean) + centre * 10 * size)  # of each deviation
        squares = ((exact - mean) ** 2).mean(1, keepdims=True) + eps
        share = (10 * arithmetic.unit * squares + 2 * (np.abs(exact - mean) * off).mean(1, keepdims=True)) / squares
        root = 1 / np.sqrt(squares)
        normed = (exact - mean) * root * scale
        relative = share + arithmetic.elementary + 3 * arithmetic.unit
        bound = np.abs(normed) * relative + off * root * np.abs(scale) + arithmetic.unit * np.abs(normed + shift)
        if centre:
            found = F.layer_norm(x, (8,), weight, bias, eps)
            middle = x - x.mean(1, keepdim=True)
            written_out = middle * torch.rsqrt(middle.square().mean(1, keepdim=True) + eps) * weight + bias
            truth = normed + shift
        else:
            found = F.rms_norm(x, (8,), weight, eps)
            written_out = x * torch.rsqrt(x.square().mean(1, keepdim=True) + eps) * weight
            truth = normed
        count += beyond(found, truth, bound) + beyond(written_out, truth, bound)
    return count


ASSUMED = {
    "A1, + - * /": _single,
    "A1, sums": _sums,
    "A1, products of matrices": _products,
    "A1, chains of matrices": _chains,
    "A2, exp": _exp,
    "A2, erf": _erf,
    "A2, square root": _root,
    "A2, 1/sqrt": _rsqrt,
    "A3, softmax": _softmax,
    "A4, norms": _norms,
    "A5, GELU": _gelu,
}


@pytest.mark.parametrize("assumption", ASSUMED)
def test_torch_on_this_processor_meets_what_is_assumed_of_float32(assumption):
    assert ASSUMED[assumption](FLOAT32) == 0


@pytest.mark.parametrize("assumption", ASSUMED)
def test_a_hundredth_of_the_unit_is_seen_to_be_too_little(assumption):
    assert ASSUMED[assumption](STRICT) > 0


def test_an_arithmetic_says_what_it_is():
    assert (FLOAT32.name, FLOAT32.unit, FLOAT32.elementary, FLOAT32.tiny) == ("float32", 2**-24, 2**-20, 2**-126)
    assert (REAL.name, REAL.unit, REAL.elementary, REAL.tiny) == ("real", 0, 0, 0)
    assert FLOAT32.unit == torch.finfo(torch.float32).eps / 2
    assert FLOAT32.tiny == torch.finfo(torch.float32).tiny
    assert FLOAT32.elementary == 8 * torch.finfo(torch.float32).eps


# How float64 bounds it.


@given(st.integers(0, 10**6), st.sampled_from([0.0, 2.0**-24, 2.0**-24 / 100, 2.0**-53]))
def test_gamma_is_the_formula_rounded_up(terms, unit):
    exact = terms * Fraction(unit) / (1 - terms * Fraction(unit))
    assert exact <= Fraction(gamma(terms, unit)) <= exact * (1 + Fraction(1, 2**51))


def test_gamma_of_the_worked_value_and_of_what_has_no_bound():
    assert gamma(2, 0.25) == np.nextafter(1.0, 2.0)
    assert gamma(0, 0.25) == gamma(5, 0.0) == 0.0
    for terms, unit in ((4, 0.25), (2**24, 2.0**-24), (-1, 0.25), (1, -0.25)):
        with pytest.raises(ValueError, match="no bound"):
            gamma(terms, unit)


def test_up_and_down_are_neighbours_or_one_further_for_floats_of_every_size():
    bits = np.random.default_rng(30).integers(0, 2**63, 300_000, dtype=np.int64)
    floats = np.concatenate([bits.view(np.float64), (bits >> 7).view(np.float64), 2.0 ** np.arange(-1074, 1024)])
    floats = floats[np.isfinite(floats)]
    floats = np.concatenate([floats, np.nextafter(floats, 0), [0.0, np.finfo(float).max]])
    floats = np.concatenate([floats, -floats])
    with np.errstate(over="ignore"):
        above, below = np.nextafter(floats, np.inf), np.nextafter(floats, -np.inf)
        assert (up(floats) >= above).all()
        assert (up(floats) <= np.nextafter(above, np.inf)).all()
        assert (down(floats) <= below).all()
        assert (down(floats) >= np.nextafter(below, -np.inf)).all()
        usual = (np.abs(floats) < 2.0**-1022) | (np.abs(floats) > 2.0**-1020)
        assert (up(floats) == above)[usual].all()
        assert (down(floats) == below)[usual].all()


def test_a_process_that_flushes_small_numbers_is_refused():
    require_ieee()
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor cannot flush to zero")
    try:
        with pytest.raises(ArithmeticError, match="flushed to zero"):
            require_ieee()
    finally:
        torch.set_flush_denormal(False)
    require_ieee()

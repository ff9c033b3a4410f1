"""Bounds of the attention's output -> bounds of a model's margins: affine forms through norms, MLP and logits.

An affine form of a vector x in R^F states that for some d in [-1, 1]^s

    x_i = centre_i + sum_k slopes_ki d_k + rest_i,      |rest_i| <= radius_i,

with the same d in all forms of the same box, so common terms cancel in a difference. A linear map maps the form. A
nonlinear function is replaced by a line; its difference from that line, bounded by the second derivative's range, goes
into the radius. A difference in [0, m] counts as m/2 plus or minus m/2.

Scope. `x` is the vector of the model's own evaluation in the given `Arithmetic`: its roundings go into the radius as
well (A1 to A5 of `checker/rounding.py`), each bounded by magnitudes, where the magnitude of a form is
|centre| + sum |slopes| + radius. With `REAL` it is the vector of exact arithmetic on the stored weights.

Rounding of the bounds in float64. Every centre, slope and radius is computed from its predecessors by fewer than 2^11
roundings in a row (at most five sums, of at most `MOST_FEATURES` terms each). Its error is at most gamma(2^11) < 2^-41
times the same expression over magnitudes; that of a radius, whose terms are all positive, is at most 2^-41 of itself.
Adding `ROUNDING` = 2^-40 times the magnitude to the radius at each step covers both. Products that underflow are off by
less than 2^-1074 each, and factors are below `LARGEST` each: `FAINT` covers them. NumPy's density and SciPy's normal
distribution function, values up to 1, are assumed to be accurate to 2^-44.

A value above `LARGEST` might overflow float32: its radius is infinite. Infinity and NaN propagate through every step,
up to margins that state nothing.

Axes: L forms side by side   s symbols   F features (D width)   O outputs   V tokens
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy.special import ndtr

from reprogrok.certificate.checker.carries import Numbers
from reprogrok.certificate.checker.rounding import Arithmetic, Floats, gamma

ROUNDING = 2.0**-40
FAINT = 1e-100
LARGEST = 1e30
MOST_FEATURES = 400
_CURVATURE_AT_2 = -0.10798193302637613  # minimum of GELU's second derivative, phi(2)(2 - 4), at 2 and -2
_FAR = 40.0  # beyond it GELU's second derivative is between -1e-300 and 0


@dataclass(frozen=True)
class Affine:
    """L affine forms.

    Attributes:
        centre_LF: values at d = 0.
        slopes_sLF: change per unit of each symbol.
        radius_LF: bound of |rest|; infinite where nothing is known.
    """

    centre_LF: Floats
    slopes_sLF: Floats
    radius_LF: Floats

    @cached_property
    def swing(self) -> Floats:
        """Bound the distance from the centre that the symbols alone cause."""
        swing_LF: Floats = np.abs(self.slopes_sLF).sum(0)
        return swing_LF

    @cached_property
    def spread(self) -> Floats:
        """Bound the distance from the centre."""
        return self.swing + self.radius_LF

    @cached_property
    def magnitude(self) -> Floats:
        """Bound the absolute values."""
        return np.abs(self.centre_LF) + self.spread

    def widened(self, more_LF: Floats) -> Affine:
        """Return the forms with a larger radius."""
        return replace(self, radius_LF=self.radius_LF + more_LF)


def exactly(centre_LF: Floats) -> Affine:
    """Return known vectors as forms without symbols."""
    return Affine(centre_LF, np.zeros((0, *centre_LF.shape)), np.zeros_like(centre_LF))


@dataclass(frozen=True)
class Chain:
    """A product of stored matrices, for evaluation in any association.

    Attributes:
        matrix_OI: the product in float64.
        magnitude_OI: the product of the factors' magnitudes, which bounds rounding errors (A1).
        terms: total length of all sums in it: the number of roundings in a row.
        reach: largest factor by which a partial product can enlarge a vector's largest component.
    """

    matrix_OI: Floats
    magnitude_OI: Floats
    terms: int
    reach: float

    @staticmethod
    def of(factors: Sequence[Floats]) -> Chain:
        """Multiply factors, the leftmost first: (O, ...), ..., (..., I)."""
        matrix, magnitude = factors[0], np.abs(factors[0])
        for factor in factors[1:]:
            matrix, magnitude = matrix @ factor, magnitude @ np.abs(factor)
        reach = float(np.prod([max(1.0, max(factor.shape) * float(np.abs(factor).max())) for factor in factors]))
        return Chain(matrix, magnitude, sum(factor.shape[1] for factor in factors), reach)

    def underflow(self, arithmetic: Arithmetic) -> float:
        """Bound the underflow error of a product with a vector whose components are at most 1 or the factors' reach.

        Each of at most `terms` sums in a row has at most `terms` products and as many additions, each off by `tiny`;
        the error grows by at most `reach`, twice for later roundings.
        """
        return 4.0 * self.terms**2 * self.reach * arithmetic.tiny


def mapped(x: Affine, chain: Chain, arithmetic: Arithmetic) -> Affine:
    """Multiply by a matrix: off by at most gamma(terms) |A1| |A2| ... |x| (A1), in float64 with float64's unit."""
    error = gamma(chain.terms, arithmetic.unit) + ROUNDING
    top_L1 = 1.0 + x.magnitude.max(1, keepdims=True)
    more_LO = error * (x.magnitude @ chain.magnitude_OI.T) + (chain.underflow(arithmetic) + FAINT) * top_L1
    radius_LO = x.radius_LF @ np.abs(chain.matrix_OI).T + more_LO
    radius_LO[top_L1[:, 0] * chain.reach > LARGEST] = np.inf
    return Affine(x.centre_LF @ chain.matrix_OI.T, x.slopes_sLF @ chain.matrix_OI.T, radius_LO)


def added(x: Affine, y: Affine, arithmetic: Arithmetic) -> Affine:
    """Add forms of the same symbols, with one rounding."""
    sum_ = Affine(x.centre_LF + y.centre_LF, x.slopes_sLF + y.slopes_sLF, x.radius_LF + y.radius_LF)
    error_LF = (arithmetic.unit + ROUNDING) * (x.magnitude + y.magnitude) + (arithmetic.tiny + FAINT)
    return _bounded(sum_.widened(error_LF))


@dataclass(frozen=True)
class Norm:
    """The weights of a norm.

    Attributes:
        weight_F: factor of the normed vector.
        bias_F: added after it; None for RMSNorm, which does not subtract the mean either.
        epsilon: added to the mean of squares.
    """

    weight_F: Floats
    bias_F: Floats | None
    epsilon: float

    def of(self, x: Affine, arithmetic: Arithmetic) -> Affine:
        """Return the normed forms.

        In the arithmetic's units: D squares, their sum, mean and epsilon are off by gamma(D + 4) relative to q, as all
        terms are positive (and underflow by D tiny / epsilon); 1/sqrt changes that by at most as much again and is off
        by `elementary` itself; two products follow: gamma(D + 10) + elementary in all, relative to each component.
        """
        features = len(self.weight_F)
        y = _scaled(_centred(x, arithmetic) if self.bias_F is not None else x, self.epsilon)
        relative = gamma(features + 10, arithmetic.unit) + arithmetic.elementary
        relative += 4 * (features + 1) * arithmetic.tiny / self.epsilon + ROUNDING
        weight_F = np.abs(self.weight_F)
        magnitude_LF = y.magnitude * weight_F
        radius_LF = y.radius_LF * weight_F + relative * magnitude_LF + 8 * arithmetic.tiny * (1.0 + weight_F) + FAINT
        y = Affine(y.centre_LF * self.weight_F, y.slopes_sLF * self.weight_F, radius_LF)
        if self.bias_F is None:
            return _bounded(y)
        error_LF = (arithmetic.unit + ROUNDING) * (magnitude_LF * 2.0 + np.abs(self.bias_F))
        return _bounded(replace(y, centre_LF=y.centre_LF + self.bias_F).widened(error_LF))


def _centred(x: Affine, arithmetic: Arithmetic) -> Affine:
    """Subtract the mean, which is off by gamma(D + 1) of the mean magnitude; one rounding follows."""
    features = x.centre_LF.shape[1]
    centre_LF = x.centre_LF - x.centre_LF.mean(1, keepdims=True)
    slopes_sLF = x.slopes_sLF - x.slopes_sLF.mean(2, keepdims=True)
    # |I - 1/D| has 1 - 1/D on its diagonal and 1/D elsewhere.
    radius_LF = x.radius_LF * abs(1.0 - 2.0 / features) + x.radius_LF.mean(1, keepdims=True)
    mean_L1 = x.magnitude.mean(1, keepdims=True)
    error = gamma(features + 3, arithmetic.unit) + ROUNDING
    more_LF = error * (x.magnitude + mean_L1) + 4 * features * arithmetic.tiny + FAINT
    # An evaluation that updates mean and squares number by number squares uncentred ones: 0 times infinity in float32.
    more_LF[~((x.magnitude * x.magnitude).mean(1) < LARGEST)] = np.inf
    return Affine(centre_LF, slopes_sLF, radius_LF + more_LF)


def _scaled(x: Affine, epsilon: float) -> Affine:
    """Return x / sqrt(q), q = mean(x^2) + epsilon, in real arithmetic; `Norm.of` adds float32's errors.

    q: with x = c + a + r, x^2 = c^2 + 2ca + 2cr + (a + r)^2, and the mean of the last is in [0, m], where
    m = sum over k, l of |mean(slopes_k slopes_l)| + mean(2 |a| |r| + r^2).
    1/sqrt: f(q) - f(q0) - f'(q0)(q - q0) = f(q0) (t - 1)^2 (t + 2) / (2t) with t = sqrt(q / q0), which is convex in q
    and 0 at q0, so it lies between 0 and its larger end. q is at least epsilon even where the form allows less.
    The product: (c + a + r)(s0 + b + e) with a b = sum over k, l of slopes_k b_l d_k d_l, where d_k^2 is in [0, 1].
    No component exceeds the root of D for any x: that bound is used where the form's own is wider.
    """
    c_LF, J_sLF, r_LF = x.centre_LF, x.slopes_sLF, x.radius_LF
    pairs = [(k, other) for k in range(len(J_sLF)) for other in range(k)]
    m_L = (J_sLF * J_sLF).mean(2).sum(0) + ((2.0 * x.swing + r_LF) * r_LF).mean(1)
    for k, other in pairs:
        m_L = m_L + 2.0 * np.abs((J_sLF[k] * J_sLF[other]).mean(1))
    size_L = (x.magnitude * x.magnitude).mean(1) + epsilon
    q0_L = (c_LF * c_LF).mean(1) + epsilon + m_L / 2.0
    q_sL = 2.0 * (c_LF * J_sLF).mean(2)
    q_radius_L = 2.0 * (np.abs(c_LF) * r_LF).mean(1) + m_L / 2.0 + ROUNDING * size_L + FAINT
    q_spread_L = (np.abs(q_sL).sum(0) + q_radius_L) * (1.0 + ROUNDING)

    f0_L = 1.0 / np.sqrt(q0_L)
    f1_L = -0.5 * f0_L / q0_L
    low_L = np.maximum(q0_L - q_spread_L, epsilon * (1.0 - ROUNDING))
    gap_L = f0_L * np.maximum(_tangent_gap(low_L / q0_L), _tangent_gap(1.0 + q_spread_L / q0_L))
    gap_L = gap_L * (1.0 + ROUNDING) + ROUNDING * f0_L
    s0_L = f0_L + gap_L / 2.0
    s_sL = f1_L * q_sL
    swing_L = np.abs(s_sL).sum(0)
    e_L = gap_L / 2.0 - f1_L * q_radius_L + ROUNDING * (s0_L - f1_L * q_spread_L) + FAINT

    centre_LF = c_LF * s0_L[:, None]
    slopes_sLF = J_sLF * s0_L[:, None] + c_LF * s_sL[:, :, None]
    radius_LF = r_LF * (s0_L + swing_L + e_L)[:, None] + (np.abs(c_LF) + x.swing) * e_L[:, None]
    for k in range(len(J_sLF)):
        half_LF = J_sLF[k] * (s_sL[k] / 2.0)[:, None]
        centre_LF = centre_LF + half_LF
        radius_LF = radius_LF + np.abs(half_LF)
    for k, other in pairs:
        radius_LF = radius_LF + np.abs(J_sLF[k] * s_sL[other][:, None] + J_sLF[other] * s_sL[k][:, None])
    error_LF = ROUNDING * x.magnitude * (s0_L + swing_L + e_L)[:, None] + FAINT
    radius_LF = radius_LF * (1.0 + ROUNDING) + error_LF
    root = np.sqrt(c_LF.shape[1]) * (1.0 + ROUNDING)
    known_LF = radius_LF <= root
    centre_LF, slopes_sLF = np.where(known_LF, centre_LF, 0.0), np.where(known_LF, slopes_sLF, 0.0)
    radius_LF = np.where((size_L < LARGEST)[:, None], np.where(known_LF, radius_LF, root), np.inf)
    return Affine(centre_LF, slopes_sLF, radius_LF)


def _tangent_gap(ratio_L: Floats) -> Floats:
    """Compute (t - 1)^2 (t + 2) / (2t) for t = sqrt(ratio) without cancellation: t - 1 = (ratio - 1) / (t + 1)."""
    t_L = np.sqrt(ratio_L)
    step_L = (ratio_L - 1.0) / (t_L + 1.0)
    gap_L: Floats = step_L * step_L * (t_L + 2.0) / (2.0 * t_L)
    return gap_L


def gelu(x: Affine, arithmetic: Arithmetic) -> Affine:
    """Return x Phi(x), by its tangent at the centre; the remainder is f''(some point) / 2 times the distance squared.

    f'' = phi(x)(2 - x^2) has its extremes at 0 (largest) and at 2 and -2 (least), else at the ends of the range.
    Over a wide range another line is tighter: max(x, 0) - 0.17 <= f(x) <= max(x, 0), and for any k in [0, 1]
    0 <= max(x, 0) - k x <= max((1 - k) high, -k low, 0) over the range.
    Every value of f'' in float64 has an absolute error below 2^-40. A5 adds 8 u |x|.
    """
    c_LF, spread_LF = x.centre_LF, x.spread
    phi_LF = _density(c_LF)
    cdf_LF = ndtr(c_LF)
    slope_LF = cdf_LF + c_LF * phi_LF
    low_LF, high_LF = c_LF - spread_LF * (1.0 + ROUNDING), c_LF + spread_LF * (1.0 + ROUNDING)
    ends = [_curvature(low_LF), _curvature(high_LF)]
    least_LF, most_LF = np.minimum(*ends), np.maximum(*ends)
    most_LF = np.where((low_LF < 0) & (high_LF > 0), 2.0 * _density(np.zeros(1)), most_LF) + ROUNDING
    for extreme in (-2.0, 2.0):
        inside_LF = (low_LF < extreme) & (high_LF > extreme)
        least_LF = np.where(inside_LF, _CURVATURE_AT_2, least_LF)
    square_LF = spread_LF * spread_LF / 2.0
    top_LF = np.maximum(most_LF, 0.0) * square_LF
    bottom_LF = np.minimum(least_LF - ROUNDING, 0.0) * square_LF
    value_LF, rest_LF = c_LF * cdf_LF + (top_LF + bottom_LF) / 2.0, (top_LF - bottom_LF) / 2.0

    k_LF = np.clip(high_LF / (2.0 * spread_LF + FAINT), 0.0, 1.0)
    bend_LF = np.maximum(np.maximum((1.0 - k_LF) * high_LF, -k_LF * low_LF), 0.0)
    wide_LF = rest_LF > (bend_LF + 0.17) / 2.0
    slope_LF = np.where(wide_LF, k_LF, slope_LF)
    value_LF = np.where(wide_LF, k_LF * c_LF + (bend_LF - 0.17) / 2.0, value_LF)
    rest_LF = np.where(wide_LF, (bend_LF + 0.17) / 2.0, rest_LF)

    error_LF = (2.0 * ROUNDING + 8.0 * arithmetic.unit) * x.magnitude + ROUNDING * rest_LF + ROUNDING * wide_LF
    radius_LF = np.abs(slope_LF) * x.radius_LF + rest_LF + error_LF + (8.0 * arithmetic.tiny + FAINT)
    return Affine(value_LF, slope_LF * x.slopes_sLF, radius_LF)


def _density(x: Floats) -> Floats:
    """Return the standard normal density."""
    density: Floats = np.exp(-0.5 * x * x) / np.sqrt(2.0 * np.pi)
    return density


def _curvature(x: Floats) -> Floats:
    """Return the second derivative of GELU; beyond `_FAR` its value there, which is 0 within 1e-300."""
    near = np.clip(x, -_FAR, _FAR)
    curvature: Floats = _density(near) * (2.0 - near * near)
    return curvature


def margins(y: Affine, embedding_VD: Floats, right_L: Numbers, arithmetic: Arithmetic) -> tuple[Floats, Floats]:
    """Bound (E[right] - E[t]) y for every token t: lower and upper, (L, V); 0 for t = right itself.

    Each logit has its own rounding error, gamma(D) |E[t]| |y|. Bounds are compared with 0 strictly, so that a tie of
    computed logits is never right.
    """
    rows_L = np.arange(len(right_L))
    features = embedding_VD.shape[1]
    logit_LV = y.centre_LF @ embedding_VD.T
    slopes_sLV = y.slopes_sLF @ embedding_VD.T
    size_LV = y.magnitude @ np.abs(embedding_VD).T
    apart_VVD = np.abs(embedding_VD[:, None] - embedding_VD[None])
    rest_LV = (apart_VVD[right_L] @ y.radius_LF[:, :, None])[:, :, 0]
    swing_LV = np.abs(slopes_sLV[:, rows_L, right_L][:, :, None] - slopes_sLV).sum(0)
    error = gamma(features, arithmetic.unit) + ROUNDING
    error_LV = error * (size_LV[rows_L, right_L][:, None] + size_LV) + 8 * features * arithmetic.tiny + FAINT
    centre_LV = logit_LV[rows_L, right_L][:, None] - logit_LV
    reach_LV = (swing_LV + rest_LV) * (1.0 + ROUNDING) + error_LV
    reach_LV[~(size_LV.max(1) < LARGEST)] = np.inf
    lower_LV, upper_LV = centre_LV - reach_LV, centre_LV + reach_LV
    lower_LV[rows_L, right_L] = upper_LV[rows_L, right_L] = 0.0
    return lower_LV, upper_LV


def _bounded(x: Affine) -> Affine:
    """Return the forms with an infinite radius where float32 might overflow."""
    return replace(x, radius_LF=np.where(x.magnitude < LARGEST, x.radius_LF, np.inf))

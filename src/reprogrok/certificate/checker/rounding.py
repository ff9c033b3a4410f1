"""The rounding model of a certificate: bounds of float32 errors, and float64 bounds that are rounded outward.

A proof involves two arithmetics. The model is evaluated in float32: an `Arithmetic` limits the errors of such an
evaluation, and a bound holds for every evaluation within these limits. The bounds themselves are computed in float64:
the directed functions below compensate for its rounding.

`FLOAT32` assumes of an evaluation of the model (u = 2^-24, half the distance from 1 to the next number):

    A1  +, -, * and / are off by at most u of the true result, and by 2^-126 where results underflow (gradually or
        flushed to zero). Sums run in any order, fused or not. A product of several matrices may be associated in any
        way: a chain over n1, n2, ... terms is off by at most gamma(n1 + n2 + ...) |A| |B| |x|. A residual is added to
        a product that is complete; the root of a head's width, a constant, is off by u.
    A2  exp, erf, the square root and 1/sqrt, computed at once or as two operations, are off by at most 8 units in the
        last place: 2^-20 of the true result. (u would be too strict for a square root: torch on a CPU exceeds it.)
    A3  A softmax subtracts the largest of the computed scores that it reads, takes exp, sums, divides and mixes (or
        mixes and then divides), all in one pass.
    A4  A norm is the mean of squares (LayerNorm: of deviations from the mean) plus its eps, then 1/sqrt, then the
        weight (and the bias).
    A5  GELU is x (1 + erf(x / sqrt 2)) / 2 or x Phi(x): off by at most 8 u |x|, beside the error of its argument.

This machine's float64 is assumed to be IEEE 754 with rounding to nearest and gradual underflow (`require_ieee` tests
it), so that the true result of one operation lies between the neighbours of the computed one; sums and products of
matrices are computed from their own terms, in any order, fused or not (no scheme that saves multiplications).

Source of the bounds: N. J. Higham, Accuracy and Stability of Numerical Algorithms, 2nd edition, SIAM 2002,
sections 2.2 and 3.1 to 3.5. In float64, u is 2^-53.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

DOUBLE_UNIT = 2.0**-53
ABOVE_UNIT = DOUBLE_UNIT * (1 + 2 * DOUBLE_UNIT)
DOUBLE_STEP = 2.0**-1074  # the smallest positive number, and the distance between neighbours below 2^-1021


@dataclass(frozen=True)
class Arithmetic:
    """Largest errors of an evaluation of the model; all zero is real arithmetic on the stored weights.

    Attributes:
        name: its name in a certificate.
        unit: u, the largest relative error of +, -, * and / (A1); also the unit of A5.
        elementary: the largest relative error of exp, erf, the square root and 1/sqrt (A2).
        tiny: an additional absolute error where a result underflows (A1).
    """

    name: str
    unit: float
    elementary: float
    tiny: float


REAL = Arithmetic("real", 0.0, 0.0, 0.0)
FLOAT32 = Arithmetic("float32", 2.0**-24, 2.0**-20, 2.0**-126)


def gamma(terms: int, unit: float) -> float:
    """Return n u / (1 - n u), rounded up: the error of n roundings in a row, relative to the sum of magnitudes.

    Worked value: 2 terms at u = 1/4 give 1, so the next number above it.

    Raises:
        ValueError: if n u reaches 1, where there is no bound.
    """
    product = terms * Fraction(unit)
    if terms < 0 or unit < 0 or product >= 1:
        raise ValueError(f"{terms} roundings of unit {unit} have no bound")
    return float(np.nextafter(float(product / (1 - product)), np.inf)) if product else 0.0


def up(x: Floats) -> Floats:
    """Return a number above each: at least the true result, if `x` is the rounded result of one operation.

    It is the next number, or the one after that where 2^-1022 <= |x| <= 2^-1020; for minus infinity it is NaN.
    `np.nextafter` takes ten times as long. Source: S. M. Rump, P. Zimmermann, S. Boldo, G. Melquiond, Computing
    predecessor and successor in rounding to nearest, BIT Numerical Mathematics 49, 2009, algorithm 1.
    """
    return x + (np.abs(x) * ABOVE_UNIT + DOUBLE_STEP)


def down(x: Floats) -> Floats:
    """Return a number below each, as `up` does above: at most the true result of one operation."""
    return x - (np.abs(x) * ABOVE_UNIT + DOUBLE_STEP)


def require_ieee() -> None:
    """Require that this process rounds float64 to nearest and underflows gradually.

    Libraries can change both for the whole thread (`torch.set_flush_denormal`, code linked with fast-math).

    Raises:
        ArithmeticError: it does not.
    """
    one, half_unit, smallest = np.array([1.0, -1.0]), DOUBLE_UNIT, np.array([2.0 * DOUBLE_STEP])
    nearest = (one + one * half_unit == one).all() and (one + one * (1.5 * half_unit) != one).all()
    if not nearest:
        raise ArithmeticError("float64 is not rounded to nearest in this process")
    if not (smallest * 0.5 == DOUBLE_STEP).all() or not (np.array([2.0**-1022]) * 0.5 > 0).all():
        raise ArithmeticError("float64 numbers below 2^-1022 are flushed to zero in this process")

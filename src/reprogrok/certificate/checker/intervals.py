"""Arrays of intervals in float64: bounds of numbers -> bounds of the results of operations on them.

Every operation encloses: for all real numbers in its operands, the true result lies in its result. A bound is computed
in float64, then moved outward by its possible error (`checker/rounding.py`):

    + -     one rounding: the neighbouring number (`down`, `up`)
    exp     NumPy is assumed to be within 4 units in the last place; 8 are added (`exp_error`)

A result below the smallest normal number counts as anything between 0 and it. A bound that overflows is infinite; an
undefined one (infinity minus itself) becomes the whole line; no bound is NaN.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reprogrok.certificate.checker.rounding import DOUBLE_UNIT, Floats, down, up

EXACT_WHOLE = 2**53  # whole numbers up to here are float64 numbers
SMALLEST_NORMAL, LARGEST = 2.0**-1022, float(np.finfo(np.float64).max)
ULPS = 8  # added on both sides of an exponential

_quiet = np.errstate(over="ignore", invalid="ignore")


@dataclass(frozen=True, eq=False)
class Interval:
    """An array of closed intervals.

    Attributes:
        lo: lower bounds, float64.
        hi: upper bounds, in the shape of `lo`.

    Raises:
        ValueError: they are not float64 arrays of one shape with lo <= hi.
    """

    lo: Floats
    hi: Floats

    def __post_init__(self) -> None:
        object.__setattr__(self, "lo", np.asarray(self.lo))  # NumPy turns arrays without axes into scalars
        object.__setattr__(self, "hi", np.asarray(self.hi))
        if self.lo.dtype != np.float64 or self.hi.dtype != np.float64 or self.lo.shape != self.hi.shape:
            raise ValueError("bounds of an interval are float64 arrays of one shape")
        if not (self.lo <= self.hi).all():
            raise ValueError("a lower bound exceeds its upper bound, or is not a number")

    @staticmethod
    def between(lo: ArrayLike, hi: ArrayLike) -> Interval:
        """Broadcast two arrays of exact bounds to an array of intervals; ValueError for integers beyond 2^53."""
        low, high = np.broadcast_arrays(_exact(lo), _exact(hi))
        return Interval(low, high)

    def __getitem__(self, key: slice | tuple[slice, ...]) -> Interval:
        return Interval(self.lo[key], self.hi[key])

    def at_least(self, bound: float) -> Interval:
        """Raise the lower bounds to a known one, `bound`; ValueError where an interval lies below it."""
        return Interval(np.maximum(self.lo, bound), self.hi)

    @_quiet
    def widened(self, relative: float, absolute: float) -> Interval:
        """Enclose all numbers that differ from some x inside by at most relative |x| + absolute.

        Two zeros return the intervals unchanged. Worked value: [1, 2] with 0.5 and 1 becomes [-0.5, 4].

        Raises:
            ValueError: `relative` is not in [0, 1) or `absolute` is negative.
        """
        if not 0 <= relative < 1 or not absolute >= 0:
            raise ValueError("an error is relative in [0, 1) and absolute from 0")
        if relative == absolute == 0:
            return self
        below, above = (up(up(relative * np.abs(ends)) + absolute) for ends in (self.lo, self.hi))
        return _enclosing(down(self.lo - below), up(self.hi + above))

    @_quiet
    def __add__(self, other: Interval | ArrayLike) -> Interval:
        right = _interval(other)
        return _enclosing(down(self.lo + right.lo), up(self.hi + right.hi))

    @_quiet
    def __sub__(self, other: Interval | ArrayLike) -> Interval:
        right = _interval(other)
        return _enclosing(down(self.lo - right.hi), up(self.hi - right.lo))

    @_quiet
    def exp(self) -> Interval:
        """Enclose the exponential function; never below 0."""
        low, high = np.minimum(np.exp(self.lo), LARGEST), np.exp(self.hi)
        return _enclosing(np.maximum(low - exp_error(low), 0.0), high + exp_error(high))


def exp_error(y: Floats) -> Floats:
    """Bound the error of exp by its result `y`: 8 units of 2^-52 |y|, and underflow."""
    return np.abs(y) * (2 * ULPS * DOUBLE_UNIT) + SMALLEST_NORMAL


def _exact(x: ArrayLike) -> Floats:
    """Convert numbers to float64 exactly."""
    given: NDArray[np.generic] = np.asarray(x)
    if given.dtype.kind not in "fiu" or given.dtype.itemsize > 8:
        raise ValueError(f"no exact float64 numbers: {given.dtype}")
    if given.dtype.kind in "iu" and given.size and max(int(given.max()), -int(given.min())) > EXACT_WHOLE:
        raise ValueError("whole numbers beyond 2^53 are not all float64 numbers")
    return given.astype(np.float64)


def _interval(x: Interval | ArrayLike) -> Interval:
    """Return an interval as it is, and numbers as points."""
    return x if isinstance(x, Interval) else Interval.between(x, x)


def _enclosing(lo: Floats, hi: Floats) -> Interval:
    """Make an interval of bounds that were moved outward; NaN becomes infinite."""
    return Interval(np.fmax(lo, -np.inf), np.fmin(hi, np.inf))

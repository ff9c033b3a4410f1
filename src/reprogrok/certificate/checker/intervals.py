"""Arrays of intervals in float64: numbers known to lie between two bounds -> bounds of what is computed from them.

Every operation encloses: whatever real numbers lie in its operands, the true real result lies in its result. A bound
is first computed as floats are, then moved outward by what that may be off by (`certificate/checker/rounding.py`):

    + - * / sqrt        one rounding: the neighbouring number (`down`, `up`)
    sums, products      a bound over all orders of summation (`sum_error`)
    exp, erf            NumPy and SciPy are taken to be within 4 units in the last place; 8 are added (`beside`)

Results below the smallest normal number are taken to be anything between 0 and it. A bound that overflows is infinite,
and where nothing can be said (infinity minus itself) the interval is the whole line; a bound is never NaN.

An operand may be an `Interval`, an array or a number; the latter two are exact points. Shapes broadcast as NumPy's do.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import erf

from reprogrok.certificate.checker.rounding import DOUBLE_UNIT, Floats, down, gamma, sum_error, up

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

Axis = int | tuple[int, ...] | None
EXACT_WHOLE = 2**53  # whole numbers up to here are float64 numbers
SMALLEST_NORMAL, LARGEST = 2.0**-1022, float(np.finfo(np.float64).max)
ULPS = 8  # what is added on either side of an elementary function

_quiet = np.errstate(over="ignore", invalid="ignore")


@dataclass(frozen=True, eq=False)
class Interval:
    """An array of closed intervals.

    Attributes:
        lo: lower bounds, float64.
        hi: upper bounds, in the shape of `lo`.

    Raises:
        ValueError: if the two are no float64 arrays of one shape with lo <= hi.
    """

    lo: Floats
    hi: Floats

    __array_ufunc__ = None  # so that `array + interval` comes here

    def __post_init__(self) -> None:
        object.__setattr__(self, "lo", np.asarray(self.lo))  # NumPy turns arrays without axes into scalars
        object.__setattr__(self, "hi", np.asarray(self.hi))
        if self.lo.dtype != np.float64 or self.hi.dtype != np.float64 or self.lo.shape != self.hi.shape:
            raise ValueError("bounds of an interval are float64 arrays of one shape")
        if not (self.lo <= self.hi).all():
            raise ValueError("a lower bound exceeds its upper bound, or is not a number")

    @staticmethod
    def of(x: ArrayLike) -> Interval:
        """Take numbers as they are: intervals without width. Integers beyond 2^53 raise ValueError."""
        point = _exact(x)
        return Interval(point, point)

    @staticmethod
    def between(lo: ArrayLike, hi: ArrayLike) -> Interval:
        """Broadcast two arrays of exact bounds to one array of intervals."""
        low, high = np.broadcast_arrays(_exact(lo), _exact(hi))
        return Interval(low, high)

    # What an interval is.

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of either bound."""
        return self.lo.shape

    @property
    def mid(self) -> Floats:
        """A number inside each interval, about its middle; 0 where a bound is infinite."""
        middle = 0.5 * self.lo + 0.5 * self.hi
        inside = np.clip(middle, self.lo, self.hi)
        return np.where(np.isfinite(self.lo) & np.isfinite(self.hi), inside, 0.0)

    @property
    @_quiet
    def rad(self) -> Floats:
        """The radius around `mid`, rounded up: mid - rad <= lo and hi <= mid + rad. 0 where lo is hi."""
        middle = self.mid
        radius = np.maximum(self.hi - middle, middle - self.lo)
        return np.where(radius == 0, 0.0, up(radius))

    @property
    def magnitude(self) -> Floats:
        """The largest |x| of each interval."""
        return np.maximum(np.abs(self.lo), np.abs(self.hi))

    @property
    @_quiet
    def width(self) -> Floats:
        """The width of each interval, rounded up. 0 where lo is hi."""
        return np.where(self.lo == self.hi, 0.0, up(self.hi - self.lo))

    def contains(self, x: ArrayLike) -> NDArray[np.bool_]:
        """Tell where numbers lie inside, both ends counted."""
        point = _exact(x)
        return (self.lo <= point) & (point <= self.hi)

    # The same intervals, arranged otherwise; bounds are not moved.

    def __getitem__(self, key: Any) -> Interval:
        return Interval(self.lo[key], self.hi[key])

    def reshape(self, *shape: int) -> Interval:
        """Arrange in another shape."""
        return Interval(self.lo.reshape(shape), self.hi.reshape(shape))

    def broadcast_to(self, shape: tuple[int, ...]) -> Interval:
        """Repeat along new axes, without copying."""
        return Interval(np.broadcast_to(self.lo, shape), np.broadcast_to(self.hi, shape))

    def swapaxes(self, first: int, second: int) -> Interval:
        """Exchange two axes."""
        return Interval(self.lo.swapaxes(first, second), self.hi.swapaxes(first, second))

    def hull(self, other: Interval) -> Interval:
        """Take the smallest intervals that hold both."""
        return Interval(np.minimum(self.lo, other.lo), np.maximum(self.hi, other.hi))

    def intersect(self, other: Interval) -> Interval:
        """Take what two enclosures of the same numbers share; ValueError where that is nothing."""
        return Interval(np.maximum(self.lo, other.lo), np.minimum(self.hi, other.hi))

    def at_least(self, bound: float) -> Interval:
        """Use that the numbers are known to be at least `bound`; ValueError where an interval lies below it."""
        return Interval(np.maximum(self.lo, bound), self.hi)

    def max(self, axis: Axis = None) -> Interval:
        """Bound the largest of the numbers along an axis."""
        return Interval(self.lo.max(axis), self.hi.max(axis))

    def min(self, axis: Axis = None) -> Interval:
        """Bound the smallest of the numbers along an axis."""
        return Interval(self.lo.min(axis), self.hi.min(axis))

    @_quiet
    def widened(self, relative: ArrayLike, absolute: ArrayLike) -> Interval:
        """Enclose everything that differs from a number x inside by at most relative |x| + absolute.

        Zero on both sides gives the intervals as they are. Worked value: [1, 2] with 0.5 and 1 becomes [-0.5, 4].

        Raises:
            ValueError: if `relative` is not in [0, 1) or `absolute` is negative.
        """
        share, step = _exact(relative), _exact(absolute)
        if not (share >= 0).all() or not (share < 1).all() or not (step >= 0).all():
            raise ValueError("an error is relative in [0, 1) and absolute from 0")
        if not share.any() and not step.any():
            return self
        return _enclosing(
            down(self.lo - up(up(share * np.abs(self.lo)) + step)), up(self.hi + up(up(share * np.abs(self.hi)) + step))
        )

    # Arithmetic.

    def __neg__(self) -> Interval:
        return Interval(-self.hi, -self.lo)

    def __abs__(self) -> Interval:
        return Interval(np.maximum(0.0, np.maximum(self.lo, -self.hi)), self.magnitude)

    @_quiet
    def __add__(self, other: Interval | ArrayLike) -> Interval:
        right = _interval(other)
        return _enclosing(down(self.lo + right.lo), up(self.hi + right.hi))

    __radd__ = __add__

    @_quiet
    def __sub__(self, other: Interval | ArrayLike) -> Interval:
        right = _interval(other)
        return _enclosing(down(self.lo - right.hi), up(self.hi - right.lo))

    def __rsub__(self, other: Interval | ArrayLike) -> Interval:
        return -self + other

    @_quiet
    def __mul__(self, other: Interval | ArrayLike) -> Interval:
        right = _interval(other)
        corners = [self.lo * right.lo, self.hi * right.hi]
        if right.lo is not right.hi:
            corners += [self.lo * right.hi, self.hi * right.lo]
        return _spanning(corners)

    __rmul__ = __mul__

    @_quiet
    def __truediv__(self, other: Interval | ArrayLike) -> Interval:
        right = _interval(other)
        if ((right.lo <= 0) & (right.hi >= 0)).any():
            raise ValueError("division by an interval that contains 0")
        corners = [self.lo / right.lo, self.hi / right.hi]
        if right.lo is not right.hi:
            corners += [self.lo / right.hi, self.hi / right.lo]
        return _spanning(corners)

    def __rtruediv__(self, other: Interval | ArrayLike) -> Interval:
        return _interval(other) / self

    @_quiet
    def square(self) -> Interval:
        """Enclose x^2; never below 0, unlike x * x."""
        size = abs(self)
        return _enclosing(np.maximum(down(np.minimum(size.lo * size.lo, LARGEST)), 0.0), up(size.hi * size.hi))

    @_quiet
    def sum(self, axis: Axis = None) -> Interval:
        """Enclose the sum along an axis, or of everything."""
        terms = _terms(self.shape, axis)
        low, high = np.asarray(self.lo.sum(axis)), np.asarray(self.hi.sum(axis))
        below, above = (sum_error(terms, np.abs(ends).sum(axis)) for ends in (self.lo, self.hi))
        # A partial sum may overflow where the whole does not: nothing is known then.
        return _enclosing(
            np.where(np.isfinite(low), down(low - below), -np.inf),
            np.where(np.isfinite(high), up(high + above), np.inf),
        )

    def mean(self, axis: Axis = None) -> Interval:
        """Enclose the mean along an axis, or of everything."""
        return self.sum(axis) / float(_terms(self.shape, axis))

    def __matmul__(self, other: Interval | ArrayLike) -> Interval:
        return _product(self, _interval(other))

    def __rmatmul__(self, other: ArrayLike) -> Interval:
        return _product(_interval(other), self)

    # Functions, each the exact range over the interval but for what is added outward.

    @_quiet
    def sqrt(self) -> Interval:
        """Enclose the square root; ValueError where an interval reaches below 0."""
        if (self.lo < 0).any():
            raise ValueError("the square root of an interval that reaches below 0")
        return _enclosing(np.maximum(down(np.sqrt(self.lo)), 0.0), up(np.sqrt(self.hi)))

    def rsqrt(self) -> Interval:
        """Enclose 1/sqrt(x); ValueError where an interval reaches 0."""
        return 1.0 / self.sqrt()

    @_quiet
    def exp(self) -> Interval:
        """Enclose the exponential function; never below 0."""
        low, high = np.minimum(np.exp(self.lo), LARGEST), np.exp(self.hi)
        return _enclosing(np.maximum(low - beside(low), 0.0), high + beside(high))

    def erf(self) -> Interval:
        """Enclose the error function; never beyond -1 and 1."""
        low, high = erf(self.lo), erf(self.hi)
        return Interval(np.maximum(low - beside(low), -1.0), np.minimum(high + beside(high), 1.0))

    def cdf(self) -> Interval:
        """Enclose Phi(x) = (1 + erf(x / sqrt 2)) / 2, the share of a standard normal distribution below x.

        A point gets an interval of at most 4e-15 in width, also far out where Phi itself is smaller than that.
        """
        inside = ((self * ROOT_HALF).erf() + 1.0) * 0.5
        return Interval(np.maximum(inside.lo, 0.0), np.minimum(inside.hi, 1.0))

    def pdf(self) -> Interval:
        """Enclose phi(x) = exp(-x^2 / 2) / sqrt(2 pi), the density of a standard normal distribution."""
        return ((self.square() * -0.5).exp() * PDF_HIGHEST).at_least(0.0)

    def gelu(self) -> Interval:
        """Enclose GELU, x Phi(x): falling down to its lowest value at -0.7518, rising from there.

        Worked value: over [-1, 0] it spans [-0.16997120747990369, 0].
        """
        ends = _at_ends(self, lambda x: x * x.cdf())
        low = np.where(_reaches(self, GELU_LOWEST_AT), GELU_LOWEST.lo, np.maximum(ends.lo, GELU_LOWEST.lo))
        return Interval(low, ends.hi)

    def gelu_slope(self) -> Interval:
        """Enclose GELU's first derivative, Phi(x) + x phi(x): rising between -sqrt 2 and sqrt 2, falling elsewhere.

        Worked value: over the whole line it spans [-0.12890414518515479, 1.1289041451851548].
        """
        ends = _at_ends(self, lambda x: x.cdf() + x * x.pdf())
        low = np.where(_reaches(self, -ROOT_2), SLOPE_LOWEST.lo, np.maximum(ends.lo, SLOPE_LOWEST.lo))
        high = np.where(_reaches(self, ROOT_2), SLOPE_HIGHEST.hi, np.minimum(ends.hi, SLOPE_HIGHEST.hi))
        return Interval(low, high)

    def gelu_curvature(self) -> Interval:
        """Enclose GELU's second derivative, phi(x) (2 - x^2): of |x| falling down to 2, rising from there.

        Worked value: over the whole line it spans [-0.1079819330263761, 0.7978845608028654], from -+2 to 0.
        """
        size = abs(self)
        ends = _at_ends(size, lambda x: x.pdf() * (2.0 - x.square()))
        low = np.where(_reaches(size, Interval.of(2.0)), CURVATURE_LOWEST.lo, np.maximum(ends.lo, CURVATURE_LOWEST.lo))
        return Interval(low, np.minimum(ends.hi, 2.0 * PDF_HIGHEST.hi))


def beside(y: Floats) -> Floats:
    """Give more than what an elementary function's result `y` may be off by: 8 units of 2^-52 |y|, and underflow."""
    return np.abs(y) * (2 * ULPS * DOUBLE_UNIT) + SMALLEST_NORMAL


def where(condition: NDArray[np.bool_], yes: Interval, no: Interval) -> Interval:
    """Take the intervals of one array where a condition holds, of the other elsewhere."""
    return Interval(np.where(condition, yes.lo, no.lo), np.where(condition, yes.hi, no.hi))


def _exact(x: ArrayLike) -> Floats:
    """Turn numbers into float64 without changing any."""
    given = np.asarray(x)
    if given.dtype == np.float64:
        return given
    if given.dtype.kind not in "fiu" or given.dtype.itemsize > 8:
        raise ValueError(f"no exact float64 numbers: {given.dtype}")
    if given.dtype.kind in "iu" and given.size and max(int(given.max()), -int(given.min())) > EXACT_WHOLE:
        raise ValueError("whole numbers beyond 2^53 are not all float64 numbers")
    return given.astype(np.float64)


def _interval(x: Interval | ArrayLike) -> Interval:
    """Take an interval as it is and numbers as points."""
    return x if isinstance(x, Interval) else Interval.of(x)


def _enclosing(lo: Floats, hi: Floats) -> Interval:
    """Make an interval of bounds that were moved outward; what is not a number becomes infinite."""
    return Interval(np.fmax(lo, -np.inf), np.fmin(hi, np.inf))


def _spanning(corners: list[Floats]) -> Interval:
    """Span the results of one operation on the ends of its operands; one that is not a number makes the whole line."""
    return _enclosing(down(reduce(np.minimum, corners)), up(reduce(np.maximum, corners)))


def _terms(shape: tuple[int, ...], axis: Axis) -> int:
    """Count the numbers that one sum along an axis adds."""
    axes = range(len(shape)) if axis is None else (axis,) if isinstance(axis, int) else axis
    return math.prod(shape[i] for i in axes)


@_quiet
def _product(left: Interval, right: Interval) -> Interval:
    """Enclose a product of matrices around the product of their middles.

    With middles A, B and radii a, b the true product differs from AB by at most |A| b + a (|B| + b), and the computed
    AB from the true one by at most gamma(n) |A| |B| and the underflow of n products (S. M. Rump, Fast and parallel
    interval arithmetic, BIT 39, 1999).
    """
    terms = left.shape[-1]
    middle, size, rounding = left.mid @ right.mid, np.abs(left.mid), gamma(terms, DOUBLE_UNIT)
    spread = up(right.rad + up(rounding * np.abs(right.mid)))
    around = size @ spread
    radius = up(around + sum_error(terms, around))
    if left.lo is not left.hi:
        across = left.rad @ up(np.abs(right.mid) + right.rad)
        radius = up(radius + up(across + sum_error(terms, across)))
    known = np.isfinite(middle)  # a partial sum may overflow where the whole does not
    return _enclosing(np.where(known, down(middle - radius), -np.inf), np.where(known, up(middle + radius), np.inf))


def _at_ends(x: Interval, function: Callable[[Interval], Interval]) -> Interval:
    """Span a function's values at both ends of each interval."""
    return function(Interval(x.lo, x.lo)).hull(function(Interval(x.hi, x.hi)))


def _reaches(x: Interval, place: Interval) -> NDArray[np.bool_]:
    """Tell which intervals may hold a number that is known up to its own interval."""
    return (x.lo <= place.hi) & (x.hi >= place.lo)


def _about(nearest: float) -> Interval:
    """Enclose a number whose nearest float64 number is given."""
    return Interval(np.nextafter(nearest, -np.inf), np.nextafter(nearest, np.inf))


# What the shapes of GELU turn on.
ROOT_2 = _about(1.4142135623730951)
ROOT_HALF = _about(0.7071067811865476)
PDF_HIGHEST = _about(0.3989422804014327)  # phi(0) = 1 / sqrt(2 pi)
GELU_LOWEST_AT = _about(-0.7517915246935645)
GELU_LOWEST = _about(-0.16997120747990369)
SLOPE_LOWEST = _about(-0.12890414518515479)  # at -sqrt 2
SLOPE_HIGHEST = _about(1.1289041451851548)  # at sqrt 2
CURVATURE_LOWEST = _about(-0.1079819330263761)  # at -2 and 2: -2 phi(2)

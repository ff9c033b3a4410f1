from collections.abc import Callable
from operator import add, sub

import flint
import numpy as np
import pytest
from draws import draws
from flint import arb, fmpq
from hypothesis import given
from hypothesis import strategies as st

from reprogrok.certificate.checker import intervals
from reprogrok.certificate.checker.intervals import ULPS, Interval

BITS = 200
SMALLEST_NORMAL = 2.0**-1022
PAIRS = {"+": add, "-": sub}


@pytest.fixture(autouse=True)
def exact_oracle():
    before, flint.ctx.prec = flint.ctx.prec, BITS
    yield
    flint.ctx.prec = before


# The oracle: exact fractions where the result is one, else balls of 200 bits.


def fraction(x: float) -> fmpq:
    return fmpq(*float(x).as_integer_ratio())


def exact_exp(x: fmpq) -> arb:
    return arb(x).exp()


def points(x: np.ndarray) -> Interval:
    return Interval.between(x, x)


def outside(value: fmpq | arb, lo: float, hi: float) -> bool:
    """Surely outside: for a ball, all of it."""
    low, high = np.isfinite(lo), np.isfinite(hi)
    if isinstance(value, fmpq):
        return bool(low and value < fraction(lo)) or bool(high and value > fraction(hi))
    return bool(low and value < arb(lo)) or bool(high and value > arb(hi))


def count_outside(values: list, found: Interval) -> int:
    return sum(outside(value, lo, hi) for value, lo, hi in zip(values, found.lo.ravel(), found.hi.ravel(), strict=True))


def points_inside(x: Interval, where: np.ndarray) -> list[fmpq]:
    """At the fractions `where` (multiples of 1/64) of the way from lo to hi: seldom float64 numbers."""
    ends = zip(x.lo.ravel(), x.hi.ravel(), where.ravel(), strict=True)
    return [fraction(lo) + (fraction(hi) - fraction(lo)) * fmpq(int(w), 64) for lo, hi, w in ends]


def violations_of_exp(x: Interval, where: np.ndarray) -> int:
    return count_outside([exact_exp(p) for p in points_inside(x, where)], x.exp())


def violations_of_pair(sign: str, x: Interval, y: Interval, where: np.ndarray) -> int:
    values = [PAIRS[sign](p, q) for p, q in zip(points_inside(x, where), points_inside(y, where[::-1]), strict=True)]
    return count_outside(values, PAIRS[sign](x, y))


# What is tried: floats of every size, in intervals of every width.


def floats(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high) | st.floats(max(low, -4.0), min(high, 4.0))


@st.composite
def arrays(draw, low: float = -1e308, high: float = 1e308, count: int = 6):
    one = np.array(draw(st.lists(floats(low, high), min_size=count, max_size=count)))
    two = np.array(draw(st.lists(floats(low, high), min_size=count, max_size=count)))
    if draw(st.booleans()):  # about the same size, so that sums cancel and ranges are narrow
        two = np.clip(one * (1 + draw(st.sampled_from([0.0, 2.0**-52, 1e-9, 0.1]))), low, high)
    return Interval.between(np.minimum(one, two), np.maximum(one, two))


def fractions(count: int = 6) -> st.SearchStrategy[np.ndarray]:
    one = st.integers(0, 64) | st.sampled_from([0, 64])
    return st.lists(one, min_size=count, max_size=count).map(np.array)


@draws(150)
@given(arrays(-1000.0, 800.0), fractions())
def test_exp_encloses_its_exact_values(x, where):
    assert violations_of_exp(x, where) == 0


@pytest.mark.parametrize("sign", PAIRS)
@draws(150)
@given(data=st.data())
def test_an_operation_encloses_its_exact_results(sign, data):
    x, y = data.draw(arrays()), data.draw(arrays())
    assert violations_of_pair(sign, x, y, data.draw(fractions())) == 0


@draws(100)
@given(
    arrays(), fractions(), st.sampled_from([0.0, 2.0**-24, 0.5]), st.sampled_from([0.0, 2.0**-126, 3.0]), fractions()
)
def test_widening_holds_whatever_differs_by_no_more(x, where, relative, absolute, way):
    values = []
    for point, w in zip(points_inside(x, where), way, strict=True):
        signed = fmpq(int(w) - 32, 32)
        values.append(point + signed * (abs(point) * fraction(relative) + fraction(absolute)))
    assert count_outside(values, x.widened(relative, absolute)) == 0


def test_widening_by_nothing_changes_nothing_and_the_worked_value_holds():
    x = Interval.between([1.0, -3.0], [2.0, -3.0])
    assert x.widened(0.0, 0.0) is x
    wide = x.widened(0.5, 1.0)
    np.testing.assert_allclose(wide.lo, [-0.5, -5.5], rtol=1e-15)
    np.testing.assert_allclose(wide.hi, [4.0, -0.5], rtol=1e-15)
    for relative, absolute in ((1.0, 0.0), (-0.1, 0.0), (0.0, -1.0), (np.nan, 0.0)):
        with pytest.raises(ValueError, match="error is relative"):
            x.widened(relative, absolute)


# No wider than it need be.


def steps(x: Interval) -> int:
    """How many float64 numbers lie from lo to hi, at most, over the array."""
    bits = [np.asarray(ends).view(np.int64) for ends in (x.lo, x.hi)]
    lo, hi = (np.where(b >= 0, b, np.int64(-(2**63)) - b) for b in bits)
    return int((hi - lo).max())


def samples(seed: int, low: float, high: float, count: int = 20_000) -> np.ndarray:
    return np.random.default_rng(seed).uniform(low, high, count)


def test_results_on_points_are_a_few_units_wide():
    x, y = points(samples(1, -9.0, 9.0)), points(samples(2, 0.1, 9.0))
    for result in (x + y, x - y):
        assert steps(result) <= 2
    assert steps(points(samples(3, -650.0, 700.0)).exp()) <= 2 * (2 * ULPS + 1)


# What is assumed of NumPy.


def test_exp_is_within_half_of_what_is_added():
    ranges = [(-708.0, 709.7), (-1.0, 1.0), (-1e-9, 1e-9), (-1e-300, 1e-300)]
    x = np.concatenate([samples(8 + i, *ends, 5_000) for i, ends in enumerate(ranges)])
    for point, value in zip(x, np.exp(x), strict=True):
        assert abs(exact_exp(fraction(point)) - arb(value)) <= arb(float(np.spacing(abs(value)))) * (ULPS // 2), point


def test_results_beyond_the_range_of_floats_are_enclosed():
    x = samples(20, -760.0, -700.0, 5_000)
    assert violations_of_exp(points(x), np.zeros(len(x))) == 0
    assert (np.abs(np.exp(samples(21, -746.0, -709.0)) - 0.0) <= SMALLEST_NORMAL).all()
    far = points(np.array([-1e300, -800.0, 709.9, 1e300])).exp()
    assert (far.lo[:2] == 0).all()
    assert (far.hi[:2] <= SMALLEST_NORMAL).all()
    assert np.isfinite(far.lo).all()
    assert (far.hi[2:] == np.inf).all()


def test_overflow_and_the_whole_line_give_bounds_that_are_numbers():
    line, huge = Interval.between(-np.inf, np.inf), points(np.array([1e308, 1e308, -1e308]))
    half = Interval.between(0.0, np.inf)
    for result in (line + line, line - line, half - half, line.exp(), huge + huge, line.widened(0.1, 0.0)):
        assert not np.isnan([result.lo, result.hi]).any()


# Guards, each broken once.


def test_what_is_no_interval_is_refused():
    one = np.ones(2)
    for lo, hi in (
        (one, one * 0),
        (one * np.nan, one),
        (one, one * np.nan),
        (one, np.ones(3)),
        (one.astype("f4"), one),
    ):
        with pytest.raises(ValueError, match="bound"):
            Interval(lo, hi)
    with pytest.raises(ValueError, match="whole numbers beyond"):
        points(2**53 + 1)
    with pytest.raises(ValueError, match="no exact"):
        points(np.longdouble(1))
    with pytest.raises(ValueError, match="no exact"):
        points(1j)
    assert points(np.float32(0.1)).lo == float(np.float32(0.1))
    x = Interval.between([-1.0, 1.0], [1.0, 2.0])
    with pytest.raises(ValueError, match="bound"):
        x.at_least(1.5)
    assert (x.at_least(0.5).lo == [0.5, 1.0]).all()


def _unchanged(x: np.ndarray) -> np.ndarray:
    return x


def _counts() -> dict[str, Callable[[], int]]:
    """Violations of every operation on points, where only outward rounding saves it."""
    x, y = points(samples(30, 0.1, 9.0, 300)), points(samples(31, 0.1, 9.0, 300))
    ends = np.zeros(300, int)
    return {
        "+": lambda: violations_of_pair("+", x, y, ends),
        "-": lambda: violations_of_pair("-", x, y, ends),
        "exp": lambda: violations_of_exp(x, ends),
    }


@pytest.mark.parametrize(
    ("helper", "broken", "noticed"),
    [
        ("up", _unchanged, ["+", "-"]),
        ("down", _unchanged, ["+", "-"]),
        ("exp_error", lambda _y: 0.0, ["exp"]),
    ],
)
def test_each_helper_is_missed_where_it_is_needed(monkeypatch, helper, broken, noticed):
    counts = _counts()
    assert {name: count() for name, count in counts.items()} == dict.fromkeys(counts, 0)
    monkeypatch.setattr(intervals, helper, broken)
    assert {name: counts[name]() > 10 for name in noticed} == dict.fromkeys(noticed, True)

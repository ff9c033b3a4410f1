from collections.abc import Callable
from fractions import Fraction
from operator import add, mul, sub, truediv

import flint
import numpy as np
import pytest
from flint import arb, fmpq
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.special import erf

from reprogrok.certificate.checker import intervals
from reprogrok.certificate.checker.intervals import ULPS, Interval

BITS = 200
SMALLEST_NORMAL = 2.0**-1022


@pytest.fixture(autouse=True)
def exact_oracle():
    before, flint.ctx.prec = flint.ctx.prec, BITS
    yield
    flint.ctx.prec = before


# The oracle: exact fractions where the result is one, else balls of 200 bits.


def fraction(x: float) -> fmpq:
    return fmpq(*float(x).as_integer_ratio())


def density(x: arb) -> arb:
    return (-x * x / 2).exp() / (2 * arb.pi()).sqrt()


def share(x: arb) -> arb:
    return (-x / arb(2).sqrt()).erfc() / 2


EXACT: dict[str, Callable] = {
    "__neg__": lambda x: -x,
    "__abs__": abs,
    "square": lambda x: x * x,
    "sqrt": lambda x: arb(x).sqrt(),
    "rsqrt": lambda x: 1 / arb(x).sqrt(),
    "exp": lambda x: arb(x).exp(),
    "erf": lambda x: arb(x).erf(),
    "pdf": lambda x: density(arb(x)),
    "cdf": lambda x: share(arb(x)),
    "gelu": lambda x: arb(x) * share(arb(x)),
    "gelu_slope": lambda x: share(arb(x)) + arb(x) * density(arb(x)),
    "gelu_curvature": lambda x: density(arb(x)) * (2 - arb(x) ** 2),
}
PAIRS = {"+": add, "-": sub, "*": mul, "/": truediv}


def outside(value: fmpq | arb, lo: float, hi: float) -> bool:
    """Surely outside: for a ball, all of it."""
    low, high = np.isfinite(lo), np.isfinite(hi)
    if isinstance(value, fmpq):
        return bool(low and value < fraction(lo)) or bool(high and value > fraction(hi))
    return bool(low and value < arb(lo)) or bool(high and value > arb(hi))


def count_outside(values: list, found: Interval) -> int:
    return sum(outside(value, lo, hi) for value, lo, hi in zip(values, found.lo.ravel(), found.hi.ravel(), strict=True))


def points_inside(x: Interval, where: np.ndarray) -> list[fmpq]:
    """At the shares `where` (multiples of 1/64) of the way from lo to hi: seldom float64 numbers."""
    ends = zip(x.lo.ravel(), x.hi.ravel(), where.ravel(), strict=True)
    return [fraction(lo) + (fraction(hi) - fraction(lo)) * fmpq(int(w), 64) for lo, hi, w in ends]


def violations_of_function(name: str, x: Interval, where: np.ndarray) -> int:
    return count_outside([EXACT[name](p) for p in points_inside(x, where)], getattr(x, name)())


def violations_of_pair(sign: str, x: Interval, y: Interval, where: np.ndarray) -> int:
    values = [PAIRS[sign](p, q) for p, q in zip(points_inside(x, where), points_inside(y, where[::-1]), strict=True)]
    return count_outside(values, PAIRS[sign](x, y))


def violations_of_sum(x: Interval, where: np.ndarray) -> int:
    """Sums of rows."""
    rows = np.array(points_inside(x, where), dtype=object).reshape(x.shape)
    return count_outside([sum(row, fmpq(0)) for row in rows], x.sum(1))


def violations_of_product(x: Interval, y: Interval | np.ndarray, where_x: np.ndarray, where_y: np.ndarray) -> int:
    """Products of matrices, one or both of intervals."""
    right = y if isinstance(y, Interval) else Interval.of(y)
    rows = np.array(points_inside(x, where_x), dtype=object).reshape(x.shape)
    columns = np.array(points_inside(right, where_y), dtype=object).reshape(right.shape)
    return count_outside(list((rows @ columns).ravel()), x @ y)


# What is tried: floats of every size, in intervals of every width.


def floats(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high) | st.floats(max(low, -4.0), min(high, 4.0))


@st.composite
def arrays(draw, low: float = -1e308, high: float = 1e308, shape: tuple[int, ...] = (6,)):
    count = int(np.prod(shape))
    one = np.array(draw(st.lists(floats(low, high), min_size=count, max_size=count)))
    two = np.array(draw(st.lists(floats(low, high), min_size=count, max_size=count)))
    if draw(st.booleans()):  # about the same size, so that sums cancel and ranges are narrow
        two = np.clip(one * (1 + draw(st.sampled_from([0.0, 2.0**-52, 1e-9, 0.1]))), low, high)
    return Interval.between(np.minimum(one, two).reshape(shape), np.maximum(one, two).reshape(shape))


def shares(shape: tuple[int, ...] = (6,)) -> st.SearchStrategy[np.ndarray]:
    count = int(np.prod(shape))
    one = st.integers(0, 64) | st.sampled_from([0, 64])
    return st.lists(one, min_size=count, max_size=count).map(lambda values: np.array(values).reshape(shape))


DOMAINS = {"sqrt": (0.0, 1e308), "rsqrt": (5e-324, 1e308), "exp": (-1000.0, 800.0)} | dict.fromkeys(
    ("pdf", "cdf", "gelu", "gelu_slope", "gelu_curvature"), (-60.0, 60.0)
)


@pytest.mark.parametrize("name", EXACT)
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_function_encloses_its_exact_values(name, data):
    x = data.draw(arrays(*DOMAINS.get(name, (-1e308, 1e308))))
    assert violations_of_function(name, x, data.draw(shares())) == 0


@pytest.mark.parametrize("sign", PAIRS)
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_an_operation_encloses_its_exact_results(sign, data):
    x, y = data.draw(arrays()), data.draw(arrays())
    if sign == "/":
        assume(not y.contains(0.0).any())
    assert violations_of_pair(sign, x, y, data.draw(shares())) == 0


@settings(max_examples=100, deadline=None)
@given(arrays(shape=(2, 7)), shares((2, 7)))
def test_a_sum_encloses_its_exact_results(x, where):
    assert violations_of_sum(x, where) == 0
    # The mean is the exact sum, divided.
    rows = np.array(points_inside(x, where), dtype=object).reshape(x.shape)
    assert count_outside([sum(row, fmpq(0)) / 7 for row in rows], x.mean(1)) == 0


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_a_product_of_matrices_encloses_its_exact_results(data):
    x, y = data.draw(arrays(shape=(2, 5))), data.draw(arrays(shape=(5, 3)))
    where_x, where_y = data.draw(shares((2, 5))), data.draw(shares((5, 3)))
    assert violations_of_product(x, y, where_x, where_y) == 0
    assert violations_of_product(x, y.lo, where_x, where_y * 0) == 0
    left = np.array(points_inside(Interval.of(x.hi), where_x), dtype=object).reshape(2, 5)
    right = np.array(points_inside(y, where_y), dtype=object).reshape(5, 3)
    assert count_outside(list((left @ right).ravel()), x.hi @ y) == 0


@settings(max_examples=100, deadline=None)
@given(st.lists(floats(-1e150, 1e150), min_size=8, max_size=8), st.lists(floats(-1e150, 1e150), min_size=8, max_size=8))
def test_a_dot_product_that_cancels_to_nothing_is_enclosed(a, b):
    left, right = np.array([a + a]), np.array([b + [-y for y in b]]).T
    found = Interval.of(left) @ right
    assert found.contains(0.0).all()
    exact = sum((Fraction(x) * Fraction(y) for x, y in zip(left[0][:15], right[:15, 0], strict=True)), Fraction(0))
    found = Interval.of(left[:, :15]) @ right[:15]
    assert Fraction(found.lo[0, 0]) <= exact <= Fraction(found.hi[0, 0])


@settings(max_examples=100, deadline=None)
@given(arrays(), shares(), st.sampled_from([0.0, 2.0**-24, 0.5]), st.sampled_from([0.0, 2.0**-126, 3.0]), shares())
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


@settings(max_examples=100, deadline=None)
@given(arrays(), arrays(), shares())
def test_middle_radius_magnitude_and_width_cover_the_interval(x, y, where):
    for lo, hi, middle, radius, size, width, point in zip(
        x.lo, x.hi, x.mid, x.rad, x.magnitude, x.width, points_inside(x, where), strict=True
    ):
        assert lo <= middle <= hi
        reach = fraction(radius) if np.isfinite(radius) else fmpq(10**309)
        assert abs(point - fraction(middle)) <= reach
        assert abs(point) <= fraction(size)
        assert not np.isfinite(width) or fraction(hi) - fraction(lo) <= fraction(width)
        assert (lo == hi) == (radius == 0) == (width == 0)
    both = x.hull(y)
    assert count_outside(points_inside(x, where), both) == count_outside(points_inside(y, where), both) == 0
    assert (both.intersect(x).lo == x.lo).all()
    assert (both.intersect(x).hi == x.hi).all()


# No wider than it need be.


def steps(x: Interval) -> int:
    """How many float64 numbers lie from lo to hi, at most, over the array."""
    bits = [np.asarray(ends).view(np.int64) for ends in (x.lo, x.hi)]
    lo, hi = (np.where(b >= 0, b, np.int64(-(2**63)) - b) for b in bits)
    return int((hi - lo).max())


def samples(seed: int, low: float, high: float, count: int = 20_000) -> np.ndarray:
    return np.random.default_rng(seed).uniform(low, high, count)


def test_results_on_points_are_a_few_units_wide():
    x, y = Interval.of(samples(1, -9.0, 9.0)), Interval.of(samples(2, 0.1, 9.0))
    for result in (x + y, x - y, x * y, x / y, y.sqrt(), x.square()):
        assert steps(result) <= 2
    assert steps(y.rsqrt()) <= 8
    for result in (Interval.of(samples(3, -650.0, 700.0)).exp(), x.erf()):
        assert steps(result) <= 2 * (2 * ULPS + 1)
    assert steps(Interval.of(samples(4, -9.0, 9.0)).pdf()) <= 500  # exp of -40 feels each unit of -40 forty times
    assert x.cdf().width.max() <= 4e-15
    for result in (x.gelu(), x.gelu_slope(), x.gelu_curvature()):
        assert result.width.max() <= 5e-14
    a, b = samples(5, -1.0, 1.0, 600).reshape(40, 15), samples(6, -1.0, 1.0, 300).reshape(15, 20)
    assert ((Interval.of(a) @ b).width <= 4 * 16 * 2.0**-53 * (abs(a) @ abs(b))).all()
    assert ((Interval.of(a) @ Interval.of(b)).width <= 4 * 16 * 2.0**-53 * (abs(a) @ abs(b))).all()
    assert (Interval.of(a).sum(1).width <= 6 * 16 * 2.0**-53 * abs(a).sum(1)).all()


def exact_range(name: str, lo: float, hi: float) -> tuple[float, float]:
    turns = {"gelu": [GELU_TURN], "gelu_slope": [-arb(2).sqrt(), arb(2).sqrt()], "gelu_curvature": [-2, 0, 2]}
    at = [fraction(lo), fraction(hi), *(t for t in turns.get(name, [0]) if arb(lo) < t < arb(hi))]
    values = [float(arb(EXACT[name](t)).mid()) for t in at]
    return min(values), max(values)


def _gelu_turn() -> arb:
    low, high = fmpq(-1), fmpq(-1, 2)
    for _ in range(150):
        middle = (low + high) / 2
        low, high = (middle, high) if EXACT["gelu_slope"](middle) < 0 else (low, middle)
    return arb(low)


flint.ctx.prec = BITS
GELU_TURN = _gelu_turn()


@pytest.mark.parametrize("name", ["square", "erf", "cdf", "pdf", "gelu", "gelu_slope", "gelu_curvature"])
def test_ranges_are_exact_up_to_rounding(name):
    ends = np.sort(samples(7, -6.0, 6.0, 2_000).reshape(2, -1), axis=0)
    x = Interval.between(*ends)
    found = getattr(x, name)()
    exact = np.array([exact_range(name, lo, hi) for lo, hi in ends.T])
    np.testing.assert_allclose(found.lo, exact[:, 0], rtol=1e-13, atol=5e-14)
    np.testing.assert_allclose(found.hi, exact[:, 1], rtol=1e-13, atol=5e-14)


def test_the_turning_points_of_gelu_are_enclosed():
    root = arb(2).sqrt()
    truths = {
        "ROOT_2": root,
        "ROOT_HALF": 1 / root,
        "PDF_HIGHEST": density(arb(0)),
        "GELU_LOWEST_AT": GELU_TURN,
        "GELU_LOWEST": EXACT["gelu"](GELU_TURN),
        "SLOPE_LOWEST": EXACT["gelu_slope"](-root),
        "SLOPE_HIGHEST": EXACT["gelu_slope"](root),
        "CURVATURE_LOWEST": EXACT["gelu_curvature"](2),
    }
    for name, truth in truths.items():
        known = getattr(intervals, name)
        assert arb(float(known.lo)) < truth < arb(float(known.hi)), name
        assert steps(known) == 2


# What is assumed of NumPy and SciPy.


@pytest.mark.parametrize(
    ("computed", "exact", "ranges"),
    [
        (np.exp, EXACT["exp"], [(-708.0, 709.7), (-1.0, 1.0), (-1e-9, 1e-9), (-1e-300, 1e-300)]),
        (erf, EXACT["erf"], [(-7.0, 7.0), (-1.0, 1.0), (-1e-9, 1e-9), (0.84, 0.85), (5.9, 6.1)]),
    ],
)
def test_exp_and_erf_are_within_half_of_what_is_added(computed, exact, ranges):
    x = np.concatenate([samples(8 + i, *ends, 5_000) for i, ends in enumerate(ranges)])
    for point, value in zip(x, computed(x), strict=True):
        assert abs(exact(fraction(point)) - arb(value)) <= arb(float(np.spacing(abs(value)))) * (ULPS // 2), point


def test_results_beyond_the_range_of_floats_are_enclosed():
    x = samples(20, -760.0, -700.0, 5_000)
    assert violations_of_function("exp", Interval.of(x), np.zeros(len(x))) == 0
    assert (np.abs(np.exp(samples(21, -746.0, -709.0)) - 0.0) <= SMALLEST_NORMAL).all()
    far = Interval.of(np.array([-1e300, -800.0, 709.9, 1e300])).exp()
    assert (far.lo[:2] == 0).all()
    assert (far.hi[:2] <= SMALLEST_NORMAL).all()
    assert np.isfinite(far.lo).all()
    assert (far.hi[2:] == np.inf).all()
    small = np.array([5e-324, -5e-324, 1e-310, -3e-308, 2.3e-308])
    assert violations_of_function("erf", Interval.of(small), np.zeros(5)) == 0
    big = Interval.of(np.array([-1e300, -40.0, 40.0, 1e300]))
    for name, lo, hi in (("erf", -1, 1), ("cdf", 0, 1), ("pdf", 0, 1)):
        found = getattr(big, name)()
        assert (found.lo >= lo).all(), name
        assert (found.hi <= hi).all(), name
    assert big.gelu().contains([0.0, 0.0, 40.0, 1e300]).all()
    assert big.gelu_slope().contains([0.0, 0.0, 1.0, 1.0]).all()
    assert big.gelu_curvature().contains(0.0).all()


def test_overflow_and_the_whole_line_give_bounds_that_are_numbers():
    line, huge = Interval.between(-np.inf, np.inf), Interval.of([1e308, 1e308, -1e308])
    half = Interval.between(0.0, np.inf)
    results = [line + line, line - line, line * 0.0, line * line, half * 0.0, half - half, line.square(), line.sum()]
    results += [line.exp(), line.erf(), line.cdf(), line.pdf(), line.gelu(), line.gelu_slope(), line.gelu_curvature()]
    results += [
        huge + huge,
        huge * huge,
        -huge * huge,
        huge.sum(),
        half.sqrt(),
        1.0 / (half + 1.0),
        line.widened(0.1, 0.0),
    ]
    results += [line.reshape(1, 1) @ np.zeros((1, 1)), half.reshape(1, 1) @ line.reshape(1, 1)]
    for result in results:
        assert not np.isnan([result.lo, result.hi]).any()
    assert huge.square().lo[0] > 1.7e308  # the true 1e616 is a number
    # Partial sums overflow here, and the true results do not.
    assert huge.sum().contains(1e308)
    assert (huge.reshape(1, 3) @ np.ones((3, 1))).contains(1e308).all()


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
        Interval.of(2**53 + 1)
    with pytest.raises(ValueError, match="no exact"):
        Interval.of(np.longdouble(1))
    with pytest.raises(ValueError, match="no exact"):
        Interval.of(1j)
    assert Interval.of(np.float32(0.1)).lo == float(np.float32(0.1))
    x = Interval.between([-1.0, 1.0], [1.0, 2.0])
    for refused in (lambda: 1.0 / x, lambda: x / 0.0, x.rsqrt, x.sqrt, Interval.of(0.0).rsqrt):
        with pytest.raises(ValueError, match="interval"):
            refused()
    with pytest.raises(ValueError, match="bound"):
        x.intersect(x + 10.0)
    with pytest.raises(ValueError, match="bound"):
        x.at_least(1.5)
    assert (x.at_least(0.5).lo == [0.5, 1.0]).all()


def _unchanged(x: np.ndarray) -> np.ndarray:
    return x


def _nothing(*_: object) -> float:
    return 0.0


def _counts() -> dict[str, Callable[[], int]]:
    """Violations of every operation, where only outward rounding saves it: on points, and at corners."""
    x, y = Interval.of(samples(30, 0.1, 9.0, 300)), Interval.of(samples(31, 0.1, 9.0, 300))
    ends = np.zeros(300, int)
    rows, columns = x.reshape(20, 15), y.lo.reshape(15, 20) - 4.5
    sizes = np.full((1, 1000), 0.9 * 2.0**-54)  # each too small to be seen beside 1
    sizes[0, 0] = 1.0
    around, corner, ones = Interval.between(-sizes, sizes), np.full(1000, 64), np.ones((1000, 1))
    return {
        "+": lambda: violations_of_pair("+", x, y, ends),
        "-": lambda: violations_of_pair("-", x, y, ends),
        "*": lambda: violations_of_pair("*", x, y, ends),
        "/": lambda: violations_of_pair("/", x, y, ends),
        "square": lambda: violations_of_function("square", x, ends),
        "sqrt": lambda: violations_of_function("sqrt", x, ends),
        "rsqrt": lambda: violations_of_function("rsqrt", x, ends),
        "exp": lambda: violations_of_function("exp", x, ends),
        "erf": lambda: violations_of_function("erf", x, ends),
        "sum": lambda: violations_of_sum(rows, ends),
        "matmul": lambda: violations_of_product(rows, columns, ends, ends),
        "matmul of intervals": lambda: violations_of_product(rows, Interval.of(columns.copy()), ends, ends),
        "matmul at a corner": lambda: violations_of_product(around, ones, corner, corner),
    }


def test_rounding_to_nearest_is_caught_in_every_operation(monkeypatch):
    counts = _counts()
    assert {name: count() for name, count in counts.items()} == dict.fromkeys(counts, 0)
    for helper, broken in {
        "up": _unchanged, "down": _unchanged, "beside": _nothing, "sum_error": _nothing, "gamma": _nothing
    }.items():  # fmt: skip
        monkeypatch.setattr(intervals, helper, broken)
    caught = {name: count() for name, count in counts.items()}
    assert {name: count > 10 for name, count in caught.items() if "corner" not in name} == dict.fromkeys(
        (name for name in counts if "corner" not in name), True
    )
    assert caught["matmul at a corner"] > 0


@pytest.mark.parametrize(
    ("helper", "broken", "noticed"),
    [
        ("up", _unchanged, ["+", "-", "*", "/", "square", "sqrt", "rsqrt"]),
        ("down", _unchanged, ["+", "-", "*", "/", "square", "sqrt", "rsqrt"]),
        ("beside", _nothing, ["exp", "erf"]),
        ("sum_error", _nothing, ["sum", "matmul at a corner"]),
        ("gamma", _nothing, ["matmul", "matmul of intervals"]),
    ],
)
def test_each_helper_alone_is_missed_where_it_is_needed(monkeypatch, helper, broken, noticed):
    monkeypatch.setattr(intervals, helper, broken)
    counts = _counts()
    assert {name: counts[name]() > 0 for name in noticed} == dict.fromkeys(noticed, True)

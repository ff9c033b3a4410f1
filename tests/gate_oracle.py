"""A second reading of docs/gates.md, slow and plain: one condition and one series -> its parts with outcome and margin.

It shares no code with `reprogrok.judge`: numbers are exact fractions of their decimals, every pair of points is looked
at, and only the quantile of Student's t comes from SciPy. `random_case` draws what it is compared on.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from scipy import stats

HOLDS, FAILS, OPEN = "HOLDS", "FAILS", "INCONCLUSIVE"

# metric -> definition, smallest and largest possible value, where T = 8 positions and width 8
METRICS = {
    "test_accuracy": ("argmax/answer", 0, 1),
    "final_layer_rank": ("pca99/blockin", 1, 8),
    "attention_entropy": ("attn/all-queries", 0, math.log(math.factorial(8)) / 8),
    "weight_norm": ("l2/all-parameters", 0, math.inf),
    "train_smallest_margin": ("margin/answer/min-all", -math.inf, math.inf),
}


@dataclass(frozen=True)
class Case:
    """A condition as a criteria file writes it, and a series; `cells` maps steps to values."""

    metric: str
    condition: dict
    window: tuple[int, int]
    first: int
    every: int
    cells: dict[int, float]

    @property
    def grid(self):
        return range(self.first, self.window[1] + 1, self.every)


def read(case):
    """[(outcome, margin or None), ...], one for each part of the condition, and the number of grid points seen."""
    _, low, high = METRICS[case.metric]
    inside = {step: value for step, value in case.cells.items() if case.window[0] <= step <= case.window[1]}
    good = {step: Fraction(repr(value)) for step, value in inside.items() if _can_be(value, low, high)}
    seen = [step for step in case.grid if step in good]
    whole = len(seen) == len(case.grid) and len(good) == len(inside)
    ((name, settings),) = case.condition.items()
    if name == "flat":
        parts = [_changes(good, Fraction(repr(settings["drop_at_most"])), None, whole, sign=-1)]
        if "rise_at_most" in settings:
            parts.append(_changes(good, Fraction(repr(settings["rise_at_most"])), None, whole, sign=1))
        return parts + _slopes(case, good, settings, whole), len(seen)
    if name in {"max_drop", "max_rise"}:
        sign = -1 if name == "max_drop" else 1
        return [_changes(good, Fraction(repr(settings["at_most"])), settings.get("within"), whole, sign)], len(seen)
    ((relation, limit),) = settings.items()
    if name == "at_end":
        good = {step: value for step, value in good.items() if step == case.grid[-1]}
    sign = 1 if relation in {"at_least", "more_than"} else -1
    margins = [sign * (value - Fraction(repr(limit))) for value in good.values()]
    strict = relation in {"more_than", "less_than"}
    return [_settle(name, margins, [m > 0 or (m == 0 and not strict) for m in margins], whole)], len(seen)


def _can_be(value, low, high):
    if math.isnan(value) or math.isinf(value):
        return False
    excess = 1e-5 * max(1, abs(low), abs(value))
    return value >= low - excess and value <= high + excess


def _settle(name, margins, meet, whole):
    if not margins:
        return OPEN, None
    if name == "eventually":
        return ((HOLDS if any(meet) else FAILS) if whole else OPEN), max(margins)
    if not all(meet):
        return FAILS, min(margins)
    return (HOLDS if whole else OPEN), min(margins)


def _changes(good, limit, within, whole, sign):
    """Every pair: sign -1 looks at drops, +1 at rises."""
    changes = [
        sign * (good[later] - good[earlier])
        for earlier in good
        for later in good
        if earlier < later and (within is None or later - earlier <= within)
    ]
    return _settle("always", [limit - c for c in changes], [c <= limit for c in changes], whole)


def _slopes(case, good, settings, whole):
    if not whole:
        return [(OPEN, None), (OPEN, None)]
    lowest, highest = (Fraction(repr(end)) for end in settings["slope_between"])
    a, b = interval([(Fraction(step, 1000), good[step]) for step in case.grid], settings.get("confidence", 0.95))
    return [
        (HOLDS, a - lowest) if a >= lowest else (FAILS, b - lowest) if b < lowest else (OPEN, None),
        (HOLDS, highest - b) if b <= highest else (FAILS, highest - a) if a > highest else (OPEN, None),
    ]


def interval(points, confidence):
    """The two ends for points (x, y), by the normal equations."""
    n = len(points)
    sx, sy = sum(x for x, _ in points), sum(y for _, y in points)
    sxx, sxy = sum(x * x for x, _ in points), sum(x * y for x, y in points)
    slope = (n * sxy - sx * sy) / (n * sxx - sx * sx)
    start = (sy - slope * sx) / n
    e = [y - (start + slope * x) for x, y in points]
    if not any(e):
        return slope, slope
    square = sum(item**2 for item in e)
    r = max(Fraction(0), sum(e[i] * e[i + 1] for i in range(n - 1)) / square)
    m = n * (1 - r) / (1 + r)
    if m <= 2:
        return -math.inf, math.inf
    t = float(stats.t.isf((1 - confidence) / 2, float(m) - 2))
    half = t * math.sqrt(square / (m - 2) / (sxx - sx * sx / n))
    return slope - Fraction(half), slope + Fraction(half)


def random_case(rng):
    """A condition with any operator and a series with every kind of damage; `rng` is a `random.Random`."""
    metric = rng.choice(list(METRICS))
    low, high = METRICS[metric][1:]
    low, high = max(low, -3), min(high, 9)
    levels = [round(low + (high - low) * k / 8, 2) for k in range(9)]  # few levels: ties, and values at the limit
    name = rng.choice(["always", "eventually", "at_end", "max_drop", "max_rise", "flat"])
    every = rng.choice([1, 5, 10, 250])
    points = rng.randint(10, 14) if name == "flat" else rng.randint(2 if name.startswith("max") else 1, 12)
    start = rng.randint(0, 3 * every)
    first = start + rng.randint(0, every)
    end = first + (points - 1) * every + rng.randint(0, every - 1)
    case = Case(metric, _random_condition(rng, name, levels, every), (start, end), first, every, {})

    def value():
        return rng.choice(levels) if rng.random() < 0.7 else rng.uniform(low, high)

    case.cells.update({step: value() for step in case.grid})
    if rng.random() < 0.15:  # a line, exact in its decimals, or nothing but one level
        rise = rng.choice([0, 0, 0.01, -0.01])
        level = rng.choice(levels[3:6])
        case.cells.update({step: round(level + rise * i, 2) for i, step in enumerate(case.grid)})
    if rng.random() < 0.3:
        for _ in range(rng.randint(1, 4)):  # beside the grid, and outside the window
            case.cells.setdefault(rng.randint(max(0, start - every), end + every), value())
    _damage(rng, case, low, high)
    return case


def _damage(rng, case, low, high):
    """Values that are no numbers or cannot be, or almost cannot; a hole; an end that was never reached."""
    start, end = case.window
    if rng.random() < 0.25:
        for _ in range(rng.randint(1, 2)):
            damage = [math.nan, math.inf, -math.inf, high + 1.5, low - 1.5, high + 4e-6, low - 4e-6]
            case.cells[rng.randint(start, end)] = rng.choice(damage)
    if rng.random() < 0.2:
        case.cells.pop(rng.choice(list(case.grid)), None)
    if rng.random() < 0.15:
        cut, kept = rng.randint(start, end), rng.random() < 0.3
        for step in [step for step in case.cells if step >= cut]:
            if kept:
                case.cells[step] = math.nan
            else:
                del case.cells[step]


def _random_condition(rng, name, levels, every):
    gap = round(levels[-1] - levels[0], 2)
    if name == "flat":
        width = gap / rng.choice([1, 10, 100]) * 1000 / every
        middle = rng.choice([0, 0, width, -width])
        flat = {
            "drop_at_most": rng.choice([0, gap / 2, gap]),
            "slope_between": [middle - width / 2, middle + width / 2],
        }
        if rng.random() < 0.2:
            exact = rng.choice([0.0, round(0.01 * 1000 / every, 6)])
            flat["slope_between"] = [exact, exact] if rng.random() < 0.5 else [exact, exact + width]
        if rng.random() < 0.5:
            flat["rise_at_most"] = rng.choice([0, gap / 2, gap])
        if rng.random() < 0.5:
            flat["confidence"] = rng.choice([0.5, 0.8, 0.99, 0.9999])
        return {name: flat}
    if name.startswith("max"):
        settings = {"at_most": rng.choice([0, round(gap / 8, 2), round(gap / 2, 2), gap])}
        return {name: settings | ({"within": rng.randint(every, 4 * every)} if rng.random() < 0.5 else {})}
    return {name: {rng.choice(["at_least", "more_than", "at_most", "less_than"]): rng.choice(levels)}}

"""Two runs -> the grok times of each, the delay factor between them, and their metrics before and after.

    records --identify--> what differs between them (runs.identity)
            --grok times--> median over the seeds, as an interval | never | not recorded --> delay factor, rates
            --levels--> every metric at its first evaluation, at the grok step, at the end

A time is the interval between two evaluations, censored if the event did not happen, so the quotient of two times is an
interval or a bound. Several seeds are summarised by their median, which allows censored times; its interval by order
statistics holds for any distribution, and its coverage is always given. Metrics of different definitions are never
compared: they are listed with both ids.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from scipy.special import bdtr

from reprogrok.errors import InputError
from reprogrok.metrics.grokking import (
    GROK_THRESHOLDS,
    MEMORISED,
    Censored,
    MaxRise,
    StepInterval,
    Time,
    ends,
    first_above,
    max_rise5,
    measured,
    quotients,
    within,
)
from reprogrok.metrics.registry import GENERALISATION, MEMORISATION
from reprogrok.record import Record
from reprogrok.runs.curves import grok_step
from reprogrok.runs.identity import Identity, identify, run_labels
from reprogrok.stats.exact_tests import fisher
from reprogrok.stats.proportions import CONFIDENCE, Proportion, proportion

COMMON = "at the common step"
MOMENTS = ("first", "at grok", COMMON, "end")


@dataclass(frozen=True)
class Median:
    """The median of n values, each known to lie in an interval, and an interval for the median of their law.

    Attributes:
        n: number of values.
        low: median of the lower ends; equal to `high` for values that are known exactly.
        high: median of the upper ends; infinite if at least half of the values have none.
        bounds: from the j-th lowest lower end to the j-th highest upper end; None with one value.
        coverage: least probability that `bounds` hold the median of the values' law; None with one value.
        whole: whether `bounds` go from the lowest value to the highest, because no narrower pair covers 95 %.
    """

    n: int
    low: float
    high: float
    bounds: tuple[float, float] | None
    coverage: float | None
    whole: bool


@dataclass(frozen=True)
class Event:
    """The times of one event in the seeds of one run.

    Attributes:
        times: seed -> time.
        median: median over the seeds whose time is known or censored; None if there is none.
        rate: measured seeds that reached it within the run; None if none was measured.
    """

    times: Mapping[int, Time]
    median: Median | None
    rate: Proportion | None


@dataclass(frozen=True)
class Factor:
    """Time of the second run / time of the first, between the medians over their seeds.

    Attributes:
        low: least possible quotient; None if nothing bounds it.
        high: largest possible quotient; None if nothing bounds it.
        bounds: the same between the ends of both medians' intervals; None unless a run has several seeds.
        coverage: a lower bound of the probability that `bounds` hold the quotient of the medians (Bonferroni).
    """

    low: float | None
    high: float | None
    bounds: tuple[float | None, float | None] | None
    coverage: float | None


@dataclass(frozen=True)
class Timing:
    """One event in both runs.

    Attributes:
        name: heading in a table.
        metric: the metric whose series was read.
        definition: id of the estimator.
        runs: the event in either run.
        factor: second / first; None where there is none.
        reason: the reason why there is no factor.
        notes: a caveat for either run's event.
        by_common: rates by the last step that both runs evaluated, and Fisher's two-sided p; None if undecided.
    """

    name: str
    metric: str
    definition: str
    runs: tuple[Event, Event]
    factor: Factor | None
    reason: str = ""
    notes: tuple[str, str] = ("", "")
    by_common: tuple[Proportion, Proportion, float] | None = None


@dataclass(frozen=True)
class Level:
    """A metric at one moment of one run: the median over the seeds, and the steps at which it was read."""

    median: Median | None
    steps: tuple[int, ...]


@dataclass(frozen=True)
class Course:
    """One metric of one definition in both runs, at `MOMENTS`."""

    metric: str
    definition: str
    runs: tuple[tuple[Level, ...], tuple[Level, ...]]


@dataclass(frozen=True)
class NotCompared:
    """A metric without one definition in both runs, with its id in either (None where a run lacks it)."""

    metric: str
    first: str | None
    second: str | None


@dataclass(frozen=True)
class RunComparison:
    """Two runs side by side, as the module's docstring describes."""

    labels: tuple[str, str]
    records: tuple[Record, Record]
    identity: Identity
    common_steps: int | None
    timings: tuple[Timing, ...]
    courses: tuple[Course, ...]
    not_compared: tuple[NotCompared, ...]


def compare_runs(records: Sequence[Record]) -> RunComparison:
    """Compare two runs in every metric that has one definition in both.

    Raises:
        InputError: not two different runs, or no metric has one definition in both.
    """
    if len(records) != 2:
        raise InputError("runs are compared two at a time", expected="RUN_A RUN_B", found=str(len(records)))
    first, second = records
    one, other = run_labels(records)
    ids = [_definitions(record) for record in records]
    names = dict.fromkeys((*ids[0], *ids[1]))
    shared = [name for name in names if ids[0].get(name) == ids[1].get(name)]
    apart = tuple(NotCompared(name, ids[0].get(name), ids[1].get(name)) for name in names if name not in shared)
    if not shared:
        found = "; ".join(f"{entry.metric} is {entry.first} against {entry.second}" for entry in apart)
        expected = "a metric with one definition in both"
        raise InputError(f"{one} and {other} cannot be compared", expected=expected, found=found or "no metrics")
    both = (first, second)
    common = _common_steps(both)
    return RunComparison(
        labels=(one, other),
        records=both,
        identity=identify(first, second),
        common_steps=common,
        timings=_timings(both, shared, common),
        courses=tuple(_course(both, name, ids[0][name] or "", common) for name in shared),
        not_compared=apart,
    )


def _definitions(record: Record) -> dict[str, str | None]:
    """Return metric -> definition id; a metric without one gets an id of its run, which equals no other."""
    names = dict.fromkeys(name for replica in record.replicas.values() for name in replica)
    return {name: record.definitions.get(name, f"no definition ({record.path.as_posix()})") for name in names}


def _common_steps(records: tuple[Record, Record]) -> int | None:
    """Return the last step up to which every seed that did not diverge was evaluated, in both runs."""
    ends = [
        max(series.steps[-1] for series in replica.values())
        for record in records
        for seed, replica in record.replicas.items()
        if seed not in record.diverged and any(series.steps for series in replica.values())
    ]
    return min(ends, default=None)


def _timings(records: tuple[Record, Record], shared: Sequence[str], common: int | None) -> tuple[Timing, ...]:
    found = [
        _threshold_timing(records, metric, MEMORISED, "memorised", common)
        for metric in MEMORISATION
        if _can_be_timed(records, metric, shared)
    ][:1]
    for metric in GENERALISATION:
        if metric in shared:
            found += [_threshold_timing(records, metric, level, "generalised", common) for level in GROK_THRESHOLDS]
            found.append(_rise_timing(records, metric))
            break
    return tuple(found)


def _can_be_timed(records: tuple[Record, Record], metric: str, shared: Sequence[str]) -> bool:
    """Return whether only one run has the metric, or both with one definition."""
    return metric in shared or sum(metric in _definitions(record) for record in records) == 1


def _threshold_timing(
    records: tuple[Record, Record], metric: str, level: float, word: str, common: int | None
) -> Timing:
    times = [
        {seed: first_above(replica.get(metric), level) for seed, replica in record.replicas.items()}
        for record in records
    ]
    first, second = (_event(one) for one in times)
    definition = next(iter(times[0].values())).definition
    factor, reason = _factor(first.median, second.median)
    name = f"{word} ({level:.0%})".replace("%", " %")
    return Timing(name, metric, definition, (first, second), factor, reason, by_common=_rates_by(first, second, common))


def _event(times: Mapping[int, Time]) -> Event:
    known = [time for time in times.values() if isinstance(time, StepInterval | Censored)]
    reached = sum(isinstance(time, StepInterval) for time in known)
    return Event(times, median_of(list(map(ends, known))), proportion(reached, len(known)) if known else None)


def _rates_by(first: Event, second: Event, common: int | None) -> tuple[Proportion, Proportion, float] | None:
    """Compare the rates by a step that both runs reached, which gives neither more time."""
    counts = []
    for event in (first, second):
        known = [time for time in event.times.values() if isinstance(time, StepInterval | Censored)]
        if common is None or not known:
            return None
        # A censored seed that ended earlier diverged: it did not reach the event.
        by_then = [isinstance(time, StepInterval) and within(time, common) for time in known]
        if None in by_then:
            return None  # between two evaluations of the run with the coarser grid
        counts.append(proportion(by_then.count(True), len(known)))
    one, other = counts
    return one, other, fisher(one.k, one.n, other.k, other.n)


def _rise_timing(records: tuple[Record, Record], metric: str) -> Timing:
    """Compare `max-rise5`, a step; a rise below its threshold need not be a transition and has no factor."""
    events, notes, doubtful = [], [], []
    for record in records:
        rises = {seed: max_rise5(replica.get(metric)) for seed, replica in record.replicas.items()}
        known = {seed: rise for seed, rise in rises.items() if isinstance(rise, MaxRise)}
        definition = next(iter(rises.values())).definition
        times: dict[int, Time] = {
            seed: StepInterval(rise.step - 1, rise.step, definition) if isinstance(rise, MaxRise) else rise
            for seed, rise in rises.items()
        }
        below = [rise for rise in known.values() if rise.below_threshold]
        doubtful.append(2 * len(below) >= len(known) > 0)
        notes.append(_rise_note(list(known.values()), below))
        events.append(Event(times, median_of([(float(r.step), float(r.step)) for r in known.values()]), None))
    first, second = events
    factor, reason = _factor(first.median, second.median)
    if any(doubtful):
        factor, reason = None, "a rise below 0.15 need not be a transition"
    return Timing("max-rise5", metric, definition, (first, second), factor, reason, (notes[0], notes[1]))


def _rise_note(rises: Sequence[MaxRise], below: Sequence[MaxRise]) -> str:
    if len(rises) == 1:
        if rises[0].rise is None:
            return "too few evaluations"
        return f"rise {rises[0].rise:.3g}{', below 0.15' if below else ''}"
    return f"{len(below)} of {len(rises)} seeds below 0.15" if below else ""


def _factor(first: Median | None, second: Median | None) -> tuple[Factor | None, str]:
    """Return the quotient of two times, a step below 1 counting as 1, or the reason why there is none."""
    if first is None or second is None:
        return None, "not recorded in both"
    low, high = quotients((first.low, first.high), (second.low, second.high))
    if low is None and high is None:
        return None, "neither got there"
    bounds, coverage = None, None
    if first.bounds is not None or second.bounds is not None:
        one = first.bounds or (first.low, first.high)
        other = second.bounds or (second.low, second.high)
        bounds = quotients(one, other)
        missed = sum(1 - median.coverage for median in (first, second) if median.coverage is not None)
        coverage = max(0.0, 1 - missed)
    return Factor(low, high, bounds, coverage), ""


def median_of(values: Sequence[tuple[float, float]], confidence: float = CONFIDENCE) -> Median | None:
    """Return the median of values that lie in intervals, with an interval by order statistics.

    Args:
        values: lower and upper end of each value; the upper may be infinite.
        confidence: the narrowest pair j-th lowest, j-th highest that covers the median with at least this probability
            is taken, and lowest to highest where no pair does.

    The pair covers with probability 1 - 2 P(Binomial(n, 1/2) < j) whatever the law (Conover, Practical Nonparametric
    Statistics, section 3.2). Worked values: 8 seeds give lowest to highest, 99.2 %; 9 the second lowest to the second
    highest, 96.1 %; 5 lowest to highest, 93.75 %.
    """
    if not values:
        return None
    n = len(values)
    lows, highs = (sorted(column) for column in zip(*values, strict=True))
    if n == 1:
        return Median(1, lows[0], highs[0], None, None, whole=True)
    rank = max((j for j in range(1, (n + 1) // 2 + 1) if _coverage(n, j) >= confidence), default=1)
    bounds = (lows[rank - 1], highs[n - rank])
    return Median(n, median(lows), median(highs), bounds, _coverage(n, rank), whole=rank == 1)


def _coverage(n: int, rank: int) -> float:
    return 1 - 2 * float(bdtr(rank - 1, n, 0.5))


def _course(records: tuple[Record, Record], metric: str, definition: str, common: int | None) -> Course:
    first, second = (_levels(record, metric, common) for record in records)
    return Course(metric, definition, (first, second))


def _levels(record: Record, metric: str, common: int | None) -> tuple[Level, ...]:
    read: list[list[tuple[int, float]]] = [[] for _ in MOMENTS]
    for replica in record.replicas.values():
        if (series := replica.get(metric)) is None or not (points := measured(series)):
            continue
        # Rank and entropy are taken more rarely than accuracy: the nearest measurement, the earlier of two.
        for found, step in zip(read, (points[0][0], grok_step(replica), common, points[-1][0]), strict=True):
            if step is not None:
                found.append(min(points, key=lambda point: (abs(point[0] - step), point[0])))
    return tuple(
        Level(median_of([(value, value) for _, value in points]), tuple(dict.fromkeys(step for step, _ in points)))
        for points in read
    )

"""A comparison of two runs -> tables: their differences, grok times, and metrics before and after the grok step."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from reprogrok.metrics.grokking import StepInterval
from reprogrok.metrics.registry import Use, used_in
from reprogrok.runs.comparison import COMMON, MOMENTS, Course, Event, Factor, Level, Median, RunComparison
from reprogrok.runs.identity import NOT_STATED, Identity
from reprogrok.stats.proportions import Proportion, interval_text
from reprogrok.text import counted, seeds_text

# Shown if both runs have them; the JSON holds every metric.
_SHOWN = used_in(Use.COMPARISON)


def print_run_comparison(comparison: RunComparison, console: Console) -> None:
    """Print identity, grok times, and metrics before and after."""
    one, other = comparison.labels
    console.print(Text(f"{one} against {other}", style="bold"), soft_wrap=True)
    _print_identity(comparison, console)
    if comparison.timings:
        _print_timings(comparison, console)
    _print_courses(comparison, console)
    for entry in comparison.not_compared:
        lacking = [label for label, id_ in zip(comparison.labels, (entry.first, entry.second), strict=True) if not id_]
        why = f"not in {lacking[0]}" if lacking else f"{entry.first} against {entry.second}"
        console.print(f"not compared: {entry.metric} ({why})", soft_wrap=True)


def _print_identity(comparison: RunComparison, console: Console) -> None:
    identity = comparison.identity
    console.print(f"experimental identity: {identity.sentence}", soft_wrap=True)
    same = [
        f"{name} {_apart(first)}" for name, (first, second) in identity.apart.items() if first == second != NOT_STATED
    ]
    if identity.same or same:
        console.print(f"  the same in both: {', '.join([*_groups(identity.same), *same])}", soft_wrap=True)
    if identity.one_sided:
        console.print(f"  stated by one alone: {', '.join(_groups(identity.one_sided))}", soft_wrap=True)
    for note in identity.notes:
        console.print(f"  {note}", soft_wrap=True)
    if (table := _settings(comparison.labels, identity)).row_count:
        console.print(table)


def _groups(paths: Sequence[str]) -> list[str]:
    """Group paths by their first part: `batch`, `model (7 settings)`."""
    groups: dict[str, list[str]] = {}
    for path in paths:
        groups.setdefault(path.partition(".")[0], []).append(path)
    return [names[0] if len(names) == 1 else f"{group} ({len(names)} settings)" for group, names in groups.items()]


def _settings(labels: tuple[str, str], identity: Identity) -> Table:
    table = _table("what", "setting", *labels)
    for entry in identity.differences:
        table.add_row(str(entry.kind), entry.path, _value(entry.first), _value(entry.second))
    for name, (first, second) in identity.apart.items():
        if first != second:
            table.add_row("apart", name, _apart(first), _apart(second))
    return table


def _apart(value: object) -> str:
    return seeds_text(value) if isinstance(value, tuple) else _value(value)


def _table(*columns: str) -> Table:
    table = Table(box=SIMPLE)
    for name in columns:
        table.add_column(name, overflow="fold")
    return table


def _value(value: object) -> str:
    if isinstance(value, bool) or value is None:
        return str(value).lower() if value is not None else "none"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _print_timings(comparison: RunComparison, console: Console) -> None:
    metrics = ", ".join(dict.fromkeys(timing.metric for timing in comparison.timings))
    console.print(Text("grok times", style="bold"))
    console.print(f"  of {metrics}; (not yet at this evaluation, there at this one], in steps", soft_wrap=True)
    several = any(len(record.replicas) > 1 for record in comparison.records)
    one, other = comparison.labels
    table = _table("", one, other, f"{other} / {one}")
    for timing in comparison.timings:
        cells = (_event(event, note) for event, note in zip(timing.runs, timing.notes, strict=True))
        table.add_row(timing.name, *cells, timing.reason if timing.factor is None else _factor(timing.factor))
    console.print(table)
    if not any(timing.name.startswith("memorised") for timing in comparison.timings):
        console.print("  memorised: neither run recorded accuracy in training", soft_wrap=True)
    if several:
        _print_rates(comparison, console)
        console.print(
            "  [ ]: two of the ordered seeds, and how probably they enclose the median over all seeds there could be;"
            " lowest to highest where no narrower pair reaches 95 %; of a factor, from the ends of both",
            soft_wrap=True,
        )


def _event(event: Event, note: str) -> str:
    if event.median is None:
        return "not recorded"
    text = f" ({note})" if note else ""
    if len(event.times) == 1:
        (time,) = event.times.values()
        if isinstance(time, StepInterval):
            exact = event.median.low == event.median.high
            after = "start" if time.after is None else f"{time.after:,}"
            return (f"{time.by:,}" if exact else f"({after}, {time.by:,}]") + text
        return f"not until {event.median.low - 1:,.0f}{text}"
    reached = "" if event.rate is None else f"{event.rate.k} of {event.rate.n}; "
    return f"{reached}median {_interval(event.median, '{:,.0f}')}{text}"


def _interval(found: Median, number: str) -> str:
    """Write the median, or the interval it lies in, then the interval over the seeds."""
    middle = _range(found.low, found.high, number)
    if found.bounds is None or found.coverage is None:
        return middle
    return f"{middle} [{_range(*found.bounds, number)}; {found.coverage:.1%}]".replace("%", " %")


def _range(low: float | None, high: float | None, number: str) -> str:
    if low is None or high is None or math.isinf(high):
        if low is not None and math.isfinite(low):
            return f"at least {number.format(low)}"
        return "-" if high is None or math.isinf(high) else f"at most {number.format(high)}"
    first, second = number.format(low), number.format(high)
    return first if first == second else f"{first} to {second}"


def _factor(factor: Factor) -> str:
    text = _range(factor.low, factor.high, "{:.4g}")
    if factor.bounds is None or factor.coverage is None:
        return text
    return f"{text} [{_range(*factor.bounds, '{:.4g}')}; {factor.coverage:.1%}]".replace("%", " %")


def _print_rates(comparison: RunComparison, console: Console) -> None:
    console.print(Text("seeds that got there", style="bold"))
    one, other = comparison.labels
    table = _table("", "by step", one, other, "Fisher's exact p")
    for timing in comparison.timings:
        ended = [event.rate for event in timing.runs if event.rate is not None]
        by_common = timing.by_common
        if by_common is not None and comparison.common_steps is not None:
            first, second, p = by_common
            table.add_row(timing.name, f"{comparison.common_steps:,}", _rate(first), _rate(second), f"{p:.3g}")
        if len(ended) == 2 and (by_common is None or ended != list(by_common[:2])):
            table.add_row(timing.name, "the end of each", *map(_rate, ended), "")
    console.print(table)


def _rate(rate: Proportion) -> str:
    return f"{rate.k} of {rate.n} ({interval_text(rate)})"


def _print_courses(comparison: RunComparison, console: Console) -> None:
    shown = {course.metric: course for course in comparison.courses}
    rows = [shown[name] for name in _SHOWN if name in shown]
    console.print(Text("before, at and after the grok step", style="bold"))
    console.print("  grok step: first evaluation at or above 90 %; the nearest measurement is shown", soft_wrap=True)
    one, other = comparison.labels
    table = _table("metric", "definition", "when", one, other)
    for course in rows:
        _add_course(table, course, comparison.common_steps)
    console.print(table)
    if len(rows) < len(shown):
        console.print(f"  {counted(len(shown) - len(rows), 'more metric')} in the JSON", soft_wrap=True)


def _add_course(table: Table, course: Course, common: int | None) -> None:
    names = (course.metric, course.definition)
    for index, moment in enumerate(MOMENTS):
        levels = [of_run[index] for of_run in course.runs]
        if moment == COMMON and levels == [of_run[-1] for of_run in course.runs]:
            continue  # both ended there
        when = f"at step {common:,}" if moment == COMMON else moment
        # Some seeds may never grok: the largest count of any moment is the number of seeds.
        counts = (max(_count(level) for level in of_run) for of_run in course.runs)
        cells = (_level(level, seeds) for level, seeds in zip(levels, counts, strict=True))
        table.add_row(*names, when, *cells, end_section=moment == MOMENTS[-1])
        names = ("", "")


def _count(level: Level) -> int:
    return 0 if level.median is None else level.median.n


def _level(level: Level, seeds: int) -> str:
    if level.median is None:
        return "-"
    at = f" at {level.steps[0]:,}" if len(level.steps) == 1 else ""
    fewer = f" ({level.median.n} of {seeds} seeds)" if level.median.n < seeds else ""
    return f"{_interval(level.median, '{:.4g}')}{at}{fewer}"

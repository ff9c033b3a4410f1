"""A comparison of two runs -> plain data: the whole of it for JSON, and its numbers alone for a DVC metrics file."""

from __future__ import annotations

import math

from reprogrok.metrics.grokking import StepInterval, Time, Unknown
from reprogrok.record import Record
from reprogrok.runs.comparison import MOMENTS, Course, Event, Factor, Level, Median, RunComparison, Timing
from reprogrok.stats.proportions import Proportion

FORMAT = "reprogrok.run_comparison/1"


def document_of(comparison: RunComparison) -> dict[str, object]:
    """Return the comparison as plain data; an end that nothing bounds is null."""
    identity = comparison.identity
    return {
        "format": FORMAT,
        "runs": [_run(*pair) for pair in zip(comparison.labels, comparison.records, strict=True)],
        "identity": {
            "sentence": identity.sentence,
            "only_split_differs": identity.only_split_differs,
            "differences": [
                {"setting": entry.path, "kind": str(entry.kind), "values": [entry.first, entry.second]}
                for entry in identity.differences
            ],
            "same": list(identity.same),
            "one_sided": list(identity.one_sided),
            "apart": {name: list(values) for name, values in identity.apart.items()},
            "notes": list(identity.notes),
        },
        "common_steps": comparison.common_steps,
        "grok_times": [_timing(timing) for timing in comparison.timings],
        "metrics": [_course(course) for course in comparison.courses],
        "not_compared": [vars(entry) for entry in comparison.not_compared],
    }


def metrics_of(comparison: RunComparison) -> dict[str, object]:
    """Return the numbers that a pipeline tracks, as nested dicts."""
    times: dict[str, dict[str, dict[str, float]]] = {label: {} for label in comparison.labels}
    factors: dict[str, dict[str, float]] = {}
    for timing in comparison.timings:
        for label, event in zip(comparison.labels, timing.runs, strict=True):
            if event.median is not None:
                times[label][timing.name] = _finite(event.median.low, event.median.high)
            if event.rate is not None:
                times[label][timing.name] |= {"reached": event.rate.k, "seeds": event.rate.n}
        if timing.factor is not None:
            factors[timing.name] = _finite(timing.factor.low, timing.factor.high)
    return {"grok step": times, "delay factor": factors}


def _finite(low: float | None, high: float | None) -> dict[str, float]:
    ends = (("from", low), ("to", high))
    return {name: _plain(end) for name, end in ends if end is not None and math.isfinite(end)}


def _plain(number: float) -> float:
    return int(number) if float(number).is_integer() else number


def _run(label: str, record: Record) -> dict[str, object]:
    return {
        "label": label,
        "path": record.path.as_posix(),
        "layout": record.layout,
        "seeds": sorted(record.replicas),
        "diverged": {str(seed): step for seed, step in record.diverged.items()},
    }


def _timing(timing: Timing) -> dict[str, object]:
    common = timing.by_common
    return {
        "event": timing.name,
        "metric": timing.metric,
        "definition": timing.definition,
        "runs": [_event(event, note) for event, note in zip(timing.runs, timing.notes, strict=True)],
        "delay_factor": None if timing.factor is None else _factor(timing.factor),
        "reason": timing.reason or None,
        "by_common_steps": None
        if common is None
        else {"rates": [_rate(common[0]), _rate(common[1])], "fisher_p": common[2]},
    }


def _event(event: Event, note: str) -> dict[str, object]:
    return {
        "seeds": {str(seed): _time(time) for seed, time in event.times.items()},
        "median": _median(event.median),
        "rate": None if event.rate is None else _rate(event.rate),
        "note": note or None,
    }


def _time(time: Time) -> dict[str, object]:
    if isinstance(time, Unknown):
        return {"unknown": time.reason}
    if isinstance(time, StepInterval):
        return {"after": time.after, "by": time.by}
    return {"not_until": time.at}


def _median(found: Median | None) -> dict[str, object] | None:
    if found is None:
        return None
    bounds = None if found.bounds is None else [_end(end) for end in found.bounds]
    return {
        "n": found.n,
        "low": found.low,
        "high": _end(found.high),
        "bounds": bounds,
        "coverage": found.coverage,
        "bounds_are_lowest_and_highest": None if bounds is None else found.whole,
    }


def _end(end: float) -> float | None:
    return end if math.isfinite(end) else None


def _rate(rate: Proportion) -> dict[str, object]:
    return {"k": rate.k, "n": rate.n, "low": rate.low, "high": rate.high}


def _factor(factor: Factor) -> dict[str, object]:
    return vars(factor) | {"bounds": None if factor.bounds is None else list(factor.bounds)}


def _course(course: Course) -> dict[str, object]:
    return {
        "metric": course.metric,
        "definition": course.definition,
        "runs": [
            {moment: _level(level) for moment, level in zip(MOMENTS, levels, strict=True)} for levels in course.runs
        ],
    }


def _level(level: Level) -> dict[str, object]:
    return {"steps": list(level.steps), "median": _median(level.median)}

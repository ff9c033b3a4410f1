"""Contenders -> seconds, medians, ranges and ratios.

They take turns inside every repetition, so that whatever else the machine does falls on all of them; a ratio is the
median of the ratios of one repetition.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

Columns = dict[str, list[float]]  # contender -> its figure in each repetition


@dataclass(frozen=True)
class Contender:
    """What is timed, by which clock: the processor's (one thread of one process) or the one on the wall."""

    act: Callable[[], object]
    clock: Callable[[], float] = field(default=time.process_time)


def turns(contenders: Mapping[str, Contender], repeat: int) -> tuple[Columns, dict[str, object]]:
    """Seconds of each contender, and what each of them returned last."""
    seconds: Columns = {name: [] for name in contenders}
    results: dict[str, object] = {}
    for _ in range(repeat):
        for name, contender in contenders.items():
            began = contender.clock()
            results[name] = contender.act()
            seconds[name].append(contender.clock() - began)
    return seconds, results


def ratio(columns: Columns, over: str, under: str) -> float:
    """The median over repetitions of one contender's figure over another's."""
    return statistics.median(x / y for x, y in zip(columns[over], columns[under], strict=True))


def spread(column: list[float], digits: int) -> str:
    """Median and range."""
    return f"{statistics.median(column):9.{digits}f}  [{min(column):.{digits}f} .. {max(column):.{digits}f}]"


def met(found: float, wanted: float) -> str:
    """Whether a bar is met."""
    return f"bar {wanted:g}: {'met' if found >= wanted else 'MISSED'}"

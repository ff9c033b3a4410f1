r"""A loss that had come down -> its spikes: number, height and length.

    value
      |      peak .
    trigger - - -/-\- - - - - - - a stretch above the level is a spike only if it exceeds the trigger:
    level   - - / - \ - - -/\- -  noise around the level is no spike
      |   \____/     \____/  \__
            settled   back             step -->

Counting begins at the first evaluation at or below the level ("settled"). A spike that rises and falls between two
evaluations leaves no trace, and a measured peak is a lower bound; the grid of evaluations is part of the result.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from reprogrok.metrics.grokking import measured
from reprogrok.record import Series

ANSWER_LEVEL, ANSWER_TRIGGER = 0.5, 1.0  # nats at the answer: most of the probability on it; hardly a third
FALL_LEVEL, FALL_TRIGGER = 0.1, 0.2  # fractions of the way from the first to the lowest value
FALL_LEAST = 0.2  # a loss that fell by less than this fraction of its first value was never learned


@dataclass(frozen=True)
class Levels:
    """The levels at which a loss counts as settled and as spiking.

    Attributes:
        level: a loss at or below this is settled.
        trigger: a loss above this spikes; at least `level`.
        definition: id of the rule that chose both; spikes of one definition are comparable.
    """

    level: float
    trigger: float
    definition: str


@dataclass(frozen=True)
class Spike:
    """One stretch above the level that exceeded the trigger.

    Attributes:
        start: first evaluation above the level.
        peak_step: evaluation with the largest value (the first of equals).
        height: that value, in the unit of the series; a lower bound of the peak.
        end: first evaluation back at or below the level; None if there is none (right-censored).
        least: fewest steps above the level: between the first and the last evaluation above it, both counted.
        most: most steps above the level: all between the evaluations on either side; None without one after it.
    """

    start: int
    peak_step: int
    height: float
    end: int | None
    least: int
    most: int | None

    @property
    def recovery(self) -> int | None:
        """Steps from the peak to the first evaluation back at the level; None if there is none."""
        return None if self.end is None else self.end - self.peak_step


@dataclass(frozen=True)
class Spikes:
    """The spikes of one series.

    Attributes:
        levels: the level and the trigger.
        settled: first evaluation at or below the level; None if there is none, and then there are no spikes.
        spikes: the spikes in order of steps.
        above: number of evaluations above the trigger since `settled`.
        evaluations: number of evaluations with a value since `settled`.
        steps: number of steps from `settled` to the last evaluation.
    """

    levels: Levels
    settled: int | None
    spikes: tuple[Spike, ...]
    above: int
    evaluations: int
    steps: int

    @property
    def grid(self) -> float:
        """Mean number of steps between evaluations since `settled`; a shorter spike may have been missed."""
        return self.steps / (self.evaluations - 1) if self.evaluations > 1 else math.inf

    @property
    def fraction(self) -> float:
        """Fraction of evaluations above the trigger."""
        return self.above / self.evaluations if self.evaluations else 0.0


def answer_levels() -> Levels:
    """Return the levels for a loss at the answer alone: settled below 0.5 nats, spiking above 1.0 (`spikes/0.5-1`)."""
    return Levels(ANSWER_LEVEL, ANSWER_TRIGGER, f"spikes/{ANSWER_LEVEL:g}-{ANSWER_TRIGGER:g}")


def fall_levels(series: Series) -> Levels | None:
    """Return levels for a loss of unknown bound, relative to its fall; None if it hardly fell.

    Definition `spikes/fall-0.1-0.2`. A fall from 4.6 to 0.1 gives a level of 0.55 and a trigger of 1.0.
    """
    values = [value for _, value in measured(series)]
    if not values or (fall := values[0] - min(values)) < FALL_LEAST * values[0] or fall == 0:
        return None
    lowest = min(values)
    name = f"spikes/fall-{FALL_LEVEL:g}-{FALL_TRIGGER:g}"
    return Levels(lowest + FALL_LEVEL * fall, lowest + FALL_TRIGGER * fall, name)


def find_spikes(series: Series, levels: Levels) -> Spikes:
    """Find the spikes of a series after it has first settled, without the evaluations that have no value.

    Worked value: level 0.1 and trigger 1, evaluations every 10 steps: 0.03, 0.2, 0.03, 0.5, 4.4, 0.03 hold one spike,
    of height 4.4, 10 steps from peak to recovery, between 11 and 29 steps above the level.

    Raises:
        ValueError: the trigger lies below the level.
    """
    if levels.trigger < levels.level:
        raise ValueError("a trigger below the level")
    points = measured(series)
    first = next((index for index, (_, value) in enumerate(points) if value <= levels.level), None)
    if first is None:
        return Spikes(levels, None, (), 0, 0, 0)
    after = points[first:]
    spikes: list[Spike] = []
    stretch: list[tuple[int, float]] = []
    before = after[0][0]
    for step, value in after:
        if value > levels.level:
            stretch.append((step, value))
            continue
        if stretch:
            spikes += _spike(before, stretch, step, levels.trigger)
        before, stretch = step, []
    if stretch:
        spikes += _spike(before, stretch, None, levels.trigger)
    above = sum(value > levels.trigger for _, value in after)
    return Spikes(levels, after[0][0], tuple(spikes), above, len(after), after[-1][0] - after[0][0])


def _spike(before: int, stretch: list[tuple[int, float]], end: int | None, trigger: float) -> list[Spike]:
    peak_step, height = max(stretch, key=lambda point: point[1])
    if height <= trigger:
        return []
    start, last = stretch[0][0], stretch[-1][0]
    most = None if end is None else end - before - 1
    return [Spike(start, peak_step, height, end, last - start + 1, most)]

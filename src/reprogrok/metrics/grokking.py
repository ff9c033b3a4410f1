"""A metric's series -> the time at which it reached a threshold, as precisely as the evaluations allow.

    Series --first_above--> StepInterval (previous evaluation, this one] | Censored (never, until then) | Unknown (why)
    memorised, generalised --delay--> Delay [low, high] in steps and as a factor
    Series --max_rise5--> MaxRise, the published estimator of the transition
    k of n, answers --chance--> probability of so few right answers by guessing

A time is the interval between two evaluations, and a quantity derived from two times is an interval too. An evaluation
without a value (NaN) widens the interval around it. A run that never reaches the threshold is right-censored at its
last evaluation. Every result carries the id of its definition; results of different ids are never compared.

A step s stands for the model after the update of step s, as in `metrics.jsonl`; -1 is the model before any update.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

from scipy.special import bdtr

from reprogrok.record import Series

GROK_THRESHOLDS = (0.8, 0.9, 0.99)
MEMORISED = GENERALISED = 0.99
UNTRAINED = -1  # the model before the update of step 0

MAX_RISE5 = "max-rise5"
RISE_THRESHOLD = 0.15
_WINDOW = 5
_ROUNDING = 1e-12  # equal rises of fractions k/n differ by less than this


@dataclass(frozen=True)
class StepInterval:
    """Reached after the evaluation `after` and not later than the evaluation `by`: the half-open (after, by].

    Attributes:
        after: the last evaluation before it; None if the first evaluation had already reached it.
        by: the evaluation that had reached it, which published logs give as "the step".
        definition: id of the estimator.
    """

    after: int | None
    by: int
    definition: str

    @property
    def earliest(self) -> int:
        """First possible step."""
        return (UNTRAINED if self.after is None else self.after) + 1

    @property
    def latest(self) -> int:
        """Last possible step."""
        return self.by


@dataclass(frozen=True)
class Censored:
    """Not reached until the evaluation `at`, the last one with a value: right-censored there."""

    at: int
    definition: str

    @property
    def earliest(self) -> int:
        """First possible step."""
        return self.at + 1

    @property
    def latest(self) -> None:
        """None: no step is the last possible one."""
        return None


@dataclass(frozen=True)
class Unknown:
    """A time that was not measured, with the reason."""

    reason: str
    definition: str


Time = StepInterval | Censored | Unknown


def first_above(series: Series | None, threshold: float) -> Time:
    """Return the time at which a series was first at or above `threshold`.

    Definition `first-above/0.80`. On the published log of v1 this gives (33,600, 33,700] for 0.8 and (39,800, 39,900]
    for 0.9; reading "above" as strictly above changes no published step.
    """
    definition = f"first-above/{_level(threshold)}"
    points = measured(series)
    if not points:
        return Unknown("the record lacks this metric" if series is None else "no evaluation has a value", definition)
    before = None
    for step, value in points:
        if value >= threshold:
            return StepInterval(before, step, definition)
        before = step
    return Censored(points[-1][0], definition)


def _level(limit: float) -> str:
    short = f"{limit:.2f}"
    return short if float(short) == limit else repr(float(limit))


def measured(series: Series | None) -> list[tuple[int, float]]:
    """Return the evaluations that have a value, as (step, value); none without a series."""
    if series is None:
        return []
    return [(s, v) for s, v in zip(series.steps, series.values, strict=True) if not math.isnan(v)]


def within(time: Time, steps: int) -> bool | None:
    """Return whether it happened by step `steps`; None where the evaluations do not decide.

    (400, 500] is within 500, not within 400, and undecided for 450.
    """
    if isinstance(time, Unknown):
        return None
    if time.latest is not None and time.latest <= steps:
        return True
    return False if time.earliest > steps else None


@dataclass(frozen=True)
class Delay:
    """Bounds on the time of generalisation minus the time of memorisation.

    Attributes:
        low: least delay in steps; negative if test may have come first; None if nothing bounds it.
        high: largest delay in steps; None if nothing bounds it (one of the two was never reached).
        factor_low: least quotient of the two steps (a step below 1 counts as 1); None as for `low`.
        factor_high: largest quotient; None as for `high`.
        definition: id, from the two thresholds.
    """

    low: int | None
    high: int | None
    factor_low: float | None
    factor_high: float | None
    definition: str

    @property
    def resolution(self) -> int | None:
        """Width of the interval in steps."""
        return None if self.low is None or self.high is None else self.high - self.low

    def within(self, steps: int) -> bool | None:
        """Return whether the delay is at most `steps`; None where the evaluations do not decide."""
        if self.high is not None and self.high <= steps:
            return True
        return False if self.low is not None and self.low > steps else None


def delay(memorised: Time, generalised: Time) -> Delay | Unknown:
    """Bound the difference and the quotient of two times.

    With memorised in (m0, m1] and generalised in (g0, g1], whole steps, the delay lies in [g0+1 - m1, g1 - (m0+1)]:
    (100, 200] and (900, 1000] give 701 to 899 steps, a factor of 4.505 to 9.901. A censored time bounds the delay on
    one side.
    """
    definition = f"delay/{_threshold_of(memorised)}-{_threshold_of(generalised)}"
    if isinstance(memorised, Unknown) or isinstance(generalised, Unknown):
        reasons = (time.reason for time in (memorised, generalised) if isinstance(time, Unknown))
        return Unknown("; ".join(dict.fromkeys(reasons)), definition)
    if isinstance(memorised, Censored) and isinstance(generalised, Censored):
        return Unknown("neither was reached", definition)
    least, most = span(memorised, generalised)
    low = None if memorised.latest is None else generalised.earliest - memorised.latest
    high = None if generalised.latest is None else generalised.latest - memorised.earliest
    return Delay(low, high, least, most, definition)


def span(first: StepInterval | Censored, second: StepInterval | Censored) -> tuple[float | None, float | None]:
    """Bound second / first, the delay factor within a run or between two runs.

    Steps below 1 count as 1. Example: v1's (33,600, 33,700] and v2a's (19,300, 19,400] give 0.5727 to 0.5774.
    """
    return quotients(ends(first), ends(second))


def ends(time: StepInterval | Censored) -> tuple[float, float]:
    """Return the first and the last possible step; infinity if there is no last one."""
    return float(time.earliest), math.inf if time.latest is None else float(time.latest)


def quotients(first: tuple[float, float], second: tuple[float, float]) -> tuple[float | None, float | None]:
    """Bound second / first for steps between two ends, of which those below 1 count as 1; None without a bound."""
    low = None if math.isinf(first[1]) else max(second[0], 1.0) / max(first[1], 1.0)
    high = None if math.isinf(second[1]) else max(second[1], 1.0) / max(first[0], 1.0)
    return low, high


def _threshold_of(time: Time) -> str:
    return time.definition.rpartition("/")[2]


@dataclass(frozen=True)
class MaxRise:
    """The published estimate of the step of the transition.

    Attributes:
        step: the evaluation at which the rise ended.
        rise: accuracy there minus the mean of the five evaluations before; None with at most five evaluations.
        below_threshold: whether the rise is less than 0.15, so that this step need not be a transition.
        skipped: evaluations without a rise because a value is missing.
        definition: `max-rise5`.
    """

    step: int
    rise: float | None
    below_threshold: bool
    skipped: int = 0
    definition: str = MAX_RISE5


def max_rise5(series: Series | None) -> MaxRise | Unknown:
    """Return the step of the largest acc[i] - mean(acc[i-5..i-1]) over evaluations i >= 5, the first on ties.

    With at most five evaluations it is the middle one. On the published logs: v1 17,100 (rise 0.137, below 0.15), v2a
    19,500 (0.178). In a dense log five evaluations are few steps, so a fast partial rise beats the slower one that
    generalises.
    """
    if series is None or not measured(series):
        return Unknown("the record lacks this metric" if series is None else "no evaluation has a value", MAX_RISE5)
    if len(series.steps) <= _WINDOW:
        return MaxRise(series.steps[len(series.steps) // 2], None, below_threshold=True)
    best: tuple[int, float] | None = None
    skipped = 0
    for index in range(_WINDOW, len(series.steps)):
        rise = series.values[index] - math.fsum(series.values[index - _WINDOW : index]) / _WINDOW
        if math.isnan(rise):
            skipped += 1
        elif best is None or rise > best[1] + _ROUNDING:
            best = series.steps[index], rise
    if best is None:
        return Unknown("no six evaluations in a row have values", MAX_RISE5)
    return MaxRise(best[0], best[1], best[1] < RISE_THRESHOLD, skipped)


@dataclass(frozen=True)
class ClaimResolution:
    """Whether the evaluations are dense enough for a claim such as "generalises within 100 steps".

    Attributes:
        claimed: number of steps in the claim.
        gap: the widest stretch without an evaluation, from step 0 to the first evaluation at or after `claimed`.
        reason: one clause.
        decidable: whether `gap` is at most `claimed`.
    """

    claimed: int
    gap: int | None
    reason: str
    decidable: bool


def claim_resolution(series: Series | None, claimed_within_steps: int) -> ClaimResolution:
    """Compare a claim with the distance between evaluations; a claim that is finer is not decidable.

    A log with evaluations at 500, 1,000, ... can decide "within 500 steps" and not "within 100 steps".
    """
    claimed = claimed_within_steps
    steps = [0, *(step for step, _ in measured(series) if step > 0)]
    if len(steps) == 1 or steps[-1] < claimed:
        ends = f"the last evaluation is at step {steps[-1]:,}" if len(steps) > 1 else "nothing was evaluated"
        return ClaimResolution(claimed, None, f"{ends}, before the {claimed:,} claimed steps are over", decidable=False)
    until = next(index for index, step in enumerate(steps) if index and step >= claimed)
    gap = max(after - before for before, after in pairwise(steps[: until + 1]))
    if gap > claimed:
        reason = f"up to {gap:,} steps between evaluations; what happens within {claimed:,} steps cannot be seen"
        return ClaimResolution(claimed, gap, reason, decidable=False)
    reason = f"at most {gap:,} steps between evaluations up to step {steps[until]:,}"
    return ClaimResolution(claimed, gap, reason, decidable=True)


@dataclass(frozen=True)
class Chance:
    """A score compared with guessing.

    Attributes:
        k: number of right answers.
        n: number of test examples.
        classes: number of possible answers; chance is 1 / classes.
        probability: probability of k or fewer right answers by independent guessing.
        definition: `binomial-lower-tail`.
    """

    k: int
    n: int
    classes: int
    probability: float
    definition: str = "binomial-lower-tail"

    @property
    def below(self) -> bool:
        """Whether there are fewer right answers than guessing gives on average."""
        return self.k * self.classes < self.n


def chance(k: int, n: int, classes: int) -> Chance:
    """Compute the exact probability that guessing among `classes` answers gets k or fewer of n right (binomial).

    Worked value: 4 of 4,753 at 1/97 has probability 1.1e-16; chance would give 49.
    """
    return Chance(k, n, classes, float(bdtr(k, n, 1 / classes)))


def right_answers(accuracy: float, n: int) -> int | None:
    """Return the whole number k with accuracy = k/n; None if the accuracy is not of n examples."""
    k = round(accuracy * n)
    # An accuracy stored in single precision has a relative error of up to 6e-8.
    return k if abs(accuracy * n - k) <= 1e-6 * max(k, 1) + 1e-9 else None

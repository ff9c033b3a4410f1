"""The measurement of a quantity: a number, a range, a word or a time, or the reason why it is missing.

replica_quantities, data_quantities, certificate_quantities, evidence_files --> Measured | Missing --> evidence
"""

from __future__ import annotations

from dataclasses import dataclass

from reprogrok.metrics.grokking import Censored, StepInterval
from reprogrok.stats.ranges import Range


@dataclass(frozen=True)
class Measured:
    """The value of a quantity.

    Attributes:
        value: the number, or the step of the evaluation that reached a time; None where there is none.
        word: the word, for a quantity that is one.
        k: the count behind a fraction of `n`.
        n: total of the count.
        time: the time, for a quantity that is one.
        at_step: the evaluation that had the value.
        bounds: the range of a number that is only bounded; then there is no `value`.
    """

    value: float | None = None
    word: str | None = None
    k: int | None = None
    n: int | None = None
    time: StepInterval | Censored | None = None
    at_step: int | None = None
    bounds: Range | None = None


@dataclass(frozen=True)
class Missing:
    """The reason why a quantity has no value.

    Attributes:
        reason: one clause.
        again: whether training or measuring again could supply it; not if the question is wrong.
        open: whether it would be there had the same replica gone otherwise. A run that was stopped early can show that
            an event happened but not that none will: leaving it out would favour the runs that went well.
    """

    reason: str
    again: bool = True
    open: bool = False


def misasked(reason: str) -> Missing:
    """Return the measurement of a question that no measurement can answer."""
    return Missing(reason, again=False)


Measurement = Measured | Missing


def reached(time: StepInterval | Censored, until: int | None, *, complete: bool) -> Measurement:
    """Return an event from its time: 1 if an evaluation (up to `until`) had got there, 0 if none had.

    Reached in (400, 500]: 1, but 0 until step 450, since no evaluation up to there had got there. Not reached by the
    last evaluation, 300: 0 if the run is complete, else missing.
    """
    if isinstance(time, StepInterval):
        if until is None or time.by <= until:
            return Measured(1.0, at_step=time.by)
        if time.after is None:
            return Missing(f"the first evaluation is at step {time.by:,}, after step {until:,}", open=True)
        return Measured(0.0)
    if complete:
        return Measured(0.0)
    return Missing(f"not seen until step {time.at:,}, and more was to come", open=True)


def is_followed(last: int, planned: int | None, until: int | None) -> bool:
    """Return whether a run last evaluated at step `last` was followed to `until`, or (None) to its planned end.

    A run of N updates ends with step N - 1 and then counts as followed until N, but no further.
    """
    end = planned if until is None else until
    if end is None:
        return False
    return last >= end or (planned is not None and last >= planned - 1 and end <= planned)

"""What a quantity came to: a number, bounds of one, a word or a time, or nothing, with the reason.

quantities, data_quantities, certificate_quantities, evidence_files --> Measured | Absent --> evidence
"""

from __future__ import annotations

from dataclasses import dataclass

from reprogrok.metrics.grokking import Censored, StepInterval
from reprogrok.stats.ranges import Range


@dataclass(frozen=True)
class Measured:
    """What a quantity came to.

    Attributes:
        value: the number; of a time the evaluation that had got there; None where there is none.
        word: of a quantity that is a word.
        k: the count behind a share of `n`.
        n: what it is out of.
        time: of a time.
        at_step: the evaluation where the value was reached.
        bounds: of a number that is only bounded; then there is no `value`.
    """

    value: float | None = None
    word: str | None = None
    k: int | None = None
    n: int | None = None
    time: StepInterval | Censored | None = None
    at_step: int | None = None
    bounds: Range | None = None


@dataclass(frozen=True)
class Absent:
    """Not measured.

    Attributes:
        reason: as one clause.
        again: could training or measuring anew make it? Not where the question is at fault.
        open: would it be there had the same replica gone otherwise? A run that was stopped early shows an event that
            happened and cannot show that none will: leaving it out would favour the runs that went well.
    """

    reason: str
    again: bool = True
    open: bool = False


def misasked(reason: str) -> Absent:
    """What no measurement can answer as it is asked."""
    return Absent(reason, again=False)


Outcome = Measured | Absent


def reached(time: StepInterval | Censored, until: int | None, *, complete: bool) -> Outcome:
    """An event from its time: 1 if an evaluation (up to `until`) had got there, 0 if none had.

    Reached in (400, 500]: 1, and until step 450: 0, for no evaluation until then had got there. Not reached by the
    last evaluation, 300: 0 if nothing more was to come, unknown otherwise.
    """
    if isinstance(time, StepInterval):
        if until is None or time.by <= until:
            return Measured(1.0, at_step=time.by)
        if time.after is None:
            return Absent(f"the first evaluation is at step {time.by:,}, after step {until:,}", open=True)
        return Measured(0.0)
    if complete:
        return Measured(0.0)
    return Absent(f"not seen until step {time.at:,}, and more was to come", open=True)


def is_followed(last: int, planned: int | None, until: int | None) -> bool:
    """Was something evaluated last at step `last` followed to step `until`, or (None) to its planned end?

    A run of N updates ends with step N - 1, and has then been followed until N, too, and no further.
    """
    end = planned if until is None else until
    if end is None:
        return False
    return last >= end or (planned is not None and last >= planned - 1 and end <= planned)

"""One observation of one artefact (a log, a checkpoint, a data set, a publication) -> what it says of a claim.

    Value, Between   the number inside the claimed region, or not                      arithmetic
    of a bounded number: every number it can be inside the region, or none             certified bounds
    a time           by the step that a log states, and by what a log that ended too early leaves open
    Word             the same word, or not
    Order            two intervals of steps apart; two scores by McNemar or Fisher; any other two numbers as they are

Nothing is sampled here but the problems of an exam, so only two scores of exams can be confused by chance.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from typing import assert_never

from reprogrok.certificate.document import Verdict
from reprogrok.claims.bounded import judge_bounds, judge_less, together
from reprogrok.claims.claims import Between, Expectation, Order, Rate, Seen, Value, Word
from reprogrok.claims.evidence import Observation
from reprogrok.claims.tests import Decision, judge_number
from reprogrok.claims.verdict import Finding
from reprogrok.metrics.grokking import Censored, StepInterval
from reprogrok.stats.range_text import count_text, range_text
from reprogrok.stats.ranges import Range
from reprogrok.stats.statistics import CONFIDENCE, fisher, mcnemar

ARITHMETIC = "arithmetic"
READ = "reading"
APART = "intervals of steps"
CERTIFIED_BOUNDS = "certified bounds"
_PROVED_OR_NOT = "proved"  # the quantity whose word may leave the matter open
_LEVEL = 1 - CONFIDENCE
_REACHED_EARLIER = {Order.EARLIER, Order.LOWER, Order.LESS_OFTEN}


def judge_artefact(observations: Sequence[Observation], expect: Expectation) -> Finding:
    """Judge a claim about one artefact by every observation of it; where they disagree, nothing is decided.

    Args:
        observations: at least one, all of the claim's quantity.
        expect: no order and no rate.
    """
    if any(observation.bounds is not None for observation in observations):
        return _bounded(observations, expect)
    findings = [judge_one(observation, expect) for observation in observations]
    decisions = {finding.decision for finding in findings}
    return disagreement(observations) if len(decisions) > 1 else findings[0]


def disagreement(observations: Sequence[Observation]) -> Finding:
    """Leave open what observations of one artefact do not agree on, and say which say what."""
    seen = "; ".join(f"{value_text(observation)} ({observation.origin})" for observation in observations)
    return Finding(Decision.INCONCLUSIVE, READ, seen, "to find out why the observations disagree")


def judge_one(observation: Observation, expect: Expectation) -> Finding:
    """Judge by one observation: arithmetic, so a decision is certain as far as the observation is.

    Worked values: v1's step of 80 %, (33,600, 33,700], is the claimed 33,700; 12 errors of 100,000 are not 0.
    """
    if isinstance(expect, Word):
        return _word(observation, expect)
    low, high = region(expect)
    if isinstance(observation.time, Censored):
        return _not_reached(observation.time, low, high)
    if isinstance(expect, Value) and _other_total(observation, expect):
        ours = f"a count out of {expect.n:,}"
        found = "one out of nobody knows how many" if observation.n is None else f"one out of {observation.n:,}"
        numbers = f"observed: {value_text(observation)}"
        return Finding(Decision.INCONCLUSIVE, ARITHMETIC, numbers, f"{ours}; there is {found}, which is another exam")
    if observation.value is None:
        return Finding(Decision.INCONCLUSIVE, ARITHMETIC, "no value was measured", "an observation that has a value")
    result = judge_number(observation.value, low, high)
    numbers = f"{value_text(observation)}, claimed: {expectation_text(expect)}"
    unchecked = isinstance(expect, Value) and expect.n is not None and observation.n is None
    notes = ("the total is not checked here",) if unchecked else ()
    return Finding(result.decision, ARITHMETIC, numbers, result.needs, interval=result.interval, notes=notes)


def judge_pair(first: Sequence[Observation], second: Sequence[Observation], order: Order) -> Finding:
    """Judge an order of two artefacts, each with one observation.

    Times whose intervals overlap are left open. Of two checkpoints that sat the same exam only the counts of errors
    are known, not which problems they share; McNemar's p is largest if they share none, and that bound is used.
    Worked value: 0 against 12 errors of the same 100,000 problems give p <= 0.00049.
    """
    one, other = first[0], second[0]
    numbers = f"{value_text(one)} against {value_text(other)}"
    if one.bounds is not None or other.bounds is not None:
        return _bounded_pair(one, other, order, numbers)
    if one.time is not None and other.time is not None:
        return _times_apart(one.time, other.time, order, numbers)
    if one.value is None or other.value is None:
        return Finding(Decision.INCONCLUSIVE, ARITHMETIC, numbers, "a value on both sides")
    below = one.value < other.value
    as_claimed = below if order in _REACHED_EARLIER else one.value > other.value
    if one.k is None or one.n is None or other.k is None or other.n is None:
        decision = Decision.REPRODUCED if as_claimed else Decision.CONTRADICTED
        return Finding(decision, ARITHMETIC, numbers)
    same_exam = one.subject.kind == other.subject.kind == "checkpoint" and one.n == other.n
    errors = _errors(one), _errors(other)
    p = mcnemar(*errors) if same_exam else fisher(one.k, one.n, other.k, other.n)
    test = "McNemar's exact test, as if no failure were shared" if same_exam else "Fisher's exact test"
    numbers = f"{numbers}, p {'at most ' if same_exam else ''}{p:.3g}"
    if p > _LEVEL:
        missing = f"a larger exam: chance alone makes such a difference (p {p:.3g})"
        return Finding(Decision.INCONCLUSIVE, test, numbers, missing, p=p)
    decision = Decision.REPRODUCED if as_claimed else Decision.CONTRADICTED
    return Finding(decision, test, numbers, p=p, error_bound=_LEVEL)


def region(expect: Expectation) -> tuple[float | None, float | None]:
    """Lowest and highest number that the claim allows; None is no limit.

    Added as decimals, as a reader adds them: 0.03 within 0.005 ends at 0.035.

    Raises:
        TypeError: the claim is not about a number.
    """
    if isinstance(expect, Between):
        return expect.low, expect.high
    low, high = exact_region(expect)
    return None if low is None else float(low), None if high is None else float(high)


def exact_region(expect: Expectation) -> tuple[Fraction | None, Fraction | None]:
    """The same as exact numbers, read as they are written.

    Raises:
        TypeError: the claim is not about a number.
    """
    if isinstance(expect, Value):
        value, tolerance = _written(expect.value), _written(expect.tolerance)
        return value - tolerance, value + tolerance
    if isinstance(expect, Between):
        low, high = expect.low, expect.high
        return None if low is None else _written(low), None if high is None else _written(high)
    raise TypeError(f"no region of numbers: {expect}")


def _written(number: float) -> Fraction:
    return Fraction(Decimal(repr(number)))


def expectation_text(expect: Expectation) -> str:
    """What is claimed, in few words: `33,700`, `at most 0.05`, `2 of 5 seeds`, `earlier`."""
    match expect:
        case Value() | Between():
            return region_text(expect)
        case Word():
            return expect.word
        case Seen():
            return f"{expect.k} of {expect.n} seeds"
        case Rate():
            return f"a rate of {number_text(expect.low)} to {number_text(expect.high)}"
        case Order():
            return expect.value.replace("-", " ")
        case _:
            assert_never(expect)


def region_text(expect: Value | Between) -> str:
    """`33,700`, `0.203 within 0.0005`, `12 of 100,000`, `at least 30`, `100,000 to 300,000`."""
    if isinstance(expect, Value):
        of = "" if expect.n is None else f" of {count_text(expect.n)}"
        around = f" within {number_text(expect.tolerance)}" if expect.tolerance else ""
        return f"{number_text(expect.value)}{of}{around}"
    if expect.low is None or expect.high is None:
        end = f"at least {expect.low}" if expect.high is None else f"at most {expect.high}"
        limit = expect.low if expect.high is None else expect.high
        return end if limit is None else f"{end.rpartition(' ')[0]} {number_text(limit)}"
    if expect.low == expect.high:
        return number_text(expect.low)
    return f"{number_text(expect.low)} to {number_text(expect.high)}"


def value_text(observation: Observation) -> str:
    """What was observed: `33,700 in (33,600, 33,700]`, `not until 19,999`, `12 of 100,000`, `0.203`, `0 of 10^20`."""
    if observation.bounds is not None:
        return range_text(observation.bounds)
    time = observation.time
    if isinstance(time, StepInterval):
        after = "start" if time.after is None else f"{time.after:,}"
        return f"{time.by:,}, in ({after}, {time.by:,}]"
    if isinstance(time, Censored):
        return f"not until {time.at:,}"
    if observation.value is None:
        return observation.word or "no value"
    if observation.k is not None and observation.n is not None:
        share = "" if observation.value == observation.k else f"{number_text(observation.value)}, which is "
        return f"{share}{observation.k:,} of {observation.n:,}"
    return number_text(observation.value)


def number_text(value: float) -> str:
    """A number for people: whole ones in full with commas, others with six digits."""
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:.6g}"


def _other_total(observation: Observation, expect: Value) -> bool:
    """Is this a count out of another total? Data are what the experiment says; some of their counts have no total."""
    if expect.n is None or (observation.n is None and observation.subject.kind == "data"):
        return False
    return observation.n != expect.n


def _word(observation: Observation, expect: Word) -> Finding:
    if observation.word is None:
        return Finding(Decision.INCONCLUSIVE, READ, "no word was measured", "an observation that has a word")
    numbers = f"{observation.word}, claimed: {expect.word}"
    if observation.word == Verdict.PARTIAL != expect.word and observation.quantity.name == _PROVED_OR_NOT:
        return Finding(Decision.INCONCLUSIVE, READ, numbers, "a certificate that leaves nothing open")
    decision = Decision.REPRODUCED if observation.word == expect.word else Decision.CONTRADICTED
    return Finding(decision, READ, numbers)


def _bounded(observations: Sequence[Observation], expect: Expectation) -> Finding:
    """Judge by all bounds together: a later certificate may leave less open, and contradicts nothing by that."""
    if isinstance(expect, Word):
        return _word(observations[0], expect)
    known = [_bounds(observation) for observation in observations]
    stated = [bounds for bounds in known if bounds is not None]
    totals = {bounds.of for bounds in stated}
    if len(totals) > 1 or (found := together(stated)) is None:
        return disagreement(observations)
    numbers = f"{range_text(found)}, claimed: {expectation_text(expect)}"
    if isinstance(expect, Value) and expect.n is not None and expect.n != found.of:
        other = f"a certificate of {count_text(expect.n)} problems"
        return Finding(Decision.INCONCLUSIVE, CERTIFIED_BOUNDS, numbers, other)
    decision = judge_bounds(found, *exact_region(expect))
    missing = "a certificate that leaves less open" if decision is Decision.INCONCLUSIVE else None
    return Finding(decision, CERTIFIED_BOUNDS, numbers, missing)


def _bounded_pair(one: Observation, other: Observation, order: Order, numbers: str) -> Finding:
    first, second = _bounds(one), _bounds(other)
    if first is None or second is None or first.of != second.of:
        return Finding(Decision.INCONCLUSIVE, CERTIFIED_BOUNDS, numbers, "bounds of the same number on both sides")
    decision = judge_less(first, second) if order in _REACHED_EARLIER else judge_less(second, first)
    missing = "certificates that leave less open" if decision is Decision.INCONCLUSIVE else None
    return Finding(decision, CERTIFIED_BOUNDS, numbers, missing)


def _bounds(observation: Observation) -> Range | None:
    """What is known of a number: a plain value is known exactly."""
    if observation.bounds is None and observation.value is not None:
        return Range(exact := _written(observation.value), exact)
    return observation.bounds


def _not_reached(time: Censored, low: float | None, high: float | None) -> Finding:
    """Judge "later than this, or never": beyond what is claimed, within it, or not long enough to say."""
    numbers = f"not until {time.at:,}, where the evaluations end"
    if high is not None and time.at >= high:
        return Finding(Decision.CONTRADICTED, ARITHMETIC, numbers)
    if high is None and low is not None and time.earliest >= low:
        return Finding(Decision.REPRODUCED, ARITHMETIC, numbers)
    until = low if high is None else high
    missing = "evaluations" if until is None else f"evaluations up to step {number_text(until)}"
    return Finding(Decision.INCONCLUSIVE, ARITHMETIC, numbers, missing)


def _times_apart(one: StepInterval | Censored, other: StepInterval | Censored, order: Order, numbers: str) -> Finding:
    earlier = one.latest is not None and one.latest < other.earliest
    later = other.latest is not None and other.latest < one.earliest
    if not earlier and not later:
        return Finding(Decision.INCONCLUSIVE, APART, numbers, "evaluations dense enough to tell the two apart")
    as_claimed = earlier if order in _REACHED_EARLIER else later
    return Finding(Decision.REPRODUCED if as_claimed else Decision.CONTRADICTED, APART, numbers)


def _errors(observation: Observation) -> int:
    """Wrong answers of a score, whichever way it was counted."""
    k, n = observation.k or 0, observation.n or 0
    return k if observation.quantity.name == "errors" else n - k

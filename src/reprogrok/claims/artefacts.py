"""Observations of one artefact (a log, a checkpoint, a data set, a publication) -> the judgement on a claim about it.

    Value, Between   the number inside the claimed region or outside                   arithmetic
    with a range     the whole range inside the region or outside                      certified bounds
    with a time      the step that a log states, or how far a log goes without it
    Word             the same word or another
    Order            two disjoint intervals of steps; two scores by McNemar or Fisher; any other two numbers as they are

Only the problems of an exam are sampled, so only a comparison of two exam scores can be wrong by chance.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction

from reprogrok.certificate.checker.statement import CertificateStatus
from reprogrok.claims.claims import Between, Expectation, Order, Value, Word
from reprogrok.claims.evidence import Observation
from reprogrok.claims.judgements import ClaimDecision, Judgement
from reprogrok.claims.rules import LESS, LEVEL, judge_less, judge_number, judge_range
from reprogrok.claims.text import expectation_text, number_text, value_text
from reprogrok.metrics.grokking import Censored, StepInterval
from reprogrok.stats.exact_tests import fisher, mcnemar
from reprogrok.stats.range_text import count_text, range_text
from reprogrok.stats.ranges import Range, intersection

ARITHMETIC = "arithmetic"
READ = "reading"
APART = "intervals of steps"
CERTIFIED_BOUNDS = "certified bounds"
_PROVED_OR_NOT = "proved"  # the quantity whose word PARTIAL decides nothing


def judge_artefact(observations: Sequence[Observation], expect: Expectation) -> Judgement:
    """Judge a claim about one artefact by every observation of it; if they disagree, leave it open.

    Args:
        observations: at least one, all of the claim's quantity.
        expect: a value, a region or a word.
    """
    if any(observation.bounds is not None for observation in observations):
        return _bounded(observations, expect)
    judgements = [judge_one(observation, expect) for observation in observations]
    decisions = {judgement.decision for judgement in judgements}
    return disagreement(observations) if len(decisions) > 1 else judgements[0]


def disagreement(observations: Sequence[Observation]) -> Judgement:
    """Leave a claim open because the observations of one artefact disagree, and list them."""
    seen = "; ".join(f"{value_text(observation)} ({observation.origin})" for observation in observations)
    return Judgement(ClaimDecision.INCONCLUSIVE, READ, seen, "to find out why the observations disagree")


def judge_one(observation: Observation, expect: Expectation) -> Judgement:
    """Judge by one observation: arithmetic, so a decision is as certain as the observation.

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
        return Judgement(
            ClaimDecision.INCONCLUSIVE, ARITHMETIC, numbers, f"{ours}; there is {found}, which is another exam"
        )
    if observation.value is None:
        return Judgement(
            ClaimDecision.INCONCLUSIVE, ARITHMETIC, "no value was measured", "an observation that has a value"
        )
    result = judge_number(observation.value, low, high)
    numbers = f"{value_text(observation)}, claimed: {expectation_text(expect)}"
    unchecked = isinstance(expect, Value) and expect.n is not None and observation.n is None
    notes = ("the total is not checked here",) if unchecked else ()
    return Judgement(result.decision, ARITHMETIC, numbers, result.missing, interval=result.interval, notes=notes)


def judge_pair(first: Sequence[Observation], second: Sequence[Observation], order: Order) -> Judgement:
    """Judge an order of two artefacts, each with one observation.

    Times whose intervals overlap are left open. For two checkpoints on the same exam only the counts of errors are
    known, not the shared problems; McNemar's p is largest if they share none, and that bound is used.
    Worked value: 0 against 12 errors of the same 100,000 problems give p <= 0.00049.
    """
    one, other = first[0], second[0]
    numbers = f"{value_text(one)} against {value_text(other)}"
    if one.bounds is not None or other.bounds is not None:
        return _bounded_pair(one, other, order, numbers)
    if one.time is not None and other.time is not None:
        return _times_apart(one.time, other.time, order, numbers)
    if one.value is None or other.value is None:
        return Judgement(ClaimDecision.INCONCLUSIVE, ARITHMETIC, numbers, "a value on both sides")
    below = one.value < other.value
    as_claimed = below if order in LESS else one.value > other.value
    if one.k is None or one.n is None or other.k is None or other.n is None:
        decision = ClaimDecision.REPRODUCED if as_claimed else ClaimDecision.CONTRADICTED
        return Judgement(decision, ARITHMETIC, numbers)
    same_exam = one.subject.kind == other.subject.kind == "checkpoint" and one.n == other.n
    errors = _errors(one), _errors(other)
    p = mcnemar(*errors) if same_exam else fisher(one.k, one.n, other.k, other.n)
    test = "McNemar's exact test, as if no failure were shared" if same_exam else "Fisher's exact test"
    numbers = f"{numbers}, p {'at most ' if same_exam else ''}{p:.3g}"
    if p > LEVEL:
        missing = f"a larger exam: chance alone makes such a difference (p {p:.3g})"
        return Judgement(ClaimDecision.INCONCLUSIVE, test, numbers, missing, p=p)
    decision = ClaimDecision.REPRODUCED if as_claimed else ClaimDecision.CONTRADICTED
    return Judgement(decision, test, numbers, p=p, error_bound=LEVEL)


def region(expect: Expectation) -> tuple[float | None, float | None]:
    """Return the lowest and the highest number that the claim allows; None is no limit.

    They are computed as decimals, as a reader adds them: 0.03 within 0.005 ends at 0.035.

    Raises:
        TypeError: the claim is not about a number.
    """
    if isinstance(expect, Between):
        return expect.low, expect.high
    low, high = exact_region(expect)
    return None if low is None else float(low), None if high is None else float(high)


def exact_region(expect: Expectation) -> tuple[Fraction | None, Fraction | None]:
    """Return the same region as exact numbers, read as they are written.

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


def _other_total(observation: Observation, expect: Value) -> bool:
    """Return whether this is a count out of another total; some counts of data have no total."""
    if expect.n is None or (observation.n is None and observation.subject.kind == "data"):
        return False
    return observation.n != expect.n


def _word(observation: Observation, expect: Word) -> Judgement:
    if observation.word is None:
        return Judgement(ClaimDecision.INCONCLUSIVE, READ, "no word was measured", "an observation that has a word")
    numbers = f"{observation.word}, claimed: {expect.word}"
    if observation.word == CertificateStatus.PARTIAL != expect.word and observation.quantity.name == _PROVED_OR_NOT:
        return Judgement(ClaimDecision.INCONCLUSIVE, READ, numbers, "a certificate that leaves nothing open")
    decision = ClaimDecision.REPRODUCED if observation.word == expect.word else ClaimDecision.CONTRADICTED
    return Judgement(decision, READ, numbers)


def _bounded(observations: Sequence[Observation], expect: Expectation) -> Judgement:
    """Judge by the intersection of all bounds: a certificate that leaves less open contradicts no earlier one."""
    if isinstance(expect, Word):
        return _word(observations[0], expect)
    known = [_bounds(observation) for observation in observations]
    stated = [bounds for bounds in known if bounds is not None]
    totals = {bounds.of for bounds in stated}
    if len(totals) > 1 or (found := intersection(stated)) is None:
        return disagreement(observations)
    numbers = f"{range_text(found)}, claimed: {expectation_text(expect)}"
    if isinstance(expect, Value) and expect.n is not None and expect.n != found.of:
        other = f"a certificate of {count_text(expect.n)} problems"
        return Judgement(ClaimDecision.INCONCLUSIVE, CERTIFIED_BOUNDS, numbers, other)
    decision = judge_range(found, *exact_region(expect))
    missing = "a certificate that leaves less open" if decision is ClaimDecision.INCONCLUSIVE else None
    return Judgement(decision, CERTIFIED_BOUNDS, numbers, missing)


def _bounded_pair(one: Observation, other: Observation, order: Order, numbers: str) -> Judgement:
    first, second = _bounds(one), _bounds(other)
    if first is None or second is None or first.of != second.of:
        return Judgement(
            ClaimDecision.INCONCLUSIVE, CERTIFIED_BOUNDS, numbers, "bounds of the same number on both sides"
        )
    decision = judge_less(first, second) if order in LESS else judge_less(second, first)
    missing = "certificates that leave less open" if decision is ClaimDecision.INCONCLUSIVE else None
    return Judgement(decision, CERTIFIED_BOUNDS, numbers, missing)


def _bounds(observation: Observation) -> Range | None:
    """Return the range of a number; a plain value is known exactly."""
    if observation.bounds is None and observation.value is not None:
        return Range(exact := _written(observation.value), exact)
    return observation.bounds


def _not_reached(time: Censored, low: float | None, high: float | None) -> Judgement:
    """Judge a time that is later than the last evaluation, or never: outside the region, inside it, or left open."""
    numbers = f"not until {time.at:,}, where the evaluations end"
    if high is not None and time.at >= high:
        return Judgement(ClaimDecision.CONTRADICTED, ARITHMETIC, numbers)
    if high is None and low is not None and time.earliest >= low:
        return Judgement(ClaimDecision.REPRODUCED, ARITHMETIC, numbers)
    until = low if high is None else high
    missing = "evaluations" if until is None else f"evaluations up to step {number_text(until)}"
    return Judgement(ClaimDecision.INCONCLUSIVE, ARITHMETIC, numbers, missing)


def _times_apart(one: StepInterval | Censored, other: StepInterval | Censored, order: Order, numbers: str) -> Judgement:
    earlier = one.latest is not None and one.latest < other.earliest
    later = other.latest is not None and other.latest < one.earliest
    if not earlier and not later:
        return Judgement(ClaimDecision.INCONCLUSIVE, APART, numbers, "evaluations dense enough to tell the two apart")
    as_claimed = earlier if order in LESS else later
    return Judgement(ClaimDecision.REPRODUCED if as_claimed else ClaimDecision.CONTRADICTED, APART, numbers)


def _errors(observation: Observation) -> int:
    """Return the wrong answers of a score, whether it counts errors or right answers."""
    k, n = observation.k or 0, observation.n or 0
    return k if observation.quantity.name == "errors" else n - k

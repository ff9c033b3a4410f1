"""Replicas of a training, each seed a draw -> what they say of a claim about the training; the tests are SciPy's.

    Seen, Rate             the rate of an event over seeds
    Word                   the rate of replicas with that word: "is W" claims that more than half of all seeds are W
    Value, Between         the median over seeds, of a number or of a time
    Order                  rates, times or numbers of two trainings; against one fixed number: the median

A replica that was not measured is not left out, which would favour the replicas that went well: a rate is judged with
each number of such replicas counted for, and decided only if all agree; a median is not judged at all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, assert_never

from reprogrok.claims.artefacts import expectation_text, number_text, region, value_text
from reprogrok.claims.claims import Between, Expectation, Order, Rate, Seen, Value, Word
from reprogrok.claims.evidence import Observation
from reprogrok.claims.tests import (
    LEVEL,
    Decision,
    TestResult,
    decide_rate,
    judge_median,
    judge_median_time,
    judge_order_rates,
    judge_order_times,
    judge_order_values,
    judge_rate,
    judge_seen,
)
from reprogrok.claims.verdict import Finding
from reprogrok.metrics.grokking import Censored, StepInterval
from reprogrok.stats.statistics import rates_differ
from reprogrok.stats.survival import LEAST_FOR_MEDIAN, least_per_arm

if TYPE_CHECKING:
    from numpy.random import Generator

TYPICALLY = 0.5
_MANY = 40
_RATES = {Order.MORE_OFTEN, Order.LESS_OFTEN}


def judge_training(observations: Sequence[Observation], expect: Expectation) -> Finding:
    """Judge a claim about one training by its replicas.

    Args:
        observations: at least one, one per seed, all of the claim's quantity.
        expect: no order.
    """
    match expect:
        case Seen():
            return _rate(observations, _happened, lambda k, n: judge_seen(k, n, expect.k, expect.n))
        case Rate():
            found = _rate(observations, _happened, lambda k, n: judge_rate(k, n, expect.low, expect.high))
            return _beside(found, expect)
        case Word():
            finding = _rate(
                observations, lambda seen: _is(seen, expect.word), lambda k, n: judge_rate(k, n, TYPICALLY, 1.0)
            )
            words = sorted({seen.word or "not known" for seen in observations})
            note = f'"is {expect.word}" is read as: more than half of all seeds are; seen: {", ".join(words)}'
            return replace(finding, notes=(*finding.notes, note))
        case Value() | Between():
            return _beside(_median(observations, expect), expect)
        case Order():
            raise TypeError("an order needs two subjects")
        case _:
            assert_never(expect)


def judge_trainings(
    first: Sequence[Observation], second: Sequence[Observation], order: Order, generator: Generator
) -> Finding:
    """Judge an order of two subjects of which the first at least was trained, each with at least one observation."""
    fixed = next((seen for seen in second if seen.seed is None), None)
    if fixed is not None:
        return _against_number(first, fixed, order)
    if order in _RATES:
        counts = _counts(first), _counts(second)
        if None in counts:
            return _unmeasured([*first, *second])
        (k1, n1), (k2, n2) = (count for count in counts if count is not None)
        return _finding(judge_order_rates(k1, n1, k2, n2, order))
    times = _times(first), _times(second)
    if times[0] is not None and times[1] is not None:
        return _finding(judge_order_times(times[0], times[1], order, generator))
    values = _values(first), _values(second)
    if values[0] is None or values[1] is None:
        return _unmeasured([*first, *second])
    return _finding(judge_order_values(values[0], values[1], order, generator))


@cache
def least_seeds(expect: Expectation) -> int | None:
    """How many seeds (per arm) can decide at all, if they agree as well as they can; None if very many cannot.

    Worked values: 6 for "typically", since 0.025 ** (1/6) = 0.54 and 0.025 ** (1/5) = 0.48; 6 for a median; 15 for a
    published 0 of 1, which 15 of 15 contradict with p = 0.047.
    """

    def decides(n: int) -> bool:
        match expect:
            case Value() | Between():
                return n >= LEAST_FOR_MEDIAN
            case Order():
                return rates_differ(n, n, 0, n).p <= LEVEL if expect in _RATES else least_per_arm(n, n) == 0
            case Word() | Rate() | Seen():
                return any(_decided(k, n, expect) for k in (0, n))
            case _:
                assert_never(expect)

    return next((n for n in range(1, _MANY) if decides(n)), None)


def counted_seeds(seeds: int) -> str:
    """`1 seed`, `6 seeds`."""
    return f"{seeds} seed{'' if seeds == 1 else 's'}"


def _decided(k: int, n: int, expect: Word | Rate | Seen) -> bool:
    if isinstance(expect, Seen):  # two counts are told apart by fewer seeds than it takes to call them equal
        return rates_differ(k, n, expect.k, expect.n).p <= LEVEL
    low, high = (expect.low, expect.high) if isinstance(expect, Rate) else (TYPICALLY, 1.0)
    return decide_rate(k, n, low, high) is not Decision.INCONCLUSIVE


def _finding(result: TestResult, notes: tuple[str, ...] = ()) -> Finding:
    return Finding(
        decision=result.decision,
        test=result.test,
        numbers=result.numbers,
        missing=result.needs if result.decision is Decision.INCONCLUSIVE else None,
        seeds_needed=result.seeds_needed if result.decision is Decision.INCONCLUSIVE else None,
        p=result.p,
        interval=result.interval,
        error_bound=result.error_bound,
        notes=notes,
    )


def _beside(finding: Finding, expect: Expectation) -> Finding:
    """Put what is claimed beside what was observed."""
    return replace(finding, numbers=f"{finding.numbers}; claimed: {expectation_text(expect)}")


def _rate(
    observations: Sequence[Observation],
    event: Callable[[Observation], bool | None],
    judge: Callable[[int, int], TestResult],
) -> Finding:
    """Judge a rate, whatever the replicas may have been that were not measured."""
    seen = [event(observation) for observation in observations]
    k, n = seen.count(True), len(seen)
    unknown = seen.count(None)
    finding = _finding(judge(k, n))
    if not unknown:
        return finding
    note = f"{unknown} of {n} replicas were not measured; judged with each number of them for and the rest against"
    # Not the two ends alone: a rate may be too small with none of them, too large with all, and as claimed between.
    if all(judge(k + more, n).decision is finding.decision for more in range(unknown, 0, -1)):
        return replace(finding, notes=(note,))
    numbers = f"{k} to {k + unknown} of {n}"
    return Finding(Decision.INCONCLUSIVE, finding.test, numbers, f"{unknown} of {n} replicas measured", notes=(note,))


def _median(observations: Sequence[Observation], expect: Value | Between) -> Finding:
    low, high = region(expect)
    if (times := _times(observations)) is not None:
        return _finding(judge_median_time(times, low, high))
    if (values := _values(observations)) is not None:
        return _finding(judge_median(values, low, high))
    return _unmeasured(observations)


def _against_number(observations: Sequence[Observation], fixed: Observation, order: Order) -> Finding:
    """Judge an order against something that was not trained: the median over seeds on the claimed side of it."""
    if fixed.value is None or order in _RATES:
        return Finding(
            Decision.INCONCLUSIVE, "median over seeds against one number", missing=f"a number of {fixed.subject}"
        )
    below = order in (Order.EARLIER, Order.LOWER)
    low, high = (None, fixed.value) if below else (fixed.value, None)
    note = f"{fixed.subject} is one number, {value_text(fixed)}: the median over seeds is judged against it"
    finding = _median(observations, Between(low, high))
    return replace(finding, notes=(*finding.notes, note))


def _unmeasured(observations: Sequence[Observation]) -> Finding:
    missing = [seen for seen in observations if seen.value is None and seen.time is None]
    seeds = ", ".join(number_text(seen.seed) for seen in missing if seen.seed is not None)
    which = f"seed{'s' if len(missing) > 1 else ''} {seeds}" if seeds else "every replica"
    return Finding(
        Decision.INCONCLUSIVE,
        "median over seeds",
        f"{len(missing)} of {len(observations)} replicas have no value",
        f"a value of {which}: leaving replicas out would favour those that went well",
    )


def _happened(observation: Observation) -> bool | None:
    return None if observation.value is None else observation.value != 0


def _is(observation: Observation, word: str) -> bool | None:
    return None if observation.word is None else observation.word == word


def _counts(observations: Sequence[Observation]) -> tuple[int, int] | None:
    seen = [_happened(observation) for observation in observations]
    return None if None in seen else (seen.count(True), len(seen))


def _times(observations: Sequence[Observation]) -> list[StepInterval | Censored] | None:
    """The times, if every replica has one."""
    times = [observation.time for observation in observations if observation.time is not None]
    return times if len(times) == len(observations) else None


def _values(observations: Sequence[Observation]) -> list[float] | None:
    values = [observation.value for observation in observations if observation.value is not None]
    return values if len(values) == len(observations) else None

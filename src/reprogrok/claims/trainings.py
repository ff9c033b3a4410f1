"""Replicas of a training, each seed a draw -> the judgement on a claim about the training.

    PublishedCount, Rate   the rate of an event over seeds
    Word                   the rate of replicas with that word: "is W" claims that more than half of all seeds are W
    Value, Between         the median over seeds, of a number or of a time
    Order                  rates, times or numbers of two trainings; against one fixed number: the median

A replica that was not measured is not left out, which would favour the replicas that went well: a rate is judged with
every possible outcome of such replicas and decided only if all agree; a median is not judged at all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import assert_never

from numpy.random import Generator

from reprogrok.claims.artefacts import region
from reprogrok.claims.claims import Between, Expectation, Order, PublishedCount, Rate, Value, Word
from reprogrok.claims.evidence import Observation
from reprogrok.claims.judgements import ClaimDecision, Judgement
from reprogrok.claims.rules import (
    LESS,
    LEVEL,
    decide_rate,
    judge_count,
    judge_median,
    judge_median_time,
    judge_order_rates,
    judge_order_times,
    judge_order_values,
    judge_rate,
)
from reprogrok.claims.text import expectation_text, number_text, value_text
from reprogrok.metrics.grokking import Censored, StepInterval
from reprogrok.stats.exact_tests import rates_differ
from reprogrok.stats.permutation import least_per_arm
from reprogrok.stats.survival import LEAST_FOR_MEDIAN

TYPICALLY = 0.5
_MANY = 40
_RATES = {Order.MORE_OFTEN, Order.LESS_OFTEN}


def judge_training(observations: Sequence[Observation], expect: Expectation) -> Judgement:
    """Judge a claim about one training by its replicas.

    Args:
        observations: at least one, one per seed, all of the claim's quantity.
        expect: no order.
    """
    match expect:
        case PublishedCount():
            return _rate(observations, _happened, lambda k, n: judge_count(k, n, expect.k, expect.n))
        case Rate():
            found = _rate(observations, _happened, lambda k, n: judge_rate(k, n, expect.low, expect.high))
            return _with_claimed(found, expect)
        case Word():
            found = _rate(
                observations, lambda seen: _is(seen, expect.word), lambda k, n: judge_rate(k, n, TYPICALLY, 1.0)
            )
            words = sorted({seen.word or "not known" for seen in observations})
            note = f'"is {expect.word}" is read as: more than half of all seeds are; seen: {", ".join(words)}'
            return replace(found, notes=(*found.notes, note))
        case Value() | Between():
            return _with_claimed(_median(observations, expect), expect)
        case Order():
            raise TypeError("an order needs two subjects")
        case _:
            assert_never(expect)


def judge_trainings(
    first: Sequence[Observation], second: Sequence[Observation], order: Order, generator: Generator
) -> Judgement:
    """Judge an order of two subjects, of which at least the first was trained, each with at least one observation."""
    fixed = next((seen for seen in second if seen.seed is None), None)
    if fixed is not None:
        return _against_number(first, fixed, order)
    if order in _RATES:
        counts = _counts(first), _counts(second)
        if counts[0] is None or counts[1] is None:
            return _unmeasured([*first, *second])
        return judge_order_rates(*counts[0], *counts[1], order)
    times = _times(first), _times(second)
    if times[0] is not None and times[1] is not None:
        return judge_order_times(times[0], times[1], order, generator)
    values = _values(first), _values(second)
    if values[0] is None or values[1] is None:
        return _unmeasured([*first, *second])
    return judge_order_values(values[0], values[1], order, generator)


@cache
def least_seeds(expect: Expectation) -> int | None:
    """Return how many seeds (per arm) can decide at all, if they agree as well as they can; None above 39.

    Worked values: 6 for "typically", since 0.025 ** (1/6) = 0.54 and 0.025 ** (1/5) = 0.48; 6 for a median; 15 for a
    published 0 of 1, which 15 of 15 contradict with p = 0.047.
    """

    def decides(n: int) -> bool:
        match expect:
            case Value() | Between():
                return n >= LEAST_FOR_MEDIAN
            case Order():
                return rates_differ(n, n, 0, n).p <= LEVEL if expect in _RATES else least_per_arm(n, n) == 0
            case Word() | Rate() | PublishedCount():
                return any(_decided(k, n, expect) for k in (0, n))
            case _:
                assert_never(expect)

    return next((n for n in range(1, _MANY) if decides(n)), None)


def _decided(k: int, n: int, expect: Word | Rate | PublishedCount) -> bool:
    if isinstance(expect, PublishedCount):  # fewer seeds tell two counts apart than can show them equal
        return rates_differ(k, n, expect.k, expect.n).p <= LEVEL
    low, high = (expect.low, expect.high) if isinstance(expect, Rate) else (TYPICALLY, 1.0)
    return decide_rate(k, n, low, high) is not ClaimDecision.INCONCLUSIVE


def _with_claimed(found: Judgement, expect: Expectation) -> Judgement:
    """Add the claim to the observed numbers."""
    return replace(found, numbers=f"{found.numbers}; claimed: {expectation_text(expect)}")


def _rate(
    observations: Sequence[Observation],
    event: Callable[[Observation], bool | None],
    judge: Callable[[int, int], Judgement],
) -> Judgement:
    """Judge a rate for every possible outcome of the replicas that were not measured."""
    seen = [event(observation) for observation in observations]
    k, n = seen.count(True), len(seen)
    unknown = seen.count(None)
    found = judge(k, n)
    if not unknown:
        return found
    note = f"{unknown} of {n} replicas were not measured; judged with each number of them for and the rest against"
    # Not only the two ends: a rate may be too small with none of them, too large with all, and as claimed between.
    if all(judge(k + more, n).decision is found.decision for more in range(unknown, 0, -1)):
        return replace(found, notes=(note,))
    missing = f"{unknown} of {n} replicas measured"
    return Judgement(ClaimDecision.INCONCLUSIVE, found.test, f"{k} to {k + unknown} of {n}", missing, notes=(note,))


def _median(observations: Sequence[Observation], expect: Value | Between) -> Judgement:
    low, high = region(expect)
    if (times := _times(observations)) is not None:
        return judge_median_time(times, low, high)
    if (values := _values(observations)) is not None:
        return judge_median(values, low, high)
    return _unmeasured(observations)


def _against_number(observations: Sequence[Observation], fixed: Observation, order: Order) -> Judgement:
    """Judge an order against an untrained subject: the median over seeds on the claimed side of its number."""
    if fixed.value is None or order in _RATES:
        test, missing = "median over seeds against one number", f"a number of {fixed.subject}"
        return Judgement(ClaimDecision.INCONCLUSIVE, test, missing=missing)
    low, high = (None, fixed.value) if order in LESS else (fixed.value, None)
    note = f"{fixed.subject} is one number, {value_text(fixed)}: the median over seeds is judged against it"
    found = _median(observations, Between(low, high))
    return replace(found, notes=(*found.notes, note))


def _unmeasured(observations: Sequence[Observation]) -> Judgement:
    missing = [seen for seen in observations if seen.value is None and seen.time is None]
    seeds = ", ".join(number_text(seen.seed) for seen in missing if seen.seed is not None)
    which = f"seed{'s' if len(missing) > 1 else ''} {seeds}" if seeds else "every replica"
    return Judgement(
        ClaimDecision.INCONCLUSIVE,
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
    """Return the times, if every replica has one."""
    times = [observation.time for observation in observations if observation.time is not None]
    return times if len(times) == len(observations) else None


def _values(observations: Sequence[Observation]) -> list[float] | None:
    values = [observation.value for observation in observations if observation.value is not None]
    return values if len(values) == len(observations) else None

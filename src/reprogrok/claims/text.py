"""Claims, observations and verdicts -> the clauses that judgements, tables and the ledger share."""

from __future__ import annotations

from typing import assert_never

from reprogrok.claims.claims import Between, Claim, Expectation, Order, PublishedCount, Quantity, Rate, Value, Word
from reprogrok.claims.evidence import Observation
from reprogrok.claims.judgements import ClaimDecision
from reprogrok.claims.verdict import Arm, Audit, ClaimVerdict
from reprogrok.metrics.grokking import Censored, StepInterval
from reprogrok.stats.range_text import count_text, range_text
from reprogrok.text import counted, seeds_text

NOTHING = "-"


def claimed(claim: Claim) -> str:
    """Return the claim on the quantity: `first_step of test_accuracy: 33,700`."""
    about = quantity_name(claim.quantity)
    if isinstance(claim.expect, Order):
        return f"{about}: {claim.subject.name} {expectation_text(claim.expect)} than {_against(claim)}"
    if isinstance(claim.expect, Word):
        return f"{about}: {claim.expect.word}"
    return f"{about}: {expectation_text(claim.expect)}"


def quantity_name(quantity: Quantity) -> str:
    """Return `first_step of test_accuracy`, `parameters`."""
    return quantity.name if quantity.metric is None else f"{quantity.name} of {quantity.metric}"


def definitions(quantity: Quantity) -> str:
    """Return every id that defines the quantity: `first-above/0.90 of argmax/answer, up to step 20,000`."""
    parts = [quantity.definition]
    if quantity.measured_as is not None and quantity.measured_as != quantity.definition:
        parts[0] += f" of {quantity.measured_as}"
    if quantity.step is not None:
        parts.append(f"at step {quantity.step:,}")
    if quantity.until is not None:
        parts.append(f"up to step {quantity.until:,}")
    if quantity.window is not None:
        parts.append(f"window {quantity.window}")
    if quantity.side is not None:
        parts.append(f"{quantity.side} side")
    return ", ".join(parts)


def size(arm: Arm) -> str:
    """Return how much was observed: `8 seeds`, `n = 100,000`, `1 log`, `computed`; `-` for nothing."""
    if not arm.observations:
        return NOTHING
    if arm.seeds:
        return counted(len(arm.seeds), "seed")
    n = next((seen.n for seen in arm.observations if seen.n is not None), None)
    if n is not None:
        return f"n = {n:,}"
    return "computed" if arm.subject.kind == "data" else f"1 {arm.subject.kind}"


def sizes(verdict: ClaimVerdict) -> str:
    """Return the sizes of both sides."""
    return " against ".join(size(arm) for arm in verdict.arms)


def devices(verdict: ClaimVerdict) -> str:
    """Return the kinds of device of all observations: `cpu`, `cpu, cuda`; `-` where none is known."""
    found = sorted({device for arm in verdict.arms for device in arm.devices})
    return ", ".join(found) or NOTHING


def origins(verdict: ClaimVerdict) -> tuple[str, ...]:
    """Return the files and folders of all observations."""
    return tuple(dict.fromkeys(origin for arm in verdict.arms for origin in arm.origins))


def arm_text(arm: Arm) -> str:
    """Return one side of the evidence as one line: `experiment e15: 8 seeds (42 to 49), cpu`."""
    seeds = f" ({seeds_text(arm.seeds)})" if arm.seeds else ""
    return ", ".join((f"{arm.subject}: {size(arm)}{seeds}", *arm.devices))


def interval_text(interval: tuple[float, float] | None) -> str | None:
    """Return `0.085 to 0.755`."""
    return None if interval is None else f"{interval[0]:.4g} to {interval[1]:.4g}"


def reason(verdict: ClaimVerdict) -> str:
    """Return the numbers, and for an open claim the missing evidence."""
    judgement = verdict.judgement
    if judgement.is_open and judgement.missing:
        return (
            f"{judgement.numbers}; missing: {judgement.missing}"
            if judgement.numbers
            else f"missing: {judgement.missing}"
        )
    return judgement.numbers


def chance_text(audit: Audit) -> str:
    """Return how many verdicts chance can make wrong, and how many are wrong on average, at most."""
    decided = len(audit.by_statistics)
    certain = len(audit.verdicts) - decided - audit.count()[ClaimDecision.INCONCLUSIVE]
    if not decided:
        return f"No verdict is decided by statistics; {counted(certain, 'verdict')} by arithmetic or reading alone."
    return (
        f"{counted(decided, 'verdict')} decided by statistics, of which at most {audit.expected_wrong:.2g} would be"
        f" wrong by chance, on average; {certain} by arithmetic or reading alone, which chance cannot make wrong."
    )


def clash_text(pair: tuple[str, str]) -> str:
    """Return the warning about two disputing claims that both came out REPRODUCED."""
    return (
        f"{pair[0]} and {pair[1]} dispute each other, and both came out REPRODUCED: that cannot be."
        " One of the two is written down wrongly here; trust neither verdict until it is mended."
    )


def _against(claim: Claim) -> str:
    return NOTHING if claim.against is None else claim.against.name


def expectation_text(expect: Expectation) -> str:
    """Return the claim in few words: `33,700`, `at most 0.05`, `2 of 5 seeds`, `earlier`."""
    match expect:
        case Value() | Between():
            return region_text(expect)
        case Word():
            return expect.word
        case PublishedCount():
            return f"{expect.k} of {expect.n} seeds"
        case Rate():
            return f"a rate of {number_text(expect.low)} to {number_text(expect.high)}"
        case Order():
            return expect.value.replace("-", " ")
        case _:
            assert_never(expect)


def region_text(expect: Value | Between) -> str:
    """Return `33,700`, `0.203 within 0.0005`, `12 of 100,000`, `at least 30`, `100,000 to 300,000`."""
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
    """Return the observed value: `33,700, in (33,600, 33,700]`, `not until 19,999`, `12 of 100,000`, `0 of 10^20`."""
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
        fraction = "" if observation.value == observation.k else f"{number_text(observation.value)}, which is "
        return f"{fraction}{observation.k:,} of {observation.n:,}"
    return number_text(observation.value)


def number_text(value: float) -> str:
    """Return a number for people: whole ones in full with commas, others with six digits."""
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:.6g}"

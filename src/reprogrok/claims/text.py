"""A verdict on a claim -> the clauses that the tables, the explanation and the ledger share."""

from __future__ import annotations

from reprogrok.claims.artefacts import expectation_text
from reprogrok.claims.claims import Claim, Order, Quantity, Word
from reprogrok.claims.tests import Decision
from reprogrok.claims.verdict import Arm, Audit, ClaimVerdict
from reprogrok.text import counted, seeds_text

NOTHING = "-"
LEVEL = "95 %"


def claimed(claim: Claim) -> str:
    """What is claimed of the quantity: `first_step of test_accuracy: 33,700`."""
    about = quantity_name(claim.quantity)
    if isinstance(claim.expect, Order):
        return f"{about}: {claim.subject.name} {expectation_text(claim.expect)} than {_against(claim)}"
    if isinstance(claim.expect, Word):
        return f"{about}: {claim.expect.word}"
    return f"{about}: {expectation_text(claim.expect)}"


def quantity_name(quantity: Quantity) -> str:
    """`first_step of test_accuracy`, `parameters`."""
    return quantity.name if quantity.metric is None else f"{quantity.name} of {quantity.metric}"


def definitions(quantity: Quantity) -> str:
    """Every id that says how it is counted: `first-above/0.90 of argmax/answer, up to step 20,000`."""
    words = [quantity.definition]
    if quantity.measured_as is not None and quantity.measured_as != quantity.definition:
        words[0] += f" of {quantity.measured_as}"
    if quantity.step is not None:
        words.append(f"at step {quantity.step:,}")
    if quantity.until is not None:
        words.append(f"up to step {quantity.until:,}")
    if quantity.window is not None:
        words.append(f"window {quantity.window}")
    if quantity.side is not None:
        words.append(f"{quantity.side} side")
    return ", ".join(words)


def size(arm: Arm) -> str:
    """How much was observed: `8 seeds`, `n = 100,000`, `1 log`, `computed`; `-` for nothing."""
    if not arm.observations:
        return NOTHING
    if arm.seeds:
        return counted(len(arm.seeds), "seed")
    n = next((seen.n for seen in arm.observations if seen.n is not None), None)
    if n is not None:
        return f"n = {n:,}"
    return "computed" if arm.subject.kind == "data" else f"1 {arm.subject.kind}"


def sizes(verdict: ClaimVerdict) -> str:
    """The sizes of both sides."""
    return " against ".join(size(arm) for arm in verdict.arms)


def devices(verdict: ClaimVerdict) -> str:
    """Kinds of device of all observations: `cpu`, `cpu and cuda`; `-` where nothing ran or nobody knows."""
    found = sorted({device for arm in verdict.arms for device in arm.devices})
    return ", ".join(found) or NOTHING


def origins(verdict: ClaimVerdict) -> tuple[str, ...]:
    """Files and folders of all observations."""
    return tuple(dict.fromkeys(origin for arm in verdict.arms for origin in arm.origins))


def arm_text(arm: Arm) -> str:
    """One side of the evidence in a line: `experiment e15: 8 seeds (42 to 49), cpu`."""
    seeds = f" ({seeds_text(arm.seeds)})" if arm.seeds else ""
    return ", ".join((f"{arm.subject}: {size(arm)}{seeds}", *arm.devices))


def interval_text(interval: tuple[float, float] | None) -> str | None:
    """`0.085 to 0.755`."""
    return None if interval is None else f"{interval[0]:.4g} to {interval[1]:.4g}"


def reason(verdict: ClaimVerdict) -> str:
    """The numbers, and of an open claim what is missing."""
    finding = verdict.finding
    if verdict.decision is Decision.INCONCLUSIVE and finding.missing:
        return f"{finding.numbers}; missing: {finding.missing}" if finding.numbers else f"missing: {finding.missing}"
    return finding.numbers


def chance_text(audit: Audit) -> str:
    """How many verdicts chance can make wrong, and how many of them it would, on average, at most."""
    decided = len(audit.by_statistics)
    certain = len(audit.verdicts) - decided - audit.count()[Decision.INCONCLUSIVE]
    if not decided:
        return f"No verdict is decided by statistics; {counted(certain, 'verdict')} by arithmetic or reading alone."
    return (
        f"{counted(decided, 'verdict')} decided by statistics, of which at most {audit.expected_wrong:.2g} would be"
        f" wrong by chance, on average; {certain} by arithmetic or reading alone, which chance cannot make wrong."
    )


def clash_text(pair: tuple[str, str]) -> str:
    """The loud one."""
    return (
        f"{pair[0]} and {pair[1]} dispute each other, and both came out REPRODUCED: that cannot be."
        " One of the two is written down wrongly here; trust neither verdict until it is mended."
    )


def _against(claim: Claim) -> str:
    return NOTHING if claim.against is None else claim.against.name

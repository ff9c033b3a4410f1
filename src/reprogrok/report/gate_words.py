"""How the parts of a verdict are said, the same in every format: numbers, steps, and what came of a condition."""

from __future__ import annotations

import os
from decimal import Decimal
from pathlib import Path

from reprogrok.judge.operators import Reading
from reprogrok.judge.verdict import ConditionResult, CriterionResult, Finding, Outcome, Verdict


def number(value: Decimal | float) -> str:
    """Six significant digits: enough to tell two accuracies of ten thousand examples apart."""
    return f"{float(value):.6g}"


def signed(value: Decimal) -> str:
    """A margin; its sign says whether the limit is kept."""
    return f"{float(value):+.4g}"


def at(reading: Reading) -> str:
    """`19,500`, or `15,000 to 18,500` for a change between two points."""
    return f"{reading.step:,}" if reading.since is None else f"{reading.since:,} to {reading.step:,}"


def points(result: CriterionResult) -> str:
    """Points seen of points expected, and how many stand beside the grid."""
    extra = f" (+{result.off_grid:,})" if result.off_grid else ""
    return f"{result.seen:,}/{result.expected:,}{extra}"


def condition_text(result: CriterionResult, condition: ConditionResult) -> str:
    """The metric and what was asked of it."""
    return f"{result.criterion.metric} {condition.condition}"


def explain(result: CriterionResult, condition: ConditionResult) -> str:
    """What came of one condition, as one line."""
    parts = [f"{condition_text(result, condition)} {condition.outcome}"]
    if condition.worst is not None and condition.margin is not None:
        where = "over steps" if condition.worst.since is not None else "at step"
        parts.append(f"worst {number(condition.worst.value)} {where} {at(condition.worst)}")
        parts.append(f"margin {signed(condition.margin)}")
    if condition.first_violation is not None:
        parts.append(f"first violation at {at(condition.first_violation)}")
    parts.append(f"points {points(result)}")
    if condition.outcome is not Outcome.HOLDS:
        parts.extend(result.reasons)
    return "; ".join(parts)


def finding_text(finding: Finding) -> str:
    """An impossible or vacuous condition with its arithmetic, as one line."""
    return f"{finding.kind}: {finding.criterion.id}: {finding.arithmetic}"


def summary(verdict: Verdict) -> str:
    """The decision with the counts behind it, as one line."""
    outcomes = [result.outcome for replica in verdict.replicas for result in replica.criteria]
    counts = ", ".join(
        f"{outcomes.count(outcome)} {word}"
        for outcome, word in ((Outcome.HOLDS, "hold"), (Outcome.FAILS, "fail"), (Outcome.INCONCLUSIVE, "inconclusive"))
        if outcomes.count(outcome)
    )
    seeds = f" x {len(verdict.replicas)} seeds" if len(verdict.replicas) > 1 else ""
    return (
        f"{verdict.gate.name}: {verdict.decision} (exit {int(verdict.exit_code)}): "
        f"{len(verdict.gate.criteria)} criteria{seeds}: {counts}"
    )


def path_text(path: Path) -> str:
    """A path as text that any encoding of Unicode can carry, whatever bytes its name is made of."""
    return os.fsencode(path).decode("utf-8", "replace")

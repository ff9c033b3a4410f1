"""How the parts of a verdict are said, the same in every format: numbers, steps, and what came of a condition."""

from __future__ import annotations

import os
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

from reprogrok.gates.criteria import Controls
from reprogrok.gates.operators import Reading
from reprogrok.gates.verdict import ConditionResult, CriterionResult, Finding, Outcome, RequirementResult, Verdict


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
    if condition.note:
        parts.append(condition.note)
    parts.append(f"points {points(result)}")
    if condition.outcome is not Outcome.HOLDS:
        parts.extend(result.reasons)
    return "; ".join(parts)


def explain_requirement(result: RequirementResult) -> str:
    """What came of one requirement, as one line."""
    return "; ".join(
        part for part in (f"{result.requirement} {result.outcome}", result.numbers, *result.reasons) if part
    )


def registration_text(verdict: Verdict) -> str:
    """Whether the criteria were known before the training, and what follows from it, as one line."""
    registration = verdict.registration
    accepted = "; the amendment was accepted (--accept-amended)" if verdict.amendment_accepted else ""
    return f"{registration.status}: {registration.note}{accepted}"


def controls_text(controls: Controls | None) -> str:
    """How many traces show that the gate can tell runs apart, as one line."""
    if controls is None:
        return "none"
    passing = f"none can pass ({controls.reason})" if controls.reason else f"{controls.passing} passes"
    return f"{passing}, {controls.failing} fail, each what it is there for ({path_text(controls.path)})"


def finding_text(finding: Finding) -> str:
    """An impossible or vacuous condition with its arithmetic, as one line."""
    return f"{finding.kind}: {finding.criterion.id}: {finding.arithmetic}"


def summary(verdict: Verdict) -> str:
    """The decision with the counts behind it, as one line."""
    criteria = [result.outcome for replica in verdict.replicas for result in replica.criteria]
    required = [result.outcome for replica in verdict.replicas for result in replica.requires]
    seeds = f" x {len(verdict.replicas)} seeds" if len(verdict.replicas) > 1 else ""
    parts = [f"{len(verdict.gate.criteria)} criteria{seeds}: {_counts(criteria)}"]
    if required:
        plural = "" if len(verdict.gate.requires) == 1 else "s"
        parts.append(f"{len(verdict.gate.requires)} requirement{plural}{seeds}: {_counts(required)}")
    if verdict.withheld:
        parts.append(verdict.withheld)
    return f"{verdict.gate.name}: {verdict.decision} (exit {int(verdict.exit_code)}): {'; '.join(parts)}"


def _counts(outcomes: Sequence[Outcome]) -> str:
    words = ((Outcome.HOLDS, "hold"), (Outcome.FAILS, "fail"), (Outcome.INCONCLUSIVE, "inconclusive"))
    return ", ".join(f"{outcomes.count(outcome)} {word}" for outcome, word in words if outcomes.count(outcome))


def path_text(path: Path) -> str:
    """A path as text that any encoding of Unicode can carry, whatever bytes its name is made of."""
    return os.fsencode(path).decode("utf-8", "replace")

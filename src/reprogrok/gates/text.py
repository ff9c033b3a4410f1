"""Text for the parts of a verdict, the same in every format: numbers, steps, conditions, the summary."""

from __future__ import annotations

import os
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

from reprogrok.gates.criteria import Controls
from reprogrok.gates.operators import Reading
from reprogrok.gates.verdict import (
    ConditionResult,
    CriterionResult,
    FeasibilityNote,
    GateVerdict,
    Outcome,
    RequirementResult,
)
from reprogrok.text import counted


def number(value: Decimal | float) -> str:
    """Format with six significant digits, enough to tell two accuracies of ten thousand examples apart."""
    return f"{float(value):.6g}"


def signed(value: Decimal) -> str:
    """Format a margin with its sign."""
    return f"{float(value):+.4g}"


def at(reading: Reading) -> str:
    """Format the steps of a reading: `19,500`, or `15,000 to 18,500` for a change between two points."""
    return f"{reading.step:,}" if reading.since is None else f"{reading.since:,} to {reading.step:,}"


def points(result: CriterionResult) -> str:
    """Format the points measured of those expected, and the number beside the grid: `40/40 (+2)`."""
    extra = f" (+{result.off_grid:,})" if result.off_grid else ""
    return f"{result.measured:,}/{result.expected:,}{extra}"


def condition_text(result: CriterionResult, condition: ConditionResult) -> str:
    """Format a condition with its metric."""
    return f"{result.criterion.metric} {condition.condition}"


def explain(result: CriterionResult, condition: ConditionResult) -> str:
    """Describe the result of one condition in one line."""
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
    """Describe the result of one requirement in one line."""
    return "; ".join(filter(None, (f"{result.requirement} {result.outcome}", result.numbers, *result.reasons)))


def registration_text(verdict: GateVerdict) -> str:
    """Describe the registration of the criteria in one line."""
    registration = verdict.registration
    accepted = "; the amendment was accepted (--accept-amended)" if verdict.amendment_accepted else ""
    return f"{registration.status}: {registration.note}{accepted}"


def controls_text(controls: Controls | None) -> str:
    """Count the control traces in one line."""
    if controls is None:
        return "none"
    passing = f"none can pass ({controls.reason})" if controls.reason else f"{controls.passing} passes"
    return f"{passing}, {controls.failing} fail as stated ({path_text(controls.path)})"


def note_text(note: FeasibilityNote) -> str:
    """Describe an impossible or vacuous condition in one line, with its arithmetic."""
    return f"{note.kind}: {note.criterion.id}: {note.arithmetic}"


def summary(verdict: GateVerdict) -> str:
    """Describe the decision in one line, with the counts behind it."""
    criteria = [result.outcome for replica in verdict.replicas for result in replica.criteria]
    required = [result.outcome for replica in verdict.replicas for result in replica.requires]
    seeds = f" x {len(verdict.replicas)} seeds" if len(verdict.replicas) > 1 else ""
    parts = [f"{len(verdict.gate.criteria)} criteria{seeds}: {_counts(criteria)}"]
    if required:
        parts.append(f"{counted(len(verdict.gate.requires), 'requirement')}{seeds}: {_counts(required)}")
    if verdict.withheld:
        parts.append(verdict.withheld)
    return f"{verdict.gate.name}: {verdict.decision} (exit {int(verdict.exit_code)}): {'; '.join(parts)}"


def _counts(outcomes: Sequence[Outcome]) -> str:
    verbs = ((Outcome.HOLDS, "hold"), (Outcome.FAILS, "fail"), (Outcome.INCONCLUSIVE, "inconclusive"))
    return ", ".join(f"{outcomes.count(outcome)} {verb}" for outcome, verb in verbs if outcomes.count(outcome))


def path_text(path: Path) -> str:
    """Return a path as valid Unicode, whatever bytes its name is made of."""
    return os.fsencode(path).decode("utf-8", "replace")

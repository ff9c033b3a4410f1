"""A gate and a record -> one `Verdict`; knows records, never a trainer.

    series of a metric --usable points in the window--> readings of each condition --limit--> margins --> outcome

The rules, in the order in which they apply to each criterion of each replica:

1. A reading that breaks its limit FAILS, whatever else is missing: what was seen cannot be unseen.
2. Otherwise anything missing is INCONCLUSIVE: the metric, a point of the expected grid, a NaN anywhere in the window,
   a value that the metric cannot have, or a metric measured by another estimator than the criterion names.
3. Otherwise it HOLDS.

An operator that is content with one reading (`eventually`), and the slope, are violated by a whole window and not by a
point: for them rule 1 applies to a grid without holes alone. Values that are not usable are left out, never filled in:
a drop across a NaN is seen between its neighbours, and the NaN itself still keeps the criterion from holding.
A gate is the worst of its criteria and of what it requires beside them (`gates.requirements`), a run the worst of its
seeds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING

from reprogrok.errors import RecordError
from reprogrok.gates.criteria import Condition, Criterion, Gate
from reprogrok.gates.operators import (
    OPERATORS,
    Feasibility,
    Frame,
    Point,
    Quantifier,
    Reading,
    decimal,
    feasibility,
)
from reprogrok.gates.registration import check_registration
from reprogrok.gates.verdict import (
    Assessment,
    ConditionResult,
    CriterionResult,
    Finding,
    Outcome,
    ReplicaResult,
    RequirementResult,
    Verdict,
)
from reprogrok.metrics.bounds import Bounds
from reprogrok.metrics.registry import bounds
from reprogrok.record import Record, Series

if TYPE_CHECKING:
    from reprogrok.gates.requirements import Answers


def judge(gate: Gate, record: Record, answers: Answers | None = None, *, accept_amended: bool = False) -> Verdict:
    """Judge a run by the criteria of a gate and by what it requires.

    Args:
        gate: the criteria.
        record: the run.
        answers: what the run's split implies, where the record does not say it itself.
        accept_amended: do not withhold a GO because the criteria were amended after training began.

    Raises:
        RecordError: the record has no replica, so there is nothing to judge.
        InputError: the gate requires something of the split, and the run's configuration cannot be read.
    """
    if not record.replicas:
        raise RecordError("nothing to judge", path=record.path, expected="at least one replica", found="none")
    required: Mapping[int, tuple[RequirementResult, ...]] = {}
    if gate.requires:
        from reprogrok.gates.requirements import judge_requirements  # noqa: PLC0415 - brings NumPy and SciPy

        required = judge_requirements(gate.requires, record, answers)
    assessments = tuple(assess(criterion, record.facts) for criterion in gate.criteria)
    return Verdict(
        gate=gate,
        run=record.path,
        experiment=record.experiment,
        layout=record.layout,
        registration=check_registration(gate, record),
        assessments=assessments,
        replicas=tuple(
            ReplicaResult(
                seed, tuple(_judge_criterion(item, record, seed) for item in assessments), required.get(seed, ())
            )
            for seed in sorted(record.replicas)
        ),
        fingerprint=record.fingerprint,
        accept_amended=accept_amended,
    )


def assess(criterion: Criterion, facts: Mapping[str, int]) -> Assessment:
    """Find the conditions that no value can meet, or none can break, in a run with these facts."""
    limits = bounds(criterion.metric, criterion.definition, facts)
    findings = []
    for condition in criterion.conditions:
        kind = feasibility(OPERATORS[condition.operator], condition.limit, limits)
        if kind is not Feasibility.POSSIBLE:
            says = "no value can meet" if kind is Feasibility.IMPOSSIBLE else "no value can break"
            arithmetic = f"{says} {criterion.metric} {condition}: {limits.arithmetic}"
            findings.append(Finding(criterion, condition, kind, arithmetic))
    return Assessment(criterion, limits, tuple(findings))


def _judge_criterion(assessment: Assessment, record: Record, seed: int) -> CriterionResult:
    criterion, metrics = assessment.criterion, record.replicas[seed]
    reason = not_comparable(criterion.metric, criterion.definition, metrics, record.definitions)
    if reason is not None:
        undecided = tuple(ConditionResult(condition, Outcome.INCONCLUSIVE) for condition in criterion.conditions)
        return CriterionResult(criterion, undecided, seen=0, off_grid=0, reasons=(reason,))
    points, reasons = usable(metrics[criterion.metric], criterion.window, assessment.bounds)
    on_grid = [point.step for point in points if point.step in criterion.grid]
    if len(on_grid) < len(criterion.grid):
        reasons.append(_holes(criterion.grid, set(on_grid), metrics[criterion.metric]))
        if seed in record.diverged:
            reasons.append(f"the replica diverged at step {record.diverged[seed]:,}")
    conditions = tuple(
        _judge_condition(condition, points, criterion.grid, complete=not reasons) for condition in criterion.conditions
    )
    return CriterionResult(criterion, conditions, len(on_grid), len(points) - len(on_grid), tuple(reasons))


def not_comparable(
    metric: str, definition: str, metrics: Mapping[str, Series], definitions: Mapping[str, str]
) -> str | None:
    """Why a replica has no values of this metric by this estimator; None if it has."""
    if metric not in metrics:
        recorded = ", ".join(sorted(metrics)) or "nothing"
        return f"{metric} is missing (recorded: {recorded})"
    if (found := definitions.get(metric)) != definition:
        return f"{metric} was measured as {found or 'nobody knows what'}, not as {definition}"
    return None


def usable(series: Series, steps: range, limits: Bounds) -> tuple[list[Point], list[str]]:
    """The points of a window that can be judged, and why others cannot."""
    window = [(step, value) for step, value in zip(series.steps, series.values, strict=True) if step in steps]
    not_numbers = [step for step, value in window if not math.isfinite(value)]
    beyond = [(step, value) for step, value in window if math.isfinite(value) and not limits.contains(value)]
    reasons = []
    if not_numbers:
        reasons.append(f"{_count(len(not_numbers), 'value')} not a number, the first at step {not_numbers[0]:,}")
    if beyond:
        step, value = beyond[0]
        count = _count(len(beyond), "value")
        reasons.append(f"{count} that cannot be, the first {value:.6g} at step {step:,}: {limits.arithmetic}")
    points = [Point(step, decimal(value)) for step, value in window if math.isfinite(value) and limits.contains(value)]
    return points, reasons


def _holes(grid: range, present: set[int], series: Series) -> str:
    # The grid may be far longer than the record; the first hole is found after at most len(present) + 1 steps.
    first = next(step for step in grid if step not in present)
    text = f"{len(grid) - len(present):,} of {_count(len(grid), 'point')} missing, the first at step {first:,}"
    end = series.steps[-1] if series.steps else None
    return text if end is None or end >= grid[-1] else f"{text} (the record ends at step {end:,})"


def _judge_condition(condition: Condition, points: list[Point], grid: range, *, complete: bool) -> ConditionResult:
    operator, limit = OPERATORS[condition.operator], condition.limit
    readings = list(operator.readings(points, Frame(grid, condition.within, condition.confidence)))
    # A slope is one number of the whole series: with a hole there is none, not even a provisional one.
    if not readings or (operator.quantifier is Quantifier.INTERVAL and not complete):
        return ConditionResult(condition, Outcome.INCONCLUSIVE)

    def margin(reading: Reading) -> Decimal:
        return limit.margin(reading.value)

    broken = [reading for reading in readings if not limit.holds(reading.value)]
    unbroken = Outcome.HOLDS if complete else Outcome.INCONCLUSIVE
    known = Outcome.FAILS if complete else Outcome.INCONCLUSIVE
    if operator.quantifier is Quantifier.EVERY:
        deciding, first = min(readings, key=margin), broken[0] if broken else None
        return ConditionResult(condition, Outcome.FAILS if broken else unbroken, deciding, margin(deciding), first)
    none = len(broken) == len(readings)
    if operator.quantifier is Quantifier.SOME:
        deciding = max(readings, key=margin)
        return ConditionResult(condition, known if none else unbroken, deciding, margin(deciding))
    note = readings[0].note
    if broken and not none:  # the limit lies inside the interval
        return ConditionResult(condition, Outcome.INCONCLUSIVE, note=note)
    deciding = max(readings, key=margin) if none else min(readings, key=margin)
    outcome = Outcome.FAILS if none else Outcome.HOLDS
    return ConditionResult(condition, outcome, deciding, margin(deciding), note=note)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")

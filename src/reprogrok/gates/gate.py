"""A gate and a record -> one `GateVerdict`.

    series of a metric --usable points in the window--> readings of each condition --limit--> margins --> outcome

The rules, in the order in which they apply to each criterion of each replica:

1. A reading that breaks its limit FAILS, whatever else is missing.
2. Otherwise anything missing is INCONCLUSIVE: the metric, a point of the expected grid, a NaN anywhere in the window,
   a value outside the bounds of the metric, or a metric measured by another estimator than the criterion names.
3. Otherwise it HOLDS.

`eventually` and the slope are violated by a whole window and not by a point: for them rule 1 needs a grid without
holes. Unusable values are left out, never filled in: a drop across a NaN is measured between its neighbours.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from reprogrok.errors import RecordError
from reprogrok.gates.criteria import Condition, Criterion, Gate
from reprogrok.gates.operators import OPERATORS, Feasibility, Frame, Point, Quantifier, Reading, feasibility
from reprogrok.gates.points import not_comparable, usable
from reprogrok.gates.registration import check_registration
from reprogrok.gates.requirements import NOT_COUNTED, SplitAnswers, judge_requirements
from reprogrok.gates.verdict import (
    Assessment,
    ConditionResult,
    CriterionResult,
    FeasibilityNote,
    GateVerdict,
    Outcome,
    ReplicaResult,
)
from reprogrok.metrics.registry import bounds
from reprogrok.record import Record, Series
from reprogrok.text import counted


def judge(
    gate: Gate, record: Record, answers: SplitAnswers = NOT_COUNTED, *, accept_amended: bool = False
) -> GateVerdict:
    """Judge a run by the criteria and the requirements of a gate.

    Args:
        gate: the criteria.
        record: the run.
        answers: the answers of the run's split, which requirements need.
        accept_amended: do not withhold a GO because the criteria were amended after training began.

    Raises:
        RecordError: the record has no replica, so there is nothing to judge.
    """
    if not record.replicas:
        raise RecordError("nothing to judge", path=record.path, expected="at least one replica", found="none")
    required = judge_requirements(gate.requires, record, answers)
    assessments = tuple(assess(criterion, record.facts) for criterion in gate.criteria)
    return GateVerdict(
        gate=gate,
        run=record.path,
        experiment=record.experiment,
        layout=record.layout,
        registration=check_registration(gate, record),
        assessments=assessments,
        replicas=tuple(
            ReplicaResult(seed, tuple(_judge_criterion(item, record, seed) for item in assessments), required[seed])
            for seed in sorted(record.replicas)
        ),
        fingerprint=record.fingerprint,
        accept_amended=accept_amended,
    )


def assess(criterion: Criterion, facts: Mapping[str, int]) -> Assessment:
    """Find the conditions that no value can meet, or no value can break, in a run with these facts."""
    limits = bounds(criterion.metric, criterion.definition, facts)
    notes = []
    for condition in criterion.conditions:
        kind = feasibility(OPERATORS[condition.operator], condition.limit, limits)
        if kind is not Feasibility.POSSIBLE:
            verb = "meet" if kind is Feasibility.IMPOSSIBLE else "break"
            arithmetic = f"no value can {verb} {criterion.metric} {condition}: {limits.arithmetic}"
            notes.append(FeasibilityNote(criterion, condition, kind, arithmetic))
    return Assessment(criterion, limits, tuple(notes))


def _judge_criterion(assessment: Assessment, record: Record, seed: int) -> CriterionResult:
    criterion, metrics = assessment.criterion, record.replicas[seed]
    reason = not_comparable(criterion.metric, criterion.definition, metrics, record.definitions)
    if reason is not None:
        undecided = tuple(ConditionResult(condition, Outcome.INCONCLUSIVE) for condition in criterion.conditions)
        return CriterionResult(criterion, undecided, measured=0, off_grid=0, reasons=(reason,))
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


def _holes(grid: range, present: set[int], series: Series) -> str:
    # The grid may be far longer than the record; the first hole is found after at most len(present) + 1 steps.
    first = next(step for step in grid if step not in present)
    text = f"{len(grid) - len(present):,} of {counted(len(grid), 'point')} missing, the first at step {first:,}"
    end = series.steps[-1] if series.steps else None
    return text if end is None or end >= grid[-1] else f"{text} (the record ends at step {end:,})"


def _judge_condition(condition: Condition, points: list[Point], grid: range, *, complete: bool) -> ConditionResult:
    operator, limit = OPERATORS[condition.operator], condition.limit
    readings = list(operator.readings(points, Frame(grid, condition.within, condition.confidence)))
    # A slope belongs to the whole series: with a hole there is none, not even a provisional one.
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

"""One criterion and a planned run -> whether it can pass and can fail: bounds, evaluation grid, split, witnesses.

    bounds --feasibility--> IMPOSSIBLE, VACUOUS; else a witness for either outcome, or NOT_SHOWN
    steps of the run -----> UNMEASURED: a point of the grid is missing, so the criterion can never hold
    ceilings of the split-> UNINFORMATIVE, OUT_OF_REACH, REMEMBERED: expectations, not laws

The ceilings hold for learners that give only answers seen in training, or that remember and swap (`tasks.split_audit`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from itertools import pairwise

from reprogrok.gates.criteria import Condition, Criterion
from reprogrok.gates.operators import OPERATORS, Feasibility, Limit, Relation, decimal, feasibility
from reprogrok.gates.preflight.checks import ConditionCheck, CriterionCheck, NoteKind, PreflightNote
from reprogrok.gates.preflight.planned_run import PlannedRun
from reprogrok.gates.preflight.witnesses import find
from reprogrok.gates.verdict import Outcome
from reprogrok.metrics.bounds import Bounds
from reprogrok.metrics.registry import bounds, denominator
from reprogrok.tasks.split_audit import SplitAudit

_UPWARDS = {Relation.AT_LEAST, Relation.MORE_THAN}
_LEVELS = {"always", "eventually", "at_end"}  # the operators whose readings are values, not changes


def check_criterion(criterion: Criterion, planned: PlannedRun) -> CriterionCheck:
    """Check one criterion: its bounds, the steps at which the run measures it, and a witness for either outcome."""
    metric, definition, facts = criterion.metric, criterion.definition, planned.facts
    limits, count = bounds(metric, definition, facts), denominator(metric, definition, facts)
    checks = tuple(_condition(criterion, condition, limits, count, planned) for condition in criterion.conditions)
    one = checks[0].passes if len(checks) == 1 else None
    passes = one or find(criterion, Outcome.HOLDS, limits, count, facts)
    notes = []
    if passes is None and all(check.passes is not None for check in checks):
        notes.append(_together(criterion, limits, count))
    steps = planned.steps(metric) if planned.definitions.get(metric) == definition else ()
    measured = len(set(steps).intersection(criterion.grid))
    if measured < len(criterion.grid):
        notes.append(_unmeasured(criterion, planned, set(steps)))
    return CriterionCheck(criterion, limits, measured, checks, passes, tuple(notes))


def _unmeasured(criterion: Criterion, planned: PlannedRun, steps: set[int]) -> PreflightNote:
    name, found = planned.experiment.name, planned.definitions.get(criterion.metric)
    missing = [step for step in criterion.grid if step not in steps]
    if found is None:
        why = f"{name} does not log {criterion.metric}"
    elif found != criterion.definition:
        why = f"{name} logs {criterion.metric} as {found}, not as {criterion.definition}"
    else:
        last = max(steps)
        end = f", and its last evaluation is at step {last:,}" if missing[-1] > last else ""
        why = (
            f"{name} does not measure {criterion.metric} at {len(missing):,} of the {len(criterion.grid):,} required "
            f"steps, the first of them {missing[0]:,}{end}"
        )
    return PreflightNote(NoteKind.UNMEASURED, criterion.id, f"{why}: it can never hold", criterion.line)


def _together(criterion: Criterion, limits: Bounds, count: int | None) -> PreflightNote:
    """Note that each condition can be met but not, or not shown to be, all at once."""
    every = [item for item in criterion.conditions if item.operator in {"always", "at_end"}]
    conditions = " and ".join(map(str, criterion.conditions))
    if every and not _compatible([item.limit for item in every], limits, count):
        says = f"no value of {criterion.metric} meets {' and '.join(map(str, every))} at once: {limits.arithmetic}"
        return PreflightNote(NoteKind.IMPOSSIBLE, criterion.id, says, criterion.line)
    says = f"no series was found for which {criterion.metric} {conditions} hold at once, and no arithmetic rules it out"
    return PreflightNote(NoteKind.NOT_SHOWN, criterion.id, says, criterion.line)


def _compatible(asked: list[Limit], limits: Bounds, count: int | None) -> bool:
    """Return whether a value inside the bounds, k/n where values are counted, meets all of these limits.

    The limits leave an interval; if it is not empty, it holds one of its ends, a k/n next to one, or the middle.
    """
    ends = [Decimal(repr(float(end))) for end in (limits.low, limits.high)]
    tried = [*ends, *(limit.value for limit in asked)]
    finite = sorted({value for value in tried if value.is_finite() and ends[0] <= value <= ends[1]})
    if count is None:
        finite += [(a + b) / 2 for a, b in pairwise(finite)]
        if finite:
            finite += [end for end in (finite[0] - 1, max(finite) + 1) if ends[0] <= end <= ends[1]]
    else:
        near = [(value * count).to_integral_value(ROUND_FLOOR) + beside for value in finite for beside in (-1, 0, 1)]
        finite = [Decimal(repr(int(k) / count)) for k in near if 0 <= k <= count]
    return any(all(limit.holds(value) for limit in asked) for value in finite)


def _condition(
    criterion: Criterion, condition: Condition, limits: Bounds, count: int | None, planned: PlannedRun
) -> ConditionCheck:
    alone = replace(criterion, conditions=(condition,))
    kind = feasibility(OPERATORS[condition.operator], condition.limit, limits)
    passes = fails = None
    if kind is not Feasibility.IMPOSSIBLE:
        passes = find(alone, Outcome.HOLDS, limits, count, planned.facts)
    if kind is not Feasibility.VACUOUS:
        fails = find(alone, Outcome.FAILS, limits, count, planned.facts)
    asked, notes = f"{criterion.metric} {condition}", []
    if kind is not Feasibility.POSSIBLE:
        verb = "meet" if kind is Feasibility.IMPOSSIBLE else "break"
        why = f"{limits.arithmetic}, so no value can {verb} {asked}"
        notes.append(PreflightNote(NoteKind(kind.value), criterion.id, why, condition.line))
    else:
        for witness, verb in ((passes, "meets"), (fails, "breaks")):
            if witness is None:
                why = f"no series was found that {verb} {asked}, and no arithmetic rules it out"
                notes.append(PreflightNote(NoteKind.NOT_SHOWN, criterion.id, why, condition.line))
        notes += _expected(criterion, condition, planned)
    return ConditionCheck(condition, passes, fails, counted(condition, count), tuple(notes))


def _expected(criterion: Criterion, condition: Condition, planned: PlannedRun) -> Iterator[PreflightNote]:
    """Yield the expectations about a possible condition that follow from the split alone."""
    split = planned.split
    if split is None or not _of_test_answers(criterion, planned):
        return
    asked = f"{criterion.metric} {condition}"
    reachable = Bounds(0.0, split.ceilings.support / split.test, "")
    kind = feasibility(OPERATORS[condition.operator], condition.limit, reachable)
    if kind is Feasibility.VACUOUS:
        says = f"{_seen(split)}, so {asked} is expected to hold whatever is learned, here and for any task "
        says += "whose answers do not occur in training: it does not tell success from what cannot be learned"
        yield PreflightNote(NoteKind.UNINFORMATIVE, criterion.id, says, condition.line)
    elif kind is Feasibility.IMPOSSIBLE:
        says = f"{_seen(split)}, so {asked} is expected to fail whatever is learned"
        yield PreflightNote(NoteKind.OUT_OF_REACH, criterion.id, says, condition.line)
    elif condition.operator in _LEVELS and condition.limit.relation in _UPWARDS:
        memory = split.ceilings.memoriser
        if condition.limit.holds(decimal(memory / split.test)):
            says = f"remembering, swapping operands and one constant answer reach {memory:,} of {split.test:,} "
            says += f"({memory / split.test:.4g}), so {asked} does not take the rule"
            yield PreflightNote(NoteKind.REMEMBERED, criterion.id, says, condition.line)


def _seen(split: SplitAudit) -> str:
    """Describe the test answers that occur in training, as one clause."""
    answers, reach = split.answers, split.ceilings.support
    return (
        f"{answers.unseen:,} of {answers.test:,} test answers, those of {answers.unseen_examples:,} of {split.test:,} "
        f"test examples, never occur in training, and a learner that gives only answers it has seen gets at most "
        f"{reach:,} of {split.test:,} right"
    )


def _of_test_answers(criterion: Criterion, planned: PlannedRun) -> bool:
    """Return whether this is the accuracy on the whole test set, whose ceilings are known."""
    return (
        planned.definitions.get(criterion.metric) == criterion.definition
        and criterion.metric.startswith("test_accuracy")
        and criterion.definition in {"argmax/answer", "argmax/position/c"}
    )


def counted(condition: Condition, count: int | None) -> str | None:
    """Format a limit on an accuracy as one on counts: <= 0.05 of 1,882 is `k <= 94 of 1,882`; None if it is not k/n."""
    if count is None or condition.operator == "slope":
        return None
    exact, relation = condition.limit.value * count, condition.limit.relation
    up = relation in _UPWARDS
    k = int(exact.to_integral_value(ROUND_CEILING if up else ROUND_FLOOR))
    if relation in {Relation.MORE_THAN, Relation.LESS_THAN} and k == exact:
        k += 1 if up else -1
    return f"{'k >=' if up else 'k <='} {k:,} of {count:,}"

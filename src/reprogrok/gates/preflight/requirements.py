"""One requirement and a planned run -> its outcome if decided already, else when it will hold and when it will fail.

answers-learnable   audit of the split ------> decided: HOLDS or FAILS, before any training
training-memorised  steps of the run --------> is there an evaluation up to `by`, of this metric and definition?
not-below-chance    n, answers, evaluations -> the least k that guessing gives often enough; can any k be too few?
"""

from __future__ import annotations

from bisect import bisect_left

from reprogrok.gates.criteria import ANSWERS_LEARNABLE, TRAINING_MEMORISED, Requirement
from reprogrok.gates.operators import OPERATORS, Feasibility, Limit, Relation, decimal, feasibility
from reprogrok.gates.preflight.checks import NoteKind, PreflightNote, RequirementCheck
from reprogrok.gates.preflight.planned_run import PlannedRun
from reprogrok.gates.verdict import Outcome
from reprogrok.metrics.grokking import chance
from reprogrok.metrics.registry import bounds
from reprogrok.text import counted


def check_requirement(asked: Requirement, planned: PlannedRun) -> RequirementCheck:
    """Check one requirement of a gate against a planned run."""
    if asked.kind == ANSWERS_LEARNABLE:
        return _answers_learnable(asked, planned)
    if (why := _unmeasured(asked, planned)) is not None:
        return RequirementCheck(asked, None, None, None, (_note(asked, NoteKind.UNMEASURED, why),))
    return _training_memorised(asked, planned) if asked.kind == TRAINING_MEMORISED else _not_below(asked, planned)


def _answers_learnable(asked: Requirement, planned: PlannedRun) -> RequirementCheck:
    split, least = planned.split, decimal(1.0) if asked.at_least is None else asked.at_least
    if split is None:
        why = f"{planned.experiment.name} has no split of known equations, so the fraction of answers is never known"
        return RequirementCheck(asked, None, None, None, (_note(asked, NoteKind.UNMEASURED, why),))
    seen, answers = split.ceilings.support, split.answers
    says = (
        f"{answers.unseen:,} of {answers.test:,} test answers, those of {split.test - seen:,} of {split.test:,} test "
        f"examples, never occur in training: the fraction that does is {seen / split.test:.6g}"
        if answers.unseen
        else f"all {answers.test:,} test answers occur in training"
    )
    if least <= 0:
        note = _note(asked, NoteKind.VACUOUS, f"a fraction lies in [0, 1], so no split can miss {float(least):g}")
        return RequirementCheck(asked, Outcome.HOLDS, f"already: {says}", None, (note,))
    if decimal(seen / split.test) >= least:
        return RequirementCheck(asked, Outcome.HOLDS, f"already: {says}", None, ())
    note = _note(asked, NoteKind.FAILS, f"{says}, and at least {float(least):g} is required")
    return RequirementCheck(asked, Outcome.FAILS, None, f"already: {says}", (note,))


def _unmeasured(asked: Requirement, planned: PlannedRun) -> str | None:
    """Return why the run will not measure the window of a requirement to its end; None if it will."""
    name, metric = planned.experiment.name, str(asked.metric)
    found = planned.definitions.get(metric)
    if found is None:
        return f"{name} does not log {metric}"
    if found != asked.definition:
        return f"{name} logs {metric} as {found}, not as {asked.definition}"
    window, steps = asked.steps, planned.steps(metric)
    if not any(step in window for step in steps):
        return f"{name} does not measure {metric} from step {window[0]:,} to {window[-1]:,}"
    if steps[-1] < window[-1]:
        return f"{name} ends at step {steps[-1]:,}, before step {window[-1]:,}, the last one judged"
    return None


def _training_memorised(asked: Requirement, planned: PlannedRun) -> RequirementCheck:
    metric, least = str(asked.metric), decimal(1.0) if asked.at_least is None else asked.at_least
    limits = bounds(metric, str(asked.definition), planned.facts)
    kind = feasibility(OPERATORS["always"], Limit(Relation.AT_LEAST, least), limits)
    until = [step for step in planned.steps(metric) if step in asked.steps]
    looks = f"of {counted(len(until), 'evaluation')} up to step {until[-1]:,}"
    notes = []
    if kind is not Feasibility.POSSIBLE:
        verb = "reach" if kind is Feasibility.IMPOSSIBLE else "miss"
        why = f"{limits.arithmetic}, so no value can {verb} {float(least):g}"
        notes.append(_note(asked, NoteKind(kind.value), why))
    passes = None if kind is Feasibility.IMPOSSIBLE else f"{metric} >= {float(least):g} at one {looks}"
    fails = None if kind is Feasibility.VACUOUS else f"{metric} < {float(least):g} at each {looks}"
    return RequirementCheck(asked, None, passes, fails, tuple(notes))


def _not_below(asked: Requirement, planned: PlannedRun) -> RequirementCheck:
    """Find the number of right answers below which guessing is not a plausible explanation.

    4,753 examples, 97 answers, level 0.001 at one evaluation: 28 right are worse than guessing, 29 are not.
    """
    metric, level = str(asked.metric), 0.0 if asked.level is None else asked.level
    n, classes = planned.facts["test_examples"], planned.facts["classes"]
    looks = sum(step in asked.steps for step in planned.steps(metric))
    of = f"{n:,} examples, {classes:,} answers, level {level:g} over {counted(looks, 'evaluation')}"
    least = least_by_luck(n, classes, level, looks)
    if least == 0:
        none = chance(0, n, classes).probability
        why = f"{of}: even 0 right has a probability of {none:.2g}, or {min(1.0, none * looks):.2g} in all of them"
        note = _note(asked, NoteKind.VACUOUS, f"{why}, so nothing can be too few")
        return RequirementCheck(asked, None, f"always: {why}", None, (note,))
    notes = []
    if planned.split is not None and (reach := planned.split.ceilings.support) < least:
        why = f"a learner that gives only answers it has seen gets at most {reach:,} of {n:,} right, and fewer than "
        why += f"{least:,} is worse than guessing ({of}): expected to fail whatever is learned"
        notes.append(_note(asked, NoteKind.OUT_OF_REACH, why))
    passes = f"k >= {least:,} of {n:,} at each of {counted(looks, 'evaluation')}"
    return RequirementCheck(asked, None, passes, f"k < {least:,} of {n:,} at one of them ({of})", tuple(notes))


def least_by_luck(n: int, classes: int, level: float, looks: int) -> int:
    """Return the least k such that guessing gets k or fewer of n right with a probability >= `level` / `looks`.

    4,753 examples of 97 answers, level 0.001, one evaluation: 29.
    """
    # The probability grows with k, and is 1 at n.
    return bisect_left(range(n), level, key=lambda k: min(1.0, chance(k, n, classes).probability * looks))


def _note(asked: Requirement, kind: NoteKind, arithmetic: str) -> PreflightNote:
    return PreflightNote(kind, asked.kind, arithmetic, asked.line)

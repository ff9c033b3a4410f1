"""What a gate requires beside its criteria: requirement + record + split -> a result with its numbers, per replica.

    training-memorised   metric of training ------------> was the share reached at an evaluation up to step `by`?
    answers-learnable    split ---tasks.split_audit------> share of test examples whose answer occurs in training
    not-below-chance     test accuracy ---binomial------> is any evaluation worse than guessing can be by bad luck?

Criteria can hold for a reason that makes them worthless: test accuracy "stays low" for any model whose test answers
never occur in training, learned or not. Requirements ask for that reason. They follow the rules of the criteria: what
was seen to be broken FAILS, what has a hole never HOLDS. They have no grid; a hole is a value that is no number or that
the metric cannot have, or a record that ends before the last step asked about.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from reprogrok.gates.criteria import ANSWERS_LEARNABLE, TRAINING_MEMORISED, Requirement
from reprogrok.gates.gate import not_comparable, usable
from reprogrok.gates.operators import Point, decimal
from reprogrok.gates.verdict import Outcome, RequirementResult
from reprogrok.metrics.grokking import chance, right_answers
from reprogrok.metrics.registry import bounds
from reprogrok.record import Record, Series


@dataclass(frozen=True)
class Answers:
    """What the task and its split imply for the answers of the test set.

    Attributes:
        possible: different answers; None if unknown.
        ceiling: share of test examples whose answer occurs in training; None if unknown.
        source: where both come from.
    """

    possible: int | None
    ceiling: float | None
    source: str


def answers_of(record: Record) -> Answers:
    """The answers of a recorded run, counted over all equations of its split where its configuration tells them.

    Raises:
        InputError: the configuration of the run cannot be read.
    """
    # Control traces know their answers, and are judged wherever a gate is loaded: nothing heavy for them.
    from reprogrok.runs.analysis import support_of  # noqa: PLC0415 - counting a split brings torch

    found = support_of(record)
    return Answers(found.classes, found.ceiling, found.source)


def judge_requirements(
    requires: tuple[Requirement, ...], record: Record, answers: Answers | None = None
) -> Mapping[int, tuple[RequirementResult, ...]]:
    """Each replica's results, by seed and in the order of the gate; `answers` are those of the record unless given.

    Raises:
        InputError: the configuration of the run cannot be read.
    """
    known = answers_of(record) if answers is None else answers
    return {seed: tuple(_judge(asked, record, seed, known) for asked in requires) for seed in record.replicas}


def _judge(asked: Requirement, record: Record, seed: int, answers: Answers) -> RequirementResult:
    if asked.kind == ANSWERS_LEARNABLE:
        return _answers_learnable(asked, answers)
    metrics = record.replicas[seed]
    metric, definition = str(asked.metric), str(asked.definition)
    if (reason := not_comparable(metric, definition, metrics, record.definitions)) is not None:
        return RequirementResult(asked, Outcome.INCONCLUSIVE, reasons=(reason,))
    window = range(int(asked.by or 0) + 1) if asked.window is None else asked.window
    points, reasons = usable(metrics[metric], window, bounds(metric, definition, record.facts))
    reasons += _short(metrics[metric], window, record.diverged.get(seed))
    if not points:
        reasons.append(f"no evaluation with a value from step {window[0]:,} to {window[-1]:,}")
        return RequirementResult(asked, Outcome.INCONCLUSIVE, reasons=tuple(reasons))
    if asked.kind == TRAINING_MEMORISED:
        return _training_memorised(asked, points, tuple(reasons))
    return _not_below_chance(asked, points, tuple(reasons), record.facts.get("test_examples"), answers.possible)


def _short(series: Series, window: range, diverged: int | None) -> list[str]:
    """Why the window was not seen to its end; empty where there is an evaluation at its last step or later."""
    end = series.steps[-1] if series.steps else None
    if end is not None and end >= window[-1]:
        return []
    ends = "the record has no evaluation" if end is None else f"the record ends at step {end:,}"
    return [f"{ends}, before step {window[-1]:,}"] + (
        [] if diverged is None else [f"the replica diverged at step {diverged:,}"]
    )


def _answers_learnable(asked: Requirement, answers: Answers) -> RequirementResult:
    if answers.ceiling is None or asked.at_least is None:
        reason = f"which test answers occur in training is not known ({answers.source})"
        return RequirementResult(asked, Outcome.INCONCLUSIVE, reasons=(reason,))
    outcome = Outcome.HOLDS if decimal(answers.ceiling) >= asked.at_least else Outcome.FAILS
    numbers = f"share {answers.ceiling:.6g} ({answers.source})"
    return RequirementResult(asked, outcome, answers.ceiling, numbers=numbers)


def _training_memorised(asked: Requirement, points: list[Point], reasons: tuple[str, ...]) -> RequirementResult:
    least = decimal(0.0) if asked.at_least is None else asked.at_least
    reached = next((point for point in points if point.value >= least), None)
    shown = max(points, key=lambda point: point.value) if reached is None else reached
    numbers = f"{'highest' if reached is None else 'first reached:'} {float(shown.value):.6g} at step {shown.step:,}"
    result = RequirementResult(asked, Outcome.HOLDS, float(shown.value), shown.step, numbers, reasons)
    if reasons:
        return replace(result, outcome=Outcome.INCONCLUSIVE)
    return result if reached is not None else replace(result, outcome=Outcome.FAILS)


def _not_below_chance(
    asked: Requirement, points: list[Point], reasons: tuple[str, ...], examples: int | None, classes: int | None
) -> RequirementResult:
    """Judge the evaluation with the fewest right answers; its probability is multiplied by how many were looked at.

    On the recorded v2b guessing among 97 answers gives 49 of 4,753; the best of 200 evaluations has 4 (probability
    1.1e-16), the worst none at all (4.1e-22).
    """
    if examples is None or classes is None:
        missing = "of how many examples the accuracy is" if examples is None else "how many answers there are"
        return RequirementResult(asked, Outcome.INCONCLUSIVE, reasons=(*reasons, f"it is not known {missing}"))
    counted = [(right_answers(float(point.value), examples), point) for point in points]
    odd = [point for k, point in counted if k is None]
    if odd:
        text = f"{float(odd[0].value):.6g} at step {odd[0].step:,} is no share of {examples:,} examples"
        reasons = (*reasons, text)
    known = [(k, point.step) for k, point in counted if k is not None]
    if not known:
        return RequirementResult(asked, Outcome.INCONCLUSIVE, reasons=reasons)
    (k, step), (most, most_step) = min(known), max(known, key=lambda item: (item[0], -item[1]))
    found, best = chance(k, examples, classes), chance(most, examples, classes)
    adjusted = min(1.0, found.probability * len(known))
    numbers = (
        f"fewest right: {k:,} of {examples:,} at step {step:,}; guessing among {classes:,} answers gives "
        f"{examples / classes:.3g}, and so few with probability {found.probability:.2g}, or {adjusted:.2g} in "
        f"{len(known):,} evaluations"
    )
    if best.below and most > k:
        numbers += f"; most right: {most:,} at step {most_step:,}, probability {best.probability:.2g}"
    level = 0.0 if asked.level is None else asked.level
    unbroken = Outcome.INCONCLUSIVE if reasons else Outcome.HOLDS
    outcome = Outcome.FAILS if adjusted < level else unbroken
    return RequirementResult(asked, outcome, adjusted, step, numbers, reasons)

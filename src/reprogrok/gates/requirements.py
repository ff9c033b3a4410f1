"""The requirements of a gate: requirement + record + answers of the split -> a result with its numbers, per replica.

    training-memorised   metric of training -----------> was the fraction reached at an evaluation up to step `by`?
    answers-learnable    answers of the split ---------> fraction of test examples whose answer occurs in training
    not-below-chance     test accuracy --binomial------> is any evaluation worse than guessing explains?

Requirements exclude reasons that make criteria worthless: test accuracy "stays low" for any model whose test answers
never occur in training. They follow the rules of the criteria: a violation FAILS, a hole never HOLDS. They have no
grid; a hole is an unusable value, or a record that ends before the last step judged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from reprogrok.gates.criteria import ANSWERS_LEARNABLE, TRAINING_MEMORISED, Requirement
from reprogrok.gates.operators import Point, decimal
from reprogrok.gates.points import not_comparable, usable
from reprogrok.gates.verdict import Outcome, RequirementResult
from reprogrok.metrics.grokking import chance, right_answers
from reprogrok.metrics.registry import bounds
from reprogrok.record import Record, Series


@dataclass(frozen=True)
class SplitAnswers:
    """The answers of a test set, as its task and split determine them.

    Attributes:
        possible: number of different answers; None if unknown.
        ceiling: fraction of test examples whose answer occurs in training; None if unknown.
        source: origin of both numbers.
    """

    possible: int | None
    ceiling: float | None
    source: str


NOT_COUNTED = SplitAnswers(None, None, "the split was not counted")


def judge_requirements(
    requires: tuple[Requirement, ...], record: Record, answers: SplitAnswers
) -> Mapping[int, tuple[RequirementResult, ...]]:
    """Judge the requirements of a gate; return the results by seed, in the order of the gate."""
    return {seed: tuple(_judge(asked, record, seed, answers) for asked in requires) for seed in record.replicas}


def _judge(asked: Requirement, record: Record, seed: int, answers: SplitAnswers) -> RequirementResult:
    if asked.kind == ANSWERS_LEARNABLE:
        return _answers_learnable(asked, answers)
    metrics = record.replicas[seed]
    metric, definition = str(asked.metric), str(asked.definition)
    if (reason := not_comparable(metric, definition, metrics, record.definitions)) is not None:
        return RequirementResult(asked, Outcome.INCONCLUSIVE, reasons=(reason,))
    window = asked.steps
    points, reasons = usable(metrics[metric], window, bounds(metric, definition, record.facts))
    reasons += _short(metrics[metric], window, record.diverged.get(seed))
    if not points:
        reasons.append(f"no evaluation with a value from step {window[0]:,} to {window[-1]:,}")
        return RequirementResult(asked, Outcome.INCONCLUSIVE, reasons=tuple(reasons))
    if asked.kind == TRAINING_MEMORISED:
        return _training_memorised(asked, points, tuple(reasons))
    return _not_below_chance(asked, points, tuple(reasons), record.facts.get("test_examples"), answers.possible)


def _short(series: Series, window: range, diverged: int | None) -> list[str]:
    """Return why the window was not measured to its end; empty if the record has an evaluation at or after it."""
    end = series.steps[-1] if series.steps else None
    if end is not None and end >= window[-1]:
        return []
    ends = "the record has no evaluation" if end is None else f"the record ends at step {end:,}"
    why = [] if diverged is None else [f"the replica diverged at step {diverged:,}"]
    return [f"{ends}, before step {window[-1]:,}", *why]


def _answers_learnable(asked: Requirement, answers: SplitAnswers) -> RequirementResult:
    if answers.ceiling is None or asked.at_least is None:
        reason = f"the test answers that occur in training are not known ({answers.source})"
        return RequirementResult(asked, Outcome.INCONCLUSIVE, reasons=(reason,))
    outcome = Outcome.HOLDS if decimal(answers.ceiling) >= asked.at_least else Outcome.FAILS
    numbers = f"fraction {answers.ceiling:.6g} ({answers.source})"
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
    """Judge the evaluation with the fewest right answers; multiply its probability by the number of evaluations.

    On the recorded v2b guessing among 97 answers gives 49 of 4,753; the best of 200 evaluations has 4 (probability
    1.1e-16), the worst none at all (4.1e-22).
    """
    if examples is None or classes is None:
        missing = "test examples" if examples is None else "possible answers"
        reasons = (*reasons, f"the number of {missing} is not known")
        return RequirementResult(asked, Outcome.INCONCLUSIVE, reasons=reasons)
    counted = [(right_answers(float(point.value), examples), point) for point in points]
    odd = [point for k, point in counted if k is None]
    if odd:
        text = f"{float(odd[0].value):.6g} at step {odd[0].step:,} is not a whole number of {examples:,} examples"
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

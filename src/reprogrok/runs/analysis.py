"""The record of a run -> the analysis of one replica: grok times, spikes, scores beside guessing, and its regime.

    record + seed --metrics--> grok times, max-rise5, delay, regime        (metrics.grokking, metrics.regime)
                  --losses---> spikes                                       (metrics.spikes)
                  --split----> ceiling of seen answers, number of answers   (the task in spec.json, or config.json)

Missing values are named in the notes or in the reason of the regime; nothing is filled in.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reprogrok import record
from reprogrok.errors import InputError
from reprogrok.formats import foreign_runs
from reprogrok.metrics.grokking import (
    GROK_THRESHOLDS,
    Chance,
    MaxRise,
    StepInterval,
    Time,
    Unknown,
    chance,
    claim_resolution,
    first_above,
    max_rise5,
    measured,
    right_answers,
    within,
)
from reprogrok.metrics.regime import RegimeResult, find_regime
from reprogrok.metrics.registry import GENERALISATION, MEMORISATION
from reprogrok.metrics.spikes import Spikes, answer_levels, fall_levels, find_spikes
from reprogrok.record import Record, Series
from reprogrok.schema import load
from reprogrok.spec.task import ModularTask, modular_task
from reprogrok.tasks.split_audit import audit_split

# Of each pair, the first that a record has: a loss at the answer alone has a known bound.
LOSSES = (("train_answer_loss", "train_loss"), ("test_answer_loss", "test_loss"))
GIVEN = "given"


@dataclass(frozen=True)
class Support:
    """The answers and ceilings that the task and its split imply.

    Attributes:
        classes: number of different answers that occur in the equations; None if unknown.
        ceiling: fraction of test examples whose answer occurs in training; None if unknown.
        memoriser: highest test accuracy of a memoriser (pairs, swapped pairs, a constant answer); None if unknown.
        source: the file that determines them.
    """

    classes: int | None
    ceiling: float | None
    memoriser: float | None
    source: str


@dataclass(frozen=True)
class Guessing:
    """The evaluations with the fewest and the most right answers, compared with guessing.

    Attributes:
        lowest: score with the fewest right answers.
        lowest_step: step of `lowest`.
        adjusted: probability of `lowest` times the number of evaluations (Bonferroni), at most 1.
        highest: score with the most right answers.
        highest_step: step of `highest`.
    """

    lowest: Chance
    lowest_step: int
    adjusted: float
    highest: Chance
    highest_step: int


@dataclass(frozen=True)
class LearnedWithin:
    """The claim that the test was learned within a number of steps.

    Attributes:
        steps: claimed number of steps.
        holds: whether the claim holds; None where the evaluations do not decide.
        gap: the widest stretch without an evaluation until then; None without an evaluation at or after `steps`.
        reason: one clause.
        definition: definition of the time that is judged.
    """

    steps: int
    holds: bool | None
    gap: int | None
    reason: str
    definition: str


@dataclass(frozen=True)
class Analysis:
    """The analysis of one replica of a run.

    Attributes:
        run: the record.
        seed: seed of the replica.
        test_metric: the accuracy on the test set that was analysed; None if the record has none.
        train_metric: the accuracy on the training set; None if the record has none.
        times: first time at or above 80, 90 and 99 % of the test metric.
        transition: the published estimate of the transition.
        t_grok: the step that snapshots are selected around: as given, else that of `transition`; None without one.
        t_grok_definition: `given` or `max-rise5`.
        regime: the regime.
        spikes: loss metric -> its spikes.
        guessing: scores compared with guessing; None where the number of examples or answers is not known.
        support: the answers and ceilings that the split implies.
        claim: the claim to be judged; None without one.
        notes: caveats for a reader, one sentence each.
    """

    run: Record
    seed: int
    test_metric: str | None
    train_metric: str | None
    times: tuple[Time, ...]
    transition: MaxRise | Unknown
    t_grok: int | None
    t_grok_definition: str
    regime: RegimeResult
    spikes: Mapping[str, Spikes]
    guessing: Guessing | None
    support: Support
    claim: LearnedWithin | None
    notes: tuple[str, ...]


def analyse(run: Record, seed: int, t_grok: int | None = None, claim: int | None = None) -> Analysis:
    """Analyse one replica; `t_grok` replaces the estimated step of the transition, `claim` is to be judged (`judge`).

    Raises:
        InputError: the run has no such seed, or its configuration cannot be read.
    """
    if seed not in run.replicas:
        expected = f"one of {', '.join(map(str, run.replicas))}"
        raise InputError("this run has no such seed", path=run.path, expected=expected, found=str(seed))
    metrics = run.replicas[seed]
    test_metric = next((name for name in GENERALISATION if name in metrics), None)
    train_metric = next((name for name in MEMORISATION if name in metrics), None)
    test = metrics[test_metric] if test_metric else None
    train = metrics[train_metric] if train_metric else None
    support = support_of(run)
    times = tuple(first_above(test, threshold) for threshold in GROK_THRESHOLDS)
    transition = max_rise5(test)
    estimated = transition.step if isinstance(transition, MaxRise) else None
    regime = find_regime(
        train, test, ceiling=support.ceiling, memoriser=support.memoriser, diverged=run.diverged.get(seed)
    )
    return Analysis(
        run=run,
        seed=seed,
        test_metric=test_metric,
        train_metric=train_metric,
        times=times,
        transition=transition,
        t_grok=estimated if t_grok is None else t_grok,
        t_grok_definition=transition.definition if t_grok is None else GIVEN,
        regime=regime,
        spikes=_spikes(metrics),
        guessing=_guessing(test, run.facts.get("test_examples"), support.classes),
        support=support,
        claim=None if claim is None else judge(test, regime.generalised, claim),
        notes=tuple(_notes(metrics, run, times=times, transition=transition, regime=regime, support=support)),
    )


def judge(test: Series | None, generalised: Time, steps: int) -> LearnedWithin:
    """Judge whether the test was learned within so many steps, undecided where the claim is finer than the evaluations.

    Learned in (400, 500], evaluated every 100: yes within 500, no within 400. Evaluated every 500: within 100 cannot
    be decided, unless an evaluation at or before step 100 was already there.
    """
    resolution, holds = claim_resolution(test, steps), within(generalised, steps)
    # One evaluation that shows it decides; its absence is only known where evaluations are dense enough.
    decided = holds if resolution.decidable or holds else None
    return LearnedWithin(steps, decided, resolution.gap, resolution.reason, generalised.definition)


def task_of(run: Record) -> ModularTask | None:
    """Return the modular task of a run of ours; None for another task or a foreign run.

    Raises:
        InputError: its spec.json cannot be read.
    """
    if run.layout != "reprogrok":
        return None
    document = load(run.path / record.SPEC, "run")
    entry = document.data["spec"].get("task", {})
    if entry.get("name") != "modular":
        return None
    try:
        return modular_task(entry)
    except (KeyError, TypeError, ValueError) as error:
        raise document.error(("spec", "task"), f"no modular task: {error}") from error


def block_of(run: Record) -> int | None:
    """Return the batch size of a run of ours if batches are fixed blocks; None if every training row is trained on.

    Raises:
        InputError: its spec.json cannot be read.
    """
    spec = load(run.path / record.SPEC, "run").data["spec"]
    return int(spec["batch"]) if spec.get("batches") == "blocks" else None


def support_of(run: Record) -> Support:
    """Return the number of answers and the ceilings of a run's split.

    The published split by result trains on answers 0..47 and tests 48..96: a ceiling of 0.
    """
    if (task := task_of(run)) is not None:
        audit = audit_split(task, block=block_of(run))
        ceiling, memoriser = (right / audit.test for right in (audit.ceilings.support, audit.ceilings.memoriser))
        # Not every element need be an answer: squares mod 8 sum to 0, 1, 2, 4 and 5.
        return Support(audit.answers.possible, ceiling, memoriser, f"the {task.split.kind} split of {record.SPEC}")
    if run.layout == foreign_runs.COLUMNS:
        config = load(run.path / foreign_runs.CONFIG, "foreign_config").data
        modulus = config["data"].get("modulus_p")
        by_result = config.get("split_rule") == foreign_runs.RESULT_RANGE_RULE
        classes = None if modulus is None else int(modulus)
        # By result, no test answer and no swapped pair occurs in training.
        none = 0.0 if by_result else None
        return Support(classes, none, none, f"modulus_p and split_rule of {foreign_runs.CONFIG}")
    return Support(run.facts.get("classes"), None, None, "the record")


def _spikes(metrics: Mapping[str, Series]) -> dict[str, Spikes]:
    found = {}
    for answer, whole in LOSSES:
        if answer in metrics:
            found[answer] = find_spikes(metrics[answer], answer_levels())
        elif whole in metrics and (levels := fall_levels(metrics[whole])) is not None:
            found[whole] = find_spikes(metrics[whole], levels)
    return found


def _guessing(test: Series | None, examples: int | None, classes: int | None) -> Guessing | None:
    points = measured(test)
    if not points or examples is None or classes is None:
        return None
    counted = [(right_answers(value, examples), step) for step, value in points]
    known = [(k, step) for k, step in counted if k is not None]
    if len(known) < len(counted):  # the accuracy is of another number of examples
        return None
    (least, least_step), (most, most_step) = min(known), max(known, key=lambda point: (point[0], -point[1]))
    lowest = chance(least, examples, classes)
    adjusted = min(1.0, lowest.probability * len(known))
    return Guessing(lowest, least_step, adjusted, chance(most, examples, classes), most_step)


def _notes(
    metrics: Mapping[str, Series],
    run: Record,
    *,
    times: Sequence[Time],
    transition: MaxRise | Unknown,
    regime: RegimeResult,
    support: Support,
) -> list[str]:
    notes = []
    if isinstance(transition, MaxRise) and transition.below_threshold:
        rise = "there are at most five evaluations" if transition.rise is None else f"it is {transition.rise:.3g}"
        notes.append(
            f"the largest rise in accuracy is below 0.15 ({rise}): step {transition.step:,} need not be a transition"
        )
    if isinstance(transition, MaxRise) and transition.skipped:
        notes.append(f"max-rise5 passed over {transition.skipped} evaluations for want of a value")
    if isinstance(regime.memorised, Unknown) and (gap := _loss_gap(metrics, run, regime, support)):
        notes.append(gap)
    if isinstance(transition, MaxRise) and isinstance(low := times[0], StepInterval) and transition.step < low.earliest:
        notes.append(
            f"max-rise5 puts the transition at step {transition.step:,}, when accuracy was still below "
            f"{GROK_THRESHOLDS[0]:g} (first reached at step {low.by:,}): the two definitions mean different events"
        )
    return notes


def _loss_gap(metrics: Mapping[str, Series], run: Record, regime: RegimeResult, support: Support) -> str | None:
    """Describe the evidence of the losses on memorisation where train accuracy was not logged.

    If training were memorised and test answers guessed, the mean loss over T positions would differ by at least
    (1 - m) ln(answers)/T, because every other position costs the same on both sides; m is the fraction of the test set
    that a memoriser knows. 97 answers at 8 positions: 0.572 nats for m = 0, 0.118 where 1,493 of 1,882 are known.
    """
    train, test, positions = metrics.get("train_loss"), metrics.get("test_loss"), run.facts.get("positions")
    if train is None or test is None or positions is None or support.classes is None:
        return None
    until = regime.generalised.by if isinstance(regime.generalised, StepInterval) else math.inf
    trained = dict(measured(train))
    gaps = [(value - trained[step], -step) for step, value in measured(test) if step in trained and step <= until]
    if not gaps:
        return None
    gap, negative_step = max(gaps)
    known = support.memoriser or 0.0
    least = (1 - known) * math.log(support.classes) / positions
    formula = f"ln({support.classes})/{positions} = {least:.3f}"
    if support.memoriser is None:
        would = f"guessed test answers would show at least {formula} if not even swapped pairs are known"
    elif known:
        would = f"test answers guessed but for the {known:.3g} that remembering reaches would show (1 - {known:.3g}) "
        would += f"{formula} or more"
    else:
        would = f"guessed test answers would show at least {formula}"
    span = "in the whole run" if until is math.inf else f"until step {until:,}"
    return (
        f"train accuracy was not logged; {span} test loss exceeded train loss by at most {gap:.3f} nats (step "
        f"{-negative_step:,}), while a memorised training set with {would}: the losses speak "
        f"{'for' if gap >= least else 'against'} a memorised phase (evidence, no proof: the two are not measured alike)"
    )

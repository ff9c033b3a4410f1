"""The record of a run -> what happened in one replica: when, how steadily, by guessing or not, and its regime.

    record + seed --metrics--> grok times, max-rise5, delay, regime        (metrics.grokking, metrics.regime)
                  --losses---> spikes                                       (metrics.spikes)
                  --split----> ceiling of seen answers, number of answers   (the task in spec.json, or config.json)

Only what the record and its configuration state is used. What is missing is named in the notes or in the reason of the
regime; nothing is filled in.
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

# Of several, the first that a record has: a loss at the answer alone has a known floor.
LOSSES = (("train_answer_loss", "train_loss"), ("test_answer_loss", "test_loss"))
GIVEN = "given"


@dataclass(frozen=True)
class Support:
    """What the task and its split imply.

    Attributes:
        classes: different answers that occur in the equations; None if the configuration does not say.
        ceiling: share of test examples whose answer occurs in training; None if unknown.
        memoriser: share that remembering can reach (pairs, swapped pairs, a constant answer); None if unknown.
        source: where both come from.
    """

    classes: int | None
    ceiling: float | None
    memoriser: float | None
    source: str


@dataclass(frozen=True)
class Guessing:
    """The evaluations with the fewest and the most right answers, beside guessing.

    Attributes:
        lowest: the one with the fewest.
        lowest_step: where.
        adjusted: its probability times the number of evaluations looked at (Bonferroni), at most 1.
        highest: the one with the most.
        highest_step: where.
    """

    lowest: Chance
    lowest_step: int
    adjusted: float
    highest: Chance
    highest_step: int


@dataclass(frozen=True)
class LearnedWithin:
    """The claim that the test was learned within so many steps.

    Attributes:
        steps: that are claimed.
        holds: None where it cannot be decided.
        gap: the widest stretch without an evaluation until then; None if there is none at or after `steps`.
        reason: one clause.
        definition: of the time that is judged.
    """

    steps: int
    holds: bool | None
    gap: int | None
    reason: str
    definition: str


@dataclass(frozen=True)
class Analysis:
    """One replica of a run.

    Attributes:
        run: the record.
        seed: of the replica.
        test_metric: the accuracy that was followed; None if the record has none.
        train_metric: that of training; None likewise.
        times: first time at or above 80, 90 and 99 % of the test metric.
        transition: the published estimate.
        t_grok: the step that checkpoints are selected around: as asked for, else that of `transition`; None if none.
        t_grok_definition: `given` or `max-rise5`.
        regime: the regime.
        spikes: of every loss that the record has, by metric.
        guessing: scores beside guessing; None where the number of examples or answers is not known.
        support: what the split implies.
        claim: the one that was to be judged; None if none was.
        notes: what a reader has to know, one sentence each.
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
    """Was the test learned within so many steps? Not decided where the evaluations are further apart than the claim.

    Learned in (400, 500], evaluated every 100: yes within 500, no within 400. Evaluated every 500: within 100 cannot
    be decided, unless an evaluation at or before step 100 was already there.
    """
    resolution, holds = claim_resolution(test, steps), within(generalised, steps)
    # An evaluation that shows it decides, however few there are; that it was not can only be told by looking.
    decided = holds if resolution.decidable or holds else None
    return LearnedWithin(steps, decided, resolution.gap, resolution.reason, generalised.definition)


def task_of(run: Record) -> ModularTask | None:
    """The modular task of a run of ours; None for another task or a run of others.

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
    """Rows of a batch of a run of ours, where batches are fixed blocks; None where every training row is trained on.

    Raises:
        InputError: its spec.json cannot be read.
    """
    spec = load(run.path / record.SPEC, "run").data["spec"]
    return int(spec["batch"]) if spec.get("batches") == "blocks" else None


def support_of(run: Record) -> Support:
    """Which of the test answers occur in training, and how many answers there are.

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
    if len(known) < len(counted):  # the accuracy is not of so many examples
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
    """What the losses say of memorisation where train accuracy was not logged.

    If training were memorised and test answers guessed, the mean loss over T positions would differ by at least
    (1 - m) ln(answers)/T, m being the share of the test set that a memoriser knows by swapping operands and the like:
    every other position costs the same on both sides. 97 answers at 8 positions: 0.572 nats for m = 0, 0.118 where
    1,493 of 1,882 are known. Where the split is not known, m is not, and the sentence says what it rests on.
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

"""Accuracies in training and test -> the regime of a replica, with its reason in one sentence.

    training was learned, and the split rules the test answers out            -> cannot generalise
    the replica diverged, or the test was learned and repeatedly lost         -> unstable
    the test was learned, and later than training                             -> delayed generalisation
    the test was learned, and hardly later than training                      -> generalising at once
    training was learned, the test was not                                    -> memorising only
    the evaluations do not decide                                             -> undecided

The first rule that applies decides. The thresholds (`Rules`) are written with the result. Definition `regime/1`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from reprogrok.metrics.grokking import (
    GENERALISED,
    MEMORISED,
    Censored,
    Delay,
    StepInterval,
    Time,
    Unknown,
    delay,
    first_above,
    measured,
)
from reprogrok.metrics.spikes import Levels, Spikes, find_spikes
from reprogrok.record import Series

DEFINITION = "regime/1"


class Regime(StrEnum):
    """How generalisation relates to memorisation in a replica."""

    MEMORISING = "memorising only"
    AT_ONCE = "generalising at once"
    DELAYED = "delayed generalisation"
    UNSTABLE = "unstable"
    CANNOT = "cannot generalise"
    UNDECIDED = "undecided"


@dataclass(frozen=True)
class Rules:
    """The thresholds of `regime/1`.

    Attributes:
        memorised: accuracy on the training set that counts as learned.
        generalised: accuracy on the test set that counts as learned.
        beyond_ceiling: a test accuracy further than this above a ceiling contradicts the ceiling.
        delay_factor: least quotient of the steps of test and training that counts as delayed.
        memorising_at_most: highest test accuracy of "memorising only"; where the split says what a memoriser reaches,
            that and `beyond_ceiling` are the limit instead.
        lost: a test accuracy below this, after the test had been learned, is a loss.
        losses: least number of separate losses that is unstable, ...
        lost_share: ... if at least this fraction of the evaluations since then is below `lost`. Fewer losses go into
            the reason of another regime: weight decay of 1 causes some in every run that generalises.
    """

    memorised: float = MEMORISED
    generalised: float = GENERALISED
    beyond_ceiling: float = 0.05
    delay_factor: float = 2.0
    memorising_at_most: float = 0.5
    lost: float = 0.9
    losses: int = 2
    lost_share: float = 0.1


RULES = Rules()


@dataclass(frozen=True)
class RegimeResult:
    """The regime of one replica.

    Attributes:
        regime: the regime.
        reason: one sentence with the numbers that decided.
        memorised: time at which training was learned.
        generalised: time at which the test was learned.
        delay: `generalised` minus `memorised`.
        losses: falls of the test accuracy after it had been learned, as spikes of the error rate; None without one.
        rules: the thresholds.
        definition: `regime/1`.
    """

    regime: Regime
    reason: str
    memorised: Time
    generalised: Time
    delay: Delay | Unknown
    losses: Spikes | None
    rules: Rules
    definition: str = DEFINITION


def find_regime(
    train_accuracy: Series | None,
    test_accuracy: Series | None,
    *,
    ceiling: float | None = None,
    memoriser: float | None = None,
    diverged: int | None = None,
    rules: Rules = RULES,
) -> RegimeResult:
    """Decide the regime of one replica.

    Args:
        train_accuracy: accuracy on the training set; None if not logged, which leaves most regimes undecided.
        test_accuracy: accuracy on the test set.
        ceiling: highest test accuracy of a learner that gives only answers seen in training, 0 where the test answers
            never occur there; None if the split is not known.
        memoriser: highest test accuracy of a memoriser (pairs, swapped pairs, a constant answer); None if the split is
            not known.
        diverged: step at which the replica was stopped because it had diverged.
        rules: the thresholds.
    """
    memorised = first_above(train_accuracy, rules.memorised)
    generalised = first_above(test_accuracy, rules.generalised)
    losses = None if test_accuracy is None else _losses(test_accuracy, rules)
    later = delay(memorised, generalised)
    best = _best(test_accuracy)
    regime, reason = (
        _cannot(memorised, generalised, best, ceiling, rules)
        or _unstable(generalised, losses, test_accuracy, diverged, rules)
        or _learned(memorised, generalised, later, losses, rules)
        or _not_learned(memorised, generalised, best, ceiling=ceiling, memoriser=memoriser, rules=rules)
    )
    return RegimeResult(regime, reason, memorised, generalised, later, losses, rules)


_Decision = tuple[Regime, str]


def _cannot(
    memorised: Time, generalised: Time, best: tuple[int, float] | None, ceiling: float | None, rules: Rules
) -> _Decision | None:
    """Decide "cannot generalise"; where train accuracy is not known, only a ceiling of 0 suffices."""
    if best is None or not isinstance(generalised, Censored) or (bound := _bound(best, ceiling, rules)) is None:
        return None
    if isinstance(memorised, Censored) or (isinstance(memorised, Unknown) and ceiling != 0):
        return None
    return (
        Regime.CANNOT,
        f"{bound}; test accuracy was at most {best[1]:.3g} (step {best[0]:,}) in {generalised.at:,} steps",
    )


def _bound(best: tuple[int, float], ceiling: float | None, rules: Rules) -> str | None:
    """Describe the ceiling that the split sets; None if it sets none, or if the run exceeded it."""
    if ceiling is None or ceiling >= rules.generalised or best[1] > ceiling + rules.beyond_ceiling:
        return None
    return f"a learner that only gives answers it has seen in training reaches at most {ceiling:.4g} on this test set"


def _unstable(
    generalised: Time, losses: Spikes | None, test: Series | None, diverged: int | None, rules: Rules
) -> _Decision | None:
    if diverged is not None:
        return Regime.UNSTABLE, f"training diverged and was stopped at step {diverged:,}"
    if losses is None or test is None or not isinstance(generalised, StepInterval):
        return None
    count = len(losses.spikes)
    if count >= rules.losses and losses.fraction >= rules.lost_share:
        reason = f"test accuracy first reached {rules.generalised:g} at step {generalised.by:,}; {_fell(losses, rules)}"
        return Regime.UNSTABLE, reason
    last_step, last = measured(test)[-1]
    if last < rules.lost:
        reason = (
            f"test accuracy first reached {rules.generalised:g} at step {generalised.by:,} "
            f"but ended at {last:.3g} (step {last_step:,}), below {rules.lost:g}"
        )
        return Regime.UNSTABLE, reason
    return None


def _learned(
    memorised: Time, generalised: Time, later: Delay | Unknown, losses: Spikes | None, rules: Rules
) -> _Decision | None:
    if not isinstance(generalised, StepInterval):
        return None
    shaken = f"; {_fell(losses, rules)}" if losses is not None and losses.spikes else ""
    test = f"test accuracy reached {rules.generalised:g} {when(generalised)}"
    if isinstance(memorised, Unknown) or isinstance(later, Unknown):
        reason = f"{test}, but whether training was learned before is not known: train accuracy: {_why(memorised)}"
        return Regime.UNDECIDED, reason
    train = f"train accuracy {rules.memorised:g} {when(memorised)}"
    if later.factor_low is not None and later.factor_low >= rules.delay_factor:
        return (
            Regime.DELAYED,
            f"{test}, {train}: at least {later.factor_low:.3g} times later ({delay_text(later)}){shaken}",
        )
    if later.factor_high is not None and later.factor_high < rules.delay_factor:
        reason = f"{test}, {train}: less than {rules.delay_factor:g} times later ({delay_text(later)}){shaken}"
        return Regime.AT_ONCE, reason
    reason = f"{test}, {train}: the evaluations are too far apart to tell a delay from none ({delay_text(later)})"
    return Regime.UNDECIDED, reason


def _not_learned(
    memorised: Time,
    generalised: Time,
    best: tuple[int, float] | None,
    *,
    ceiling: float | None,
    memoriser: float | None,
    rules: Rules,
) -> _Decision:
    if not isinstance(generalised, Censored) or best is None:
        return Regime.UNDECIDED, f"test accuracy: {_why(generalised)}"
    reached = f"test accuracy was at most {best[1]:.3g} (step {best[0]:,}) until step {generalised.at:,}"
    bound = _bound(best, ceiling, rules)
    also = "" if bound is None else f"; besides, {bound}"
    if isinstance(memorised, Unknown):
        return Regime.UNDECIDED, f"{reached}, and whether training was learned is not known: {_why(memorised)}{also}"
    if isinstance(memorised, Censored):
        return Regime.UNDECIDED, f"{reached}, and train accuracy did not reach {rules.memorised:g} either{also}"
    train = f"train accuracy reached {rules.memorised:g} {when(memorised)}"
    can = "" if memoriser is None else f" (remembering alone can reach {memoriser:.3g})"
    limit = rules.memorising_at_most if memoriser is None else memoriser + rules.beyond_ceiling
    if best[1] > limit:
        return Regime.UNDECIDED, f"{train}, {reached}: more than a memoriser's{can}, less than {rules.generalised:g}"
    return Regime.MEMORISING, f"{train}, but {reached}{can}"


def _fell(losses: Spikes, rules: Rules) -> str:
    times = "once" if len(losses.spikes) == 1 else f"{len(losses.spikes)} times"
    return f"afterwards it fell below {rules.lost:g} {times}, in {losses.above} of {losses.evaluations} evaluations"


def _losses(test_accuracy: Series, rules: Rules) -> Spikes:
    """Find falls of the accuracy as spikes of the error rate, which end when the test is learned again."""
    errors = Series(test_accuracy.steps, tuple(1.0 - value for value in test_accuracy.values))
    # 1 - 0.9 is less than 0.1 in binary: the limits need the same subtraction as the errors.
    levels = Levels(1.0 - rules.generalised, 1.0 - rules.lost, f"spikes/error-of-{rules.generalised:g}-{rules.lost:g}")
    return find_spikes(errors, levels)


def _best(series: Series | None) -> tuple[int, float] | None:
    """Return the first evaluation with the highest value."""
    return max(measured(series), key=lambda point: point[1], default=None)


def _why(time: Time) -> str:
    return time.reason if isinstance(time, Unknown) else "not reached"


def when(time: Time) -> str:
    """Describe a time: `in steps (33,600, 33,700]`, `by step 500`, `not until step 500`, or why it is unknown."""
    if isinstance(time, Unknown):
        return f"at an unknown step ({time.reason})"
    if isinstance(time, Censored):
        return f"not until step {time.at:,}"
    return f"by step {time.by:,}" if time.after is None else f"in steps ({time.after:,}, {time.by:,}]"


def delay_text(later: Delay) -> str:
    """Describe a delay: `a delay of 701 to 899 steps`."""
    if later.low is None:
        return f"a delay of at most {later.high:,} steps"
    if later.high is None:
        return f"a delay of at least {later.low:,} steps"
    return f"a delay of {later.low:,} to {later.high:,} steps"

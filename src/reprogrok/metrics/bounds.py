"""What is known about a metric before anyone measures it: (metric, definition, facts of the run) -> bounds.

    facts of a record (positions, width, ...) --rule of the definition--> Bounds [low, high] with the arithmetic
    Bounds + operator + limit --feasibility--> POSSIBLE, IMPOSSIBLE (nothing can pass) or VACUOUS (nothing can fail)

A gate that asks for an impossible value stops every run, and sooner or later somebody waves it through; one that
asks for nothing lets every run pass. Both are named here, with the numbers, so that it shows before the hours are
spent. `METRICS` is also the list of what criteria may speak of: an estimator that is not in it has no meaning here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

Facts = Mapping[str, int]

# Measured in float32: a value this far beyond its bound is rounding, not a contradiction.
ROUNDING = 1e-5


@dataclass(frozen=True)
class Bounds:
    """The closed interval that every value of a metric lies in.

    Attributes:
        low: smallest possible value, in the metric's unit.
        high: largest possible value; infinite where there is none or where the record lacks the fact that gives it.
        arithmetic: where the two come from, as one clause.
        missing: the fact that the record would have to carry for a tighter bound, if it lacks one.
    """

    low: float
    high: float
    arithmetic: str
    missing: str | None = None

    def contains(self, value: float) -> bool:
        """Whether `value` can be a measurement at all, up to float32 rounding."""
        slack = ROUNDING * max(1.0, abs(self.low), abs(value))
        return self.low - slack <= value <= self.high + slack


def largest_entropy(positions: int) -> float:
    """The largest mean attention entropy over T causal query positions, in nats: ln(T!)/T.

    Query t sees t+1 positions, so its entropy is at most ln(t+1) (uniform weights); the mean over t = 0..T-1 is
    ln(T!)/T. T = 8 gives 1.3256.
    """
    return math.lgamma(positions + 1) / positions


def _accuracy(_facts: Facts) -> Bounds:
    return Bounds(0.0, 1.0, "a share of examples lies in [0, 1]")


def _cross_entropy(_facts: Facts) -> Bounds:
    return Bounds(0.0, math.inf, "a cross-entropy is at least 0 nats and has no upper bound")


def _rank(facts: Facts) -> Bounds:
    if (width := facts.get("width", 0)) < 1:
        return Bounds(1.0, math.inf, "a rank is at least 1; the record does not state the width", "width")
    return Bounds(1.0, width, f"a rank lies in [1, width = {width}]")


def _entropy(facts: Facts) -> Bounds:
    if (positions := facts.get("positions", 0)) < 1:
        return Bounds(0.0, math.inf, "an entropy is at least 0; the record does not state the positions", "positions")
    high = largest_entropy(positions)
    return Bounds(
        0.0,
        high,
        f"the mean over T = {positions} causal positions is at most ln({positions}!)/{positions} = {high:.4f} nats",
    )


def _entropy_share(_facts: Facts) -> Bounds:
    return Bounds(0.0, 1.0, "an entropy over the largest one of as many keys lies in [0, 1]")


def _margin(_facts: Facts) -> Bounds:
    return Bounds(-math.inf, math.inf, "a margin of logits may be any number")


def _norm(_facts: Facts) -> Bounds:
    return Bounds(0.0, math.inf, "a norm or a rate is at least 0 and has no upper bound")


Rules = Mapping[str, Callable[[Facts], Bounds]]  # definition id -> its bounds

_WINDOWS = ("ce/all-8", "ce/all-4", "ce/answer")  # of the loss of a modular task
_SET_LOSS: Rules = dict.fromkeys(_WINDOWS, _cross_entropy)
_BATCH_LOSS: Rules = {f"{loss}/batch{kind}": _cross_entropy for loss in _WINDOWS for kind in ("", "-dropout")}
_ANSWERS: Rules = {"argmax/answer": _accuracy}
_ANSWER_LOSS: Rules = {"ce/answer": _cross_entropy}
_LEAST_MARGIN: Rules = {"margin/answer/min-all": _margin}
_SATURATED: Rules = {"softmax/float32-one/answer": _accuracy}
_NORM: Rules = {"l2/all-parameters": _norm}


def _of_any_length(definition: str, rule: Callable[[Facts], Bounds]) -> Rules:
    """A measure over all positions has an id for T = 8, the published one, and one for T = 4."""
    return {definition: rule, f"{definition}/T4": rule}


# A position's number means what it predicts, which depends on the format; the longest has eight.
_PREDICTED = ("a", "op", "b", "mod", "modulus", "=", "c", "eos", "bos")
_AT_POSITIONS: Mapping[str, Rules] = {
    f"{side}_{kind}_at_{position}": {f"{definition}/{token}": rule for token in _PREDICTED}
    for side in ("train", "test")
    for kind, definition, rule in (("loss", "ce/position", _cross_entropy), ("accuracy", "argmax/position", _accuracy))
    for position in range(8)
}

_BUILT_IN: Mapping[str, Rules] = {
    **_AT_POSITIONS,
    "test_accuracy": _ANSWERS,
    "train_accuracy": _ANSWERS,
    "test_twin_accuracy": _ANSWERS,
    "test_new_accuracy": _ANSWERS,
    "test_trained_accuracy": _ANSWERS,
    "test_exact_match": {"exact/answer/validation-5000": _accuracy},
    "test_token_accuracy": {
        "token/answer/validation-5000": _accuracy,
        "token/generated/validation-5000": _accuracy,
    },
    "train_exact_match": {"exact/answer/batch": _accuracy},
    "test_loss": {
        "ce/mean-of-batch-means": _cross_entropy,
        "ce/answer+eos/validation-5000": _cross_entropy,
        "ce/llmc-first-blocks": _cross_entropy,
        **_SET_LOSS,
    },
    "train_loss": {
        "ce/minibatch-dropout": _cross_entropy,
        "ce/answer+eos/batch": _cross_entropy,
        "ce/llmc-batch": _cross_entropy,
        **_BATCH_LOSS,
    },
    "train_set_loss": _SET_LOSS,
    "train_answer_loss": _ANSWER_LOSS,
    "test_answer_loss": _ANSWER_LOSS,
    "test_twin_loss": _ANSWER_LOSS,
    "test_new_loss": _ANSWER_LOSS,
    "test_trained_loss": _ANSWER_LOSS,
    "train_smallest_margin": _LEAST_MARGIN,
    "test_smallest_margin": _LEAST_MARGIN,
    "train_saturated": _SATURATED,
    "test_saturated": _SATURATED,
    "grad_norm": {"l2/before-clip": _norm},
    "learning_rate": {"of-the-update": _norm},
    "weight_norm": _NORM,
    "update_norm": _NORM,
    "final_layer_rank": _of_any_length("pca99/blockin", _rank),
    "average_rank": _of_any_length("pca99/blockin", _rank),
    "final_layer_rank_after": _of_any_length("pca99/blockout", _rank),
    "final_layer_entropy_rank": _of_any_length("entropy-rank/blockin", _rank),
    "final_layer_participation_ratio": _of_any_length("participation-ratio/blockin", _rank),
    "attention_entropy": _of_any_length("attn/all-queries", _entropy),
    "answer_entropy": _of_any_length("attn/answer-query-normalised", _entropy_share),
}


class _Metrics(Mapping[str, Rules]):
    """What is built in; a metric that an installed package offers is found when it is asked for, and not listed."""

    def __getitem__(self, metric: str) -> Rules:
        if metric in _BUILT_IN:
            return _BUILT_IN[metric]
        # NumPy and torch load only for a metric that is not ours.
        from reprogrok.metrics.own_metrics import own_metric  # noqa: PLC0415

        if (own := own_metric(metric)) is None:
            raise KeyError(metric)
        promised = Bounds(own.low, own.high, f"its package says that it lies in [{own.low:g}, {own.high:g}]")
        return {own.definition: lambda _: promised}

    def __iter__(self) -> Iterator[str]:
        return iter(_BUILT_IN)

    def __len__(self) -> int:
        return len(_BUILT_IN)


METRICS: Mapping[str, Rules] = _Metrics()


# Shares of a set whose size a record states: their values are k/n, and no others.
_COUNTED: Mapping[tuple[str, str], str] = {
    ("test_accuracy", "argmax/answer"): "test_examples",
    ("test_saturated", "softmax/float32-one/answer"): "test_examples",
    ("test_exact_match", "exact/answer/validation-5000"): "test_examples",
    ("train_accuracy", "argmax/answer"): "train_examples",
    ("train_saturated", "softmax/float32-one/answer"): "train_examples",
}


def examples(metric: str, definition: str, facts: Facts) -> int | None:
    """The n of a metric whose values are k/n; None for any other, and where the record does not state n.

    An accuracy of at most 0.0001 on n = 4,753 examples is k = 0: 1/4,753 is 0.00021 already.
    """
    fact = _COUNTED.get((metric, definition))
    return None if fact is None else facts.get(fact) or None


def bounds(metric: str, definition: str, facts: Facts) -> Bounds:
    """The bounds of a metric in a run with these facts.

    Raises:
        KeyError: the metric or its definition is not in `METRICS`; criteria are checked against it when loaded.
        InputError: the package that offers the metric is broken.
    """
    return METRICS[metric][definition](facts)

"""The registry of metrics: one entry states everything that the package knows about one metric.

    experiment --metrics.logged--> metrics that its run logs, each with the definition id of the occasion
    (metric, definition, facts of a run) --bounds, denominator--> interval, n          for gates and forensics
    role, uses, quantity --with_role, used_in--> columns, panels, tables, evidence     for runs and claims

A metric may have several definitions: estimators of one name. Values of different definitions are never compared, and a
criterion or a claim names the definition that it means. A metric of an installed package has an entry too, made when
its name is looked up and never listed. The order of the entries is the order of columns, panels and rows.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from enum import Flag, StrEnum, auto

from reprogrok.metrics import bounds as rules
from reprogrok.metrics.bounds import Bounds, Facts, Rule
from reprogrok.metrics.own_metrics import SIDES, own_metric
from reprogrok.tasks.protocols import VALIDATION

# Definition ids of the estimators in `metrics.positions`, `metrics.representation` and `train`.
LOSS = "ce/position"
ANSWER_LOSS = "ce/answer"
POSITION_ACCURACY = "argmax/position"
ACCURACY = "argmax/answer"
SMALLEST_MARGIN = "margin/answer/min-all"
SATURATED = "softmax/float32-one/answer"
RANK = "pca99/blockin"
RANK_AFTER = "pca99/blockout"
ENTROPY_RANK = "entropy-rank/blockin"
PARTICIPATION_RATIO = "participation-ratio/blockin"
ENTROPY = "attn/all-queries"
ANSWER_ENTROPY = "attn/answer-query-normalised"
NORM = "l2/all-parameters"


class Occasion(StrEnum):
    """What makes a run log a metric by a definition."""

    UPDATE = "every update"
    ADDITION = "an evaluation of addition"
    EQUATIONS = "an evaluation of a modular task"
    BATCH_LOSS = "the loss of a batch of a modular task"
    SET_LOSS = "the loss of a side of a modular task"
    POSITION = "the scored positions of a modular task"
    TWIN = "test equations whose swapped pair is trained on"
    NEW = "the other test equations"
    TRAINED = "test equations that are trained on"
    ANALYSIS_8 = "an analysis at 8 positions"
    ANALYSIS_4 = "an analysis at 4 positions"
    FOREIGN = "a log of another project"


class Role(StrEnum):
    """The part that a metric plays in the analysis of a run."""

    GENERALISATION = "accuracy on held-out problems"
    MEMORISATION = "accuracy in training"


class Use(Flag):
    """Where a metric is shown without being requested."""

    NOWHERE = 0
    CURVES = auto()  # panels of a picture and columns of its CSV
    COMPARISON = auto()  # the table of two runs
    EVIDENCE = auto()  # entries of audit/evidence


class Scale(StrEnum):
    """The layout of the vertical axis."""

    FRACTION = "fraction"
    LOSS = "loss"
    AMOUNT = "amount"
    FREE = "free"


@dataclass(frozen=True)
class MeasuredQuantity:
    """The kind of number that a metric is: the rule of its bounds, and its axis."""

    rule: Rule
    scale: Scale


FRACTION = MeasuredQuantity(rules.fraction, Scale.FRACTION)
CROSS_ENTROPY = MeasuredQuantity(rules.cross_entropy, Scale.LOSS)
MARGIN = MeasuredQuantity(rules.margin, Scale.FREE)
LENGTH = MeasuredQuantity(rules.norm, Scale.AMOUNT)
RATE = MeasuredQuantity(rules.norm, Scale.FREE)
DIMENSION = MeasuredQuantity(rules.rank, Scale.AMOUNT)
PARTICIPATION = MeasuredQuantity(rules.rank, Scale.FREE)
NATS = MeasuredQuantity(rules.entropy, Scale.AMOUNT)
NORMALISED = MeasuredQuantity(rules.normalised_entropy, Scale.AMOUNT)


@dataclass(frozen=True)
class RegisteredMetric:
    """One metric.

    Attributes:
        name: key in metrics.jsonl.
        quantity: bounds and axis.
        definitions: definition id -> the occasion of logging it.
        title: heading of a panel; the name without underscores if empty.
        n: the fact of a run that counts the examples of a value.
        role: part in the analysis of a run.
        uses: where it is shown without being requested.
    """

    name: str
    quantity: MeasuredQuantity
    definitions: Mapping[str, Occasion]
    title: str = ""
    n: str | None = None
    role: Role | None = None
    uses: Use = Use.NOWHERE

    @property
    def heading(self) -> str:
        """Title of a panel."""
        return self.title or self.name.replace("_", " ")


_ANSWERS = {ACCURACY: Occasion.EQUATIONS}
_SET_LOSSES = dict.fromkeys(("ce/all-8", "ce/all-4", ANSWER_LOSS), Occasion.SET_LOSS)
_BATCH_LOSSES = {f"{loss}/batch{kind}": Occasion.BATCH_LOSS for loss in _SET_LOSSES for kind in ("", "-dropout")}
_SHOWN = Use.CURVES | Use.COMPARISON | Use.EVIDENCE


def _analysed(definition: str) -> Mapping[str, Occasion]:
    """Give a measure over all positions its ids: that of the published logs for T = 8, with T in it for T = 4."""
    return {definition: Occasion.ANALYSIS_8, f"{definition}/T4": Occasion.ANALYSIS_4}


# Token kinds that a position may predict, which depends on the format; the longest format reads eight positions.
_PREDICTED = ("a", "op", "b", "mod", "modulus", "=", "c", "eos", "bos")


def _at_positions() -> Iterator[RegisteredMetric]:
    for side in SIDES:
        for kind, definition, quantity in (("loss", LOSS, CROSS_ENTROPY), ("accuracy", POSITION_ACCURACY, FRACTION)):
            ids = {f"{definition}/{token}": Occasion.POSITION for token in _PREDICTED}
            yield from (RegisteredMetric(f"{side}_{kind}_at_{position}", quantity, ids) for position in range(8))


_METRICS = (
    RegisteredMetric(
        "test_exact_match", FRACTION, {f"exact/answer/validation-{VALIDATION}": Occasion.ADDITION},
        "exact match on held-out pairs", n="test_examples", role=Role.GENERALISATION, uses=_SHOWN,
    ),
    RegisteredMetric(
        "train_exact_match", FRACTION, {"exact/answer/batch": Occasion.ADDITION},
        "exact match on the training batch", role=Role.MEMORISATION, uses=Use.CURVES | Use.COMPARISON,
    ),
    RegisteredMetric(
        "test_accuracy", FRACTION, _ANSWERS,
        "accuracy on held-out equations", n="test_examples", role=Role.GENERALISATION, uses=_SHOWN,
    ),
    RegisteredMetric(
        "train_accuracy", FRACTION, _ANSWERS,
        "accuracy on training equations", n="train_examples", role=Role.MEMORISATION, uses=_SHOWN,
    ),
    RegisteredMetric("test_twin_accuracy", FRACTION, {ACCURACY: Occasion.TWIN}, uses=Use.EVIDENCE),
    RegisteredMetric("test_new_accuracy", FRACTION, {ACCURACY: Occasion.NEW}, uses=Use.EVIDENCE),
    RegisteredMetric("test_trained_accuracy", FRACTION, {ACCURACY: Occasion.TRAINED}),
    RegisteredMetric(
        "test_token_accuracy", FRACTION,
        {
            f"token/answer/validation-{VALIDATION}": Occasion.ADDITION,
            f"token/generated/validation-{VALIDATION}": Occasion.FOREIGN,
        },
    ),
    RegisteredMetric(
        "train_loss", CROSS_ENTROPY,
        {
            "ce/minibatch-dropout": Occasion.FOREIGN,
            "ce/answer+eos/batch": Occasion.ADDITION,
            "ce/llmc-batch": Occasion.FOREIGN,
            **_BATCH_LOSSES,
        },
        "loss on the training batch (nats)", uses=_SHOWN,
    ),
    RegisteredMetric("train_set_loss", CROSS_ENTROPY, _SET_LOSSES, n="train_examples", uses=Use.EVIDENCE),
    RegisteredMetric(
        "test_loss", CROSS_ENTROPY,
        {
            "ce/mean-of-batch-means": Occasion.FOREIGN,
            f"ce/answer+eos/validation-{VALIDATION}": Occasion.ADDITION,
            "ce/llmc-first-blocks": Occasion.FOREIGN,
            **_SET_LOSSES,
        },
        "loss on held-out problems (nats)", n="test_examples", uses=_SHOWN,
    ),
    RegisteredMetric("train_answer_loss", CROSS_ENTROPY, {ANSWER_LOSS: Occasion.EQUATIONS}, n="train_examples"),
    RegisteredMetric(
        "test_answer_loss", CROSS_ENTROPY, {ANSWER_LOSS: Occasion.EQUATIONS}, n="test_examples", uses=Use.EVIDENCE
    ),
    RegisteredMetric("test_twin_loss", CROSS_ENTROPY, {ANSWER_LOSS: Occasion.TWIN}),
    RegisteredMetric("test_new_loss", CROSS_ENTROPY, {ANSWER_LOSS: Occasion.NEW}),
    RegisteredMetric("test_trained_loss", CROSS_ENTROPY, {ANSWER_LOSS: Occasion.TRAINED}),
    RegisteredMetric("train_smallest_margin", MARGIN, {SMALLEST_MARGIN: Occasion.EQUATIONS}, n="train_examples"),
    RegisteredMetric("test_smallest_margin", MARGIN, {SMALLEST_MARGIN: Occasion.EQUATIONS}, n="test_examples"),
    RegisteredMetric("train_saturated", FRACTION, {SATURATED: Occasion.EQUATIONS}, n="train_examples"),
    RegisteredMetric("test_saturated", FRACTION, {SATURATED: Occasion.EQUATIONS}, n="test_examples"),
    *_at_positions(),
    RegisteredMetric(
        "final_layer_rank", DIMENSION, _analysed(RANK), "rank before the last block (components)", uses=_SHOWN
    ),
    RegisteredMetric("average_rank", DIMENSION, _analysed(RANK), uses=Use.COMPARISON),
    RegisteredMetric("final_layer_rank_after", DIMENSION, _analysed(RANK_AFTER)),
    RegisteredMetric("final_layer_entropy_rank", DIMENSION, _analysed(ENTROPY_RANK)),
    RegisteredMetric("final_layer_participation_ratio", PARTICIPATION, _analysed(PARTICIPATION_RATIO)),
    RegisteredMetric("attention_entropy", NATS, _analysed(ENTROPY), "attention entropy (nats)", uses=_SHOWN),
    RegisteredMetric("answer_entropy", NORMALISED, _analysed(ANSWER_ENTROPY)),
    RegisteredMetric("grad_norm", LENGTH, {"l2/before-clip": Occasion.UPDATE}),
    RegisteredMetric("weight_norm", LENGTH, {NORM: Occasion.UPDATE}, uses=Use.COMPARISON),
    RegisteredMetric("update_norm", LENGTH, {NORM: Occasion.UPDATE}),
    RegisteredMetric("learning_rate", RATE, {"of-the-update": Occasion.UPDATE}),
)  # fmt: skip

BUILT_IN: Mapping[str, RegisteredMetric] = {metric.name: metric for metric in _METRICS}


class _Metrics(Mapping[str, RegisteredMetric]):
    """The built-in metrics; one that an installed package offers is looked up by name and not listed."""

    def __getitem__(self, name: str) -> RegisteredMetric:
        if name in BUILT_IN:
            return BUILT_IN[name]
        if (own := own_metric(name)) is None:
            raise KeyError(name)
        promised = Bounds(own.low, own.high, f"its package says that it lies in [{own.low:g}, {own.high:g}]")
        quantity = MeasuredQuantity(lambda _: promised, Scale.FREE)
        return RegisteredMetric(name, quantity, {own.definition: Occasion.EQUATIONS}, own.title)

    def __iter__(self) -> Iterator[str]:
        return iter(BUILT_IN)

    def __len__(self) -> int:
        return len(BUILT_IN)


METRICS: Mapping[str, RegisteredMetric] = _Metrics()


def with_role(role: Role) -> tuple[str, ...]:
    """Return the names of the metrics with a role; of several in a record, the first counts."""
    return tuple(metric.name for metric in _METRICS if metric.role is role)


def used_in(use: Use, *quantities: MeasuredQuantity) -> tuple[str, ...]:
    """Return the names of the metrics that a place shows, of these quantities if any are given."""
    return tuple(
        metric.name for metric in _METRICS if use in metric.uses and (not quantities or metric.quantity in quantities)
    )


def logged_at(*occasions: Occasion, ids: Collection[str] | None = None) -> dict[str, str]:
    """Return the metrics that are logged at these occasions, with the definition; only these ids if they are given."""
    return {
        metric.name: id_
        for metric in _METRICS
        for id_, at in metric.definitions.items()
        if at in occasions and (ids is None or id_ in ids)
    }


GENERALISATION = with_role(Role.GENERALISATION)
MEMORISATION = with_role(Role.MEMORISATION)
ANALYSED = logged_at(Occasion.ANALYSIS_8)
"""Metrics of the rarer analysis steps, with the ids for T = 8."""


def denominator(metric: str, definition: str, facts: Facts) -> int | None:
    """Return the n of a metric whose values are k/n; None for any other, or if the record does not state n.

    An accuracy of at most 0.0001 on n = 4,753 examples is k = 0: 1/4,753 is 0.00021 already.
    """
    entry = BUILT_IN.get(metric)
    if entry is None or entry.quantity is not FRACTION or definition not in entry.definitions or entry.n is None:
        return None
    return facts.get(entry.n) or None


def bounds(metric: str, definition: str, facts: Facts) -> Bounds:
    """Return the bounds of a metric in a run with these facts.

    Raises:
        KeyError: the metric or its definition is not registered; loading a gate checks that.
        InputError: the package that offers the metric is broken.
    """
    entry = METRICS[metric]
    if definition not in entry.definitions:
        raise KeyError(definition)
    return entry.quantity.rule(facts)

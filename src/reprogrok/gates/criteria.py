"""A gate as typed values: a `Gate` of criteria, what it requires beside them, and its control traces.

    criteria file --gates.gate_files--> Gate(Criterion(Condition, ...), ..., Requirement, ...)
    Gate + Record --gates.gate--------> GateVerdict

The hash and the content of the file stay with the gate, so that a run can register them before training.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from reprogrok.gates.operators import OPERATORS, Limit

TRAINING_MEMORISED, ANSWERS_LEARNABLE, NOT_BELOW_CHANCE = "training-memorised", "answers-learnable", "not-below-chance"
# The one accuracy for which a record states the number of examples, so that right answers can be counted.
COUNTED = ("test_accuracy", "argmax/answer")


@dataclass(frozen=True)
class Condition:
    """One operator with its limit.

    Attributes:
        operator: a key of `OPERATORS`.
        within: for changes, the largest distance in steps between the two points; None for the whole window.
        line: 1-based line in the criteria file, None where the format has no lines (JSON).
        confidence: for a slope, the level of its interval; None for every other operator.
    """

    operator: str
    limit: Limit
    within: int | None = None
    line: int | None = None
    confidence: float | None = None

    def __str__(self) -> str:
        within = "" if self.within is None else f" within {self.within:,} steps"
        slope = "" if self.confidence is None else f" per 1,000 steps ({100 * self.confidence:g} % interval)"
        return f"{OPERATORS[self.operator].text} {self.limit}{within}{slope}"


@dataclass(frozen=True)
class Criterion:
    """One metric over one window of steps; every condition must hold.

    Attributes:
        id: unique within the gate.
        source: quotation of the published criterion, or its author.
        definition: id of the estimator; values of another one are not judged.
        window: the steps judged; `window[0]` and `window[-1]` are both included.
        grid: the steps at which points are expected; never empty, inside the window.
        conditions: at least one.
    """

    id: str
    title: str
    source: str
    metric: str
    definition: str
    window: range
    grid: range
    conditions: tuple[Condition, ...]
    line: int | None = None


@dataclass(frozen=True)
class Requirement:
    """A condition without which the criteria mean nothing.

    Attributes:
        kind: `training-memorised`, `answers-learnable` or `not-below-chance`; unique within the gate.
        metric: the metric judged; None for `answers-learnable`.
        definition: its estimator; None for `answers-learnable`.
        at_least: the fraction to be reached; None for `not-below-chance`.
        by: the step by which training must be memorised; None for the others.
        level: the probability below which the number of right answers is too low for chance; None for the others.
        window: the steps judged by `not-below-chance`, both ends included; None for the others.
    """

    kind: str
    metric: str | None = None
    definition: str | None = None
    at_least: Decimal | None = None
    by: int | None = None
    level: float | None = None
    window: range | None = None
    line: int | None = None

    @property
    def steps(self) -> range:
        """The steps judged, both ends included."""
        return range((self.by or 0) + 1) if self.window is None else self.window

    def __str__(self) -> str:
        if self.window is not None:
            span = f"steps {self.window[0]:,} to {self.window[-1]:,}"
            return f"{self.metric}: guessing gives so few right answers with a probability >= {self.level:g}, {span}"
        if self.by is not None:
            return f"{self.metric} reaches {self.at_least} by step {self.by:,}"
        return f"fraction of test examples whose answer occurs in training >= {self.at_least}"


@dataclass(frozen=True)
class Controls:
    """The control traces of a gate, confirmed when the gate was loaded.

    Attributes:
        passing, failing: numbers of traces.
        reason: why no trace can pass; None if one does.
    """

    path: Path
    passing: int
    failing: int
    reason: str | None = None


@dataclass(frozen=True)
class Gate:
    """A set of criteria, all of which must hold for a GO.

    Attributes:
        title: the statement that a GO supports.
        criteria: at least one, with distinct ids.
        sha256: SHA-256 of the bytes of the file.
        content: the file as plain data; registered, with the hash, by a run before it trains.
        requires: requirements of distinct kinds, which must hold for a GO as well.
    """

    name: str
    title: str
    source: str
    criteria: tuple[Criterion, ...]
    path: Path
    sha256: str
    content: Mapping[str, object]
    requires: tuple[Requirement, ...] = ()
    controls: Controls | None = None

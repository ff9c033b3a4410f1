"""A gate as data: `audit/criteria/NAME.yaml` -> a frozen `Gate` of criteria; nothing in the file is ever executed.

    file --JSON Schema--> Document --meaning checked here--> Gate(Criterion(Condition, ...), ..., Requirement, ...)
    controls/NAME.yaml beside it, if there is one --gates.controls--> the gate does to each trace what the file says

The schema knows shapes; this module knows what they mean: a window that holds no step, a metric nobody measures, an
estimator that the metric does not have, two criteria of one name. Each is an error with file, line and field, because
a criterion that is misread is worse than none. The text's hash and content stay with the gate, so that a run can
register them before it trains and a verdict can say what it was judged by.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from reprogrok.errors import InputError
from reprogrok.gates.operators import OPERATORS, Limit, Relation, decimal
from reprogrok.metrics.registry import METRICS, bounds
from reprogrok.schema import Document, Steps, load

SUFFIX = ".yaml"
CONTROLS = "controls"  # the folder beside the criteria that holds the control traces of each gate

TRAINING_MEMORISED, ANSWERS_LEARNABLE, NOT_BELOW_CHANCE = "training-memorised", "answers-learnable", "not-below-chance"
# Guessing is counted in test examples, and a record states how many there are for this metric alone.
COUNTED = ("test_accuracy", "argmax/answer")
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Condition:
    """One operator with its limit.

    Attributes:
        operator: a key of `OPERATORS`.
        limit: what each of the operator's readings must meet.
        within: for changes, the largest distance in steps between the two points; None is the whole window.
        line: 1-based line in the criteria file, None where the format has no lines (JSON).
        confidence: for a slope, that of its interval; None for every other operator.
    """

    operator: str
    limit: Limit
    within: int | None = None
    line: int | None = None
    confidence: float | None = None

    def __str__(self) -> str:
        within = "" if self.within is None else f" within {self.within:,} steps"
        slope = "" if self.confidence is None else f" per 1,000 steps ({100 * self.confidence:g} % interval)"
        return f"{OPERATORS[self.operator].words} {self.limit}{within}{slope}"


@dataclass(frozen=True)
class Criterion:
    """One metric over one window of steps; every condition must hold.

    Attributes:
        id: unique within the gate.
        title: the criterion in words.
        source: the words of whoever asked for it.
        metric: name of the metric in a record.
        definition: id of the estimator; values of another one are not judged.
        window: the steps judged; `window[0]` and `window[-1]` are both included.
        grid: the steps at which points are expected; never empty, inside the window.
        conditions: at least one.
        line: 1-based line in the criteria file.
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
    """A companion of the criteria: what must be so for their holding to mean anything.

    Attributes:
        kind: `training-memorised`, `answers-learnable` or `not-below-chance`; unique within the gate.
        metric: the one that is looked at; None for `answers-learnable`.
        definition: its estimator; None likewise.
        at_least: the share that must be reached; None for `not-below-chance`.
        by: the step until which training must be memorised; None for the others.
        level: the probability below which so few right answers are no bad luck; None for the others.
        window: the steps in which that is looked for, both ends included; None for the others.
        line: 1-based line in the criteria file.
    """

    kind: str
    metric: str | None = None
    definition: str | None = None
    at_least: Decimal | None = None
    by: int | None = None
    level: float | None = None
    window: range | None = None
    line: int | None = None

    def __str__(self) -> str:
        if self.window is not None:
            span = f"steps {self.window[0]:,} to {self.window[-1]:,}"
            return f"{self.metric}: guessing gives so few right answers with a probability >= {self.level:g}, {span}"
        if self.by is not None:
            return f"{self.metric} reaches {self.at_least} by step {self.by:,}"
        return f"share of test examples whose answer occurs in training >= {self.at_least}"


@dataclass(frozen=True)
class Controls:
    """The control traces of a gate, which did what their file says when the gate was loaded.

    Attributes:
        path: their file.
        passing: traces that pass the gate; 0 if none can.
        failing: traces that fail one criterion or requirement each.
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
        name: what the gate goes by; the file's name without its suffix.
        title: what a GO allows.
        source: who asked for it.
        criteria: at least one, with distinct ids.
        path: the file it was read from.
        sha256: hash of that file's bytes.
        content: the file as plain data; with the hash, what a run registers before it trains.
        requires: companions of the criteria, of distinct kinds, which must hold for a GO as well.
        controls: its control traces; None if it has none.
    """

    name: str
    title: str
    source: str
    criteria: tuple[Criterion, ...]
    path: Path
    sha256: str
    content: Mapping[str, Any]
    requires: tuple[Requirement, ...] = ()
    controls: Controls | None = None


def find_gate(name: str, where: Path) -> Path:
    """The criteria file of the gate `name` in the folder `where`, or `where` itself if it is a file.

    Raises:
        InputError: there is no such folder, or no such gate in it; says which there are.
    """
    if where.is_file():
        return where
    if not where.is_dir():
        raise InputError("no criteria here", path=where, expected="a folder of criteria files, or one such file")
    # Only a plain name: a gate is looked up in the folder, never beside it.
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name) and (path := where / f"{name}{SUFFIX}").is_file():
        return path
    known = gate_names(where)
    near = difflib.get_close_matches(name.lower(), known, n=1)
    hint = f" (did you mean {near[0]}?)" if near else ""
    expected = f"one of {', '.join(known)}{hint}" if known else f"NAME{SUFFIX} files, but the folder has none"
    raise InputError("no such gate", path=where, expected=expected, found=name)


def gate_names(where: Path) -> list[str]:
    """The names of the gates in a folder, sorted."""
    return sorted(path.stem for path in where.glob(f"*{SUFFIX}"))


def load_gate(path: Path, name: str | None = None) -> Gate:
    """Read a criteria file and check what it means; its control traces, if it has any, are judged on the spot.

    Args:
        path: the file.
        name: the gate it must be about; by default the file's own name without its suffix.

    Raises:
        InputError: the file is not what the schema asks for, or says something that has no meaning; or a control
            trace does not do what it is there for.
    """
    document = load(path, "criteria")
    data = document.data
    if data["gate"] != (wanted := path.stem if name is None else name):
        raise document.error(("gate",), "another gate", expected=wanted, found=data["gate"])
    criteria = tuple(_criterion(document, index, item) for index, item in enumerate(data["criteria"]))
    first: dict[str, int] = {}
    for index, criterion in enumerate(criteria):
        if first.setdefault(criterion.id, index) != index:
            raise document.error(("criteria", index, "id"), "this id is taken", expected="a new id", found=criterion.id)
    requires = tuple(_requirement(document, index, item) for index, item in enumerate(data.get("requires", ())))
    for index, requirement in enumerate(requires):
        if requirement.kind in first or requirement.kind in {other.kind for other in requires[:index]}:
            raise document.error(("requires", index, requirement.kind), "this id is taken", found=requirement.kind)
    gate = Gate(data["gate"], data["title"], data["source"], criteria, path, document.sha256, data, requires)
    beside = path.parent / CONTROLS / f"{gate.name}{SUFFIX}"
    if not beside.is_file():
        return gate
    # A control is judged by its gate, and judging reads this module.
    from reprogrok.gates.controls import check_controls  # noqa: PLC0415 - a circle otherwise

    return replace(gate, controls=check_controls(gate, beside))


def _criterion(document: Document, index: int, item: Mapping[str, Any]) -> Criterion:
    at: Steps = ("criteria", index)
    metric, definition = _measured(document, at, item)
    # A JSON Schema integer may be written 2e4; from here on it is an int.
    start, end = int(item["window"]["from"]), int(item["window"]["to"])
    if end < start:
        raise document.error((*at, "window"), "an empty window", expected=f"to >= {start}", found=end)
    first, every = int(item["coverage"]["first"]), int(item["coverage"]["every"])
    if not start <= first <= end:
        expected = f"a step in the window, {start} to {end}"
        raise document.error((*at, "coverage", "first"), "outside the window", expected=expected, found=first)
    grid = range(first, end + 1, every)
    return Criterion(
        id=item["id"],
        title=item["title"],
        source=item["source"],
        metric=metric,
        definition=definition,
        window=range(start, end + 1),
        grid=grid,
        conditions=tuple(
            condition
            for number, asked in enumerate(item["conditions"])
            for condition in _conditions(document, (*at, "conditions", number), asked, grid)
        ),
        line=document.lines.get(at),
    )


def _measured(document: Document, at: Steps, item: Mapping[str, Any]) -> tuple[str, str]:
    """The metric and the definition that an entry names.

    Raises:
        InputError: nobody measures that.
    """
    metric, definition = item["metric"], item["definition"]
    if metric not in METRICS:
        raise document.error((*at, "metric"), "unknown metric", expected=_choice(metric, METRICS), found=metric)
    if definition not in METRICS[metric].definitions:
        message = f"{metric} has no such definition"
        expected = _choice(definition, METRICS[metric].definitions)
        raise document.error((*at, "definition"), message, expected=expected, found=definition)
    return metric, definition


def _conditions(document: Document, at: Steps, item: Mapping[str, Any], grid: range) -> tuple[Condition, ...]:
    """What one entry asks for: one condition, or for `flat` a bounded drop, a bounded rise and the ends of a slope."""
    ((name, settings),) = item.items()
    line = document.lines.get(at)
    within = int(settings["within"]) if "within" in settings else None
    if within is not None and within < grid.step:
        message = "no two points of the grid are this close"
        raise document.error((*at, name, "within"), message, expected=f"at least {grid.step}", found=within)
    if len(grid) < (needs := OPERATORS["slope" if name == "flat" else name].needs):
        message = f"{name} needs at least {needs} points, the grid has {len(grid)}"
        raise document.error((*at, name), message)
    if name != "flat":
        ((relation, value),) = ((key, value) for key, value in settings.items() if key in set(Relation))
        return (Condition(name, Limit(Relation(relation), decimal(value)), within, line),)
    low, high = map(decimal, settings["slope_between"])
    if high < low:
        message = "an empty interval of slopes"
        raise document.error(
            (*at, name, "slope_between"), message, expected=f"an upper end >= {low}", found=float(high)
        )
    confidence = float(settings.get("confidence", CONFIDENCE))
    changes = (
        (change, settings.get(key)) for change, key in (("max_drop", "drop_at_most"), ("max_rise", "rise_at_most"))
    )
    return (
        *(
            Condition(change, Limit(Relation.AT_MOST, decimal(most)), None, line)
            for change, most in changes
            if most is not None
        ),
        Condition("slope", Limit(Relation.AT_LEAST, low), None, line, confidence),
        Condition("slope", Limit(Relation.AT_MOST, high), None, line, confidence),
    )


def _requirement(document: Document, index: int, item: Mapping[str, Any]) -> Requirement:
    ((kind, settings),) = item.items()
    at: Steps = ("requires", index, kind)
    line = document.lines.get(at)
    if kind == ANSWERS_LEARNABLE:
        return Requirement(kind, at_least=decimal(settings["at_least"]), line=line)
    metric, definition = _measured(document, at, settings)
    if kind == TRAINING_MEMORISED:
        limits = bounds(metric, definition, {})
        if (limits.low, limits.high) != (0.0, 1.0):
            raise document.error((*at, "metric"), expected="a metric that is a share, 0 to 1", found=metric)
        least, by = decimal(settings["at_least"]), int(settings["by"])
        return Requirement(kind, metric, definition, at_least=least, by=by, line=line)
    if (metric, definition) != COUNTED:
        expected = f"{COUNTED[0]}, measured as {COUNTED[1]}: a record says of how many examples it is"
        raise document.error((*at, "metric"), expected=expected, found=f"{metric}, measured as {definition}")
    start, end = int(settings["from"]), int(settings["to"])
    if end < start:
        raise document.error((*at, "to"), "an empty window", expected=f"at least {start}", found=end)
    level = float(settings["level"])
    return Requirement(kind, metric, definition, level=level, window=range(start, end + 1), line=line)


def _choice(found: str, known: Mapping[str, Any]) -> str:
    near = difflib.get_close_matches(found, known, n=1)
    return f"one of {', '.join(known)}" + (f" (did you mean {near[0]}?)" if near else "")

"""Criteria files: `audit/criteria/NAME.yaml` -> a frozen `Gate`; nothing in the file is ever executed.

    file --JSON Schema--> Document --checks of meaning, here--> Gate(Criterion(Condition, ...), ..., Requirement, ...)
    controls/NAME.yaml beside it, if present --gates.controls--> the gate judges each trace as the file states

The schema checks shapes; this module checks meaning: a window without steps, an unknown metric, an estimator that the
metric does not have, two criteria with one name. Each is an error with file, line and field.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from reprogrok.errors import InputError
from reprogrok.gates.controls import check_controls
from reprogrok.gates.criteria import (
    ANSWERS_LEARNABLE,
    COUNTED,
    TRAINING_MEMORISED,
    Condition,
    Criterion,
    Gate,
    Requirement,
)
from reprogrok.gates.operators import OPERATORS, Limit, Relation, decimal
from reprogrok.metrics.registry import METRICS, bounds
from reprogrok.schema import Document, Steps, load

SUFFIX = ".yaml"
CONTROLS = "controls"  # the folder of control traces, beside the criteria files
CONFIDENCE = 0.95


def find_gate(name: str, where: Path) -> Path:
    """Return the criteria file of the gate `name` in the folder `where`, or `where` itself if it is a file.

    Raises:
        InputError: no such folder, or no such gate in it; the message lists the gates of the folder.
    """
    if where.is_file():
        return where
    if not where.is_dir():
        raise InputError("no criteria here", path=where, expected="a folder of criteria files, or one such file")
    # Only a plain name: a gate is looked up in the folder, never beside it.
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name) and (path := where / f"{name}{SUFFIX}").is_file():
        return path
    known = gate_names(where)
    expected = _choice(name.lower(), known) if known else f"NAME{SUFFIX} files, but the folder has none"
    raise InputError("no such gate", path=where, expected=expected, found=name)


def gate_names(where: Path) -> list[str]:
    """Return the names of the gates in a folder, sorted."""
    return sorted(path.stem for path in where.glob(f"*{SUFFIX}"))


def load_gate(path: Path, name: str | None = None) -> Gate:
    """Read a criteria file, check its meaning, and judge its control traces if it has any.

    The gate must be called `name`, by default as the file without its suffix.

    Raises:
        InputError: the file breaks its schema or has no meaning, or a control trace is not judged as its file states.
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
    return replace(gate, controls=check_controls(gate, beside)) if beside.is_file() else gate


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
            for number, entry in enumerate(item["conditions"])
            for condition in _conditions(document, (*at, "conditions", number), entry, grid)
        ),
        line=document.lines.get(at),
    )


def _measured(document: Document, at: Steps, item: Mapping[str, Any]) -> tuple[str, str]:
    """Return the metric and the definition that an entry names, or raise if either is unknown."""
    metric, definition = item["metric"], item["definition"]
    if metric not in METRICS:
        raise document.error((*at, "metric"), "unknown metric", expected=_choice(metric, METRICS), found=metric)
    if definition not in METRICS[metric].definitions:
        message = f"{metric} has no such definition"
        expected = _choice(definition, METRICS[metric].definitions)
        raise document.error((*at, "definition"), message, expected=expected, found=definition)
    return metric, definition


def _conditions(document: Document, at: Steps, item: Mapping[str, Any], grid: range) -> tuple[Condition, ...]:
    """Read one entry: one condition, or for `flat` a bounded drop, a bounded rise and the ends of a slope."""
    ((name, settings),) = item.items()
    line = document.lines.get(at)
    within = int(settings["within"]) if "within" in settings else None
    if within is not None and within < grid.step:
        message = "no two points of the grid are this close"
        raise document.error((*at, name, "within"), message, expected=f"at least {grid.step}", found=within)
    if len(grid) < (needs := OPERATORS["slope" if name == "flat" else name].needs):
        raise document.error((*at, name), f"{name} needs at least {needs} points, the grid has {len(grid)}")
    if name != "flat":
        ((relation, value),) = ((key, value) for key, value in settings.items() if key in set(Relation))
        return (Condition(name, Limit(Relation(relation), decimal(value)), within, line),)
    low, high = map(decimal, settings["slope_between"])
    if high < low:
        where, message = (*at, name, "slope_between"), "an empty interval of slopes"
        raise document.error(where, message, expected=f"an upper end >= {low}", found=float(high))
    confidence = float(settings.get("confidence", CONFIDENCE))
    changes = {"max_drop": settings.get("drop_at_most"), "max_rise": settings.get("rise_at_most")}
    ends = (Limit(Relation.AT_LEAST, low), Limit(Relation.AT_MOST, high))
    return (
        *(
            Condition(change, Limit(Relation.AT_MOST, decimal(most)), None, line)
            for change, most in changes.items()
            if most is not None
        ),
        *(Condition("slope", limit, None, line, confidence) for limit in ends),
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
            raise document.error((*at, "metric"), expected="a metric that is a fraction, 0 to 1", found=metric)
        least, by = decimal(settings["at_least"]), int(settings["by"])
        return Requirement(kind, metric, definition, at_least=least, by=by, line=line)
    if (metric, definition) != COUNTED:
        expected = f"{COUNTED[0]}, measured as {COUNTED[1]}: the only accuracy whose number of examples a record states"
        raise document.error((*at, "metric"), expected=expected, found=f"{metric}, measured as {definition}")
    start, end = int(settings["from"]), int(settings["to"])
    if end < start:
        raise document.error((*at, "to"), "an empty window", expected=f"at least {start}", found=end)
    level = float(settings["level"])
    return Requirement(kind, metric, definition, level=level, window=range(start, end + 1), line=line)


def _choice(found: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(found, list(known), n=1)
    return f"one of {', '.join(known)}" + (f" (did you mean {near[0]}?)" if near else "")

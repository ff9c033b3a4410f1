"""The control traces of a gate: synthetic runs with known verdicts, judged whenever the gate is loaded.

    controls/NAME.yaml --JSON Schema--> facts + breakpoints per metric --straight lines on the grid--> Record
    gate + Record --judge--> verdict --as the file states?--> Controls, or an error at the line of the trace

A file has one run that passes the gate, and for each criterion and each requirement one that fails exactly this one. If
no run can pass, the file gives the reason, and at least one condition must be IMPOSSIBLE by the bounds of its metric. A
gate whose controls are not judged as stated does not load.

A trace is sampled at its breakpoints and at every step of the grids of its metric, from its first breakpoint to its
last. If the facts state the number of test examples, test accuracy is rounded to whole examples.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from reprogrok.gates.criteria import COUNTED, Controls, Gate
from reprogrok.gates.gate import judge
from reprogrok.gates.operators import Feasibility
from reprogrok.gates.requirements import SplitAnswers
from reprogrok.gates.verdict import GateVerdict, Outcome
from reprogrok.record import Record, Series
from reprogrok.schema import Document, Steps, load

CEILING = "seen_answer_ceiling"
LAYOUT = "control"


def check_controls(gate: Gate, path: Path) -> Controls:
    """Judge every control trace of a gate and compare the outcome with the stated one.

    Raises:
        InputError: the file breaks its schema or belongs to another gate, a criterion or requirement has no trace that
            fails it, or a trace is not judged as stated; with the line of the trace.
    """
    document = load(path, "controls")
    data = document.data
    if data["gate"] != gate.name:
        raise document.error(("gate",), "another gate", expected=gate.name, found=data["gate"])
    _check_traces(document, gate)
    _check_passing(document, gate)
    ids = _ids(gate)
    for index, trace in enumerate(data["fails"]):
        at: Steps = ("fails", index)
        if trace["id"] not in ids:
            expected = f"one of {', '.join(ids)}"
            raise document.error((*at, "id"), "no such criterion or requirement", expected=expected, found=trace["id"])
        for number, other in enumerate(trace.get("also", ())):
            if other not in ids or other == trace["id"]:
                expected = f"another one of {', '.join(ids)}"
                raise document.error((*at, "also", number), expected=expected, found=other)
        verdict = _judge_trace(gate, data, trace)
        failed, asked = _failing(verdict), {trace["id"], *trace.get("also", ())}
        if failed != asked:
            message = f"this trace fails {_list(failed)}{_why(verdict, asked - failed)}"
            raise document.error(at, message, expected=f"{_list(asked)} to fail, and nothing else")
    if untold := [name for name in ids if name not in {trace["id"] for trace in data["fails"]}]:
        expected = f"one trace for each of {', '.join(ids)}"
        raise document.error(("fails",), f"no control fails {_list(untold)}", expected=expected)
    return Controls(path, int(data["passes"] is not None), len(data["fails"]), data.get("reason"))


def _check_passing(document: Document, gate: Gate) -> None:
    """Raise unless the passing trace passes, or the bounds rule out that any can."""
    data = document.data
    if data["passes"] is not None:
        if "reason" in data:
            raise document.error(("reason",), "a reason why no run can pass, next to a run that passes")
        verdict = _judge_trace(gate, data, data["passes"])
        if verdict.outcome is not Outcome.HOLDS:
            names = [name for name, outcome, _ in _outcomes(verdict) if outcome is not Outcome.HOLDS]
            raise document.error(("passes",), f"this trace does not pass{_why(verdict, names)}")
        return
    if "reason" not in data:
        raise document.error(("passes",), "no run can pass, and the field reason is missing")
    if not any(note.kind is Feasibility.IMPOSSIBLE for note in _judge_trace(gate, data, {}).notes):
        message = "the bounds of its metrics do not keep a run from passing this gate: no condition is IMPOSSIBLE"
        raise document.error(("passes",), message, expected="a trace that passes")


def _check_traces(document: Document, gate: Gate) -> None:
    """Raise unless breakpoints are in order of steps, and only of metrics that the gate judges."""
    data, known = document.data, _definitions(gate)
    places: list[Steps] = [(), ("passes",), *(("fails", index) for index in range(len(data["fails"])))]
    for at in places:
        for metric, breakpoints in (document.at(at) or {}).get("metrics", {}).items():
            if metric not in known:
                expected = f"one of {', '.join(known)}"
                raise document.error((*at, "metrics", metric), "the gate judges no such metric", expected=expected)
            for number, (before, after) in enumerate(pairwise(breakpoints), 1):
                if after[0] <= before[0]:
                    where = (*at, "metrics", metric, number)
                    raise document.error(where, "steps must increase", expected=f"> {before[0]}", found=after[0])


def _judge_trace(gate: Gate, data: Mapping[str, Any], trace: Mapping[str, Any]) -> GateVerdict:
    facts, definitions = data["facts"] | trace.get("facts", {}), _definitions(gate)
    series = {}
    for metric, breakpoints in (data["metrics"] | trace.get("metrics", {})).items():
        grid = {step for criterion in gate.criteria if criterion.metric == metric for step in criterion.grid}
        examples = facts.get("test_examples") if (metric, definitions[metric]) == COUNTED else None
        series[metric] = Series(*_sampled(breakpoints, grid, examples))
    whole = {name: value for name, value in facts.items() if name != CEILING}
    record = Record(gate.path, gate.name, LAYOUT, {0: series}, definitions, whole)
    return judge(gate, record, SplitAnswers(facts.get("classes"), facts.get(CEILING), "the control's facts"))


def _sampled(
    breakpoints: Sequence[tuple[int, float]], grid: set[int], examples: int | None
) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Return steps and values on the lines between breakpoints: [[0, 0], [100, 1]] on 0, 50, 100 gives 0, 0.5, 1."""
    first, last = breakpoints[0][0], breakpoints[-1][0]
    steps = sorted({step for step in grid if first <= step <= last} | {step for step, _ in breakpoints})
    values = [float(breakpoints[0][1])]
    section = iter(pairwise(breakpoints))
    before, after = breakpoints[0], breakpoints[0]
    for step in steps[1:]:
        while step > after[0]:
            before, after = next(section)
        part = (step - before[0]) / (after[0] - before[0])
        # At a breakpoint, exactly the value of the file.
        values.append(float(after[1]) if part == 1 else before[1] + (after[1] - before[1]) * part)
    if examples is not None:
        values = [round(value * examples) / examples for value in values]
    return tuple(steps), tuple(values)


def _definitions(gate: Gate) -> dict[str, str]:
    asked = [(item.metric, item.definition) for item in gate.criteria]
    required = [(item.metric, item.definition) for item in gate.requires if item.metric and item.definition]
    return dict([*required, *asked])


def _ids(gate: Gate) -> list[str]:
    return [*(criterion.id for criterion in gate.criteria), *(asked.kind for asked in gate.requires)]


def _outcomes(verdict: GateVerdict) -> Iterator[tuple[str, Outcome, Sequence[str]]]:
    (replica,) = verdict.replicas
    for result in replica.criteria:
        notes = [condition.note for condition in result.conditions if condition.note]
        yield result.criterion.id, result.outcome, [*result.reasons, *notes]
    for required in replica.requires:
        yield required.requirement.kind, required.outcome, [*required.reasons, required.numbers]


def _failing(verdict: GateVerdict) -> set[str]:
    return {name for name, outcome, _ in _outcomes(verdict) if outcome is Outcome.FAILS}


def _why(verdict: GateVerdict, names: Collection[str]) -> str:
    """Describe the outcomes of the given criteria and requirements, with their reasons."""
    texts = [
        f"{name} {outcome}" + (f" ({'; '.join(filter(None, reasons))})" if any(reasons) else "")
        for name, outcome, reasons in _outcomes(verdict)
        if name in names
    ]
    return f": {', '.join(texts)}" if texts else ""


def _list(names: Collection[str]) -> str:
    return ", ".join(sorted(names)) or "nothing"

"""A verdict -> documents for machines: JSON, JUnit XML, and annotations for GitHub workflows.

JSON     everything, checked against `verdict.schema.json`
JUnit    one test case per seed and criterion or requirement: FAILS is a failure, INCONCLUSIVE an error (never a pass,
         never skipped); a withheld GO is one more error
GitHub   one annotation per impossible or vacuous condition, and per condition or requirement that does not hold, at its
         line in the criteria file
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from xml.etree import ElementTree as ET

from reprogrok import __version__
from reprogrok.files import pretty_json
from reprogrok.gates import text
from reprogrok.gates.criteria import Gate, Requirement
from reprogrok.gates.operators import Reading
from reprogrok.gates.verdict import (
    Assessment,
    CriterionResult,
    GateDecision,
    GateVerdict,
    Outcome,
    RequirementResult,
    worst,
)
from reprogrok.metrics.bounds import Bounds
from reprogrok.schema import check_written

# Characters that XML 1.0 cannot hold, escaped or not.
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def as_json(verdict: GateVerdict) -> bytes:
    """Write the verdict as JSON, checked against its schema."""
    controls = verdict.gate.controls
    document: dict[str, object] = {
        "format": "reprogrok.verdict/2",
        "reprogrok": __version__,
        "gate": {
            **gate_document(verdict.gate),
            "controls": None if controls is None else vars(controls) | {"path": text.path_text(controls.path)},
        },
        "run": {
            "path": text.path_text(verdict.run),
            "experiment": verdict.experiment.encode("utf-8", "replace").decode(),
            "layout": verdict.layout,
            "seeds": [replica.seed for replica in verdict.replicas],
            **({"earlier_fingerprints": earlier} if (earlier := verdict.fingerprint.get("earlier")) else {}),
        },
        "registration": {
            "status": verdict.registration.status.value,
            "note": verdict.registration.note,
            "registered_sha256": verdict.registration.registered_sha256,
            "difference": list(verdict.registration.difference),
            "amendment_accepted": verdict.amendment_accepted,
        },
        "verdict": verdict.decision.value,
        "withheld": verdict.withheld,
        "exit_code": int(verdict.exit_code),
        "findings": [
            {
                "kind": note.kind.value,
                "criterion": note.criterion.id,
                "condition": str(note.condition),
                "arithmetic": note.arithmetic,
            }
            for note in verdict.notes
        ],
        "criteria": [
            _criterion(assessment, verdict.of_criterion(index)) for index, assessment in enumerate(verdict.assessments)
        ],
        "requires": [
            _requirement(asked, verdict.of_requirement(index)) for index, asked in enumerate(verdict.gate.requires)
        ],
    }
    check_written(document, "verdict")
    return pretty_json(document)


def gate_document(gate: Gate) -> dict[str, object]:
    """Return the fields that identify a gate."""
    return {"name": gate.name, "title": gate.title, "path": text.path_text(gate.path), "sha256": gate.sha256}


def bounds_document(bounds: Bounds) -> dict[str, object]:
    """Return the bounds of a metric, with null for no bound."""
    low, high = (end if math.isfinite(end) else None for end in (bounds.low, bounds.high))
    return {"low": low, "high": high, "arithmetic": bounds.arithmetic}


def _criterion(assessment: Assessment, results: tuple[tuple[int, CriterionResult], ...]) -> dict[str, object]:
    criterion = assessment.criterion
    return {
        "id": criterion.id,
        "title": criterion.title,
        "metric": criterion.metric,
        "definition": criterion.definition,
        "window": [criterion.window[0], criterion.window[-1]],
        "bounds": bounds_document(assessment.bounds),
        "outcome": worst(result.outcome for _, result in results).value,
        "replicas": [
            {
                "seed": seed,
                "outcome": result.outcome.value,
                "points_seen": result.measured,
                "points_expected": result.expected,
                "points_off_grid": result.off_grid,
                "reasons": list(result.reasons),
                "conditions": [
                    {
                        "condition": str(item.condition),
                        "outcome": item.outcome.value,
                        "worst": _reading(item.worst),
                        "margin": None if item.margin is None else float(item.margin),
                        "first_violation": _reading(item.first_violation),
                        "note": item.note,
                    }
                    for item in result.conditions
                ],
            }
            for seed, result in results
        ],
    }


def _requirement(asked: Requirement, results: tuple[tuple[int, RequirementResult], ...]) -> dict[str, object]:
    replicas: list[dict[str, object]] = []
    for seed, result in results:
        outcome, reasons = result.outcome.value, list(result.reasons)
        found = {"value": result.value, "step": result.step, "numbers": result.numbers, "reasons": reasons}
        replicas.append({"seed": seed, "outcome": outcome} | found)
    outcome = worst(result.outcome for _, result in results).value
    return {"kind": asked.kind, "asked": str(asked), "outcome": outcome, "replicas": replicas}


def _reading(reading: Reading | None) -> dict[str, object] | None:
    return None if reading is None else {"step": reading.step, "value": float(reading.value), "since": reading.since}


def as_junit(verdict: GateVerdict) -> bytes:
    """Write the verdict as one JUnit test suite."""
    outcomes = [outcome for replica in verdict.replicas for outcome in replica.outcomes]
    outcomes += [Outcome.INCONCLUSIVE] if verdict.withheld else []
    counts = {
        "tests": str(len(outcomes)),
        "failures": str(outcomes.count(Outcome.FAILS)),
        "errors": str(outcomes.count(Outcome.INCONCLUSIVE)),
        "skipped": "0",
    }
    root = ET.Element("testsuites", counts)
    suite = ET.SubElement(root, "testsuite", {"name": _xml(f"reprogrok sanity {verdict.gate.name}"), **counts})
    properties = ET.SubElement(suite, "properties")
    for name, value in (
        ("verdict", verdict.decision.value),
        ("exit_code", str(int(verdict.exit_code))),
        ("run", text.path_text(verdict.run)),
        ("criteria", text.path_text(verdict.gate.path)),
        ("criteria_sha256", verdict.gate.sha256),
        ("registration", text.registration_text(verdict)),
        ("controls", text.controls_text(verdict.gate.controls)),
        *(("finding", text.note_text(note)) for note in verdict.notes),
    ):
        ET.SubElement(properties, "property", {"name": name, "value": _xml(value)})
    if verdict.withheld:
        case = ET.SubElement(suite, "testcase", {"classname": verdict.gate.name, "name": "registration"})
        _settle(case, Outcome.INCONCLUSIVE, verdict.withheld, text.registration_text(verdict))
    for replica in verdict.replicas:
        classname = f"{verdict.gate.name}.seed-{replica.seed}"
        for result, assessment in zip(replica.criteria, verdict.assessments, strict=True):
            case = ET.SubElement(suite, "testcase", {"classname": classname, "name": _xml(result.criterion.id)})
            _test_case(case, result, assessment)
        for required in replica.requires:
            case = ET.SubElement(suite, "testcase", {"classname": classname, "name": required.requirement.kind})
            line = text.explain_requirement(required)
            _settle(case, required.outcome, line, line)
    if output := [*map(text.note_text, verdict.notes), *verdict.registration.difference]:
        ET.SubElement(suite, "system-out").text = _xml("\n".join(output))
    ET.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(root, "unicode")}\n'.encode()


def _test_case(case: ET.Element, result: CriterionResult, assessment: Assessment) -> None:
    lines = [text.explain(result, condition) for condition in result.conditions]
    message = next(line for line, item in zip(lines, result.conditions, strict=True) if item.outcome is result.outcome)
    _settle(case, result.outcome, message, "\n".join([*lines, *map(text.note_text, assessment.notes)]))


def _settle(case: ET.Element, outcome: Outcome, message: str, details: str) -> None:
    if outcome is Outcome.HOLDS:
        ET.SubElement(case, "system-out").text = _xml(details)
        return
    tag = "failure" if outcome is Outcome.FAILS else "error"
    ET.SubElement(case, tag, {"type": outcome.value, "message": _xml(message)}).text = _xml(details)


def as_github(verdict: GateVerdict) -> bytes:
    """Write the verdict as workflow commands; seeds share an annotation, because GitHub shows only ten per step."""
    path = text.path_text(verdict.gate.path)
    commands = []
    for index, criterion in enumerate(verdict.gate.criteria):
        for number, condition in enumerate(criterion.conditions):
            commands.extend(_condition_command(verdict, index, number, _place(path, condition.line)))
    for index, requirement in enumerate(verdict.gate.requires):
        commands.extend(_requirement_command(verdict, index, _place(path, requirement.line)))
    for note in verdict.notes:
        title, place = f"{note.kind} in {verdict.gate.name}", _place(path, note.condition.line)
        commands.append(_command("warning", title, text.note_text(note), place))
    levels = {GateDecision.GO: "notice", GateDecision.NO_GO: "error", GateDecision.INCONCLUSIVE: "warning"}
    registration = text.registration_text(verdict)
    message = "\n".join([text.summary(verdict), f"run {text.path_text(verdict.run)}", registration])
    commands.append(_command(levels[verdict.decision], f"sanity {verdict.gate.name}", message, {"file": path}))
    return "".join(f"{command}\n" for command in commands).encode()


def _condition_command(verdict: GateVerdict, index: int, number: int, place: dict[str, str]) -> list[str]:
    results = [(seed, result, result.conditions[number]) for seed, result in verdict.of_criterion(index)]
    outcome = worst(item.outcome for _, _, item in results)
    if outcome is Outcome.HOLDS:
        return []
    concerned = [(seed, result, item) for seed, result, item in results if item.outcome is outcome]
    seed, result, item = min(concerned, key=lambda entry: math.inf if entry[2].margin is None else entry[2].margin)
    seeds = f" ({len(concerned)} of {len(results)} seeds, worst seed {seed})" if len(results) > 1 else ""
    message = f"{result.criterion.title}: {text.explain(result, item)}{seeds}"
    return [_outcome_command(verdict, outcome, result.criterion.id, message, place)]


def _requirement_command(verdict: GateVerdict, index: int, place: dict[str, str]) -> list[str]:
    results = verdict.of_requirement(index)
    outcome = worst(result.outcome for _, result in results)
    if outcome is Outcome.HOLDS:
        return []
    concerned = [(seed, result) for seed, result in results if result.outcome is outcome]
    seed, result = concerned[0]
    seeds = f" ({len(concerned)} of {len(results)} seeds, the first seed {seed})" if len(results) > 1 else ""
    message = f"{text.explain_requirement(result)}{seeds}"
    return [_outcome_command(verdict, outcome, result.requirement.kind, message, place)]


def _outcome_command(verdict: GateVerdict, outcome: Outcome, name: str, message: str, place: dict[str, str]) -> str:
    level = "error" if outcome is Outcome.FAILS else "warning"
    return _command(level, f"{outcome} {verdict.gate.name} {name}", message, place)


def _place(path: str, line: int | None) -> dict[str, str]:
    return {"file": path} | ({} if line is None else {"line": str(line)})


def _command(level: str, title: str, message: str, place: dict[str, str]) -> str:
    properties = ",".join(f"{name}={_escape(value, ':,')}" for name, value in (place | {"title": title}).items())
    return f"::{level} {properties}::{_escape(message)}"


def _escape(value: str, also: str = "") -> str:
    """Escape as GitHub does: `%` first, then line ends, and in properties `:` and `,`."""
    for character in "%\r\n" + also:
        value = value.replace(character, f"%{ord(character):02X}")
    return value


def _xml(value: str) -> str:
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", value)


DOCUMENTS: Mapping[str, Callable[[GateVerdict], bytes]] = {"json": as_json, "junit": as_junit, "github": as_github}

"""A preflight -> its summary in one line, and its JSON document."""

from __future__ import annotations

from reprogrok import __version__
from reprogrok.files import pretty_json
from reprogrok.gates.documents import bounds_document, gate_document
from reprogrok.gates.preflight.checks import CriterionCheck, PreflightNote, RequirementCheck
from reprogrok.gates.preflight.preflight import Preflight
from reprogrok.gates.preflight.witnesses import Witness
from reprogrok.gates.verdict import Outcome
from reprogrok.schema import check_written
from reprogrok.text import counted


def summary(found: Preflight) -> str:
    """Describe the decision in one line, for NO_GO with the first reason."""
    gate, name = found.gate, found.planned.experiment.name
    head = f"{gate.name} before {name}: {found.decision} (exit {int(found.exit_code)})"
    stops = [note for note in found.notes if note.kind.stops]
    if stops:
        more = f" (and {counted(len(stops) - 1, 'more finding')})" if len(stops) > 1 else ""
        return f"{head}: {note_text(stops[0])}{more}"
    expected = len(found.notes)
    tail = f"; {counted(expected, 'thing')} to know" if expected else ""
    held = sum(check.decided is Outcome.HOLDS for check in found.requirements)
    parts = [f"{len(found.criteria):,} {'criterion' if len(found.criteria) == 1 else 'criteria'}"]
    if open_ones := len(found.requirements) - held:
        parts.append(counted(open_ones, "requirement"))
    already = f"; {counted(held, 'requirement')} already {'holds' if held == 1 else 'hold'}" if held else ""
    return f"{head}: {' and '.join(parts)} can pass and can fail{already}{tail}"


def note_text(note: PreflightNote) -> str:
    """Describe a note in one line, with its arithmetic."""
    return f"{note.kind}: {note.where}: {note.arithmetic}"


def as_json(found: Preflight) -> bytes:
    """Write the preflight as JSON, checked against its schema."""
    experiment = found.planned.experiment
    document: dict[str, object] = {
        "format": "reprogrok.preflight/1",
        "reprogrok": __version__,
        "gate": gate_document(found.gate),
        "experiment": {"name": experiment.name, "spec_digest": experiment.digest(), "facts": dict(found.planned.facts)},
        "verdict": found.decision.value,
        "exit_code": int(found.exit_code),
        "summary": summary(found),
        "findings": [
            {"kind": note.kind.value, "stops": note.kind.stops, "where": note.where, "arithmetic": note.arithmetic}
            for note in found.notes
        ],
        "requirements": [_requirement(check) for check in found.requirements],
        "criteria": [_criterion(check) for check in found.criteria],
    }
    check_written(document, "preflight")
    return pretty_json(document)


def _requirement(check: RequirementCheck) -> dict[str, object]:
    return {
        "kind": check.requirement.kind,
        "asked": str(check.requirement),
        "decided": None if check.decided is None else check.decided.value,
        "passes": check.passes,
        "fails": check.fails,
    }


def _criterion(check: CriterionCheck) -> dict[str, object]:
    criterion = check.criterion
    return {
        "id": criterion.id,
        "title": criterion.title,
        "metric": criterion.metric,
        "definition": criterion.definition,
        "bounds": bounds_document(check.bounds),
        "points_measured": check.measured,
        "points_expected": len(criterion.grid),
        "can_pass": check.can_pass,
        "can_fail": check.can_fail,
        "passes": _shown(check.passes),
        "conditions": [
            {
                "condition": str(item.condition),
                "counted": item.counted,
                "passes": _shown(item.passes),
                "fails": _shown(item.fails),
            }
            for item in check.conditions
        ],
    }


def _shown(witness: Witness | None) -> str | None:
    return None if witness is None else witness.text

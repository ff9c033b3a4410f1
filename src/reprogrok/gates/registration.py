"""Whether the criteria were fixed before training: (gate, record) -> REGISTERED, AMENDED or UNREGISTERED.

Before its first step, a run stores the hash and the content of every gate that will judge it. The hash is of the file's
bytes, so any edit shows. A GO by criteria whose content differs is withheld until the amendment is accepted
(`GateVerdict.withheld`); an edit of comments or layout withholds nothing.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping

from reprogrok.gates.criteria import Gate
from reprogrok.gates.verdict import RegistrationCheck, RegistrationStatus
from reprogrok.record import Record


def check_registration(gate: Gate, record: Record) -> RegistrationCheck:
    """Compare the criteria of `gate` with those that the run registered under the same name."""
    stored = record.gates.get(gate.name)
    if stored is None:
        foreign = record.layout != "reprogrok"
        note = "a run of another project" if foreign else f"the run registered no gate {gate.name} before it trained"
        return RegistrationCheck(RegistrationStatus.UNREGISTERED, note)
    if stored.sha256 == gate.sha256:
        note = "the run stored these criteria before it trained"
        return RegistrationCheck(RegistrationStatus.REGISTERED, note, stored.sha256)
    difference = tuple(_difference(stored.criteria, gate.content))
    note = "the criteria are not those that the run stored before it trained"
    if not difference:
        note = (
            "the file was edited since the run stored it, but only its comments or layout: the criteria are the same, "
        )
        note += "and no GO is withheld"
    return RegistrationCheck(RegistrationStatus.AMENDED, note, stored.sha256, difference)


def _difference(registered: Mapping[str, object], judged_by: Mapping[str, object]) -> list[str]:
    before, after = (json.dumps(content, indent=2, sort_keys=True).splitlines() for content in (registered, judged_by))
    return list(difflib.unified_diff(before, after, "registered", "judged by", lineterm="", n=2))

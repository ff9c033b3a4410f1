"""Evidence files <-> entries: what was measured on each subject, in `audit/evidence/NAME.json`.

    file --read_evidence--> EvidenceEntry(seed -> quantity -> Measured) --lookup, or derived--> Measured | Missing
    EvidenceEntry, ... --write_evidence--> file

A file holds numbers and not the series that they came from. Whatever follows from them alone is derived: an event from
its time or from the highest value, and a quantity up to a step from the time or extreme of the whole run.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from reprogrok.claims.claims import Quantity, Subject, quantity_of, subject_of
from reprogrok.claims.measurements import Measured, Measurement, Missing, is_followed, reached
from reprogrok.claims.series_quantities import ABOVE, level_of
from reprogrok.files import pretty_json, write_bytes
from reprogrok.metrics.grokking import Censored, StepInterval
from reprogrok.schema import check_written, load
from reprogrok.stats.range_text import decimal_text
from reprogrok.stats.ranges import Range

FORMAT = "reprogrok.evidence/3"
GROKKED, FIRST_STEP = "grokked", "first_step"
_DIVERGED = "diverged_step"

# An extreme of the whole run that was reached by some step is the extreme up to that step.
_EXTREMES = ("highest", "lowest", "largest_rise", "largest_drop", "steepest_step", "steepest_rise")


@dataclass(frozen=True)
class EvidenceEntry:
    """Everything that was measured on one subject under one set of conditions.

    Attributes:
        subject: the subject of all measurements.
        measured: seed (None where nothing was trained) -> quantity -> measurement.
        origin: the evidence file or manifest that the entry was read from.
        diverged: seed -> step at which a replica was stopped because it had diverged.
        ran_on: the fingerprint; empty if there is none.
        spec_digest: digest of the experiment's settings; None if not stated.
        engine_version: version of the training engine; 0 if not stated.
        updates: optimiser updates that were done; None if not stated.
        planned: optimiser updates of the schedule; None if not stated.
        sha256: file name -> SHA-256 of each file that was read.
        definitions: metric -> definition id, for readers of the file; None if not stated.
    """

    subject: Subject
    measured: Mapping[int | None, Mapping[Quantity, Measured]]
    origin: str = ""
    diverged: Mapping[int, int] = field(default_factory=dict)
    ran_on: Mapping[str, object] = field(default_factory=dict)
    spec_digest: str | None = None
    engine_version: int = 0
    updates: int | None = None
    planned: int | None = None
    sha256: Mapping[str, str] = field(default_factory=dict)
    definitions: Mapping[str, str] | None = None

    def measure(self, seed: int | None, quantity: Quantity) -> Measurement:
        """Return the measurement of a quantity: as written, or derived from others that are."""
        known = self.measured[seed]
        if quantity in known:
            return known[quantity]
        whole = replace(quantity, until=None)
        event = quantity.name == GROKKED
        time = known.get(replace(whole, name=FIRST_STEP), Measured()).time if event or quantity.until else None
        if time is not None and event:
            return self._event(time, quantity.until, seed)
        if time is not None and quantity.name == FIRST_STEP and quantity.until is not None:
            return _time_until(time, quantity.until)
        if quantity.until is not None and self.planned is not None and quantity.until > self.planned:
            return Missing(f"it was planned for {self.planned:,} updates, and step {quantity.until:,} is asked")
        if event and (highest := known.get(_highest_of(whole))) is not None:
            return _event_of_highest(highest, quantity)
        return _extreme_until(known, quantity) or Missing(self._others(known, quantity))

    def _event(self, time: StepInterval | Censored, until: int | None, seed: int | None) -> Measurement:
        if isinstance(time, StepInterval):
            return reached(time, until, complete=True)
        return reached(time, until, complete=seed in self.diverged or is_followed(time.at, self.planned, until))

    def _others(self, known: Mapping[Quantity, Measured], quantity: Quantity) -> str:
        """Name what there is of that metric instead."""
        same = [q for q in known if q.name == quantity.name and q.metric == quantity.metric]
        if other := next((q for q in same if q.measured_as != quantity.measured_as), None):
            return f"{quantity.metric} was measured as {other.measured_as}, not as {quantity.measured_as}"
        if definitions := sorted({q.definition for q in same} - {quantity.definition}):
            return f"{quantity.name} was noted down by {', '.join(definitions[:4])}, not by {quantity.definition}"
        if until := sorted({q.until for q in same if q.until is not None} - {quantity.until}):
            return f"{quantity.name} was noted down until step {until[0]:,} only"
        return f"{quantity.name}{f' of {quantity.metric}' if quantity.metric else ''} was not noted down"


def _highest_of(quantity: Quantity) -> Quantity:
    return replace(quantity, name="highest", definition=quantity.measured_as or "")


def _event_of_highest(highest: Measured, quantity: Quantity) -> Measurement:
    """Return whether a level was reached, from the highest value of the whole run and its step."""
    level, until = level_of(quantity.definition, ABOVE), quantity.until
    if level is None or highest.value is None:
        return Missing(f"{quantity.name} does not follow from the highest value")
    if highest.value < level:
        return Measured(0.0)
    if until is None or (highest.at_step is not None and highest.at_step <= until):
        return Measured(1.0)
    reason = f"the level was reached by step {highest.at_step}; whether by step {until:,} was not noted down"
    return Missing(reason, open=True)


def _extreme_until(known: Mapping[Quantity, Measured], quantity: Quantity) -> Measured | None:
    """Return the extreme of the whole run, if it was reached by the step that is asked."""
    whole, until = replace(quantity, until=None), quantity.until
    if until is None or quantity.name not in _EXTREMES:
        return None
    # With at most five evaluations there is a steepest step and no rise: it is their middle, and no extreme.
    if quantity.name == "steepest_step" and replace(whole, name="steepest_rise") not in known:
        return None
    found = known.get(whole)
    return found if found is not None and found.at_step is not None and found.at_step <= until else None


def _time_until(time: StepInterval | Censored, until: int) -> Measurement:
    if isinstance(time, Censored):
        return Measured(time=replace(time, at=min(time.at, until)))
    if time.by <= until:
        return Measured(float(time.by), time=time)
    if time.after is None:
        return Missing(f"the first evaluation is at step {time.by:,}, after step {until:,}")
    return Measured(time=Censored(min(time.after, until), time.definition))


def read_evidence(path: Path) -> tuple[EvidenceEntry, ...]:
    """Read the entries of a file.

    Raises:
        InputError: it does not match the schema, or an entry has no measurement or two that exclude each other.
    """
    document = load(path, "evidence")
    entries: list[EvidenceEntry] = []
    for index, item in enumerate(document.data["observations"]):
        alone, replicas = item.get("measured", []), item.get("replicas", [])
        if bool(alone) == bool(replicas):
            message = "either `measured` or `replicas`, with something in it"
            raise document.error(("observations", index), expected=message)
        try:
            measured: Mapping[int | None, Mapping[Quantity, Measured]]
            measured = {None: _measured(alone)} if alone else _replicas(replicas)
        except ValueError as error:
            raise document.error(("observations", index), str(error)) from error
        entries.append(
            EvidenceEntry(
                subject=subject_of(item["subject"]),
                measured=measured,
                origin=path.as_posix(),
                diverged={replica["seed"]: replica[_DIVERGED] for replica in replicas if _DIVERGED in replica},
                ran_on=item.get("ran_on", {}),
                spec_digest=item.get("spec_digest"),
                engine_version=item.get("engine_version", 0),
                updates=item.get("updates"),
                planned=item.get("planned"),
                sha256=item.get("sha256", {}),
                definitions=item.get("definitions"),
            )
        )
    return tuple(entries)


def _replicas(replicas: Iterable[Mapping[str, Any]]) -> dict[int | None, Mapping[Quantity, Measured]]:
    found: dict[int | None, Mapping[Quantity, Measured]] = {}
    for replica in replicas:
        if replica["seed"] in found:
            raise ValueError(f"seed {replica['seed']} twice")
        found[replica["seed"]] = _measured(replica["measured"])
    return found


def _measured(items: Iterable[Mapping[str, Any]]) -> dict[Quantity, Measured]:
    found: dict[Quantity, Measured] = {}
    for item in items:
        quantity = quantity_of(item["quantity"])
        if quantity in found:
            raise ValueError(f"{quantity.name} ({quantity.definition}) of {quantity.metric} twice")
        time: StepInterval | Censored | None = None
        value = item.get("value")
        if "by" in item:
            time, value = StepInterval(item.get("after"), item["by"], quantity.definition), float(item["by"])
        elif "censored_at" in item:
            time = Censored(item["censored_at"], quantity.definition)
        elif value is None and "word" not in item and "bounds" not in item:
            raise ValueError(f"{quantity.name} came to nothing: no value, no word and no time")
        value = None if value is None else float(value)
        k, n = item.get("k"), item.get("n")
        if value is not None and k is not None and n is not None and not _is_count(value, k, n):
            raise ValueError(f"{quantity.name} is {value:g} and also {k} of {n}: neither {k} nor {k / n:g}")
        bounds = _bounds(quantity, item["bounds"]) if "bounds" in item else None
        if bounds is not None and value is not None:
            raise ValueError(f"{quantity.name} is known and bounded; one of the two")
        found[quantity] = Measured(value, item.get("word"), k, n, time, item.get("at_step"), bounds)
    return found


def _bounds(quantity: Quantity, item: Mapping[str, str]) -> Range:
    """Return the range of decimals in text, which a float would round."""
    low, high = Fraction(item["at_least"]), Fraction(item["at_most"]) if "at_most" in item else None
    of = int(item["of"]) if "of" in item else None
    if high is not None and not low <= high <= (high if of is None else of):
        raise ValueError(f"{quantity.name} is at least {low} and at most {high}, which no number is")
    return Range(low, high, of)


def _is_count(value: float, k: int, n: int) -> bool:
    """Return whether the value is that count or that fraction."""
    return any(math.isclose(value, same, rel_tol=1e-6, abs_tol=1e-9) for same in (k, k / n, 1 - k / n))


def write_evidence(
    path: Path, title: str, command: str, entries: Sequence[EvidenceEntry], notes: Sequence[str] = ()
) -> None:
    """Write an evidence file, whole or not at all.

    Raises:
        InputError: it cannot be written, or an entry breaks the schema (a defect of this program).
    """
    document: dict[str, object] = {"format": FORMAT, "title": title, "command": command}
    document |= {"notes": list(notes)} if notes else {}
    document |= {"observations": list(map(_plain_entry, entries))}
    check_written(document, "evidence")
    # One line per quantity, so that a difference between two files is a line of `git diff`.
    write_bytes(path, pretty_json(document, row="quantity"))


def _plain_entry(entry: EvidenceEntry) -> dict[str, object]:
    head = {
        "subject": {entry.subject.kind: entry.subject.name},
        "sha256": dict(entry.sha256) or None,
        "spec_digest": entry.spec_digest,
        "engine_version": entry.engine_version or None,
        "updates": entry.updates,
        "planned": entry.planned,
        "ran_on": dict(entry.ran_on) or None,
        "definitions": None if entry.definitions is None else dict(entry.definitions),
    }
    plain: dict[str, object] = {name: value for name, value in head.items() if value is not None}
    if None in entry.measured:
        return plain | {"measured": _plain_items(entry.measured[None])}
    return plain | {
        "replicas": [
            {"seed": seed}
            | ({} if seed is None or seed not in entry.diverged else {_DIVERGED: entry.diverged[seed]})
            | {"measured": _plain_items(measured)}
            for seed, measured in entry.measured.items()
        ]
    }


def _plain_items(measured: Mapping[Quantity, Measured]) -> list[dict[str, object]]:
    return [{"quantity": quantity.as_dict(), **_plain(found)} for quantity, found in measured.items()]


def _plain(found: Measured) -> dict[str, object]:
    if found.time is not None:
        return plain_time(found.time)
    if found.bounds is not None:
        return {"bounds": plain_bounds(found.bounds)}
    plain = {"value": found.value, "word": found.word, "k": found.k, "n": found.n, "at_step": found.at_step}
    return {name: value for name, value in plain.items() if value is not None}


def plain_time(time: StepInterval | Censored) -> dict[str, object]:
    """Return a time as documents hold it."""
    return {"censored_at": time.at} if isinstance(time, Censored) else {"after": time.after, "by": time.by}


def plain_bounds(bounds: Range) -> dict[str, object]:
    """Return a range as documents hold it: text with every digit."""
    plain: dict[str, object] = {"at_least": decimal_text(bounds.at_least)}
    plain |= {} if bounds.at_most is None else {"at_most": decimal_text(bounds.at_most)}
    return plain | ({} if bounds.of is None else {"of": str(bounds.of)})

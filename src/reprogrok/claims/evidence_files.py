"""Evidence files -> what was measured: `audit/evidence/NAME.json`, as `evidence_entries` writes it.

    file --JSON Schema--> Filed: seed -> quantity -> Measured --lookup, or derived--> Measured, Absent

A file holds numbers and not the series that they came from. What follows from them without another look is derived: an
event from its time or from the highest value, and what is asked until a step from the time or extreme of the whole run.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from reprogrok.claims.claims import Quantity, Subject, quantity_of, subject_of
from reprogrok.claims.outcomes import Absent, Measured, Outcome, is_followed, reached
from reprogrok.claims.series_quantities import ABOVE, level_of
from reprogrok.metrics.grokking import Censored, StepInterval
from reprogrok.schema import load
from reprogrok.stats.ranges import Range

GROKKED, FIRST_STEP = "grokked", "first_step"

# What is the largest of the whole run, and was reached by some step, is the largest until that step.
_EXTREMES = ("highest", "lowest", "largest_rise", "largest_drop", "steepest_step", "steepest_rise")


@dataclass(frozen=True)
class Filed:
    """One observation of a file: everything that was measured on one subject under one set of conditions.

    Attributes:
        subject: what was measured.
        origin: the file.
        measured: seed (None where nothing was trained) -> quantity -> what it came to.
        diverged: seeds of replicas that were stopped because they had diverged.
        ran_on: the fingerprint; empty if there is none.
        spec_digest: of the experiment; None if none is stated.
        engine_version: of what trained it; 0 if none is stated.
        updates: that were done; None if not stated.
        planned: that the schedule is for; None if not stated.
        sha256: file name -> hash of what was read.
    """

    subject: Subject
    origin: str
    measured: Mapping[int | None, Mapping[Quantity, Measured]]
    diverged: frozenset[int]
    ran_on: Mapping[str, Any]
    spec_digest: str | None = None
    engine_version: int = 0
    updates: int | None = None
    planned: int | None = None
    sha256: Mapping[str, str] = field(default_factory=dict)

    def outcome(self, seed: int | None, quantity: Quantity) -> Outcome:
        """What a quantity came to: as it is written, or as it follows from others that are."""
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
            return Absent(f"it was planned for {self.planned:,} updates, and step {quantity.until:,} is asked")
        if event and (highest := known.get(_highest_of(whole))) is not None:
            return _event_of_highest(highest, quantity)
        return _extreme_until(known, quantity) or Absent(self._others(known, quantity))

    def _event(self, time: StepInterval | Censored, until: int | None, seed: int | None) -> Outcome:
        gone = seed in self.diverged
        if isinstance(time, StepInterval):
            return reached(time, until, complete=True)
        return reached(time, until, complete=gone or is_followed(time.at, self.planned, until))

    def _others(self, known: Mapping[Quantity, Measured], quantity: Quantity) -> str:
        """What of that metric is there instead."""
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


def _event_of_highest(highest: Measured, quantity: Quantity) -> Outcome:
    """Whether a level was reached, from the highest value of the whole run and where it was."""
    level, until = level_of(quantity.definition, ABOVE), quantity.until
    if level is None or highest.value is None:
        return Absent(f"{quantity.name} does not follow from the highest value")
    if highest.value < level:
        return Measured(0.0)
    if until is None or (highest.at_step is not None and highest.at_step <= until):
        return Measured(1.0)
    reason = f"the level was reached by step {highest.at_step}; whether by step {until:,} was not noted down"
    return Absent(reason, open=True)


def _extreme_until(known: Mapping[Quantity, Measured], quantity: Quantity) -> Measured | None:
    """The extreme of the whole run, where it was reached early enough to be that until the step that is asked."""
    whole, until = replace(quantity, until=None), quantity.until
    if until is None or quantity.name not in _EXTREMES:
        return None
    # With at most five evaluations there is a steepest step and no rise: it is their middle, and no extreme.
    if quantity.name == "steepest_step" and replace(whole, name="steepest_rise") not in known:
        return None
    found = known.get(whole)
    return found if found is not None and found.at_step is not None and found.at_step <= until else None


def _time_until(time: StepInterval | Censored, until: int) -> Outcome:
    if isinstance(time, Censored):
        return Measured(time=replace(time, at=min(time.at, until)))
    if time.by <= until:
        return Measured(float(time.by), time=time)
    if time.after is None:
        return Absent(f"the first evaluation is at step {time.by:,}, after step {until:,}")
    return Measured(time=Censored(min(time.after, until), time.definition))


def read_evidence(path: Path) -> tuple[Filed, ...]:
    """The observations of a file.

    Raises:
        InputError: it is not what the schema asks for, or an entry says nothing or two things.
    """
    document = load(path, "evidence")
    filed: list[Filed] = []
    for index, entry in enumerate(document.data["observations"]):
        alone, replicas = entry.get("measured", []), entry.get("replicas", [])
        if bool(alone) == bool(replicas):
            message = "either `measured` or `replicas`, with something in it"
            raise document.error(("observations", index), expected=message)
        try:
            measured: Mapping[int | None, Mapping[Quantity, Measured]]
            measured = {None: _measured(alone)} if alone else _replicas(replicas)
        except ValueError as error:
            raise document.error(("observations", index), str(error)) from error
        filed.append(
            Filed(
                subject=subject_of(entry["subject"]),
                origin=path.as_posix(),
                measured=measured,
                diverged=frozenset(replica["seed"] for replica in replicas if "diverged_step" in replica),
                ran_on=entry.get("ran_on", {}),
                spec_digest=entry.get("spec_digest"),
                engine_version=entry.get("engine_version", 0),
                updates=entry.get("updates"),
                planned=entry.get("planned"),
                sha256=entry.get("sha256", {}),
            )
        )
    return tuple(filed)


def _replicas(replicas: Sequence[Mapping[str, Any]]) -> dict[int | None, Mapping[Quantity, Measured]]:
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
    """Decimals as text, which a float would round."""
    low, high = Fraction(item["at_least"]), Fraction(item["at_most"]) if "at_most" in item else None
    of = int(item["of"]) if "of" in item else None
    if high is not None and not low <= high <= (high if of is None else of):
        raise ValueError(f"{quantity.name} is at least {low} and at most {high}, which no number is")
    return Range(low, high, of)


def _is_count(value: float, k: int, n: int) -> bool:
    """Is the value that count, or that share?"""
    return any(math.isclose(value, same, rel_tol=1e-6, abs_tol=1e-9) for same in (k, k / n, 1 - k / n))

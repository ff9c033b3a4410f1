"""Evidence files <-> what was measured: `audit/evidence/NAME.json` is read here, and written by the same table.

    file --JSON Schema--> Filed: seed -> quantity -> Measured --lookup, or derived--> Measured, Absent
    Record, evaluation --standard quantities and those that claims ask for--> entry --> file, one line per quantity

A file holds numbers and not the series that they came from. What follows from them without another look is derived: an
event from its time or from the highest value, and what is asked until a step from the time or extreme of the whole run.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from reprogrok import record
from reprogrok.errors import InputError
from reprogrok.files import sha256_file, write_bytes
from reprogrok.formats import foreign_logs, foreign_runs
from reprogrok.judge.claims import Quantity, Subject, quantity_of, subject_of
from reprogrok.judge.data_quantities import UNIQUE
from reprogrok.judge.outcomes import Absent, Measured, Outcome, is_followed, reached
from reprogrok.judge.quantities import DELAY, OURS, Replica, measure
from reprogrok.judge.run_identity import Kind, identify
from reprogrok.judge.series_quantities import ABOVE, CHANGE, SERIES, level_of, level_text
from reprogrok.measure.grokking import GROK_THRESHOLDS, MAX_RISE5, Censored, StepInterval
from reprogrok.measure.regime import DEFINITION as REGIME
from reprogrok.record import Record
from reprogrok.schema import check_written, load

FORMAT = "reprogrok.evidence/3"
GROKKED, FIRST_STEP = "grokked", "first_step"

# What is the largest of the whole run, and was reached by some step, is the largest until that step.
_EXTREMES = ("highest", "lowest", "largest_rise", "largest_drop", "steepest_step", "steepest_rise")
_WHOLE = {"regime", *(name for name, entry in SERIES.items() if entry.whole)}

# What an observation of a whole run notes down beside what claims ask for.
_ACCURACIES = ("test_accuracy", "test_exact_match", "train_accuracy", "test_twin_accuracy", "test_new_accuracy")
_TRANSITIONS = ("test_accuracy", "test_exact_match")
_ANALYSES = ("final_layer_rank", "attention_entropy")
_VALUES = ("train_loss", "train_set_loss", "test_loss", "test_answer_loss", *_ANALYSES)
_AT_ROUND_STEPS = (*_TRANSITIONS, "test_loss")
_ROUND_STEPS = (500, 1_000, 5_000, 10_000, 20_000, 50_000, 100_000)


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
        elif value is None and "word" not in item:
            raise ValueError(f"{quantity.name} came to nothing: no value, no word and no time")
        value = None if value is None else float(value)
        k, n = item.get("k"), item.get("n")
        if value is not None and k is not None and n is not None and not _is_count(value, k, n):
            raise ValueError(f"{quantity.name} is {value:g} and also {k} of {n}: neither {k} nor {k / n:g}")
        found[quantity] = Measured(value, item.get("word"), item.get("k"), item.get("n"), time, item.get("at_step"))
    return found


def _is_count(value: float, k: int, n: int) -> bool:
    """Is the value that count, or that share?"""
    return any(math.isclose(value, same, rel_tol=1e-6, abs_tol=1e-9) for same in (k, k / n, 1 - k / n))


# Writing.


def observe_run(run: Record, asked: Sequence[Quantity] = ()) -> dict[str, Any]:
    """A run -> its entry in an evidence file: an experiment's replicas, or a recorded log.

    Args:
        run: ours, or another project's log.
        asked: quantities to be noted down beside the standard ones; those that it does not have are left out.

    Raises:
        InputError: its configuration cannot be read.
    """
    metrics = dict.fromkeys(name for series in run.replicas.values() for name in series)
    definitions = {name: run.definitions[name] for name in metrics if name in (*_ACCURACIES, *_VALUES)}
    measured = {
        seed: [
            {"quantity": quantity.as_dict(), **_as_plain(outcome)}
            for quantity in dict.fromkeys((*standard(run, seed), *asked))
            if isinstance(outcome := measure(Replica(run, seed), quantity), Measured)
        ]
        for seed in run.replicas
    }
    subject = {(about := subject_of_run(run)).kind: about.name}
    hashes = {name: sha256_file(run.path / name) for name in _files(run)}
    if run.layout != OURS:
        (seed,) = run.replicas
        planned = {"planned": run.facts["steps"]} if "steps" in run.facts else {}
        return {"subject": subject, "sha256": hashes, **planned, "definitions": definitions, "measured": measured[seed]}
    spec = load(run.path / record.SPEC, "run").data
    return {
        "subject": subject,
        "sha256": hashes,
        "spec_digest": spec["digest"],
        "engine_version": spec["engine_version"],
        "updates": spec.get("stopped_at", spec["spec"]["steps"]),
        "planned": spec["spec"]["steps"],
        "ran_on": dict(run.fingerprint),
        "definitions": definitions,
        "replicas": [
            {"seed": seed}
            | ({"diverged_step": run.diverged[seed]} if seed in run.diverged else {})
            | {"measured": items}
            for seed, items in measured.items()
        ],
    }


def subject_of_run(run: Record) -> Subject:
    """An experiment, of a run of ours; else the log, by the name of its folder."""
    return Subject("experiment", run.experiment) if run.layout == OURS else Subject("log", run.path.resolve().name)


def observe_settings(logs: Sequence[Record]) -> list[dict[str, Any]]:
    """Recorded logs whose configurations are at hand -> for each, in how many settings it differs from each other one.

    The split, the number of steps and names do not count, so that 0 says: nothing else can have made a difference.
    """
    entries = []
    for run in logs:
        found = []
        for other in logs:
            if other is run or other.layout != run.layout or not (identity := identify(run, other)).verified:
                continue
            definition = f"config/{subject_of_run(other).name}"
            differing = len(identity.of(Kind.TRAINING, Kind.OBSERVATION))
            found.append({"quantity": Quantity("settings_that_differ", definition).as_dict(), "value": differing})
        if found:
            entries.append({"subject": {"log": subject_of_run(run).name}, "measured": found})
    return entries


def observe_evaluation(evaluation: Mapping[str, Any]) -> dict[str, Any]:
    """An evaluation, as `reprogrok eval` writes it -> the entry of its checkpoint: errors of n by suite and stratum."""
    checkpoint = evaluation["checkpoint"]
    measured = [
        {"quantity": Quantity("parameters", UNIQUE).as_dict(), "value": checkpoint["parameters"]},
    ]
    for suite in evaluation["suites"].values():
        exam = suite["exam"]
        parts = [(exam, suite["total"]), *((f"{exam}/{part['name']}", part) for part in suite["strata"])]
        for definition, score in parts:
            measured += scores(definition, score["errors"], score["n"])
    file = Path(checkpoint["path"])
    return {
        "subject": {"checkpoint": file.stem},
        "sha256": {file.name: checkpoint["sha256"]},
        "ran_on": evaluation["environment"],
        "measured": measured,
    }


def scores(exam: str, errors: int, n: int) -> list[dict[str, Any]]:
    """The two quantities of an exam: how many errors, and the share of right answers."""
    if n == 0:
        return []
    return [
        {"quantity": Quantity("errors", exam).as_dict(), "value": errors, "k": errors, "n": n},
        {"quantity": Quantity("exact_match", exam).as_dict(), "value": (n - errors) / n, "k": n - errors, "n": n},
    ]


def standard(run: Record, seed: int) -> list[Quantity]:
    """What is noted down of every run, as far as it has these metrics."""
    metrics, found, log = run.replicas[seed], list[Quantity](), run.layout != OURS
    for name in (*_ACCURACIES, *_VALUES):
        if name not in metrics:
            continue
        own = run.definitions[name]
        base = Quantity("", own, metric=name, measured_as=own)
        if name in _ACCURACIES:
            levels = (*GROK_THRESHOLDS, 1.0)
            found += [replace(base, name=FIRST_STEP, definition=f"{ABOVE}{level_text(level)}") for level in levels]
        if name in _TRANSITIONS:
            found += [replace(base, name=asked, definition=MAX_RISE5) for asked in ("steepest_step", "steepest_rise")]
        found += [replace(base, name=asked) for asked in ("final", "lowest", "highest")]
        if log or name in _ANALYSES:
            change = replace(base, definition=f"{CHANGE}{own}")
            found += [replace(base, name="first")]
            found += [replace(change, name=asked) for asked in ("largest_drop", "largest_rise")]
        if log or name in _AT_ROUND_STEPS:
            found += [replace(base, name="at_step", step=step) for step in _near_round_steps(metrics[name].steps)]
    found += [Quantity("regime", REGIME), Quantity("delay_factor", DELAY), Quantity("delay_factor_most", DELAY)]
    replica = Replica(run, seed)
    if replica.ended or replica.planned is None:
        return found
    # What asks for the whole run is asked of as much of it as there is.
    return [replace(quantity, until=replica.last) if quantity.name in _WHOLE else quantity for quantity in found]


def _near_round_steps(steps: Sequence[int]) -> list[int]:
    """The evaluations nearest to round steps, as far as the run goes."""
    asked = [at for at in _ROUND_STEPS if steps and at <= steps[-1]]
    return list(dict.fromkeys(min((abs(step - at), step) for step in steps)[1] for at in asked))


def write_evidence(
    path: Path, title: str, command: str, entries: Sequence[Mapping[str, Any]], notes: Sequence[str] = ()
) -> None:
    """Write an evidence file, whole or not at all.

    Raises:
        InputError: it cannot be written, or an entry breaks the schema (a fault of this program).
    """
    document: dict[str, Any] = {"format": FORMAT, "title": title, "command": command}
    document |= {"notes": list(notes)} if notes else {}
    document |= {"observations": list(entries)}
    check_written(document, "evidence")
    write_bytes(path, (_lines(document, "") + "\n").encode())


def _lines(value: Any, indent: str) -> str:
    """JSON with one line per quantity: what differs between two files is a line of `git diff`."""
    if isinstance(value, dict) and "quantity" not in value:
        rows = [f"{indent}  {json.dumps(name)}: {_lines(item, indent + '  ')}" for name, item in value.items()]
        return "{\n" + ",\n".join(rows) + f"\n{indent}}}" if rows else "{}"
    if isinstance(value, list) and value:
        rows = [f"{indent}  {_lines(item, indent + '  ')}" for item in value]
        return "[\n" + ",\n".join(rows) + f"\n{indent}]"
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _as_plain(measured: Measured) -> dict[str, Any]:
    if isinstance(measured.time, StepInterval):
        return {"after": measured.time.after, "by": measured.time.by}
    if isinstance(measured.time, Censored):
        return {"censored_at": measured.time.at}
    plain = {"value": _number(measured.value), "word": measured.word, "k": measured.k, "n": measured.n}
    return {name: value for name, value in (plain | {"at_step": measured.at_step}).items() if value is not None}


def _number(value: float | None) -> float | int | None:
    return int(value) if value is not None and value.is_integer() else value


def _files(run: Record) -> list[str]:
    """The files that the numbers of a run came from, by name."""
    layouts: Mapping[str, tuple[str | Path, ...]] = {
        OURS: (record.SPEC, record.METRICS, record.SUMMARY),
        foreign_runs.COLUMNS: (foreign_runs.CONFIG, foreign_runs.LOGS, foreign_runs.ANALYSIS),
        foreign_logs.PEER_CSV: (foreign_logs.CSV, foreign_logs.CONFIG, record.SUMMARY),
    }
    if run.path.is_file():
        raise InputError("one file is no run's folder; put it into one", path=run.path)
    names = [Path(name).as_posix() for name in layouts.get(run.layout, ()) if (run.path / name).is_file()]
    return names or sorted(file.name for file in run.path.iterdir() if file.is_file())

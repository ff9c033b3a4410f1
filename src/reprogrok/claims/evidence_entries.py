"""What is noted down of a run, a log, an evaluation or a certificate -> entries of `audit/evidence/NAME.json`.

    Record, evaluation --standard quantities and those that claims ask for--> entry --> file, one line per quantity
    Certified --what it states of all problems--> entry

A description and no judgement; `evidence_files` reads what is written here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from reprogrok import record
from reprogrok.certificate.certified import Certified
from reprogrok.claims.certificate_quantities import quantities_of
from reprogrok.claims.claims import Quantity, Subject
from reprogrok.claims.data_quantities import UNIQUE
from reprogrok.claims.evidence_files import FIRST_STEP
from reprogrok.claims.outcomes import Measured
from reprogrok.claims.quantities import DELAY, OURS, Replica, measure
from reprogrok.claims.series_quantities import ABOVE, CHANGE, SERIES, level_text
from reprogrok.errors import InputError
from reprogrok.files import sha256_file, write_bytes
from reprogrok.formats import foreign_logs, foreign_runs
from reprogrok.metrics.grokking import GROK_THRESHOLDS, MAX_RISE5, Censored, StepInterval
from reprogrok.metrics.regime import DEFINITION as REGIME
from reprogrok.record import Record
from reprogrok.runs.identity import Kind, identify
from reprogrok.schema import check_written, load
from reprogrok.stats.range_text import decimal_text
from reprogrok.stats.ranges import Range

FORMAT = "reprogrok.evidence/3"

# What an observation of a whole run notes down beside what claims ask for.
_ACCURACIES = ("test_accuracy", "test_exact_match", "train_accuracy", "test_twin_accuracy", "test_new_accuracy")
_TRANSITIONS = ("test_accuracy", "test_exact_match")
_ANALYSES = ("final_layer_rank", "attention_entropy")
_VALUES = ("train_loss", "train_set_loss", "test_loss", "test_answer_loss", *_ANALYSES)
_AT_ROUND_STEPS = (*_TRANSITIONS, "test_loss")
_ROUND_STEPS = (500, 1_000, 5_000, 10_000, 20_000, 50_000, 100_000)
_WHOLE = {"regime", *(name for name, entry in SERIES.items() if entry.whole)}


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


def observe_certificate(certified: Certified) -> dict[str, Any]:
    """A certificate -> the entry of its checkpoint: what it states, word for word; nothing is checked anew."""
    measured = quantities_of(certified.stated)
    return {
        "subject": {"checkpoint": Path(certified.checkpoint).stem},
        "sha256": {certified.checkpoint: certified.checkpoint_sha256, certified.path.name: certified.sha256},
        "ran_on": dict(certified.ran_on),
        "measured": [{"quantity": quantity.as_dict(), **_as_plain(found)} for quantity, found in measured.items()],
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
    if measured.bounds is not None:
        return {"bounds": exact_bounds(measured.bounds)}
    plain = {"value": _number(measured.value), "word": measured.word, "k": measured.k, "n": measured.n}
    return {name: value for name, value in (plain | {"at_step": measured.at_step}).items() if value is not None}


def exact_bounds(bounds: Range) -> dict[str, str]:
    """Bounds as text, with every digit."""
    plain = {"at_least": decimal_text(bounds.at_least)}
    plain |= {} if bounds.at_most is None else {"at_most": decimal_text(bounds.at_most)}
    return plain | ({} if bounds.of is None else {"of": str(bounds.of)})


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

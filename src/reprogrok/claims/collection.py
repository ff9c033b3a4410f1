"""A run, a log, an evaluation or a certificate -> its entry in an evidence file.

    Record, evaluation --standard quantities and those that claims ask for--> EvidenceEntry
    Certified --its statement about all problems--> EvidenceEntry

It describes and does not judge; `evidence_files` writes the entries and reads them back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from reprogrok import record
from reprogrok.certificate.certified import Certified
from reprogrok.claims.certificate_quantities import quantities_of
from reprogrok.claims.claims import Quantity, Subject
from reprogrok.claims.data_quantities import UNIQUE
from reprogrok.claims.evidence_files import FIRST_STEP, EvidenceEntry
from reprogrok.claims.exam_quantities import score_measurements
from reprogrok.claims.measurements import Measured
from reprogrok.claims.replica_quantities import DELAY, OURS, Replica, measure
from reprogrok.claims.series_quantities import ABOVE, CHANGE, SERIES, level_text
from reprogrok.errors import InputError
from reprogrok.files import sha256_file
from reprogrok.formats import foreign_logs, foreign_runs
from reprogrok.metrics.grokking import GROK_THRESHOLDS, MAX_RISE5
from reprogrok.metrics.regime import DEFINITION as REGIME
from reprogrok.metrics.registry import CROSS_ENTROPY, DIMENSION, FRACTION, GENERALISATION, NATS, Use, used_in
from reprogrok.record import Record
from reprogrok.runs.identity import SettingKind, identify
from reprogrok.schema import load

# The metrics that every run is asked for, beside the quantities that claims ask for.
_ACCURACIES = used_in(Use.EVIDENCE, FRACTION)
_ANALYSES = used_in(Use.EVIDENCE, DIMENSION, NATS)
_VALUES = (*used_in(Use.EVIDENCE, CROSS_ENTROPY), *_ANALYSES)
_AT_ROUND_STEPS = (*GENERALISATION, "test_loss")
_ROUND_STEPS = (500, 1_000, 5_000, 10_000, 20_000, 50_000, 100_000)
_WHOLE = {"regime", *(name for name, entry in SERIES.items() if entry.whole)}


def collect_run(run: Record, requested: Sequence[Quantity] = ()) -> EvidenceEntry:
    """Return the entry of a run: the replicas of an experiment, or a recorded log.

    Args:
        run: ours, or another project's log.
        requested: quantities to collect besides the standard ones; those that the run lacks are left out.

    Raises:
        InputError: its configuration cannot be read.
    """
    metrics = dict.fromkeys(name for series in run.replicas.values() for name in series)
    measured: dict[int | None, dict[Quantity, Measured]] = {}
    for seed in run.replicas:
        replica = Replica(run, seed)
        outcomes = {quantity: measure(replica, quantity) for quantity in (*standard(run, seed), *requested)}
        measured[seed] = {quantity: _whole(m) for quantity, m in outcomes.items() if isinstance(m, Measured)}
    common = EvidenceEntry(
        subject=subject_of_run(run),
        measured=measured,
        sha256={name: sha256_file(run.path / name) for name in _files(run)},
        definitions={name: run.definitions[name] for name in metrics if name in (*_ACCURACIES, *_VALUES)},
    )
    if run.layout != OURS:
        (alone,) = measured.values()
        return replace(common, measured={None: alone}, planned=run.facts.get("steps"))
    spec = load(run.path / record.SPEC, "run").data
    return replace(
        common,
        spec_digest=spec["digest"],
        engine_version=spec["engine_version"],
        updates=spec.get("stopped_at", spec["spec"]["steps"]),
        planned=spec["spec"]["steps"],
        ran_on=run.fingerprint,
        diverged=run.diverged,
    )


def _whole(measured: Measured) -> Measured:
    """Turn a whole number into an int, which files show without a decimal point."""
    value = measured.value
    return replace(measured, value=int(value)) if value is not None and value.is_integer() else measured


def subject_of_run(run: Record) -> Subject:
    """Return the experiment of one of our runs, else the log by the name of its folder."""
    return Subject("experiment", run.experiment) if run.layout == OURS else Subject("log", run.path.resolve().name)


def collect_settings(logs: Sequence[Record]) -> list[EvidenceEntry]:
    """Return for each log with a configuration in how many settings it differs from each other one.

    The split, the number of steps and names do not count, so 0 means that no other setting can have made a difference.
    """
    entries = []
    for run in logs:
        found: dict[Quantity, Measured] = {}
        for other in logs:
            if other is run or other.layout != run.layout or not (identity := identify(run, other)).verified:
                continue
            differing = len(identity.of(SettingKind.TRAINING, SettingKind.OBSERVATION))
            quantity = Quantity("settings_that_differ", f"config/{subject_of_run(other).name}")
            found[quantity] = Measured(differing)
        if found:
            entries.append(EvidenceEntry(subject_of_run(run), {None: found}))
    return entries


def collect_evaluation(evaluation: Mapping[str, Any]) -> EvidenceEntry:
    """Return the entry of an evaluated checkpoint: errors of n by suite and stratum.

    Args:
        evaluation: the document that `reprogrok eval` writes.
    """
    checkpoint = evaluation["checkpoint"]
    measured = {Quantity("parameters", UNIQUE): Measured(checkpoint["parameters"])}
    for suite in evaluation["suites"].values():
        exam = suite["exam"]
        parts = [(exam, suite["total"]), *((f"{exam}/{part['name']}", part) for part in suite["strata"])]
        for definition, score in parts:
            measured |= score_measurements(definition, score["errors"], score["n"])
    file = Path(checkpoint["path"])
    return EvidenceEntry(
        subject=Subject("checkpoint", file.stem),
        measured={None: measured},
        sha256={file.name: checkpoint["sha256"]},
        ran_on=evaluation["environment"],
    )


def collect_certificate(certified: Certified) -> EvidenceEntry:
    """Return the entry of a certified checkpoint: the certificate's statement, which is not checked again."""
    return EvidenceEntry(
        subject=Subject("checkpoint", Path(certified.checkpoint).stem),
        measured={None: {quantity: _whole(found) for quantity, found in quantities_of(certified.stated).items()}},
        sha256={certified.checkpoint: certified.checkpoint_sha256, certified.path.name: certified.sha256},
        ran_on=certified.ran_on,
    )


def standard(run: Record, seed: int) -> list[Quantity]:
    """Return the quantities that every run is asked for, as far as it has their metrics."""
    metrics, found, log = run.replicas[seed], list[Quantity](), run.layout != OURS
    for name in (*_ACCURACIES, *_VALUES):
        if name not in metrics:
            continue
        own = run.definitions[name]
        base = Quantity("", own, metric=name, measured_as=own)
        if name in _ACCURACIES:
            levels = (*GROK_THRESHOLDS, 1.0)
            found += [replace(base, name=FIRST_STEP, definition=f"{ABOVE}{level_text(level)}") for level in levels]
        if name in GENERALISATION:
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
    # Quantities of the whole run are asked of as much of it as there is.
    return [replace(quantity, until=replica.last) if quantity.name in _WHOLE else quantity for quantity in found]


def _near_round_steps(steps: Sequence[int]) -> list[int]:
    """Return the evaluations nearest to round steps, as far as the run goes."""
    asked = [at for at in _ROUND_STEPS if steps and at <= steps[-1]]
    return list(dict.fromkeys(min((abs(step - at), step) for step in steps)[1] for at in asked))


def _files(run: Record) -> list[str]:
    """Return the names of the files that the numbers of a run came from."""
    layouts: Mapping[str, tuple[str | Path, ...]] = {
        OURS: (record.SPEC, record.METRICS, record.SUMMARY),
        foreign_runs.COLUMNS: (foreign_runs.CONFIG, foreign_runs.LOGS, foreign_runs.ANALYSIS),
        foreign_logs.PEER_CSV: (foreign_logs.CSV, foreign_logs.CONFIG, record.SUMMARY),
    }
    if run.path.is_file():
        raise InputError("one file is no run's folder; put it into one", path=run.path)
    names = [Path(name).as_posix() for name in layouts.get(run.layout, ()) if (run.path / name).is_file()]
    return names or sorted(file.name for file in run.path.iterdir() if file.is_file())

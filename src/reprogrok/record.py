"""A run's folder on disk <-> a `Record` in memory; written whole, read with checks, no torch.

    runs/EXPERIMENT/
        spec.json          the request: experiment, seeds, device, definitions of the metrics, registered gates
        fingerprint.json   device, instruction set, versions, threads, backend; if these changed on request, the earlier
                           ones and their last steps under `earlier`
        metrics.jsonl      one line per replica and evaluation: {"seed": 42, "step": 500, "train_loss": ..., ...}
        summary.json       one entry per replica, and the sha256 of every other file
        timing.jsonl       clock readings and rates; the only file that differs between two equal runs (not hashed)
        seed-42/best.pt    the first checkpoint with the highest validation score; last.pt the final one
        seed-42/step-500.pt   the checkpoint after the update of step 500, for every requested step that was kept

Gates and claims see `Record` only, so they treat our runs and foreign ones (`formats.foreign_runs`) alike. Values that
are not finite are kept as NaN (null in the file), so that gaps stay visible.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reprogrok.errors import RecordError
from reprogrok.files import canonical_json, sha256_bytes, sha256_file
from reprogrok.schema import Document, load, read_bytes

SPEC, FINGERPRINT, SUMMARY = "spec.json", "fingerprint.json", "summary.json"
METRICS, TIMING = "metrics.jsonl", "timing.jsonl"
WEIGHTS = ("best.pt", "last.pt")


@dataclass(frozen=True)
class Series:
    """One metric of one replica: strictly increasing steps and their values (NaN where none was measured)."""

    steps: tuple[int, ...]
    values: tuple[float, ...]


@dataclass(frozen=True)
class Registration:
    """The criteria of a gate as they stood when the run began: the hash of the file and its content."""

    sha256: str
    criteria: Mapping[str, Any]


@dataclass(frozen=True)
class Record:
    """The contents of a run's folder.

    Attributes:
        path: the run's folder.
        experiment: name of the experiment, or of a foreign run.
        layout: "reprogrok" for ours; "columns", "peer-csv" and "llmc-log" for those of other projects.
        replicas: seed -> metric name -> series. A foreign run has one replica.
        definitions: metric name -> definition id; metrics of different definitions are never compared.
        facts: the known ones of `positions` (T), `width`, `test_examples` and planned `steps`, which bound metrics.
        gates: gate name -> criteria registered before training; empty for a foreign run.
        fingerprint: that of the last step, with the `earlier` ones; empty for a foreign run.
        diverged: seed -> step at which a replica that diverged was stopped.
    """

    path: Path
    experiment: str
    layout: str
    replicas: Mapping[int, Mapping[str, Series]]
    definitions: Mapping[str, str]
    facts: Mapping[str, int] = field(default_factory=dict)
    gates: Mapping[str, Registration] = field(default_factory=dict)
    fingerprint: Mapping[str, Any] = field(default_factory=dict)
    diverged: Mapping[int, int] = field(default_factory=dict)


def metrics_line(seed: int, step: int, values: Mapping[str, float]) -> bytes:
    """Return one line of `metrics.jsonl`. Floats read back as the same bits."""
    finite = {name: value if math.isfinite(value) else None for name, value in values.items()}
    return canonical_json({"seed": seed, "step": step} | finite) + b"\n"


def parse_metrics(path: Path, lines: Iterable[bytes]) -> dict[int, dict[str, Series]]:
    """Read lines of `metrics.jsonl`: seed -> metric -> series.

    Raises:
        RecordError: a line is not an object with an integer seed and step, a value is not a number, or the steps of
            a replica do not increase.
    """
    points: dict[int, dict[int, dict[str, float]]] = {}
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
            seed, step = row.pop("seed"), row.pop("step")
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise RecordError("not a metrics line", path=path, line=number, expected="seed, step and values") from error
        if type(seed) is not int or type(step) is not int:
            raise RecordError(
                path=path, line=number, expected="whole numbers for seed and step", found=f"{seed}, {step}"
            )
        replica = points.setdefault(seed, {})
        if replica and step <= next(reversed(replica)):
            raise RecordError("steps must increase", path=path, line=number, field="$.step", found=str(step))
        for name, value in row.items():
            if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
                raise RecordError(
                    path=path, line=number, field=f"$.{name}", expected="a number or null", found=repr(value)
                )
        replica[step] = {name: math.nan if value is None else float(value) for name, value in row.items()}
    return {seed: _columns(rows) for seed, rows in points.items()}


def _columns(rows: Mapping[int, Mapping[str, float]]) -> dict[str, Series]:
    names = dict.fromkeys(name for row in rows.values() for name in row)
    return {
        name: Series(
            tuple(step for step, row in rows.items() if name in row),
            tuple(row[name] for row in rows.values() if name in row),
        )
        for name in names
    }


def read(path: Path) -> Record:
    """Read one of our runs and check every file against the hashes in its summary.

    Raises:
        RecordError: there is no run, a file is missing or not listed, or a file changed after the run.
    """
    if not (path / SUMMARY).is_file():
        raise RecordError("no finished run here", path=path, expected=f"a folder with {SPEC}, {METRICS} and {SUMMARY}")
    summary = load(path / SUMMARY, "summary")
    spec = load(path / SPEC, "run")
    verify_files(path, summary)
    if missing := sorted(files_of(spec.data) - set(summary.data["files"])):
        raise RecordError("of a finished run, but not listed in its summary", path=path / missing[0])
    metrics_path = path / METRICS
    measured = parse_metrics(metrics_path, read_bytes(metrics_path).splitlines())
    return Record(
        path=path,
        experiment=spec.data["experiment"],
        layout="reprogrok",
        # A requested seed without any line is a replica without metrics, not a smaller run.
        replicas={seed: measured.get(seed, {}) for seed in sorted({*spec.data["seeds"], *measured})},
        definitions=spec.data["definitions"],
        facts=spec.data["facts"],
        gates={name: Registration(gate["sha256"], gate["criteria"]) for name, gate in spec.data["gates"].items()},
        fingerprint=load(path / FINGERPRINT, "fingerprint").data,
        diverged={
            row["seed"]: step for row in summary.data["replicas"] if (step := row.get("diverged_step")) is not None
        },
    )


def files_of(spec: Mapping[str, Any]) -> set[str]:
    """Return the files that the summary of a run lists: all but itself and the clock readings."""
    asked = spec.get("checkpoints", {"steps": [], "keep": None})
    kept = kept_steps(asked["steps"], asked["keep"], spec.get("stopped_at", math.inf))
    weights = (*WEIGHTS, *map(step_name, kept))
    return {SPEC, FINGERPRINT, METRICS, *(f"seed-{seed}/{name}" for seed in spec["seeds"] for name in weights)}


def kept_steps(asked: Sequence[int], keep: int | None, done: float) -> list[int]:
    """Return the requested steps whose checkpoints exist after `done` updates: the newest `keep`."""
    reached = sorted(step for step in asked if step < done)
    return reached if keep is None else reached[-keep:]


def step_name(step: int) -> str:
    """Return the file name of the checkpoint after the update of a step."""
    return f"step-{step}.pt"


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return the differences between two fingerprints, such as `torch: 2.12.0 -> 2.13.0`."""
    keys = dict.fromkeys((*now, *before))
    return [f"{key}: {before.get(key)} -> {now.get(key)}" for key in keys if before.get(key) != now.get(key)]


def check_listed(path: Path, data: bytes) -> None:
    """Compare a checkpoint with the summary of the run that it lies in; a file that no run lists passes.

    Raises:
        InputError: the summary is damaged.
        RecordError: the run wrote other bytes.
    """
    # The file may be a link into a cache, or a link elsewhere may lead into a run: check both places.
    for place in dict.fromkeys((path.absolute(), path.resolve())):
        run = place.parent.parent
        if not ((run / SUMMARY).is_file() and (run / SPEC).is_file()):
            continue
        listed = load(run / SUMMARY, "summary").data["files"].get(f"{place.parent.name}/{place.name}")
        if listed is not None:
            _check_hash(path, listed, sha256_bytes(data))


def verify_files(path: Path, summary: Document) -> None:
    """Compare every file with its SHA-256 in the summary.

    Raises:
        RecordError: the first file that is missing or has changed.
    """
    for name, expected in summary.data["files"].items():
        file = path / name
        if not file.is_file():
            raise RecordError("listed in the summary but missing", path=file)
        _check_hash(file, expected, sha256_file(file))


def _check_hash(path: Path, expected: str, found: str) -> None:
    if found != expected:
        raise RecordError(
            "changed since the run wrote it", path=path, expected=f"sha256 {expected[:16]}…", found=f"{found[:16]}…"
        )

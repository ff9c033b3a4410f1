"""Finished work -> the run's folder, written beside its place and renamed there once everything is in it.

    work of every job --> .NAME.<digest of the work's place>.new --all files there--> NAME

The names beside the place carry a digest, so that no folder of anybody else is ever taken for a leftover of ours; who
holds the lock of the work is alone with them. What is replaced is a run and nothing else, seen before the first step
and again right before it goes.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from reprogrok import record
from reprogrok.data.protocols import VALIDATION
from reprogrok.errors import InputError, RecordError
from reprogrok.files import digest, exclusive, pretty_json, publish, sha256_file, write_bytes
from reprogrok.formats.checkpoints import Origin, checkpoint_bytes
from reprogrok.schema import load
from reprogrok.train.engine import DEFINITIONS, Layout
from reprogrok.train.work import WORK, Plan, fingerprint, folder_of, saved_work


def _beside(plan: Plan, suffix: str) -> Path:
    """A folder beside the place of the run, on the same file system, for this very work."""
    target = plan.out.resolve()
    return target.with_name(f".{target.name}.{digest(str(plan.work().resolve()))[:16]}.{suffix}")


def check_target(out: Path) -> None:
    """Publishing replaces a folder: only ever one that is a run and nothing else, so that --out destroys nothing.

    Raises:
        InputError: there is something else.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not ((out / record.SUMMARY).is_file() and (out / record.SPEC).is_file()):
        expected = "a new folder or an earlier run"
        raise InputError("exists and is not a run; it would be replaced", path=out, expected=expected)
    ours = {*load(out / record.SUMMARY, "summary").data["files"], record.SUMMARY, record.TIMING}
    for path in sorted(out.rglob("*")):
        if (path.is_symlink() or not path.is_dir()) and path.relative_to(out).as_posix() not in ours:
            raise InputError("is not of the run that would be replaced here; move it elsewhere", path=path)


def check_place(plan: Plan) -> None:
    """Make and remove the folder that publishing will need: better refused now than after hours of training."""
    check_target(plan.out)
    try:
        staging = _beside(plan, "new")
        staging.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(staging)
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links, before Python 3.13
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"a run cannot be published here: {reason}", path=plan.out) from error


def publish_run(plan: Plan, gates: dict[str, Any]) -> None:
    """Write the record beside its place and rename it there; the caller holds the lock of the work.

    Raises:
        BusyError: another run of this folder is being published at the same place; the work is kept.
        InputError: something that is no run has come to stand in its place; the work is kept.
    """
    lock = WORK.parent / f"publishing-{digest(str(plan.out.resolve()))[:16]}.lock"
    with exclusive(lock, f"publishing {plan.out}"):
        staging = _beside(plan, "new")
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(parents=True)
        _write(plan, gates, staging)
        check_target(plan.out)
        publish(staging, plan.out.resolve(), _beside(plan, "old"))


def _write(plan: Plan, gates: dict[str, Any], staging: Path) -> None:
    """Every file of the record, the summary last."""
    layout = Layout(plan.experiment.model)
    origin_of = {
        seed: Origin(plan.experiment.name, plan.experiment.digits, seed, plan.experiment.digest())
        for seed in plan.seeds
    }
    lines: dict[int, list[bytes]] = {seed: [] for seed in plan.seeds}
    replicas: list[dict[str, Any]] = []
    for job in plan.jobs():
        folder = folder_of(plan, job)
        saved = saved_work(plan, job)
        if saved is None or saved["step"] != plan.experiment.steps:
            raise RecordError("the work of a finished job is missing", path=folder)
        rows = (folder / record.METRICS).read_bytes().splitlines(keepends=True)
        for index, row in enumerate(rows):
            lines[job[index % len(job)]].append(row)
        for replica, seed in enumerate(job):
            last = record.parse_metrics(folder / record.METRICS, lines[seed])[seed]["test_exact_match"]
            replicas.append(_summary_of(saved, replica, seed, last))
            for name, flat, step, score in (
                ("best.pt", saved["best"], saved["best_step"][replica], saved["best_score"][replica]),
                ("last.pt", saved["weights"], last.steps[-1], last.values[-1]),
            ):
                weights = {key: view[replica] for key, view in layout.views(flat).items()}
                data = checkpoint_bytes(plan.experiment.model, weights, origin_of[seed], step, score)
                write_bytes(staging / f"seed-{seed}" / name, data)
        with (staging / record.TIMING).open("ab") as timing:
            timing.write((folder / record.TIMING).read_bytes())
    write_bytes(staging / record.METRICS, b"".join(line for seed in plan.seeds for line in lines[seed]))
    write_bytes(staging / record.SPEC, pretty_json(_spec_of(plan, gates)))
    write_bytes(staging / record.FINGERPRINT, pretty_json(fingerprint(plan.device)))
    hashed = sorted(path for path in staging.rglob("*") if path.is_file() and path.name != record.TIMING)
    written = {path.relative_to(staging).as_posix() for path in hashed}
    if different := sorted(written ^ record.files_of(plan.seeds)):
        raise RecordError("lost, or not of this run; the work is kept, try again", path=staging / different[0])
    summary = {
        "format": "reprogrok.run/1",
        "experiment": plan.experiment.name,
        "spec_digest": plan.experiment.digest(),
        "replicas": replicas,
        "files": {str(path.relative_to(staging)): sha256_file(path) for path in hashed},
    }
    write_bytes(staging / record.SUMMARY, pretty_json(summary))


def _summary_of(saved: dict[str, Any], replica: int, seed: int, score: record.Series) -> dict[str, Any]:
    perfect = [step for step, value in zip(score.steps, score.values, strict=True) if value == 1.0]
    return {
        "seed": seed,
        "steps": saved["step"],
        "best_step": saved["best_step"][replica],
        "best_test_exact_match": saved["best_score"][replica],
        "last_test_exact_match": score.values[-1],
        "first_perfect_step": perfect[0] if perfect else None,
    }


def _spec_of(plan: Plan, gates: dict[str, Any]) -> dict[str, Any]:
    experiment = plan.experiment
    return {
        "format": "reprogrok.spec/1",
        "experiment": experiment.name,
        "digest": experiment.digest(),
        "engine_version": plan.engine_version,
        "seeds": list(plan.seeds),
        "device": plan.device,
        "spec": experiment.as_dict(),
        "definitions": DEFINITIONS,
        "facts": {
            "positions": experiment.model.max_seq_len,
            "width": experiment.model.d_model,
            "test_examples": VALIDATION,
            "steps": experiment.steps,
        },
        "gates": gates,
    }

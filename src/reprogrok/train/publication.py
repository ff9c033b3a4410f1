"""Finished work -> the run's folder, written beside its place and renamed there once everything is in it.

    work of every job --> .NAME.<digest of the work's place>.new --all files there--> NAME

The names beside the place carry a digest, so that no folder of anybody else is ever taken for a leftover of ours; who
holds the lock of the work is alone with them. What is replaced is a run and nothing else, seen before the first step
and again right before it goes.
"""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from reprogrok import record
from reprogrok.errors import InputError, RecordError
from reprogrok.files import digest, exclusive, pretty_json, publish, sha256_file, write_bytes
from reprogrok.formats.checkpoints import MAX_STATE_BYTES
from reprogrok.metrics.logged import definitions_of, facts_of
from reprogrok.model.device import subnormals_as_zero
from reprogrok.schema import check_written, load, read_bytes
from reprogrok.train.engine import Engine
from reprogrok.train.saved import Saved, kept_checkpoint, metrics_lines, replica_bytes, saved_work
from reprogrok.train.training_task import packages_of, score_of
from reprogrok.train.work import WORK, Plan, fingerprint, folder_of

ANALYSES = re.compile(r"post_analysis(-seed-\d+)?\.json")  # what `analyze` writes into the folder of a run


def _beside(plan: Plan, suffix: str) -> Path:
    """A folder beside the place of the run, on the same file system, for this very work."""
    target = plan.out.resolve()
    return target.with_name(f".{target.name}.{digest(str(plan.work().resolve()))[:16]}.{suffix}")


def check_target(out: Path) -> None:
    """Publishing replaces a folder: only ever one that is a run and nothing else, so that --out destroys nothing.

    Analyses of that run may lie in it; they are made from its files, so they go with them.

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
        name = path.relative_to(out).as_posix()
        if (path.is_symlink() or not path.is_dir()) and name not in ours and not ANALYSES.fullmatch(name):
            raise InputError("is not of the run that would be replaced here; move it elsewhere", path=path)


def check_place(plan: Plan) -> None:
    """Make and remove the folder that publishing will need: better refused now than after hours of training.

    An earlier run that a crash in the middle of publishing left aside is put back first.
    """
    check_target(plan.out)
    try:
        staging, aside, target = _beside(plan, "new"), _beside(plan, "old"), plan.out.resolve()
        if aside.exists() and not target.exists():  # a crash between the two renames of `publish`
            aside.replace(target)
        staging.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(staging)
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links, before Python 3.13
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"a run cannot be published here: {reason}", path=plan.out) from error


def publish_run(plan: Plan) -> None:
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
        _write(plan, staging)
        check_target(plan.out)
        publish(staging, plan.out.resolve(), _beside(plan, "old"))


def _write(plan: Plan, staging: Path) -> None:
    """Every file of the record, the summary last."""
    lines: dict[int, list[bytes]] = {seed: [] for seed in plan.seeds}
    replicas: list[dict[str, Any]] = []
    earlier: list[dict[str, Any]] = []
    timing = b""
    ran_on = fingerprint(plan)
    for job in plan.jobs():
        folder = folder_of(plan, job)
        saved, _ = saved_work(plan, job)
        if saved is None or saved.step != plan.end:
            raise RecordError("the work of a finished job is missing; the same command goes on", path=folder)
        state, rows = _ended(plan, job, saved)
        for row in rows:
            lines[json.loads(row)["seed"]].append(row)
        for replica, seed in enumerate(job):
            measured = record.parse_metrics(folder / record.METRICS, lines[seed]).get(seed, {})
            summary = _summary_of(state, replica, seed, measured.get(score_of(plan.experiment), record.Series((), ())))
            replicas.append(summary)
            for name, flat_RP, step, score in (
                ("best.pt", state["best"], summary["best_step"], summary["best_score"]),
                ("last.pt", state["weights"], max(summary["steps"] - 1, 0), summary["last_score"]),
            ):
                write_bytes(staging / f"seed-{seed}" / name, replica_bytes(plan, seed, flat_RP[replica], step, score))
            for step in plan.kept(plan.end):
                data = kept_checkpoint(folder, seed, step)
                write_bytes(staging / f"seed-{seed}" / record.step_name(step), data)
        for entry in saved.history(ran_on):
            _note(earlier, entry, job)
        timing += read_bytes(folder / record.TIMING, MAX_STATE_BYTES)
    spec = _spec_of(plan)
    written_fingerprint = ran_on | ({"earlier": earlier} if earlier else {})
    check_written(spec, "run")
    check_written(written_fingerprint, "fingerprint")
    write_bytes(staging / record.TIMING, timing)
    write_bytes(staging / record.METRICS, b"".join(line for seed in plan.seeds for line in lines[seed]))
    write_bytes(staging / record.SPEC, pretty_json(spec))
    write_bytes(staging / record.FINGERPRINT, pretty_json(written_fingerprint))
    hashed = sorted(path for path in staging.rglob("*") if path.is_file() and path.name != record.TIMING)
    written = {path.relative_to(staging).as_posix() for path in hashed}
    if different := sorted(written ^ record.files_of(spec)):
        raise RecordError("lost, or not of this run; the work is kept, try again", path=staging / different[0])
    summary = {
        "format": "reprogrok.run/2",
        "experiment": plan.experiment.name,
        "spec_digest": plan.experiment.digest(),
        "score": score_of(plan.experiment),
        "replicas": replicas,
        "files": {str(path.relative_to(staging)): sha256_file(path) for path in hashed},
    }
    write_bytes(staging / record.SUMMARY, pretty_json(summary))


def _ended(plan: Plan, job: tuple[int, ...], saved: Saved) -> tuple[dict[str, Any], list[bytes]]:
    """The state and the lines of metrics that a job ends with: those saved, and an evaluation where it was stopped.

    That evaluation is the record's alone. The work knows nothing of it, so it can go on as if it had not been stopped.
    """
    rows = saved.metrics.splitlines(keepends=True)
    if plan.experiment.evaluates(plan.end - 1):
        return saved.content, rows
    engine = Engine(plan.experiment, job, torch.device(plan.device), plan.path)
    state = engine.restore(saved.content)
    with subnormals_as_zero():
        rows += metrics_lines(job, engine.evaluate(state))
    return state.as_dict(), rows


def _note(earlier: list[dict[str, Any]], entry: dict[str, Any], job: tuple[int, ...]) -> None:
    """Add what a job ran on before; jobs that changed at the same step share an entry."""
    for known in earlier:
        if known | {"seeds": []} == entry | {"seeds": []}:
            known["seeds"] += job
            return
    earlier.append({"until_step": entry["until_step"], "seeds": [*job], "fingerprint": entry["fingerprint"]})


def _summary_of(state: dict[str, Any], replica: int, seed: int, score: record.Series) -> dict[str, Any]:
    perfect = [step for step, value in zip(score.steps, score.values, strict=True) if value == 1.0]
    diverged = int(state["diverged"][replica])
    return {
        "seed": seed,
        "steps": state["step"] if diverged < 0 else diverged,
        "best_step": state["best_step"][replica],
        "best_score": state["best_score"][replica] if score.values else None,
        "last_score": score.values[-1] if score.values and diverged < 0 else None,
        "first_perfect_step": perfect[0] if perfect else None,
        "diverged_step": None if diverged < 0 else diverged,
    }


def _spec_of(plan: Plan) -> dict[str, Any]:
    experiment = plan.experiment
    asked: dict[str, Any] = {"stopped_at": plan.end} if plan.stops_early else {}
    if plan.checkpoints:
        asked["checkpoints"] = {"steps": list(plan.checkpoints), "keep": plan.keep}
    if foreign := packages_of(experiment):
        asked["packages"] = foreign
    return {
        "format": "reprogrok.spec/1",
        "experiment": experiment.name,
        "digest": experiment.digest(),
        "engine_version": plan.engine_version,
        "seeds": list(plan.seeds),
        "device": plan.device,
        **asked,
        "spec": experiment.as_dict(),
        "definitions": dict(definitions_of(experiment)),
        "facts": dict(facts_of(experiment)),
        "gates": {name: asdict(gate) for name, gate in plan.gates.items()},
    }

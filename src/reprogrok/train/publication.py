"""Finished work -> the run's folder, written beside its place and renamed there once everything is in it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch

from reprogrok import record
from reprogrok.errors import InputError, RecordError
from reprogrok.files import digest, exclusive, pretty_json, publish, sha256_file, write_bytes
from reprogrok.formats.checkpoints import Origin, checkpoint_bytes
from reprogrok.train.engine import DEFINITIONS, Engine, State
from reprogrok.train.work import WORK, Plan, fingerprint, folder_of, saved_work


def _staging(out: Path) -> Path:
    """Where a record is written before it is renamed: beside its place, on the same file system."""
    return out.absolute().with_name(f".{out.absolute().name}.new")


def check_place(out: Path) -> None:
    """Make and remove the folder that publishing will need: better refused now than after hours of training."""
    staging = _staging(out)
    try:
        staging.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(staging)
    except OSError as error:
        raise InputError(f"a run cannot be published here: {error.strerror}", path=out) from error


def publish_run(plan: Plan, gates: dict[str, Any]) -> None:
    """Write the record beside its place and rename it there.

    Raises:
        BusyError: another run of this folder is being published at the same place; the work is kept.
    """
    lock = WORK.parent / f"publishing-{digest(str(plan.out.absolute()))[:16]}.lock"
    with exclusive(lock, f"publishing {plan.out}"):
        _publish(plan, gates)


def _publish(plan: Plan, gates: dict[str, Any]) -> None:
    target, staging = plan.out.absolute(), _staging(plan.out)
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
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
        engine = Engine(plan.experiment, job, torch.device("cpu"))
        state = engine.restore(saved)
        rows = (folder / record.METRICS).read_bytes().splitlines(keepends=True)
        for index, row in enumerate(rows):
            lines[job[index % len(job)]].append(row)
        for replica, seed in enumerate(job):
            last = record.parse_metrics(folder / record.METRICS, lines[seed])[seed]["test_exact_match"]
            replicas.append(_summary_of(state, replica, seed, last))
            for name, flat, step, score in (
                ("best.pt", state.best_RP, state.best_step[replica], state.best_score[replica]),
                ("last.pt", state.weights_RP, last.steps[-1], last.values[-1]),
            ):
                weights = engine.weights_of(flat, replica)
                data = checkpoint_bytes(plan.experiment.model, weights, origin_of[seed], step, score)
                write_bytes(staging / f"seed-{seed}" / name, data)
        with (staging / record.TIMING).open("ab") as timing:
            timing.write((folder / record.TIMING).read_bytes())
    write_bytes(staging / record.METRICS, b"".join(line for seed in plan.seeds for line in lines[seed]))
    write_bytes(staging / record.SPEC, pretty_json(_spec_of(plan, gates)))
    write_bytes(staging / record.FINGERPRINT, pretty_json(fingerprint(plan.device)))
    hashed = sorted(path for path in staging.rglob("*") if path.is_file() and path.name != record.TIMING)
    summary = {
        "format": "reprogrok.run/1",
        "experiment": plan.experiment.name,
        "spec_digest": plan.experiment.digest(),
        "replicas": replicas,
        "files": {str(path.relative_to(staging)): sha256_file(path) for path in hashed},
    }
    write_bytes(staging / record.SUMMARY, pretty_json(summary))
    publish(staging, target)


def _summary_of(state: State, replica: int, seed: int, score: record.Series) -> dict[str, Any]:
    perfect = [step for step, value in zip(score.steps, score.values, strict=True) if value == 1.0]
    return {
        "seed": seed,
        "steps": state.step,
        "best_step": state.best_step[replica],
        "best_test_exact_match": state.best_score[replica],
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
            "test_examples": 5_000,
            "steps": experiment.steps,
        },
        "gates": gates,
    }

"""Finished work -> the run's folder, written next to its place and renamed there once it is complete.

    work of every job --> .NAME.<digest of the work's place>.new --all files there--> NAME

The temporary names carry a digest, so no other folder is taken for a leftover of this work, and only the holder of the
work's lock uses them. Only a run is ever replaced; that is checked before the first step and again before the rename.
"""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from reprogrok import record
from reprogrok.errors import InputError, RecordError
from reprogrok.files import digest, exclusive, pretty_json, publish, sha256_file, write_bytes
from reprogrok.formats.checkpoints import MAX_STATE_BYTES
from reprogrok.metrics.logged import definitions_of, facts_of
from reprogrok.model.device import subnormals_as_zero
from reprogrok.schema import check_written, load, read_bytes
from reprogrok.train.engine import Engine, EngineState, StateContent
from reprogrok.train.saved import PastFingerprint, SavedWork, kept_checkpoint, metrics_lines, replica_bytes, saved_work
from reprogrok.train.task_choice import packages_of
from reprogrok.train.training_task import score_of
from reprogrok.train.work import WORK, Job, TrainingPlan, fingerprint, folder_of

ANALYSES = re.compile(r"post_analysis(-seed-\d+)?\.json")  # the files that `analyze` adds to the folder of a run


class SharedPast(PastFingerprint):
    """A past fingerprint in `fingerprint.json`, with the seeds that ran under it."""

    seeds: list[int]


@dataclass(frozen=True)
class ReplicaSummary:
    """The result of one replica in `summary.json`.

    Attributes:
        seed: its seed.
        steps: the updates that it made.
        best_step: the step of its best evaluation.
        best_score: the score of that evaluation; None if it has none.
        last_score: the score of the last evaluation; None if it has none or the replica diverged.
        first_perfect_step: the first step with a score of 1; None if it was not reached.
        diverged_step: the step at which it diverged, or None.
    """

    seed: int
    steps: int
    best_step: int
    best_score: float | None
    last_score: float | None
    first_perfect_step: int | None
    diverged_step: int | None


def _beside(plan: TrainingPlan, suffix: str) -> Path:
    """Return a temporary folder next to the place of the run, on the same file system, for this work alone."""
    target = plan.out.resolve()
    return target.with_name(f".{target.name}.{digest(str(plan.work().resolve()))[:16]}.{suffix}")


def check_target(out: Path) -> None:
    """Check that publishing replaces nothing, or an earlier run and the analyses made from its files.

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
            raise InputError("not part of the run that would be replaced; move it elsewhere", path=path)


def check_place(plan: TrainingPlan) -> None:
    """Make and remove the folder that publishing will need, so that a refusal comes before the training.

    An earlier run that a crash during publishing left aside is put back first.
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


def publish_run(plan: TrainingPlan) -> None:
    """Write the record next to its place and rename it there; the caller holds the lock of the work.

    Raises:
        BusyError: another run is being published at the same place; the work is kept.
        InputError: there is something at its place that is no run; the work is kept.
    """
    lock = WORK.parent / f"publishing-{digest(str(plan.out.resolve()))[:16]}.lock"
    with exclusive(lock, f"publishing {plan.out}"):
        staging = _beside(plan, "new")
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(parents=True)
        _write(plan, staging)
        check_target(plan.out)
        publish(staging, plan.out.resolve(), _beside(plan, "old"))


def _write(plan: TrainingPlan, staging: Path) -> None:
    """Write every file of the record, the summary last."""
    lines: dict[int, list[bytes]] = {seed: [] for seed in plan.seeds}
    replicas: list[ReplicaSummary] = []
    earlier: list[SharedPast] = []
    timing = b""
    ran_on = fingerprint(plan)
    for job in plan.jobs():
        folder = folder_of(plan, job)
        saved, _ = saved_work(plan, job)
        if saved is None or saved.step != plan.end:
            raise RecordError("the work of a finished job is missing; the same command trains it again", path=folder)
        state, rows = _ended(plan, job, saved)
        for row in rows:
            lines[json.loads(row)["seed"]].append(row)
        for replica, seed in enumerate(job):
            series = record.parse_metrics(folder / record.METRICS, lines[seed]).get(seed, {})
            result = _summary_of(state, replica, seed, series.get(score_of(plan.experiment), record.Series((), ())))
            replicas.append(result)
            for name, flat_RP, step, score in (
                ("best.pt", state["best"], result.best_step, result.best_score),
                ("last.pt", state["weights"], max(result.steps - 1, 0), result.last_score),
            ):
                write_bytes(staging / f"seed-{seed}" / name, replica_bytes(plan, seed, flat_RP[replica], step, score))
            for step in plan.kept(plan.end):
                data = kept_checkpoint(folder, seed, step)
                write_bytes(staging / f"seed-{seed}" / record.step_name(step), data)
        for past in saved.history(ran_on):
            _add_past(earlier, past, job)
        timing += read_bytes(folder / record.TIMING, MAX_STATE_BYTES)
    spec = _spec_of(plan)
    written_fingerprint: dict[str, object] = {**ran_on, **({"earlier": earlier} if earlier else {})}
    check_written(spec, "run")
    check_written(written_fingerprint, "fingerprint")
    write_bytes(staging / record.TIMING, timing)
    write_bytes(staging / record.METRICS, b"".join(line for seed in plan.seeds for line in lines[seed]))
    write_bytes(staging / record.SPEC, pretty_json(spec))
    write_bytes(staging / record.FINGERPRINT, pretty_json(written_fingerprint))
    hashed = sorted(path for path in staging.rglob("*") if path.is_file() and path.name != record.TIMING)
    written = {path.relative_to(staging).as_posix() for path in hashed}
    if different := sorted(written ^ record.files_of(spec)):
        raise RecordError("missing, or not part of this run; the work is kept, try again", path=staging / different[0])
    summary = {
        "format": "reprogrok.run/2",
        "experiment": plan.experiment.name,
        "spec_digest": plan.experiment.digest(),
        "score": score_of(plan.experiment),
        "replicas": [asdict(replica) for replica in replicas],
        "files": {str(path.relative_to(staging)): sha256_file(path) for path in hashed},
    }
    write_bytes(staging / record.SUMMARY, pretty_json(summary))


def _ended(plan: TrainingPlan, job: Job, saved: SavedWork) -> tuple[StateContent, list[bytes]]:
    """Return the state and the lines of metrics that a job ends with: those saved, and an evaluation of the last step.

    That evaluation goes into the record alone: the work resumes as if it had not been stopped.
    """
    rows = saved.metrics.splitlines(keepends=True)
    if plan.experiment.evaluates(plan.end - 1):
        return saved.content, rows
    engine = Engine(plan.experiment, job, torch.device(plan.device), plan.backend)
    state = EngineState.restore(saved.content, engine.device)
    with subnormals_as_zero():
        rows += metrics_lines(job, engine.evaluate(state))
    return state.content(), rows


def _add_past(earlier: list[SharedPast], past: PastFingerprint, job: Job) -> None:
    """Add a past fingerprint of a job; jobs that changed at the same step share an entry."""
    for known in earlier:
        if (known["until_step"], known["fingerprint"]) == (past["until_step"], past["fingerprint"]):
            known["seeds"] += job
            return
    earlier.append({"until_step": past["until_step"], "seeds": [*job], "fingerprint": past["fingerprint"]})


def _summary_of(state: StateContent, replica: int, seed: int, score: record.Series) -> ReplicaSummary:
    diverged = int(state["diverged"][replica])
    return ReplicaSummary(
        seed=seed,
        steps=state["step"] if diverged < 0 else diverged,
        best_step=state["best_step"][replica],
        best_score=state["best_score"][replica] if score.values else None,
        last_score=score.values[-1] if score.values and diverged < 0 else None,
        first_perfect_step=next((step for step, x in zip(score.steps, score.values, strict=True) if x == 1.0), None),
        diverged_step=None if diverged < 0 else diverged,
    )


def _spec_of(plan: TrainingPlan) -> dict[str, object]:
    experiment = plan.experiment
    requested: dict[str, object] = {"stopped_at": plan.end} if plan.stops_early else {}
    if plan.checkpoints:
        requested["checkpoints"] = {"steps": list(plan.checkpoints), "keep": plan.keep}
    if packages := packages_of(experiment):
        requested["packages"] = packages
    return {
        "format": "reprogrok.spec/1",
        "experiment": experiment.name,
        "digest": experiment.digest(),
        "engine_version": plan.engine_version,
        "seeds": list(plan.seeds),
        "device": plan.device,
        **requested,
        "spec": experiment.as_dict(),
        "definitions": dict(definitions_of(experiment)),
        "facts": dict(facts_of(experiment)),
        "gates": {name: asdict(gate) for name, gate in plan.gates.items()},
    }

"""An experiment, seeds and a device -> a published run: work streams into a work folder, one rename publishes it.

    seeds --> jobs --> .reprogrok/work/<digest>/<job>/{state.pt, metrics.jsonl, timing.jsonl}  --merge--> runs/NAME

On a CPU every seed is a job of its own, one thread each, spread over the cores: stacking replicas gains nothing there.
On a GPU all seeds are one job, because there the replica axis is everything. The metrics are merged in the order of
seeds and steps, so the record is the same however the work was divided.

Stopped at any moment, the same command goes on from the last evaluation: state is saved whole or not at all, and the
metrics that were streamed after it are cut off before they are written again.
"""

from __future__ import annotations

import io
import json
import multiprocessing
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from multiprocessing.synchronize import Event
from pathlib import Path
from queue import Empty
from typing import Any, Protocol

import torch

from reprogrok import record
from reprogrok.errors import RecordError, ReprogrokError
from reprogrok.files import digest, exclusive, pretty_json, publish, sha256_file, write_bytes
from reprogrok.formats.checkpoints import Origin, checkpoint_bytes, load_state, state_bytes
from reprogrok.model.device import choose_device, environment
from reprogrok.spec import Experiment
from reprogrok.train.engine import DEFINITIONS, Engine, Evaluation, State

WORK = Path(".reprogrok/work")
_POLL_SECONDS = 0.2


class StoppedError(ReprogrokError):
    """The run was asked to stop; what it had done is saved and the same command goes on from there."""


@dataclass(frozen=True)
class Plan:
    """What a run is going to do.

    Attributes:
        experiment: what to train; `experiment.steps` is also the length of the schedule.
        seeds: the replicas.
        device: "cpu", "cuda" or "mps".
        engine_version: of `params.yaml`.
        out: the folder to publish.
        workers: processes on a CPU.
        gates: criteria to register, by the gate's name.
    """

    experiment: Experiment
    seeds: tuple[int, ...]
    device: str
    engine_version: int
    out: Path
    workers: int
    gates: Mapping[str, record.Registration]

    def jobs(self) -> list[tuple[int, ...]]:
        """Which seeds are trained together: one by one on a CPU, all at once elsewhere."""
        return [(seed,) for seed in self.seeds] if self.device == "cpu" else [self.seeds]

    def work(self) -> Path:
        """Where the work in progress of this very computation lives."""
        return WORK / digest([self.experiment.digest(), self.engine_version, self.device])[:16]


@dataclass(frozen=True)
class Progress:
    """What a job reports: its seeds, the next step, and the metrics of an evaluation if one has just been made."""

    seeds: tuple[int, ...]
    step: int
    evaluation: Evaluation | None


class Stop(Protocol):
    """Something that can be asked whether to stop: an event of threads or of processes."""

    def is_set(self) -> bool:
        """Has somebody asked to stop?"""
        ...


def fingerprint(device: str) -> dict[str, Any]:
    """What the bits of a run depend on beside its spec and seeds."""
    return environment(torch.device(device)) | {"path": "eager"}


def run(plan: Plan, stop: Event, report: Callable[[Progress], None]) -> Path:
    """Train what is missing, publish the run and return its folder.

    Raises:
        StoppedError: `stop` was set; the work so far is saved.
        BusyError: another process is training the same experiment here.
    """
    choose_device(plan.device)
    with exclusive(plan.work() / "lock", f"training {plan.experiment.name}"):
        for job in plan.jobs():
            _check_resumable(plan, job)
        _register(plan)
        _train_jobs(plan, stop, report)
        if stop.is_set():
            raise StoppedError(f"stopped; the same command goes on from the last evaluation (work is in {plan.work()})")
        _publish(plan)
        for job in plan.jobs():
            shutil.rmtree(_folder(plan, job))
        _registered(plan).unlink()
    return plan.out


def _registered(plan: Plan) -> Path:
    return plan.work() / "gates.json"


def _register(plan: Plan) -> None:
    """Store the criteria before the first step; a resumed run keeps those that it began with."""
    if not _registered(plan).exists():
        write_bytes(_registered(plan), pretty_json({name: asdict(gate) for name, gate in plan.gates.items()}))


def _train_jobs(plan: Plan, stop: Event, report: Callable[[Progress], None]) -> None:
    jobs = plan.jobs()
    if min(plan.workers, len(jobs)) == 1:
        for job in jobs:
            _train_job(plan, job, stop, report)
        return
    context = multiprocessing.get_context("spawn")
    queue: multiprocessing.Queue[Progress] = context.Queue()
    pool = ProcessPoolExecutor(min(plan.workers, len(jobs)), context, _adopt, (queue, stop))
    try:
        running: set[Future[None]] = {pool.submit(_train_in_worker, plan, job) for job in jobs}
        while running:
            finished, running = wait(running, timeout=_POLL_SECONDS, return_when=FIRST_COMPLETED)
            for progress in _drain(queue):
                report(progress)
            for future in finished:
                future.result()
        for progress in _drain(queue):
            report(progress)
    except BrokenProcessPool as error:
        raise ReprogrokError("a worker process died (killed, or out of memory?); the same command goes on") from error
    except BaseException:
        stop.set()  # the others finish their step, save, and leave
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _drain(queue: multiprocessing.Queue[Progress]) -> Iterator[Progress]:
    try:
        while True:
            yield queue.get_nowait()
    except Empty:
        return


_worker: dict[str, Any] = {}


def _adopt(queue: multiprocessing.Queue[Progress], stop: Event) -> None:
    """In a fresh worker: keep the parent's queue and event, and leave signals of the terminal to the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _worker.update(queue=queue, stop=stop, parent=os.getppid())


def _train_in_worker(plan: Plan, job: tuple[int, ...]) -> None:
    choose_device(plan.device)
    _train_job(plan, job, _OrOrphaned(_worker["stop"], _worker["parent"]), _worker["queue"].put)


@dataclass(frozen=True)
class _OrOrphaned:
    """Set when the run was asked to stop, or when the process that asked for the work is gone."""

    stop: Stop
    parent: int

    def is_set(self) -> bool:
        return self.stop.is_set() or os.getppid() != self.parent


def _folder(plan: Plan, job: tuple[int, ...]) -> Path:
    name = f"seed-{job[0]}" if len(job) == 1 else f"seeds-{digest(list(job))[:12]}"
    return plan.work() / name


def _check_resumable(plan: Plan, job: tuple[int, ...]) -> None:
    """Refuse to go on with work that was begun on another machine or version: its bits would belong to neither."""
    saved = load_state(_folder(plan, job) / "state.pt")
    if saved is None:
        return
    now = fingerprint(plan.device)
    if changed := [
        f"{key}: {saved['fingerprint'].get(key)} -> {now.get(key)}"
        for key in now
        if saved["fingerprint"].get(key) != now[key]
    ]:
        folder = _folder(plan, job)
        raise RecordError(
            f"the work begun here ran under another fingerprint ({'; '.join(changed)}); remove it to start again",
            path=folder,
        )


def _train_job(plan: Plan, job: tuple[int, ...], stop: Stop, report: Callable[[Progress], None]) -> None:
    """Train one job to its end, or until `stop`; a job that had finished returns at once."""
    folder = _folder(plan, job)
    folder.mkdir(parents=True, exist_ok=True)
    saved = load_state(folder / "state.pt")
    if saved is not None and saved["step"] == plan.experiment.steps:
        report(Progress(job, saved["step"], None))
        return
    engine = Engine(plan.experiment, job, torch.device(plan.device))
    state = engine.fresh() if saved is None else engine.restore(saved)
    ran_on = fingerprint(plan.device)

    def save(length: int) -> None:
        write_bytes(
            folder / "state.pt", state_bytes(state.as_dict() | {"metrics_bytes": length, "fingerprint": ran_on})
        )

    with _appending(folder / record.METRICS, 0 if saved is None else saved["metrics_bytes"]) as metrics:
        timing = (folder / record.TIMING).open("a", encoding="utf-8")
        with timing:
            began, first = time.monotonic(), state.step
            for evaluation in engine.train(state, stop.is_set):
                for replica, seed in enumerate(job):
                    values = {name: column[replica] for name, column in evaluation.metrics.items()}
                    metrics.write(record.metrics_line(seed, evaluation.step, values))
                metrics.flush()
                os.fsync(metrics.fileno())
                save(metrics.tell())
                rate = (state.step - first) * len(job) / (time.monotonic() - began)
                timing.write(f'{{"seeds":{list(job)},"step":{evaluation.step},"model_steps_per_second":{rate:.2f}}}\n')
                report(Progress(job, state.step, evaluation))
            if state.step < plan.experiment.steps:
                save(metrics.tell())


@contextmanager
def _appending(path: Path, length: int) -> Iterator[io.BufferedRandom]:
    """Open the metrics for appending after cutting off what was streamed later than the saved state."""
    with path.open("a+b") as file:
        file.truncate(length)
        file.seek(length)
        yield file


def _publish(plan: Plan) -> None:
    """Write the record beside its place and rename it there."""
    target = plan.out.absolute()
    staging = target.with_name(f".{target.name}.new")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    origin_of = {
        seed: Origin(plan.experiment.name, plan.experiment.digits, seed, plan.experiment.digest())
        for seed in plan.seeds
    }
    lines: dict[int, list[bytes]] = {seed: [] for seed in plan.seeds}
    replicas: list[dict[str, Any]] = []
    for job in plan.jobs():
        folder = _folder(plan, job)
        saved = load_state(folder / "state.pt")
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
    write_bytes(staging / record.SPEC, pretty_json(_spec_of(plan)))
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


def _spec_of(plan: Plan) -> dict[str, Any]:
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
        "gates": json.loads(_registered(plan).read_bytes()),
    }

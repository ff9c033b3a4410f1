"""The plan of a run, the place of its work in progress, and the fingerprint under which it runs.

    .reprogrok/work/<digest of spec, engine and device>/<job>/{state-*.pt, step-*.pt, metrics.jsonl, timing.jsonl}

The folder follows from spec, engine and device, so the same command finds its work again. Everything else that decides
the bits (backend, promise, versions, machine) is the work's fingerprint: where that has changed, the run stops and says
so. Work is resumed only if it is whole (`train.saved` defines that) and began under the same fingerprint.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from reprogrok import record
from reprogrok.files import digest
from reprogrok.model.compiler import compiler
from reprogrok.model.device import environment
from reprogrok.spec.experiment import Experiment
from reprogrok.train.backends import Backend

WORK = Path(".reprogrok/work")
_GONE = ".gone"

Job = tuple[int, ...]  # the seeds that are trained together
Fingerprint = dict[str, str | int]


@dataclass(frozen=True)
class TrainingPlan:
    """The plan of a run.

    Attributes:
        experiment: the experiment to train; `experiment.steps` is also the length of the schedule.
        seeds: the replicas.
        device: "cpu", "cuda" or "mps".
        engine_version: the version in `params.yaml`.
        out: the folder to publish.
        workers: processes on a CPU.
        backend: how a step is executed.
        deterministic: the promise of the run, "bitwise" or "tolerance" (`model.device`).
        gates: criteria to register, by the gate's name.
        stop_at: updates after which the run ends before its schedule does; None for the whole schedule.
        checkpoints: evaluation steps whose weights are published next to best and last, in increasing order.
        keep: the number of the newest of them to keep; None for all.
        allow_fingerprint_change: resume work that began under another fingerprint, and record it.
    """

    experiment: Experiment
    seeds: tuple[int, ...]
    device: str
    engine_version: int
    out: Path
    workers: int
    backend: Backend
    deterministic: str
    gates: Mapping[str, record.Registration]
    stop_at: int | None = None
    checkpoints: tuple[int, ...] = ()
    keep: int | None = None
    allow_fingerprint_change: bool = False

    @property
    def end(self) -> int:
        """Updates after which the run is published."""
        return self.experiment.steps if self.stop_at is None else self.stop_at

    @property
    def stops_early(self) -> bool:
        """Whether the run ends before its schedule does."""
        return self.end < self.experiment.steps

    def jobs(self) -> list[Job]:
        """Return the seeds that are trained together: one by one on a CPU, all at once elsewhere."""
        return [(seed,) for seed in self.seeds] if self.device == "cpu" else [self.seeds]

    def work(self) -> Path:
        """Return the folder of the work in progress; it does not depend on where the run stops or what it publishes."""
        return WORK / digest([self.experiment.digest(), self.engine_version, self.device])[:16]

    def kept(self, done: int) -> list[int]:
        """Return the steps whose checkpoints exist after `done` updates."""
        return record.kept_steps(self.checkpoints, self.keep, done)


def fingerprint(plan: TrainingPlan) -> Fingerprint:
    """Return the facts that decide a run's bits in addition to its spec and seeds."""
    found = environment(torch.device(plan.device)) | {"path": str(plan.backend), "deterministic": plan.deterministic}
    if plan.device == "cpu":
        found["subnormals"] = "zero"
    if plan.backend == Backend.COMPILED and plan.device == "cpu":
        found["compiler"] = compiler() or "none"
    if plan.device != "cpu":
        found["replicas"] = len(plan.seeds)  # libraries choose their routines by the size of the stack
    return found


def folder_of(plan: TrainingPlan, job: Job) -> Path:
    """Return the folder of one job's work."""
    name = f"seed-{job[0]}" if len(job) == 1 else f"seeds-{digest(list(job))[:12]}"
    return plan.work() / name


def discard(folder: Path) -> None:
    """Remove a job's work by one rename first: half of a folder would look like damaged work."""
    gone = folder.with_name(folder.name + _GONE)
    folder.replace(gone)
    shutil.rmtree(gone)


def sweep(plan: TrainingPlan) -> None:
    """Remove the remains of a crash during `discard`; the caller holds the lock of the work."""
    for gone in plan.work().glob(f"*{_GONE}"):
        shutil.rmtree(gone)

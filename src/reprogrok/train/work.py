"""What a run is going to do, where its work in progress lives, and whether it can go on with what is there.

    .reprogrok/work/<digest of spec, engine and device>/<job>/{state-*.pt, step-*.pt, metrics.jsonl, timing.jsonl}

The folder follows from spec, engine and device, so the same command finds its work again. What else decides the bits
(path, promise, versions, machine) is the work's fingerprint: where that has changed, the run says so and stops.
What is there is taken up only if it is whole (`train.saved` says what that means) and began under the same fingerprint.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from reprogrok import record
from reprogrok.files import digest
from reprogrok.model.compiler import compiler
from reprogrok.model.device import environment
from reprogrok.spec import Experiment

WORK = Path(".reprogrok/work")
_GONE = ".gone"


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
        path: how a step is executed, "eager" or "compiled" (`train.paths`).
        deterministic: what is promised, "bitwise" or "tolerance" (`model.device`).
        gates: criteria to register, by the gate's name.
        stop_at: updates after which the run ends before its schedule does; None for the whole of it.
        checkpoints: evaluation steps whose states are published beside best and last, in increasing order.
        keep: how many of them, the newest; None for all.
        allow_fingerprint_change: go on with work that began under another fingerprint, and say so in the record.
    """

    experiment: Experiment
    seeds: tuple[int, ...]
    device: str
    engine_version: int
    out: Path
    workers: int
    path: str
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
        """Is there more of the schedule after this run?"""
        return self.end < self.experiment.steps

    def jobs(self) -> list[tuple[int, ...]]:
        """Which seeds are trained together: one by one on a CPU, all at once elsewhere."""
        return [(seed,) for seed in self.seeds] if self.device == "cpu" else [self.seeds]

    def work(self) -> Path:
        """Where the work in progress of this very computation lives, however much of it is asked for."""
        return WORK / digest([self.experiment.digest(), self.engine_version, self.device])[:16]

    def kept(self, done: int) -> list[int]:
        """The steps whose checkpoints are there after `done` updates."""
        return record.kept_steps(self.checkpoints, self.keep, done)


def fingerprint(plan: Plan) -> dict[str, Any]:
    """What the bits of a run depend on beside its spec and seeds."""
    found = environment(torch.device(plan.device)) | {"path": plan.path, "deterministic": plan.deterministic}
    if plan.device == "cpu":
        found["subnormals"] = "zero"
    if plan.path == "compiled" and plan.device == "cpu":
        found["compiler"] = compiler() or "none"
    if plan.device != "cpu":
        found["replicas"] = len(plan.seeds)  # libraries choose their routines by the size of the stack
    return found


def folder_of(plan: Plan, job: tuple[int, ...]) -> Path:
    """The folder of one job's work."""
    name = f"seed-{job[0]}" if len(job) == 1 else f"seeds-{digest(list(job))[:12]}"
    return plan.work() / name


def name_of(job: tuple[int, ...]) -> str:
    """A job, for people."""
    return f"seed {job[0]}" if len(job) == 1 else f"{len(job)} seeds"


def discard(folder: Path) -> None:
    """Remove a job's work, all of it by one rename: half of a folder would look like damaged work."""
    gone = folder.with_name(folder.name + _GONE)
    folder.replace(gone)
    shutil.rmtree(gone)


def sweep(plan: Plan) -> None:
    """Remove what a crash in the middle of `discard` left; the caller holds the lock of the work."""
    for gone in plan.work().glob(f"*{_GONE}"):
        shutil.rmtree(gone)

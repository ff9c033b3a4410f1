"""What a run is going to do, where its work in progress lives, and whether it can go on with what is there.

    .reprogrok/work/<digest of spec, engine and device>/<job>/{state.pt, metrics.jsonl, timing.jsonl, gates.json}

The folder follows from everything that decides the bits, so work is found again by the same command and by no other.
What is there is taken up only if it is whole and began under the same fingerprint.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from reprogrok import record
from reprogrok.errors import CheckpointError, RecordError
from reprogrok.files import digest, pretty_json, write_bytes
from reprogrok.formats.checkpoints import load_state
from reprogrok.model.device import environment
from reprogrok.spec import Experiment

WORK = Path(".reprogrok/work")
GATES = "gates.json"  # in a job's folder: the criteria as they stood before its first step
STATE = "state.pt"
_IN_STATE = {
    *("weights", "mean", "square", "best", "step", "best_step", "best_score"),
    *("metrics_bytes", "fingerprint"),
}


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


def fingerprint(device: str) -> dict[str, Any]:
    """What the bits of a run depend on beside its spec and seeds."""
    return environment(torch.device(device)) | {"path": "eager"}


def folder_of(plan: Plan, job: tuple[int, ...]) -> Path:
    """The folder of one job's work."""
    name = f"seed-{job[0]}" if len(job) == 1 else f"seeds-{digest(list(job))[:12]}"
    return plan.work() / name


def name_of(job: tuple[int, ...]) -> str:
    """A job, for people."""
    return f"seed {job[0]}" if len(job) == 1 else f"{len(job)} seeds"


def register(plan: Plan) -> dict[str, Any]:
    """Store the criteria with every job before its first step; a resumed run keeps those that it began with."""
    folders = [folder_of(plan, job) for job in plan.jobs()]
    begun = [folder for folder in folders if (folder / STATE).exists()]
    gates: dict[str, Any] = {name: asdict(gate) for name, gate in plan.gates.items()}
    stored = [json.loads((folder / GATES).read_bytes()) if (folder / GATES).exists() else {} for folder in begun]
    if stored:
        gates = stored[0]
    for folder, other in zip(begun, stored, strict=True):
        if other != gates:
            advice = "remove one of them, or train their seeds apart"
            raise RecordError(f"the work in {begun[0]} registered other criteria; {advice}", path=folder)
    for folder in folders:
        if folder not in begun:
            write_bytes(folder / GATES, pretty_json(gates))
    return gates


def saved_work(plan: Plan, job: tuple[int, ...]) -> dict[str, Any] | None:
    """The saved state of a job, or None if it has not begun.

    Raises:
        RecordError: what is there cannot be gone on with.
    """
    folder = folder_of(plan, job)
    path, metrics = folder / STATE, folder / record.METRICS
    advice = f"remove {folder} to start again"
    try:
        saved = load_state(path)
    except CheckpointError as error:
        raise RecordError(f"the saved work is damaged ({error.message or error}); {advice}", path=path) from error
    if saved is None:
        return None
    if set(saved) != _IN_STATE:
        expected, found = (", ".join(sorted(map(str, names))) for names in (_IN_STATE, saved))
        raise RecordError(f"not the saved work of a run; {advice}", path=path, expected=expected, found=found)
    size = metrics.stat().st_size if metrics.exists() else 0
    if size < (least := saved["metrics_bytes"]):
        raise RecordError(
            f"cut short; {advice}", path=metrics, expected=f"at least {least} bytes", found=f"{size} bytes"
        )
    return saved


def check_resumable(plan: Plan, job: tuple[int, ...]) -> None:
    """Refuse to go on with work that was begun on another machine or version: its bits would belong to neither."""
    saved = saved_work(plan, job)
    if saved is None:
        return
    now = fingerprint(plan.device)
    if changed := [
        f"{key}: {saved['fingerprint'].get(key)} -> {now.get(key)}"
        for key in now
        if saved["fingerprint"].get(key) != now[key]
    ]:
        folder = folder_of(plan, job)
        raise RecordError(
            f"the work begun here ran under another fingerprint ({'; '.join(changed)}); remove it to start again",
            path=folder,
        )

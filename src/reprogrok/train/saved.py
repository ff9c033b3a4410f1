"""The saved work of one job: a changed byte is seen before anything is parsed, and one damaged file costs little.

    state-<updates>.<sha256>.pt        all that is needed to go on, the newest two
    step-<step>.seed-<seed>.<sha256>.pt    checkpoints that were asked for, as they will be published
    metrics.jsonl, timing.jsonl        streamed; a state knows their lengths, and the hash of the metrics up to there

The hash in a name is that of the whole file, so one rename makes both appear. A state verifies if its bytes are those
that were saved, the metrics that it knows of are still there and the same, and so is every checkpoint that has to be
there by then. Work goes on from the newest state that verifies; what lies behind it is written anew, to the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from reprogrok import record
from reprogrok.errors import InputError, RecordError
from reprogrok.files import hash_in_name, sha256_bytes, write_hashed, writing
from reprogrok.formats.checkpoints import MAX_STATE_BYTES, checkpoint_bytes, load_state, state_bytes
from reprogrok.formats.origins import Origin
from reprogrok.schema import read_bytes
from reprogrok.spec import AdditionTask
from reprogrok.train.engine import Evaluation, State
from reprogrok.train.training_task import score_of
from reprogrok.train.update import Layout
from reprogrok.train.work import Plan, fingerprint, folder_of

if TYPE_CHECKING:
    import torch

KEPT_STATES = 2
_IN_STATE = {
    *("weights", "mean", "square", "diverged", "best", "step", "best_step", "best_score"),
    *("metrics_bytes", "metrics_sha256", "timing_bytes", "fingerprint", "earlier", "gates"),
}


@dataclass(frozen=True)
class Saved:
    """A state that verified.

    Attributes:
        path: its file.
        content: what `Engine.restore` takes; the lengths of the streams and the hash of the metrics; `fingerprint`, and
            `earlier`: what it ran on before, until which step; `gates`: the criteria registered before the first step.
        metrics: the bytes of the metrics up to this state.
    """

    path: Path
    content: dict[str, Any]
    metrics: bytes

    @property
    def step(self) -> int:
        """Updates made."""
        return int(self.content["step"])

    def history(self, now: Mapping[str, Any]) -> list[dict[str, Any]]:
        """What this work ran on before `now`, each with the number of updates by which it ended."""
        before = {"until_step": self.step, "fingerprint": self.content["fingerprint"]}
        return [*self.content["earlier"], *([before] if record.changes(before["fingerprint"], now) else [])]


def saved_work(plan: Plan, job: tuple[int, ...]) -> tuple[Saved | None, list[str]]:
    """The newest saved state of a job that verifies, None if it has not begun; and why newer ones were passed over.

    Raises:
        RecordError: there are states, and none of them can be gone on with.
    """
    folder = folder_of(plan, job)
    refused: list[str] = []
    for path in sorted(folder.glob("state-*.pt"), key=_updates, reverse=True):
        try:
            return _verified(plan, job, path), refused
        except InputError as error:
            refused.append(str(error))
    if refused:
        raise RecordError(f"none of the saved work can be gone on with ({refused[0]}); remove {folder} to start again")
    return None, []


def _updates(path: Path) -> int:
    match = re.match(r"state-(\d+)\.", path.name)
    return -1 if match is None else int(match[1])


def _verified(plan: Plan, job: tuple[int, ...], path: Path) -> Saved:
    content = load_state(path, hash_in_name(path))
    if set(content) != _IN_STATE:
        expected, found = (", ".join(sorted(map(str, names))) for names in (_IN_STATE, content))
        raise RecordError("not the saved work of a run", path=path, expected=expected, found=found)
    metrics_path, length = path.with_name(record.METRICS), content["metrics_bytes"]
    metrics = read_bytes(metrics_path, MAX_STATE_BYTES)[:length]
    if len(metrics) < length:
        raise RecordError(
            "cut short", path=metrics_path, expected=f"at least {length} bytes", found=f"{len(metrics)} bytes"
        )
    if sha256_bytes(metrics) != content["metrics_sha256"]:
        raise RecordError("changed since it was streamed", path=metrics_path)
    for step in plan.kept(content["step"]):
        for seed in job:
            kept_checkpoint(path.parent, seed, step)
    return Saved(path, content, metrics)


def kept_checkpoint(folder: Path, seed: int, step: int) -> bytes:
    """The bytes of a checkpoint that was asked for and that the work has passed.

    Raises:
        RecordError: it is not there, or damaged.
    """
    found = list(folder.glob(f"step-{step}.seed-{seed}.*.pt"))
    for path in found:
        data = read_bytes(path)
        if sha256_bytes(data) == hash_in_name(path):
            return data
    trouble = "is damaged" if found else "was not kept"
    raise RecordError(f"the checkpoint of step {step}, seed {seed}, {trouble}", path=folder)


def take_up(plan: Plan, warn: Callable[[str], None]) -> Plan:
    """Check all saved work before the first step; the plan that goes on with the criteria the work began with.

    Raises:
        RecordError: some of it cannot be gone on with.
        InputError: some of it is further than the run is to go.
    """
    registered: dict[Path, str] = {}
    for job in plan.jobs():
        folder = folder_of(plan, job)
        saved, refused = saved_work(plan, job)
        if saved is None:
            continue
        for reason in refused:
            warn(f"passed over: {reason}; going on from step {saved.step:,}")
        _check_fingerprint(plan, folder, saved)
        if saved.step > plan.end:
            raise InputError(
                f"the work in {folder} is further", field="--stop-at", expected=f"at least {saved.step}",
                found=f"{plan.end}",
            )  # fmt: skip
        registered[folder] = saved.content["gates"]
    if not registered:
        return plan
    (first, gates), *others = registered.items()
    for folder, other in others:
        if other != gates:
            advice = "remove one of them, or train their seeds apart"
            raise RecordError(f"the work in {first} registered other criteria; {advice}", path=folder)
    return replace(plan, gates={name: record.Registration(**gate) for name, gate in json.loads(gates).items()})


def _check_fingerprint(plan: Plan, folder: Path, saved: Saved) -> None:
    """Refuse to go on with work that was begun on another machine or version: its bits would belong to neither."""
    changed = record.changes(saved.content["fingerprint"], fingerprint(plan))
    if changed and not plan.allow_fingerprint_change:
        raise RecordError(
            f"the work begun here ran under another fingerprint ({'; '.join(changed)}); remove it to start again, or go"
            " on with --allow-fingerprint-change, which the record will say",
            path=folder,
        )


def replica_bytes(plan: Plan, seed: int, flat_P: torch.Tensor, step: int, score: float | None) -> bytes:
    """The checkpoint of one replica, from its flat row of weights."""
    experiment = plan.experiment
    views = Layout(experiment.model).views(flat_P.unsqueeze(0))
    weights = {name: view[0] for name, view in views.items()}
    task = experiment.task
    digits, modular = (task.digits, None) if isinstance(task, AdditionTask) else (None, task)
    origin = Origin(experiment.name, digits, seed, experiment.digest(), modular, experiment.block)
    return checkpoint_bytes(experiment.model, weights, origin, step, score)


class Journal:
    """Writes the work of one job while it trains; who makes one holds the job's lock.

    Whatever a crash left beyond the saved state is cut off, or written again to the same bytes.
    """

    def __init__(self, plan: Plan, job: tuple[int, ...], saved: Saved | None) -> None:
        self._plan, self._job, self._folder = plan, job, folder_of(plan, job)
        self._ran_on = fingerprint(plan)
        self._earlier = [] if saved is None else saved.history(self._ran_on)
        self._gates = json.dumps({name: asdict(gate) for name, gate in plan.gates.items()}, ensure_ascii=False)
        self._states = [] if saved is None else [saved.path]
        for part in self._folder.glob(".*.part"):
            part.unlink()
        content = {"metrics_bytes": 0, "timing_bytes": 0} if saved is None else saved.content
        self._metrics = _Stream(self._folder / record.METRICS, content["metrics_bytes"])
        self._timing = _Stream(self._folder / record.TIMING, content["timing_bytes"])
        self._hasher = hashlib.sha256(b"" if saved is None else saved.metrics)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._metrics.close()
        self._timing.close()

    def stream(self, evaluation: Evaluation, rate: float) -> None:
        """Write one evaluation of every replica, and how many model steps per second led to it."""
        lines = b"".join(metrics_lines(self._job, evaluation))
        self._hasher.update(lines)
        self._metrics.write(lines)
        timing = {"seeds": list(self._job), "step": evaluation.step, "model_steps_per_second": round(rate, 2)}
        self._timing.write(json.dumps(timing, separators=(",", ":")).encode() + b"\n")

    def keep(self, state: State, evaluation: Evaluation) -> None:
        """Write the checkpoints of this evaluation, before a state says that its step has been passed."""
        scores, last_steps = evaluation.metrics[score_of(self._plan.experiment)], state.last_steps()
        for seed, flat_P, step, score in zip(self._job, state.weights_RP, last_steps, scores, strict=True):
            data = replica_bytes(self._plan, seed, flat_P, step, score)
            stem = f"step-{evaluation.step}.seed-{seed}"
            written = write_hashed(self._folder, stem, data)
            for other in self._folder.glob(f"{stem}.*.pt"):  # of another fingerprint, or damaged
                if other != written:
                    other.unlink()

    def save(self, state: State) -> None:
        """Save the state if it is not the one saved last, and remove what the newest two no longer need."""
        if self._states and _updates(self._states[-1]) == state.step:
            return
        content = state.as_dict() | {
            "metrics_bytes": self._metrics.length,
            "metrics_sha256": self._hasher.hexdigest(),
            "timing_bytes": self._timing.length,
            "fingerprint": self._ran_on,
            "earlier": self._earlier,
            "gates": self._gates,
        }
        self._metrics.sync()  # a state must not outlive the metrics that it knows of
        written = write_hashed(self._folder, f"state-{state.step}", state_bytes(content))
        self._states = [*self._states, written][-KEPT_STATES:]
        for path in self._folder.glob("state-*.pt"):
            if path not in self._states and path.is_file():  # a folder of that name is somebody else's
                path.unlink()
        if self._plan.keep is not None:
            needed = {step for path in self._states for step in self._plan.kept(_updates(path))}
            for path in self._folder.glob("step-*.pt"):
                if not any(path.name.startswith(f"step-{step}.") for step in needed):
                    path.unlink()


def metrics_lines(job: tuple[int, ...], evaluation: Evaluation) -> list[bytes]:
    """An evaluation as lines of `metrics.jsonl`, one per replica that has not diverged."""
    return [
        record.metrics_line(
            seed, evaluation.step, {name: column[replica] for name, column in evaluation.metrics.items()}
        )
        for replica, seed in enumerate(job)
        if not evaluation.diverged[replica]
    ]


class _Stream:
    """A file that grows line by line; cut to `length` when it is opened."""

    def __init__(self, path: Path, length: int) -> None:
        self._path = path
        with writing(path):
            self._file = path.open("ab")
            # Clock readings may have got lost: then there is less to cut.
            self.length = min(length, path.stat().st_size)
            self._file.truncate(self.length)

    def write(self, data: bytes) -> None:
        """Append whole lines.

        Raises:
            InputError: the disk refuses; what was written of them will be cut off.
        """
        with writing(self._path):
            self._file.write(data)
            self._file.flush()
        self.length += len(data)

    def sync(self) -> None:
        """Wait until all of it is on the disk.

        Raises:
            InputError: the disk refuses.
        """
        with writing(self._path):
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Let go of the file; all that a state knows of is on the disk, and what a failed write left does not count."""
        with suppress(OSError):
            self._file.close()

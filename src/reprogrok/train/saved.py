"""The saved work of one job: any changed byte is detected before parsing, and one damaged file costs little.

    state-<updates>.<sha256>.pt        the state from which training resumes, the newest two
    step-<step>.seed-<seed>.<sha256>.pt    requested checkpoints, as they will be published
    metrics.jsonl, timing.jsonl        streamed; a state holds their lengths, and the hash of the metrics up to there

The hash in a name is that of the whole file, so one rename makes both appear. A state verifies if its bytes have that
hash, the metrics that it covers are present and unchanged, and so is every requested checkpoint of an earlier step.
Training resumes from the newest state that verifies and writes the rest again, to the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Self, TypedDict, cast

from torch import Tensor

from reprogrok import record
from reprogrok.errors import InputError, RecordError
from reprogrok.files import hash_in_name, sha256_bytes, write_hashed, writing
from reprogrok.formats.checkpoints import MAX_STATE_BYTES, checkpoint_bytes, load_state, state_bytes
from reprogrok.formats.origins import Origin
from reprogrok.schema import read_bytes
from reprogrok.spec.task import AdditionTask
from reprogrok.train.engine import EngineState, StateContent, StepEvaluation
from reprogrok.train.training_task import score_of
from reprogrok.train.update import Layout
from reprogrok.train.work import Fingerprint, Job, TrainingPlan, fingerprint, folder_of

KEPT_STATES = 2


class PastFingerprint(TypedDict):
    """A fingerprint under which a job ran before, and the number of updates made by then."""

    until_step: int
    fingerprint: Fingerprint


class SavedContent(StateContent):
    """A saved state: that of the engine, and what the work around it needs.

    Attributes:
        metrics_bytes: the length of the metrics up to this state.
        metrics_sha256: the hash of those bytes.
        timing_bytes: the length of the timing up to this state.
        fingerprint: the fingerprint under which it was saved.
        earlier: the fingerprints before that.
        gates: the criteria registered before the first step, as JSON.
    """

    metrics_bytes: int
    metrics_sha256: str
    timing_bytes: int
    fingerprint: Fingerprint
    earlier: list[PastFingerprint]
    gates: str


@dataclass(frozen=True)
class SavedWork:
    """A saved state that verified.

    Attributes:
        path: its file.
        content: its content.
        metrics: the bytes of the metrics up to this state.
    """

    path: Path
    content: SavedContent
    metrics: bytes

    @property
    def step(self) -> int:
        """The number of updates made."""
        return self.content["step"]

    def history(self, now: Fingerprint) -> list[PastFingerprint]:
        """Return the fingerprints of this work before `now`."""
        before: PastFingerprint = {"until_step": self.step, "fingerprint": self.content["fingerprint"]}
        return [*self.content["earlier"], *([before] if record.changes(before["fingerprint"], now) else [])]


def saved_work(plan: TrainingPlan, job: Job) -> tuple[SavedWork | None, list[str]]:
    """Return the newest saved state that verifies, None before the first, and why newer ones were passed over.

    Raises:
        RecordError: there are states, and none of them verifies.
    """
    folder = folder_of(plan, job)
    refused: list[str] = []
    for path in sorted(folder.glob("state-*.pt"), key=_updates, reverse=True):
        try:
            return _verified(plan, job, path), refused
        except InputError as error:
            refused.append(str(error))
    if refused:
        raise RecordError(f"cannot resume from any saved state ({refused[0]}); remove {folder} to start again")
    return None, []


def _updates(path: Path) -> int:
    match = re.match(r"state-(\d+)\.", path.name)
    return -1 if match is None else int(match[1])


def _verified(plan: TrainingPlan, job: Job, path: Path) -> SavedWork:
    loaded, keys = load_state(path, hash_in_name(path)), SavedContent.__required_keys__
    if set(loaded) != keys:
        expected, found = (", ".join(sorted(map(str, names))) for names in (keys, loaded))
        raise RecordError("not the saved work of a run", path=path, expected=expected, found=found)
    content = cast("SavedContent", loaded)  # its bytes are those that `Journal.save` wrote
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
    return SavedWork(path, content, metrics)


def kept_checkpoint(folder: Path, seed: int, step: int) -> bytes:
    """Return the bytes of a requested checkpoint of an earlier step.

    Raises:
        RecordError: it is missing or damaged.
    """
    found = list(folder.glob(f"step-{step}.seed-{seed}.*.pt"))
    for path in found:
        data = read_bytes(path)
        if sha256_bytes(data) == hash_in_name(path):
            return data
    trouble = "is damaged" if found else "was not kept"
    raise RecordError(f"the checkpoint of step {step}, seed {seed}, {trouble}", path=folder)


def take_up(plan: TrainingPlan, warn: Callable[[str], None]) -> TrainingPlan:
    """Check all saved work before the first step; return the plan with the criteria that the work registered.

    Raises:
        RecordError: a job has saved states, and training cannot resume from any of them.
        InputError: a job has already passed the step where the run is to end.
    """
    registered: dict[Path, str] = {}
    for job in plan.jobs():
        folder = folder_of(plan, job)
        saved, refused = saved_work(plan, job)
        if saved is None:
            continue
        for reason in refused:
            warn(f"passed over: {reason}; resuming from step {saved.step:,}")
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


def _check_fingerprint(plan: TrainingPlan, folder: Path, saved: SavedWork) -> None:
    """Refuse work of another machine or version: the run's bits would be those of neither."""
    changed = record.changes(saved.content["fingerprint"], fingerprint(plan))
    if changed and not plan.allow_fingerprint_change:
        raise RecordError(
            f"the work begun here ran under another fingerprint ({'; '.join(changed)}); remove it to start again, or"
            " resume it with --allow-fingerprint-change, which the record will say",
            path=folder,
        )


def replica_bytes(plan: TrainingPlan, seed: int, flat_P: Tensor, step: int, score: float | None) -> bytes:
    """Return the checkpoint of one replica as bytes, from its flat row of weights."""
    experiment = plan.experiment
    views = Layout(experiment.model).views(flat_P.unsqueeze(0))
    weights = {name: view[0] for name, view in views.items()}
    task = experiment.task
    digits, modular = (task.digits, None) if isinstance(task, AdditionTask) else (None, task)
    origin = Origin(experiment.name, digits, seed, experiment.digest(), modular, experiment.block)
    return checkpoint_bytes(experiment.model, weights, origin, step, score)


class Journal:
    """Writes the work of one job while it trains; the caller holds the job's lock.

    Anything that a crash left beyond the saved state is cut off, or written again to the same bytes.
    """

    def __init__(self, plan: TrainingPlan, job: Job, saved: SavedWork | None) -> None:
        self._plan, self._job, self._folder = plan, job, folder_of(plan, job)
        self._ran_on = fingerprint(plan)
        self._earlier = [] if saved is None else saved.history(self._ran_on)
        self._gates = json.dumps({name: asdict(gate) for name, gate in plan.gates.items()}, ensure_ascii=False)
        self._states = [] if saved is None else [saved.path]
        for part in self._folder.glob(".*.part"):
            part.unlink()
        metrics, timing = (0, 0) if saved is None else (saved.content["metrics_bytes"], saved.content["timing_bytes"])
        self._metrics = _Stream(self._folder / record.METRICS, metrics)
        self._timing = _Stream(self._folder / record.TIMING, timing)
        self._hasher = hashlib.sha256(b"" if saved is None else saved.metrics)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._metrics.close()
        self._timing.close()

    def stream(self, evaluation: StepEvaluation, rate: float) -> None:
        """Write one evaluation of every replica, and the rate so far in model-steps per second."""
        lines = b"".join(metrics_lines(self._job, evaluation))
        self._hasher.update(lines)
        self._metrics.write(lines)
        timing = {"seeds": list(self._job), "step": evaluation.step, "model_steps_per_second": round(rate, 2)}
        self._timing.write(json.dumps(timing, separators=(",", ":")).encode() + b"\n")

    def keep(self, state: EngineState, evaluation: StepEvaluation) -> None:
        """Write the checkpoints of this evaluation, before any state that has passed its step."""
        scores, last_steps = evaluation.metrics[score_of(self._plan.experiment)], state.last_steps()
        for seed, flat_P, step, score in zip(self._job, state.weights_RP, last_steps, scores, strict=True):
            data = replica_bytes(self._plan, seed, flat_P, step, score)
            stem = f"step-{evaluation.step}.seed-{seed}"
            written = write_hashed(self._folder, stem, data)
            for other in self._folder.glob(f"{stem}.*.pt"):  # one of another fingerprint, or damaged
                if other != written:
                    other.unlink()

    def save(self, state: EngineState) -> None:
        """Save the state unless it was saved last, and remove the files that the newest two no longer need."""
        if self._states and _updates(self._states[-1]) == state.step:
            return
        content: SavedContent = {
            **state.content(),
            "metrics_bytes": self._metrics.length,
            "metrics_sha256": self._hasher.hexdigest(),
            "timing_bytes": self._timing.length,
            "fingerprint": self._ran_on,
            "earlier": self._earlier,
            "gates": self._gates,
        }
        self._metrics.sync()  # a state must not outlive the metrics that it covers
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


def metrics_lines(job: Job, evaluation: StepEvaluation) -> list[bytes]:
    """Return an evaluation as lines of `metrics.jsonl`, one per replica that has not diverged."""
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
            # timing.jsonl is never flushed to the disk: a crash may have lost its end.
            self.length = min(length, path.stat().st_size)
            self._file.truncate(self.length)

    def write(self, data: bytes) -> None:
        """Append whole lines.

        Raises:
            InputError: the disk refuses; a line written in part is cut off on resuming.
        """
        with writing(self._path):
            self._file.write(data)
            self._file.flush()
        self.length += len(data)

    def sync(self) -> None:
        """Flush the file to the disk.

        Raises:
            InputError: the disk refuses.
        """
        with writing(self._path):
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file; a failure costs nothing, because the bytes that a state covers are on the disk."""
        with suppress(OSError):
            self._file.close()

"""Checkpoints of a replica + rows of its sets -> snapshots with rank, entropy and Fourier measures.

    RUN/seed-N/step-S.pt, best.pt, last.pt --first 256 test rows, whole or in parts---> published keys of a Snapshot
                                           --first 10 x 256 test rows, likewise-------> its alternatives, as in training
                                           --all pairs of a sum or difference, likewise--> its Fourier measures

The first 256 test rows, in the order of the split, are the first batch of the published post-analysis. Where memory is
full, fewer rows are read at a time, with the same result. The Fourier measures of every snapshot use the key
frequencies of the last one, as in the paper (`metrics.fourier`).
Axes: T positions   N rows or pairs   P residues   D width
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from reprogrok import record
from reprogrok.errors import InputError
from reprogrok.formats.checkpoints import Checkpoint, load_checkpoint
from reprogrok.metrics import fourier, registry, representation
from reprogrok.metrics.representation import BATCH, BATCHES, Representation, represent
from reprogrok.record import Record
from reprogrok.runs.analysis import Analysis, block_of, task_of
from reprogrok.runs.snapshots import (
    CHECKPOINTS,
    NOTHING,
    KeyFrequencies,
    RunSnapshots,
    Snapshot,
    logged_snapshots,
    unmeasured,
)
from reprogrok.schema import load
from reprogrok.spec.task import ModularTask
from reprogrok.tasks.modular import Modular
from reprogrok.tasks.modular_tokens import token_columns
from reprogrok.tasks.splits import make_split

T = TypeVar("T")

# A full memory of a CPU or of MPS is a plain RuntimeError of torch (2.x): only the text tells it from other faults.
_FULL = ("out of memory", "not enough memory", "can't allocate memory")


def snapshots_of(analysis: Analysis, device: torch.device) -> RunSnapshots:
    """Return the snapshots of a replica: its checkpoints, or those that its logs hold.

    Raises:
        InputError: the summary, the spec or the last checkpoint of the run cannot be read.
    """
    run = analysis.run
    if run.layout != "reprogrok":
        return logged_snapshots(analysis)
    if (task := task_of(run)) is None:
        note = "rank and entropy of snapshots are measured for modular tasks alone: analysed from its evaluations"
        return RunSnapshots(NOTHING, (), unmeasured, {}, (note,))
    files = checkpoint_files(run, analysis.seed)
    tokens_TN, answer = first_test_rows(task, BATCHES * BATCH)
    positions = len(tokens_TN) - 1
    definitions = {
        "representation_rank": representation.definition(representation.RANK_FIRST_BATCH, positions),
        "attention_entropy": representation.definition(representation.ENTROPY_CLAMPED, positions),
    }
    waves = _waves_of(task, files, device, block_of(run))

    def measure(step: int) -> Snapshot:
        checkpoint = load_checkpoint(files[step])
        (first, seen), rows = whole_or_in_parts(
            lambda rows: _represent(checkpoint, tokens_TN, answer, rows, device), BATCH
        )
        notes = [_in_parts(rows, BATCH, "rows")]
        measures = None
        if isinstance(waves, _Waves):
            measures, rows = waves.measure(checkpoint, step)
            notes.append(_in_parts(rows, fourier.ROWS, "pairs"))
        return Snapshot(
            step=step,
            representation_rank=first.rank()[0].tolist(),
            singular_values=first.singular_RSK[0, :-1].tolist(),
            attention_entropy=first.entropy_clamped_RLH[0].tolist(),
            note="; ".join(filter(None, notes)),
            examples=seen.examples,
            alternatives=_alternatives(seen, positions),
            fourier=measures,
        )

    keys = waves.keys if isinstance(waves, _Waves) else waves
    return RunSnapshots(CHECKPOINTS, tuple(sorted(files)), measure, definitions, (), keys)


def checkpoint_files(run: Record, seed: int) -> dict[int, Path]:
    """Map steps to the checkpoints of a replica; of several at one step, the one that is named after it.

    Raises:
        InputError: the summary cannot be read.
    """
    summary = load(run.path / record.SUMMARY, "summary").data
    replica = next(entry for entry in summary["replicas"] if entry["seed"] == seed)
    folder = f"seed-{seed}"
    named = {"last.pt": max(replica["steps"] - 1, 0), "best.pt": replica["best_step"]}
    found = {step: run.path / folder / name for name, step in named.items()}
    for name in summary["files"]:
        place = Path(name)
        if place.parent.name == folder and place.stem.startswith("step-"):
            found[int(place.stem.removeprefix("step-"))] = run.path / place
    return found


def first_test_rows(task: ModularTask, rows: int = BATCH) -> tuple[Tensor, int]:
    """Return the first rows of the test side as columns (T + 1, rows), and the position that predicts the answer.

    Raises:
        InputError: the task or its split cannot be.
    """
    modular = Modular(task.operation, task.modulus, task.format)
    equations, first_N = modular.equations(), make_split(task).test_N[:rows]
    a_B, b_B = (torch.tensor(operand_N[first_N]) for operand_N in (equations.a_N, equations.b_N))
    return token_columns(modular, a_B, b_B), modular.first_answer


def whole_or_in_parts(work: Callable[[int], T], rows: int) -> tuple[T, int]:
    """Return the result of `work(rows)`, with half as many rows while memory is full, and the number of rows.

    Raises:
        InputError: memory does not suffice for a single row.
    """
    while True:
        try:
            return work(rows), rows
        except (MemoryError, RuntimeError) as error:
            typed = isinstance(error, MemoryError | torch.OutOfMemoryError)
            if not typed and not any(text in str(error) for text in _FULL):
                raise
            if rows == 1:
                raise InputError(
                    "out of memory, even for one row at a time",
                    field="--device",
                    expected="another device, such as cpu",
                ) from error
        rows //= 2  # outside the handler, so that what the failed attempt held is free
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _in_parts(rows: int, wanted: int, noun: str) -> str:
    return "" if rows == wanted else f"memory did not suffice for {wanted} {noun} at once; read {rows} at a time"


def _represent(
    checkpoint: Checkpoint, tokens_TN: Tensor, answer: int, rows: int, device: torch.device
) -> tuple[Representation, Representation]:
    """Measure the first batch, and all rows."""
    weights, tokens_TN = _weights(checkpoint, device), tokens_TN.to(device)

    def of(tokens_TN: Tensor) -> Representation:
        batches = -(-tokens_TN.shape[1] // rows)
        return represent(checkpoint.spec, weights, tokens_TN, answer, batches=batches, rows=rows)

    first = of(tokens_TN[:, :BATCH])
    return first, first if tokens_TN.shape[1] <= BATCH else of(tokens_TN)


def _weights(checkpoint: Checkpoint, device: torch.device) -> dict[str, Tensor]:
    return {name: tensor.unsqueeze(0).to(device) for name, tensor in checkpoint.weights.items()}


def _alternatives(seen: Representation, positions: int) -> dict[str, list[float | list[float]]]:
    """Return the values by every definition but the two of the published keys."""
    found = {
        registry.RANK: seen.rank(),
        registry.RANK_AFTER: seen.rank_after(),
        registry.ENTROPY_RANK: seen.entropy_rank(),
        registry.PARTICIPATION_RATIO: seen.participation_ratio(),
        registry.ENTROPY: seen.entropy_RLH,
        registry.ANSWER_ENTROPY: seen.answer_entropy_RLH,
    }
    return {representation.definition(name, positions): values[0].tolist() for name, values in found.items()}


class _SnapshotLogits(NamedTuple):
    """The input of the Fourier measures of one snapshot, and the number of pairs read at a time."""

    grid: fourier.Grid
    embedding_PD: Tensor
    rows: int


class _Waves:
    """The Fourier measures of the snapshots of a replica.

    Args:
        task: a sum or difference.
        last: the last checkpoint.
        step: step of the last checkpoint.
        device: device of the forward passes.
        block: rows of a batch if batches are fixed blocks: training pairs are those that fill one.
    """

    def __init__(
        self, task: ModularTask, last: Checkpoint, step: int, device: torch.device, *, block: int | None
    ) -> None:
        self._modular, self._device = Modular(task.operation, task.modulus, task.format), device
        split = make_split(task).in_blocks(block)
        self._train_N, self._test_N = torch.tensor(split.train_N), torch.tensor(split.test_N)
        self._last, self._step = self._answers(last), step
        self._frequencies = fourier.key_frequencies(fourier.logit_energy(self._last.grid))
        sets = {"train": len(split.train_N), "test": len(split.test_N), "all": self._modular.problems}
        p = self._last.grid.modulus
        shown = self._measured(self._last)
        self.keys = KeyFrequencies(p, self._frequencies, step, shown, sets | {"residues": p})

    def measure(self, checkpoint: Checkpoint, step: int) -> tuple[fourier.FourierMeasures, int]:
        """Return the measures of one snapshot, and the number of pairs per pass."""
        if step == self._step:
            return self.keys.last, self._last.rows
        answers = self._answers(checkpoint)
        return self._measured(answers), answers.rows

    def _answers(self, checkpoint: Checkpoint) -> _SnapshotLogits:
        def work(rows: int) -> Tensor:
            return fourier.answer_logits(checkpoint.spec, _weights(checkpoint, self._device), self._modular, rows)

        answer_1VN, rows = whole_or_in_parts(work, fourier.ROWS)
        (grid,) = fourier.grids(answer_1VN, self._modular.equations(), self._modular.modulus)
        return _SnapshotLogits(grid, checkpoint.weights["token_emb.weight"][: grid.modulus], rows)

    def _measured(self, answers: _SnapshotLogits) -> fourier.FourierMeasures:
        return fourier.fourier_measures(
            answers.grid, answers.embedding_PD, self._frequencies, self._train_N, self._test_N
        )


def _waves_of(
    task: ModularTask, files: Mapping[int, Path], device: torch.device, block: int | None = None
) -> _Waves | str:
    """Return the measures of a sum or difference, or the reason why there are none."""
    equations = Modular(task.operation, task.modulus, task.format).equations()
    try:
        fourier.check_waves(equations, task.modulus)
    except InputError as error:
        return f"{error} ({task.operation})"
    step = max(files)
    return _Waves(task, load_checkpoint(files[step]), step, device, block=block)

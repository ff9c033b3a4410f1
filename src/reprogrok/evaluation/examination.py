"""A checkpoint -> the task it was trained for, and an `Examinee` that answers problems of that task."""

from __future__ import annotations

import torch

from reprogrok.errors import CheckpointError, InputError, located
from reprogrok.exam.exam import Examinee, Task
from reprogrok.formats.checkpoints import Checkpoint
from reprogrok.spec.experiment import Experiment
from reprogrok.spec.task import AdditionTask, ModularTask
from reprogrok.tasks.addition import VOCABULARY, Addition
from reprogrok.tasks.split_modular import SplitModular
from reprogrok.tasks.splits import make_split


def task_of(checkpoint: Checkpoint, experiment: Experiment | None) -> Task:
    """Return the task of a checkpoint: from the file, else from the experiment, else implied by the model's shape.

    A modular task includes its split, which determines the held-out equations.

    Raises:
        CheckpointError: the task is unknown, file and experiment disagree, the shape does not fit the task, or the task
            in the file is not possible.
        InputError: the task of the experiment is not possible.
    """
    own, named = _own_task(checkpoint), None if experiment is None else _named_task(experiment)
    if own is not None and named is not None and own != named:
        raise CheckpointError(
            "the file names its own task; leave out --experiment", path=checkpoint.path,
            expected=task_text(own), found=task_text(named),
        )  # fmt: skip
    spec = checkpoint.spec
    task = own or named
    shape = f"vocabulary {spec.vocab_size} and length {spec.max_seq_len}"
    if task is None and (spec.vocab_size, spec.max_seq_len) == (VOCABULARY, Addition().positions):
        task = Addition()
    if task is None:
        raise CheckpointError(
            "the file does not name its task; name it with --experiment", path=checkpoint.path,
            expected=f"vocabulary {VOCABULARY} and length {Addition().positions} (ten-digit addition)", found=shape,
        )  # fmt: skip
    vocabulary = task.vocabulary if isinstance(task, SplitModular) else VOCABULARY
    if spec.vocab_size != vocabulary or spec.max_seq_len < task.positions:
        name = f"{task.name} in {task.format}" if isinstance(task, SplitModular) else task_text(task)
        raise CheckpointError(
            f"the model cannot hold {name}", path=checkpoint.path,
            expected=f"vocabulary {vocabulary} and length at least {task.positions}", found=shape,
        )  # fmt: skip
    return task


def task_text(task: Task) -> str:
    """Describe a task: `10-digit addition`, or `add mod 97 in llmc8, random 0.5 seed 42`."""
    if isinstance(task, SplitModular):
        return f"{task.name} in {task.format}, {task.split_name}"
    return f"{task.digits}-digit addition"


def examinee(checkpoint: Checkpoint, task: Task, device: torch.device) -> Examinee:
    """Move the model of a checkpoint to a device."""
    return Examinee(checkpoint.spec, checkpoint.weights, task, device)


def _own_task(checkpoint: Checkpoint) -> Task | None:
    origin = checkpoint.origin
    if origin is None or origin.task is None:
        return None if origin is None or origin.digits is None else Addition(origin.digits)
    try:
        return _modular(origin.task, origin.block)
    except InputError as error:
        refused = CheckpointError(error.message, expected=error.expected, found=error.found)
        raise refused.at(checkpoint.path, f"$.reprogrok{(error.field or '$').removeprefix('$')}") from error


def _named_task(experiment: Experiment) -> Task:
    if isinstance(experiment.task, AdditionTask):
        return Addition(experiment.task.digits)
    with located(None, f"$.experiments.{experiment.name}"):
        return _modular(experiment.task, experiment.block)


def _modular(task: ModularTask, block: int | None) -> SplitModular:
    make_split(task).in_blocks(block)  # refuses an impossible split before anything is examined
    return SplitModular.of(task, block)

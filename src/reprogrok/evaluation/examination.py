"""A checkpoint -> its evaluation: which task it is for, the exams it sits, and the document that records them.

The document follows `evaluation.schema.json` and keeps the block `multi_seed_validation` of the published evaluation
script, so that what reads those files can read ours (addition alone: no other task has it). It carries every failing
problem: two evaluations of one exam can be compared problem by problem.
"""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reprogrok import __version__
from reprogrok.certificate.certified import Certified, agreement, sampled
from reprogrok.errors import CheckpointError, InputError
from reprogrok.exam.exam import HELD_OUT, Examinee, ExamResult, Score, Task
from reprogrok.formats.checkpoints import Checkpoint
from reprogrok.metrics.grokking import chance
from reprogrok.model.device import environment
from reprogrok.model.shapes import count_parameters
from reprogrok.spec import AdditionTask, Experiment, ModularTask
from reprogrok.stats.statistics import Proportion, proportion
from reprogrok.tasks.addition import VOCABULARY, Addition
from reprogrok.tasks.split_modular import SplitModular
from reprogrok.tasks.splits import make_split

if TYPE_CHECKING:
    import torch

FORMAT = "reprogrok.evaluation/1"


def task_of(checkpoint: Checkpoint, experiment: Experiment | None) -> Task:
    """What the model was trained to do: its own word, else the named experiment's, else what its shape can only mean.

    A modular task comes with its split, which says what was held out.

    Raises:
        CheckpointError: nobody says, two say different things, the shape cannot hold the task, or a task in the file
            cannot be.
        InputError: the named experiment's task cannot be.
    """
    own, named = _own_task(checkpoint), None if experiment is None else _named_task(experiment)
    if own is not None and named is not None and own != named:
        raise CheckpointError(
            "the file says what it is for; leave out --experiment", path=checkpoint.path,
            expected=task_text(own), found=task_text(named),
        )  # fmt: skip
    spec = checkpoint.spec
    task = own or named
    if task is None and (spec.vocab_size, spec.max_seq_len) == (VOCABULARY, Addition().positions):
        task = Addition()
    if task is None:
        raise CheckpointError(
            "the file does not say what it is for; name its task with --experiment", path=checkpoint.path,
            expected=f"vocabulary {VOCABULARY} and length {Addition().positions} (ten-digit addition)",
            found=f"vocabulary {spec.vocab_size} and length {spec.max_seq_len}",
        )  # fmt: skip
    vocabulary = task.vocabulary if isinstance(task, SplitModular) else VOCABULARY
    if spec.vocab_size != vocabulary or spec.max_seq_len < task.positions:
        name = f"{task.name} in {task.format}" if isinstance(task, SplitModular) else f"{task.digits}-digit addition"
        raise CheckpointError(
            f"the model cannot hold {name}", path=checkpoint.path,
            expected=f"vocabulary {vocabulary} and length at least {task.positions}",
            found=f"vocabulary {spec.vocab_size} and length {spec.max_seq_len}",
        )  # fmt: skip
    return task


def task_text(task: Task) -> str:
    """A task in a few words: `10-digit addition`, or `add mod 97 in llmc8, random 0.5 seed 42`."""
    if isinstance(task, SplitModular):
        return f"{task.name} in {task.format}, {task.split_name}"
    return f"{task.digits}-digit addition"


def _own_task(checkpoint: Checkpoint) -> Task | None:
    origin = checkpoint.origin
    if origin is None or origin.task is None:
        return None if origin is None or origin.digits is None else Addition(origin.digits)
    try:
        return _modular(origin.task, origin.block)
    except InputError as error:
        raise CheckpointError(
            error.message, path=checkpoint.path, field=_inside("reprogrok", error.field), expected=error.expected,
            found=error.found,
        ) from error  # fmt: skip


def _named_task(experiment: Experiment) -> Task:
    if isinstance(experiment.task, AdditionTask):
        return Addition(experiment.task.digits)
    try:
        return _modular(experiment.task, experiment.block)
    except InputError as error:
        field = _inside(f"experiments.{experiment.name}", error.field)
        raise InputError(error.message, field=field, expected=error.expected, found=error.found) from error


def _modular(task: ModularTask, block: int | None) -> SplitModular:
    make_split(task).in_blocks(block)  # refuses what cannot be split, before anything is examined
    return SplitModular.of(task, block)


def _inside(place: str, field: str | None) -> str:
    """`$.task.modulus` -> `$.experiments.NAME.task.modulus`."""
    return f"$.{place}{'' if field is None else field.removeprefix('$')}"


def examinee(checkpoint: Checkpoint, task: Task, device: torch.device) -> Examinee:
    """The model of a checkpoint on a device."""
    return Examinee(checkpoint.spec, checkpoint.weights, task, device)


def document(checkpoint: Checkpoint, results: list[ExamResult], device: torch.device) -> dict[str, Any]:
    """The evaluation as plain data, ready for JSON."""
    written: dict[str, Any] = {
        "format": FORMAT,
        "reprogrok": __version__,
        "checkpoint": describe(checkpoint),
        "environment": environment(device),
        "suites": {result.exam.suite: _suite(result) for result in results},
    }
    for result in results:
        if isinstance(result.exam.task, SplitModular):
            written["task"] = result.exam.task.as_dict()
        if result.exam.suite == "uniform":
            written["multi_seed_validation"] = _published_block(result)
    return written


def with_certificate(evaluation: dict[str, Any], certified: Certified) -> dict[str, Any]:
    """The evaluation with what is certified of the same weights, and whether both can be true."""
    seen = agreement(certified.stated.wrong, sampled(evaluation["suites"]))
    block = certified.as_block(certified.path.as_posix()) | {"sample": None if seen is None else seen.value}
    return evaluation | {"certificate": block}


def describe(checkpoint: Checkpoint) -> dict[str, Any]:
    """What the file is and claims, beside what was counted."""
    return {
        "path": Path(checkpoint.path).as_posix(),
        "sha256": checkpoint.sha256,
        "parameters": count_parameters(checkpoint.spec),
        "claimed_parameters": checkpoint.claimed_parameters,
        "claimed_val_exact": checkpoint.claimed_score,
        "step": checkpoint.step,
        "stored_dtype": checkpoint.stored_dtype,
        "model_config": checkpoint.spec.as_dict(),
        "origin": None if checkpoint.origin is None else asdict(checkpoint.origin),
    }


def _suite(result: ExamResult) -> dict[str, Any]:
    exam = result.exam
    laws = {stratum.name: stratum.law for stratum in exam.strata}
    sampled = exam.population is None
    return {
        "exam": exam.name,
        "exam_digest": exam.digest,
        "method": result.method,
        "rechecked": result.rechecked,
        **_whole_population(result),
        "total": _score(result.total, sampled=sampled and exam.suite == "uniform"),
        "strata": [
            {
                "name": name,
                "law": laws[name],
                **_score(score, sampled=sampled),
                "failures": asdict(result.failures[name]),
            }
            for name, score in result.scores.items()
        ],
    }


def _whole_population(result: ExamResult) -> dict[str, Any]:
    """What a suite says beside its scores where all problems are known."""
    task, errors = result.exam.task, result.total.errors
    if not isinstance(task, SplitModular):
        return {}
    found: dict[str, Any] = {"population": result.exam.population, "notes": list(result.exam.notes)}
    if result.exam.suite == HELD_OUT:
        guessing = chance(errors.n - errors.k, errors.n, task.values)
        found["chance"] = {
            "classes": guessing.classes,
            "right": guessing.k,
            "probability": guessing.probability,
            "definition": guessing.definition,
        }
    return found


def _score(score: Score, *, sampled: bool) -> dict[str, Any]:
    """A score as plain data; its rate has an interval where the problems are a sample of one law.

    Strata of different laws counted together are none, and neither is a set whose every problem is asked.
    """
    return {
        "n": score.errors.n,
        "errors": score.errors.k,
        "error_rate_interval": [score.errors.low, score.errors.high] if sampled else None,
        "token_accuracy": score.tokens.estimate,
        "smallest_margin": None if math.isnan(score.smallest_margin) else score.smallest_margin,
    }


def _published_block(result: ExamResult) -> dict[str, Any]:
    def exact(errors: Proportion) -> float:
        return proportion(errors.n - errors.k, errors.n).estimate

    return {
        "total_examples": result.total.errors.n,
        "num_test_sets": len(result.scores),
        "aggregate_exact_match": exact(result.total.errors),
        "aggregate_errors": result.total.errors.k,
        "per_seed": {
            name: {"exact_match": exact(score.errors), "errors": score.errors.k}
            for name, score in result.scores.items()
        },
    }

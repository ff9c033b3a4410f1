"""`reprogrok generate`: an experiment -> its held-out pairs, exams or split as files that anyone can read."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from reprogrok.errors import ExitCode
from reprogrok.exam.exam import SUITES, build_exam
from reprogrok.files import write_bytes
from reprogrok.formats.problem_files import write_problems
from reprogrok.formats.shards import shards_of
from reprogrok.params import read_params
from reprogrok.spec.task import AdditionTask, ModularTask
from reprogrok.tasks.addition import Addition
from reprogrok.tasks.holdout import hold_out
from reprogrok.tasks.protocols import PROTOCOL
from reprogrok.tasks.split_problems import SPLIT_FILE, split_name, split_rows, split_sets


def run(experiment: str, *, out: Path | None, params: Path) -> ExitCode:
    """Write the data of an experiment.

    Raises:
        InputError: the experiment is unknown, or its split is not possible.
    """
    read = read_params(params)
    chosen = read.experiment(experiment, params)
    folder = out or Path("data") / chosen.name
    if isinstance(chosen.task, AdditionTask):
        _write_addition(folder, chosen.task, chosen.seeds)
    else:
        with read.located(chosen.name):
            _write_modular(folder, chosen.task)
    return ExitCode.PASS


def _write_addition(folder: Path, task: AdditionTask, seeds: Sequence[int]) -> None:
    for seed in seeds:
        held = hold_out(seed, task.digits)
        path = folder / f"seed-{seed}.safetensors"
        write_problems(path, held.sets(), f"{PROTOCOL}, seed {seed}")
        _say(f"{path}: {len(held.validation):,} validation and {len(held.test):,} test pairs")
    for suite in SUITES:
        exam = build_exam(suite, Addition(task.digits))
        path = folder / f"exam-{suite}.safetensors"
        write_problems(path, exam.sets(), exam.name)
        _say(f"{path}: {len(exam):,} problems of {exam.name}, digest {exam.digest[:16]}")


def _write_modular(folder: Path, task: ModularTask) -> None:
    sets = split_sets(task)
    write_problems(folder / SPLIT_FILE, sets, split_name(task))
    _say(f"{folder}/{SPLIT_FILE}: " + ", ".join(f"{len(pairs):,} {name}" for name, pairs in sets.items()))
    if task.format == "llmc8":
        for name, rows_NT in split_rows(task).items():
            write_bytes(folder / f"{name}.bin", shards_of(rows_NT))
            _say(f"{folder}/{name}.bin: {rows_NT.size:,} tokens, a shard of llm.c")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")

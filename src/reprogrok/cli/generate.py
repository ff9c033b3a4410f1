"""`reprogrok generate EXPERIMENT`: write the data of an experiment, in files that others can read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reprogrok.cli.options import PARAMS

if TYPE_CHECKING:
    from reprogrok.spec import AdditionTask, ModularTask


def generate(
    experiment: Annotated[str, typer.Argument(metavar="EXPERIMENT", help="A name in params.yaml.", show_default=False)],
    out: Annotated[Path | None, typer.Option(help="Folder to write to.", show_default="data/EXPERIMENT")] = None,
    params: PARAMS = Path("params.yaml"),
) -> None:
    """Write the data of an experiment: what is held out of training, and what checkpoints are examined on.

    Addition: every seed's held-out pairs and the problems of both exams, as safetensors files. A modular task: its
    split, and for the format llmc8 the shards that llm.c reads. `train --data` and `eval --data` read the safetensors
    files back and refuse anything but the very problems of the protocol.
    """
    from reprogrok.params import read_params
    from reprogrok.spec import AdditionTask

    read = read_params(params)
    chosen = read.experiment(experiment, params)
    folder = out or Path("data") / chosen.name
    if isinstance(chosen.task, AdditionTask):
        _write_addition(folder, chosen.task, chosen.seeds)
        return
    with read.placed(chosen.name):
        _write_modular(folder, chosen.task)


def _write_addition(folder: Path, task: AdditionTask, seeds: tuple[int, ...]) -> None:
    from reprogrok.exam.exam import SUITES, build_exam
    from reprogrok.formats.problem_files import write_problems
    from reprogrok.tasks.addition import Addition
    from reprogrok.tasks.holdout import hold_out
    from reprogrok.tasks.protocols import PROTOCOL

    for seed in seeds:
        held = hold_out(seed, task.digits)
        write_problems(folder / f"seed-{seed}.safetensors", held.sets(), f"{PROTOCOL}, seed {seed}")
        typer.echo(
            f"{folder}/seed-{seed}.safetensors: {len(held.validation):,} validation and {len(held.test):,} test pairs"
        )
    for suite in SUITES:
        exam = build_exam(suite, Addition(task.digits))
        write_problems(folder / f"exam-{suite}.safetensors", exam.sets(), exam.name)
        count = sum(len(pairs) for pairs in exam.sets().values())
        typer.echo(f"{folder}/exam-{suite}.safetensors: {count:,} problems of {exam.name}, digest {exam.digest[:16]}")


def _write_modular(folder: Path, task: ModularTask) -> None:
    from reprogrok.files import write_bytes
    from reprogrok.formats.problem_files import write_problems
    from reprogrok.formats.shards import shards_of
    from reprogrok.tasks.split_problems import SPLIT_FILE, split_name, split_rows, split_sets

    sets = split_sets(task)
    write_problems(folder / SPLIT_FILE, sets, split_name(task))
    typer.echo(f"{folder}/{SPLIT_FILE}: " + ", ".join(f"{len(pairs):,} {name}" for name, pairs in sets.items()))
    if task.format == "llmc8":
        for name, rows_NT in split_rows(task).items():
            write_bytes(folder / f"{name}.bin", shards_of(rows_NT))
            typer.echo(f"{folder}/{name}.bin: {rows_NT.size:,} tokens, a shard of llm.c")

"""A plan or a finished run -> tables; a run under way -> a progress bar, or plain lines where there is no terminal."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from reprogrok.measure.statistics import interval_text, proportion
from reprogrok.model.shapes import count_parameters
from reprogrok.record import SUMMARY
from reprogrok.report.console import console
from reprogrok.report.words import counted, job_text, seeds_text

if TYPE_CHECKING:
    from reprogrok.train import run
    from reprogrok.train.work import Plan

_PLAIN_EVERY = 0.1  # without a terminal, one line per job and tenth of its steps


def print_plan(plan: Plan) -> None:
    """What a run would do, field by field."""
    spec = plan.experiment
    table = Table(box=SIMPLE, show_header=False, title=f"{spec.name}: {spec.title}", title_justify="left")
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    rows = {
        "parameters": f"{count_parameters(spec.model):,}",
        "steps": f"{spec.steps:,}, evaluated after {len(spec.evaluation_steps())} of them",
        "batch": f"{spec.batch}",
        "seeds": seeds_text(plan.seeds),
        "device": f"{plan.device}, {counted(min(plan.workers, len(plan.jobs())), 'worker')}",
        "gates registered": ", ".join(plan.gates) or "none",
        "work": str(plan.work()),
        "publishes": str(plan.out),
        "spec digest": spec.digest(),
    }
    for name, value in rows.items():
        table.add_row(name, value)
    console().print(table)


def print_run(path: Path) -> None:
    """What a finished run reached, one row per seed, and how many seeds reached a validation score of 1."""
    summary: dict[str, Any] = json.loads((path / SUMMARY).read_bytes())
    replicas = summary["replicas"]
    perfect = sum(replica["first_perfect_step"] is not None for replica in replicas)
    rate = proportion(perfect, len(replicas))
    reached = f"{perfect} of {counted(len(replicas), 'seed')} reached 1.0"
    title = f"{summary['experiment']}, published in {path}: exact match on each seed's 5,000 validation pairs"
    table = Table(box=SIMPLE)
    for name in ("seed", "best", "at step", "first 1.0 at step", "last"):
        table.add_column(name, justify="right")
    for replica in replicas:
        first = replica["first_perfect_step"]
        table.add_row(
            str(replica["seed"]),
            f"{replica['best_test_exact_match']:.4f}",
            f"{replica['best_step']:,}",
            "not reached" if first is None else f"{first:,}",
            f"{replica['last_test_exact_match']:.4f}",
        )
    screen = console()
    screen.print(title, soft_wrap=True)
    screen.print(table)
    screen.print(f"{reached} (rate {interval_text(rate)}, 95 %, exact)", soft_wrap=True)


@contextmanager
def progress_display(plan: Plan) -> Iterator[Callable[[run.Progress], None]]:
    """A callback that shows what the jobs report, on stderr."""
    screen = console(stderr=True)
    total = plan.experiment.steps
    if not screen.is_terminal:
        yield _plain_lines(total)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[score]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=screen) as bars:
        tasks = {job: bars.add_task(job_text(job), total=total, score="") for job in plan.jobs()}

        def report(progress: run.Progress) -> None:
            bars.update(tasks[progress.seeds], completed=progress.step)
            if progress.evaluation is not None:
                bars.update(tasks[progress.seeds], score=_scores(progress))

        yield report


def _plain_lines(total: int) -> Callable[[run.Progress], None]:
    began = time.monotonic()
    shown: dict[tuple[int, ...], float] = {}

    def report(progress: run.Progress) -> None:
        share = progress.step / total
        soon = share - shown.get(progress.seeds, -1.0) < _PLAIN_EVERY and progress.step < total
        if progress.evaluation is None or soon:
            return
        shown[progress.seeds] = share
        seconds = time.monotonic() - began
        console(stderr=True).print(
            f"{seconds:7.0f} s  {job_text(progress.seeds)}  step {progress.step:>7,} of {total:,}  {_scores(progress)}"
        )

    return report


def _scores(progress: run.Progress) -> str:
    """The median replica's shares of exact answers and its loss; with one replica, simply its own."""
    if progress.evaluation is None:
        return ""
    middle = {name: sorted(values)[len(values) // 2] for name, values in progress.evaluation.metrics.items()}
    exact = f"exact {middle['test_exact_match']:.4f} (batch {middle['train_exact_match']:.4f})"
    return f"{exact}  loss {middle['train_loss']:.4f}"

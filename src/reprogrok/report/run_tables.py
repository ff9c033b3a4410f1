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

if TYPE_CHECKING:
    from reprogrok.train import run

_PLAIN_EVERY = 0.1  # without a terminal, one line per job and tenth of its steps


def plan_table(plan: run.Plan) -> Table:
    """What a run would do, field by field."""
    spec = plan.experiment
    table = Table(box=SIMPLE, show_header=False, title=f"{spec.name}: {spec.title}", title_justify="left")
    rows = {
        "parameters": f"{count_parameters(spec.model):,}",
        "steps": f"{spec.steps:,}, evaluated after {len(spec.evaluation_steps())} of them",
        "batch": f"{spec.batch}",
        "seeds": ", ".join(map(str, plan.seeds))
        if len(plan.seeds) <= 16
        else f"{len(plan.seeds)} from {plan.seeds[0]} to {plan.seeds[-1]}",
        "device": f"{plan.device}, {min(plan.workers, len(plan.jobs()))} process(es)",
        "gates registered": ", ".join(plan.gates) or "none",
        "work": str(plan.work()),
        "publishes": str(plan.out),
        "spec digest": spec.digest(),
    }
    for name, value in rows.items():
        table.add_row(name, value)
    return table


def run_table(path: Path) -> Table:
    """What a finished run reached, one row per seed, and how many seeds reached a validation score of 1."""
    summary: dict[str, Any] = json.loads((path / SUMMARY).read_bytes())
    replicas = summary["replicas"]
    perfect = sum(replica["first_perfect_step"] is not None for replica in replicas)
    rate = proportion(perfect, len(replicas))
    reached = f"{perfect} of {len(replicas)} seeds reached a validation exact match of 1.0"
    caption = f"{reached} (rate {interval_text(rate)}, 95 %, exact); 5,000 pairs a seed"
    table = Table(
        box=SIMPLE,
        title=f"{summary['experiment']}: {path}",
        title_justify="left",
        caption=caption,
        caption_justify="left",
    )
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
    return table


def show(table: Table) -> None:
    """Print a table on stdout."""
    console().print(table)


@contextmanager
def progress_display(plan: run.Plan) -> Iterator[Callable[[run.Progress], None]]:
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
        tasks = {job: bars.add_task(_job_name(job), total=total, score="") for job in plan.jobs()}

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
            f"{seconds:7.0f} s  {_job_name(progress.seeds)}  step {progress.step:>7,} of {total:,}  {_scores(progress)}"
        )

    return report


def _job_name(job: tuple[int, ...]) -> str:
    return f"seed {job[0]}" if len(job) == 1 else f"{len(job)} seeds"


def _scores(progress: run.Progress) -> str:
    """The median replica's accuracies; with one replica, simply its own."""
    if progress.evaluation is None:
        return ""
    middle = {name: sorted(values)[len(values) // 2] for name, values in progress.evaluation.metrics.items()}
    shown = {"validation": "test_exact_match", "batch": "train_exact_match", "loss": "train_loss"}
    return "  ".join(f"{word} {middle[name]:.4f}" for word, name in shown.items())

"""A plan or a finished run -> tables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE
from rich.table import Table

from reprogrok.console import console
from reprogrok.model.shapes import count_parameters
from reprogrok.record import FINGERPRINT, SPEC, SUMMARY
from reprogrok.stats.proportions import interval_text, proportion
from reprogrok.text import counted, fingerprint_lines, seeds_text

if TYPE_CHECKING:
    from reprogrok.train.work import Plan


def print_plan(plan: Plan) -> None:
    """What a run would do, field by field."""
    spec = plan.experiment
    table = Table(box=SIMPLE, show_header=False, title=f"{spec.name}: {spec.title}", title_justify="left")
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    rows = {
        "parameters": f"{count_parameters(spec.model):,}",
        "steps": f"{spec.steps:,}, evaluated after {len(spec.evaluation_steps())} of them",
        **({"stops after": counted(plan.end, "step")} if plan.stops_early else {}),
        **({"checkpoints": _checkpoints_text(plan)} if plan.checkpoints else {}),
        "batch": f"{spec.batch}",
        "seeds": seeds_text(plan.seeds),
        "device": f"{plan.device}, {counted(min(plan.workers, len(plan.jobs())), 'worker')}",
        "path": f"{plan.path}, {plan.deterministic}",
        "gates registered": ", ".join(plan.gates) or "none",
        "work": str(plan.work()),
        "publishes": str(plan.out),
        "spec digest": spec.digest(),
    }
    for name, value in rows.items():
        table.add_row(name, value)
    console().print(table)


def _checkpoints_text(plan: Plan) -> str:
    steps = [f"{step:,}" for step in plan.checkpoints]
    shown = ", ".join(steps) if len(steps) <= 6 else f"{', '.join(steps[:5])}, ... {steps[-1]}"
    return f"after step {shown}" + ("" if plan.keep is None else f"; the newest {plan.keep} are kept")


def print_run(path: Path) -> None:
    """What a finished run reached, one row per seed, and how many seeds reached a validation score of 1."""
    summary: dict[str, Any] = json.loads((path / SUMMARY).read_bytes())
    replicas = summary["replicas"]
    perfect = sum(replica["first_perfect_step"] is not None for replica in replicas)
    rate = proportion(perfect, len(replicas))
    reached = f"{perfect} of {counted(len(replicas), 'seed')} reached 1.0"
    spec: dict[str, Any] = json.loads((path / SPEC).read_bytes())
    examples = spec["facts"]["test_examples"]
    asked = {
        "test_exact_match": f"exact match on each seed's {examples:,} validation pairs",
        "test_accuracy": f"right answers to all {examples:,} held-out equations",
    }[summary["score"]]
    title = f"{summary['experiment']}, published in {path}: {asked}"
    table = Table(box=SIMPLE)
    for name in ("seed", "best", "at step", "first 1.0 at step", "last"):
        table.add_column(name, justify="right")
    for replica in replicas:
        first = replica["first_perfect_step"]
        table.add_row(
            str(replica["seed"]),
            _score(replica["best_score"]),
            f"{replica['best_step']:,}",
            "not reached" if first is None else f"{first:,}",
            _score(replica["last_score"]),
        )
    screen = console()
    screen.print(title, soft_wrap=True)
    screen.print(table)
    screen.print(f"{reached} (rate {interval_text(rate)}, 95 %, exact)", soft_wrap=True)
    if "stopped_at" in spec:
        done, steps = spec["stopped_at"], spec["facts"]["steps"]
        rest = "the work is kept, and the same command without --stop-at goes on from there"
        screen.print(f"stopped after {done:,} of {steps:,} steps; {rest}", soft_wrap=True)
    for replica in replicas:
        if (diverged := replica["diverged_step"]) is not None:
            screen.print(
                f"seed {replica['seed']} diverged: loss, gradient or weights not finite at step {diverged:,}",
                soft_wrap=True,
            )
    for line in fingerprint_lines(json.loads((path / FINGERPRINT).read_bytes())):
        screen.print(line, soft_wrap=True)


def _score(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"

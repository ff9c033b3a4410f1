"""The plan of a run, or a finished run -> tables."""

from __future__ import annotations

import json
from pathlib import Path

from rich.box import SIMPLE
from rich.table import Table

from reprogrok.console import console
from reprogrok.model.shapes import count_parameters
from reprogrok.record import FINGERPRINT, SPEC, SUMMARY
from reprogrok.stats.proportions import interval_text, proportion
from reprogrok.text import counted, fingerprint_lines, seeds_text
from reprogrok.train.publication import ReplicaSummary
from reprogrok.train.work import TrainingPlan


def print_plan(plan: TrainingPlan) -> None:
    """Print the plan of a run."""
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
        "backend": f"{plan.backend}, {plan.deterministic}",
        "gates registered": ", ".join(plan.gates) or "none",
        "work": str(plan.work()),
        "publishes": str(plan.out),
        "spec digest": spec.digest(),
    }
    for name, value in rows.items():
        table.add_row(name, value)
    console().print(table)


def _checkpoints_text(plan: TrainingPlan) -> str:
    steps = [f"{step:,}" for step in plan.checkpoints]
    shown = ", ".join(steps) if len(steps) <= 6 else f"{', '.join(steps[:5])}, ... {steps[-1]}"
    return f"after step {shown}" + ("" if plan.keep is None else f"; the newest {plan.keep} are kept")


def print_run(path: Path) -> None:
    """Print the results of a finished run, one row per seed, and the rate of seeds that reached a score of 1."""
    summary, spec = (json.loads((path / name).read_bytes()) for name in (SUMMARY, SPEC))
    replicas = [ReplicaSummary(**replica) for replica in summary["replicas"]]
    perfect = sum(replica.first_perfect_step is not None for replica in replicas)
    rate = proportion(perfect, len(replicas))
    reached = f"{perfect} of {counted(len(replicas), 'seed')} reached 1.0"
    examples = spec["facts"]["test_examples"]
    score = {
        "test_exact_match": f"exact match on each seed's {examples:,} validation pairs",
        "test_accuracy": f"right answers to all {examples:,} held-out equations",
    }[summary["score"]]
    title = f"{summary['experiment']}, published in {path}: {score}"
    table = Table(box=SIMPLE)
    for name in ("seed", "best", "at step", "first 1.0 at step", "last"):
        table.add_column(name, justify="right")
    for replica in replicas:
        first = replica.first_perfect_step
        table.add_row(
            str(replica.seed),
            _score_text(replica.best_score),
            f"{replica.best_step:,}",
            "not reached" if first is None else f"{first:,}",
            _score_text(replica.last_score),
        )
    screen = console()
    screen.print(title, soft_wrap=True)
    screen.print(table)
    screen.print(f"{reached} (rate {interval_text(rate)}, 95 %, exact)", soft_wrap=True)
    if "stopped_at" in spec:
        done, steps = spec["stopped_at"], spec["facts"]["steps"]
        rest = "the work is kept, and the same command without --stop-at resumes it"
        screen.print(f"stopped after {done:,} of {steps:,} steps; {rest}", soft_wrap=True)
    for replica in replicas:
        if (step := replica.diverged_step) is not None:
            text = f"seed {replica.seed} diverged: loss, gradient or weights not finite at step {step:,}"
            screen.print(text, soft_wrap=True)
    for line in fingerprint_lines(json.loads((path / FINGERPRINT).read_bytes())):
        screen.print(line, soft_wrap=True)


def _score_text(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"

"""`reprogrok train EXPERIMENT`: train all seeds of a run and publish its folder."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from reprogrok.cli.options import DATA, DEVICE_OF_PARAMS, PARAMS, WORKERS


class BackendChoice(StrEnum):
    """Ways to execute a training step, those of `train.backends`."""

    EAGER = "eager"
    COMPILED = "compiled"


class Promise(StrEnum):
    """The promise of a run about its bits."""

    BITWISE = "bitwise"
    TOLERANCE = "tolerance"


class Sink(StrEnum):
    """Trackers to which the evaluations can be streamed."""

    WANDB = "wandb"
    DVCLIVE = "dvclive"


def train(
    experiment: Annotated[
        str, typer.Argument(metavar="EXPERIMENT", help="A name in params.yaml; `reprogrok list` shows them.")
    ],
    seeds: Annotated[
        str | None, typer.Option(help="Seeds: 42,43 or a range 0:8 (last excluded).", show_default="the experiment's")
    ] = None,
    device: DEVICE_OF_PARAMS = None,
    steps: Annotated[
        int | None, typer.Option(help="Length of the run and of its schedule.", show_default="the experiment's")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder to publish.", show_default="runs/EXPERIMENT")] = None,
    workers: WORKERS = None,
    backend: Annotated[
        BackendChoice | None,
        typer.Option(help="How a step is executed; the two round differently.", show_default="by a fixed table"),
    ] = None,
    path: Annotated[BackendChoice | None, typer.Option("--path", help="Older name of --backend.", hidden=True)] = None,
    deterministic: Annotated[
        Promise | None, typer.Option(help="Equal bits, or scores within a tolerance.", show_default="as in params.yaml")
    ] = None,
    stop_at: Annotated[
        int | None, typer.Option(metavar="STEP", help="Stop after STEP updates, publish, and keep the work.")
    ] = None,
    checkpoints: Annotated[
        str | None, typer.Option(metavar="STEPS", help="Also publish these checkpoints: 500,1000 or 0:54000:5000.")
    ] = None,
    keep: Annotated[int | None, typer.Option(min=1, help="Keep only the newest of --checkpoints, this many.")] = None,
    allow_fingerprint_change: Annotated[
        bool,
        typer.Option(
            "--allow-fingerprint-change", help="Resume work of another machine or version; the record notes it."
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything, print the plan, train nothing.")
    ] = False,
    sink: Annotated[
        list[Sink] | None, typer.Option(help="Also stream every evaluation to this tracker.", show_default=False)
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing but errors: no progress, no table.")] = False,
    data: DATA = None,
    params: PARAMS = Path("params.yaml"),
) -> None:
    """Train every seed of an experiment and publish the run.

    After a stop or a kill, the same command resumes. The published folder holds spec.json, fingerprint.json,
    metrics.jsonl, summary.json and, per seed, best.pt and last.pt.
    Exit code: 0; 2 if it cannot train; 130 (143) if Ctrl-C (a termination signal) stopped it, and the work is kept.
    """
    from reprogrok.commands.train import run

    code = run(
        experiment,
        seeds=seeds,
        device=device,
        steps=steps,
        out=out,
        workers=workers,
        backend=backend or path,
        deterministic=deterministic.value if deterministic else None,
        stop_at=stop_at,
        checkpoints=checkpoints,
        keep=keep,
        allow_fingerprint_change=allow_fingerprint_change,
        dry_run=dry_run,
        sinks=[choice.value for choice in sink or ()],
        quiet=quiet,
        data=data,
        params=params,
    )
    raise typer.Exit(code)

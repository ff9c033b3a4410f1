"""`reprogrok train EXPERIMENT`: train all seeds of a run and publish its folder."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from reprogrok.cli.options import DATA, DEVICE_OF_PARAMS, PARAMS
from reprogrok.errors import InputError
from reprogrok.params import read_params
from reprogrok.record import Registration
from reprogrok.spec import Experiment, seed_range, step_range

MAX_STEPS = 1_000_000_000  # as in the schema of params.yaml


class ExecutionPath(StrEnum):
    """How a step is executed."""

    EAGER = "eager"
    COMPILED = "compiled"


class Promise(StrEnum):
    """What the bits of a run promise."""

    BITWISE = "bitwise"
    TOLERANCE = "tolerance"


class Sink(StrEnum):
    """Trackers that the evaluations can be streamed to."""

    WANDB = "wandb"
    DVCLIVE = "dvclive"


def train(
    experiment: Annotated[
        str, typer.Argument(metavar="EXPERIMENT", help="A name in params.yaml; `reprogrok list` shows them.")
    ],
    seeds: Annotated[
        str | None, typer.Option(help="42,43 or a range 0:8 (last excluded).", show_default="the experiment's")
    ] = None,
    device: DEVICE_OF_PARAMS = None,
    steps: Annotated[
        int | None, typer.Option(help="Length of the run and of its schedule.", show_default="the experiment's")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder to publish.", show_default="runs/EXPERIMENT")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes on a CPU.", show_default="one per core")] = None,
    path: Annotated[
        ExecutionPath | None, typer.Option(help="How a step is executed; other bits.", show_default="by a fixed table")
    ] = None,
    deterministic: Annotated[
        Promise | None, typer.Option(help="What the run promises.", show_default="that of params.yaml")
    ] = None,
    stop_at: Annotated[
        int | None,
        typer.Option(metavar="STEP", help="End after STEP updates of the schedule, publish, and keep the work."),
    ] = None,
    checkpoints: Annotated[
        str | None,
        typer.Option(metavar="STEPS", help="Also publish the states after these: 500,1000 or 0:54000:5000."),
    ] = None,
    keep: Annotated[int | None, typer.Option(min=1, help="Of --checkpoints, keep the newest this many.")] = None,
    allow_fingerprint_change: Annotated[
        bool,
        typer.Option(
            "--allow-fingerprint-change", help="Go on with work of another machine or version; the record says so."
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
    """Train every seed of an experiment; stopped or killed, the same command goes on.

    The folder holds spec.json, fingerprint.json, metrics.jsonl, summary.json and, per seed, best.pt and last.pt.
    Exit code: 0, or 2 if it cannot train, or 130 (143) if Ctrl-C (a termination signal) stopped it; the work is kept.
    """
    read = read_params(params)
    chosen = _with_options(read.experiment(experiment, params), seeds, steps)
    if stop_at is not None and not 1 <= stop_at <= chosen.steps:
        raise InputError(field="--stop-at", expected=f"1 to {chosen.steps:,} updates", found=str(stop_at))
    from reprogrok.model.device import choose_device, usable_cores
    from reprogrok.train.display import training_display
    from reprogrok.train.publication import check_target
    from reprogrok.train.run import Progress, StoppedError, run
    from reprogrok.train.sinks import check_sinks, streaming
    from reprogrok.train.tables import print_plan, print_run
    from reprogrok.train.training_task import check
    from reprogrok.train.work import Plan

    with read.placed(chosen.name):
        check(chosen)
    promise = deterministic.value if deterministic else read.deterministic
    chosen_device = choose_device(device or read.device, promise).type
    plan = Plan(
        experiment=chosen,
        seeds=chosen.seeds,
        device=chosen_device,
        path=_path(chosen, chosen_device, path),
        deterministic=promise,
        engine_version=read.engine_version,
        out=out or Path("runs") / chosen.name,
        workers=workers or usable_cores(),
        gates=_registrations(chosen),
        stop_at=stop_at,
        checkpoints=_checkpoints(chosen, checkpoints, keep, stop_at),
        keep=keep,
        allow_fingerprint_change=allow_fingerprint_change,
    )
    check_target(plan.out)
    sinks = [choice.value for choice in sink or ()]
    check_sinks(sinks)
    if data is not None:
        _check_data(chosen, data)
    if dry_run:
        print_plan(plan)
        return
    if plan.path == "compiled" and not quiet:
        typer.echo("a step is compiled first, which takes seconds or, the first time, up to a minute", err=True)
    with (
        _stop_on_signals() as (stop, received),
        training_display(plan, quiet=quiet) as show,
        streaming(plan, sinks, lambda text: typer.echo(f"warning: {text}", err=True)) as stream,
    ):

        def report(progress: Progress) -> None:
            show(progress)
            stream(progress)

        try:
            run(plan, stop, report, lambda line: typer.echo(f"warning: {line}", err=True))
        except StoppedError as error:
            typer.echo(f"{error}", err=True)
            raise typer.Exit(128 + received[0]) from error
    if not quiet:
        print_run(plan.out)


def _with_options(experiment: Experiment, seeds: str | None, steps: int | None) -> Experiment:
    if seeds is not None:
        parsed = seed_range(seeds)
        if not parsed or len(set(parsed)) != len(parsed):
            raise InputError(
                field="--seeds", expected="distinct seeds as 42,43 or a range as 0:8", found=seeds or "nothing"
            )
        experiment = replace(experiment, seeds=parsed)
    if steps is not None:
        warmup = experiment.schedule.warmup
        if not warmup < steps <= MAX_STEPS:
            expected = f"more than the {warmup:,} steps of the warm-up, and at most {MAX_STEPS:,}"
            raise InputError(field="--steps", expected=expected, found=str(steps))
        experiment = replace(experiment, steps=steps)
    return experiment


def _path(experiment: Experiment, device: str, asked: ExecutionPath | None) -> str:
    """The path asked for, or the table's."""
    from reprogrok.model.compiler import compiler
    from reprogrok.train.backends import path_of, wanted_path

    if asked is ExecutionPath.COMPILED and device == "cpu" and compiler() is None:
        raise InputError("there is no C++ compiler here (`reprogrok doctor`)", field="--path", expected="eager")
    if asked is not None:
        return asked.value
    path = path_of(experiment.model, experiment.steps, device)
    if path != wanted_path(experiment.model, experiment.steps, device):
        typer.echo("no compiler here: steps run eagerly, several times slower (see `reprogrok doctor`)", err=True)
    return path


def _checkpoints(experiment: Experiment, text: str | None, keep: int | None, stop_at: int | None) -> tuple[int, ...]:
    """The steps of --checkpoints, each of them an evaluation step; without it, those that the experiment asks for."""
    if text is None:
        own = tuple(step for step in experiment.checkpoint_steps() if step < (stop_at or experiment.steps))
        if own:
            return own
        if keep is not None:
            raise InputError("nothing to keep", field="--keep", expected="--checkpoints STEPS beside it")
        return ()
    steps = step_range(text)
    if not steps:
        expected = "steps as 500,1000 or a range as 0:54000:5000 (last excluded)"
        raise InputError(field="--checkpoints", expected=expected, found=text or "nothing")
    for step in steps:
        if not experiment.evaluates(step):
            every, last = experiment.evaluate_every, experiment.steps - 1
            raise InputError(
                f"no evaluation step (the nearest is {experiment.nearest_evaluation(step)})", field="--checkpoints",
                expected=f"multiples of {every} below {experiment.steps}, or {last}", found=str(step),
            )  # fmt: skip
    return tuple(sorted(set(steps)))


def _check_data(experiment: Experiment, folder: Path) -> None:
    from reprogrok.formats.problem_files import check_problems
    from reprogrok.spec import AdditionTask
    from reprogrok.tasks.holdout import hold_out

    if not isinstance(experiment.task, AdditionTask):
        from reprogrok.tasks.split_problems import SPLIT_FILE, split_sets

        check_problems(folder / SPLIT_FILE, split_sets(experiment.task))
        return
    for seed in experiment.seeds:
        check_problems(folder / f"seed-{seed}.safetensors", hold_out(seed, experiment.task.digits).sets())


def _registrations(experiment: Experiment) -> dict[str, Registration]:
    """The criteria of the experiment's gates as they stand now, to be stored in the record before training."""
    from reprogrok.gates.criteria import find_gate, load_gate

    gates = {name: load_gate(find_gate(name, Path("audit/criteria"))) for name in experiment.gates}
    return {name: Registration(gate.sha256, gate.content) for name, gate in gates.items()}


@contextmanager
def _stop_on_signals() -> Iterator[tuple[Any, list[int]]]:
    """SIGINT and SIGTERM set an event that every worker watches: finish the step, save, leave."""
    import multiprocessing

    stop = multiprocessing.get_context("spawn").Event()
    received: list[int] = []

    def note(number: int, _frame: object) -> None:
        received.append(number)
        stop.set()

    earlier = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop, received
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)

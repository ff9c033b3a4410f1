"""The command `train`: options and params.yaml -> a plan -> a published run and its table."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing.synchronize import Event
from pathlib import Path

from reprogrok.console import remark
from reprogrok.errors import ExitCode, InputError
from reprogrok.formats.problem_files import check_problems
from reprogrok.gates.gate_files import find_gate, load_gate
from reprogrok.model.compiler import compiler
from reprogrok.model.device import choose_device, usable_cores
from reprogrok.params import read_params
from reprogrok.record import Registration
from reprogrok.spec.experiment import MAX_STEPS, Experiment
from reprogrok.spec.ranges import seed_range, step_range
from reprogrok.spec.task import AdditionTask
from reprogrok.tasks.holdout import hold_out
from reprogrok.tasks.split_problems import SPLIT_FILE, split_sets
from reprogrok.train.backends import Backend, available_backend, preferred_backend
from reprogrok.train.display import training_display
from reprogrok.train.publication import check_target
from reprogrok.train.run import JobProgress, StoppedError
from reprogrok.train.run import run as run_plan
from reprogrok.train.sinks import check_sinks, streaming
from reprogrok.train.tables import print_plan, print_run
from reprogrok.train.task_choice import check_trainable
from reprogrok.train.work import TrainingPlan


def run(
    name: str,
    *,
    seeds: str | None = None,
    device: str | None = None,
    steps: int | None = None,
    out: Path | None = None,
    workers: int | None = None,
    backend: str | None = None,
    deterministic: str | None = None,
    stop_at: int | None = None,
    checkpoints: str | None = None,
    keep: int | None = None,
    allow_fingerprint_change: bool = False,
    dry_run: bool = False,
    sinks: Sequence[str] = (),
    quiet: bool = False,
    data: Path | None = None,
    params: Path,
) -> int:
    """Train every seed of an experiment and publish the run; return the exit code.

    Raises:
        InputError: an option, the experiment or the saved work cannot be used.
    """
    read = read_params(params)
    experiment = _with_options(read.experiment(name, params), seeds, steps)
    if stop_at is not None and not 1 <= stop_at <= experiment.steps:
        raise InputError(field="--stop-at", expected=f"1 to {experiment.steps:,} updates", found=str(stop_at))
    with read.located(experiment.name):
        check_trainable(experiment)
    promise = deterministic or read.deterministic
    chosen_device = choose_device(device or read.device, promise).type
    plan = TrainingPlan(
        experiment=experiment,
        seeds=experiment.seeds,
        device=chosen_device,
        backend=_backend(experiment, chosen_device, Backend(backend) if backend else None),
        deterministic=promise,
        engine_version=read.engine_version,
        out=out or Path("runs") / experiment.name,
        workers=workers or usable_cores(),
        gates=_registrations(experiment),
        stop_at=stop_at,
        checkpoints=_checkpoints(experiment, checkpoints, keep, stop_at),
        keep=keep,
        allow_fingerprint_change=allow_fingerprint_change,
    )
    check_target(plan.out)
    check_sinks(sinks)
    if data is not None:
        _check_data(experiment, data)
    if dry_run:
        print_plan(plan)
        return ExitCode.PASS
    if plan.backend == Backend.COMPILED and not quiet:
        remark("a step is compiled first, which takes seconds or, the first time, up to a minute")
    with (
        _stop_on_signals() as (stop, received),
        training_display(plan, quiet=quiet) as show,
        streaming(plan, sinks, _warn) as stream,
    ):

        def report(progress: JobProgress) -> None:
            show(progress)
            stream(progress)

        try:
            run_plan(plan, stop, report, _warn)
        except StoppedError as error:
            remark(str(error))
            return 128 + received[0]
    if not quiet:
        print_run(plan.out)
    return ExitCode.PASS


def _warn(text: str) -> None:
    remark(f"warning: {text}")


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


def _backend(experiment: Experiment, device: str, requested: Backend | None) -> Backend:
    """Return the backend requested, or that of the table."""
    if requested is Backend.COMPILED and device == "cpu" and compiler() is None:
        raise InputError("there is no C++ compiler here (`reprogrok doctor`)", field="--backend", expected="eager")
    if requested is not None:
        return requested
    backend = available_backend(experiment.model, experiment.steps, device)
    if backend != preferred_backend(experiment.model, experiment.steps, device):
        remark("no compiler here: steps run eagerly, several times slower (see `reprogrok doctor`)")
    return backend


def _checkpoints(experiment: Experiment, text: str | None, keep: int | None, stop_at: int | None) -> tuple[int, ...]:
    """Return the steps of --checkpoints, each an evaluation step; without it, those of the experiment."""
    if text is None:
        own = tuple(step for step in experiment.checkpoint_steps() if step < (stop_at or experiment.steps))
        if own:
            return own
        if keep is not None:
            raise InputError("nothing to keep", field="--keep", expected="--checkpoints STEPS next to it")
        return ()
    steps = step_range(text)
    if not steps:
        expected = "steps as 500,1000 or a range as 0:54000:5000 (last excluded)"
        raise InputError(field="--checkpoints", expected=expected, found=text or "nothing")
    for step in steps:
        if not experiment.evaluates(step):
            every, last = experiment.evaluate_every, experiment.steps - 1
            raise InputError(
                f"not an evaluation step (the nearest is {experiment.nearest_evaluation(step)})", field="--checkpoints",
                expected=f"multiples of {every} below {experiment.steps}, or {last}", found=str(step),
            )  # fmt: skip
    return tuple(sorted(set(steps)))


def _check_data(experiment: Experiment, folder: Path) -> None:
    """Check the files that `generate` wrote against the problems of the experiment."""
    if not isinstance(experiment.task, AdditionTask):
        check_problems(folder / SPLIT_FILE, split_sets(experiment.task))
        return
    for seed in experiment.seeds:
        check_problems(folder / f"seed-{seed}.safetensors", hold_out(seed, experiment.task.digits).sets())


def _registrations(experiment: Experiment) -> dict[str, Registration]:
    """Return the present criteria of the experiment's gates, to be stored in the record before training."""
    gates = {name: load_gate(find_gate(name, Path("audit/criteria"))) for name in experiment.gates}
    return {name: Registration(gate.sha256, gate.content) for name, gate in gates.items()}


@contextmanager
def _stop_on_signals() -> Iterator[tuple[Event, list[int]]]:
    """Yield an event that SIGINT and SIGTERM set, on which workers save and leave, and the signals received."""
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

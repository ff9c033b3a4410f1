"""An experiment, seeds and a device -> a published run: work streams into a work folder, one rename publishes it.

    seeds --> jobs --> .reprogrok/work/<digest>/<job>/{state-*.pt, metrics.jsonl, timing.jsonl}  --merge--> runs/NAME

On a CPU every seed is a job of its own, one thread each, spread over the cores: stacking replicas gains nothing there.
On a GPU all seeds are one job. The metrics are merged in the order of seeds and steps, so the record does not depend on
how the work was divided.

A run that was stopped resumes from the last saved state: a state is saved whole or not at all, and the metrics that
were streamed after it are cut off and written again. A run that ends before its schedule (`TrainingPlan.stop_at`) is
published up to there and keeps its work, from which it resumes.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from pathlib import Path
from queue import Empty
from typing import Protocol

import torch

from reprogrok.errors import ReprogrokError
from reprogrok.files import exclusive
from reprogrok.model.device import choose_device, subnormals_as_zero
from reprogrok.text import job_text
from reprogrok.train.engine import Engine, EngineState, StepEvaluation
from reprogrok.train.publication import check_place, publish_run
from reprogrok.train.saved import Journal, saved_work, take_up
from reprogrok.train.work import Job, TrainingPlan, discard, folder_of, sweep

_POLL_SECONDS = 0.2
_REPORT_SECONDS = 0.5
_SAVING = 0.02  # the fraction of the time that may go into saving states
_SMALL = 2**20  # bytes of a state that is saved at every evaluation, because it takes no time
_STOP_SIGNALS = {signal.SIGINT, signal.SIGTERM}


class StoppedError(ReprogrokError):
    """The run was asked to stop; its work is saved, and the same command resumes it."""


@dataclass(frozen=True)
class JobProgress:
    """A report of a job: on resuming, twice a second and at every evaluation.

    Attributes:
        seeds: the seeds of the job.
        step: the next step; the number of updates made.
        evaluation: the metrics, if an evaluation has just been made.
        best: each seed's highest validation score so far, -1 before the first evaluation.
    """

    seeds: Job
    step: int
    evaluation: StepEvaluation | None
    best: tuple[float, ...]


class Stop(Protocol):
    """A request to stop, such as an event of threads or of processes."""

    def is_set(self) -> bool:
        """Return whether the run is to stop."""
        ...


def run(plan: TrainingPlan, stop: Event, report: Callable[[JobProgress], None], warn: Callable[[str], None]) -> Path:
    """Train the steps that are missing, publish the run and return its folder.

    Args:
        plan: the plan of the run.
        stop: set elsewhere to make the run save and leave.
        report: called with the progress of the jobs.
        warn: called with one line for each damaged state that is passed over.

    Raises:
        StoppedError: `stop` was set; the work so far is saved.
        BusyError: another process is training the same experiment here.
        InputError: the run cannot be published at `plan.out`, or its work has passed `plan.stop_at`; both are raised
            before the first step. Or the disk refused something; the work so far is saved.
        RecordError: the run cannot resume from the work that was begun.
    """
    choose_device(plan.device, plan.deterministic)
    with exclusive(plan.work() / "lock", f"training {plan.experiment.name}"):
        check_place(plan)
        sweep(plan)
        plan = take_up(plan, warn)
        _train_jobs(plan, stop, report)
        if stop.is_set():
            raise StoppedError(f"stopped; the same command resumes it (the work is in {plan.work()})")
        publish_run(plan)
        if not plan.stops_early:
            for job in plan.jobs():
                discard(folder_of(plan, job))
    return plan.out


def _train_jobs(plan: TrainingPlan, stop: Event, report: Callable[[JobProgress], None]) -> None:
    jobs = plan.jobs()
    if min(plan.workers, len(jobs)) == 1:
        for job in jobs:
            _train_job(plan, job, stop, report)
        return
    context = multiprocessing.get_context("spawn")
    queue: multiprocessing.Queue[JobProgress] = context.Queue()
    pool = ProcessPoolExecutor(min(plan.workers, len(jobs)), context, _adopt, (queue, stop))
    try:
        with _blocked(_STOP_SIGNALS):
            running: set[Future[None]] = {pool.submit(_train_in_worker, plan, job) for job in jobs}
        while running:
            finished, running = wait(running, timeout=_POLL_SECONDS, return_when=FIRST_COMPLETED)
            for progress in _drain(queue):
                report(progress)
            for future in finished:
                future.result()
    except BrokenProcessPool as error:
        raise ReprogrokError("a worker process died (killed, or out of memory?); the same command resumes") from error
    except BaseException:
        stop.set()  # the others finish their step, save, and leave
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    for progress in _drain(queue):
        report(progress)


@contextmanager
def _blocked(signals: set[signal.Signals]) -> Iterator[None]:
    """Block signals while workers start: they inherit it, so Ctrl-C cannot kill one before it ignores the signal."""
    earlier = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, earlier)


def _drain(queue: multiprocessing.Queue[JobProgress]) -> Iterator[JobProgress]:
    try:
        while True:
            yield queue.get_nowait()
    except Empty:
        return


@dataclass(frozen=True)
class _Worker:
    """The state of a worker process: where it reports, when it stops, and the process that started it."""

    queue: multiprocessing.Queue[JobProgress]
    stop: Event
    parent: int
    working: threading.Lock

    def orphaned(self) -> bool:
        """Return whether the parent process is gone."""
        return os.getppid() != self.parent

    def is_set(self) -> bool:
        """Return whether the run is to stop, or the parent process is gone."""
        return self.stop.is_set() or self.orphaned()


_workers: list[_Worker] = []  # in a worker process, its one state


def _adopt(queue: multiprocessing.Queue[JobProgress], stop: Event) -> None:
    """In a fresh worker, keep the parent's queue and event, and leave signals of the terminal to the parent."""
    for number in _STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    worker = _Worker(queue, stop, os.getppid(), threading.Lock())
    _workers.append(worker)
    threading.Thread(target=_leave_when_orphaned, args=(worker,), daemon=True).start()


def _leave_when_orphaned(worker: _Worker) -> None:
    """Exit when the parent is gone: a pool's worker would wait for work forever. A job under way is saved first."""
    while not worker.orphaned():
        time.sleep(_POLL_SECONDS * 5)
    with worker.working:
        os._exit(1)


def _train_in_worker(plan: TrainingPlan, job: Job) -> None:
    (worker,) = _workers
    choose_device(plan.device, plan.deterministic)
    with worker.working:
        _train_job(plan, job, worker, worker.queue.put)


def _train_job(plan: TrainingPlan, job: Job, stop: Stop, report: Callable[[JobProgress], None]) -> None:
    """Train one job to its end, or until `stop`; return at once if it has finished before."""
    if stop.is_set():
        return
    # A worker that outlived its parent may still be saving this very job.
    lock = exclusive(folder_of(plan, job) / "lock", f"training {plan.experiment.name}, {job_text(job)}")
    with lock, subnormals_as_zero():
        _train_alone(plan, job, stop, report)


class SavingPace:
    """Decides when a state is saved at an evaluation: a small one always, a large one at most so often.

    After a saving that took d seconds the next is due when d / fraction seconds have passed, so that saving takes at
    most that fraction of the time. A killed run repeats the steps since the last saving.
    """

    def __init__(self, clock: Callable[[], float], fraction: float = _SAVING) -> None:
        self._clock, self._fraction, self._next = clock, fraction, -math.inf

    def due(self, state: EngineState) -> bool:
        """Return whether to save this state."""
        return state.size <= _SMALL or self._clock() >= self._next

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Measure a saving."""
        began = self._clock()
        yield
        ended = self._clock()
        self._next = ended + (ended - began) / self._fraction


def _train_alone(
    plan: TrainingPlan,
    job: Job,
    stop: Stop,
    report: Callable[[JobProgress], None],
    clock: Callable[[], float] = time.monotonic,
) -> None:
    saved, _ = saved_work(plan, job)  # `take_up` has warned of damaged states
    if saved is not None:
        report(JobProgress(job, saved.step, None, tuple(saved.content["best_score"])))
        if saved.step >= plan.end:
            return
    engine = Engine(plan.experiment, job, torch.device(plan.device), plan.backend)
    state = engine.fresh() if saved is None else EngineState.restore(saved.content, engine.device)
    began, first, reported, pace = clock(), state.step, -math.inf, SavingPace(clock)

    def stop_or_report() -> bool:
        """Report progress between evaluations, and return whether to stop; called at every step."""
        nonlocal reported
        if (now := clock()) - reported >= _REPORT_SECONDS:
            reported = now
            report(JobProgress(job, state.step, None, tuple(state.best_score)))
        return stop.is_set() or state.step >= plan.end

    with Journal(plan, job, saved) as journal:
        for evaluation in engine.train(state, stop_or_report):
            journal.stream(evaluation, (state.step - first) * len(job) / (clock() - began))
            if requested := evaluation.step in plan.checkpoints:
                journal.keep(state, evaluation)
            if requested or pace.due(state):
                with pace.timed():
                    journal.save(state)
            report(JobProgress(job, state.step, evaluation, tuple(state.best_score)))
        if state.step > 0:
            journal.save(state)

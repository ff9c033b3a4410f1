"""JobProgress of the jobs of a run -> the display on stderr: a live picture on a terminal, plain lines elsewhere.

    JobProgress of every job --Tally--> steps, rate, time left, best, grokked --> bars, or lines

The tally is a function of the reports and their times; the clock is an argument. The rate counts the updates of this
session alone, from the end of the first ones on: before that a step is compiled, so no rate and no ETA is known. The
picture is drawn when a report comes: a thread that redraws would take its time from the training.
"""

from __future__ import annotations

import heapq
import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from reprogrok.console import console
from reprogrok.evaluation.thresholds import GROKKED
from reprogrok.text import counted, duration, job_text
from reprogrok.train.run import JobProgress
from reprogrok.train.work import Job, TrainingPlan

FEW_JOBS = 8  # up to so many, each has a bar or lines of its own
_WINDOW_SECONDS = 30.0  # the rate is taken over so many seconds
_LEAST_SECONDS = 1.0  # and over at least so many
_REDRAW_SECONDS = 0.25
_TENTH = 0.1  # without a terminal, a few jobs: one line per job and tenth of its steps
_PERCENT, _APART_SECONDS = 0.01, 10.0  # many jobs: one line for all per percent, and no two within so many seconds


@dataclass
class Tally:
    """The progress of a run.

    Attributes:
        jobs: the jobs, in the order in which they are begun.
        total: the steps of each job.
        lanes: the number of jobs that are trained at a time.
        began: the clock at the beginning of this session, in seconds.
        latest: the last report of every job that has reported.
        scores: the last evaluation of each job, as text.
        diverged: the number of replicas of each job that have diverged.
    """

    jobs: list[Job]
    total: int
    lanes: int
    began: float
    latest: dict[Job, JobProgress] = field(default_factory=dict)
    scores: dict[Job, str] = field(default_factory=dict)
    diverged: dict[Job, int] = field(default_factory=dict)
    _session: int = 0  # model-steps made in this session
    _samples: deque[tuple[float, int]] = field(default_factory=deque)

    def take(self, progress: JobProgress, now: float) -> None:
        """Take in one report that came at `now`."""
        # A job's first report says where it resumes, not what was done in this session.
        before = self.latest.get(progress.seeds, progress).step
        self.latest[progress.seeds] = progress
        self._session += (progress.step - before) * len(progress.seeds)
        if self._session:  # the time before the first updates went into starting and compiling
            if self._samples and self._samples[-1][0] == now:
                self._samples.pop()
            self._samples.append((now, self._session))
        while len(self._samples) > 2 and self._samples[1][0] <= now - _WINDOW_SECONDS:
            self._samples.popleft()
        if progress.evaluation is not None:
            self.scores[progress.seeds] = _scores(progress)
            self.diverged[progress.seeds] = sum(progress.evaluation.diverged)

    @property
    def under_way(self) -> list[Job]:
        """The jobs that have reported and not ended."""
        return [job for job in self.jobs if job in self.latest and self.latest[job].step < self.total]

    @property
    def replicas(self) -> int:
        """The number of seeds of the run."""
        return sum(map(len, self.jobs))

    @property
    def done(self) -> int:
        """The model-steps done, in this session and before."""
        return sum(progress.step * len(job) for job, progress in self.latest.items())

    @property
    def rate(self) -> float:
        """Model-steps per second over the last `_WINDOW_SECONDS`; 0 while it is not known."""
        if not self._samples:
            return 0.0
        (first, before), (last, after) = self._samples[0], self._samples[-1]
        return (after - before) / (last - first) if last - first >= _LEAST_SECONDS else 0.0

    @property
    def seconds_left(self) -> float:
        """The time until the last job ends at the present rate, in seconds; infinite while it is not known."""
        left = [self.total - self.latest[job].step for job in self.under_way]
        waiting = sum(job not in self.latest for job in self.jobs)
        busy = min(self.lanes, len(left) + waiting)
        if not busy or not self.rate:
            return math.inf if busy else 0.0
        while len(left) < busy:
            left.append(self.total)
            waiting -= 1
        heapq.heapify(left)
        for _ in range(waiting):
            heapq.heapreplace(left, left[0] + self.total)
        return max(left) * busy * len(self.jobs[0]) / self.rate

    @property
    def best(self) -> float | None:
        """The highest score of any seed so far, by the metric that chooses the best weights."""
        highest = max((score for progress in self.latest.values() for score in progress.best), default=-1.0)
        return None if highest < 0 else highest

    @property
    def grokked(self) -> int:
        """The number of seeds that have reached a score of `GROKKED`."""
        return sum(score >= GROKKED for progress in self.latest.values() for score in progress.best)


@contextmanager
def training_display(
    plan: TrainingPlan,
    *,
    quiet: bool = False,
    clock: Callable[[], float] = time.monotonic,
    screen: Console | None = None,
) -> Iterator[Callable[[JobProgress], None]]:
    """Yield a callback that shows the progress of jobs: bars on a terminal, lines elsewhere, nothing if `quiet`."""
    if quiet:
        yield lambda _progress: None
        return
    screen = screen or console(stderr=True)
    jobs = plan.jobs()
    tally = Tally(jobs, plan.end, min(plan.workers, len(jobs)), clock())
    if not screen.is_terminal or screen.is_dumb_terminal:  # a dumb one cannot redraw
        yield _lines(tally, screen, clock)
        return
    with Live(picture(tally, clock()), console=screen, auto_refresh=False) as live:
        drawn = -math.inf

        def report(progress: JobProgress) -> None:
            nonlocal drawn
            now = clock()
            tally.take(progress, now)
            if now - drawn >= _REDRAW_SECONDS:
                drawn = now
                live.update(picture(tally, now), refresh=True)

        try:
            yield report
        finally:
            live.update(picture(tally, clock()), refresh=True)


def picture(tally: Tally, now: float) -> Group:
    """Return the bars of a few jobs, or of those under way where there are many; then the whole run in three lines."""
    shown = tally.jobs if len(tally.jobs) <= FEW_JOBS else tally.under_way[:FEW_JOBS]
    bars = Table.grid(padding=(0, 2, 0, 0), expand=True)
    bars.add_column(no_wrap=True)
    bars.add_column(ratio=1, min_width=8)
    bars.add_column(no_wrap=True, justify="right")
    bars.add_column(no_wrap=True)
    for job in shown:
        step = tally.latest[job].step if job in tally.latest else 0
        score = tally.scores.get(job, "" if job not in tally.latest or step < tally.total else "trained before")
        bars.add_row(job_text(job), ProgressBar(tally.total, step), f"{step:,} of {tally.total:,}", score)
    whole = tally.replicas * tally.total
    steps = f"{tally.done:,} of {whole:,} model-steps"
    bars.add_row("all", ProgressBar(whole, tally.done), f"{tally.done / whole:.1%}", steps)
    passed = f"elapsed {duration(now - tally.began)}  ETA {duration(tally.seconds_left)}"
    waiting = sum(job not in tally.latest for job in tally.jobs)
    queue = f"  {counted(waiting, 'job')} waiting" if waiting else ""
    state = f"{_best(tally)}  grokked {_grokked(tally)} (held-out score >= {GROKKED})"
    return Group(bars, Text(f"{_rate(tally)}  {passed}{queue}"), Text(state))


def _lines(tally: Tally, screen: Console, clock: Callable[[], float]) -> Callable[[JobProgress], None]:
    few = len(tally.jobs) <= FEW_JOBS
    shown: dict[Job, float] = {}  # job -> fraction of its steps at its last line; () -> of all steps
    last = -math.inf

    def report_job(progress: JobProgress) -> None:
        tally.take(progress, clock())
        fraction, finished = progress.step / tally.total, progress.step == tally.total
        if progress.evaluation is None and not (finished and progress.seeds not in shown):
            return  # a report between evaluations counts only for the rate
        if fraction - shown.get(progress.seeds, -1.0) >= _TENTH or finished:
            shown[progress.seeds] = fraction
            score = tally.scores.get(progress.seeds, "trained before")
            print_line(f"{job_text(progress.seeds)}  step {progress.step:>7,} of {tally.total:,}  {score}")

    def report_all(progress: JobProgress) -> None:
        nonlocal last
        now = clock()
        tally.take(progress, now)
        whole = tally.replicas * tally.total
        fraction = tally.done / whole
        rare = fraction - shown.get((), -1.0) >= _PERCENT and now - last >= _APART_SECONDS
        if rare or (tally.done == whole and shown.get(()) != 1.0):
            shown[()], last = fraction, now
            print_line(f"{tally.done:,} of {whole:,} model-steps ({fraction:.1%})")

    def print_line(text: str) -> None:
        numbers = f"{_rate(tally)}  ETA {duration(tally.seconds_left)}  {_best(tally)}  grokked {_grokked(tally)}"
        screen.print(f"{clock() - tally.began:7.0f} s  {text}  {numbers}", soft_wrap=True)

    return report_job if few else report_all


def _scores(progress: JobProgress) -> str:
    """Return the medians of accuracy and loss over the replicas that have not diverged."""
    if progress.evaluation is None:
        return ""
    going = [replica for replica, diverged in enumerate(progress.evaluation.diverged) if not diverged]
    if not going:
        return "diverged"
    columns = {name: [values[replica] for replica in going] for name, values in progress.evaluation.metrics.items()}
    middle = {name: sorted(values)[len(values) // 2] for name, values in columns.items()}
    if "test_accuracy" in middle:
        right = f"test {middle['test_accuracy']:.4f} (train {middle['train_accuracy']:.4f})"
    else:
        right = f"exact {middle['test_exact_match']:.4f} (batch {middle['train_exact_match']:.4f})"
    return f"{right}  loss {middle['train_loss']:.4f}"


def _rate(tally: Tally) -> str:
    return f"{tally.rate:,.0f} model-steps/s" if tally.rate else "- model-steps/s"


def _best(tally: Tally) -> str:
    return "best -" if tally.best is None else f"best {tally.best:.4f}"


def _grokked(tally: Tally) -> str:
    diverged = sum(tally.diverged.values())
    return f"{tally.grokked} of {counted(tally.replicas, 'seed')}" + (f", {diverged} diverged" if diverged else "")

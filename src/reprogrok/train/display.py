"""What the jobs of a run report -> what people watch meanwhile, on stderr.

    Progress of every job --Tally--> steps, rate, time left, best, grokked --> a live picture on a terminal,
                                                                               plain lines elsewhere

The tally is a function of what was reported and when; the clock is an argument. Only what is done in this sitting
counts for the rate, so it is right after a resume. The picture is drawn when something is reported, by nobody else: a
thread that redraws would take its time from the training.
"""

from __future__ import annotations

import heapq
import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from reprogrok.console import console
from reprogrok.evaluation.thresholds import GROKKED
from reprogrok.text import counted, duration, job_text

if TYPE_CHECKING:
    from reprogrok.train.run import Progress
    from reprogrok.train.work import Plan

Job = tuple[int, ...]

FEW_JOBS = 8  # up to so many, each has a bar or lines of its own
_WINDOW_SECONDS = 30.0  # the rate is that of so many seconds
_LEAST_SECONDS = 1.0  # and of at least so many: the first evaluation is no rate
_REDRAW_SECONDS = 0.25
_TENTH = 0.1  # without a terminal, a few jobs: one line per job and tenth of its steps
_PERCENT, _APART_SECONDS = 0.01, 10.0  # many jobs: one line for all per percent, and no two within so many seconds


@dataclass
class Tally:
    """What is known of a run under way.

    Attributes:
        jobs: of the run, in the order in which they are begun.
        total: steps of each job.
        lanes: how many jobs are trained at a time.
        began: the clock at the beginning of this sitting, in seconds.
        latest: the last report of every job that has reported.
        scores: per job, what the last evaluation said of it; empty before one.
        diverged: per job, how many of its replicas have been stopped because they diverged.
    """

    jobs: list[Job]
    total: int
    lanes: int
    began: float
    latest: dict[Job, Progress] = field(default_factory=dict)
    scores: dict[Job, str] = field(default_factory=dict)
    diverged: dict[Job, int] = field(default_factory=dict)
    _sitting: int = 0  # model-steps done in this sitting
    _samples: deque[tuple[float, int]] = field(default_factory=deque)

    def take(self, progress: Progress, now: float) -> None:
        """Take in one report that came at `now`."""
        # A job's first report says where it goes on, not what was done in this sitting.
        before = self.latest.get(progress.seeds, progress).step
        self.latest[progress.seeds] = progress
        self._sitting += (progress.step - before) * len(progress.seeds)
        self._samples.append((now, self._sitting))
        while len(self._samples) > 2 and self._samples[1][0] <= now - _WINDOW_SECONDS:
            self._samples.popleft()
        if progress.evaluation is not None:
            self.scores[progress.seeds] = _scores(progress)
            self.diverged[progress.seeds] = sum(progress.evaluation.diverged)

    @property
    def under_way(self) -> list[Job]:
        """The jobs that are being trained, as far as they have said so."""
        return [job for job in self.jobs if job in self.latest and self.latest[job].step < self.total]

    @property
    def replicas(self) -> int:
        """Seeds of the run."""
        return sum(map(len, self.jobs))

    @property
    def done(self) -> int:
        """Model-steps done, in this sitting and before."""
        return sum(progress.step * len(job) for job, progress in self.latest.items())

    @property
    def rate(self) -> float:
        """Model-steps per second over the last `_WINDOW_SECONDS`; 0 where nothing can be said yet."""
        if not self._samples:
            return 0.0
        (first, before), (last, after) = self._samples[0], self._samples[-1]
        return (after - before) / (last - first) if last - first >= _LEAST_SECONDS else 0.0

    @property
    def seconds_left(self) -> float:
        """Until the last job ends, if the jobs under way keep their pace and the waiting ones take their places."""
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
        """How many seeds have had a score of at least `GROKKED`."""
        return sum(score >= GROKKED for progress in self.latest.values() for score in progress.best)


@contextmanager
def training_display(
    plan: Plan, *, quiet: bool = False, clock: Callable[[], float] = time.monotonic, screen: Console | None = None
) -> Iterator[Callable[[Progress], None]]:
    """A callback that shows what the jobs report: bars on a terminal, lines elsewhere, nothing if `quiet`."""
    if quiet:
        yield lambda _progress: None
        return
    screen = screen or console(stderr=True)
    jobs = plan.jobs()
    tally = Tally(jobs, plan.end, min(plan.workers, len(jobs)), clock())
    if not screen.is_terminal or screen.is_dumb_terminal:  # a dumb one cannot draw over what it has drawn
        yield _lines(tally, screen, clock)
        return
    with Live(picture(tally, clock()), console=screen, auto_refresh=False) as live:
        drawn = -math.inf

        def report(progress: Progress) -> None:
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
    """The bars of a few jobs, or of those under way where there are many; then the whole run in three lines."""
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
    share = f"{tally.done / whole:.1%}"
    bars.add_row("all", ProgressBar(whole, tally.done), share, f"{tally.done:,} of {whole:,} model-steps")
    passed = f"elapsed {duration(now - tally.began)}  ETA {duration(tally.seconds_left)}"
    waiting = sum(job not in tally.latest for job in tally.jobs)
    queue = f"  {counted(waiting, 'job')} waiting" if waiting else ""
    state = f"{_best(tally)}  grokked {_grokked(tally)} (held-out score >= {GROKKED})"
    return Group(bars, Text(f"{_rate(tally)}  {passed}{queue}"), Text(state))


def _lines(tally: Tally, screen: Console, clock: Callable[[], float]) -> Callable[[Progress], None]:
    few = len(tally.jobs) <= FEW_JOBS
    shown: dict[Job, float] = {}  # share of the steps at a job's last line; of all steps under (), where jobs are many
    last = -math.inf

    def report_job(progress: Progress) -> None:
        tally.take(progress, clock())
        share, finished = progress.step / tally.total, progress.step == tally.total
        if progress.evaluation is None and not (finished and progress.seeds not in shown):
            return  # a step between evaluations, which only counts for the rate
        if share - shown.get(progress.seeds, -1.0) >= _TENTH or finished:
            shown[progress.seeds] = share
            score = tally.scores.get(progress.seeds, "trained before")
            print_line(f"{job_text(progress.seeds)}  step {progress.step:>7,} of {tally.total:,}  {score}")

    def report_all(progress: Progress) -> None:
        nonlocal last
        now = clock()
        tally.take(progress, now)
        whole = tally.replicas * tally.total
        share = tally.done / whole
        rare = share - shown.get((), -1.0) >= _PERCENT and now - last >= _APART_SECONDS
        if rare or (tally.done == whole and shown.get(()) != 1.0):
            shown[()], last = share, now
            print_line(f"{tally.done:,} of {whole:,} model-steps ({share:.1%})")

    def print_line(text: str) -> None:
        numbers = f"{_rate(tally)}  ETA {duration(tally.seconds_left)}  {_best(tally)}  grokked {_grokked(tally)}"
        screen.print(f"{clock() - tally.began:7.0f} s  {text}  {numbers}", soft_wrap=True)

    return report_job if few else report_all


def _scores(progress: Progress) -> str:
    """The median replica's shares of right answers and its loss; with one replica, simply its own."""
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

"""What people see while a run trains: the numbers of the tally, the lines without a terminal, the picture on one."""

from __future__ import annotations

import fcntl
import io
import json
import math
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from reprogrok.params import read_params
from reprogrok.text import duration
from reprogrok.train.display import FEW_JOBS, Tally, picture, training_display
from reprogrok.train.engine import StepEvaluation
from reprogrok.train.run import JobProgress, StoppedError, run
from reprogrok.train.work import TrainingPlan

ROOT = Path(__file__).resolve().parents[1]
NAMES = ("train_loss", "train_exact_match", "test_loss", "test_exact_match", "test_token_accuracy", "grad_norm")


def told(job, step, *, exact=None, best=None):
    """A report of a job: with an evaluation if `exact` says what it found for each seed."""
    evaluation = (
        None if exact is None else StepEvaluation(step - 1, {name: list(exact) for name in NAMES}, [False] * len(job))
    )
    return JobProgress(job, step, evaluation, tuple(best or exact or (-1.0,) * len(job)))


def tally(jobs, total=1000, lanes=2, began=0.0):
    return Tally([tuple(job) for job in jobs], total, lanes, began)


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def plan(tmp_path):
    """`plan(count, steps)`: a run of so many seeds, two at a time."""
    experiment = read_params(ROOT / "params.yaml").experiments["smoke"]

    def build(count, steps=1000, device="cpu"):
        return TrainingPlan(
            replace(experiment, steps=steps),
            tuple(range(count)),
            device,
            1,
            tmp_path / "out",
            2,
            "eager",
            "bitwise",
            {},
        )

    return build


def test_the_rate_is_that_of_the_last_half_minute():
    run = tally([(0,), (1,)], total=100_000)
    for second in range(101):  # 10 steps a second each, and after a minute 100
        step = 10 * second if second <= 60 else 600 + 100 * (second - 60)
        run.take(told((0,), step), second)
        run.take(told((1,), step), second)
    assert run.rate == 200
    assert run.done == 2 * 4600
    assert run.seconds_left == (100_000 - 4600) / 100


def test_a_resumed_job_does_not_count_what_was_done_before():
    run = tally([(0,)], total=1000)
    run.take(told((0,), 900, best=(0.5,)), 0)
    assert (run.done, run.rate, run.best) == (900, 0, 0.5)
    assert run.seconds_left == math.inf
    run.take(told((0,), 910), 1)
    assert (run.rate, run.seconds_left) == (0, math.inf)
    run.take(told((0,), 950), 5)
    assert (run.rate, run.seconds_left) == (10, 5)


@pytest.mark.parametrize("first", [0, 900])
def test_no_rate_and_no_time_left_are_shown_while_a_step_is_compiled(first):
    run = tally([(0,)], total=54_000)
    run.take(told((0,), first), 0)
    for second in (30, 60):
        run.take(told((0,), first), second)
        assert (run.rate, run.seconds_left) == (0, math.inf)
    run.take(told((0,), first + 1, exact=(0.0,)), 90)  # the compilation has ended with the first update
    assert (run.rate, run.seconds_left) == (0, math.inf)
    assert "- model-steps/s  elapsed 1:30 min  ETA -" in drawn(run, 120, 90)
    run.take(told((0,), first + 601), 92)
    assert (run.rate, run.seconds_left) == (300, (54_000 - first - 601) / 300)


def test_no_rate_is_claimed_from_an_instant():
    run = tally([(0,)])
    run.take(told((0,), 0), 0)
    run.take(told((0,), 1), 0.01)
    assert run.rate == 0


@pytest.mark.parametrize(
    ("lanes", "jobs", "left"),
    [(2, 2, 90), (2, 3, 190), (2, 4, 190), (2, 5, 290), (4, 3, 90), (1, 3, 290)],
)
def test_the_time_left_knows_that_jobs_wait_for_a_lane(lanes, jobs, left):
    run = tally([(seed,) for seed in range(jobs)], lanes=lanes)
    for second in range(11):  # every job under way makes ten steps a second
        for seed in range(min(lanes, jobs)):
            run.take(told((seed,), 10 * second), second)
    assert run.seconds_left == pytest.approx(left)


def test_the_time_left_between_two_jobs_is_known_too():
    run = tally([(0,), (1,)], total=100, lanes=1)
    run.take(told((0,), 0), 0)
    run.take(told((0,), 10), 1)
    run.take(told((0,), 100), 10)
    assert (run.under_way, run.rate, run.seconds_left) == ([], 10, 10)
    run.take(told((1,), 100), 20)
    assert run.seconds_left == 0


def test_a_replica_counts_as_grokked_by_its_best_score():
    run = tally([(0, 1, 2)])
    run.take(told((0, 1, 2), 10, exact=(0.5, 0.98, 0.1), best=(0.99, 0.98, 0.1)), 1)
    assert (run.grokked, run.best, run.replicas) == (1, 0.99, 3)
    run.take(told((0, 1, 2), 20, best=(0.99, 1.0, 0.1)), 2)
    assert (run.grokked, run.best) == (2, 1.0)


def lines_of(plan, reports):
    """What is printed without a terminal for (second, report) pairs."""
    clock, out = Clock(), io.StringIO()
    with training_display(plan, clock=clock, screen=Console(file=out, width=200)) as report:
        for clock.now, progress in reports:
            report(progress)
    return out.getvalue().splitlines()


def test_a_few_jobs_print_a_line_each_per_tenth(plan):
    evaluated = [
        (step / 10, told((seed,), step, exact=(step / 1000,))) for step in range(1, 1001) for seed in range(FEW_JOBS)
    ]
    lines = lines_of(plan(FEW_JOBS), evaluated)
    assert [sum(f"seed {seed} " in line for line in lines) for seed in range(FEW_JOBS)] == [11] * FEW_JOBS
    first = "0 s  seed 0  step       1 of 1,000  exact 0.0010 (batch 0.0010)  loss 0.0010  - model-steps/s  ETA -"
    last = "100 s  seed 7  step   1,000 of 1,000  exact 1.0000 (batch 1.0000)  loss 1.0000  80 model-steps/s  ETA 0 s"
    assert lines[0].strip() == f"{first}  best 0.0010  grokked 0 of 8 seeds"
    assert lines[-1].strip() == f"{last}  best 1.0000  grokked 8 of 8 seeds"


def test_steps_between_evaluations_print_nothing(plan):
    assert lines_of(plan(1), [(step, told((0,), step)) for step in range(1000)]) == []


def test_a_job_that_was_trained_before_says_so_once(plan):
    (line,) = lines_of(plan(1), [(1, told((0,), 1000, best=(0.995,)))])
    assert "seed 0  step   1,000 of 1,000  trained before" in line
    assert line.endswith("best 0.9950  grokked 1 of 1 seed")


def test_many_jobs_print_a_line_per_percent_for_all_of_them(plan):
    reports = [
        (seed * 10 + step / 100, told((seed,), step, exact=(0.0,)))
        for seed in range(256)
        for step in (0, *range(1, 1000, 50), 1000)
    ]
    lines = lines_of(plan(256), reports)
    assert 80 <= len(lines) <= 102
    assert "256,000 of 256,000 model-steps (100.0%)" in lines[-1]
    assert "ETA 0 s" in lines[-1]
    assert all("seed " not in line for line in lines)


def test_a_short_run_of_many_jobs_prints_its_beginning_and_its_end(plan):
    reports = [(0.01 * seed, told((seed,), step, exact=(0.0,))) for seed in range(256) for step in (1, 500, 1000)]
    assert len(lines_of(plan(256), reports)) == 2


def test_all_seeds_on_a_gpu_are_one_job_with_a_line_per_tenth(plan):
    seeds = tuple(range(256))
    scores = [score / 256 for score in seeds]
    lines = lines_of(plan(256, device="cuda"), [(step, told(seeds, step, exact=scores)) for step in range(1, 1001)])
    assert len(lines) == 11
    assert "256 seeds  step   1,000 of 1,000  exact 0.5000" in lines[-1]
    assert "256 model-steps/s" in lines[-1]
    assert lines[-1].endswith("best 0.9961  grokked 2 of 256 seeds")


def test_a_job_reports_between_evaluations_and_knows_its_best_after_a_resume(plan, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("reprogrok.train.run._REPORT_SECONDS", 0.0)
    stop, reports = threading.Event(), []

    def report(progress):
        reports.append(progress)
        if progress.step == 30:
            stop.set()

    with pytest.raises(StoppedError):
        run(replace(plan(1, 60), workers=1), stop, report, pytest.fail)
    assert [progress.step for progress in reports if progress.evaluation is None] == [*range(31)]
    assert [progress.best for progress in reports[:3]] == [(-1.0,), (0.0,), (0.0,)]
    assert reports[1].evaluation.step == 0

    stop.clear()
    resumed = []
    run(replace(plan(1, 60), workers=1), stop, resumed.append, pytest.fail)
    assert (resumed[0].step, resumed[0].evaluation, resumed[0].best) == (30, None, (0.0,))
    assert [progress.evaluation.step for progress in resumed if progress.evaluation] == [50, 59]


def test_a_dumb_terminal_gets_lines(plan):
    out = io.StringIO()
    dumb = Console(file=out, width=200, force_terminal=True, _environ={"TERM": "dumb"})
    with training_display(plan(1), screen=dumb) as report:
        report(told((0,), 1, exact=(0.0,)))
    assert out.getvalue().count("seed 0  step       1 of 1,000") == 1


def test_quiet_shows_nothing(plan):
    out = io.StringIO()
    with training_display(plan(1), quiet=True, screen=Console(file=out, force_terminal=True)) as report:
        report(told((0,), 1000, exact=(1.0,)))
    assert out.getvalue() == ""


def drawn(run, columns, now=0.0):
    screen = Console(file=io.StringIO(), width=columns, force_terminal=True, color_system=None, legacy_windows=False)
    screen.print(picture(run, now))
    return [line.rstrip() for line in screen.file.getvalue().splitlines()]


@pytest.mark.parametrize("columns", [80, 120])
def test_the_picture_of_a_few_jobs_has_a_bar_for_each(columns):
    run = tally([(42,), (43,), (44,)], total=54_000)
    for second in range(101):
        run.take(told((42,), 30_000 + 19 * second, exact=(0.1,), best=(0.9912,)), second)
        run.take(told((43,), 100 * second, best=(0.5,)), second)
    lines = drawn(run, columns, 100)
    assert [line.split()[0] for line in lines] == ["seed", "seed", "seed", "all", "119", "best"]
    assert max(map(len, lines)) <= columns
    assert "…" not in "".join(lines)
    assert re.search(r"seed 42 +[━╸╺]+ +31,900 of 54,000  exact 0.1000 \(batch 0.1000\)  loss 0.1000$", lines[0])
    assert lines[3].endswith("25.9%  41,900 of 162,000 model-steps")
    assert lines[4] == "119 model-steps/s  elapsed 1:40 min  ETA 21:19 min  1 job waiting"
    assert lines[5] == "best 0.9912  grokked 1 of 3 seeds (held-out score >= 0.99)"


def test_the_picture_of_many_jobs_shows_those_under_way_and_the_whole():
    run = tally([(seed,) for seed in range(100)], lanes=2)
    for seed in range(7):
        run.take(told((seed,), 1000 if seed < 5 else 10, exact=(0.0,)), seed)
    lines = drawn(run, 80)
    assert [" ".join(line.split()[:2]) for line in lines[:2]] == ["seed 5", "seed 6"]
    assert len(lines) == 5
    assert "93 jobs waiting" in lines[3]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.4, "59 s"), (59.6, "1:00 min"), (725, "12:05 min"), (3599.6, "1:00 h"), (11_220, "3:07 h")],
)
def test_durations_are_short(seconds, text):
    assert duration(seconds) == text
    assert duration(math.inf) == "-"


@pytest.mark.parametrize("columns", [80, 120])
def test_a_terminal_sees_the_run_and_lines_that_fit(project, columns):
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    command = [sys.executable, "-m", "reprogrok", "train", "smoke", "--seeds", "0", "--steps", "60"]
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"} | {"TERM": "xterm"}
    with subprocess.Popen(command, cwd=project, stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        shown = b""
        try:
            while part := os.read(ours, 4096):
                shown += part
        except OSError:  # Linux says so when the last writer has gone
            pass
        os.close(ours)
    assert process.returncode == 0
    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode()).replace("\r", "\n").split("\n")
    assert max(len(line) for line in lines if "published in" not in line) <= columns  # that line wraps
    assert any(re.fullmatch(r"seed 0 +━+ +60 of 60  exact 0.0000 .*", line) for line in lines)
    assert any("0 of 1 seed (held-out score >= 0.99)" in line for line in lines)
    assert "0 of 1 seed reached 1.0" in lines[-3] + lines[-2]


def test_a_quiet_run_prints_nothing_and_its_errors_all_the_same(project, reprogrok, one_error):
    result = reprogrok("train", "smoke", "--seeds", "0", "--steps", "30", "--quiet", cwd=project)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert json.loads((project / "runs/smoke/summary.json").read_bytes())["replicas"][0]["steps"] == 30
    line = one_error(reprogrok("train", "none", "--quiet", cwd=project))
    assert "unknown experiment" in line

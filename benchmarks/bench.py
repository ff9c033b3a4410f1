"""One run on one machine: how long we take, how long the plain way takes, and the ratio.

    python benchmarks/bench.py [CKPT] [--quick]          (`make bench ARGS=...`)

Contenders take turns inside every repetition, so that whatever else the machine does falls on all of them. Figures are
medians with the range in brackets; ratios are medians of the ratios of one repetition. Model time and training are
processor time of one thread, which other processes do not stretch by taking the core away; commands are timed by the
clock on the wall. Ours counts encoding, scoring and the search for failures; of the reference only its generation.
"""

from __future__ import annotations

import argparse
import collections
import itertools
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import reference
import torch

from reprogrok.data.addition import Addition
from reprogrok.formats.checkpoints import load_checkpoint
from reprogrok.measure.exam import Examinee, build_exam
from reprogrok.model.device import choose_device, environment
from reprogrok.model.shapes import count_parameters
from reprogrok.spec import CurriculumStage, read_params
from reprogrok.train.engine import Engine

ROOT = Path(__file__).resolve().parents[1]
MODEL_TIME_BAR = 25.0  # the reference's model time over ours, for the fixture of 456 parameters
COMMAND_BAR = 3.0  # the whole command of the reference over ours
TRAINED = {"1,128 parameters": "e15", "456 parameters": "e1"}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Measure speed against the plain reference.")
    parser.add_argument("checkpoint", nargs="?", type=Path, help="default: the first of checkpoints/, else a fixture")
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it runs; the figures say little")
    parser.add_argument("--repeat", type=int, help="repetitions (default 5, or 1 with --quick)")
    options = parser.parse_args()
    path, repeat = options.checkpoint or default_checkpoint(), options.repeat or (1 if options.quick else 5)
    machine = environment(choose_device("cpu"))
    print(f"{machine['device_name']}, torch {machine['torch']}, python {machine['python']}, one thread", end="")
    print(f", load average {os.getloadavg()[0]:.1f}, {repeat} repetition(s){', QUICK' * options.quick}\n")
    bench_exam(path, repeat, limit=200 if options.quick else None)
    bench_command(path, repeat)
    for title, name in TRAINED.items():
        bench_training(title, name, repeat, steps=32 if options.quick else 256)


def default_checkpoint() -> Path:
    """The 456-parameter fixture, which the bar of the model time speaks of; else the first provided checkpoint."""
    provided = sorted((ROOT / "checkpoints").rglob("*.pt"))
    fixtures = ROOT / os.environ.get("REPROGROK_FIXTURES", "../shared/fixtures")
    found = [*fixtures.glob("checkpoints/best_456p_s43.pt"), *provided]
    if not found:
        sys.exit("no checkpoint: name one, or set REPROGROK_FIXTURES")
    return found[0]


def bench_exam(path: Path, repeat: int, limit: int | None) -> None:
    """Model time of the exam: one pass, generation, and the reference's generation."""
    checkpoint, task = load_checkpoint(path), Addition()
    exam = build_exam("uniform", task, limit)
    model, module = Examinee(checkpoint.spec, checkpoint.weights, task, torch.device("cpu")), reference.load(path)
    rows = [reference.encode(stratum.pairs.a, stratum.pairs.b) for stratum in exam.strata]
    contenders: dict[str, Callable[[], int]] = {
        "reference: generate": lambda: sum(int((~reference.right(module, part)).sum()) for part in rows),
        "ours: forward": lambda: model.examine(exam, "forward", 2_000).total.errors.k,
        "ours: generate": lambda: model.examine(exam, "generate", 2_000).total.errors.k,
    }
    problems = sum(len(part) for part in rows)
    parameters = count_parameters(checkpoint.spec)
    print(f"Model time of the exam (processor), {problems:,} problems, {parameters} parameters ({path.name})")
    model.examine(build_exam("uniform", task, 1), "forward", 1)  # what loads late loads now
    seconds, errors = turns(contenders, repeat)
    if len(set(errors.values())) != 1:
        sys.exit(f"the contenders disagree on the errors: {errors}")
    table(seconds, "s", "reference: generate")
    if limit is None:  # a few hundred problems are mostly start-up
        bar(ratio(seconds, "reference: generate", "ours: forward"), MODEL_TIME_BAR, "model time, forward")


def bench_command(path: Path, repeat: int) -> None:
    """The whole command, start to end, each in a process of its own."""
    command = Path(sys.executable).with_name("reprogrok")
    contenders: dict[str, Callable[[], int]] = {
        "reference: whole command": lambda: run(sys.executable, Path(reference.__file__), path),
        "ours: reprogrok eval": lambda: run(command, "eval", path, "--suite", "uniform", "--device", "cpu"),
    }
    print("\nThe whole command (wall clock), 100,000 problems")
    seconds, _ = turns(contenders, repeat, time.perf_counter)
    table(seconds, "s", "reference: whole command")
    bar(ratio(seconds, "reference: whole command", "ours: reprogrok eval"), COMMAND_BAR, "whole command")


def run(*command: object) -> int:
    """Run a command to its end; its exit code."""
    threads = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run([str(word) for word in command], env=threads, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{command[0]} failed: {done.stderr}")
    return done.returncode


def bench_training(title: str, name: str, repeat: int, steps: int) -> None:
    """Training steps per second in the phase of 1-10 digits, ours and a plain loop, after a repetition to warm up."""
    recipe = read_params(ROOT / "params.yaml").experiments[name]
    recipe = replace(recipe, curriculum=(CurriculumStage(0, (1, 10)),), evaluate_every=recipe.steps)
    plain = reference.train_steps(asdict(recipe.model), recipe.optimiser.lr)
    engine = Engine(recipe, (43,), torch.device("cpu"))
    state = engine.fresh()

    def ours() -> int:
        # The loop asks for the next batch before it asks whether to stop: one update less, and no chunk is wasted.
        end = state.step + steps - 1
        collections.deque(engine.train(state, lambda: state.step >= end), maxlen=0)
        return steps - 1

    contenders: dict[str, Callable[[], int]] = {
        "reference: plain loop": lambda: sum(1 for _ in itertools.islice(plain, steps)),
        "ours: engine": ours,
    }
    print(f"\nTraining (processor), {title}, batch {recipe.batch}, one seed, {steps} steps a repetition")
    turns(contenders, 1)
    seconds, done = turns(contenders, repeat)
    rates = {contender: [done[contender] / taken for taken in column] for contender, column in seconds.items()}
    table(rates, "model-steps/s", "reference: plain loop", inverse=True)


def turns(
    contenders: dict[str, Callable[[], int]], repeat: int, clock: Callable[[], float] = time.process_time
) -> tuple[dict[str, list[float]], dict[str, int]]:
    """Seconds of each contender, who take turns, and what each of them returned."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    results = {}
    for _ in range(repeat):
        for name, act in contenders.items():
            began = clock()
            results[name] = act()
            seconds[name].append(clock() - began)
    return seconds, results


def ratio(columns: dict[str, list[float]], over: str, under: str) -> float:
    """The median over repetitions of one contender's figure over another's."""
    return statistics.median(x / y for x, y in zip(columns[over], columns[under], strict=True))


def table(columns: dict[str, list[float]], unit: str, against: str, *, inverse: bool = False) -> None:
    """One line per contender: median, range, and how many times faster than the reference."""
    for name, column in columns.items():
        median, low, high = statistics.median(column), min(column), max(column)
        times = ratio(columns, name, against) if inverse else ratio(columns, against, name)
        print(f"  {name:26} {median:9.3f} {unit}  [{low:.3f} .. {high:.3f}]  {times:6.2f} x")


def bar(found: float, wanted: float, what: str) -> None:
    """Whether a bar is met."""
    print(
        f"  {what}: {found:.1f} times less than the reference, bar {wanted:g}: {'met' if found >= wanted else 'MISSED'}"
    )


if __name__ == "__main__":
    main()

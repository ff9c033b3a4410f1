"""One run on one machine: how long we take, how long the plain way takes, and the ratio.

    python benchmarks/bench.py [CKPT] [--only SECTION] [--family FAMILY] [--quick]          (`make bench ARGS=...`)

The sections are `exam` (model time), `command` (the whole of it) and `training` (bench_training.py). Contenders take
turns inside every repetition (timing.py). Figures are medians with the range in brackets. Model time is processor time
of one thread, which other processes do not stretch by taking the core away; commands are timed by the clock on the
wall. Ours counts encoding, scoring and the search for failures; of the reference only its generation.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

import reference
import torch
from bench_training import bench_training
from reference_loop import FAMILIES
from timing import Columns, Contender, met, ratio, spread, turns

from reprogrok.exam.exam import Examinee, build_exam
from reprogrok.formats.checkpoints import load_checkpoint
from reprogrok.model.device import choose_device, environment
from reprogrok.model.shapes import count_parameters
from reprogrok.tasks.addition import Addition

ROOT = Path(__file__).resolve().parents[1]
SECTIONS = ("exam", "command", "training")
MODEL_TIME_BAR = 25.0  # the reference's model time over ours, for the fixture of 456 parameters
COMMAND_BAR = 3.0  # the whole command of the reference over ours


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Measure speed against the plain reference.")
    parser.add_argument("checkpoint", nargs="?", type=Path, help="default: the first of checkpoints/, else a fixture")
    parser.add_argument("--only", choices=SECTIONS, help="this section alone")
    parser.add_argument("--family", choices=FAMILIES, help="train this family alone")
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it runs; the figures say little")
    parser.add_argument("--repeat", type=int, help="repetitions (default 5, or 1 with --quick)")
    options = parser.parse_args()
    sections, repeat = [options.only] if options.only else SECTIONS, options.repeat or (1 if options.quick else 5)
    machine = environment(choose_device("cpu"))
    print(f"{machine['device_name']}, torch {machine['torch']}, python {machine['python']}, one thread", end="")
    print(f", load average {os.getloadavg()[0]:.1f}, {repeat} repetition(s){', QUICK' * options.quick}")
    if "exam" in sections:
        bench_exam(options.checkpoint or default_checkpoint(), repeat, limit=200 if options.quick else None)
    if "command" in sections:
        bench_command(options.checkpoint or default_checkpoint(), repeat)
    if "training" in sections:
        bench_training([options.family] if options.family else FAMILIES, repeat, quick=options.quick)


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
    contenders = {
        "reference: generate": Contender(lambda: sum(int((~reference.right(module, part)).sum()) for part in rows)),
        "ours: forward": Contender(lambda: model.examine(exam, "forward", 2_000).total.errors.k),
        "ours: generate": Contender(lambda: model.examine(exam, "generate", 2_000).total.errors.k),
    }
    problems = sum(len(part) for part in rows)
    parameters = count_parameters(checkpoint.spec)
    print(f"\nModel time of the exam (processor), {problems:,} problems, {parameters} parameters ({path.name})")
    model.examine(build_exam("uniform", task, 1), "forward", 1)  # what loads late loads now
    seconds, errors = turns(contenders, repeat)
    if len(set(errors.values())) != 1:
        sys.exit(f"the contenders disagree on the errors: {errors}")
    table(seconds, "reference: generate")
    if limit is None:  # a few hundred problems are mostly start-up
        print(f"  model time, forward: {met(ratio(seconds, 'reference: generate', 'ours: forward'), MODEL_TIME_BAR)}")


def bench_command(path: Path, repeat: int) -> None:
    """The whole command, start to end, each in a process of its own."""
    command = Path(sys.executable).with_name("reprogrok")
    plain, ours = (sys.executable, reference.__file__, path), (command, "eval", path, "--suite", "uniform")
    contenders = {
        "reference: whole command": Contender(lambda: run(*plain), time.perf_counter),
        "ours: reprogrok eval": Contender(lambda: run(*ours, "--device", "cpu"), time.perf_counter),
    }
    print("\nThe whole command (wall clock), 100,000 problems")
    seconds, _ = turns(contenders, repeat)
    table(seconds, "reference: whole command")
    print(f"  whole command: {met(ratio(seconds, 'reference: whole command', 'ours: reprogrok eval'), COMMAND_BAR)}")


def run(*command: object) -> None:
    """Run a command to its end."""
    threads = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run([str(word) for word in command], env=threads, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{command[0]} failed: {done.stderr}")


def table(seconds: Columns, against: str) -> None:
    """One line per contender: median, range, and how many times faster than the reference."""
    for name, column in seconds.items():
        print(f"  {name:26} {spread(column, 3)} s  {ratio(seconds, against, name):6.2f} x")


if __name__ == "__main__":
    main()

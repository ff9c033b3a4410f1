"""How many model-steps per second reprogrok trains, against the plain loop of the same run and against the roofline.

A model-step is one update of one replica, so a step of R replicas counts R. On one core a contender's seconds are
processor time; "on all cores" is one process per core with one thread each, by the clock on the wall, and its reference
is the plain loop running likewise on every core. The bars stand on one replica per core, on one core and on all;
a stack must only not fall behind the reference.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial

from cores import EveryCore, Trainer
from ours import NotOfferedError, OurTrainer
from reference_loop import FAMILIES, Loop
from roofline import Machine, least_step, measure_machine
from timing import Columns, Contender, met, ratio, spread, turns

from reprogrok.model.device import usable_cores
from reprogrok.train.backends import PATHS

REPLICAS = (1, 8, 32)
BARS = {("addition-456", "compiled"): 8.0, ("addition-456", "eager"): 3.5}
LEAST_BAR = 1.0  # for everything else

# Steps of a repetition with one replica and with more. Addition's are one less than a multiple of 32: the engine draws
# its batches 32 steps at a time and looks for the next one before it stops.
STEPS = {
    "addition-456": (127, 31),
    "addition-1128": (127, 31),
    "llmc8-1": (3, 1),
    "llmc8-2": (2, 1),
    "text9-v1": (4, 1),
}
WARM_UP = 2  # steps: what loads, allocates or compiles late does so now


@dataclass(frozen=True)
class Row:
    """One line of the table: who trains, how many replicas in each of how many processes, by what clock."""

    path: str
    replicas: int
    cores: int | None = None  # None: in this process, by processor time

    def who(self) -> str:
        """How many replicas, and where."""
        return f"{self.replicas} x {self.cores} cores" if self.cores else f"{self.replicas}"

    def label(self) -> str:
        """As the table shows it."""
        return f"{self.path:10} {self.who()}"

    def reference(self) -> Row:
        """The line that this one is compared with."""
        return Row("reference", 1, self.cores)

    def bar(self, family: str) -> float:
        """How many times faster than the reference it has to be."""
        return BARS.get((family, self.path), LEAST_BAR) if self.replicas == 1 else LEAST_BAR

    def make(self, family: str) -> Callable[[], Trainer]:
        """What builds its trainer, here or in another process."""
        return partial(build, family, self.path, self.replicas)


def build(family: str, path: str, replicas: int) -> Trainer:
    """A trainer of the plain loop or of ours."""
    if path != "reference":
        return OurTrainer(family, replicas, path)
    plain = FAMILIES[family]
    # Both sides without dropout, which the engine does not have.
    return Loop(replace(plain, config={**plain.config, "dropout": 0.0}))


def rows(cores: int, replicas: Iterable[int]) -> list[Row]:
    """The lines of a family's table."""
    ours = [Row(path, count) for path in PATHS for count in replicas]
    return [Row("reference", 1), *ours, *(Row(path, 1, cores) for path in ("reference", *PATHS))]


def bench_training(families: Iterable[str], repeat: int, *, quick: bool) -> None:
    """Measure the machine, then a table per family."""
    machine = measure_machine(*(512, 16) if quick else ())
    print(f"\nCeilings of one core: {machine.flops / 1e9:.0f} GFLOP/s, {machine.bandwidth / 1e9:.1f} GB/s copied")
    cores = 1 if quick else usable_cores()
    for family in families:
        bench_family(family, rows(cores, (1, 2) if quick else REPLICAS), repeat, machine, quick=quick)


def bench_family(family: str, wanted: list[Row], repeat: int, machine: Machine, *, quick: bool) -> None:
    """Let everything that can train the family take turns, and print its table."""
    roofline = machine.steps_per_second(least_step(FAMILIES[family]))
    print(f"\nTraining {family} (batch {FAMILIES[family].batch:,}): model-steps/s", end="")
    print(f"; roofline {roofline:,.{_digits(roofline)}f} per core")
    with ExitStack() as stack:
        contenders: dict[str, Contender] = {}
        missing: dict[tuple[str, str], list[str]] = {}  # path and reason -> which rows
        updates: dict[str, int] = {}
        for row in wanted:
            steps = WARM_UP if quick else STEPS[family][row.replicas > 1]
            try:
                trainer = _start(family, row, stack)
            except NotOfferedError as error:
                missing.setdefault((row.path, str(error)), []).append(row.who())
                continue
            clock = time.perf_counter if row.cores else time.process_time
            contenders[row.label()] = Contender(partial(trainer.train, steps), clock)
            updates[row.label()] = steps * row.replicas * (row.cores or 1)
        seconds, _ = turns(contenders, repeat)
    rates = {name: [updates[name] / taken for taken in column] for name, column in seconds.items()}
    print(f"  {'path and replicas':30} {'median':>9}  {'[range]':24} {'x ref.':>7} {'of roofline':>12}")
    for row in wanted:
        if row.label() in rates:
            print(f"  {row.label():30} {_line(family, row, rates, roofline, quick=quick)}")
    for (path, reason), replicas in missing.items():
        print(f"  {path:10} {', '.join(replicas)}: not offered: {reason}")


def _start(family: str, row: Row, stack: ExitStack) -> Trainer:
    """The row's trainer, ready and warm.

    Raises:
        NotOfferedError: there is none, which is found out here and not in another process.
    """
    trainer = row.make(family)()
    if row.cores:
        trainer = stack.enter_context(EveryCore(row.make(family), row.cores))
    trainer.train(WARM_UP)
    return trainer


def _line(family: str, row: Row, rates: Columns, roofline: float, *, quick: bool) -> str:
    column, against = rates[row.label()], row.reference().label()
    times = ratio(rates, row.label(), against)
    share = statistics.median(column) / (roofline * (row.cores or 1))
    judged = row.path != "reference" and not quick  # a few steps are mostly noise
    verdict = f"  {met(times, row.bar(family))}" if judged else ""
    return f"{spread(column, _digits(statistics.median(column))):35} {times:7.2f} {share:12.2%}{verdict}"


def _digits(rate: float) -> int:
    return 0 if rate >= 100 else 2

"""The training rate of reprogrok in model-steps per second, against the plain loop of the same run and the roofline.

A model-step is one update of one replica, so a step of R replicas counts R. On one core a contender's seconds are
processor time; "on all cores" is one process per core with one thread each, by the clock on the wall, and its reference
is the plain loop on every core. The bars hold for one replica per core, on one core and on all; a stack must only not
be slower than the reference.
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
from reprogrok.train.backends import Backend

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
WARM_UP = 2  # steps in which libraries load, allocate and compile


@dataclass(frozen=True)
class Row:
    """A row of the table: the backend, the replicas in each of so many processes, and the clock."""

    backend: str
    replicas: int
    cores: int | None = None  # None: in this process, by processor time

    def who(self) -> str:
        """Return the number of replicas and cores."""
        return f"{self.replicas} x {self.cores} cores" if self.cores else f"{self.replicas}"

    def label(self) -> str:
        """Return the label of the row."""
        return f"{self.backend:10} {self.who()}"

    def reference(self) -> Row:
        """Return the row that this one is compared with."""
        return Row("reference", 1, self.cores)

    def bar(self, family: str) -> float:
        """Return the required ratio to the reference."""
        return BARS.get((family, self.backend), LEAST_BAR) if self.replicas == 1 else LEAST_BAR

    def make(self, family: str) -> Callable[[], Trainer]:
        """Return a function that builds its trainer, here or in another process."""
        return partial(build, family, self.backend, self.replicas)


def build(family: str, backend: str, replicas: int) -> Trainer:
    """Build a trainer of the plain loop or of ours."""
    if backend != "reference":
        return OurTrainer(family, replicas, backend)
    plain = FAMILIES[family]
    # Both sides without dropout, which the engine does not have.
    return Loop(replace(plain, config={**plain.config, "dropout": 0.0}))


def rows(cores: int, replicas: Iterable[int]) -> list[Row]:
    """Return the rows of a family's table."""
    ours = [Row(backend, count) for backend in Backend for count in replicas]
    return [Row("reference", 1), *ours, *(Row(backend, 1, cores) for backend in ("reference", *Backend))]


def bench_training(families: Iterable[str], repeat: int, *, quick: bool) -> None:
    """Measure the machine, then a table per family."""
    machine = measure_machine(*(512, 16) if quick else ())
    print(f"\nCeilings of one core: {machine.flops / 1e9:.0f} GFLOP/s, {machine.bandwidth / 1e9:.1f} GB/s copied")
    cores = 1 if quick else usable_cores()
    for family in families:
        bench_family(family, rows(cores, (1, 2) if quick else REPLICAS), repeat, machine, quick=quick)


def bench_family(family: str, wanted: list[Row], repeat: int, machine: Machine, *, quick: bool) -> None:
    """Measure every trainer of the family in turns, and print the table."""
    roofline = machine.steps_per_second(least_step(FAMILIES[family]))
    print(f"\nTraining {family} (batch {FAMILIES[family].batch:,}): model-steps/s", end="")
    print(f"; roofline {roofline:,.{_digits(roofline)}f} per core")
    with ExitStack() as stack:
        contenders: dict[str, Contender] = {}
        missing: dict[tuple[str, str], list[str]] = {}  # backend and reason -> rows
        updates: dict[str, int] = {}
        for row in wanted:
            steps = WARM_UP if quick else STEPS[family][row.replicas > 1]
            try:
                trainer = _start(family, row, stack)
            except NotOfferedError as error:
                missing.setdefault((row.backend, str(error)), []).append(row.who())
                continue
            clock = time.perf_counter if row.cores else time.process_time
            contenders[row.label()] = Contender(partial(trainer.train, steps), clock)
            updates[row.label()] = steps * row.replicas * (row.cores or 1)
        seconds, _ = turns(contenders, repeat)
    rates = {name: [updates[name] / taken for taken in column] for name, column in seconds.items()}
    print(f"  {'backend and replicas':30} {'median':>9}  {'[range]':24} {'x ref.':>7} {'of roofline':>12}")
    for row in wanted:
        if row.label() in rates:
            print(f"  {row.label():30} {_line(family, row, rates, roofline, quick=quick)}")
    for (backend, reason), replicas in missing.items():
        print(f"  {backend:10} {', '.join(replicas)}: not offered: {reason}")


def _start(family: str, row: Row, stack: ExitStack) -> Trainer:
    """Return the row's trainer after its warm-up.

    Raises:
        NotOfferedError: there is none; raised here and not in another process.
    """
    trainer = row.make(family)()
    if row.cores:
        trainer = stack.enter_context(EveryCore(row.make(family), row.cores))
    trainer.train(WARM_UP)
    return trainer


def _line(family: str, row: Row, rates: Columns, roofline: float, *, quick: bool) -> str:
    column, against = rates[row.label()], row.reference().label()
    times = ratio(rates, row.label(), against)
    fraction = statistics.median(column) / (roofline * (row.cores or 1))
    judged = row.backend != "reference" and not quick  # a few steps are mostly noise
    verdict = f"  {met(times, row.bar(family))}" if judged else ""
    return f"{spread(column, _digits(statistics.median(column))):35} {times:7.2f} {fraction:12.2%}{verdict}"


def _digits(rate: float) -> int:
    return 0 if rate >= 100 else 2

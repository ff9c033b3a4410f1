"""Searched and checked blocks -> progress on stderr: bars on a terminal, else lines with the seconds so far.

Without a terminal there are ten lines a phase, and one every `_QUIET` seconds while cases are halved.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from reprogrok.certificate.checker.carries import Block, blocks
from reprogrok.console import console

Show = Callable[[str, Block], None]
Watch = Callable[[float], None]
_STEPS = 10  # lines of a phase
_QUIET = 15.0  # seconds between lines about open problems


@contextmanager
def block_display(
    digits: int,
    phases: Sequence[str],
    *,
    quiet: bool = False,
    clock: Callable[[], float] = time.monotonic,
    screen: Console | None = None,
) -> Iterator[tuple[Show, Watch]]:
    """Yield two callbacks: one takes each block of each phase, the other the fraction of problems that is open.

    Args:
        digits: n, of each operand.
        phases: names of the phases, in their order.
        quiet: show nothing.
        clock: in seconds.
        screen: the console; stderr if None.
    """
    if quiet:
        yield lambda _phase, _block: None, lambda _fraction: None
        return
    screen = screen or console(stderr=True)
    total = sum(1 for _ in blocks(digits))
    if not screen.is_terminal or screen.is_dumb_terminal:
        yield _lines(total, screen, clock)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[about]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=screen, transient=True) as bars:
        tasks = {phase: bars.add_task(phase, total=total, start=False, about="") for phase in phases}

        def show(phase: str, block: Block) -> None:
            task = tasks[phase]
            bars.start_task(task)
            bars.update(task, advance=1, about=f"place {block.place} of {digits}")

        def watch(fraction: float) -> None:
            bars.update(tasks[phases[0]], about=_open_text(fraction))

        yield show, watch


def _lines(total: int, screen: Console, clock: Callable[[], float]) -> tuple[Show, Watch]:
    began, done, said = clock(), Counter[str](), [clock()]

    def show(phase: str, _block: Block) -> None:
        done[phase] += 1
        if done[phase] * _STEPS // total > (done[phase] - 1) * _STEPS // total:
            screen.print(f"{clock() - began:7.0f} s  {phase} {done[phase]} of {total} blocks", soft_wrap=True)

    def watch(fraction: float) -> None:
        if clock() - said[0] >= _QUIET:
            said[0] = clock()
            screen.print(f"{clock() - began:7.0f} s  {_open_text(fraction)}", soft_wrap=True)

    return show, watch


def _open_text(fraction: float) -> str:
    return f"halving, {fraction:.1e} of all problems open"

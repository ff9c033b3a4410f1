"""Blocks that were searched or checked -> what people watch meanwhile, on stderr: bars on a terminal, else lines.

Without a terminal there is one line per place and phase, with the seconds since the beginning.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from reprogrok.data.carries import Block, blocks
from reprogrok.report.console import console

if TYPE_CHECKING:
    from rich.console import Console

Show = Callable[[str, Block], None]


@contextmanager
def block_display(
    digits: int,
    phases: Sequence[str],
    *,
    quiet: bool = False,
    clock: Callable[[], float] = time.monotonic,
    screen: Console | None = None,
) -> Iterator[Show]:
    """A callback that is told of each block in each phase, in the order of blocks; a phase may come back to a block.

    Args:
        digits: of the task.
        phases: what is done to every block, in one word each, in their order.
        quiet: show nothing.
        clock: in seconds.
        screen: where to; stderr if None.
    """
    if quiet:
        yield lambda _phase, _block: None
        return
    screen = screen or console(stderr=True)
    total = sum(1 for _ in blocks(digits))
    if not screen.is_terminal or screen.is_dumb_terminal:
        yield _lines(digits, screen, clock)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[place]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=screen, transient=True) as bars:
        tasks = {phase: bars.add_task(phase, total=total, start=False, place="") for phase in phases}

        def show(phase: str, block: Block) -> None:
            task = tasks[phase]
            bars.start_task(task)
            bars.update(task, advance=1, place=f"place {block.place} of {digits}")

        yield show


def _lines(digits: int, screen: Console, clock: Callable[[], float]) -> Show:
    began = clock()
    last = {block.place: block for block in blocks(digits)}  # the last token of a place comes last

    def show(phase: str, block: Block) -> None:
        if block == last[block.place]:
            screen.print(f"{clock() - began:7.0f} s  {phase} place {block.place} of {digits}", soft_wrap=True)

    return show

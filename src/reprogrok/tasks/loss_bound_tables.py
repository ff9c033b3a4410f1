"""Loss floors -> a table by position and by window, or a document; both from one object."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE
from rich.table import Table
from rich.text import Text

from reprogrok.spec import ModularTask
from reprogrok.tasks.loss_bounds import CHANCE, MEMORISED, TASK_KNOWN, Floor, LossFloors
from reprogrok.tasks.split_tables import split_text, task_text
from reprogrok.text import counted

if TYPE_CHECKING:
    from rich.console import Console

_HEADINGS = {TASK_KNOWN: "task known", CHANCE: "chance", MEMORISED: "memorised"}
_UNKNOWN = "unknown"


def print_floors(name: str, task: ModularTask, floors: LossFloors, console: Console) -> None:
    """One row for each position and each window, one column for each floor; the test set where it is different."""
    console.print(Text(f"{name}: {task_text(task)}, the least loss in nats", style="bold"), soft_wrap=True)
    console.print(f"  split: {split_text(task.split)}", soft_wrap=True)
    left_out = f" ({floors.left_out:,} more in no full batch)" if floors.left_out else ""
    console.print(f"  {floors.train:,} training rows{left_out} and {floors.test:,} test rows", soft_wrap=True)
    scored = floors.windows[floors.window]
    console.print(f"  *: the loss of this experiment, a mean over {counted(len(scored), 'position')}", soft_wrap=True)
    console.print(_table(floors))
    for line in (
        "task known: format and rule; operands as likely as among all equations.",
        f"chance: the same, but each of the {floors.answers} answers equally likely.",
        "memorised: each token as likely as after the same prefix in the training set.",
    ):
        console.print(line, soft_wrap=True)
    memorised = floors.floor(MEMORISED, "test").nats_T
    if any(map(math.isinf, memorised)):
        console.print("infinite: some token never follows its prefix in training.", soft_wrap=True)
    if any(map(math.isnan, memorised)):
        console.print(f"{_UNKNOWN}: some prefix never occurs in training.", soft_wrap=True)


def _table(floors: LossFloors) -> Table:
    shown = _shown(floors)
    table = Table(box=SIMPLE)
    table.add_column("position", justify="right")
    table.add_column("predicts", no_wrap=True)
    for _, heading in shown:
        table.add_column(heading, justify="right", min_width=8)
    for position, token in enumerate(floors.predicted):
        last = position == len(floors.predicted) - 1
        table.add_row(str(position), token, *(_nats(floor.nats_T[position]) for floor, _ in shown), end_section=last)
    shown_already: list[range] = []
    for window, positions in floors.windows.items():
        own = window == floors.window
        if not own and positions in shown_already:
            continue
        shown_already.append(positions)
        words = f"mean: {window}{' *' if own else ''}"
        table.add_row(
            _span(positions), words, *(_nats(floor.mean(positions)) for floor, _ in shown), style="bold" if own else ""
        )
    return table


def _shown(floors: LossFloors) -> list[tuple[Floor, str]]:
    """Each floor on the training rows, and on the test rows where it says something else."""
    shown = []
    for definition, heading in _HEADINGS.items():
        train, test = (floors.floor(definition, side) for side in ("training", "test"))
        if _same(train, test):
            shown.append((train, heading))
        else:
            shown += [(train, f"{heading},\non training"), (test, f"{heading},\non test")]
    return shown


def _same(one: Floor, other: Floor) -> bool:
    """To the digits that are printed."""
    return [_nats(nats) for nats in one.nats_T] == [_nats(nats) for nats in other.nats_T]


def _span(positions: range) -> str:
    return str(positions[0]) if len(positions) == 1 else f"{positions[0]}..{positions[-1]}"


def _nats(nats: float) -> str:
    return _UNKNOWN if math.isnan(nats) else "infinite" if math.isinf(nats) else f"{nats:.4f}"


def document_of(name: str, task: ModularTask, floors: LossFloors) -> dict[str, Any]:
    """The floors as plain data; what is no number is the word "infinite" or "unknown"."""
    return {
        "experiment": name,
        "task": asdict(task),
        "train": floors.train,
        "left_out": floors.left_out,
        "test": floors.test,
        "answers": floors.answers,
        "predicted": list(floors.predicted),
        "window": floors.window,
        "windows": {window: list(positions) for window, positions in floors.windows.items()},
        "floors": [
            {
                "definition": floor.id,
                "side": floor.side,
                "nats": [_number(nats) for nats in floor.nats_T],
                "mean": {window: _number(floor.mean(positions)) for window, positions in floors.windows.items()},
            }
            for floor in floors.floors
        ],
    }


def _number(nats: float) -> float | str:
    return nats if math.isfinite(nats) else _nats(nats)

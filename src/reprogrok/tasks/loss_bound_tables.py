"""Loss bounds -> a table by position and by window, or a document."""

from __future__ import annotations

import math
from dataclasses import asdict

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from reprogrok.spec.task import ModularTask
from reprogrok.tasks.loss_bounds import CHANCE, MEMORISED, TASK_KNOWN, LossBound, LossBounds
from reprogrok.tasks.split_tables import split_text, task_text
from reprogrok.text import counted

_HEADINGS = {TASK_KNOWN: "task known", CHANCE: "chance", MEMORISED: "memorised"}
_UNKNOWN = "unknown"


def print_loss_bounds(name: str, task: ModularTask, bounds: LossBounds, console: Console) -> None:
    """Print a row for each position and window and a column for each bound; test columns only where they differ."""
    console.print(Text(f"{name}: {task_text(task)}, the least loss in nats", style="bold"), soft_wrap=True)
    console.print(f"  split: {split_text(task.split)}", soft_wrap=True)
    left_out = f" ({bounds.left_out:,} more in no full batch)" if bounds.left_out else ""
    console.print(f"  {bounds.train:,} training rows{left_out} and {bounds.test:,} test rows", soft_wrap=True)
    scored = bounds.windows[bounds.window]
    console.print(f"  *: the loss of this experiment, a mean over {counted(len(scored), 'position')}", soft_wrap=True)
    console.print(_table(bounds))
    for line in (
        "task known: format and rule; operands as likely as among all equations.",
        f"chance: the same, but each of the {bounds.answers} answers equally likely.",
        "memorised: each token as likely as after the same prefix in the training set.",
    ):
        console.print(line, soft_wrap=True)
    memorised = bounds.bound(MEMORISED, "test").nats_T
    if any(map(math.isinf, memorised)):
        console.print("infinite: some token never follows its prefix in training.", soft_wrap=True)
    if any(map(math.isnan, memorised)):
        console.print(f"{_UNKNOWN}: some prefix never occurs in training.", soft_wrap=True)


def _table(bounds: LossBounds) -> Table:
    shown = _shown(bounds)
    table = Table(box=SIMPLE)
    table.add_column("position", justify="right")
    table.add_column("predicts", no_wrap=True)
    for _, heading in shown:
        table.add_column(heading, justify="right", min_width=8)
    for position, token in enumerate(bounds.predicted):
        last = position == len(bounds.predicted) - 1
        table.add_row(str(position), token, *(_nats(bound.nats_T[position]) for bound, _ in shown), end_section=last)
    shown_already: list[range] = []
    for window, positions in bounds.windows.items():
        own = window == bounds.window
        if not own and positions in shown_already:
            continue
        shown_already.append(positions)
        label = f"mean: {window}{' *' if own else ''}"
        table.add_row(
            _span(positions), label, *(_nats(bound.mean(positions)) for bound, _ in shown), style="bold" if own else ""
        )
    return table


def _shown(bounds: LossBounds) -> list[tuple[LossBound, str]]:
    """Return each bound on the training rows, and on the test rows where it differs."""
    shown = []
    for definition, heading in _HEADINGS.items():
        train, test = (bounds.bound(definition, side) for side in ("training", "test"))
        if _same(train, test):
            shown.append((train, heading))
        else:
            shown += [(train, f"{heading},\non training"), (test, f"{heading},\non test")]
    return shown


def _same(one: LossBound, other: LossBound) -> bool:
    """Whether two bounds agree to the printed digits."""
    return [_nats(nats) for nats in one.nats_T] == [_nats(nats) for nats in other.nats_T]


def _span(positions: range) -> str:
    return str(positions[0]) if len(positions) == 1 else f"{positions[0]}..{positions[-1]}"


def _nats(nats: float) -> str:
    return _UNKNOWN if math.isnan(nats) else "infinite" if math.isinf(nats) else f"{nats:.4f}"


def document_of(name: str, task: ModularTask, bounds: LossBounds) -> dict[str, object]:
    """Return the bounds as plain data; values that are not finite become "infinite" or "unknown"."""
    return {
        "experiment": name,
        "task": asdict(task),
        "train": bounds.train,
        "left_out": bounds.left_out,
        "test": bounds.test,
        "answers": bounds.answers,
        "predicted": list(bounds.predicted),
        "window": bounds.window,
        "windows": {window: list(positions) for window, positions in bounds.windows.items()},
        "floors": [
            {
                "definition": bound.id,
                "side": bound.side,
                "nats": [_number(nats) for nats in bound.nats_T],
                "mean": {window: _number(bound.mean(positions)) for window, positions in bounds.windows.items()},
            }
            for bound in bounds.bounds
        ],
    }


def _number(nats: float) -> float | str:
    return nats if math.isfinite(nats) else _nats(nats)

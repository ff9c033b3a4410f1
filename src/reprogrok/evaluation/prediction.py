"""One generated answer -> a table of places: the right token, the model's token and the margin."""

from __future__ import annotations

from rich.box import SIMPLE
from rich.table import Table
from rich.text import Text
from torch import Tensor

from reprogrok.exam.exam import Task
from reprogrok.tasks.addition import SYMBOLS, Addition


def prediction_table(task: Task, answer_A: Tensor, logits_VA: Tensor, expected_A: Tensor) -> Table:
    """Tabulate an answer in generation order: digits from the least significant on, or one residue.

    Args:
        task: the task, which gives the places and symbols.
        answer_A: the model's tokens.
        logits_VA: the logits they were chosen from.
        expected_A: the right tokens.
    """
    symbols = SYMBOLS if isinstance(task, Addition) else task.symbols
    table = Table(box=SIMPLE)
    for name in ("place", "right", "model", "margin", "strongest other"):
        table.add_column(name, justify="right")
    for place in range(task.answer_length):
        logits_V, right = logits_VA[:, place].clone(), int(expected_A[place])
        of_right = float(logits_V[right])
        logits_V[right] = -float("inf")
        other = int(logits_V.argmax())
        margin = of_right - float(logits_V[other])
        wrong = int(answer_A[place]) != right
        shown = (symbols[token] for token in (right, int(answer_A[place])))
        cells = (f"10^{place}" if isinstance(task, Addition) else "answer", *shown, f"{margin:.4f}", symbols[other])
        table.add_row(*map(Text, cells), style="bold red" if wrong else "")
    return table

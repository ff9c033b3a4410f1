"""One generated answer -> a table: place by place, the right token, the model's, and the margin."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.box import SIMPLE
from rich.table import Table
from rich.text import Text

from reprogrok.tasks.addition import SYMBOLS, Addition

if TYPE_CHECKING:
    from torch import Tensor

    from reprogrok.exam.exam import Task


def prediction_table(task: Task, answer_A: Tensor, logits_VA: Tensor, expected_A: Tensor) -> Table:
    """The answer in the order in which the model gives it: digits from the least significant on, a residue as one.

    Args:
        task: for the number of places and the symbols.
        answer_A: the tokens that the model chose.
        logits_VA: what it chose them from.
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

"""A comparison -> two tables: the checkpoints side by side, and which of their differences are more than chance."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.box import SIMPLE
from rich.table import Table

from reprogrok.measure.statistics import interval_text

if TYPE_CHECKING:
    from rich.console import Console

    from reprogrok.judge.comparison import Comparison


def print_comparison(comparison: Comparison, console: Console) -> None:
    """Scores, rates over seeds, and pairs."""
    console.print(_scores(comparison))
    for name, rate in comparison.grokked.items():
        console.print(
            f"{name}: {rate.k} of {rate.n} seeds grokked (rate {interval_text(rate)}, 95 %, exact; grokked: at least "
            "99 % of the uniform problems right)",
            soft_wrap=True,
        )
    if comparison.pairs:
        console.print(_pairs(comparison))


def _scores(comparison: Comparison) -> Table:
    table = Table(box=SIMPLE, title="checkpoints", title_justify="left")
    table.add_column("checkpoint", overflow="fold")
    for name in ("parameters", "exam", "errors", "of", "error rate, 95 %"):
        table.add_column(name, justify="left" if name == "exam" else "right")
    for entry in comparison.entries:
        for index, sitting in enumerate(entry.sittings.values()):
            size = "" if entry.parameters is None else f"{entry.parameters:,}"
            head = (entry.label, size) if index == 0 else ("", "")
            errors = sitting.errors
            rate = interval_text(errors) if sitting.exam.startswith("addition-100k") else "differs by stratum"
            table.add_row(*head, sitting.exam, f"{errors.k:,}", f"{errors.n:,}", rate)
    return table


def _pairs(comparison: Comparison) -> Table:
    table = Table(box=SIMPLE, title="differences (p adjusted by Holm for all rows)", title_justify="left")
    for name in ("exam", "first", "second"):
        table.add_column(name, overflow="fold")
    for name in ("only first wrong", "only second wrong", "p", "adjusted"):
        table.add_column(name, justify="right")
    for name in ("test", "more than chance?"):
        table.add_column(name)
    for pair in comparison.pairs:
        wrong = ("-" if n is None else f"{n:,}" for n in (pair.only_first, pair.only_second))
        answer = "yes" if pair.differs else "not shown"
        table.add_row(
            pair.suite, pair.first, pair.second, *wrong, f"{pair.p:.3g}", f"{pair.p_adjusted:.3g}", pair.test, answer
        )
    return table

"""A comparison -> tables: checkpoints side by side, and the differences that are more than chance.

A few pairs are printed as a table with p-values, many as a square of signs.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from reprogrok.evaluation.comparison import CheckpointPair, Comparison
from reprogrok.stats.proportions import interval_text
from reprogrok.text import counted

_TESTS = {"McNemar": "McNemar's exact test, on the problems that only one of the two gets wrong"}
_MOST_ROWS = 12  # pairs in a table; more are printed as a square per suite


def print_comparison(comparison: Comparison, console: Console) -> None:
    """Print scores, rates over seeds, and pairs."""
    suites = list(comparison.checkpoints[0].suites)
    for suite in suites:
        counts = comparison.checkpoints[0].suites[suite]
        headline = f"{suite}: errors in {counts.errors.n:,} problems of {counts.exam}"
        console.print(Text(headline, style="bold"), soft_wrap=True)
        console.print(_scores(comparison, suite))
    for name, rate in comparison.grokked.items():
        reached = f"{name}: {rate.k} of {counted(rate.n, 'examined seed')} grokked"
        console.print(f"{reached} (rate {interval_text(rate)}, 95 %, exact)", soft_wrap=True)
    if comparison.grokked:
        console.print("  grokked: at least 99 % of the uniform (or held-out) problems right\n", soft_wrap=True)
    if not comparison.pairs:
        return
    console.print(Text("differences", style="bold"))
    console.print("  more than chance: p at most 0.05, adjusted for all pairs together (Holm)", soft_wrap=True)
    for test in dict.fromkeys(pair.test for pair in comparison.pairs):
        console.print(f"  {_TESTS.get(test, test)}", soft_wrap=True)
    if len(comparison.pairs) <= _MOST_ROWS:
        console.print(_pairs(comparison))
        return
    for suite in suites:
        pairs = [pair for pair in comparison.pairs if pair.suite == suite]
        differ = sum(pair.differs for pair in pairs)
        console.print(
            f"{suite}: {differ:,} of {counted(len(pairs), 'pair')} differ by more than chance", soft_wrap=True
        )
        console.print(_square(comparison, suite, pairs))
    console.print("  < row has fewer errors than column, > more, . not shown to differ", soft_wrap=True)


def _scores(comparison: Comparison, suite: str) -> Table:
    table = Table(box=SIMPLE)
    table.add_column("", justify="right", no_wrap=True)
    table.add_column("checkpoint", overflow="fold")
    for name in ("parameters", "errors"):
        table.add_column(name, justify="right", no_wrap=True)
    # Strata of different laws together are not a sample, so the rate has no interval.
    with_rate = suite == "uniform"
    if with_rate:
        table.add_column("error rate, 95 %", justify="right", no_wrap=True)
    for number, checkpoint in enumerate(comparison.checkpoints, 1):
        errors = checkpoint.suites[suite].errors
        size = "" if checkpoint.parameters is None else f"{checkpoint.parameters:,}"
        rate = (interval_text(errors),) if with_rate else ()
        table.add_row(f"[{number}]", checkpoint.label, size, f"{errors.k:,}", *rate)
    return table


def _pairs(comparison: Comparison) -> Table:
    numbers = _numbers(comparison)
    table = Table(box=SIMPLE)
    for name in ("exam", "first", "second"):
        table.add_column(name)
    for name in ("only first wrong", "only second wrong", "p adjusted"):
        table.add_column(name, justify="right")
    table.add_column("differs?")
    for pair in comparison.pairs:
        wrong = ("-" if n is None else f"{n:,}" for n in (pair.only_first, pair.only_second))
        names = (f"[{numbers[label]}]" for label in (pair.first, pair.second))
        table.add_row(pair.suite, *names, *wrong, f"{pair.p_adjusted:.3g}", "yes" if pair.differs else "not shown")
    return table


def _square(comparison: Comparison, suite: str, pairs: Sequence[CheckpointPair]) -> Table:
    numbers = _numbers(comparison)
    table = Table(box=SIMPLE, padding=(0, 0))
    table.add_column("", justify="right")
    for number in numbers.values():
        table.add_column(f" [{number}]", justify="right")
    errors = {checkpoint.label: checkpoint.suites[suite].errors.k for checkpoint in comparison.checkpoints}
    differ = {(pair.first, pair.second) for pair in pairs if pair.differs}
    for row, number in numbers.items():
        signs = []
        for column in numbers:
            shown = (row, column) in differ or (column, row) in differ
            signs.append("" if row == column else "." if not shown else "<" if errors[row] < errors[column] else ">")
        table.add_row(f"[{number}]", *signs)
    return table


def _numbers(comparison: Comparison) -> dict[str, int]:
    return {checkpoint.label: number for number, checkpoint in enumerate(comparison.checkpoints, 1)}

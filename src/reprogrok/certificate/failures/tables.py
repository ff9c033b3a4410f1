"""Failures of a statement -> a paragraph and a table, no line wider than 80 columns; bounds are rounded outwards.

The table has a row for each description: the conditions that most failures of a place meet, then narrower ones.
"""

from __future__ import annotations

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from reprogrok.certificate.checker.statement import FailureCondition, Statement
from reprogrok.certificate.failures.text import (
    PlaceReport,
    bounds_text,
    count_text,
    joined,
    paragraph,
    percent_text,
    place_reports,
    rule_text,
)

_WIDTH = 80


def print_failures(statement: Statement, console: Console) -> None:
    """Print the paragraph, then the table, of a statement that has failures."""
    reports = place_reports(statement)
    console.print(Text(paragraph(reports, statement.wrong)), width=_WIDTH)
    table = Table(box=SIMPLE, width=_WIDTH, pad_edge=False)
    table.add_column("place", justify="right")
    table.add_column("wrong there", justify="right")
    table.add_column("of problems with", ratio=1)
    table.add_column("wrong", justify="right")
    for report in reports:
        for index, description in enumerate(report.described):
            place, wrong = (str(report.place), _wrong(report)) if index == 0 else ("", "")
            text = Text(rule_text(description.conditions, report.digits))
            if index and description is report.failures.seen:
                text.append(f"\nso are {description.counterexamples:,} counterexamples", style="dim")
            if index == 0 and (answers := report.answers()):
                shown = [f"{each.answer} for {each.right} ({each.count:,})" for each in answers[:3]]
                text.append(f"\nanswered: {joined(shown)}", style="dim")
            table.add_row(place, wrong, text, _fraction(description, report))
    console.print(table)


def _wrong(report: PlaceReport) -> str:
    """Write the number of wrong problems, in two lines where it is not certain."""
    at_least, at_most = report.wrong.at_least, report.wrong.at_most
    if at_most == 0:
        return f"{len(report.examples):,} seen"
    if at_least == at_most:
        return bounds_text(report.wrong).removeprefix("about ")
    return f"{count_text(at_least, upper=False)} to\n{count_text(at_most, upper=True)}"


def _fraction(description: FailureCondition, report: PlaceReport) -> str:
    """Write how many of the problems under a description fail, in per cent."""
    wrong, problems = description.wrong, description.problems
    if report.wrong.at_most == 0:
        return f"{description.counterexamples:,} seen"
    if wrong.at_least == wrong.at_most:
        return percent_text(wrong.at_least, problems)
    low = percent_text(wrong.at_least, problems, upper=False)
    high = percent_text(wrong.at_most, problems, upper=True)
    return low if low == high else f"{low.removesuffix(' %')} to\n{high}"

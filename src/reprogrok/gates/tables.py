"""A verdict -> what a person reads in a terminal or in a log: one row per seed, criterion and condition, then why.

Rows are built as `Text`, never as markup: a title or a path with brackets in it is printed as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from rich.text import Text

from reprogrok.gates import text as words
from reprogrok.gates.verdict import Decision, Outcome, RegistrationStatus, Verdict
from reprogrok.text import fingerprint_lines

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

STYLES = {
    Outcome.HOLDS: "green",
    Outcome.FAILS: "bold red",
    Outcome.INCONCLUSIVE: "yellow",
    Decision.GO: "bold green",
    Decision.NO_GO: "bold red",
}

_ENDLESS = 10_000


def print_verdict(verdict: Verdict, console: Console) -> None:
    """Print a verdict; nothing is cut: cells wrap in a narrow terminal, other lines are as long as they are."""

    def line(text: str, style: str = "") -> None:
        console.print(Text(text, style=style), soft_wrap=True)

    line(words.summary(verdict), STYLES[verdict.decision])
    line(f"run:          {words.path_text(verdict.run)} (layout {verdict.layout}, experiment {verdict.experiment})")
    line(f"criteria:     {words.path_text(verdict.gate.path)} (sha256 {verdict.gate.sha256[:16]})")
    amended = verdict.registration.status is RegistrationStatus.AMENDED
    line(f"registration: {words.registration_text(verdict)}", "yellow" if amended else "")
    line(f"controls:     {words.controls_text(verdict.gate.controls)}")
    for change in fingerprint_lines(verdict.fingerprint):
        line(f"fingerprint:  {change}", "yellow")
    table = _table(verdict)
    natural = console.measure(table, options=console.options.update(max_width=_ENDLESS)).maximum
    console.print(table if natural <= console.width else _narrow_table(verdict))
    if verdict.gate.requires:
        console.print(_requirements(verdict))
    for reason in _reasons(verdict):
        line(reason, "yellow")
    for assessment in verdict.assessments:
        if assessment.bounds.missing is not None:
            line(f"{assessment.criterion.id}: its feasibility was checked in part only: {assessment.bounds.arithmetic}")
    for finding in verdict.findings:
        line(words.finding_text(finding), "bold magenta")
    if verdict.registration.difference:
        line("")
        for text in verdict.registration.difference:
            line(text)


def _reasons(verdict: Verdict) -> Iterator[str]:
    """Why criteria and requirements do not hold for want of data, and what slopes were made from."""
    for replica in verdict.replicas:
        seed = f" (seed {replica.seed})" if len(verdict.replicas) > 1 else ""
        for result in replica.criteria:
            notes = dict.fromkeys(condition.note for condition in result.conditions if condition.note)
            yield from (f"{result.criterion.id}{seed}: {text}" for text in (*notes, *result.reasons))
        for required in replica.requires:
            yield from (f"{required.requirement.kind}{seed}: {reason}" for reason in required.reasons)


def _requirements(verdict: Verdict) -> Table:
    several = len(verdict.replicas) > 1
    table = Table(box=box.SIMPLE, pad_edge=False, header_style="bold")
    if several:
        table.add_column("seed", justify="right", overflow="fold")
    for name in ("requires", "what", "outcome", "found"):
        table.add_column(name, overflow="fold")
    for replica in verdict.replicas:
        for result in replica.requires:
            asked = result.requirement
            cells = [asked.kind, str(asked), result.outcome.value, result.numbers or "-"]
            texts = [Text(cell) for cell in ([str(replica.seed)] if several else []) + cells]
            texts[2 + several].stylize(STYLES[result.outcome])
            table.add_row(*texts)
    return table


def _table(verdict: Verdict) -> Table:
    several = len(verdict.replicas) > 1
    table = Table(box=box.SIMPLE, pad_edge=False, header_style="bold")
    if several:
        table.add_column("seed", justify="right", overflow="fold")
    for name in ("criterion", "condition", "outcome"):
        table.add_column(name, overflow="fold")
    for name in ("worst", "at step", "margin", "first violation", "points"):
        table.add_column(name, justify="right", overflow="fold")
    for seed, outcome, cells in _rows(verdict):
        texts = [Text(cell) for cell in ([seed] if several else []) + cells]
        texts[2 + several].stylize(STYLES[outcome])
        table.add_row(*texts)
    return table


def _narrow_table(verdict: Verdict) -> Table:
    """The same cells two and two above each other, where side by side they would break within words."""
    several = len(verdict.replicas) > 1
    table = Table(box=box.SIMPLE, pad_edge=False, header_style="bold")
    if several:
        table.add_column("seed", justify="right", overflow="fold")
    table.add_column("criterion,\ncondition", overflow="fold")
    table.add_column("outcome,\npoints", overflow="fold")
    for name in ("worst,\nat step", "margin, first\nviolation"):
        table.add_column(name, justify="right", overflow="fold")
    for seed, outcome, (criterion, condition, shown, worst, at, margin, first, points) in _rows(verdict):
        asked = Text(f"{criterion}\n{condition}" if criterion else condition)
        came = Text.assemble((shown, STYLES[outcome]), f"\n{points}")
        texts = [asked, came, Text(f"{worst}\n{at}"), Text(f"{margin}\n{first}")]
        table.add_row(*([Text(seed)] if several else []), *texts)
    return table


def _rows(verdict: Verdict) -> Iterator[tuple[str, Outcome, list[str]]]:
    """Seed, outcome and the eight cells of each condition; a criterion is named at its first."""
    for replica in verdict.replicas:
        for result in replica.criteria:
            for number, condition in enumerate(result.conditions):
                worst, first = condition.worst, condition.first_violation
                cells = [
                    result.criterion.id if number == 0 else "",
                    words.condition_text(result, condition),
                    condition.outcome.value,
                    "-" if worst is None else words.number(worst.value),
                    "-" if worst is None else words.at(worst),
                    "-" if condition.margin is None else words.signed(condition.margin),
                    "-" if first is None else words.at(first),
                    words.points(result),
                ]
                yield str(replica.seed), condition.outcome, cells

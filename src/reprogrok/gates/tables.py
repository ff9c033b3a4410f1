"""A verdict -> console tables: one row per seed, criterion and condition, then the reasons.

Cells are `Text`, never markup: a title or a path with brackets is printed unchanged.
"""

from __future__ import annotations

from collections.abc import Iterator

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from reprogrok.gates import text
from reprogrok.gates.verdict import GateDecision, GateVerdict, Outcome, RegistrationStatus
from reprogrok.text import fingerprint_lines

STYLES = {
    Outcome.HOLDS: "green",
    Outcome.FAILS: "bold red",
    Outcome.INCONCLUSIVE: "yellow",
    GateDecision.GO: "bold green",
    GateDecision.NO_GO: "bold red",
}

_ENDLESS = 10_000


def print_verdict(verdict: GateVerdict, console: Console) -> None:
    """Print a verdict uncut: cells wrap in a narrow terminal, other lines keep their length."""

    def line(content: str, style: str = "") -> None:
        console.print(Text(content, style=style), soft_wrap=True)

    line(text.summary(verdict), STYLES[verdict.decision])
    line(f"run:          {text.path_text(verdict.run)} (layout {verdict.layout}, experiment {verdict.experiment})")
    line(f"criteria:     {text.path_text(verdict.gate.path)} (sha256 {verdict.gate.sha256[:16]})")
    amended = verdict.registration.status is RegistrationStatus.AMENDED
    line(f"registration: {text.registration_text(verdict)}", "yellow" if amended else "")
    line(f"controls:     {text.controls_text(verdict.gate.controls)}")
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
    for note in verdict.notes:
        line(text.note_text(note), "bold magenta")
    if verdict.registration.difference:
        line("\n".join(["", *verdict.registration.difference]))


def _reasons(verdict: GateVerdict) -> Iterator[str]:
    """Yield why data do not suffice, and the origin of each slope."""
    for replica in verdict.replicas:
        seed = f" (seed {replica.seed})" if len(verdict.replicas) > 1 else ""
        for result in replica.criteria:
            notes = dict.fromkeys(condition.note for condition in result.conditions if condition.note)
            yield from (f"{result.criterion.id}{seed}: {reason}" for reason in (*notes, *result.reasons))
        for required in replica.requires:
            yield from (f"{required.requirement.kind}{seed}: {reason}" for reason in required.reasons)


def _requirements(verdict: GateVerdict) -> Table:
    table = _empty_table(verdict, ("requires", "what", "outcome", "found"))
    for replica in verdict.replicas:
        for result in replica.requires:
            cells = [result.requirement.kind, str(result.requirement), result.outcome.value, result.numbers or "-"]
            _add_row(table, cells, result.outcome, str(replica.seed))
    return table


def _table(verdict: GateVerdict) -> Table:
    numbers = ("worst", "at step", "margin", "first violation", "points")
    table = _empty_table(verdict, ("criterion", "condition", "outcome"), numbers)
    for seed, outcome, cells in _rows(verdict):
        _add_row(table, cells, outcome, seed)
    return table


def _add_row(table: Table, cells: list[str], outcome: Outcome, seed: str) -> None:
    """Add a row whose third cell is the outcome, in its style; the seed comes first if the table has its column."""
    texts = [Text(cell) for cell in cells]
    texts[2].stylize(STYLES[outcome])
    table.add_row(*([Text(seed)] if len(table.columns) > len(cells) else []), *texts)


def _narrow_table(verdict: GateVerdict) -> Table:
    """Stack the cells in pairs, for a terminal in which the wide table would break text."""
    several = len(verdict.replicas) > 1
    numbers = ("worst,\nat step", "margin, first\nviolation")
    table = _empty_table(verdict, ("criterion,\ncondition", "outcome,\npoints"), numbers)
    for seed, outcome, (criterion, condition, shown, worst, at, margin, first, points) in _rows(verdict):
        asked = Text(f"{criterion}\n{condition}" if criterion else condition)
        came = Text.assemble((shown, STYLES[outcome]), f"\n{points}")
        texts = [asked, came, Text(f"{worst}\n{at}"), Text(f"{margin}\n{first}")]
        table.add_row(*([Text(seed)] if several else []), *texts)
    return table


def _empty_table(verdict: GateVerdict, left: tuple[str, ...], right: tuple[str, ...] = ()) -> Table:
    """A table with these columns, aligned left and right; the seed comes first if there are several."""
    table = Table(box=box.SIMPLE, pad_edge=False, header_style="bold")
    if len(verdict.replicas) > 1:
        table.add_column("seed", justify="right", overflow="fold")
    for name in left:
        table.add_column(name, overflow="fold")
    for name in right:
        table.add_column(name, justify="right", overflow="fold")
    return table


def _rows(verdict: GateVerdict) -> Iterator[tuple[str, Outcome, list[str]]]:
    """Yield seed, outcome and the eight cells of each condition; a criterion is named at its first."""
    for replica in verdict.replicas:
        for result in replica.criteria:
            for number, condition in enumerate(result.conditions):
                worst, first = condition.worst, condition.first_violation
                cells = [
                    result.criterion.id if number == 0 else "",
                    text.condition_text(result, condition),
                    condition.outcome.value,
                    "-" if worst is None else text.number(worst.value),
                    "-" if worst is None else text.at(worst),
                    "-" if condition.margin is None else text.signed(condition.margin),
                    "-" if first is None else text.at(first),
                    text.points(result),
                ]
                yield str(replica.seed), condition.outcome, cells

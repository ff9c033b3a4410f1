"""A preflight -> console tables: whether each part can pass and can fail, then every note.

Cells are `Text`, never markup, as in `gates.tables`.
"""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from reprogrok.gates.preflight.checks import ConditionCheck, CriterionCheck
from reprogrok.gates.preflight.documents import note_text, summary
from reprogrok.gates.preflight.preflight import Preflight
from reprogrok.gates.text import path_text
from reprogrok.gates.verdict import GateDecision

_STYLES = {GateDecision.GO: "bold green", GateDecision.NO_GO: "bold red"}


def print_preflight(found: Preflight, console: Console) -> None:
    """Print a preflight uncut: cells wrap in a narrow terminal, other lines keep their length."""

    def line(text: str, style: str = "") -> None:
        console.print(Text(text, style=style), soft_wrap=True)

    line(summary(found), _STYLES[found.decision])
    experiment = found.planned.experiment
    line(f"experiment: {experiment.name}, {experiment.steps:,} steps; not trained yet")
    line(f"criteria:   {path_text(found.gate.path)} (sha256 {found.gate.sha256[:16]})")
    console.print(_table(found))
    for note in found.notes:
        line(note_text(note), "bold magenta" if note.kind.stops else "yellow")


def _table(found: Preflight) -> Table:
    table = Table(box=box.SIMPLE, pad_edge=False, header_style="bold")
    for name in ("criterion", "asked", "can pass", "can fail"):
        table.add_column(name, overflow="fold")
    for requirement in found.requirements:
        asked = requirement.requirement
        row = (asked.kind, str(asked), requirement.passes or "NO", requirement.fails or "NO")
        table.add_row(*map(Text, row), end_section=True)
    for criterion in found.criteria:
        for index, condition in enumerate(criterion.conditions):
            cells = _condition_cells(criterion, condition)
            table.add_row(*map(Text, (criterion.criterion.id if index == 0 else "", *cells)))
        measured = f"measured at {criterion.measured:,} of {len(criterion.criterion.grid):,} required steps"
        table.add_row(*map(Text, ("", measured, _whole(criterion), "")), end_section=True)
    return table


def _condition_cells(criterion: CriterionCheck, check: ConditionCheck) -> tuple[str, str, str]:
    asked = f"{criterion.criterion.metric} {check.condition}"
    asked += "" if check.counted is None else f" ({check.counted})"
    if not criterion.measured:
        return asked, "NO: not measured", "NO: not measured"
    passes, fails = ("NO" if witness is None else f"e.g. {witness.text}" for witness in (check.passes, check.fails))
    return asked, passes, fails


def _whole(check: CriterionCheck) -> str:
    if check.can_pass:
        return "" if len(check.conditions) == 1 or check.passes is None else f"all at once: {check.passes.text}"
    return "the criterion: NO" if check.measured else ""

"""Certificates and what their check found -> sentences and tables, no line of a table wider than 80 columns.

The first line is the verdict with what it means; the table says by answer digit how much rests on what. Numbers of
problems and shares are rounded to the side that keeps what is said true.
"""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Iterator, Mapping
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE
from rich.table import Table
from rich.text import Text

from reprogrok.judge.certificate import Verdict
from reprogrok.report.words import counted, duration

if TYPE_CHECKING:
    from rich.console import Console

    from reprogrok.judge.certificate_comparison import Check

SHOWN_COUNTEREXAMPLES = 5
_COLUMNS = 80
_WRITTEN_OUT = 10**7  # numbers of problems below are
_STYLES = {Verdict.PROVED: "bold green", Verdict.REFUTED: "bold red", Verdict.PARTIAL: "bold yellow"}
_SAYS = {
    Verdict.PROVED: "right on {}",
    Verdict.REFUTED: "not right on {}",
    Verdict.PARTIAL: "{} could not all be decided, and none was seen to be answered wrong",
}
_HOLDS = "in real arithmetic on the stored weights and in any float32 evaluation within the stated rounding"


def print_certificate(content: Mapping[str, Any], console: Console, *, written: Path | None) -> None:
    """What a certificate says.

    Args:
        content: the document.
        console: where to.
        written: the file it is in, if it was written.
    """
    _print(console, content["checkpoint"]["path"], "bold")
    _print_statement(content, console)
    console.print(_places_table(content))
    for line in (*_counterexample_lines(content), *_failure_lines(content)):
        _print(console, line)
    if written is None:
        _print(console, "nothing is written: --output CERT.json writes the certificate, and --check reads it")
    else:
        command = f"reprogrok certify {_quoted(content['checkpoint']['path'])} --check {_quoted(written)}"
        _print(console, f"written to {written}; this checks it again:\n  {command}")


def print_check(found: Check, console: Console) -> None:
    """What the check of a certificate found."""
    content, path = found.certificate.content, found.certificate.document.path
    if found.confirmed:
        _print(console, f"CONFIRMED: all that {path} says of {content['checkpoint']['path']}", "bold green")
        _print_statement(content, console)
        leaves = sum(row["leaves"] for row in content["places"])
        _print(console, f"  checked: {leaves:,} leaves bounded again, {_named(content)}; nothing was searched for")
        return
    _print(console, f"NOT CONFIRMED: {path} says more than could be shown", "bold red")
    for difference in found.differences:
        _print(console, f"  {difference.where}: it says {difference.says}, the check finds {difference.found}")
    _print(console, f"  do not rely on its verdict, {content['verdict']}")


def share_text(problems: int, whole: int, *, up: bool) -> str:
    """A share of all problems to three digits, rounded to the safe side; `share_text(1, 3, up=True)` is 0.334."""
    if problems in (0, whole):
        return str(problems // whole)
    share = Context(prec=3, rounding=ROUND_CEILING if up else ROUND_FLOOR).divide(Decimal(problems), Decimal(whole))
    return f"{float(share):.3g}"


def _print(console: Console, text: str, style: str = "") -> None:
    console.print(Text(text, style=style), soft_wrap=True)


def _print_statement(content: Mapping[str, Any], console: Console) -> None:
    verdict = Verdict(content["verdict"])
    _print(console, f"{verdict}: {_SAYS[verdict].format(_task(content))}", _STYLES[verdict])
    for line in (_HOLDS, *_wrong_lines(content), *_margin_lines(content), *_effort_lines(content)):
        _print(console, f"  {line}")


def _task(content: Mapping[str, Any]) -> str:
    digits = content["task"]["digits"]
    return f"all 10^{2 * digits} problems of {digits}-digit addition"


def _named(content: Mapping[str, Any]) -> str:
    return f"{counted(len(content['counterexamples']), 'counterexample')} asked again"


def _wrong_lines(content: Mapping[str, Any]) -> Iterator[str]:
    """How many problems are answered wrong, as counts and as shares."""
    if content["verdict"] == Verdict.PROVED:
        return
    least, most, whole = (
        int(text) for text in (*(content["wrong"][n] for n in ("at_least", "at_most")), content["problems"])
    )
    count = f"exactly {_count(least, up=False)}"
    if least < most:
        count = (
            f"between {_count(least, up=False)} and {_count(most, up=True)}"
            if least
            else f"at most {_count(most, up=True)}"
        )
    yield f"answered wrong: {count} problems, {_shares(least, most, whole)} of all"


def _count(problems: int, *, up: bool) -> str:
    """Written out while it can be read, else to three digits, rounded to the safe side."""
    if problems < _WRITTEN_OUT:
        return f"{problems:,}"
    rounded = Context(prec=3, rounding=ROUND_CEILING if up else ROUND_FLOOR).create_decimal(problems)
    return f"{float(rounded):.3g}"


def _shares(least: int, most: int, whole: int) -> str:
    if not least and most:
        return f"at most {share_text(most, whole, up=True)}"
    low, high = share_text(least, whole, up=False), share_text(most, whole, up=True)
    return low if low == high or least == most else f"{low} to {high}"


def _margin_lines(content: Mapping[str, Any]) -> Iterator[str]:
    proved, seen = content["smallest_margin"], content["smallest_seen"]
    if proved is not None:
        everything = content["verdict"] == Verdict.PROVED
        yield f"smallest margin{'' if everything else ' where it is right'}: at least {proved:.4f} logits"
    if seen is not None:
        problem = f"{seen['a']} + {seen['b']}, place {seen['place']}"
        yield f"smallest margin met in a right answer: {seen['margin']:.4f} logits ({problem})"


def _effort_lines(content: Mapping[str, Any]) -> Iterator[str]:
    places, search = content["places"], content["search"]
    cases, leaves, opened = (sum(row[name] for row in places) for name in ("cases", "leaves", "open"))
    left = f", {opened:,} of them open" if opened else ""
    yield f"{cases:,} cases, {leaves:,} leaves{left}; searched for {duration(search['seconds'])}"


def _places_table(content: Mapping[str, Any]) -> Table:
    """By answer digit: how many cases and leaves, what is left, and how many problems go wrong there."""
    table = Table(box=SIMPLE, padding=(0, 1, 0, 0))
    for name in ("place", "cases", "leaves", "wrong", "open", "margin >=", "box <=", "share answered wrong"):
        table.add_column(name, justify="right")
    whole = int(content["problems"])
    for row in content["places"]:
        least, most = int(row["wrong_at_least"]), int(row["wrong_at_most"])
        counts = (f"{row[name]:,}" for name in ("cases", "leaves", "wrong", "open"))
        widths = (_number(row[name]) for name in ("smallest_margin", "widest_box"))
        style = "red" if row["wrong"] else "yellow" if row["open"] else ""
        table.add_row(f"10^{row['place']}", *counts, *widths, _shares(least, most, whole), style=style)
    return table


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _counterexample_lines(content: Mapping[str, Any]) -> Iterator[str]:
    """The first few, with the command that shows each."""
    examples = content["counterexamples"]
    if not examples:
        return
    shown = examples[:SHOWN_COUNTEREXAMPLES]
    more = "" if len(examples) == len(shown) else f" (the first {len(shown)} of {len(examples)}; --output writes all)"
    yield f"answered wrong{more}, to be seen with"
    for example in shown:
        yield f"  reprogrok predict {_quoted(content['checkpoint']['path'])} {example['a']} {example['b']}"
        yield f"    {example['expected']} is right, the model answers {example['answer']}"


def _failure_lines(content: Mapping[str, Any]) -> Iterator[str]:
    if content["failures"] is not None:
        yield ""
        yield from textwrap.wrap(content["failures"]["paragraph"], _COLUMNS)


def _quoted(path: str | Path) -> str:
    return shlex.quote(str(path))

"""Certificates and what their check found -> sentences and tables, no line of a table wider than 80 columns.

The first line is the verdict with what it means; the table says by answer digit how much rests on what. Numbers of
problems and shares are rounded to the side that keeps what is said true.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Mapping
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE
from rich.table import Table
from rich.text import Text

from reprogrok.certificate.document import Verdict
from reprogrok.certificate.failures.tables import print_failures
from reprogrok.text import counted, duration

if TYPE_CHECKING:
    from rich.console import Console

    from reprogrok.certificate.confirmation import Check

SHOWN_COUNTEREXAMPLES = 5
_WRITTEN_OUT = 10**7  # numbers of problems below are
_EXPONENT = 1_000  # a share below one of so many is written with an exponent
_SMALL = Decimal("0.001")  # logits: a number below is not shown in four places
_STYLES = {Verdict.PROVED: "bold green", Verdict.REFUTED: "bold red", Verdict.PARTIAL: "bold yellow"}
_SAYS = {
    Verdict.PROVED: "right on all {}",
    Verdict.REFUTED: "wrong on some of the {}",
    Verdict.PARTIAL: "not every one of the {} is decided; none was met that is answered wrong",
}
_HOLDS = {
    "float32": "in real arithmetic and in any float32 evaluation within the stated rounding",
    "real": "in real arithmetic on the stored weights; float32 rounding is not covered",
}


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
    for line in _counterexample_lines(content):
        _print(console, line)
    if content["failures"] is not None:
        console.print()
        print_failures(content["failures"], console)
    if written is None:
        _print(console, "nothing is written; --output CERT.json writes the certificate, for --check")
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


def share_text(problems: int, whole: int, *, up: bool, small: bool = False) -> str:
    """A share of all problems to three digits, rounded to the safe side: `share_text(1, 3, up=True)` is 0.334.

    Args:
        problems: how many.
        whole: of how many.
        up: is it rounded up?
        small: is it written with an exponent, 3.34e-01?
    """
    if problems in (0, whole):
        return str(problems // whole)
    share = float(_to_digits(3, up=up).divide(Decimal(problems), Decimal(whole)))
    return f"{share:.2e}" if small else f"{share:.3g}"


def _to_digits(digits: int, *, up: bool) -> Context:
    return Context(prec=digits, rounding=ROUND_CEILING if up else ROUND_FLOOR)


def _print(console: Console, text: str, style: str = "") -> None:
    console.print(Text(text, style=style), soft_wrap=True)


def _print_statement(content: Mapping[str, Any], console: Console) -> None:
    verdict = Verdict(content["verdict"])
    _print(console, f"{verdict}: {_SAYS[verdict].format(_task(content))}", _STYLES[verdict])
    for line in (
        _HOLDS[content["arithmetic"]["name"]],
        *_wrong_lines(content),
        *_margin_lines(content),
        *_effort_lines(content),
    ):
        _print(console, f"  {line}")


def _task(content: Mapping[str, Any]) -> str:
    digits = content["task"]["digits"]
    return f"10^{2 * digits} problems of {digits}-digit addition"


def _named(content: Mapping[str, Any]) -> str:
    return f"{counted(len(content['counterexamples']), 'counterexample')} asked again"


def _wrong_lines(content: Mapping[str, Any]) -> Iterator[str]:
    """How many problems are answered wrong, as counts and as shares."""
    if content["verdict"] == Verdict.PROVED:
        return
    least, most, whole = (int(text) for text in (*content["wrong"].values(), content["problems"]))
    low, high = _count(least, up=False), _count(most, up=True)
    count = f"exactly {low}" if least == most else f"{low} to {high}" if least else f"at most {high}"
    yield f"answered wrong: {count} problems, {_shares(least, most, whole)} of all"


def _count(problems: int, *, up: bool) -> str:
    """Written out while it can be read, else to three digits, rounded to the safe side."""
    if problems < _WRITTEN_OUT:
        return f"{problems:,}"
    return f"{_to_digits(3, up=up).create_decimal(problems):.3g}"


def _shares(least: int, most: int, whole: int) -> str:
    """Both in one form: with exponents if either needs one."""
    small = any(0 < problems < whole / _EXPONENT for problems in (least, most))
    low, high = (share_text(count, whole, up=up, small=small) for count, up in ((least, False), (most, True)))
    if least == most:
        return low
    return f"{low} to {high}" if least else f"at most {high}"


def _margin_lines(content: Mapping[str, Any]) -> Iterator[str]:
    proved, seen = content["smallest_margin"], content["smallest_seen"]
    if proved is not None:
        where = "" if content["verdict"] == Verdict.PROVED else " where it is right"
        yield f"smallest margin{where}: at least {_number(proved, up=False)} logits"
    if seen is not None:
        problem = f"{seen['a']} + {seen['b']}, place {seen['place']}"
        yield f"smallest margin met in a right answer: {_number(seen['margin'], up=True)} logits ({problem})"


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
        widths = _number(row["smallest_margin"], up=False), _number(row["widest_box"], up=True)
        style = "red" if row["wrong"] else "yellow" if row["open"] else ""
        table.add_row(f"10^{row['place']}", *counts, *widths, _shares(least, most, whole), style=style)
    return table


def _number(value: float | None, *, up: bool) -> str:
    """A margin or a width to four places, a small one to two digits; rounded to the safe side."""
    if value is None:
        return "-"
    exact = Decimal(repr(value))
    if exact < _SMALL:
        return f"{_to_digits(2, up=up).plus(exact):.1e}" if exact else "0"
    return str(exact.quantize(Decimal("1.0000"), ROUND_CEILING if up else ROUND_FLOOR))


def _counterexample_lines(content: Mapping[str, Any]) -> Iterator[str]:
    """A few of them, of different places while there are any, with the command that shows each."""
    examples = content["counterexamples"]
    if not examples:
        return
    seen: Counter[int] = Counter()
    ranked = []
    for example in examples:
        ranked.append((seen[example["place"]], example["place"], example))
        seen[example["place"]] += 1
    shown = [example for _, _, example in sorted(ranked, key=itemgetter(0, 1))[:SHOWN_COUNTEREXAMPLES]]
    more = "" if len(examples) == len(shown) else f" ({len(shown)} of {len(examples)}; --output writes all)"
    yield f"answered wrong{more}, to be seen with"
    for example in shown:
        yield f"  reprogrok predict {_quoted(content['checkpoint']['path'])} {example['a']} {example['b']}"
        problem = f"{example['a']} + {example['b']} = {example['expected']}"
        yield f"    {problem}; the model answers {example['answer']}"


def _quoted(path: str | Path) -> str:
    return shlex.quote(str(path))

"""Certificates and the results of their check -> sentences and tables, no line of a table wider than 80 columns.

The first line is the status with its meaning; the table has a row for each answer digit. Numbers of problems and
fractions are rounded to the side that keeps the statement true.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from operator import itemgetter
from pathlib import Path

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from reprogrok import __version__
from reprogrok.certificate.checker.check import CheckedBlock
from reprogrok.certificate.checker.confirm import CertificateDifference, Confirmation, Reason
from reprogrok.certificate.checker.statement import Certificate, CertificateStatus, Statement, WrongBounds
from reprogrok.certificate.document import CertificateFile
from reprogrok.certificate.failures.tables import print_failures
from reprogrok.schema import json_path, show
from reprogrok.tasks.addition import SYMBOLS
from reprogrok.text import counted, duration

SHOWN_COUNTEREXAMPLES = 5
_SHOWN_REFUSED = 3  # refused leaves of a block that are named
_WRITTEN_OUT = 10**7  # smaller numbers of problems are written out
_EXPONENT = 1_000  # a fraction below one in this many is written with an exponent
_SMALL = Decimal("0.001")  # logits: a number below is not shown in four places
_STYLES = {
    CertificateStatus.PROVED: "bold green",
    CertificateStatus.REFUTED: "bold red",
    CertificateStatus.PARTIAL: "bold yellow",
}
_MEANINGS = {
    CertificateStatus.PROVED: "right on all {}",
    CertificateStatus.REFUTED: "wrong on some of the {}",
    CertificateStatus.PARTIAL: "not every one of the {} is decided; none was seen to be answered wrong",
}
_HOLDS = {
    "float32": "in real arithmetic and in any float32 evaluation within the stated rounding",
    "real": "in real arithmetic on the stored weights; float32 rounding is not covered",
}
_FOUND = {
    Reason.ANSWERED_RIGHT: "the right answer, {}",
    Reason.ANSWERED_WRONG: "a wrong answer, {}",
    Reason.NO_SUCH_PROBLEM: "no such problem of {} digits",
    Reason.NO_SUCH_CONDITION: "no such condition at this place",
}


def print_certificate(certificate: Certificate, console: Console, *, written: Path | None) -> None:
    """Print a certificate; `written` is its file, if it was written."""
    path, stated = certificate.model.path, certificate.statement
    _print(console, path, "bold")
    _print_statement(certificate, console)
    console.print(_places_table(stated))
    for line in _counterexample_lines(path, stated):
        _print(console, line)
    if stated.failures:
        console.print()
        print_failures(stated, console)
    if written is None:
        _print(console, "nothing is written; --output CERT.json writes the certificate, for --check")
    else:
        command = f"reprogrok certify {_quoted(path)} --check {_quoted(written)}"
        _print(console, f"written to {written}; this checks it again:\n  {command}")


def print_confirmation(file: CertificateFile, result: Confirmation, console: Console) -> None:
    """Print the result of checking a certificate."""
    certificate, stated = file.certificate, file.certificate.statement
    if result.confirmed:
        _print(console, f"CONFIRMED: all that {file.path} says of {certificate.model.path}", "bold green")
        _print_statement(certificate, console)
        leaves = sum(row.leaves for row in stated.places)
        examples = f"{counted(len(stated.counterexamples), 'counterexample')} asked again"
        _print(console, f"  checked: {leaves:,} leaves bounded again, {examples}; nothing was searched for")
        return
    _print(console, f"NOT CONFIRMED: {file.path} says more than could be shown", "bold red")
    for where, said, found in _difference_texts(result):
        _print(console, f"  {where}: it says {said}, the check finds {found}")
    _print(console, f"  do not rely on its verdict, {stated.status}")


def confirmation_document(file: CertificateFile, result: Confirmation) -> dict[str, object]:
    """Return the result of a check as plain data."""
    return {
        "format": "reprogrok.certificate-check/1",
        "reprogrok": __version__,
        "certificate": {"path": file.path.as_posix(), "sha256": file.sha256},
        "checkpoint": file.certificate.model.sha256,
        "confirmed": result.confirmed,
        "verdict": file.certificate.statement.status.value,
        "differences": [
            {"where": where, "says": said, "found": found} for where, said, found in _difference_texts(result)
        ],
    }


def _difference_texts(result: Confirmation) -> Iterator[tuple[str, str, str]]:
    """Yield the field, the stated and the found value of each difference."""
    for each in result.differences:
        where = json_path(each.field).removeprefix("$.")
        found = _FOUND[each.reason].format(each.found) if each.reason in _FOUND else _plain(each.found)
        yield where, _value_text(each), found
    if result.refused is not None:
        yield from _refused_texts(result.refused)


def _value_text(difference: CertificateDifference) -> str:
    if difference.reason is Reason.ANSWERED_WRONG:
        return f"a right answer with a margin of {difference.stated}"
    return _plain(difference.stated)


def _plain(value: object) -> str:
    """Write a value as JSON; text, which is mostly numbers, without quotes."""
    return value if isinstance(value, str) else show(value)


def _refused_texts(checked: CheckedBlock) -> Iterator[tuple[str, str, str]]:
    """Yield the first refused leaves of a block."""
    cases, place = checked.block.cases, checked.block.place
    for index in checked.refused[:_SHOWN_REFUSED]:
        leaf = checked.leaves[index]
        case = leaf.case
        where = f"place {place} after {SYMBOLS[checked.block.token]}, case {case}"
        before = f"{cases.a_before[case]} + {cases.b_before[case]} before, carry {cases.carry[case]} into them"
        own = f"{cases.a[case]} + {cases.b[case]}"
        where += f" ({'; '.join(([own] if place < checked.block.digits else []) + ([before] if place else []))})"
        if leaf.runs:
            where += f", a part of it halved at {', '.join(f'place {run[0]}' for run in leaf.runs)}"
        yield where, leaf.status.value, "no proof of it"
    if (more := len(checked.refused) - _SHOWN_REFUSED) > 0:
        yield "in the same block", f"as much of {more:,} more", "no proof of it"


def fraction_text(problems: int, whole: int, *, up: bool, small: bool = False) -> str:
    """Write a fraction of all problems to three digits, rounded to the safe side: 1 of 3 upwards is 0.334.

    Args:
        problems: the numerator.
        whole: number of all problems.
        up: round up.
        small: write with an exponent, 3.34e-01.
    """
    if problems in (0, whole):
        return str(problems // whole)
    fraction = float(_to_digits(3, up=up).divide(Decimal(problems), Decimal(whole)))
    return f"{fraction:.2e}" if small else f"{fraction:.3g}"


def _to_digits(digits: int, *, up: bool) -> Context:
    return Context(prec=digits, rounding=ROUND_CEILING if up else ROUND_FLOOR)


def _print(console: Console, text: str, style: str = "") -> None:
    console.print(Text(text, style=style), soft_wrap=True)


def _print_statement(certificate: Certificate, console: Console) -> None:
    stated, problems = certificate.statement, f"10^{2 * certificate.digits} problems"
    meaning = _MEANINGS[stated.status].format(f"{problems} of {certificate.digits}-digit addition")
    _print(console, f"{stated.status}: {meaning}", _STYLES[stated.status])
    lines = (_HOLDS[certificate.arithmetic.name], *_wrong_lines(stated), *_margin_lines(stated))
    for line in (*lines, _effort_line(certificate)):
        _print(console, f"  {line}")


def _wrong_lines(stated: Statement) -> Iterator[str]:
    """Yield the line on wrong answers, as counts and as fractions."""
    if stated.status is CertificateStatus.PROVED:
        return
    least, most = stated.wrong.at_least, stated.wrong.at_most
    low, high = _count(least, up=False), _count(most, up=True)
    count = f"exactly {low}" if least == most else f"{low} to {high}" if least else f"at most {high}"
    yield f"answered wrong: {count} problems, {_fractions(stated.wrong, stated.problems)} of all"


def _count(problems: int, *, up: bool) -> str:
    """Write out a number of problems, a large one to three digits, rounded to the safe side."""
    if problems < _WRITTEN_OUT:
        return f"{problems:,}"
    return f"{_to_digits(3, up=up).create_decimal(problems):.3g}"


def _fractions(wrong: WrongBounds, whole: int) -> str:
    """Write both bounds in one form: with exponents if either needs one."""
    least, most = wrong.at_least, wrong.at_most
    small = any(0 < problems < whole / _EXPONENT for problems in (least, most))
    low, high = (fraction_text(count, whole, up=up, small=small) for count, up in ((least, False), (most, True)))
    if least == most:
        return low
    return f"{low} to {high}" if least else f"at most {high}"


def _margin_lines(stated: Statement) -> Iterator[str]:
    seen = stated.smallest_seen
    if stated.smallest_margin is not None:
        where = "" if stated.status is CertificateStatus.PROVED else " where it is right"
        yield f"smallest margin{where}: at least {_number(stated.smallest_margin, up=False)} logits"
    if seen is not None:
        problem = f"{seen.a} + {seen.b}, place {seen.place}"
        yield f"smallest margin met in a right answer: {_number(seen.margin, up=True)} logits ({problem})"


def _effort_line(certificate: Certificate) -> str:
    places = certificate.statement.places
    cases, leaves, opened = (sum(getattr(row, name) for row in places) for name in ("cases", "leaves", "open"))
    left = f", {opened:,} of them open" if opened else ""
    return f"{cases:,} cases, {leaves:,} leaves{left}; searched for {duration(certificate.search.seconds)}"


def _places_table(stated: Statement) -> Table:
    """Return the table of cases, leaves and wrong problems by answer digit."""
    table = Table(box=SIMPLE, padding=(0, 1, 0, 0))
    for name in ("place", "cases", "leaves", "wrong", "open", "margin >=", "box <=", "fraction wrong"):
        table.add_column(name, justify="right")
    for row in stated.places:
        counts = (f"{count:,}" for count in (row.cases, row.leaves, row.wrong, row.open))
        widths = _number(row.smallest_margin, up=False), _number(row.widest_box, up=True)
        style = "red" if row.wrong else "yellow" if row.open else ""
        table.add_row(f"10^{row.place}", *counts, *widths, _fractions(row.wrong_problems, stated.problems), style=style)
    return table


def _number(value: float | None, *, up: bool) -> str:
    """Write a margin or a width to four places, a small one to two digits; rounded to the safe side."""
    if value is None:
        return "-"
    exact = Decimal(repr(value))
    if exact < _SMALL:
        return f"{_to_digits(2, up=up).plus(exact):.1e}" if exact else "0"
    return str(exact.quantize(Decimal("1.0000"), ROUND_CEILING if up else ROUND_FLOOR))


def _counterexample_lines(path: str, stated: Statement) -> Iterator[str]:
    """Yield a few counterexamples, of different places first, with the command that shows each."""
    examples = stated.counterexamples
    if not examples:
        return
    seen: Counter[int] = Counter()
    ranked = []
    for example in examples:
        ranked.append((seen[example.place], example.place, example))
        seen[example.place] += 1
    shown = [example for _, _, example in sorted(ranked, key=itemgetter(0, 1))[:SHOWN_COUNTEREXAMPLES]]
    more = "" if len(examples) == len(shown) else f" ({len(shown)} of {len(examples)}; --output writes all)"
    yield f"answered wrong{more}, to be seen with"
    for example in shown:
        yield f"  reprogrok predict {_quoted(path)} {example.a} {example.b}"
        yield f"    {example.a} + {example.b} = {example.expected}; the model answers {example.answer}"


def _quoted(path: str | Path) -> str:
    return shlex.quote(str(path))

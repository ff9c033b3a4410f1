"""A failure map (as its document) -> lines and a table: where a model fails, and what the failing problems share.

One row for each description: what most failures of a place share first, then the narrower ones under which more of the
problems fail. No line is wider than 80 columns. Bounds are rounded outwards.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE
from rich.table import Table
from rich.text import Text

from reprogrok.certificate.failures.text import bounds_words, count_words, joined, share_words

if TYPE_CHECKING:
    from rich.console import Console

_WIDTH = 80


def print_failures(failures: dict[str, Any], console: Console) -> None:
    """The paragraph, then the table.

    Args:
        failures: as `failure_map` gives them.
        console: where to.
    """
    console.print(Text(failures["paragraph"]), width=_WIDTH)
    if failures["places"]:
        console.print(failure_table(failures))


def failure_table(failures: dict[str, Any]) -> Table:
    """A row for each description of each place; the first of a place also says how many problems fail there."""
    table = Table(box=SIMPLE, width=_WIDTH, pad_edge=False)
    table.add_column("place", justify="right")
    table.add_column("wrong there", justify="right")
    table.add_column("of problems with", ratio=1)
    table.add_column("wrong", justify="right")
    for entry in failures["places"]:
        for index, description in enumerate(entry["descriptions"]):
            place, wrong = (str(entry["place"]), _wrong(entry)) if index == 0 else ("", "")
            words = Text(description["words"])
            if index and description["of"] == "counterexamples":
                words.append(f"\nso are {description['counterexamples']:,} counterexamples", style="dim")
            if index == 0 and (answered := _answered(entry)):
                words.append(f"\n{answered}", style="dim")
            table.add_row(place, wrong, words, _share(description, entry))
    return table


def _wrong(entry: dict[str, Any]) -> str:
    """How many, in two lines where it is not certain."""
    at_least, at_most = (int(entry["wrong"][name]) for name in ("at_least", "at_most"))
    if at_most == 0:
        return f"{entry['counterexamples']:,} seen"
    if at_least == at_most:
        return bounds_words(at_least, at_most).removeprefix("about ")
    return f"{count_words(at_least, upper=False)} to\n{count_words(at_most, upper=True)}"


def _share(description: dict[str, Any], entry: dict[str, Any]) -> str:
    """How many of the problems under a description fail."""
    at_least, at_most = (int(description["wrong"][name]) for name in ("at_least", "at_most"))
    problems = int(description["problems"])
    if int(entry["wrong"]["at_most"]) == 0:
        return f"{description['counterexamples']:,} seen"
    if at_least == at_most:
        return share_words(at_least, problems)
    low, high = share_words(at_least, problems, upper=False), share_words(at_most, problems, upper=True)
    return low if low == high else f"{low.removesuffix(' %')} to\n{high}"


def _answered(entry: dict[str, Any]) -> str:
    """What is answered instead, the three most frequent."""
    shown = [f"{each['answer']} for {each['right']} ({each['count']:,})" for each in entry["answers"][:3]]
    return f"answered: {joined(shown)}" if shown else ""

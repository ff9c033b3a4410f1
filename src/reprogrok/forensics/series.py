"""Printed numbers of one run -> repeats across splits and steps, numbers said twice, and several grok steps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import combinations

from reprogrok.claims.claims import Word
from reprogrok.forensics.findings import RARE, Finding, Flaw, Grade, chance_of_repeat
from reprogrok.forensics.quoted_numbers import SCORES, QuotedNumber

MOVES = Fraction(3, 2)  # grok steps of two definitions that differ by this factor tell another story


def repeats(entries: Sequence[QuotedNumber]) -> Iterator[Finding]:
    """One value at three or more different splits or steps of one run."""
    groups: dict[tuple[str, str, str], list[QuotedNumber]] = {}
    for entry in entries:
        if entry.run is not None and entry.reported.of in {"loss", *SCORES}:
            groups.setdefault((entry.source, entry.run, entry.reported.of), []).append(entry)
    for group in groups.values():
        for text in dict.fromkeys(entry.number.text for entry in group):
            places = {
                (entry.split, entry.step): entry
                for entry in group
                if entry.number.text == text and not entry.number.about
            }
            if len(places) < 3 or (number := next(iter(places.values())).number).value in {0, 1}:
                continue  # few, or saturated: such values repeat honestly
            chance = chance_of_repeat(number, len(places))
            sure, tail = Grade.WEAK, "rounding to so few digits explains it"
            if chance < RARE:
                moved = _moved(group, list(places.values()))
                sure = Grade.TELLING if moved else Grade.WEAK
                tail = moved or "a run that stands still repeats itself, and nothing printed says that this one moved"
            arithmetic = (
                f"{len(places)} independent values within 10 % of {number} print alike with a probability of"
                f" {chance:.2g}; {tail}"
            )
            shown = f"{number} for " + ", ".join(_place(*place) for place in places)
            said = "copied cells, one number entered for all, or values that are no independent draws look alike"
            first = next(iter(places.values()))
            yield Finding(Flaw.REPEATED, first.where, shown, arithmetic, sure, said, chance)


def _moved(group: Sequence[QuotedNumber], repeated: Sequence[QuotedNumber]) -> str | None:
    """What the source itself says of a run whose values repeat: that it is unstable, or that it had other values."""
    if any(entry.claim.expect == Word("unstable") for entry in repeated):
        return f"this run is called unstable ({repeated[0].claim.id})"
    value, splits = repeated[0].number.value, {entry.split for entry in repeated}
    others = [e.number for e in group if e.split in splits and abs(e.number.value - value) > abs(value) / 10]
    return f"this run also had {', '.join(dict.fromkeys(map(str, others)))}" if others else None


def _place(split: str | None, step: int | None) -> str:
    words = [split or "?"] + ([] if step is None else [f"step {step:,}"])
    return " ".join(words)


def said_twice(entries: Sequence[QuotedNumber]) -> Iterator[Finding]:
    """One number of one run, split and step, printed twice and not alike."""
    groups: dict[tuple[object, ...], list[QuotedNumber]] = {}
    for entry in entries:
        if entry.run is None or entry.step is None or entry.reported.of in {"grok_step", "count", "errors", "share"}:
            continue
        key = (entry.run, entry.reported.of, entry.split, entry.step, *map(entry.whole, ("n", "positions", "scored")))
        groups.setdefault(key, []).append(entry)
    for group in groups.values():
        for one, other in combinations(group, 2):
            if one.number.agrees(other.number):
                continue
            shown = f"{one.number} and {other.number} at {other.where}"
            arithmetic = f"both are the {one.reported.of} of {one.run}, {_place(one.split, one.step)}"
            said = "a correction in one place alone, or two definitions under one name, explains it as well"
            yield Finding(Flaw.TWO_STATEMENTS, one.where, shown, arithmetic, Grade.CERTAIN, said)


def grok_steps(entries: Sequence[QuotedNumber]) -> Iterator[Finding]:
    """One run, several grok steps."""
    groups: dict[str, list[QuotedNumber]] = {}
    for entry in entries:
        if entry.reported.of == "grok_step" and entry.run is not None:
            groups.setdefault(entry.run, []).append(entry)
    for run, group in groups.items():
        differing = [pair for pair in combinations(group, 2) if not pair[0].number.agrees(pair[1].number)]
        if not differing:
            continue
        one, other = differing[0]
        same = one.claim.quantity.definition == other.claim.quantity.definition
        values = sorted({entry.number.value for pair in differing for entry in pair})
        far = values[0] == 0 or values[-1] / values[0] >= MOVES
        sure = Grade.CERTAIN if same else Grade.TELLING if far else Grade.WEAK
        steps = ", ".join(f"{int(value):,}" for value in values)
        definitions = " and ".join(dict.fromkeys((one.claim.quantity.definition, other.claim.quantity.definition)))
        arithmetic = f"{run} has one curve and {len(values)} steps: {steps} ({definitions})"
        shown = f"{one.number} and {other.number} at {other.where}"
        said = "two definitions of the grok step give two steps honestly"
        yield Finding(Flaw.GROK_STEPS, one.where, shown, arithmetic, sure, said)

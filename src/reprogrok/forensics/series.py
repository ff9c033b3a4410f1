"""Printed numbers of one run -> findings: repeats across splits and steps, contradictions, several grok steps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import combinations

from reprogrok.claims.claims import Word
from reprogrok.forensics.findings import RARE, Finding, Flaw, Grade, chance_of_repeat
from reprogrok.forensics.quoted_numbers import SCORES, QuotedNumber

MOVES = Fraction(3, 2)  # grok steps of two definitions that differ by this factor are telling


def repeats(quoted: Sequence[QuotedNumber]) -> Iterator[Finding]:
    """Find one value at three or more different splits or steps of one run."""
    groups: dict[tuple[str, str, str], list[QuotedNumber]] = {}
    for number in quoted:
        if number.run is not None and number.reported.of in {"loss", *SCORES}:
            groups.setdefault((number.source, number.run, number.reported.of), []).append(number)
    for group in groups.values():
        for text in dict.fromkeys(number.printed.text for number in group):
            places = {
                (number.split, number.step): number
                for number in group
                if number.printed.text == text and not number.printed.about
            }
            first = next(iter(places.values()), None)
            if first is None or len(places) < 3 or first.printed.value in {0, 1}:
                continue  # 0 and 1 are saturated and repeat honestly
            chance = chance_of_repeat(first.printed, len(places))
            grade, tail = Grade.WEAK, "rounding to so few digits explains it"
            if chance < RARE:
                moved = _moved(group, list(places.values()))
                grade = Grade.TELLING if moved else Grade.WEAK
                tail = moved or "a run that stands still repeats itself, and no printed number shows that it moved"
            arithmetic = (
                f"{len(places)} independent values within 10 % of {first.printed} print alike with probability"
                f" {chance:.2g}; {tail}"
            )
            shown = f"{first.printed} for " + ", ".join(_place(*place) for place in places)
            explanation = "copied cells, one number entered for all, or values that are not independent"
            yield Finding(Flaw.REPEATED, first.where, shown, arithmetic, grade, explanation, chance)


def _moved(group: Sequence[QuotedNumber], repeated: Sequence[QuotedNumber]) -> str | None:
    """Return the source's evidence that the run moved: it is called unstable, or had other values; None without any."""
    if any(number.claim.expect == Word("unstable") for number in repeated):
        return f"this run is called unstable ({repeated[0].claim.id})"
    value, splits = repeated[0].printed.value, {number.split for number in repeated}
    same_splits = [number.printed for number in group if number.split in splits]
    others = [printed for printed in same_splits if abs(printed.value - value) > abs(value) / 10]
    return f"this run also had {', '.join(dict.fromkeys(map(str, others)))}" if others else None


def _place(split: str | None, step: int | None) -> str:
    return (split or "?") + ("" if step is None else f" step {step:,}")


def contradictions(quoted: Sequence[QuotedNumber]) -> Iterator[Finding]:
    """Find numbers of one run, split and step that are printed twice and differ."""
    groups: dict[tuple[object, ...], list[QuotedNumber]] = {}
    for number in quoted:
        of = number.reported.of
        if number.run is None or number.step is None or of in {"grok_step", "count", "errors", "share"}:
            continue
        key = (number.run, of, number.split, number.step, *map(number.whole, ("n", "positions", "scored")))
        groups.setdefault(key, []).append(number)
    for group in groups.values():
        for one, other in combinations(group, 2):
            if one.printed.agrees(other.printed):
                continue
            shown = f"{one.printed} and {other.printed} at {other.where}"
            arithmetic = f"both are the {one.reported.of} of {one.run}, {_place(one.split, one.step)}"
            explanation = "a correction in one place alone, or two definitions under one name"
            yield Finding(Flaw.TWO_STATEMENTS, one.where, shown, arithmetic, Grade.CERTAIN, explanation)


def grok_steps(quoted: Sequence[QuotedNumber]) -> Iterator[Finding]:
    """Find runs with several grok steps."""
    groups: dict[str, list[QuotedNumber]] = {}
    for number in quoted:
        if number.reported.of == "grok_step" and number.run is not None:
            groups.setdefault(number.run, []).append(number)
    for run, group in groups.items():
        differing = [pair for pair in combinations(group, 2) if not pair[0].printed.agrees(pair[1].printed)]
        if not differing:
            continue
        one, other = differing[0]
        same = one.claim.quantity.definition == other.claim.quantity.definition
        values = sorted({number.printed.value for pair in differing for number in pair})
        far = values[0] == 0 or values[-1] / values[0] >= MOVES
        grade = Grade.CERTAIN if same else Grade.TELLING if far else Grade.WEAK
        steps = ", ".join(f"{int(value):,}" for value in values)
        definitions = " and ".join(dict.fromkeys((one.claim.quantity.definition, other.claim.quantity.definition)))
        arithmetic = f"{run} has one curve and {len(values)} steps: {steps} ({definitions})"
        shown = f"{one.printed} and {other.printed} at {other.where}"
        explanation = "two definitions of the grok step"
        yield Finding(Flaw.GROK_STEPS, one.where, shown, arithmetic, grade, explanation)

"""Printed counts and fractions -> findings: k of n, errors and scores, ranges, parts and sizes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import combinations

from reprogrok.forensics.findings import SINGLE, Finding, Flaw, Grade, grim_finding
from reprogrok.forensics.quoted_numbers import FRACTIONS, SCORES, QuotedNumber

SIZES = frozenset({"equations", "train_examples", "test_examples"})  # quantities that count rows


def fractions(quoted: Sequence[QuotedNumber]) -> Iterator[Finding]:
    """Check that a fraction of n is k/n for a whole k, and for the printed k if there is one."""
    for number in quoted:
        of, printed, n, k = number.reported.of, number.printed, number.whole("n"), number.whole("k")
        if of == "rank" and n and not printed.about:
            yield from _mean_of_counts(number, n)
        if not n or (of not in FRACTIONS and of != "ratio"):
            continue
        if k is None:
            if of in FRACTIONS and printed.value <= 1:
                finding = grim_finding(printed, n, number.where, "as stated")
                yield from () if finding is None else (finding,)
            continue
        # A score may be printed with its errors instead of its right answers.
        possible = [Fraction(part, n) for part in ([k, n - k] if of in SCORES else [k])]
        if any(abs(fraction - printed.value) <= printed.reach * (1 + SINGLE) for fraction in possible):
            continue
        cut_off = any(0 <= fraction - printed.value < printed.unit for fraction in possible)
        arithmetic = f"{k:,}/{n:,} = {float(possible[0]):.6g}" + ("; it fits if digits were cut off" if cut_off else "")
        grade = Grade.TELLING if cut_off or printed.about else Grade.CERTAIN
        shown = f"{printed} with {k:,} of {n:,}"
        yield Finding(Flaw.COUNTS, number.where, shown, arithmetic, grade, "a misprint in any of the three")


def _mean_of_counts(number: QuotedNumber, n: int) -> Iterator[Finding]:
    """Apply GRIM as published: the mean of n whole numbers is a whole number over n."""
    printed = number.printed
    low, high = ((printed.value + side * printed.reach) * n for side in (-1, 1))
    if math.ceil(low) > math.floor(high):
        total = float(printed.value * n)
        arithmetic = f"{printed} x {n} = {total:g}, and no sum of {n} whole numbers gives a mean that prints so"
        explanation = "a mean over more numbers (batches, checkpoints), or another definition"
        shown = f"{printed} over {n}"
        yield Finding(Flaw.NOT_K_OF_N, number.where, shown, arithmetic, Grade.CERTAIN, explanation)


def scores_and_errors(quoted: Sequence[QuotedNumber]) -> Iterator[Finding]:
    """Check that errors and right answers of one exam, printed on one line, add up to n."""
    for wrong in quoted:
        if wrong.reported.of != "errors" or not (n := wrong.whole("n")):
            continue
        if wrong.printed.value > n:
            shown = f"{wrong.printed} errors of {n:,}"
            yield Finding(Flaw.COUNTS, wrong.where, shown, f"more than {n:,}", Grade.CERTAIN, "a misprint")
        for right in quoted:
            if right.reported.of not in SCORES or right.claim is not wrong.claim or right.whole("n") != n:
                continue
            if (right.run, right.split, right.reported.at) != (wrong.run, wrong.split, wrong.reported.at):
                continue
            accuracy = 1 - wrong.printed.value / n
            if abs(accuracy - right.printed.value) <= right.printed.reach * (1 + SINGLE):
                continue
            arithmetic = f"1 - {wrong.printed}/{n:,} = {float(accuracy):.6g}, not {right.printed}"
            shown = f"{right.printed} and {wrong.printed} errors of {n:,}"
            explanation = "a misprint in one of them, or two exams on one line"
            yield Finding(Flaw.COUNTS, right.where, shown, arithmetic, Grade.CERTAIN, explanation)


def ranges(quoted: Sequence[QuotedNumber]) -> Iterator[Finding]:
    """Check that a count of pairs is a multiple of the number of answers in its range."""
    for number in quoted:
        ends, printed = number.reported.fields.get("range"), number.printed
        if ends is None or number.reported.of != "count" or printed.about:
            continue
        low, high = map(int, ends)
        answers, count = high - low + 1, int(printed.value)
        if [low, high] != list(ends) or answers < 1 or (count and count % answers == 0):
            continue
        quotient = f"{count:,} / {answers} = {count / answers:.4g}"
        arithmetic = f"{low} to {high} are {answers} answers, and {quotient} is not whole"
        explanation = "answers that are not equally frequent, or a rough range"
        shown = f"{printed} with answers in [{low}, {high}]"
        yield Finding(Flaw.COUNTS, number.where, shown, arithmetic, Grade.TELLING, explanation)


def sums(quoted: Sequence[QuotedNumber]) -> Iterator[Finding]:
    """Check that the parts of a data set add up to its size."""
    sizes: dict[tuple[str, str], dict[str, QuotedNumber]] = {}
    for number in quoted:
        if number.reported.of == "count" and number.run and number.split and number.whole("k") is None:
            sizes.setdefault((number.source, number.run), {}).setdefault(number.split, number)
    for parts in sizes.values():
        if not {"all", "train"} < set(parts) or any(number.printed.about for number in parts.values()):
            continue
        held = [parts[name] for name in ("train", "validation", "test") if name in parts]
        total, whole = sum(int(number.printed.value) for number in held), parts["all"].printed
        if len(held) > 1 and total != whole.value:
            arithmetic = f"{' + '.join(str(number.printed) for number in held)} = {total:,}, not {whole}"
            explanation = "a part that is not listed, unless the sum is too large"
            grade = Grade.CERTAIN if total > whole.value else Grade.TELLING
            yield Finding(Flaw.COUNTS, held[0].where, str(whole), arithmetic, grade, explanation)


def disputed_counts(quoted: Sequence[QuotedNumber]) -> Iterator[Finding]:
    """Compare the sizes of one part in claims that dispute each other, or that describe the same run."""
    sizes = [
        number
        for number in quoted
        if number.reported.of == "count" and number.split and not {"k", "range"} & number.reported.fields.keys()
    ]
    differing: dict[tuple[str, str], list[tuple[QuotedNumber, QuotedNumber]]] = {}
    for one, other in combinations(sizes, 2):
        disputed = other.claim.id in one.claim.disputes or one.claim.id in other.claim.disputes
        same_run = (
            one.run is not None
            and one.run == other.run
            and {one.claim.quantity.name, other.claim.quantity.name} <= SIZES
        )
        if one.split != other.split or not (disputed or same_run):
            continue
        if abs(one.printed.value - other.printed.value) >= max(one.printed.unit, other.printed.unit):
            differing.setdefault((one.source, other.source), []).append((one, other))
    for pairs in differing.values():
        gap = max(abs(one.printed.value - other.printed.value) for one, other in pairs)
        about = all(one.printed.about or other.printed.about for one, other in pairs)
        arithmetic = f"they differ by {int(gap):,}" + (
            ", and an approximation rarely has so many digits" if about else ""
        )
        rows = (f"{one.split} rows {one.printed} and {other.printed} at {other.where}" for one, other in pairs)
        explanation = "two generators, or half of an odd number rounded up"
        grade = Grade.TELLING if about else Grade.CERTAIN
        yield Finding(Flaw.COUNTS, pairs[0][0].where, "; ".join(rows), arithmetic, grade, explanation)

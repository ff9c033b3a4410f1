"""Printed counts and shares -> those that do not add up: k of n, errors beside scores, ranges, parts and sizes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import combinations

from reprogrok.forensics.findings import SINGLE, Finding, Flaw, Grade, grim_finding
from reprogrok.forensics.quoted_numbers import SCORES, SHARES, QuotedNumber

SIZES = frozenset({"equations", "train_examples", "test_examples"})  # quantities that count rows


def shares(entries: Sequence[QuotedNumber]) -> Iterator[Finding]:
    """A share of n is that of a whole k; a share beside k and n is theirs."""
    for entry in entries:
        n, k = entry.whole("n"), entry.whole("k")
        if entry.reported.of == "rank" and n and not entry.number.about:
            yield from _mean_of_counts(entry, n)
        if not n or (entry.reported.of not in SHARES and entry.reported.of != "ratio"):
            continue
        if k is None:
            if entry.reported.of in SHARES and entry.number.value <= 1:
                finding = grim_finding(entry.number, n, entry.where, "as stated")
                yield from () if finding is None else (finding,)
            continue
        either = [k, n - k] if entry.reported.of in SCORES else [k]
        shares = [Fraction(part, n) for part in either]
        slack = entry.number.reach * (1 + SINGLE)
        if any(abs(share - entry.number.value) <= slack for share in shares):
            continue
        cut_off = any(0 <= share - entry.number.value < entry.number.unit for share in shares)
        arithmetic = f"{k:,}/{n:,} = {float(shares[0]):.6g}" + (
            "; cut off instead of rounded, it fits" if cut_off else ""
        )
        sure = Grade.TELLING if cut_off or entry.number.about else Grade.CERTAIN
        shown = f"{entry.number} beside {k:,} of {n:,}"
        yield Finding(Flaw.COUNTS, entry.where, shown, arithmetic, sure, "a misprint in any of the three explains it")


def _mean_of_counts(entry: QuotedNumber, n: int) -> Iterator[Finding]:
    """GRIM as it was published: the mean of n whole numbers is a whole number over n."""
    low, high = ((entry.number.value + side * entry.number.reach) * n for side in (-1, 1))
    if math.ceil(low) > math.floor(high):
        total = entry.number.value * n
        arithmetic = (
            f"{entry.number} x {n} = {float(total):g}, and no sum of {n} whole numbers gives a mean that prints so"
        )
        said = "an average over more of them (batches, checkpoints), or another definition, explains it as well"
        yield Finding(Flaw.NOT_K_OF_N, entry.where, f"{entry.number} over {n}", arithmetic, Grade.CERTAIN, said)


def scores_and_errors(entries: Sequence[QuotedNumber]) -> Iterator[Finding]:
    """Errors and right answers of one exam on one line add up to n."""
    errors = [entry for entry in entries if entry.reported.of == "errors" and entry.whole("n")]
    for wrong in errors:
        n = wrong.whole("n") or 0
        if wrong.number.value > n:
            shown = f"{wrong.number} errors of {n:,}"
            yield Finding(Flaw.COUNTS, wrong.where, shown, f"more than {n:,}", Grade.CERTAIN, "a misprint explains it")
        for right in entries:
            same = right.reported.of in SCORES and right.whole("n") == n and right.claim is wrong.claim
            if not (
                same and (right.run, right.split, right.reported.at) == (wrong.run, wrong.split, wrong.reported.at)
            ):
                continue
            share = 1 - wrong.number.value / n
            if abs(share - right.number.value) <= right.number.reach * (1 + SINGLE):
                continue
            arithmetic = f"1 - {wrong.number}/{n:,} = {float(share):.6g}, not {right.number}"
            shown = f"{right.number} and {wrong.number} errors of {n:,}"
            said = "a misprint in one of them, or two exams on one line, explains it as well"
            yield Finding(Flaw.COUNTS, right.where, shown, arithmetic, Grade.CERTAIN, said)


def ranges(entries: Sequence[QuotedNumber]) -> Iterator[Finding]:
    """A count of pairs beside a range of answers: each answer has equally many."""
    for entry in entries:
        ends = entry.reported.fields.get("range")
        if ends is None or entry.reported.of != "count" or entry.number.about:
            continue
        low, high = map(int, ends)
        answers, count = high - low + 1, int(entry.number.value)
        if [low, high] != list(ends) or answers < 1 or (count and count % answers == 0):
            continue
        arithmetic = (
            f"{low} to {high} are {answers} answers, and {count:,} / {answers} = {count / answers:.4g} is not whole"
        )
        said = "where answers are not equally frequent, or the range is rough, this is honest"
        shown = f"{entry.number} with answers in [{low}, {high}]"
        yield Finding(Flaw.COUNTS, entry.where, shown, arithmetic, Grade.TELLING, said)


def sums(entries: Sequence[QuotedNumber]) -> Iterator[Finding]:
    """The parts of a data set add up to it."""
    counts: dict[tuple[str, str], dict[str, QuotedNumber]] = {}
    for entry in entries:
        if entry.reported.of == "count" and entry.run and entry.split and entry.whole("k") is None:
            counts.setdefault((entry.source, entry.run), {}).setdefault(entry.split, entry)
    for parts in counts.values():
        if not {"all", "train"} < set(parts) or any(entry.number.about for entry in parts.values()):
            continue
        held = [parts[name] for name in ("train", "validation", "test") if name in parts]
        total = sum(int(entry.number.value) for entry in held)
        if len(held) > 1 and total != parts["all"].number.value:
            arithmetic = f"{' + '.join(str(entry.number) for entry in held)} = {total:,}, not {parts['all'].number}"
            said = "a part that is not listed explains it, unless the sum is too large"
            sure = Grade.CERTAIN if total > parts["all"].number.value else Grade.TELLING
            yield Finding(Flaw.COUNTS, held[0].where, str(parts["all"].number), arithmetic, sure, said)


def disputed_counts(entries: Sequence[QuotedNumber]) -> Iterator[Finding]:
    """Sizes of the same part in claims that dispute each other, or of the same run: "~4,705" says four digits."""
    sizes = [
        entry
        for entry in entries
        if entry.reported.of == "count"
        and entry.split
        and entry.whole("k") is None
        and "range" not in entry.reported.fields
    ]
    differing: dict[tuple[str, str], list[tuple[QuotedNumber, QuotedNumber]]] = {}
    for one, other in combinations(sizes, 2):
        disputed = other.claim.id in one.claim.disputes or one.claim.id in other.claim.disputes
        same_run = one.run is not None and one.run == other.run and {one.quantity, other.quantity} <= SIZES
        if one.split != other.split or not (disputed or same_run):
            continue
        if abs(one.number.value - other.number.value) >= max(one.number.unit, other.number.unit):
            differing.setdefault((one.source, other.source), []).append((one, other))
    for pairs in differing.values():
        gap = max(abs(one.number.value - other.number.value) for one, other in pairs)
        about = all(one.number.about or other.number.about for one, other in pairs)
        arithmetic = f"they differ by {int(gap):,}" + (", and to so many digits nobody approximates" if about else "")
        shown = "; ".join(f"{one.split} rows {one.number} and {other.number} at {other.where}" for one, other in pairs)
        said = "two generators, or an odd half rounded up, explain it as well"
        sure = Grade.TELLING if about else Grade.CERTAIN
        yield Finding(Flaw.COUNTS, pairs[0][0].where, shown, arithmetic, sure, said)

"""Claims files -> what in the printed numbers of their sources does not fit; see `forensics` for the arithmetic.

    sources --`reported` numbers with run, split, step, n--> Entry ... --checks--> findings, and what was looked at

Only what the source prints is used, never what was measured. Two numbers are compared where the file says that they
are of one thing: the same run, kind, split and step; errors and a score on one line; counts of claims that dispute
each other. Numbers without those words are left alone, because two ranks of one run may be of two moments.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations
from pathlib import Path

from reprogrok.errors import InputError
from reprogrok.judge.bounds import largest_entropy
from reprogrok.judge.claims import Claim, Reported, Source
from reprogrok.judge.forensics import (
    RARE,
    SINGLE,
    Check,
    Examination,
    Finding,
    Kind,
    Printed,
    Sure,
    chance_of_repeat,
    grim_finding,
    printed,
    share_silent,
)

SHARES = frozenset({"accuracy", "exact_match", "share"})
SCORES = SHARES - {"share"}
MOVES = Fraction(3, 2)  # grok steps of two definitions that differ by this factor tell another story
SIZES = frozenset({"equations", "train_examples", "test_examples"})  # quantities that count rows
WHOLE_ROW = 7  # a mean over so many positions has both operands among them


@dataclass(frozen=True)
class Entry:
    """One printed number and where it stands."""

    source: str
    claim: Claim
    reported: Reported
    number: Printed

    @property
    def where(self) -> str:
        """File and line of the source, and the claim that quotes it."""
        return f"{self.source}:{self.reported.at} ({self.claim.id})"

    @property
    def run(self) -> str | None:
        """The run that it is about."""
        return self.reported.fields.get("run")

    @property
    def split(self) -> str | None:
        """The rows that it is about."""
        return self.reported.fields.get("split")

    @property
    def quantity(self) -> str:
        """What its claim is about."""
        return self.claim.quantity.name

    @property
    def step(self) -> int | None:
        """The evaluation that it is about."""
        return self.whole("step")

    def whole(self, name: str) -> int | None:
        """A field that is a whole number."""
        value = self.reported.fields.get(name)
        return None if value is None else int(value)


def examine_claims(sources: Sequence[Source], subject: Path) -> Examination:
    """Look at the printed numbers of one or more sources together.

    Raises:
        InputError: a reported text is no number.
    """
    entries = [entry for source in sources for entry in _entries(source)]
    checks: tuple[Callable[[Sequence[Entry]], Iterable[Finding]], ...] = (
        _shares, _scores_and_errors, _repeats, _said_twice, _grok_steps, _losses, _positions, _other_bounds, _ranges,
        _sums, _disputed_counts,
    )  # fmt: skip
    found = [finding for check in checks for finding in check(entries)]
    unique = {(finding.kind, finding.where.partition(" (")[0], finding.printed): finding for finding in reversed(found)}
    return Examination(str(subject), tuple(reversed(unique.values())), tuple(_looked_at(entries)))


def _entries(source: Source) -> Iterator[Entry]:
    for claim in source.claims:
        for reported in claim.reported:
            try:
                yield Entry(source.file, claim, reported, printed(reported.text))
            except ValueError as error:
                message = "not a number as it is printed"
                raise InputError(message, path=claim.path, line=reported.line, found=reported.text) from error


def _looked_at(entries: Sequence[Entry]) -> Iterator[Check]:
    for n in sorted({entry.whole("n") or 0 for entry in entries if _asks_grim(entry)}):
        numbers = [entry.number for entry in entries if _asks_grim(entry) and entry.whole("n") == n]
        silent = share_silent(numbers, n)
        note = f"shares of n = {n:,}"
        if silent:
            note += "; silent: an approximation, or so few digits that every printed value is some k of n"
        yield Check("k of n", len(numbers), silent, note)
    beside = sum(entry.reported.of in SHARES and entry.whole("k") is not None for entry in entries)
    yield Check("share beside its count", beside, 0, "shares that are printed with k and n")
    yield Check("everything else", len(entries), 0, "all printed numbers, where run, split and step tell what they are")


def _asks_grim(entry: Entry) -> bool:
    return entry.reported.of in SHARES and bool(entry.whole("n")) and entry.whole("k") is None


def _shares(entries: Sequence[Entry]) -> Iterator[Finding]:
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
        sure = Sure.TELLING if cut_off or entry.number.about else Sure.CERTAIN
        shown = f"{entry.number} beside {k:,} of {n:,}"
        yield Finding(Kind.COUNTS, entry.where, shown, arithmetic, sure, "a misprint in any of the three explains it")


def _mean_of_counts(entry: Entry, n: int) -> Iterator[Finding]:
    """GRIM as it was published: the mean of n whole numbers is a whole number over n."""
    low, high = ((entry.number.value + side * entry.number.reach) * n for side in (-1, 1))
    if math.ceil(low) > math.floor(high):
        total = entry.number.value * n
        arithmetic = (
            f"{entry.number} x {n} = {float(total):g}, and no sum of {n} whole numbers gives a mean that prints so"
        )
        said = "an average over more of them (batches, checkpoints), or another definition, explains it as well"
        yield Finding(Kind.NOT_K_OF_N, entry.where, f"{entry.number} over {n}", arithmetic, Sure.CERTAIN, said)


def _scores_and_errors(entries: Sequence[Entry]) -> Iterator[Finding]:
    """Errors and right answers of one exam on one line add up to n."""
    errors = [entry for entry in entries if entry.reported.of == "errors" and entry.whole("n")]
    for wrong in errors:
        n = wrong.whole("n") or 0
        if wrong.number.value > n:
            shown = f"{wrong.number} errors of {n:,}"
            yield Finding(Kind.COUNTS, wrong.where, shown, f"more than {n:,}", Sure.CERTAIN, "a misprint explains it")
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
            yield Finding(Kind.COUNTS, right.where, shown, arithmetic, Sure.CERTAIN, said)


def _repeats(entries: Sequence[Entry]) -> Iterator[Finding]:
    """One value at three or more different splits or steps of one run."""
    groups: dict[tuple[str, str, str], list[Entry]] = {}
    for entry in entries:
        if entry.run is not None and entry.reported.of in {"loss", *SCORES} and not entry.number.about:
            groups.setdefault((entry.source, entry.run, entry.reported.of), []).append(entry)
    for (source, run, of), group in groups.items():
        for text in dict.fromkeys(entry.number.text for entry in group):
            places = {(entry.split, entry.step): entry for entry in group if entry.number.text == text}
            number = next(iter(places.values())).number
            if len(places) < 3 or number.value in {0, 1}:
                continue
            chance = chance_of_repeat(number, len(places))
            others = [
                entry.number for entry in entries if (entry.source, entry.run, entry.reported.of) == (source, run, of)
            ]
            moved = [other for other in others if abs(other.value - number.value) > abs(number.value) / 10]
            if chance < RARE and moved:
                sure = Sure.TELLING
                tail = f"and the same run is also said to have {', '.join(dict.fromkeys(map(str, moved)))}"
            elif chance < RARE:
                sure, tail = (
                    Sure.WEAK,
                    "a run that stands still repeats itself, and nothing printed says that this one moved",
                )
            else:
                sure, tail = Sure.WEAK, "rounding to so few digits explains it"
            arithmetic = (
                f"{len(places)} independent values within 10 % of {number} print alike with a probability of"
                f" {chance:.2g}; {tail}"
            )
            shown = f"{number} for " + ", ".join(_place(*place) for place in places)
            said = "copied cells, one number entered for all, or values that are no independent draws look alike"
            first = next(iter(places.values()))
            yield Finding(Kind.REPEATED, first.where, shown, arithmetic, sure, said, chance)


def _place(split: str | None, step: int | None) -> str:
    words = [split or "?"] + ([] if step is None else [f"step {step:,}"])
    return " ".join(words)


def _said_twice(entries: Sequence[Entry]) -> Iterator[Finding]:
    """One number of one run, split and step, printed twice and not alike."""
    groups: dict[tuple[object, ...], list[Entry]] = {}
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
            yield Finding(Kind.TWO_STATEMENTS, one.where, shown, arithmetic, Sure.CERTAIN, said)


def _grok_steps(entries: Sequence[Entry]) -> Iterator[Finding]:
    """One run, several grok steps."""
    groups: dict[str, list[Entry]] = {}
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
        sure = Sure.CERTAIN if same else Sure.TELLING if far else Sure.WEAK
        steps = ", ".join(f"{int(value):,}" for value in values)
        definitions = " and ".join(dict.fromkeys((one.claim.quantity.definition, other.claim.quantity.definition)))
        arithmetic = f"{run} has one curve and {len(values)} steps: {steps} ({definitions})"
        shown = f"{one.number} and {other.number} at {other.where}"
        said = "two definitions of the grok step give two steps honestly"
        yield Finding(Kind.GROK_STEPS, one.where, shown, arithmetic, sure, said)


def _losses(entries: Sequence[Entry]) -> Iterator[Finding]:
    """A mean loss, the positions that the source divides by, and what the rows cost at least."""
    for entry in entries:
        if entry.reported.of != "loss":
            continue
        stated, scored, n = map(entry.whole, ("positions", "scored", "n"))
        divisor = stated or scored
        if divisor is None:
            continue
        if stated and scored and stated != scored:
            shown_as = float(entry.number.value * stated / scored)
            arithmetic = (
                f"{entry.number} x {stated} / {scored} = {shown_as:.4g}: the program averages over {scored} positions"
            )
            shown = f"{entry.number}, a mean over {stated} positions"
            said = "a bound for another window is no error of the measurement"
            yield Finding(Kind.BOUND, entry.where, shown, arithmetic, Sure.CERTAIN, said)
        if n and n > 1 and divisor >= WHOLE_ROW:
            least = math.log(n) / divisor
            if float(entry.number.value + entry.number.reach) < least:
                arithmetic = (
                    f"{n:,} different rows cost any predictor ln({n:,})/{divisor} = {least:.4f} or more a position"
                )
                if scored and scored != divisor:
                    arithmetic += f"; over {scored} positions it is {math.log(n) / scored:.4f}"
                shown = f"{entry.number}, a mean over {divisor} positions"
                said = "a mean over other positions, or over fewer rows, explains it"
                yield Finding(Kind.BOUND, entry.where, f"{shown} of {n:,} rows", arithmetic, Sure.CERTAIN, said)


def _positions(entries: Sequence[Entry]) -> Iterator[Finding]:
    """A share or a count of positions that is not of those that the program averages over."""
    for entry in entries:
        stated, scored = entry.whole("positions"), entry.whole("scored")
        if stated is None or scored is None or stated == scored or entry.reported.of not in {"share", "count"}:
            continue
        kind = Kind.BOUND if entry.reported.of == "share" else Kind.COUNTS
        arithmetic = f"the program averages over {scored} positions, not {stated}"
        if entry.reported.of == "share":
            arithmetic += (
                f": {float(entry.number.value * stated / scored):.4g} instead of {float(entry.number.value):.4g}"
            )
        shown = f"{entry.number} of {stated} positions"
        said = "whoever counts without the prediction of the next row means another window"
        yield Finding(kind, entry.where, shown, arithmetic, Sure.CERTAIN, said)


def _other_bounds(entries: Sequence[Entry]) -> Iterator[Finding]:
    """An attention entropy above what its positions allow."""
    for entry in entries:
        positions = entry.whole("scored") or entry.whole("positions")
        if entry.reported.of != "entropy" or not positions:
            continue
        most = largest_entropy(positions)
        if float(entry.number.value - entry.number.reach) > most:
            arithmetic = (
                f"the mean over {positions} causal positions is at most ln({positions}!)/{positions} = {most:.4f} nats"
            )
            said = "bits instead of nats, or another mean, explains it as well"
            yield Finding(Kind.BOUND, entry.where, str(entry.number), arithmetic, Sure.CERTAIN, said)


def _ranges(entries: Sequence[Entry]) -> Iterator[Finding]:
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
        yield Finding(Kind.COUNTS, entry.where, shown, arithmetic, Sure.TELLING, said)


def _sums(entries: Sequence[Entry]) -> Iterator[Finding]:
    """The parts of a data set add up to it."""
    counts: dict[tuple[str, str], dict[str, Entry]] = {}
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
            sure = Sure.CERTAIN if total > parts["all"].number.value else Sure.TELLING
            yield Finding(Kind.COUNTS, held[0].where, str(parts["all"].number), arithmetic, sure, said)


def _disputed_counts(entries: Sequence[Entry]) -> Iterator[Finding]:
    """Sizes of the same part in claims that dispute each other, or of the same run: "~4,705" says four digits."""
    sizes = [
        entry
        for entry in entries
        if entry.reported.of == "count"
        and entry.split
        and entry.whole("k") is None
        and "range" not in entry.reported.fields
    ]
    for one, other in combinations(sizes, 2):
        disputed = other.claim.id in one.claim.disputes or one.claim.id in other.claim.disputes
        same_run = one.run is not None and one.run == other.run and {one.quantity, other.quantity} <= SIZES
        if one.split != other.split or not (disputed or same_run):
            continue
        gap = abs(one.number.value - other.number.value)
        if gap < max(one.number.unit, other.number.unit):
            continue
        about = one.number.about or other.number.about
        arithmetic = f"they differ by {int(gap):,}" + (", and to so many digits nobody approximates" if about else "")
        shown = f"{one.number} and {other.number} at {other.where}, both the {one.split} rows"
        said = "two generators, or rounding up an odd half, explain it as well"
        sure = Sure.TELLING if about else Sure.CERTAIN
        yield Finding(Kind.COUNTS, one.where, shown, arithmetic, sure, said)

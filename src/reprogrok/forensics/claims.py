"""Claims files -> what in the printed numbers of their sources does not fit; see `forensics` for the arithmetic.

    sources --`reported` numbers with run, split, step, n--> QuotedNumber ... --checks--> findings, coverage

Only what the source prints is used, never what was measured. Two numbers are compared where the file says that they
are of one thing: the same run, kind, split and step; errors and a score on one line; counts of claims that dispute
each other. Numbers without those words are left alone, because two ranks of one run may be of two moments.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from reprogrok.claims.claims import SUFFIX, Citation, all_claims, claims_files, load_citations
from reprogrok.forensics import counts, series
from reprogrok.forensics.findings import CheckedNumbers, Examination, Finding, Flaw, Grade, share_silent
from reprogrok.forensics.quoted_numbers import SHARES, QuotedNumber, entries_of
from reprogrok.metrics.bounds import largest_entropy
from reprogrok.schema import load

WHOLE_ROW = 7  # a mean over so many positions has both operands among them


def examine_claims(path: Path) -> Examination:
    """Look at the printed numbers of a claims file, or of all claims files of a folder together.

    Of a single file whose claims dispute those of other documents the claims files beside it are read, too; what is
    found has this file on one side at least, and what is disputed and not there is named.

    Raises:
        InputError: a file is no claims file, or a reported text is no number.
    """
    if path.is_dir():
        sources, own = load_citations(claims_files(path)), None
    else:
        alone = load(path, "claims").data
        disputes = any("disputes" in claim for claim in alone["claims"])
        sources = load_citations(sorted({path, *_claims_beside(path)}) if disputes else [path], complete=False)
        own = alone["source"]["file"]
    entries = [entry for source in sources for entry in entries_of(source)]
    found = _gathered(finding for check in _CHECKS for finding in check(entries))
    concerned = tuple(finding for finding in found if own is None or f"{own}:" in f"{finding.where} {finding.printed}")
    looked_at = _looked_at([entry for entry in entries if own in {None, entry.source}], _absent(sources, own))
    return Examination(str(path), concerned, tuple(looked_at))


def _claims_beside(path: Path) -> Iterator[Path]:
    """The claims files in the folder of one of them; other YAML may lie there as well."""
    for file in path.parent.glob(f"*{SUFFIX}"):
        data = load(file).data
        if isinstance(data, dict) and str(data.get("format")).startswith("reprogrok.claims/"):
            yield file


def _absent(sources: Sequence[Citation], own: str | None) -> list[str]:
    """The ids that the claims looked at dispute and that were not read."""
    there = all_claims(sources)
    asked = (claim for source in sources if own in {None, source.file} for claim in source.claims)
    return list(dict.fromkeys(other for claim in asked for other in claim.disputes if other not in there))


def _gathered(findings: Iterable[Finding]) -> Iterator[Finding]:
    """One finding for what a source prints in several places, with the places."""
    same: dict[tuple[object, ...], list[Finding]] = {}
    for finding in findings:
        source = finding.where.partition(":")[0]
        same.setdefault((finding.kind, source, finding.printed, finding.arithmetic), []).append(finding)
    for group in same.values():
        again = dict.fromkeys(finding.where.partition(" (")[0].rpartition(":")[2] for finding in group)
        others = list(again)[1:]
        more = f"; again on line {', '.join(others)}" if others else ""
        yield replace(group[0], where=group[0].where + more)


def _looked_at(entries: Sequence[QuotedNumber], absent: Sequence[str]) -> Iterator[CheckedNumbers]:
    for n in sorted({entry.whole("n") or 0 for entry in entries if _asks_grim(entry)}):
        numbers = [entry.number for entry in entries if _asks_grim(entry) and entry.whole("n") == n]
        silent = share_silent(numbers, n)
        note = f"shares of n = {n:,}"
        if silent:
            note += "; silent: an approximation, or so few digits that every printed value is some k of n"
        yield CheckedNumbers("k of n", len(numbers), silent, note)
    beside = sum(entry.reported.of in SHARES and entry.whole("k") is not None for entry in entries)
    yield CheckedNumbers("share beside its count", beside, 0, "shares that are printed with k and n")
    note = "all printed numbers, where run, split and step tell what they are"
    note += f"; disputed and not here: {', '.join(absent)}" if absent else ""
    yield CheckedNumbers("everything else", len(entries), 0, note)


def _asks_grim(entry: QuotedNumber) -> bool:
    return entry.reported.of in SHARES and bool(entry.whole("n")) and entry.whole("k") is None


def _losses(entries: Sequence[QuotedNumber]) -> Iterator[Finding]:
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
            yield Finding(Flaw.BOUND, entry.where, shown, arithmetic, Grade.CERTAIN, said)
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
                yield Finding(Flaw.BOUND, entry.where, f"{shown} of {n:,} rows", arithmetic, Grade.CERTAIN, said)


def _positions(entries: Sequence[QuotedNumber]) -> Iterator[Finding]:
    """A share or a count of positions that is not of those that the program averages over."""
    for entry in entries:
        stated, scored = entry.whole("positions"), entry.whole("scored")
        if stated is None or scored is None or stated == scored or entry.reported.of not in {"share", "count"}:
            continue
        whole = entry.reported.of == "share" or entry.number.value == stated
        kind = Flaw.BOUND if whole else Flaw.COUNTS
        arithmetic = f"the program averages over {scored} positions, not {stated}"
        if entry.reported.of == "share":
            arithmetic += (
                f": {float(entry.number.value * stated / scored):.4g} instead of {float(entry.number.value):.4g}"
            )
        shown = f"{entry.number}, of {stated} positions" if entry.number.value != stated else f"{stated} positions"
        said = "whoever counts without the prediction of the next row means another window"
        yield Finding(kind, entry.where, shown, arithmetic, Grade.CERTAIN, said)


def _other_bounds(entries: Sequence[QuotedNumber]) -> Iterator[Finding]:
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
            yield Finding(Flaw.BOUND, entry.where, str(entry.number), arithmetic, Grade.CERTAIN, said)


_CHECKS: tuple[Callable[[Sequence[QuotedNumber]], Iterable[Finding]], ...] = (
    counts.shares,
    counts.scores_and_errors,
    counts.ranges,
    counts.sums,
    counts.disputed_counts,
    series.repeats,
    series.said_twice,
    series.grok_steps,
    _losses,
    _positions,
    _other_bounds,
)

"""Claims files -> findings: printed numbers of their sources that do not fit together.

    sources --`reported` numbers with run, split, step, n--> QuotedNumber ... --checks--> ForensicReport

Only printed numbers are used, never measurements. Two numbers are compared only if the file states that they describe
the same thing: the same run, kind, split and step; errors and a score on one line; counts of claims that dispute each
other. Without these facts two ranks of one run may belong to two steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from reprogrok.claims.claims import SUFFIX, Citation, all_claims, claims_files, load_citations
from reprogrok.forensics import counts, series
from reprogrok.forensics.findings import CheckedNumbers, Finding, Flaw, ForensicReport, Grade, count_undecidable
from reprogrok.forensics.quoted_numbers import FRACTIONS, QuotedNumber, quoted_numbers
from reprogrok.metrics.bounds import largest_entropy
from reprogrok.schema import load

WHOLE_ROW = 7  # a mean over at least so many positions includes both operands


def examine_claims(path: Path) -> ForensicReport:
    """Check the printed numbers of a claims file, or of all claims files of a folder together.

    If claims of a single file dispute those of other documents, the claims files in its folder are read as well. Only
    findings that involve the file are reported; disputed claims that are missing are named.

    Raises:
        InputError: a file is not a claims file, or a reported text is not a number.
    """
    if path.is_dir():
        sources, own = load_citations(claims_files(path)), None
    else:
        alone = load(path, "claims").data
        disputes = any("disputes" in claim for claim in alone["claims"])
        sources = load_citations(sorted({path, *_claims_beside(path)}) if disputes else [path], complete=False)
        own = alone["source"]["file"]
    numbers = [number for source in sources for number in quoted_numbers(source)]
    found = _merged(finding for check in _CHECKS for finding in check(numbers))
    concerned = tuple(finding for finding in found if own is None or f"{own}:" in f"{finding.where} {finding.printed}")
    checks = _checked([number for number in numbers if own in {None, number.source}], _absent(sources, own))
    return ForensicReport(str(path), concerned, tuple(checks))


def _claims_beside(path: Path) -> Iterator[Path]:
    """Yield the claims files in the folder of `path`; other YAML files may be there as well."""
    for file in path.parent.glob(f"*{SUFFIX}"):
        data = load(file).data
        if isinstance(data, dict) and str(data.get("format")).startswith("reprogrok.claims/"):
            yield file


def _absent(sources: Sequence[Citation], own: str | None) -> list[str]:
    """Return the ids that the checked claims dispute and that no file has."""
    there = all_claims(sources)
    checked = (claim for source in sources if own in {None, source.file} for claim in source.claims)
    return list(dict.fromkeys(other for claim in checked for other in claim.disputes if other not in there))


def _merged(findings: Iterable[Finding]) -> Iterator[Finding]:
    """Merge equal findings from several places of one source into one that names the places."""
    same: dict[tuple[object, ...], list[Finding]] = {}
    for finding in findings:
        source = finding.where.partition(":")[0]
        same.setdefault((finding.kind, source, finding.printed, finding.arithmetic), []).append(finding)
    for group in same.values():
        again = dict.fromkeys(finding.where.partition(" (")[0].rpartition(":")[2] for finding in group)
        others = list(again)[1:]
        more = f"; again on line {', '.join(others)}" if others else ""
        yield replace(group[0], where=group[0].where + more)


def _checked(quoted: Sequence[QuotedNumber], absent: Sequence[str]) -> Iterator[CheckedNumbers]:
    tested = [number for number in quoted if _is_for_grim(number)]
    for n in sorted({number.whole("n") or 0 for number in tested}):
        printed = [number.printed for number in tested if number.whole("n") == n]
        silent = count_undecidable(printed, n)
        why = "; undecidable: an approximation, or so few digits that every printed value is some k of n"
        note = f"fractions of n = {n:,}{why if silent else ''}"
        yield CheckedNumbers("k of n", len(printed), silent, note)
    with_count = sum(number.reported.of in FRACTIONS and number.whole("k") is not None for number in quoted)
    yield CheckedNumbers("fraction and its count", with_count, 0, "fractions that are printed with k and n")
    missing = f"; disputed, but missing here: {', '.join(absent)}" if absent else ""
    note = f"all printed numbers whose run, split and step are stated{missing}"
    yield CheckedNumbers("everything else", len(quoted), 0, note)


def _is_for_grim(number: QuotedNumber) -> bool:
    return number.reported.of in FRACTIONS and bool(number.whole("n")) and number.whole("k") is None


def _losses(quoted: Sequence[QuotedNumber]) -> Iterator[Finding]:
    """Compare a mean loss with the positions that the program averages over, and with the entropy of the rows."""
    for number in quoted:
        if number.reported.of != "loss":
            continue
        loss = number.printed
        stated, scored, n = map(number.whole, ("positions", "scored", "n"))
        divisor = stated or scored
        if divisor is None:
            continue
        shown = f"{loss}, a mean over {divisor} positions"
        if stated and scored and stated != scored:
            rescaled = float(loss.value * stated / scored)
            arithmetic = f"{loss} x {stated} / {scored} = {rescaled:.4g}: the program averages over {scored} positions"
            explanation = "a bound for another window is not an error of the measurement"
            yield Finding(Flaw.BOUND, number.where, shown, arithmetic, Grade.CERTAIN, explanation)
        if n and n > 1 and divisor >= WHOLE_ROW:
            least = math.log(n) / divisor
            if float(loss.value + loss.reach) < least:
                arithmetic = f"on {n:,} different rows any predictor loses at least ln({n:,})/{divisor} = {least:.4f}"
                if scored and scored != divisor:
                    arithmetic += f"; over {scored} positions it is {math.log(n) / scored:.4f}"
                explanation = "a mean over other positions, or over fewer rows"
                of_rows = f"{shown} of {n:,} rows"
                yield Finding(Flaw.BOUND, number.where, of_rows, arithmetic, Grade.CERTAIN, explanation)


def _positions(quoted: Sequence[QuotedNumber]) -> Iterator[Finding]:
    """Compare a fraction or count of positions with the number that the program averages over."""
    for number in quoted:
        of, printed = number.reported.of, number.printed
        stated, scored = number.whole("positions"), number.whole("scored")
        if stated is None or scored is None or stated == scored or of not in {"share", "count"}:
            continue
        kind = Flaw.BOUND if of == "share" or printed.value == stated else Flaw.COUNTS
        arithmetic = f"the program averages over {scored} positions, not {stated}"
        if of == "share":
            arithmetic += f": {float(printed.value * stated / scored):.4g} instead of {float(printed.value):.4g}"
        shown = f"{stated} positions" if printed.value == stated else f"{printed}, of {stated} positions"
        explanation = "another window, without the prediction of the next row"
        yield Finding(kind, number.where, shown, arithmetic, Grade.CERTAIN, explanation)


def _entropies(quoted: Sequence[QuotedNumber]) -> Iterator[Finding]:
    """Compare an attention entropy with its upper bound, ln(T!)/T over T causal positions."""
    for number in quoted:
        positions = number.whole("scored") or number.whole("positions")
        if number.reported.of != "entropy" or not positions:
            continue
        most, printed = largest_entropy(positions), number.printed
        if float(printed.value - printed.reach) > most:
            arithmetic = (
                f"a mean over {positions} causal positions is at most ln({positions}!)/{positions} = {most:.4f} nats"
            )
            explanation = "bits instead of nats, or another mean"
            yield Finding(Flaw.BOUND, number.where, str(printed), arithmetic, Grade.CERTAIN, explanation)


_CHECKS: tuple[Callable[[Sequence[QuotedNumber]], Iterable[Finding]], ...] = (
    counts.fractions,
    counts.scores_and_errors,
    counts.ranges,
    counts.sums,
    counts.disputed_counts,
    series.repeats,
    series.contradictions,
    series.grok_steps,
    _losses,
    _positions,
    _entropies,
)

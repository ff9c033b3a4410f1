"""The certificate of an evaluation -> the lines that say it beside the sampled score.

    block `certificate` + suites of an evaluation --> what is stated, whether the sample agrees, how it is checked

A certificate is shown as it is stated; that it was not checked here is said each time.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from reprogrok.judge.bounded_claims import count_text, down_text, up_text
from reprogrok.judge.certified import PROVED, REFUTED, Agreement, Sampled, Stated, sampled, stated_of
from reprogrok.measure.statistics import interval_text
from reprogrok.report.words import counted

_DIGITS = 3
_FEW = 1_000_000  # wrong problems up to here are counted out, more are given as a share


def certificate_lines(evaluation: dict[str, Any]) -> list[str]:
    """What is certified of a checkpoint beside what was seen of it; nothing where there is no certificate."""
    if (block := evaluation.get("certificate")) is None:
        return []
    stated, seen = stated_of(block), sampled(evaluation["suites"])
    said = f"  certificate: {stated_text(stated)}"
    if (beside := _sample_text(stated, seen, block["sample"])) is not None:
        said += f"; {beside}"
    check = f"reprogrok certify --check {block['file']} {evaluation['checkpoint']['path']}"
    return [said, f"  not checked again here: `{check}`"]


def stated_text(stated: Stated) -> str:
    """`PROVED right on all 10^20 problems (smallest margin at least 0.5)`, or what is known of the wrong ones."""
    problems = 0 if stated.wrong.of is None else stated.wrong.of
    if stated.verdict == PROVED:
        margin = "" if stated.smallest_margin is None else f" (smallest margin at least {stated.smallest_margin:.10g})"
        return f"PROVED right on all {count_text(problems)} problems{margin}"
    left = "" if stated.verdict == REFUTED or stated.wrong.at_least else ", and whether any is stays open"
    return f"{stated.verdict}: {_wrong_text(stated)} answered wrong{left}"


def short_text(block: dict[str, Any] | None) -> str:
    """The same for a column: `PROVED`, `REFUTED`, `PARTIAL`, or `-` without a certificate."""
    return "-" if block is None else str(block["verdict"])


def contradiction(evaluation: dict[str, Any]) -> str | None:
    """What has to be shouted of an evaluation: its certificate cannot be true beside what was seen; None if it can."""
    block = evaluation.get("certificate")
    if block is None or block["sample"] != Agreement.CONTRADICTS:
        return None
    path, stated, seen = evaluation["checkpoint"]["path"], stated_of(block), sampled(evaluation["suites"])
    high = stated.wrong.at_most
    if high is not None and seen.wrong > high:
        found = f"{counted(seen.wrong, 'problem')} {'was' if seen.wrong == 1 else 'were'} answered wrong here"
    else:
        found = f"{_errors_text(seen)} errors do not fit that"
    return (
        f"CONTRADICTION: {path} is certified as {stated_text(stated)}, but {found}."
        f" One of the two is wrong: check {block['file']} with `reprogrok certify --check`, and evaluate on the CPU."
    )


def _wrong_text(stated: Stated) -> str:
    """How many of all problems, in words: rounded outwards."""
    low, high, problems = stated.wrong.at_least, stated.wrong.at_most, stated.wrong.of or 1
    of = f"all {count_text(problems)} problems are"
    if high is None:
        high = Fraction(problems)
    if low == high:
        return f"exactly {down_text(low)} of {of}" if low < _FEW else f"{down_text(low / problems, _DIGITS)} of {of}"
    if high < _FEW:
        return f"at most {up_text(high)} of {of}" if low == 0 else f"{down_text(low)} to {up_text(high)} of {of}"
    share = up_text(high / problems, _DIGITS)
    return (
        f"at most {share} of {of}" if low == 0 else f"between {down_text(low / problems, _DIGITS)} and {share} of {of}"
    )


def _sample_text(stated: Stated, seen: Sampled, sample: str | None) -> str | None:
    if sample is None or seen.errors is None:
        return None
    if sample == Agreement.CONTRADICTS:
        return "CONTRADICTED by what was seen here"
    interval = f"95 %: {interval_text(seen.errors)}"
    if sample == Agreement.UNLIKELY:
        return f"the sampled {_errors_text(seen)} is off ({interval}), as chance makes 1 of 20 samples"
    agrees = f"the sampled {_errors_text(seen)} agrees"
    return agrees if stated.verdict == PROVED else f"{agrees} ({interval})"


def _errors_text(seen: Sampled) -> str:
    return "" if seen.errors is None else f"{seen.errors.k:,} of {seen.errors.n:,}"

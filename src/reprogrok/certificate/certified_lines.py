"""The certificate of an evaluation -> the lines that say it beside the sampled score.

    block `certificate` + suites of an evaluation --> what is stated, whether the sample agrees, how it is checked

A certificate is shown as it is stated; that it was not checked here is said each time.
"""

from __future__ import annotations

import shlex
from typing import Any

from reprogrok.certificate.certified import Agreement, Sampled, Stated, sampled, stated_of
from reprogrok.certificate.document import Verdict
from reprogrok.certificate.tables import share_text
from reprogrok.stats.range_text import count_text
from reprogrok.stats.statistics import interval_text
from reprogrok.text import counted

_FEW = 1_000_000  # wrong problems up to here are counted out, more are given as a share


def certificate_lines(evaluation: dict[str, Any]) -> list[str]:
    """What is certified of a checkpoint beside what was seen of it; nothing where there is no certificate."""
    if (block := evaluation.get("certificate")) is None:
        return []
    stated, seen = stated_of(block), sampled(evaluation["suites"])
    said = f"  certificate: {stated_text(stated)}"
    if (beside := _sample_text(stated, seen, block["sample"])) is not None:
        said += f"; {beside}"
    return [said, f"  not checked again here: `{_check_command(evaluation)}`"]


def stated_text(stated: Stated) -> str:
    """`PROVED right on all 10^20 problems (smallest margin at least 0.5)`, or what is known of the wrong ones."""
    problems = 0 if stated.wrong.of is None else stated.wrong.of
    if stated.verdict is Verdict.PROVED:
        margin = "" if stated.smallest_margin is None else f" (smallest margin at least {stated.smallest_margin:.10g})"
        return f"PROVED right on all {count_text(problems)} problems{margin}"
    left = "" if stated.verdict is Verdict.REFUTED or stated.wrong.at_least else ", and whether any is stays open"
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
        f" One of the two is wrong: check it by `{_check_command(evaluation)}`, and evaluate on the CPU."
    )


def _check_command(evaluation: dict[str, Any]) -> str:
    words = evaluation["checkpoint"]["path"], "--check", evaluation["certificate"]["file"]
    return f"reprogrok certify {shlex.join(words)}"


def _wrong_text(stated: Stated) -> str:
    """How many of all problems, in words: rounded outwards."""
    problems = stated.wrong.of or 1
    low, high = int(stated.wrong.at_least), problems if stated.wrong.at_most is None else int(stated.wrong.at_most)
    of = f"of all {count_text(problems)} problems are"
    if high < _FEW:
        return f"{f'exactly {low:,}' if low == high else f'{low:,} to {high:,}' if low else f'at most {high:,}'} {of}"
    least, most = share_text(low, problems, up=False), share_text(high, problems, up=True)
    return f"{f'between {least} and {most}' if low else f'at most {most}'} {of}"


def _sample_text(stated: Stated, seen: Sampled, sample: str | None) -> str | None:
    if sample is None or seen.errors is None:
        return None
    if sample == Agreement.CONTRADICTS:
        return "CONTRADICTED by what was seen here"
    interval = f"95 %: {interval_text(seen.errors)}"
    if sample == Agreement.UNLIKELY:
        return f"the sampled {_errors_text(seen)} is off ({interval}), as chance makes 1 of 20 samples"
    agrees = f"the sampled {_errors_text(seen)} agrees"
    return agrees if stated.verdict is Verdict.PROVED else f"{agrees} ({interval})"


def _errors_text(seen: Sampled) -> str:
    return "" if seen.errors is None else f"{seen.errors.k:,} of {seen.errors.n:,}"

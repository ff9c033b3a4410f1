"""The statement of a certificate -> one clause: PROVED right on all problems, or bounds on the wrong ones."""

from __future__ import annotations

from reprogrok.certificate.certified import Stated
from reprogrok.certificate.checker.statement import CertificateStatus
from reprogrok.certificate.tables import fraction_text
from reprogrok.stats.range_text import count_text

_FEW = 1_000_000  # fewer wrong problems are written out, more as a fraction


def stated_text(stated: Stated) -> str:
    """Return `PROVED right on all 10^20 problems (smallest margin at least 0.5)`, or the bounds of the wrong ones."""
    problems = 0 if stated.wrong.of is None else stated.wrong.of
    if stated.status is CertificateStatus.PROVED:
        margin = "" if stated.smallest_margin is None else f" (smallest margin at least {stated.smallest_margin:.10g})"
        return f"PROVED right on all {count_text(problems)} problems{margin}"
    left = (
        "" if stated.status is CertificateStatus.REFUTED or stated.wrong.at_least else ", and whether any is stays open"
    )
    return f"{stated.status}: {_wrong_text(stated)} answered wrong{left}"


def _wrong_text(stated: Stated) -> str:
    """Write the bounds of the wrong problems, rounded outwards."""
    problems = stated.wrong.of or 1
    low, high = int(stated.wrong.at_least), problems if stated.wrong.at_most is None else int(stated.wrong.at_most)
    of = f"of all {count_text(problems)} problems are"
    if high < _FEW:
        return f"{f'exactly {low:,}' if low == high else f'{low:,} to {high:,}' if low else f'at most {high:,}'} {of}"
    least, most = fraction_text(low, problems, up=False), fraction_text(high, problems, up=True)
    return f"{f'between {least} and {most}' if low else f'at most {most}'} {of}"

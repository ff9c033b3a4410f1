"""A certificate -> the quantities that claims may ask of its checkpoint, such as the number of wrong problems.

    Stated --entry of CERTIFICATE--> Measured: a range, or a word

A certificate bounds and does not measure, so its numbers are ranges, and a claim is judged by the whole range. They
are about every problem of the task and not about an exam, which is why they have a definition of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction

from reprogrok.certificate.certified import Stated
from reprogrok.certificate.checker.statement import CertificateStatus
from reprogrok.claims.claims import Quantity
from reprogrok.claims.measurements import Measured, Measurement, Missing
from reprogrok.stats.ranges import Range

CERTIFIED = "certificate/1"


@dataclass(frozen=True)
class CertifiedQuantity:
    """An entry of `CERTIFICATE`; the fields are those of `SeriesQuantity`."""

    definitions: tuple[str, ...]
    unit: str
    measure: Callable[[Stated], Measurement]
    says: str


def quantities_of(stated: Stated) -> dict[Quantity, Measured]:
    """Return every quantity that follows from the statement of a certificate."""
    found = {Quantity(name, CERTIFIED): entry.measure(stated) for name, entry in CERTIFICATE.items()}
    return {quantity: outcome for quantity, outcome in found.items() if isinstance(outcome, Measured)}


def _rate(stated: Stated) -> Measurement:
    low, high, problems = stated.wrong.at_least, stated.wrong.at_most, stated.wrong.of
    if problems is None:
        return Missing("of how many problems is not stated", again=False)
    return Measured(bounds=Range(low / problems, None if high is None else high / problems))


def _smallest_margin(stated: Stated) -> Measurement:
    """Return the smallest margin of any answer, if all are right; the smallest one met bounds it from above."""
    if stated.status is not CertificateStatus.PROVED or stated.smallest_margin is None:
        return Missing("not every answer is shown to be right", again=False)
    seen = stated.smallest_seen
    return Measured(bounds=Range(_decimal(stated.smallest_margin), None if seen is None else _decimal(seen)))


def _decimal(value: float) -> Fraction:
    """Return the number exactly as it is written."""
    return Fraction(repr(value))


CERTIFICATE: Mapping[str, CertifiedQuantity] = {
    "wrong_problems": CertifiedQuantity(
        (CERTIFIED,), "problems", lambda stated: Measured(bounds=stated.wrong),
        "how many of all problems are answered wrong: at least and at most",
    ),
    "wrong_rate": CertifiedQuantity((CERTIFIED,), "fraction", _rate, "the same as a fraction of all problems"),
    "proved": CertifiedQuantity(
        (CERTIFIED,), "word", lambda stated: Measured(word=stated.status.value),
        "PROVED: every problem is answered right; REFUTED: not every one; PARTIAL: not decided",
    ),
    "smallest_margin": CertifiedQuantity(
        (CERTIFIED,), "logits", _smallest_margin,
        "of a PROVED one: a lower bound on the margin of any answer, and the least margin that was met",
    ),
}  # fmt: skip

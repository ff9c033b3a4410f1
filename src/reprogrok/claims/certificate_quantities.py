"""A certificate -> what claims may ask of its checkpoint: how many of all problems are answered wrong, and the rest.

    Stated --entry of CERTIFICATE--> Measured: bounds, or a word

A certificate bounds; it does not measure. So its numbers are ranges, and a claim is judged by the whole of them
(`bounded_claims`). They are about every problem that there is, not about an exam's: their definition says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction

from reprogrok.certificate.certified import Stated
from reprogrok.certificate.document import Verdict
from reprogrok.claims.claims import Quantity
from reprogrok.claims.outcomes import Absent, Measured, Outcome
from reprogrok.stats.ranges import Range

CERTIFIED = "certificate/1"


@dataclass(frozen=True)
class CertifiedQuantity:
    """An entry of the table; the fields are those of `SeriesQuantity`."""

    definitions: tuple[str, ...]
    unit: str
    measure: Callable[[Stated], Outcome]
    says: str


def quantities_of(stated: Stated) -> dict[Quantity, Measured]:
    """Everything that follows from what a certificate states."""
    found = {Quantity(name, CERTIFIED): entry.measure(stated) for name, entry in CERTIFICATE.items()}
    return {quantity: outcome for quantity, outcome in found.items() if isinstance(outcome, Measured)}


def _rate(stated: Stated) -> Outcome:
    low, high, problems = stated.wrong.at_least, stated.wrong.at_most, stated.wrong.of
    if problems is None:
        return Absent("of how many problems is not stated", again=False)
    return Measured(bounds=Range(low / problems, None if high is None else high / problems))


def _smallest_margin(stated: Stated) -> Outcome:
    """Of every answer, so it takes that all of them are right; what was met bounds it from above."""
    if stated.verdict is not Verdict.PROVED or stated.smallest_margin is None:
        return Absent("not every answer is shown to be right", again=False)
    seen = stated.smallest_seen
    return Measured(bounds=Range(_decimal(stated.smallest_margin), None if seen is None else _decimal(seen)))


def _decimal(value: float) -> Fraction:
    """The number as it is written, digit by digit."""
    return Fraction(repr(value))


CERTIFICATE: Mapping[str, CertifiedQuantity] = {
    "wrong_problems": CertifiedQuantity(
        (CERTIFIED,), "problems", lambda stated: Measured(bounds=stated.wrong),
        "how many of all problems are answered wrong: at least and at most",
    ),
    "wrong_rate": CertifiedQuantity((CERTIFIED,), "share", _rate, "the same as a share of all problems"),
    "proved": CertifiedQuantity(
        (CERTIFIED,), "word", lambda stated: Measured(word=stated.verdict.value),
        "PROVED: every problem is answered right; REFUTED: not every one; PARTIAL: not decided",
    ),
    "smallest_margin": CertifiedQuantity(
        (CERTIFIED,), "logits", _smallest_margin,
        "of a PROVED one: at most the lead of the right digit in any answer, and the least lead that was met",
    ),
}  # fmt: skip

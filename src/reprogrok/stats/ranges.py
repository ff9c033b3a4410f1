"""Unknown numbers that are proved to lie between two others: counts of certificates, and claims about them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True)
class Range:
    """An unknown number between two others, both included; exact, because counts pass 2^53.

    Attributes:
        at_least: lower bound.
        at_most: upper bound; None where there is none.
        of: number of problems, if the number is a count of problems.
    """

    at_least: Fraction
    at_most: Fraction | None
    of: int | None = None

    def met_by(self, other: Range) -> Range | None:
        """Return the range that both leave; None if no number fits both."""
        ends = [end for end in (self.at_most, other.at_most) if end is not None]
        low, high = max(self.at_least, other.at_least), min(ends, default=None)
        return None if high is not None and low > high else Range(low, high, self.of)


def intersection(ranges: Iterable[Range]) -> Range | None:
    """Return the range that all of them leave, at least one of them given; None if no number fits them all."""
    known: Range | None
    known, *rest = ranges
    for more in rest:
        known = None if known is None else known.met_by(more)
    return known

"""A number that is not known, but proved to lie between two others: counts of certificates, and claims about them."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True)
class Range:
    """A number that is not known, but proved to lie between two others, both included; exact, as counts pass 2^53.

    Attributes:
        at_least: it is no less.
        at_most: it is no more; None where nothing bounds it.
        of: of a count: of how many problems.
    """

    at_least: Fraction
    at_most: Fraction | None
    of: int | None = None

    def met_by(self, other: Range) -> Range | None:
        """What both say together; None if no number fits both."""
        ends = [end for end in (self.at_most, other.at_most) if end is not None]
        low, high = max(self.at_least, other.at_least), min(ends, default=None)
        return None if high is not None and low > high else Range(low, high, self.of)

"""Bounds of a number that nobody knows -> what they say of a claim.

    bounds inside the claimed region       REPRODUCED      whatever the number is, it is as claimed
    no point in common                     CONTRADICTED    whatever the number is, it is not
    anything else                          INCONCLUSIVE    both are possible

Everything here is arithmetic on whole numbers and fractions: counts pass 10^20, and a float would round them.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction

from reprogrok.claims.tests import Decision
from reprogrok.stats.ranges import Range


def judge_bounds(bounds: Range, low: Fraction | None, high: Fraction | None) -> Decision:
    """Judge a range against the closed region from `low` to `high`; None is no limit.

    Worked values: at most 0 is the claimed 0; 1 to 5 is not; 0 to 5 leaves it open.
    """
    above = low is None or bounds.at_least >= low
    below = high is None or (bounds.at_most is not None and bounds.at_most <= high)
    if above and below:
        return Decision.REPRODUCED
    beyond = high is not None and bounds.at_least > high
    short = low is not None and bounds.at_most is not None and bounds.at_most < low
    return Decision.CONTRADICTED if beyond or short else Decision.INCONCLUSIVE


def judge_less(one: Range, other: Range) -> Decision:
    """Is the first number less than the second? Both of them known and equal: it is not.

    Worked values: 0 to 2 is less than 3 to 4; 3 is not less than 1 to 3; 0 to 3 and 3 to 4 are left open.
    """
    if one.at_most is not None and one.at_most < other.at_least:
        return Decision.REPRODUCED
    if other.at_most is not None and one.at_least >= other.at_most:
        return Decision.CONTRADICTED
    return Decision.INCONCLUSIVE


def together(bounds: Iterable[Range]) -> Range | None:
    """What all of them say of one number; None if no number fits them all."""
    known: Range | None
    known, *rest = bounds
    for more in rest:
        known = None if known is None else known.met_by(more)
    return known

"""Ranges and numbers of any size -> text: rounded outwards for people, with every digit for files."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal, Inexact
from fractions import Fraction

from reprogrok.stats.ranges import Range

_SHOWN_DIGITS = 6
_IN_FULL = 10**15  # from here on a whole number is easier to read as a power of ten
_EXACT = Context(prec=400, traps=[Inexact])


def range_text(bounds: Range) -> str:
    """Return `0 of 10^20`, `at most 12`, `1.1e+16 to 1.3e+16 of 10^20`, `at least 0.5`; rounded outwards."""
    of = "" if bounds.of is None else f" of {count_text(bounds.of)}"
    low, high = bounds.at_least, bounds.at_most
    if high is None:
        return f"at least {down_text(low)}{of}"
    if low == high:
        return f"{down_text(low)}{of}" if down_text(low) == up_text(low) else f"about {down_text(low)}{of}"
    return f"at most {up_text(high)}{of}" if low == 0 else f"{down_text(low)} to {up_text(high)}{of}"


def down_text(value: Fraction, digits: int = _SHOWN_DIGITS) -> str:
    """Return a number for people, rounded down: 1/3 is 0.333333."""
    return _text(value, digits, ROUND_FLOOR)


def up_text(value: Fraction, digits: int = _SHOWN_DIGITS) -> str:
    """Return a number for people, rounded up: 1/3 is 0.333334."""
    return _text(value, digits, ROUND_CEILING)


def count_text(count: int) -> str:
    """Return `100,000`, and `10^20` for a power of ten with too many zeros to count."""
    zeros = len(str(count)) - 1
    return f"10^{zeros}" if count >= _IN_FULL and count == 10**zeros else f"{count:,}"


def decimal_text(value: Fraction) -> str:
    """Return a number with all of its decimal digits, as evidence holds it: 3/10^20 is 0.00000000000000000003.

    Raises:
        decimal.Inexact: its decimal expansion does not end; that of a count or fraction of 10^n problems does.
    """
    return f"{_EXACT.divide(Decimal(value.numerator), Decimal(value.denominator)).normalize(_EXACT):f}"


def _text(value: Fraction, digits: int, rounding: str) -> str:
    if value.denominator == 1 and abs(value) < _IN_FULL:
        return f"{value.numerator:,}"
    context = Context(prec=digits, rounding=rounding)
    shown = context.divide(Decimal(value.numerator), Decimal(value.denominator))
    return f"{float(shown):.{digits}g}"  # which has no more digits than that, so nothing is rounded again

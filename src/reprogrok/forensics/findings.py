"""Printed numbers -> findings: numbers that cannot all be true, by arithmetic alone.

    text as printed --Printed--> the interval of values that print so
    interval, n --grim--> some k/n lies in it; if none does, the number is no fraction of n
    findings, checked numbers --ForensicReport--> exit code

The GRIM test is that of Brown and Heathers (2017), "The GRIM test: a simple technique detects numerous anomalies in the
reporting of results in psychology": the mean of n whole numbers is k/n.

Grades: *certain* is arithmetic. *telling* means that honest explanations exist but are rare, with a probability where a
stated assumption gives one. *weak* means that honest explanations are common. A finding never says why numbers do not
fit: a misprint, an outdated sentence, another definition and an invented number look alike.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction

from reprogrok.errors import ExitCode

# Relative error allowed for fractions computed in float32: a few units in the last of 24 bits.
SINGLE = Fraction(1, 2**22)
RARE = 0.01  # repeats with a smaller probability, under the stated assumption, are telling
SPREAD = Fraction(1, 5)  # width of the interval "within 10 %" of a value, relative to the value

_NUMBER = re.compile(
    r"(?P<about>~?)(?P<sign>[-+]?)(?P<whole>\d[\d,]*)(?:\.(?P<places>\d+))?(?:[eE](?P<power>[-+]?\d+))?(?P<percent>%?)",
    re.ASCII,
)


class Flaw(StrEnum):
    """The kind of an inconsistency."""

    NOT_K_OF_N = "not k of n"
    REPEATED = "repeated values"
    GROK_STEPS = "several grok steps"
    BOUND = "bound and format"
    COUNTS = "counts"
    TWO_STATEMENTS = "two statements"
    STEPS = "steps"
    SCHEDULE = "schedule"


class Grade(StrEnum):
    """The strength of a finding."""

    CERTAIN = "certain"
    TELLING = "telling"
    WEAK = "weak"


@dataclass(frozen=True)
class Finding:
    """Numbers that do not fit together.

    Attributes:
        where: file and line, field, or step.
        arithmetic: why the numbers do not fit, in one line.
        explanation: honest explanations of the same numbers.
        probability: probability of so much agreement by chance, under the assumption that `arithmetic` states; None
            where chance plays no part.
    """

    kind: Flaw
    where: str
    printed: str
    arithmetic: str
    grade: Grade
    explanation: str
    probability: float | None = None


@dataclass(frozen=True)
class CheckedNumbers:
    """The numbers that one check was applied to.

    Attributes:
        silent: count of those that the check can never call wrong, whatever they are.
        note: further detail, such as n, or the reason for the silence.
    """

    name: str
    looked_at: int
    silent: int
    note: str


@dataclass(frozen=True)
class ForensicReport:
    """The findings in one file or folder, and the numbers that were checked."""

    subject: str
    findings: tuple[Finding, ...]
    checks: tuple[CheckedNumbers, ...]

    @property
    def exit_code(self) -> ExitCode:
        """FAIL if any finding is certain or telling, else PASS."""
        return ExitCode.FAIL if any(finding.grade is not Grade.WEAK for finding in self.findings) else ExitCode.PASS

    def count(self, grade: Grade) -> int:
        """Count the findings of one grade."""
        return sum(finding.grade is grade for finding in self.findings)


@dataclass(frozen=True)
class Printed:
    """A number as it is printed.

    Attributes:
        value: a percentage as a fraction.
        unit: one unit in its last digit; for an approximate whole number, in its last digit other than zero.
        about: whether "~" precedes it.
    """

    text: str
    value: Fraction
    unit: Fraction
    about: bool = False

    @property
    def reach(self) -> Fraction:
        """Largest distance of the exact number from `value`: half a unit, or a whole one for an approximation."""
        return self.unit if self.about else self.unit / 2

    @property
    def decimals(self) -> int:
        """Decimal places of the value: 3 for 0.116 and for 11.6%."""
        return max(0, round(-math.log10(self.unit)))

    def agrees(self, other: Printed) -> bool:
        """Return whether both can print the same number: 1.384 and ~1.38 can, 4,704 and 4,705 cannot."""
        return abs(self.value - other.value) <= max(self.reach, other.reach)

    def __str__(self) -> str:
        return self.text


def parse_printed(text: str) -> Printed:
    """Parse a printed number: `0.116`, `~4,705`, `99.967%`, `1e-3`.

    `99.967%` is 0.99967 with a unit of 1e-5; `~33,700` is 33,700 with a unit of 100.

    Raises:
        ValueError: the text is not a number.
    """
    match = _NUMBER.fullmatch(text.strip())
    if match is None or len(match["power"] or "") > 4:
        message = f"not a printed number: {text[:80]}"
        raise ValueError(message)
    places, power = match["places"] or "", int(match["power"] or 0) - (2 if match["percent"] else 0)
    digits = match["whole"].replace(",", "") + places
    unit = Fraction(10) ** (power - len(places))
    value = Fraction(int(match["sign"] + digits)) * unit
    if match["about"] and not places and int(digits):
        unit *= 10 ** (len(digits) - len(digits.rstrip("0")))
    return Printed(text.strip(), value, unit, bool(match["about"]))


@dataclass(frozen=True)
class Grim:
    """The result of the GRIM test for one printed fraction.

    Attributes:
        possible: whether some k of n prints so, rounded.
        cut_off: whether some k of n prints so if the further digits are cut off instead.
        telling: the fraction of printable values that no k of n prints as; 0 if the test cannot decide.
        below, above: k and k/n of the nearest fractions on both sides.
    """

    possible: bool
    cut_off: bool
    telling: float
    below: tuple[int, float]
    above: tuple[int, float]


def grim(number: Printed, n: int) -> Grim:
    """Test whether a printed fraction is k/n for a whole k.

    0.0012 of 4,753 is not: 5/4,753 = 0.00105 prints as 0.0011 and 6/4,753 = 0.00126 as 0.0013. From n = 10^digits on,
    every printable value is some k/n, and the test cannot decide (`telling` is 0).

    Raises:
        ValueError: n is below 1.
    """
    if n < 1:
        message = f"expected n of at least 1, found {n}"
        raise ValueError(message)
    slack = abs(number.value) * SINGLE
    rounded = (number.value - number.reach - slack, number.value + number.reach + slack)
    dropped = (number.value - slack, number.value + number.unit * (1 - SINGLE))  # excludes the next printable value
    places = 1 / number.unit
    k = math.floor(number.value * n)
    return Grim(
        possible=_contains_fraction(*rounded, n),
        cut_off=_contains_fraction(*dropped, n),
        telling=max(0.0, float(1 - (n + 1) / (places + 1))),
        below=(k, k / n),
        above=(k + 1, (k + 1) / n),
    )


def _contains_fraction(low: Fraction, high: Fraction, n: int) -> bool:
    return max(0, math.ceil(low * n)) <= min(n, math.floor(high * n))


def grim_finding(number: Printed, n: int, where: str, source_of_n: str) -> Finding | None:
    """Return the finding that a printed fraction is no k of n, if so; an approximation ("~") is not tested."""
    if number.about or n < 1:
        return None
    result = grim(number, n)
    if result.possible:
        return None
    (k, low), (more, high) = result.below, result.above
    places = min(max(number.decimals + 2, 4), 8)
    arithmetic = (
        f"{k:,}/{n:,} = {low:.{places}f} and {more:,}/{n:,} = {high:.{places}f}: no k of {n:,} prints as {number}"
        if 0 <= number.value < 1
        else f"a fraction of {n:,} lies between 0 and 1"
    )
    grade = Grade.CERTAIN
    if result.cut_off:
        grade, arithmetic = Grade.TELLING, f"{arithmetic} when rounded; one does if its last digits are cut off"
    explanation = "another n (part of the set, or a mean over batches or runs), or a misprint"
    shown = f"{number} of n = {n:,} ({source_of_n})"
    return Finding(Flaw.NOT_K_OF_N, where, shown, arithmetic, grade, explanation)


def chance_of_repeat(number: Printed, times: int) -> float:
    """Return the probability that `times` independent values within 10 % of the printed one print alike.

    The first value is free; each other one prints alike with probability unit / (0.2 value), at most 1:
    (0.001 / 0.0232)^2 = 0.0019 for 0.116 three times, and 1 for 0.0001 three times.
    """
    width = abs(number.value) * SPREAD
    one = 1.0 if width <= number.unit else float(number.unit / width)
    return one ** (times - 1)


def count_undecidable(numbers: Iterable[Printed], n: int) -> int:
    """Count the fractions of n that GRIM cannot decide about: approximations, and those with n >= 10^digits."""
    return sum(number.about or n * number.unit >= 1 for number in numbers)

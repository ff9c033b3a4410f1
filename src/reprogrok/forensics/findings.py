"""Printed numbers -> what is inconsistent among them: pure arithmetic on what a log or a document says of itself.

    text as printed --Printed--> interval of values that print so
    interval, n --whole_numbers--> the k with k/n in it; none: the number is no share of n (GRIM)
    findings + what was looked at --Examination--> exit code

Nothing is trained and nothing else is consulted: two numbers that cannot both be true are found wherever the truth
lies. The GRIM test is that of Brown and Heathers (2017), "The GRIM test: a simple technique detects numerous anomalies
in the reporting of results in psychology": the mean of n whole numbers is k/n. It speaks only where n is small beside
the digits that are printed, and says so where it is not.

Each finding is graded. *certain*: arithmetic, no chance in it. *telling*: honest ways to get there exist and are rare,
with the probability where a stated assumption gives one. *weak*: honest ways are common; for the reader, no failure.
A finding says that numbers do not fit. It never says why: a slip of the pen, a stale sentence, another definition and
a number made up look alike.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction

from reprogrok.errors import ExitCode

# Shares that were computed in float32: k/n is off by a few units in the last of 24 bits.
SINGLE = Fraction(1, 2**22)
RARE = 0.01  # repeats rarer than this, under the stated assumption, are telling
SPREAD = Fraction(1, 5)  # "within 10 %" of a value is a fifth of it wide

_NUMBER = re.compile(
    r"(?P<about>~?)(?P<sign>[-+]?)(?P<whole>\d[\d,]*)(?:\.(?P<places>\d+))?(?:[eE](?P<power>[-+]?\d+))?(?P<percent>%?)",
    re.ASCII,
)


class Flaw(StrEnum):
    """What does not fit."""

    NOT_K_OF_N = "not k of n"
    REPEATED = "repeated values"
    GROK_STEPS = "several grok steps"
    BOUND = "bound and format"
    COUNTS = "counts"
    TWO_STATEMENTS = "two statements"
    STEPS = "steps"
    SCHEDULE = "schedule"


class Grade(StrEnum):
    """How sure a finding is."""

    CERTAIN = "certain"
    TELLING = "telling"
    WEAK = "weak"


@dataclass(frozen=True)
class Finding:
    """Numbers that do not fit together.

    Attributes:
        kind: what does not fit.
        where: file and line, field, or step.
        printed: the numbers as they stand there.
        arithmetic: why they do not fit, in one line.
        sure: the grade.
        not_meant: what does not follow from it.
        probability: of this much agreement by chance, under the assumption that `arithmetic` states; None: no chance.
    """

    kind: Flaw
    where: str
    printed: str
    arithmetic: str
    sure: Grade
    not_meant: str
    probability: float | None = None


@dataclass(frozen=True)
class CheckedNumbers:
    """What one check looked at.

    Attributes:
        name: of the check.
        looked_at: numbers (or groups of numbers) that it could be asked about.
        silent: those of them on which it cannot speak, whatever they are.
        note: how telling it is, or why it is silent.
    """

    name: str
    looked_at: int
    silent: int
    note: str


@dataclass(frozen=True)
class Examination:
    """All that was found in one file, and what was looked at."""

    subject: str
    findings: tuple[Finding, ...]
    checks: tuple[CheckedNumbers, ...]

    @property
    def exit_code(self) -> ExitCode:
        """FAIL if a finding is certain or telling; a weak one alone is no failure."""
        return ExitCode.FAIL if any(finding.sure is not Grade.WEAK for finding in self.findings) else ExitCode.PASS

    def count(self, sure: Grade) -> int:
        """Findings of one grade."""
        return sum(finding.sure is sure for finding in self.findings)


@dataclass(frozen=True)
class Printed:
    """A number as it is printed.

    Attributes:
        text: as it stands.
        value: what it says, a percentage as a share.
        unit: one in its last digit; of "about" a round number, one in its last digit that is not zero.
        about: it is preceded by "~".
    """

    text: str
    value: Fraction
    unit: Fraction
    about: bool = False

    @property
    def reach(self) -> Fraction:
        """How far from `value` the number behind it may be: half a unit; of an approximation, a whole one."""
        return self.unit if self.about else self.unit / 2

    @property
    def decimals(self) -> int:
        """Places after the point, of a share: 3 for 0.116 and for 11.6%."""
        return max(0, round(-math.log10(self.unit)))

    def agrees(self, other: Printed) -> bool:
        """Whether one number can be behind both: 1.384 and ~1.38 do, 4,704 and 4,705 do not."""
        return abs(self.value - other.value) <= max(self.reach, other.reach)

    def __str__(self) -> str:
        return self.text


def printed(text: str) -> Printed:
    """Read a number as it is printed: `0.116`, `~4,705`, `99.967%`, `1e-3`.

    `99.967%` is 0.99967 to one in 100,000; `~33,700` is 33,700 to 100.

    Raises:
        ValueError: it is no number.
    """
    match = _NUMBER.fullmatch(text.strip())
    if match is None or len(match["power"] or "") > 4:
        message = f"no number as it is printed: {text[:80]}"
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
    """What the GRIM test says of one printed share.

    Attributes:
        possible: some k of n prints so, rounded.
        cut_off: some k of n prints so if the digits behind were dropped instead.
        telling: the share of all values with so many digits that no k of n prints as: 0 says nothing.
        below: the share of the nearest k below, above: that of the nearest k above (for the arithmetic).
    """

    possible: bool
    cut_off: bool
    telling: float
    below: tuple[int, float]
    above: tuple[int, float]


def grim(number: Printed, n: int) -> Grim:
    """Is a printed share that of k out of n, for a whole k?

    0.0012 of 4,753 is not: 5/4,753 = 0.00105 prints as 0.0011 and 6/4,753 = 0.00126 as 0.0013. With n at or above
    10^digits every printed value is some k/n, and the test is silent (`telling` is 0).

    Raises:
        ValueError: n is below 1.
    """
    if n < 1:
        message = "a share of nothing"
        raise ValueError(message)
    slack = abs(number.value) * SINGLE
    rounded = (number.value - number.reach - slack, number.value + number.reach + slack)
    dropped = (number.value - slack, number.value + number.unit * (1 - SINGLE))  # without the next value itself
    places = 1 / number.unit
    k = math.floor(number.value * n)
    return Grim(
        possible=_holds_share(*rounded, n),
        cut_off=_holds_share(*dropped, n),
        telling=max(0.0, float(1 - (n + 1) / (places + 1))),
        below=(k, k / n),
        above=(k + 1, (k + 1) / n),
    )


def _holds_share(low: Fraction, high: Fraction, n: int) -> bool:
    return max(0, math.ceil(low * n)) <= min(n, math.floor(high * n))


def grim_finding(number: Printed, n: int, where: str, source_of_n: str) -> Finding | None:
    """The finding that a printed share is no k of n, if it is none; an approximation ("~") claims nothing."""
    if number.about or n < 1:
        return None
    result = grim(number, n)
    if result.possible:
        return None
    (k, low), (_, high) = result.below, result.above
    places = min(max(number.decimals + 2, 4), 8)
    arithmetic = (
        f"{k:,}/{n:,} = {low:.{places}f} and {k + 1:,}/{n:,} = {high:.{places}f}: no k of {n:,} prints as {number}"
        if 0 <= number.value < 1
        else f"no share of {n:,} lies outside 0 to 1"
    )
    sure = Grade.CERTAIN
    if result.cut_off:
        sure, arithmetic = Grade.TELLING, f"{arithmetic} when rounded; with its last digits cut off one does"
    meant = "another n (a part of the set, an average over batches or runs) or a misprint explains it as well"
    return Finding(Flaw.NOT_K_OF_N, where, f"{number} of n = {n:,} ({source_of_n})", arithmetic, sure, meant)


def chance_of_repeat(number: Printed, times: int) -> float:
    """How probable it is that `times` independent values print alike, if all lie within 10 % of what is printed.

    One value is free and each other one falls on the same last digit with probability unit / (0.2 value), at most 1:
    (0.001 / 0.0232)^2 = 0.0019 for 0.116 three times, and 1 for 0.0001 three times.
    """
    width = abs(number.value) * SPREAD
    one = 1.0 if width <= number.unit else float(number.unit / width)
    return one ** (times - 1)


def share_silent(results: Iterable[Printed], n: int) -> int:
    """How many printed shares of n the GRIM test cannot speak about: approximations, and n >= 10^digits."""
    return sum(number.about or n * number.unit >= 1 for number in results)

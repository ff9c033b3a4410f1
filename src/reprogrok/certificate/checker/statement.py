"""The content of a certificate: a statement about all problems of a task, in numbers, and the proofs it rests on.

Margins are rounded down and widths up, to a millionth, so that the last digits of another machine do not turn a true
statement into a false one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from reprogrok.certificate.checker.problem_sets import Rule
from reprogrok.certificate.checker.rounding import Arithmetic
from reprogrok.certificate.checker.trees import BlockProof
from reprogrok.errors import ExitCode

MILLIONTH = 1e-6


class CertificateStatus(StrEnum):
    """PROVED: no problem is wrong. REFUTED: the model was seen to answer some wrong. PARTIAL: neither."""

    PROVED = "PROVED"
    REFUTED = "REFUTED"
    PARTIAL = "PARTIAL"

    @property
    def exit_code(self) -> ExitCode:
        """0, 1 and 3."""
        return {"PROVED": ExitCode.PASS, "REFUTED": ExitCode.FAIL, "PARTIAL": ExitCode.INCONCLUSIVE}[self]


@dataclass(frozen=True)
class WrongBounds:
    """Bounds of a number of problems that are answered wrong."""

    at_least: int
    at_most: int


@dataclass(frozen=True)
class PlaceStatement:
    """One answer digit, with the numbers of its cases and leaves.

    Attributes:
        place: the place, from the least significant on.
        smallest_margin: lower bound over the right leaves, in logits; None without any.
        widest_box: of the decided leaves; None where it is infinite.
        wrong_problems: problems whose digit is wrong here.
    """

    place: int
    cases: int
    leaves: int
    right: int
    wrong: int
    open: int
    smallest_margin: float | None
    widest_box: float | None
    wrong_problems: WrongBounds


@dataclass(frozen=True)
class Counterexample:
    """A problem a + b that the model answers wrong.

    Attributes:
        expected: the sum, as text.
        answer: the answer as text, most significant token first.
        place: the first wrong digit, from the least significant on.
    """

    a: int
    b: int
    expected: str
    answer: str
    place: int


@dataclass(frozen=True)
class SmallestSeen:
    """The smallest margin that was met in a right answer: in logits, with its problem and place."""

    margin: float
    a: int
    b: int
    place: int


@dataclass(frozen=True)
class FailureCondition:
    """Conditions on a problem, with exact counts.

    Attributes:
        problems: problems that meet all conditions.
        wrong: those of them whose digit is wrong at the place.
        carried: those of the wrong ones with a carry into the place.
        counterexamples: counterexamples of the place that meet them.
    """

    conditions: Rule
    problems: int
    wrong: WrongBounds
    carried: WrongBounds
    counterexamples: int


@dataclass(frozen=True)
class PlaceFailures:
    """The wrong and open problems of one place.

    Attributes:
        failing: conditions that most of them meet, then narrower ones; empty where only counterexamples are known.
        seen: conditions that its counterexamples meet; None where that adds nothing.
    """

    place: int
    failing: tuple[FailureCondition, ...]
    seen: FailureCondition | None


@dataclass(frozen=True)
class Statement:
    """The statement of a certificate about all problems of a task.

    Attributes:
        problems: number of all problems, 100^n.
        wrong: number of them that are answered wrong.
        smallest_margin: lower bound over all right leaves, in logits; None without any.
        smallest_seen: the smallest margin that was met; None without a right answer.
        places: one for each answer digit, the least significant first.
        failures: one for each place with wrong or open leaves, or counterexamples.
    """

    status: CertificateStatus
    problems: int
    wrong: WrongBounds
    smallest_margin: float | None
    smallest_seen: SmallestSeen | None
    places: tuple[PlaceStatement, ...]
    counterexamples: tuple[Counterexample, ...]
    failures: tuple[PlaceFailures, ...]


@dataclass(frozen=True)
class CertifiedModel:
    """The checkpoint that a certificate is about: path and SHA-256 of its file, number of parameters, and shape."""

    path: str
    sha256: str
    parameters: int
    model_config: Mapping[str, object]


@dataclass(frozen=True)
class SearchNotes:
    """The cost of a search: seconds, its budget of seconds, and the boxes that it tried; None where unknown."""

    seconds: float
    budget: float | None
    cells: int | None


@dataclass(frozen=True)
class Certificate:
    """A statement with its proofs.

    Attributes:
        digits: n, of each operand.
        arithmetic: the evaluations for which the statement holds.
        proofs: trees of every block, in the order of `checker.carries.blocks`.
        version, environment, search: package version, machine and cost of its making; not checked.
    """

    model: CertifiedModel
    digits: int
    arithmetic: Arithmetic
    statement: Statement
    proofs: tuple[BlockProof, ...]
    version: str
    environment: Mapping[str, object]
    search: SearchNotes


def rounded_down(margin: float) -> float | None:
    """Round a margin down to millionths: 0.52345678 is written as 0.523456; None for infinity and for no millionth."""
    return (math.floor(margin / MILLIONTH) / round(1 / MILLIONTH) or None) if math.isfinite(margin) else None


def rounded_up(width: float) -> float | None:
    """Round a width up to millionths: 0.0400001 is written as 0.040001; None for infinity."""
    return math.ceil(width / MILLIONTH) / round(1 / MILLIONTH) if math.isfinite(width) else None

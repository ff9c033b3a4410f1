"""Certificate x checkpoint -> confirmed, or the fields that are not: everything that can be recomputed is.

    proofs --check--> statement ------------------+
    stated failure conditions --exact counts------+--> differences; none: the certificate is confirmed
    counterexamples, smallest margin --the model--+

A certificate may state less than can be shown (a smaller margin, wider bounds, PARTIAL), never more. Version, path,
environment and search notes are not compared. Nothing is searched or mined, and no text is made here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from reprogrok.certificate.checker.answers import Problem, ProblemAnswer, ask
from reprogrok.certificate.checker.carries import Block
from reprogrok.certificate.checker.check import CheckedBlock, check_block, statement
from reprogrok.certificate.checker.enclosure import Enclosure
from reprogrok.certificate.checker.failure_counts import FailureCounts
from reprogrok.certificate.checker.rounding import Arithmetic
from reprogrok.certificate.checker.statement import (
    MILLIONTH,
    Certificate,
    CertificateStatus,
    FailureCondition,
    PlaceStatement,
    SmallestSeen,
    Statement,
    WrongBounds,
)
from reprogrok.exam.exam import CLOSE, Examinee
from reprogrok.files import canonical_json

Field = tuple[str | int, ...]  # steps into the document of a certificate
PLACE_COUNTS = ("place", "cases", "leaves", "right", "wrong", "open")


class Reason(StrEnum):
    """Why a field is not confirmed."""

    OTHER = "other"
    ANSWERED_RIGHT = "answered right"
    ANSWERED_WRONG = "answered wrong"
    NO_SUCH_PROBLEM = "no such problem"
    NO_SUCH_CONDITION = "no such condition"


@dataclass(frozen=True)
class CertificateDifference:
    """A field that is not confirmed: its value, the value that was found, and why it is not enough."""

    field: Field
    stated: object
    found: object
    reason: Reason = Reason.OTHER


@dataclass(frozen=True)
class Confirmation:
    """The result of checking a certificate.

    Attributes:
        differences: every field that is not confirmed.
        refused: the first block with leaves that are not confirmed; nothing behind it was checked.
    """

    differences: tuple[CertificateDifference, ...]
    refused: CheckedBlock | None = None

    @property
    def confirmed(self) -> bool:
        """Whether everything was confirmed."""
        return not self.differences and self.refused is None


def confirm(
    certificate: Certificate,
    enclosure: Enclosure,
    examinee: Examinee,
    parameters: int,
    advance: Callable[[Block], None] = lambda _block: None,
) -> Confirmation:
    """Check everything in a certificate that can be computed again.

    Args:
        certificate: of the very file that the model was loaded from.
        enclosure: of the model, in the arithmetic of the certificate.
        examinee: the same model, to be asked.
        parameters: number of unique parameters of the model.
        advance: called with each block that was checked.
    """
    found = {"parameters": parameters, "model_config": examinee.spec.as_dict()}
    differences = [
        CertificateDifference(("checkpoint", name), stated, found[name])
        for name, stated in (
            ("parameters", certificate.model.parameters), ("model_config", certificate.model.model_config),
        )
        # As JSON, in which true is not 1 and 14 is not 14.0.
        if canonical_json(stated) != canonical_json(found[name])
    ]  # fmt: skip
    checked = []
    for proof in certificate.proofs:
        checked.append(check_block(enclosure, proof))
        if checked[-1].refused:
            return Confirmation(tuple(differences), checked[-1])
        advance(proof.block)
    differences += statement_differences(certificate.statement, checked, certificate.digits, certificate.arithmetic)
    differences += answer_differences(certificate.statement, examinee, certificate.digits)
    return Confirmation(tuple(differences))


def statement_differences(
    stated: Statement, checked: Sequence[CheckedBlock], digits: int, arithmetic: Arithmetic
) -> Iterator[CertificateDifference]:
    """Yield every field that says more than follows from confirmed trees and the stated counterexamples."""
    found = statement(checked, digits, arithmetic, stated.counterexamples)
    if stated.problems != found.problems:
        yield CertificateDifference(("problems",), stated.problems, found.problems)
    yield from _bounds(("wrong", "at_least"), ("wrong", "at_most"), stated.wrong, found.wrong)
    yield from _margin((), stated.smallest_margin, found.smallest_margin)
    if len(stated.places) != len(found.places):
        yield CertificateDifference(("places",), len(stated.places), len(found.places))
        return
    for index, (row, true) in enumerate(zip(stated.places, found.places, strict=True)):
        yield from _place_differences(("places", index), row, true)
    if stated.status not in {found.status, CertificateStatus.PARTIAL}:  # PARTIAL claims nothing
        yield CertificateDifference(("verdict",), stated.status, found.status)
    if stated.status is CertificateStatus.PROVED:
        rows = [(("places", index, "wrong_at_most"), row.wrong_problems) for index, row in enumerate(stated.places)]
        for at, bounds in ((("wrong", "at_most"), stated.wrong), *rows):
            if bounds.at_most:
                yield CertificateDifference(at, bounds.at_most, 0)
    if found.status is CertificateStatus.PROVED and stated.counterexamples:
        yield CertificateDifference(("counterexamples",), len(stated.counterexamples), 0)
    yield from _failure_differences(stated, checked, digits)


def _place_differences(at: Field, row: PlaceStatement, true: PlaceStatement) -> Iterator[CertificateDifference]:
    for name in PLACE_COUNTS:
        if getattr(row, name) != getattr(true, name):
            yield CertificateDifference((*at, name), getattr(row, name), getattr(true, name))
    yield from _bounds((*at, "wrong_at_least"), (*at, "wrong_at_most"), row.wrong_problems, true.wrong_problems)
    yield from _margin(at, row.smallest_margin, true.smallest_margin)
    if row.widest_box is None or true.widest_box is None or row.widest_box < true.widest_box - MILLIONTH:
        yield CertificateDifference((*at, "widest_box"), row.widest_box, true.widest_box)


def _bounds(least: Field, most: Field, stated: WrongBounds, found: WrongBounds) -> Iterator[CertificateDifference]:
    if stated.at_least > found.at_least:
        yield CertificateDifference(least, stated.at_least, found.at_least)
    if stated.at_most < found.at_most:
        yield CertificateDifference(most, stated.at_most, found.at_most)


def _margin(at: Field, stated: float | None, found: float | None) -> Iterator[CertificateDifference]:
    if stated is not None and (found is None or stated > found):
        yield CertificateDifference((*at, "smallest_margin"), stated, found)


def _failure_differences(
    stated: Statement, checked: Sequence[CheckedBlock], digits: int
) -> Iterator[CertificateDifference]:
    wrong, opened = ([part for one in checked for part in getattr(one, name)] for name in ("wrong", "open"))
    for index, entry in enumerate(stated.failures):
        at: Field = ("failures", index)
        if entry.place > digits:
            yield CertificateDifference((*at, "place"), entry.place, digits)
            continue
        counts = FailureCounts.of(entry.place, digits, wrong, opened, stated.counterexamples)
        described = [((*at, "failing", number), each) for number, each in enumerate(entry.failing)]
        if entry.seen is not None:
            described.append(((*at, "seen"), entry.seen))
        for where, each in described:
            yield from _count_differences(where, each, counts, digits)


def _count_differences(
    at: Field, stated: FailureCondition, counts: FailureCounts, digits: int
) -> Iterator[CertificateDifference]:
    for number, condition in enumerate(stated.conditions):
        if not condition.is_known(counts.everything.place, digits):
            yield CertificateDifference((*at, "conditions", number), condition, None, Reason.NO_SUCH_CONDITION)
            return
    found = counts.count(stated.conditions)
    for name in ("problems", "counterexamples"):
        if getattr(stated, name) != getattr(found, name):
            yield CertificateDifference((*at, name), getattr(stated, name), getattr(found, name))
    for name in ("wrong", "carried"):
        for end in ("at_least", "at_most"):
            said, true = (getattr(getattr(each, name), end) for each in (stated, found))
            if said != true:
                yield CertificateDifference((*at, name, end), said, true)


def answer_differences(stated: Statement, examinee: Examinee, digits: int) -> Iterator[CertificateDifference]:
    """Yield every counterexample, and the smallest margin met, that the model answers otherwise."""
    entries: list[tuple[Field, Problem, int]] = [
        (("counterexamples", index), (each.a, each.b), each.place) for index, each in enumerate(stated.counterexamples)
    ]
    if (seen := stated.smallest_seen) is not None:
        entries.append((("smallest_seen",), (seen.a, seen.b), seen.place))
    asked = []
    for at, problem, place in entries:
        if max(problem) >= 10**digits or place > digits:
            yield CertificateDifference(at, (*problem, place), digits, Reason.NO_SUCH_PROBLEM)
        else:
            asked.append((at, problem))
    answers = dict(zip((at for at, _ in asked), ask(examinee, digits, [problem for _, problem in asked]), strict=True))
    for index, each in enumerate(stated.counterexamples):
        answer = answers.get(("counterexamples", index))
        if answer is not None and answer.right:
            yield CertificateDifference(
                ("counterexamples", index, "answer"), each.answer, answer.answer, Reason.ANSWERED_RIGHT
            )
        elif answer is not None:
            found = {"expected": str(each.a + each.b), "answer": answer.answer, "place": answer.place}
            for name, value in found.items():
                if getattr(each, name) != value:
                    yield CertificateDifference(("counterexamples", index, name), getattr(each, name), value)
    if seen is not None and (answer := answers.get(("smallest_seen",))) is not None:
        yield from _seen_differences(seen, answer)


def _seen_differences(seen: SmallestSeen, answer: ProblemAnswer) -> Iterator[CertificateDifference]:
    """The answer has to be right. Two float32 evaluations of one margin differ by less than `CLOSE`."""
    if not answer.right:
        yield CertificateDifference(("smallest_seen",), seen.margin, answer.answer, Reason.ANSWERED_WRONG)
    elif abs(answer.margins[seen.place] - seen.margin) > CLOSE or answer.margin < seen.margin - CLOSE:
        yield CertificateDifference(("smallest_seen", "margin"), seen.margin, round(answer.margin, 6))

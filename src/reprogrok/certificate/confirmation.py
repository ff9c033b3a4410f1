"""Certificate x checkpoint -> confirmed, or what in it is not: everything that can be computed again is.

    proofs --certificate_check--> statement --+
    counterexamples --the real model----------+--> differences; none: the certificate is confirmed

A certificate may say less than can be shown (a smaller margin, wider bounds, PARTIAL), never more. Nobody needs to
believe its version, path, environment and search, which describe how it came about and are not compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from reprogrok import __version__
from reprogrok.certificate.checker.carries import Block
from reprogrok.certificate.checker.check import CheckedBlock, check_block, failures, statement, verdict_of, wrong_in_all
from reprogrok.certificate.document import MILLIONTH, Certificate, Verdict, arithmetic_entry, located
from reprogrok.certificate.problems_met import Met, ask
from reprogrok.errors import ExitCode
from reprogrok.exam.exam import CLOSE
from reprogrok.files import canonical_json
from reprogrok.formats.checkpoints import Checkpoint
from reprogrok.tasks.addition import SYMBOLS

if TYPE_CHECKING:
    from reprogrok.certificate.checker.enclosure import Enclosure
    from reprogrok.exam.exam import Examinee

_SHOWN = 3  # refused leaves of a block that are named


@dataclass(frozen=True)
class Difference:
    """Something that a certificate says and the check does not confirm: where, what it says, what was found."""

    where: str
    says: str
    found: str


@dataclass(frozen=True)
class Check:
    """What the check says of a certificate.

    Attributes:
        certificate: that was checked.
        differences: what is not confirmed; of trees that are refused, those of the first block that has any.
    """

    certificate: Certificate
    differences: tuple[Difference, ...]

    @property
    def confirmed(self) -> bool:
        """Nothing that it says was found to be otherwise."""
        return not self.differences

    @property
    def exit_code(self) -> ExitCode:
        """That of its verdict if it is confirmed, else 1."""
        return self.certificate.verdict.exit_code if self.confirmed else ExitCode.FAIL


def require_same_model(certificate: Certificate, checkpoint: Checkpoint, digits: int) -> None:
    """Refuse a certificate of something else.

    Raises:
        InputError: it is about another file or another task, or speaks of an arithmetic that is not bounded here.
    """
    says, read = certificate.content, certificate.document
    if (found := says["checkpoint"]["sha256"]) != checkpoint.sha256:
        raise read.error(
            ("checkpoint", "sha256"), f"a certificate of another checkpoint than {checkpoint.path}",
            expected=f"{checkpoint.sha256[:16]}…", found=f"{found[:16]}…",
        )  # fmt: skip
    if certificate.digits != digits:
        raise read.error(("task", "digits"), "another task", expected=f"{digits}", found=certificate.digits)
    for name, value in arithmetic_entry(certificate.arithmetic).items():
        if says["arithmetic"][name] != value:
            expected = f"{value}"
            raise read.error(
                ("arithmetic", name), "another arithmetic", expected=expected, found=says["arithmetic"][name]
            )


def check_certificate(
    certificate: Certificate,
    enclosure: Enclosure,
    examinee: Examinee,
    parameters: int,
    advance: Callable[[Block], None] = lambda _block: None,
) -> Check:
    """Check everything that a certificate says and that can be computed again.

    Args:
        certificate: of this very model (`require_same_model`).
        enclosure: of the model, in the arithmetic of the certificate.
        examinee: the same model, to be asked for the counterexamples.
        parameters: unique numbers of the model.
        advance: told of each block after it was checked.
    """
    says = certificate.content
    known = {"parameters": parameters, "model_config": examinee.spec.as_dict()}
    differences = [
        Difference(f"checkpoint.{name}", f"{says['checkpoint'][name]}", f"{value}")
        for name, value in known.items()
        if says["checkpoint"][name] != value
    ]
    checked = []
    for index, proof in enumerate(certificate.proofs):
        with located(certificate.document, ("blocks", index)):
            checked.append(check_block(enclosure, proof))
        if checked[-1].refused:
            return Check(certificate, (*differences, *_refused(checked[-1])))
        advance(proof.block)
    stated = statement(checked, certificate.digits, certificate.arithmetic)
    differences += _statement_differences(says, stated)
    wrong = wrong_in_all(stated, len(_counterexamples(says)))
    found = failures(checked, says["counterexamples"], wrong, certificate.digits)
    if canonical_json(says["failures"]) != canonical_json(found):
        differences.append(Difference("failures", "another map of them", "what follows from its trees"))
    differences += _met_differences(says, examinee, certificate.digits)
    return Check(certificate, tuple(differences))


def check_document(found: Check) -> dict[str, Any]:
    """What the check says, as plain data."""
    says = found.certificate.content
    return {
        "format": "reprogrok.certificate-check/1",
        "reprogrok": __version__,
        "certificate": {
            "path": found.certificate.document.path.as_posix(),
            "sha256": found.certificate.document.sha256,
        },
        "checkpoint": says["checkpoint"]["sha256"],
        "confirmed": found.confirmed,
        "verdict": says["verdict"],
        "differences": [asdict(difference) for difference in found.differences],
    }


def _refused(checked: CheckedBlock) -> Iterator[Difference]:
    """The first refused leaves of a block, in words."""
    cases, place = checked.block.cases, checked.block.place
    for index in checked.refused[:_SHOWN]:
        leaf = checked.leaves[index]
        case = leaf.case
        where = f"place {place} after {SYMBOLS[checked.block.token]}, case {case}"
        before = f"{cases.a_before[case]} + {cases.b_before[case]} before, carry {cases.carry[case]} into them"
        own = f"{cases.a[case]} + {cases.b[case]}"
        where += f" ({'; '.join(([own] if place < checked.block.digits else []) + ([before] if place else []))})"
        if leaf.runs:
            where += f", a part of it halved at {_places(run[0] for run in leaf.runs)}"
        yield Difference(where, leaf.status.value, "no proof of it")
    if (more := len(checked.refused) - _SHOWN) > 0:
        yield Difference("in the same block", f"as much of {more:,} more", "no proof of it")


def _places(places: Iterable[int]) -> str:
    return ", ".join(f"place {place}" for place in places)


def _statement_differences(says: Mapping[str, Any], found: Mapping[str, Any]) -> Iterator[Difference]:
    """Where a certificate says more than follows from its trees."""
    if says["problems"] != found["problems"]:
        yield Difference("problems", says["problems"], found["problems"])
    wrong = wrong_in_all(found, len(_counterexamples(says)))
    yield from _bounds("wrong.", says["wrong"], wrong, "at_least", "at_most")
    yield from _margin("", says, found)
    if len(says["places"]) != len(found["places"]):
        yield Difference("places", f"{len(says['places'])}", f"{len(found['places'])}")
        return
    for index, (row, true) in enumerate(zip(says["places"], found["places"], strict=True)):
        where = f"places[{index}]."
        for name in ("place", "cases", "leaves", "right", "wrong", "open"):
            if row[name] != true[name]:
                yield Difference(where + name, f"{row[name]}", f"{true[name]}")
        yield from _bounds(where, row, true, "wrong_at_least", "wrong_at_most")
        yield from _margin(where, row, true)
        if row["widest_box"] is None or row["widest_box"] < true["widest_box"] - MILLIONTH:
            yield Difference(f"{where}widest_box", f"{row['widest_box']}", f"{true['widest_box']}")
    verdict = verdict_of(found, len(_counterexamples(says)))
    # PARTIAL says nothing that could be wrong.
    if says["verdict"] not in (verdict.value, Verdict.PARTIAL.value):
        yield Difference("verdict", says["verdict"], verdict.value)
    if verdict is Verdict.PROVED and says["counterexamples"]:
        yield Difference(
            "counterexamples", f"that there are {len(says['counterexamples'])}", "a proof that there are none"
        )


def _bounds(
    where: str, says: Mapping[str, Any], found: Mapping[str, Any], least: str, most: str
) -> Iterator[Difference]:
    if int(says[least]) > int(found[least]):
        yield Difference(where + least, says[least], found[least])
    if int(says[most]) < int(found[most]):
        yield Difference(where + most, says[most], found[most])


def _margin(where: str, says: Mapping[str, Any], found: Mapping[str, Any]) -> Iterator[Difference]:
    said, shown = says["smallest_margin"], found["smallest_margin"]
    if said is not None and (shown is None or said > shown):
        yield Difference(f"{where}smallest_margin", f"{said}", f"{shown}")


def _counterexamples(says: Mapping[str, Any]) -> set[tuple[int, int]]:
    return {(int(entry["a"]), int(entry["b"])) for entry in says["counterexamples"]}


def _met_differences(says: Mapping[str, Any], examinee: Examinee, digits: int) -> Iterator[Difference]:
    """Where the real model answers something else than a certificate says."""
    entries = [(f"counterexamples[{index}]", entry) for index, entry in enumerate(says["counterexamples"])]
    seen = says["smallest_seen"]
    if seen is not None:
        entries.append(("smallest_seen", seen))
    asked = []
    for where, entry in entries:
        problem = int(entry["a"]), int(entry["b"])
        if max(problem) >= 10**digits or entry["place"] > digits:
            yield Difference(where, f"a problem of place {entry['place']}", f"that there is none in {digits} digits")
        else:
            asked.append((where, entry, problem))
    met = ask(examinee, digits, [problem for _, _, problem in asked])
    for (where, entry, _), answered in zip(asked, met, strict=True):
        if entry is seen:
            yield from _seen_differences(where, entry, answered)
        else:
            yield from _counterexample_differences(where, entry, answered)


def _counterexample_differences(where: str, entry: Mapping[str, Any], met: Met) -> Iterator[Difference]:
    found = {"expected": str(met.a + met.b), "answer": met.answer, "place": met.place}
    if met.right:
        yield Difference(where, f"that {met.a} + {met.b} is answered wrong", "the right answer")
        return
    for name, value in found.items():
        if entry[name] != value:
            yield Difference(f"{where}.{name}", f"{entry[name]}", f"{value}")


def _seen_differences(where: str, entry: Mapping[str, Any], met: Met) -> Iterator[Difference]:
    """Two float32 evaluations of one margin may differ by `CLOSE`, and what is closer to 0 may be answered wrong."""
    if not met.right and (met.place != entry["place"] or entry["margin"] > CLOSE):
        yield Difference(where, f"that {met.a} + {met.b} is answered right", "a wrong answer")
    elif abs(met.margins[entry["place"]] - entry["margin"]) > CLOSE or met.margin < entry["margin"] - CLOSE:
        yield Difference(
            where, f"{entry['margin']} at place {entry['place']}", f"{met.margin:.6f} at place {met.place}"
        )

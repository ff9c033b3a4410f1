"""The statement of a certificate without its proof, for evaluations, manifests and claims.

    CERT.json --schema, consistency--> Certified --as_block--> `certificate` of an evaluation or a manifest
    its bounds + errors that were sampled --agreement--> can both be true?

No proof is checked here (`reprogrok certify --check` does that), but a statement that contradicts itself, is of another
file or contradicts an evaluation is detected.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from pathlib import Path, PurePath
from typing import Any

from reprogrok.certificate.checker.rounding import FLOAT32
from reprogrok.certificate.checker.statement import CertificateStatus
from reprogrok.certificate.document import FORMAT, load_document, read_statement
from reprogrok.errors import InputError
from reprogrok.schema import Document
from reprogrok.stats.proportions import Proportion, proportion
from reprogrok.stats.ranges import Range
from reprogrok.tasks.addition import Addition

# An exact interval at this confidence misses the truth in one of 10,000 evaluations; one at 95 % in one of 20.
SURE = 0.9999


class Agreement(StrEnum):
    """Whether an evaluation fits the bounds of a certificate."""

    AGREES = "agrees"
    UNLIKELY = "unlikely"
    CONTRADICTS = "contradicts"


@dataclass(frozen=True)
class Stated:
    """A statement about all problems of a checkpoint's task, in brief.

    Attributes:
        wrong: number of problems that are answered wrong, and of how many.
        smallest_margin: in logits, a lower bound over the proved answers; None without any.
        smallest_seen: the smallest margin that was met in a right answer; None without any.
    """

    status: CertificateStatus
    wrong: Range
    smallest_margin: float | None
    smallest_seen: float | None


@dataclass(frozen=True)
class Certified:
    """A certificate without its proof.

    Attributes:
        path, sha256: the certificate's file and its SHA-256.
        checkpoint, checkpoint_sha256: name and SHA-256 of the checkpoint's file; the statement is about these weights.
        digits: n, of each operand; there are 100^n problems.
        ran_on: the environment in which it was made.
    """

    path: Path
    sha256: str
    checkpoint: str
    checkpoint_sha256: str
    digits: int
    stated: Stated
    ran_on: Mapping[str, object]

    def as_block(self, file: str) -> dict[str, object]:
        """Return the block of an evaluation or a manifest beside `file`, which `stated_of` reads back."""
        stated = self.stated
        return {
            "file": file,
            "sha256": self.sha256,
            "verdict": stated.status.value,
            "problems": str(stated.wrong.of),
            "wrong": {"at_least": str(stated.wrong.at_least), "at_most": str(stated.wrong.at_most)},
            "smallest_margin": stated.smallest_margin,
            "smallest_seen": stated.smallest_seen,
        }

    def check_is_of(self, sha256: str, path: str | Path) -> None:
        """Require that it is about these weights.

        Raises:
            InputError: it is about others.
        """
        if self.checkpoint_sha256 != sha256:
            raise InputError(
                f"the certificate of another file than {path}", path=self.path, field="$.checkpoint.sha256",
                expected=f"{sha256[:16]}…", found=f"{self.checkpoint_sha256[:16]}…",
            )  # fmt: skip

    def check_is_for(self, task: object) -> None:
        """Require that it is about the problems of a task.

        Raises:
            InputError: it is about additions of other digits, or the task is no addition.
        """
        if task != Addition(self.digits):
            raise InputError(
                "a certificate of another task", path=self.path, field="$.task",
                expected="the task of the checkpoint", found=f"{self.digits}-digit addition",
            )  # fmt: skip


def is_certificate(document: Document) -> bool:
    """Tell whether a file says that it is a certificate, of any version."""
    said = document.data.get("format") if isinstance(document.data, dict) else None
    return isinstance(said, str) and said.startswith(FORMAT.partition("/")[0] + "/")


def read_certified(path: Path) -> Certified:
    """Read the statement of a certificate; its proof is neither unpacked nor checked.

    Raises:
        InputError: it cannot be read, is no certificate, or contradicts itself.
    """
    document = load_document(path)
    data = document.data
    if data["arithmetic"]["name"] != FLOAT32.name:
        raise document.error(
            ("arithmetic", "name"), "it says nothing of float32, in which models answer",
            expected=f"a certificate for {FLOAT32.name}", found=data["arithmetic"]["name"],
        )  # fmt: skip
    digits, said = data["task"]["digits"], read_statement(data)
    problems, high, seen = 100**digits, said.wrong.at_most, said.smallest_seen
    if said.problems != problems:
        raise document.error(
            ("problems",), expected=f"{problems}, all pairs of {digits} digits", found=data["problems"]
        )
    if not said.wrong.at_least <= high <= problems:
        raise document.error(("wrong",), expected=f"at_least <= at_most <= {problems}", found=data["wrong"])
    if said.status is (CertificateStatus.REFUTED if high == 0 else CertificateStatus.PROVED):
        found = f"{said.status}, at most {high}"
        raise document.error(("wrong",), "at most 0 is PROVED, and nothing else is", found=found)
    proved, margin = said.status is CertificateStatus.PROVED, said.smallest_margin
    if proved and seen is not None and margin is not None and seen.margin < margin:
        expected = f"no less than the smallest margin, {margin}"
        raise document.error(("smallest_seen",), expected=expected, found=data["smallest_seen"])
    return Certified(
        path=path,
        sha256=document.sha256,
        checkpoint=PurePath(data["checkpoint"]["path"]).name,
        checkpoint_sha256=data["checkpoint"]["sha256"],
        digits=digits,
        stated=Stated(
            status=said.status,
            wrong=Range(Fraction(said.wrong.at_least), Fraction(high), problems),
            smallest_margin=margin,
            smallest_seen=None if seen is None else seen.margin,
        ),
        ran_on=data["environment"],
    )


def stated_of(block: Mapping[str, Any]) -> Stated:
    """Read the block of an evaluation or a manifest, which the schema has checked."""
    wrong = block["wrong"]
    bounds = Range(Fraction(wrong["at_least"]), Fraction(wrong["at_most"]), int(block["problems"]))
    return Stated(CertificateStatus(block["verdict"]), bounds, block["smallest_margin"], block["smallest_seen"])


@dataclass(frozen=True)
class Sampled:
    """The errors of an evaluation.

    Attributes:
        errors: error rate on the uniform problems, with its interval at 95 %; None where they were not asked.
        wrong: number of different problems that were answered wrong, or fewer where only counts are known.
    """

    errors: Proportion | None
    wrong: int


def agreement(wrong: Range, seen: Sampled) -> Agreement | None:
    """Tell whether a certificate and an evaluation of the same weights can both be right; None if nothing compares.

    More different wrong answers than there can be wrong problems contradict for certain. A rate contradicts if its
    exact interval at 99.99 % does not meet the certified one, and is unlikely if that at 95 % does not.

    Worked values: 12 of 100,000 (6.2e-5 to 2.1e-4) agrees with 1.1e-4 to 1.3e-4, is unlikely beside at least 2.2e-4
    and contradicts at least 3.3e-4.
    """
    if wrong.at_most is not None and seen.wrong > wrong.at_most:
        return Agreement.CONTRADICTS
    if seen.errors is None or wrong.of is None:
        return None
    if not _meets(wrong, proportion(seen.errors.k, seen.errors.n, SURE)):
        return Agreement.CONTRADICTS
    return Agreement.AGREES if _meets(wrong, seen.errors) else Agreement.UNLIKELY


def _meets(wrong: Range, rate: Proportion) -> bool:
    """Tell whether the interval of a rate meets the bounds; a fraction is compared exactly with a float."""
    problems = wrong.of or 1
    return wrong.at_least / problems <= rate.high and (wrong.at_most is None or wrong.at_most / problems >= rate.low)

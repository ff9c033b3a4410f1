"""What a certificate states, without its proof: what evaluations, manifests and claims take from it.

    CERT.json --schema, what has to fit together--> Certified --as_block--> `certificate` of an evaluation or a manifest
    its bounds + errors that were sampled --agreement--> can both be true?

Nothing is proved here: `reprogrok certify --check` checks a certificate, and what it states is shown as stated. But a
statement that contradicts itself, is of another file, or cannot be true beside an evaluation is noticed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from pathlib import Path, PurePath
from typing import Any

from reprogrok.certificate.checker.rounding import FLOAT32
from reprogrok.certificate.document import FORMAT, SCHEMA, Verdict
from reprogrok.errors import InputError
from reprogrok.schema import Document, load
from reprogrok.stats.proportions import Proportion, proportion
from reprogrok.stats.ranges import Range
from reprogrok.tasks.addition import Addition

# An exact interval at this confidence misses the truth once in 10,000 evaluations of honest certificates; one at 95 %
# would cry out over every twentieth.
SURE = 0.9999


class Agreement(StrEnum):
    """What an evaluation says of the bounds of a certificate."""

    AGREES = "agrees"
    UNLIKELY = "unlikely"
    CONTRADICTS = "contradicts"


@dataclass(frozen=True)
class Stated:
    """What is stated of all problems of a checkpoint's task.

    Attributes:
        verdict: what it comes to.
        wrong: how many problems are answered wrong, and of how many.
        smallest_margin: in logits, at most that of every answer that is shown right; None where none is.
        smallest_seen: the least margin of a right answer that was met; None where none was.
    """

    verdict: Verdict
    wrong: Range
    smallest_margin: float | None
    smallest_seen: float | None


@dataclass(frozen=True)
class Certified:
    """A certificate without its proof.

    Attributes:
        path: the certificate's file.
        sha256: of that file.
        checkpoint: name of the weights file it was made of.
        checkpoint_sha256: of that file; the statement is about these weights alone.
        digits: of each operand; there are 100^digits problems.
        stated: what it says.
        ran_on: the environment that it was made in.
    """

    path: Path
    sha256: str
    checkpoint: str
    checkpoint_sha256: str
    digits: int
    stated: Stated
    ran_on: Mapping[str, Any]

    def as_block(self, file: str) -> dict[str, Any]:
        """What an evaluation or a manifest says of it, which `stated_of` reads back.

        Args:
            file: by what name it is found from there.
        """
        stated = self.stated
        return {
            "file": file,
            "sha256": self.sha256,
            "verdict": stated.verdict.value,
            "problems": str(stated.wrong.of),
            "wrong": {"at_least": str(stated.wrong.at_least), "at_most": str(stated.wrong.at_most)},
            "smallest_margin": stated.smallest_margin,
            "smallest_seen": stated.smallest_seen,
        }

    def check_is_of(self, sha256: str, path: str | Path) -> None:
        """See that it is about these weights.

        Raises:
            InputError: it is about others.
        """
        if self.checkpoint_sha256 != sha256:
            raise InputError(
                f"the certificate of another file than {path}", path=self.path, field="$.checkpoint.sha256",
                expected=f"{sha256[:16]}…", found=f"{self.checkpoint_sha256[:16]}…",
            )  # fmt: skip

    def check_is_for(self, task: object) -> None:
        """See that it is about the problems that are asked.

        Raises:
            InputError: it is about additions of other digits, or the task is none.
        """
        if task != Addition(self.digits):
            raise InputError(
                "a certificate of another task", path=self.path, field="$.task",
                expected="the task of the checkpoint", found=f"{self.digits}-digit addition",
            )  # fmt: skip


def is_certificate(document: Document) -> bool:
    """Does a file say that it is one?"""
    return isinstance(document.data, dict) and document.data.get("format") == FORMAT


def read_certified(path: Path) -> Certified:
    """What a certificate states; its proof is neither unpacked nor checked.

    Raises:
        InputError: it cannot be read, is no certificate, or contradicts itself.
    """
    document = load(path, SCHEMA)
    data = document.data
    if data["arithmetic"]["name"] != FLOAT32.name:
        raise document.error(
            ("arithmetic", "name"), "what a model answers is computed in float32, of which this says nothing",
            expected=f"a certificate for {FLOAT32.name}", found=data["arithmetic"]["name"],
        )  # fmt: skip
    digits, verdict = data["task"]["digits"], Verdict(data["verdict"])
    problems = 100**digits
    if data["problems"] != str(problems):
        raise document.error(
            ("problems",), expected=f"{problems}, all pairs of {digits} digits", found=data["problems"]
        )
    low, high = (int(data["wrong"][name]) for name in ("at_least", "at_most"))
    if not low <= high <= problems:
        raise document.error(("wrong",), expected=f"at_least <= at_most <= {problems}", found=data["wrong"])
    if verdict is (Verdict.REFUTED if high == 0 else Verdict.PROVED):
        raise document.error(("wrong",), "at most 0 is PROVED, and nothing else is", found=f"{verdict}, at most {high}")
    seen, margin = data["smallest_seen"], data["smallest_margin"]
    if verdict is Verdict.PROVED and None not in (seen, margin) and seen["margin"] < margin:
        raise document.error(("smallest_seen",), expected=f"no less than the smallest margin, {margin}", found=seen)
    stated = Stated(
        verdict=verdict,
        wrong=Range(Fraction(low), Fraction(high), problems),
        smallest_margin=margin,
        smallest_seen=None if seen is None else seen["margin"],
    )
    return Certified(
        path=path,
        sha256=document.sha256,
        checkpoint=PurePath(data["checkpoint"]["path"]).name,
        checkpoint_sha256=data["checkpoint"]["sha256"],
        digits=digits,
        stated=stated,
        ran_on=data["environment"],
    )


def stated_of(block: Mapping[str, Any]) -> Stated:
    """What the block of an evaluation or a manifest states; the schema has checked it."""
    wrong = block["wrong"]
    bounds = Range(Fraction(wrong["at_least"]), Fraction(wrong["at_most"]), int(block["problems"]))
    return Stated(Verdict(block["verdict"]), bounds, block["smallest_margin"], block["smallest_seen"])


@dataclass(frozen=True)
class Sampled:
    """What an evaluation saw.

    Attributes:
        errors: of the uniform problems, with its interval at 95 %; None where they were not asked.
        wrong: different problems of any kind that were answered wrong, or fewer where only counts are known.
    """

    errors: Proportion | None
    wrong: int


def agreement(wrong: Range, seen: Sampled) -> Agreement | None:
    """Can a certificate and an evaluation of the same weights both be right? None if the evaluation says nothing of it.

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
    """Has the interval of a rate a point in common with the bounds? A fraction is compared exactly with a float."""
    problems = wrong.of or 1
    return wrong.at_least / problems <= rate.high and (wrong.at_most is None or wrong.at_most / problems >= rate.low)

"""Claims files -> the numbers printed by their sources, each with the facts that the file states about it.

Citation(Claim(reported, ...), ...) --parse the printed text--> QuotedNumber ...
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from reprogrok.claims.claims import Citation, Claim, Reported
from reprogrok.errors import InputError
from reprogrok.forensics.findings import Printed, parse_printed

SCORES = frozenset({"accuracy", "exact_match"})
FRACTIONS = SCORES | {"share"}


@dataclass(frozen=True)
class QuotedNumber:
    """A number that a source prints, with the claim that quotes it."""

    source: str
    claim: Claim
    reported: Reported
    printed: Printed

    @property
    def where(self) -> str:
        """File and line of the source, and the id of the claim."""
        return f"{self.source}:{self.reported.at} ({self.claim.id})"

    @property
    def run(self) -> str | None:
        """The run that the number describes, if stated."""
        return self.reported.fields.get("run")

    @property
    def split(self) -> str | None:
        """The split that it describes, if stated."""
        return self.reported.fields.get("split")

    @property
    def step(self) -> int | None:
        """The step of the evaluation that it describes, if stated."""
        return self.whole("step")

    def whole(self, name: str) -> int | None:
        """Return a field as a whole number, or None if the claim does not state it."""
        value = self.reported.fields.get(name)
        return None if value is None else int(value)


def quoted_numbers(source: Citation) -> Iterator[QuotedNumber]:
    """Yield every printed number of a source.

    Raises:
        InputError: a reported text is not a number.
    """
    for claim in source.claims:
        for reported in claim.reported:
            try:
                yield QuotedNumber(source.file, claim, reported, parse_printed(reported.text))
            except ValueError as error:
                raise InputError(
                    "not a printed number", path=claim.path, line=reported.line, found=reported.text
                ) from error

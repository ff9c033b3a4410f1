"""Claims files -> the numbers that their sources print, each with what the file says it is a number of.

Citation(Claim(reported, ...), ...) --text read as it is printed--> QuotedNumber ...
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from reprogrok.claims.claims import Citation, Claim, Reported
from reprogrok.errors import InputError
from reprogrok.forensics.findings import Printed, printed

SHARES = frozenset({"accuracy", "exact_match", "share"})
SCORES = SHARES - {"share"}


@dataclass(frozen=True)
class QuotedNumber:
    """One printed number and where it stands."""

    source: str
    claim: Claim
    reported: Reported
    number: Printed

    @property
    def where(self) -> str:
        """File and line of the source, and the claim that quotes it."""
        return f"{self.source}:{self.reported.at} ({self.claim.id})"

    @property
    def run(self) -> str | None:
        """The run that it is about."""
        return self.reported.fields.get("run")

    @property
    def split(self) -> str | None:
        """The rows that it is about."""
        return self.reported.fields.get("split")

    @property
    def quantity(self) -> str:
        """What its claim is about."""
        return self.claim.quantity.name

    @property
    def step(self) -> int | None:
        """The evaluation that it is about."""
        return self.whole("step")

    def whole(self, name: str) -> int | None:
        """A field that is a whole number."""
        value = self.reported.fields.get(name)
        return None if value is None else int(value)


def entries_of(source: Citation) -> Iterator[QuotedNumber]:
    """Every printed number of a source.

    Raises:
        InputError: a reported text is no number.
    """
    for claim in source.claims:
        for reported in claim.reported:
            try:
                yield QuotedNumber(source.file, claim, reported, printed(reported.text))
            except ValueError as error:
                message = "not a number as it is printed"
                raise InputError(message, path=claim.path, line=reported.line, found=reported.text) from error

"""The tree of errors and the exit codes: everything that can stop a command with a message.

    ReprogrokError                 a check could not be carried out; the command exits 2
    ├── InputError                 a file, field or option is wrong: where, what was expected, what was found
    │   ├── CheckpointError        a weights file was refused
    │   └── RecordError            a run's folder is missing, incomplete or was changed after it was written
    └── BusyError                  another process holds what this one needs

A verdict is never an exception. A failed exam or a NO_GO is an answer and travels as a value; what is raised
here means that there is no answer. `cli.main` is the only place that turns these into an exit code.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path
from typing import Self

# Longer messages are cut; a path alone may have 4,096 characters.
LONGEST = 2_000
# Unicode categories of characters that act on a terminal or hide: controls, format characters (directions of text,
# joiners, no width), surrogates, line and paragraph separators.
_ACTING = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def printable(text: str, longest: int = LONGEST) -> str:
    """Return `text` as one line that a terminal shows as it is: acting characters escaped, a long text cut.

    A file name may hold a line that reads like a verdict. A line feed between a and b gives a, backslash, n, b.
    """
    cut = text if len(text) <= longest else f"{text[: longest - 1]}…"
    return "".join(ascii(char)[1:-1] if unicodedata.category(char) in _ACTING else char for char in cut)


class ExitCode(IntEnum):
    """The promise of the command line to scripts (128 + n after signal n is added by `cli.main`)."""

    PASS = 0
    FAIL = 1
    ERROR = 2
    INCONCLUSIVE = 3


class ReprogrokError(Exception):
    """A check that could not be carried out. `str()` is the one message that the user reads."""


class InputError(ReprogrokError):
    """Input that cannot be used, with the place where the user can mend it.

    Args:
        message: what is wrong, as one clause.
        path: the file it is in, if it is in a file.
        line: 1-based line in that file, if the format has lines.
        field: the place inside the document as `$.a.b[0]`.
        expected: what would have been accepted.
        found: what was there.
    """

    def __init__(
        self,
        message: str = "",
        *,
        path: Path | str | None = None,
        line: int | None = None,
        field: str | None = None,
        expected: str | None = None,
        found: str | None = None,
    ) -> None:
        self.message, self.path, self.line = message, path, line
        self.field, self.expected, self.found = field, expected, found
        super().__init__(str(self))

    def __str__(self) -> str:
        """`file:line $.path: message: expected X, found Y`, leaving out what is not known."""
        place = "" if self.path is None else str(self.path)
        if self.line is not None:
            place += f":{self.line}"
        head = " ".join(part for part in (place, self.field) if part)
        tail = ", ".join(
            f"{word} {value}"
            for word, value in (("expected", self.expected), ("found", self.found))
            if value is not None
        )
        return ": ".join(part for part in (head, self.message, tail) if part)

    def at(self, path: Path | str | None = None, field: str | None = None, line: int | None = None) -> Self:
        """Return the same error at another place."""
        return type(self)(
            self.message, path=path, line=line, field=field, expected=self.expected, found=self.found
        )  # fmt: skip


@contextmanager
def located(
    path: Path | str | None, field: str = "$", line_of: Callable[[str], int | None] = lambda _field: None
) -> Iterator[None]:
    """Place the errors of a block that knows parts of a document, but not the file.

    `{field: "$.task.modulus"}` inside `located("params.yaml", "$.experiments.e1")` becomes
    `params.yaml $.experiments.e1.task.modulus`, and an error without a field is one of `$.experiments.e1`. An error
    that names a file or an option stays as it is.

    Args:
        path: the file.
        field: the part of it that the block works on.
        line_of: field -> its line, if the format has lines (`Document.line_of`).

    Raises:
        InputError: any of the block, of the same class.
    """
    try:
        yield
    except InputError as error:
        inner = "$" if error.field is None else error.field
        if error.path is not None or not inner.startswith("$"):
            raise
        whole = field + inner.removeprefix("$")
        raise error.at(path, whole, line_of(whole)) from error


class CheckpointError(InputError):
    """A checkpoint that was refused; nothing in it was executed."""


class RecordError(InputError):
    """A run's folder that cannot be taken as a record."""


class BusyError(ReprogrokError):
    """Another process is at work on the same thing."""

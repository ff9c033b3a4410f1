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

from enum import IntEnum
from pathlib import Path

# Longer messages are cut; a path alone may have 4,096 characters.
LONGEST = 2_000
# Characters that change what a reader sees and are not seen: directions of text, joiners, marks of no width.
_UNSEEN = frozenset(
    map(chr, (0xAD, 0x61C, 0xFEFF, *range(0x200B, 0x2010), *range(0x2028, 0x202F), *range(0x2060, 0x2070)))
)


def printable(text: str, longest: int = LONGEST) -> str:
    """Return a text as one line that a terminal shows as it is: what would act is escaped, and a long text is cut.

    Control characters (C0, C1, DEL), line separators, bidirectional overrides, characters of no width and lone
    surrogates become escapes, because a file name may hold a line that reads like a verdict.

    Worked value: a line feed between a and b gives the four characters a, backslash, n, b.
    """
    cut = text if len(text) <= longest else f"{text[: longest - 1]}…"
    return "".join(char if _is_shown(char) else ascii(char)[1:-1] for char in cut)


def _is_shown(char: str) -> bool:
    code = ord(char)
    return code >= 0x20 and not 0x7F <= code < 0xA0 and not 0xD800 <= code < 0xE000 and char not in _UNSEEN


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


class CheckpointError(InputError):
    """A checkpoint that was refused; nothing in it was executed."""


class RecordError(InputError):
    """A run's folder that cannot be taken as a record."""


class BusyError(ReprogrokError):
    """Another process is at work on the same thing."""

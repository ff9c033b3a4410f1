"""Where commands print: results on stdout, remarks and progress on stderr.

On a terminal a table is as wide as the terminal; elsewhere it is plain and wide enough that nothing is cut.
"""

from __future__ import annotations

import sys

from rich.console import Console

from reprogrok.errors import printable

_WIDE = 200


def console(*, stderr: bool = False) -> Console:
    """Return a console for results (stdout) or for progress (stderr)."""
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else _WIDE
    return Console(stderr=stderr, width=width, highlight=False, soft_wrap=False, emoji=False, markup=False)


def write(document: str | bytes) -> None:
    """Write a document to stdout as UTF-8, whatever the encoding of the terminal is."""
    sys.stdout.flush()  # text that was printed before comes first
    sys.stdout.buffer.write(document.encode() if isinstance(document, str) else document)


def remark(text: str) -> None:
    """Write one line to stderr: a note, or a warning. Control characters in it are escaped."""
    sys.stderr.write(f"{printable(text)}\n")

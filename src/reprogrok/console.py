"""Where results are printed: on a terminal as wide as it is, elsewhere plain and wide enough that nothing is cut."""

from __future__ import annotations

import sys

from rich.console import Console

_WIDE = 200


def console(*, stderr: bool = False) -> Console:
    """A console for results (stdout) or for progress (stderr)."""
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else _WIDE
    return Console(stderr=stderr, width=width, highlight=False, soft_wrap=False, emoji=False, markup=False)

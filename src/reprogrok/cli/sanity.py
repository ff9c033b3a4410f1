"""`reprogrok sanity NAME`: to be written."""

from __future__ import annotations


def sanity(name: str) -> None:
    """Judge a run by the criteria of a gate."""
    raise NotImplementedError(name)

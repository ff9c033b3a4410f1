"""Numbers -> the words that reports share."""

from __future__ import annotations

from collections.abc import Sequence


def counted(count: int, noun: str) -> str:
    """`1 seed`, `2 seeds`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def seeds_text(seeds: Sequence[int]) -> str:
    """`42`, `7, 3`, or `42 to 47` for three or more that follow each other; a long list is cut and counted."""
    if len(seeds) > 2 and list(seeds) == list(range(seeds[0], seeds[0] + len(seeds))):
        return f"{seeds[0]} to {seeds[-1]}"
    shown = ", ".join(map(str, seeds[:6]))
    return shown if len(seeds) <= 6 else f"{shown}, ... ({len(seeds):,})"


def job_text(seeds: Sequence[int]) -> str:
    """`seed 42`, or `8 seeds` that are trained together."""
    return f"seed {seeds[0]}" if len(seeds) == 1 else counted(len(seeds), "seed")

"""Numbers and lists -> text that several reports use."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from reprogrok.record import changes


def counted(count: int, noun: str) -> str:
    """Return `1 seed` or `2 seeds`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def seeds_text(seeds: Sequence[int]) -> str:
    """Return `42`, `7, 3`, or `42 to 47` for three or more consecutive seeds; a long list is cut and counted."""
    if len(seeds) > 2 and list(seeds) == list(range(seeds[0], seeds[0] + len(seeds))):
        return f"{seeds[0]} to {seeds[-1]}"
    shown = ", ".join(map(str, seeds[:6]))
    return shown if len(seeds) <= 6 else f"{shown}, ... ({len(seeds):,})"


def job_text(seeds: Sequence[int]) -> str:
    """Return `seed 42`, or `8 seeds` for replicas that are trained together."""
    return f"seed {seeds[0]}" if len(seeds) == 1 else counted(len(seeds), "seed")


def duration(seconds: float) -> str:
    """Return `59 s`, `12:05 min` or `3:07 h`; `-` if the time is unknown."""
    if not math.isfinite(seconds):
        return "-"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02} min"
    minutes = round(seconds / 60)
    return f"{minutes // 60}:{minutes % 60:02} h"


def fingerprint_lines(fingerprint: Mapping[str, Any]) -> list[str]:
    """Return one line for each earlier fingerprint of a run: its seeds, its last step and the differences."""
    now = {key: value for key, value in fingerprint.items() if key != "earlier"}
    return [
        f"seed {seeds_text(earlier['seeds'])}: another fingerprint until step {earlier['until_step']:,}"
        f" ({'; '.join(changes(earlier['fingerprint'], now)) or 'then as now'})"
        for earlier in fingerprint.get("earlier", ())
    ]

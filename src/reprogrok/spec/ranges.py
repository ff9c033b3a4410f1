"""Text -> the listed steps or seeds."""

from __future__ import annotations

import re

MAX_SEED = 2**63 - 1
MAX_STEPS_LISTED = 1_000_000


def step_range(text: str) -> tuple[int, ...] | None:
    """Read `"500,1000"` as (500, 1000) and `"0:54000:5000"` as 0, 5000, ..., 50000; any other text as None."""
    if match := re.fullmatch(r"(\d{1,18}):(\d{1,18})(?::(\d{1,18}))?", text.strip()):
        first, last, by = int(match[1]), int(match[2]), int(match[3] or 1)
        return tuple(range(first, last, by)) if by > 0 and (last - first) // by <= MAX_STEPS_LISTED else None
    return seed_range(text)


def seed_range(text: str) -> tuple[int, ...] | None:
    """Read `"0:8"` as 0..7 and `"42,43"` as (42, 43); any other text as None."""
    if match := re.fullmatch(r"(\d{1,18}):(\d{1,18})", text.strip()):
        first, last = map(int, match.groups())
        return tuple(range(first, last)) if last - first <= MAX_STEPS_LISTED else None
    if re.fullmatch(r"\s*\d{1,18}\s*(,\s*\d{1,18}\s*)*", text):
        return tuple(int(part) for part in text.split(","))
    return None

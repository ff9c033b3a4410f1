"""How many examples Hypothesis draws: the stated number in the long tier, a quarter of it in the quick one."""

from __future__ import annotations

import math

from hypothesis import settings


def draws(count: int) -> settings:
    """Return the settings of a test that draws `count` examples in the long tier."""
    return settings(max_examples=math.ceil(count * settings.default.max_examples / 100))

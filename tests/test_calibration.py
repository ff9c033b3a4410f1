"""The calibration campaign in short: a sample keeps every promise, and rules that are wrong on purpose are found."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent / "campaign"))

from calibration import BROKEN, SEED, STUDIES, Row, calibrate, without_search


def test_a_sample_of_all_promises_is_kept():
    lines = []
    assert calibrate(short=True, broken=False, say=lines.append) == 0, [line for line in lines if "MISSED" in line]
    found = re.match(r"(\d+) bars, 0 missed", lines[-1])
    assert found is not None
    assert int(found[1]) >= 100


@pytest.mark.parametrize("name", BROKEN)
def test_a_rule_that_is_wrong_on_purpose_misses_a_bar(name):
    with without_search():
        assert any(row.missed for row in BROKEN[name](np.random.default_rng(SEED), STUDIES["short"]))


@pytest.mark.parametrize(
    ("hits", "studies", "bar", "at_least", "missed"),
    [
        (930, 1_000, 0.935, True, False),  # half a standard error below the bar
        (880, 1_000, 0.935, True, True),
        (1_000, 1_000, 0.935, True, False),
        (55, 1_000, 0.05, False, False),
        (90, 1_000, 0.05, False, True),
        (0, 1_000, None, True, False),
    ],
)
def test_a_bar_is_missed_only_beyond_the_error_of_the_simulation(hits, studies, bar, at_least, missed):
    assert Row("", "", hits, studies, bar, at_least).missed is missed

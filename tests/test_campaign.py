"""The campaign against a training run, in short: the program survives a sample, and broken builds are found."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

CAMPAIGN = Path(__file__).parent / "campaign"
sys.path.insert(0, str(CAMPAIGN))

from builds import BROKEN  # noqa: E402 - found through the line above

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"),
    reason="forks a process that has torch loaded, and names files by their descriptors: seen to work on Linux alone",
)


def campaign(*words):
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, CAMPAIGN, *words], capture_output=True, text=True, env=environment, check=False
    )


@pytest.mark.long(quick="test_cli_train.py::test_a_worker_that_dies_is_an_error_and_loses_nothing")
def test_a_sample_of_all_attacks_is_survived():
    result = campaign("attacks", "--short")
    assert result.returncode == 0, result.stdout + result.stderr
    rows = re.findall(r"^(.+?) +(\d+) +(\d+) +(\d+)$", result.stdout, re.MULTILINE)
    assert len(rows) == 9, "eight kinds of attack, and all of them"
    assert [tried for _, tried, survived, lost in rows if (survived, lost) != (tried, "0")] == []
    assert all(int(tried) >= 1 for _, tried, _, _ in rows)


@pytest.mark.long(quick="test_cli_train.py::test_a_worker_that_dies_is_an_error_and_loses_nothing")
def test_every_broken_build_is_found():
    result = campaign("attacks", "--broken", "--short")
    assert result.returncode == 0, result.stdout + result.stderr
    found = dict(re.findall(r"^(\w+): (\d+) of \d+ attacks found it$", result.stdout, re.MULTILINE))
    assert found.keys() == {build.__name__ for build in BROKEN}
    assert all(int(count) for count in found.values()), found

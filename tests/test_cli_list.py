"""`reprogrok list`: every experiment, gate and exam, in the width of a terminal."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from reprogrok.params import read_params
from reprogrok.text import counted, job_text, seeds_text

ROOT = Path(__file__).resolve().parents[1]


def test_everything_is_listed(reprogrok):
    result = reprogrok("list", cwd=ROOT)
    assert (result.returncode, result.stderr) == (0, "")
    rows = {line.split()[0]: line for line in result.stdout.splitlines() if line.split()}
    params = read_params(ROOT / "params.yaml")
    assert {name for name in params.experiments if name not in rows} == set()
    assert {path.stem for path in (ROOT / "audit" / "criteria").glob("*.yaml") if path.stem not in rows} == set()
    assert " 1,128 " in rows["e10"]
    assert " 456 " in rows["e1"]
    default = [line.split()[0] for line in result.stdout.splitlines() if "default pipeline" in line]
    assert default == list(params.pipeline)
    assert "100,000" in rows["addition-100k/1"]
    assert "10,000 a stratum" in rows["addition-stress/1"]


def test_sources_say_what_came_out_where_it_was_published(reprogrok):
    assert "80,670 errors in 100,000" in reprogrok("list", "--sources", cwd=ROOT).stdout
    assert "80,670" not in reprogrok("list", cwd=ROOT).stdout


def test_a_folder_without_gates_says_so(project, reprogrok):
    for file in (project / "audit" / "criteria").glob("*.yaml"):
        file.unlink()
    result = reprogrok("list", cwd=project)
    assert result.returncode == 0
    assert "no gates in audit/criteria" in result.stdout


def test_one_criteria_file_is_listed_whatever_it_is_called(project, reprogrok):
    gates = project / "audit" / "criteria"
    (gates / "smoke.yaml").rename(project / "mine.yaml")
    result = reprogrok("list", "--criteria", "mine.yaml", cwd=project)
    assert (result.returncode, result.stderr) == (0, "")
    assert [line.split()[0] for line in result.stdout.splitlines() if "smoke" in line.split()[:1]] == ["smoke", "smoke"]
    assert "v2b" not in result.stdout.split("gates (")[1]
    assert "no gates" not in result.stdout


def test_criteria_that_are_not_there_are_an_error(project, reprogrok, one_error):
    line = one_error(reprogrok("list", "--criteria", "none", cwd=project))
    assert line == "none: no criteria here: expected a folder of criteria files, or one such file"


def on_a_terminal(*words, columns):
    """What a terminal of that many columns shows."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(columns), "TERM": "dumb", "NO_COLOR": "1"}
    command = [sys.executable, "-m", "reprogrok", *words]
    process = subprocess.Popen(command, cwd=ROOT, stdout=theirs, stdin=theirs, stderr=subprocess.PIPE, env=environment)
    os.close(theirs)
    shown = b""
    while True:
        try:
            part = os.read(ours, 4096)
        except OSError:  # Linux says so when the last writer has gone
            break
        if not part:
            break
        shown += part
    process.communicate(timeout=60)
    os.close(ours)
    assert process.returncode == 0
    return shown.decode().replace("\r\n", "\n")


@pytest.mark.parametrize("columns", [80, 120])
def test_a_terminal_shows_whole_words(columns):
    shown = on_a_terminal("list", columns=columns)
    assert max(map(len, shown.splitlines())) <= columns
    assert "…" not in shown


def test_numbers_take_their_plural():
    assert [counted(n, "seed") for n in (0, 1, 2, 1200)] == ["0 seeds", "1 seed", "2 seeds", "1,200 seeds"]
    assert [job_text((7,)), job_text((7, 8))] == ["seed 7", "2 seeds"]


@pytest.mark.parametrize(
    ("seeds", "text"),
    [
        ((42,), "42"),
        ((0, 1), "0, 1"),
        ((42, 43, 44), "42 to 44"),
        ((3, 2, 1), "3, 2, 1"),
        (tuple(range(0, 20, 2)), "0, 2, 4, 6, 8, 10, ... (10)"),
    ],
)
def test_seeds_are_written_shortly(seeds, text):
    assert seeds_text(seeds) == text

"""The door by which commands end: one line an error, nothing in it that acts, and the exit code of the result."""

import os
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from reprogrok.cli.door import leave
from reprogrok.errors import LONGEST, InputError, printable

ROOT = Path(__file__).resolve().parents[1]
ANYTHING = st.text(st.characters(categories=None), max_size=300)  # control characters and lone surrogates, too
# What acts on a terminal, or on a reader without being seen: controls, surrogates, separators, directions.
ACTING = {"Cc", "Cs", "Zl", "Zp"}
DIRECTIONS = {"LRE", "RLE", "PDF", "LRO", "RLO", "LRI", "RLI", "FSI", "PDI"}


@given(ANYTHING)
def test_a_message_is_one_line_that_acts_on_nothing(text):
    shown = printable(text)
    assert not {unicodedata.category(char) for char in shown} & ACTING
    assert not {unicodedata.bidirectional(char) for char in shown} & DIRECTIONS
    assert len(shown.splitlines()) <= 1
    shown.encode("utf-8")


@given(st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E)))
def test_plain_text_stays_as_it_is(text):
    assert printable(text) == text


def test_the_worked_value_and_a_long_text():
    assert printable("a\nb\x1b[2J\u202e\udc80é") == r"a\nb\x1b[2J\u202e\udc80é"
    assert printable("x" * (LONGEST + 1)) == "x" * (LONGEST - 1) + "…"


@given(ANYTHING, ANYTHING)
def test_every_error_is_one_line_and_exit_code_two(path, found):
    errors = []

    def fail():
        raise InputError("wrong", path=path, found=found)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.stderr, "write", errors.append)
        code = leave(fail)
    assert code == 2
    assert len(errors) == 1
    assert errors[0].startswith("error: ")
    assert len(errors[0].rstrip("\n").splitlines()) == 1


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        (ValueError("smoke: GO (exit 0)\n"), 2),
        (OSError(28, "No space left on device"), 2),
        (typer.BadParameter("no\nsuch"), 2),
        (typer.Abort(), 130),
    ],
)
def test_no_exception_reads_as_fail(raised, code, capfd):
    def fail():
        raise raised

    assert leave(fail) == code
    last = capfd.readouterr().err.splitlines()[-1:]
    assert all(line.startswith("error: ") for line in last)


@pytest.mark.parametrize(("result", "code"), [(None, 0), (0, 0), (1, 1), (3, 3)])
def test_a_result_is_the_exit_code(result, code):
    assert leave(lambda: result) == code


def shell(line):
    """Run a line of bash in the checkout with `reprogrok` on PATH; its exit code, stdout and stderr."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-c", line], capture_output=True, text=True, cwd=ROOT, env=os.environ | {"PATH": path}, check=False
    )


FULL = pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has /dev/full")
# A command that prints much and whose result is INCONCLUSIVE, without the seconds that a real one takes.
VERDICT = (
    "python -c 'import sys; from reprogrok.cli.door import leave, open_streams; open_streams();"
    ' sys.exit(leave(lambda: (print("x" * 1_000_000), sys.stderr.write("warning"), 3)[2]))\''
)


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("python -m reprogrok sanity nosuch 2>&-", 2),
        pytest.param("python -m reprogrok sanity nosuch >/dev/full 2>/dev/full", 2, marks=FULL),
        pytest.param("python -m reprogrok --version >/dev/full", 2, marks=FULL),
        pytest.param(f"{VERDICT} >/dev/full", 2, marks=FULL),
        pytest.param(f"{VERDICT} 2>/dev/full", 3, marks=FULL),
        (f"{VERDICT} >&-", 3),
        (f"{VERDICT} <&- >&- 2>&-", 3),
        (f"{VERDICT} | true; exit ${{PIPESTATUS[0]}}", 3),
        (f"{VERDICT} | head -c 2; exit ${{PIPESTATUS[0]}}", 3),
    ],
)
def test_a_stream_that_is_full_closed_or_left_changes_no_verdict(line, code):
    assert shell(line).returncode == code


@FULL
def test_a_full_disk_is_one_error():
    assert shell("python -m reprogrok --version >/dev/full").stderr == "error: the output: No space left on device\n"


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ("nosuch", "error: No such command 'nosuch' (see `reprogrok --help`)"),
        ("sanity", "error: Missing argument 'NAME' (see `reprogrok sanity --help`)"),
        ("sanity smoke --bogus", "error: No such option: --bogus (see `reprogrok sanity --help`)"),
    ],
)
def test_words_that_cannot_be_parsed_are_one_line(words, error, reprogrok, one_error, tmp_path):
    assert f"error: {one_error(reprogrok(*words.split(), cwd=tmp_path))}" == error


def test_a_bare_command_shows_the_groups(reprogrok, tmp_path):
    bare = reprogrok(cwd=tmp_path)
    assert (bare.returncode, bare.stderr) == (2, "")
    asked = reprogrok("--help", cwd=tmp_path)
    assert asked.returncode == 0
    for shown in (bare.stdout, asked.stdout):
        for group in ("Check a checkpoint", "Judge a run or a claim", "Train", "Understand a run or a task", "Project"):
            assert f"─ {group} ─" in shown


@pytest.mark.parametrize(("old", "new"), [("provide", "release"), ("observe", "collect"), ("floors", "loss-bounds")])
def test_an_old_name_is_the_same_command(old, new, reprogrok, tmp_path):
    helps = [reprogrok(name, "--help", cwd=tmp_path) for name in (old, new)]
    assert helps[0].returncode == 0
    assert helps[0].stdout.split()[4:] == helps[1].stdout.split()[4:]  # behind "Usage: reprogrok NAME"
    assert f"│ {old} " not in reprogrok("--help", cwd=tmp_path).stdout


def test_a_file_name_cannot_write_a_verdict(reprogrok, one_error, tmp_path):
    name = "x\nsmoke: GO (exit 0)\x1b[2J"
    (tmp_path / "audit" / "criteria").mkdir(parents=True)
    assert r"found x\nsmoke: GO (exit 0)\x1b[2J" in one_error(reprogrok("sanity", name, cwd=tmp_path))

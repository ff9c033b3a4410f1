"""What others rely on: the commands and their options, exit codes, the names of the package, and a light start-up.

A change here is a change for users: it belongs into the changelog, and into SURFACE below.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer

import reprogrok
from reprogrok.cli.main import app
from reprogrok.errors import ExitCode

ROOT = Path(__file__).resolve().parents[1]
HEAVY = {"torch", "numpy", "scipy", "matplotlib", "dvc", "jsonschema", "ruamel"}

# Command -> its arguments (in capitals) and options; the first line is `reprogrok` itself. --help is everywhere.
SURFACE = {
    "": "--version --install-completion --show-completion",
    "eval": "CHECKPOINT --device --exam --suite --limit --batch-size --method --min-exact --output --format"
    " --experiment --params --data --certificate",
    "certify": "CHECKPOINT --check --output --budget --arithmetic --experiment --format --quiet --params",
    "predict": "CHECKPOINT A B --device --experiment --params",
    "sanity": "NAME --run --output --format --criteria --accept-amended --preflight --experiment --params",
    "compare": "EVALUATION --output --metrics --format",
    "generate": "EXPERIMENT --out --params",
    "split": "EXPERIMENT --format --params",
    "loss-bounds": "EXPERIMENT --format --params",
    "floors": "EXPERIMENT --format --params",
    "analyze": "RUN --t-grok --window --claim --seed --output --device --format",
    "plot": "RUN --csv --png --svg --log-steps --metric",
    "audit": "[CLAIM|FILE]... --output --format --claims --evidence --runs --no-runs --ledger --params",
    "reproduce": "CLAIM --seeds --device --workers --dry-run --quiet --collect --observed --claims --evidence --runs"
    " --params",
    "collect": "RUN --output --title --note --claims",
    "observe": "RUN --output --title --note --claims",  # hidden, the older name of collect
    "forensics": "FILE --output --format",
    "release": "RUN SEED --out --certificate --device",
    "provide": "RUN SEED --out --certificate --device",
    "init": "[DIR] --no-dvc",
    "list": "--params --criteria --sources",
    "train": "EXPERIMENT --seeds --device --steps --stop-at --checkpoints --keep --allow-fingerprint-change --out"
    " --dry-run --workers --backend --path --deterministic --params --data --sink --quiet",
    "doctor": "--compile --output --format",
}


def surface(command, name=""):
    """The same table, read from the command tree; a command of a group is written with its group's name."""
    words = []
    for parameter in command.params:
        if parameter.param_type_name == "argument":
            words.append((parameter.metavar or parameter.name).upper())
        else:
            words += [*parameter.opts, *parameter.secondary_opts]
    table = {name: set(words)}
    for child, below in getattr(command, "commands", {}).items():
        table |= surface(below, f"{name} {child}".strip())
    return table


def test_commands_and_options_are_the_published_ones():
    found = {f"{name} {word}" for name, words in surface(typer.main.get_command(app)).items() for word in ["", *words]}
    published = {f"{name} {word}" for name, words in SURFACE.items() for word in ["", *words.split()]}
    assert found - published == set(), "new: publish it in SURFACE and in the changelog"
    assert published - found == set(), "gone: somebody may rely on it"


def test_the_table_sees_a_new_option_and_a_new_command():
    other = typer.Typer()
    inner = typer.Typer()
    other.add_typer(inner, name="group")
    other.command("run")(lambda: None)
    inner.command("one")(lambda: None)

    @inner.command("two")
    def _two(path: str, *, deep: bool = False) -> None: ...

    found = surface(typer.main.get_command(other))
    assert found["group two"] == {"PATH", "--deep", "--no-deep"}
    assert {"run", "group", "group one"} <= set(found)


def test_every_command_says_what_it_does_on_one_line_of_the_help_page():
    commands = typer.main.get_command(app).commands
    lines = {name: (command.help or "").partition("\n\n")[0] for name, command in commands.items()}
    assert [line for line in lines.values() if not re.fullmatch(r"[A-Z][^.;:\n]{1,61}\.", line)] == []


def test_exported_names():
    assert sorted(reprogrok.__all__) == ["__version__"]


def test_exit_codes():
    assert {code.name: code.value for code in ExitCode} == {"PASS": 0, "FAIL": 1, "ERROR": 2, "INCONCLUSIVE": 3}


def test_one_version_everywhere():
    assert (
        re.search(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text("utf-8"), re.MULTILINE)[1]
        == reprogrok.__version__
    )
    assert reprogrok.__version__ in (ROOT / "CHANGELOG.md").read_text("utf-8")


def heavy_after(code, *, folder=None):
    """The heavy packages that are loaded once `code` has run in a fresh interpreter."""
    report = "import sys; print('loaded:', *sorted({name.split('.')[0] for name in sys.modules}))"
    environment = os.environ | ({"PYTHONPATH": str(folder)} if folder else {})
    script = f"{code}\n{report}"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=True)
    return HEAVY & set(result.stdout.splitlines()[-1].removeprefix("loaded: ").split())


HELP = """
import sys
from reprogrok.cli.main import main
sys.argv = ["reprogrok", *{words!r}]
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
"""


@pytest.mark.parametrize("command", SURFACE)
def test_help_imports_nothing_heavy(command):
    assert heavy_after(HELP.format(words=[*command.split(), "--help"])) == set()


def test_a_heavy_import_would_be_seen(tmp_path):
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("", "utf-8")
    assert heavy_after("import torch", folder=tmp_path) == {"torch"}


def run(*words):
    """`python -m reprogrok WORDS...`, as a user would see it."""
    return subprocess.run([sys.executable, "-m", "reprogrok", *words], capture_output=True, text=True, check=False)


def test_version():
    result = run("--version")
    assert (result.returncode, result.stdout) == (ExitCode.PASS, f"reprogrok {reprogrok.__version__}\n")


@pytest.mark.parametrize("words", [("no-such-command",), ("sanity", "--no-such-option")])
def test_wrong_usage_is_an_error_not_a_verdict(words):
    result = run(*words)
    assert result.returncode == ExitCode.ERROR
    assert words[-1] in result.stderr
    assert "Traceback" not in result.stderr

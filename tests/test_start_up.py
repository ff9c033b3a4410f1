"""Starting a command: what it does not use it does not load, and the tests may call it in their own process."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# Each takes a second and more.
SLOW = ("sympy", "torch._dynamo", "torch._inductor")
UPDATES = """
from dataclasses import replace
from reprogrok.model.device import choose_device
from reprogrok.params import read_params
from reprogrok.train.engine import Engine
from pathlib import Path
experiment = replace(read_params(Path("params.yaml")).experiments["smoke"], evaluate_every=2)
engine = Engine(experiment, (0,), choose_device("cpu", "bitwise"), "eager")
state = engine.fresh()
for _ in engine.train(state, lambda: state.step >= 2):
    pass
assert state.step == 2
"""


def loaded_after(code):
    """Which of the slow packages are loaded once `code` has run in a fresh interpreter."""
    script = f"{code}\nimport sys; print(*(name for name in {SLOW} if name in sys.modules))"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    return result.stdout.split()


def test_an_eager_training_on_strict_algorithms_loads_no_compiler():
    assert loaded_after(UPDATES) == []


def test_a_slow_import_would_be_seen():
    assert loaded_after("import sympy") == ["sympy"]


CLAIMS = f"--claims {ROOT / 'audit' / 'claims'}"
# Of the commands, those that no other test starts on their own.
WORDS = (
    f"audit {CLAIMS} --no-runs redesign-v1-step --output audit.json",
    "eval runs/smoke/seed-0/best.pt --limit 20 --output evaluation.json",
    "loss-bounds v2b-mini",
    "forensics runs/smoke --output found.json",
    "init new",
    f"collect runs/smoke {CLAIMS} --output seen.json --title Smoke",
    "plot runs/smoke --csv curves.csv --png curves.png",
    "release runs/smoke",
)


@pytest.mark.parametrize(
    "words",
    [
        "predict runs/smoke/seed-0/best.pt 1 2",
        *(pytest.param(words, marks=pytest.mark.long) for words in WORDS),
    ],
)
def test_a_command_that_is_called_does_what_it_does_when_it_is_started(words, trained, started, reprogrok, tmp_path):
    ends, files = [], []
    for name, run in (("one", started), ("other", reprogrok)):
        folder = shutil.copytree(trained, tmp_path / name / "project")
        end = run(*words.split(), cwd=folder)
        ends.append((end.returncode, end.stdout, end.stderr.replace("python -m reprogrok", "reprogrok")))
        files.append({path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()})
    assert ends[0] == ends[1]
    assert files[0] == files[1]

"""The bans of pyproject.toml bite: each dangerous call is refused by name, and only where it is meant to be."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
RUFF = Path(sys.executable).with_name("ruff")


def rules(code, filename):
    """The rules that ruff names for `code`, if it stood in `filename`."""
    command = [RUFF, "check", "--no-cache", "--output-format", "concise", "--stdin-filename", filename, "-"]
    result = subprocess.run(command, input=code, capture_output=True, text=True, cwd=ROOT, check=False)
    assert result.returncode in {0, 1}, result.stderr
    return {line.split()[1] for line in result.stdout.splitlines() if line.startswith(f"{filename}:")}


@pytest.mark.parametrize(
    ("code", "rule"),
    [
        ("import pickle", "TID251"),
        ("import torch\ntorch.load('x')", "TID251"),
        ("from torch import load", "TID251"),
        ("import torch\ntorch.manual_seed(0)", "TID251"),
        ("import numpy as np\nnp.random.seed(0)", "TID251"),
        ("import numpy as np\nnp.random.rand(3)", "NPY002"),
        ("import random\nrandom.seed(0)", "TID251"),
        ("import yaml", "TID251"),
        ("import shelve", "TID251"),
        ("eval('1')", "S307"),
        ("exec('1')", "S102"),
        ("import os\nos.system('ls')", "S605"),
        ("import subprocess\nsubprocess.run('ls', shell=True)", "S602"),
        ("assert True", "S101"),
        ("print(1)", "T201"),
    ],
)
def test_a_dangerous_call_is_refused(code, rule):
    assert rule in rules(code, "src/reprogrok/gates/somewhere.py")


def test_weights_are_loaded_in_one_place_only():
    code = "import torch\n\nweights = torch.load('x', weights_only=True)\n"
    assert "TID251" not in rules(code, "src/reprogrok/formats/checkpoints.py")
    assert "TID251" in rules(code, "src/reprogrok/formats/other.py")


def test_a_sound_module_passes():
    assert rules('"""A module."""\n', "src/reprogrok/gates/somewhere.py") == set()

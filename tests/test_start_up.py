"""What a command does not use, its process does not load: torch's compiler and SymPy take a second each time."""

import subprocess
import sys

import pytest

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


def loaded_after(code, root):
    """Which of the slow packages are loaded once `code` has run in a fresh interpreter."""
    script = f"{code}\nimport sys; print(*(name for name in {SLOW} if name in sys.modules))"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=root)
    return result.stdout.split()


def test_an_eager_training_on_strict_algorithms_loads_no_compiler(pytestconfig):
    assert loaded_after(UPDATES, pytestconfig.rootpath) == []


@pytest.mark.parametrize("name", ["sympy", "torch._inductor"])
def test_a_slow_import_would_be_seen(name, pytestconfig):
    assert name in loaded_after(f"import {name}", pytestconfig.rootpath)

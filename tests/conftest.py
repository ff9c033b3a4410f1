"""What several test files share: real artefacts where they are at hand, and small runs made on the spot."""

from __future__ import annotations

import fcntl
import io
import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import call, fits
from hypothesis import settings

from reprogrok.params import read_params

# No test asserts a time: on a busy machine an example may take any. The counts of examples in the tests are those of
# the long tier; see draws.py.
settings.register_profile("long", deadline=None)
settings.register_profile("quick", deadline=None, max_examples=25)

ROOT = Path(__file__).resolve().parents[1]


def pytest_configure(config):
    """Choose the number of examples before the tests, which ask for it, are imported."""
    settings.load_profile("quick" if config.getoption("markexpr") == "not long" else "long")


@pytest.fixture(scope="session", autouse=True)
def compiled_once(tmp_path_factory):
    """Share what TorchInductor compiles among all tests and the processes that they start."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCHINDUCTOR_CACHE_DIR", str(shared_folder(tmp_path_factory) / "inductor"))
        yield


def shared_folder(tmp_path_factory) -> Path:
    """Return the temporary folder that all processes of this test session share."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session")
def made_once(tmp_path_factory):
    """What takes seconds to make is made by one test process and read by all: `made_once(name, make)` -> its folder.

    `make` is called with a folder that does not exist yet. Nobody changes what is there; who must, copies it.
    """
    shared = shared_folder(tmp_path_factory)

    def once(name, make) -> Path:
        folder, begun = shared / name, shared / f"{name}.begun"
        with (shared / f"{name}.lock").open("w", encoding="ascii") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not folder.exists():
                shutil.rmtree(begun, ignore_errors=True)
                make(begun)
                begun.rename(folder)
        return folder

    return once


@pytest.fixture(scope="session")
def started():
    """Run `python -m reprogrok WORDS...` as a user would, without a terminal, in the folder `cwd`."""

    def run(*words, cwd, **environment):
        command = [sys.executable, "-m", "reprogrok", *map(str, words)]
        env = {**os.environ, "COLUMNS": "80"} | environment
        return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=env, check=False, encoding="utf-8")

    return run


@pytest.fixture(scope="session")
def reprogrok(started):
    """The same in the process of the tests, without the seconds of a start; started where only that is the same."""

    def run(*words, cwd, **environment):
        env = {**os.environ, "COLUMNS": "80"} | environment
        if not fits(env):
            return started(*words, cwd=cwd, **environment)
        return call([str(word) for word in words], cwd, env)

    return run


@pytest.fixture
def read(tmp_path):
    """Read a text as params.yaml."""

    def read_text(text):
        path = tmp_path / "params.yaml"
        path.write_text(text, "utf-8")
        return read_params(path)

    return read_text


@pytest.fixture
def project(tmp_path):
    """A folder as a user has it: the experiments and the gates, nothing trained yet."""
    return copy_project(tmp_path / "project")


def copy_project(folder: Path) -> Path:
    """The repository's params.yaml and criteria in a new folder."""
    (folder / "audit").mkdir(parents=True)
    shutil.copy(ROOT / "params.yaml", folder)
    shutil.copytree(ROOT / "audit" / "criteria", folder / "audit" / "criteria")
    return folder


@pytest.fixture(scope="session")
def trained(made_once, started):
    """A project with one finished run of two seeds, runs/smoke; not to be changed."""

    def make(folder):
        result = started("train", "smoke", "--seeds", "0,1", "--workers", "2", cwd=copy_project(folder))
        assert result.returncode == 0, result.stderr

    return made_once("trained", make)


@pytest.fixture(scope="session")
def generated(made_once, started):
    """A project with the data of smoke, data/smoke; not to be changed."""

    def make(folder):
        result = started("generate", "smoke", cwd=copy_project(folder))
        assert result.returncode == 0, result.stderr

    return made_once("generated", make)


@pytest.fixture(scope="session")
def untrained():
    """The content of a checkpoint as torch.save takes it: small, with its weights as they were drawn.

    Called with the number of digits of its task; `ours` says whether it carries the block of our own files.
    """
    import torch

    from reprogrok.formats.checkpoints import checkpoint_bytes
    from reprogrok.formats.origins import Origin
    from reprogrok.model.initialise import initial_weights
    from reprogrok.spec.model import ModelSpec

    def build(digits=10, *, ours=True):
        spec = ModelSpec(n_layer=1, d_model=8, n_head=2, d_ff=16, max_seq_len=3 * digits + 3, vocab_size=14)
        data = checkpoint_bytes(spec, initial_weights(spec, 0), Origin("smoke", digits, 0, "0" * 64), 7, 0.5)
        content = torch.load(io.BytesIO(data), weights_only=True)  # noqa: TID251 - what we wrote a line above
        return content if ours else {key: value for key, value in content.items() if key != "reprogrok"}

    return build


@pytest.fixture
def one_error():
    """Check that a command failed as promised: exit code 2, one line on stderr that starts so; returns the line."""

    def check(result) -> str:
        assert result.returncode == 2, (result.returncode, result.stdout, result.stderr)
        assert result.stderr.startswith("error: "), result.stderr
        assert result.stderr.count("\n") == 1, result.stderr
        assert result.stdout == ""
        return result.stderr.removeprefix("error: ").rstrip("\n")

    return check


@pytest.fixture(scope="session")
def fixtures_dir() -> Path:
    """The folder of real artefacts (`REPROGROK_FIXTURES`, by default beside the project); skips where it is absent."""
    folder = ROOT / os.environ.get("REPROGROK_FIXTURES", "../shared/fixtures")
    if not folder.is_dir():
        pytest.skip(f"no real artefacts at {folder}; set REPROGROK_FIXTURES to the folder that holds them")
    return folder.resolve()


@pytest.fixture
def columns_run(tmp_path):
    """Write a run in the layout of columns that keeps every criterion of v2b that can be kept; returns its folder.

    `config`, `metrics` and `analysis` are called with the document before it is written and may change it.
    """

    def write(name="run", *, steps=20_000, config=None, metrics=None, analysis=None) -> Path:
        documents = {
            "config.json": {
                "split_rule": "(a+b)%p < p/2 (train) vs >= p/2 (test)",
                "data": {"modulus_p": 97, "train_split": 0.8, "seed": 42},
                "model": {"n_layers": 2, "n_heads": 2, "d_model": 64, "max_seq_len": 16, "vocab_size": 104},
                "training": {"num_steps": 20_000},
            },
            "logs/metrics.json": {
                "step": (logged := list(range(100, steps + 1, 100))),
                "train_loss": [1.5] * len(logged),
                "test_loss": [2.5] * len(logged),
                "test_accuracy": [0.01 + 0.001 * math.sin(step) for step in logged],
                "learning_rate": [0.001] * len(logged),
            },
            "logs/analysis.json": {
                "step": (analysed := list(range(500, steps + 1, 500))),
                "representation_rank": [[50.0, 40.0] for _ in analysed],
                "attention_entropy": [[[1.0, 1.2], [0.8, 1.0]] for _ in analysed],
            },
        }
        for document, change in zip(documents.values(), (config, metrics, analysis), strict=True):
            if change is not None:
                change(document)
        folder = tmp_path / name
        (folder / "logs").mkdir(parents=True)
        for file, document in documents.items():
            (folder / file).write_text(json.dumps(document), encoding="utf-8")
        return folder

    return write

"""A replica whose numbers are no longer finite: stopped, recorded, and nobody downstream takes it for another."""

import json
import re
import shutil

import pytest

from reprogrok import record
from reprogrok.formats.checkpoints import load_checkpoint
from reprogrok.model.compiler import compiler

RUN = "runs/smoke"
OPTIONS = ("--seeds", "0,1", "--workers", "1")


@pytest.fixture
def explosive(project):
    """The project with a learning rate that overflows soon after the first step."""
    text = (project / "params.yaml").read_text("utf-8")
    head, smoke = text.split("\n  smoke:", 1)
    (project / "params.yaml").write_text(head + "\n  smoke:" + re.sub(r"lr: 0\.015", "lr: 1e30", smoke), "utf-8")
    return project


def contents(folder):
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != record.TIMING)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def replicas(folder):
    return json.loads((folder / RUN / record.SUMMARY).read_bytes())["replicas"]


def test_a_diverged_run_is_published_and_says_so(explosive, reprogrok):
    result = reprogrok("train", "smoke", *OPTIONS, cwd=explosive)
    assert result.returncode == 0, result.stderr
    (first, second) = replicas(explosive)
    step = first["diverged_step"]
    assert 0 < step < 200
    assert first["steps"] == step
    assert f"seed 0 diverged: loss, gradient or weights not finite at step {step:,}" in result.stdout
    assert "200 of 200" in result.stderr  # the steps have passed, and the display has seen it
    assert "2 diverged" in result.stderr
    read = record.read(explosive / RUN)
    assert read.diverged == {0: step, 1: second["diverged_step"]}
    assert all(evaluated < step for evaluated in read.replicas[0]["train_loss"].steps)
    for name in ("best", "last"):
        kept = load_checkpoint(explosive / RUN / "seed-0" / f"{name}.pt")
        assert all(tensor.isfinite().all() for tensor in kept.weights.values())
        assert kept.step < max(step, 1)


def test_a_verdict_gives_it_as_the_reason(explosive, reprogrok):
    reprogrok("train", "smoke", *OPTIONS, cwd=explosive)
    result = reprogrok("sanity", "smoke", cwd=explosive)
    assert result.returncode in {1, 3}
    assert f"the replica diverged at step {replicas(explosive)[0]['diverged_step']}" in result.stdout


@pytest.mark.long(quick="test_early_ends.py::test_a_run_that_ended_early_goes_on_as_if_it_had_not")
def test_ending_early_and_checkpoints_go_on_to_the_same_bytes(explosive, reprogrok):
    asked = (*OPTIONS, "--checkpoints", "0:200:50")
    whole = reprogrok("train", "smoke", *asked, "--out", "runs/whole", cwd=explosive)
    assert whole.returncode == 0, whole.stderr
    for end in ("2", "100", "130"):
        part = reprogrok("train", "smoke", *asked, "--stop-at", end, cwd=explosive)
        assert part.returncode == 0, part.stderr
    assert replicas(explosive)[0]["diverged_step"] is not None
    rest = reprogrok("train", "smoke", *asked, cwd=explosive)
    assert rest.returncode == 0, rest.stderr
    assert contents(explosive / RUN) == contents(explosive / "runs/whole")


def test_a_rate_that_is_too_much_for_a_finite_gradient_keeps_the_weights_before_it(explosive, reprogrok):
    path = explosive / "params.yaml"
    path.write_text(path.read_text("utf-8").replace("lr: 1e30", "lr: 1e39"), "utf-8")
    result = reprogrok("train", "smoke", "--seeds", "0", "--stop-at", "1", cwd=explosive)
    assert result.returncode == 0, result.stderr
    assert replicas(explosive)[0]["diverged_step"] == 0
    kept = load_checkpoint(explosive / RUN / "seed-0" / "last.pt")
    assert all(tensor.isfinite().all() for tensor in kept.weights.values())
    assert kept.claimed_score is None


@pytest.mark.skipif(compiler() is None, reason="there is no C++ compiler here")
@pytest.mark.long(quick="test_engine_modular.py::test_a_compiled_step_is_the_eager_one_rounded_otherwise")
def test_compiled_steps_see_it_too(explosive, reprogrok):
    result = reprogrok("train", "smoke", "--seeds", "0", "--backend", "compiled", cwd=explosive)
    assert result.returncode == 0, result.stderr
    compiled = replicas(explosive)
    shutil.rmtree(explosive / ".reprogrok")
    assert reprogrok("train", "smoke", "--seeds", "0", cwd=explosive).returncode == 0
    assert compiled[0]["diverged_step"] == replicas(explosive)[0]["diverged_step"]


@pytest.mark.long(quick="test_cli_doctor.py::test_compiling_that_fails_or_lies_is_told")
def test_a_compiler_that_does_not_work_is_one_clear_error(project, reprogrok, one_error, tmp_path):
    broken = tmp_path / "broken-compiler"
    broken.write_text("#!/bin/sh\ncase $1 in --version) echo 'g++ 99.1';; *) exit 1;; esac\n", "ascii")
    broken.chmod(0o755)
    environment = {"CXX": str(broken), "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache")}
    result = reprogrok("train", "smoke", "--seeds", "0", "--path", "compiled", "--quiet", cwd=project, **environment)
    line = one_error(result)
    assert line.startswith("--backend: a step cannot be compiled here (")
    assert "eager, which needs no compiler" in line
    assert not (project / RUN).exists()

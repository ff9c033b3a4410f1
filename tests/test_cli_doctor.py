"""`reprogrok doctor`: what it finds on this machine, and every fault that it is there to see."""

from __future__ import annotations

import io
import json
import os
import shutil
import stat
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.console import Console

from reprogrok.errors import InputError
from reprogrok.model.compiler import compiler, described
from reprogrok.params import read_params
from reprogrok.train import diagnosis
from reprogrok.train.diagnosis import Compilation, FoundDevice, diagnose, disk_fault, try_compiling
from reprogrok.train.diagnosis_tables import print_diagnosis
from reprogrok.train.pace import RECIPES, Pace, measure_pace

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def found(made_once, reprogrok):
    """A folder with what `doctor` printed and wrote there."""

    def make(folder):
        folder.mkdir()
        result = reprogrok("doctor", "--output", "doctor.json", cwd=folder)
        assert (result.returncode, result.stderr) == (0, "")
        (folder / "printed").write_text(result.stdout, "utf-8")

    return made_once("doctor", make)


@pytest.mark.long(quick="test_a_sound_machine_is_told_so_in_80_columns")
def test_it_says_what_this_machine_is_and_may_expect(found):
    document = json.loads((found / "doctor.json").read_bytes())
    assert (document["format"], document["can_train"], document["faults"]) == ("reprogrok.doctor/1", True, [])
    assert document["versions"]["torch"] == str(torch.__version__)
    assert document["devices"][0]["device"] == "cpu"
    assert document["devices"][0]["promise"] == "the same bytes on the same fingerprint"
    assert document["cores"] == len(os.sched_getaffinity(0))
    assert document["disk"]["free_bytes"] == pytest.approx(shutil.disk_usage(found).free, rel=0.1)
    assert document["torch_compile"] is None
    assert [(one["experiment"], one["steps"]) for one in document["expected"]] == [("e1", 54_000), ("e15", 30_000)]
    for one in document["expected"]:
        assert one["measured_steps"] == pytest.approx(2 * one["steps_per_second"], rel=0.2)
        assert one["seconds_per_seed"] == pytest.approx(one["steps"] / one["steps_per_second"], rel=0.01)
        assert one["seeds_per_hour"] == pytest.approx(document["cores"] * 3600 / one["seconds_per_seed"], rel=0.01)


@pytest.mark.long(quick="test_a_sound_machine_is_told_so_in_80_columns")
def test_it_leaves_nothing_behind_and_fits_a_terminal(found):
    assert sorted(path.name for path in found.iterdir()) == ["doctor.json", "printed"]
    printed = (found / "printed").read_text("utf-8")
    assert printed.endswith("this machine can train on its CPU\n")
    assert " 1,128 " in printed
    assert "456" in printed


@pytest.mark.long(quick="test_compiling_that_fails_or_lies_is_told")
def test_json_on_the_screen_is_the_document_and_compile_really_compiles(tmp_path, reprogrok):
    result = reprogrok("doctor", "--format", "json", "--compile", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    document = json.loads(result.stdout)
    assert document["can_train"] is True
    assert document["torch_compile"]["seconds"] > 0
    assert (document["torch_compile"]["problem"] is None) == (document["compiler"] is not None)


def test_an_output_that_cannot_be_written_is_one_error_before_anything_is_measured(tmp_path, reprogrok, one_error):
    (tmp_path / "folder").mkdir()
    line = one_error(reprogrok("doctor", "--output", "folder", cwd=tmp_path))
    assert line == "folder: cannot be written: it is a folder"


def test_the_recipes_are_those_of_params():
    experiments = read_params(ROOT / "params.yaml").experiments
    assert [recipe.digest() for recipe in RECIPES] == [experiments[recipe.name].digest() for recipe in RECIPES]


@pytest.mark.parametrize(
    ("recipe", "steps"),
    [
        ("smoke", 200),
        pytest.param(
            "e15",
            30_000,
            marks=pytest.mark.long,
        ),
    ],
)
def test_the_pace_counts_steps_after_the_first_by_the_clock_it_is_given(recipe, steps):
    ticks = iter(range(10**6))
    experiment = replace(read_params(ROOT / "params.yaml").experiments[recipe], batch=4)
    pace = measure_pace(experiment, 20, clock=lambda: next(ticks))
    assert 1 <= pace.measured_steps <= 20  # it is read at every step at most
    assert pace.steps_per_second == pytest.approx(pace.measured_steps / 20, rel=0.1)
    assert pace.seconds_per_seed == pytest.approx(steps / pace.steps_per_second)
    assert pace.finite


def program(folder, text, name="c++"):
    """An executable shell script."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n", "utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("g++ (Debian 12.2.0-14+deb12u1) 12.2.0", "c++ 12.2.0"),
        ("g++ (GCC) 13.2.1 20230801", "c++ 13.2.1"),
        ("Apple clang version 15.0.0 (clang-1500.3.9.4)", "c++ 15.0.0"),
        ("Ubuntu clang version 18.1.3 (1ubuntu1)", "c++ 18.1.3"),
        ("a compiler", "c++ of unknown version"),
    ],
)
def test_a_compiler_is_known_by_its_name_and_version(tmp_path, monkeypatch, answer, expected):
    monkeypatch.setenv("CXX", program(tmp_path, f"echo '{answer}'"))
    assert compiler() == expected


def test_without_cxx_it_is_the_one_that_inductor_asks_for(tmp_path, monkeypatch):
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    described.cache_clear()
    inductor = torch._inductor.config.cpp.cxx[1] if "CXX" not in os.environ else None
    name = "clang++" if sys.platform == "darwin" else "g++"
    program(tmp_path, "echo 'x 99.1'", name)
    assert (compiler(), inductor) == (f"{name} 99.1", name)
    described.cache_clear()


def test_a_compiler_that_does_not_run_is_none(tmp_path, monkeypatch):
    for cxx in (str(tmp_path / "nothing"), str(tmp_path), program(tmp_path, "exit 1"), "", "ccache g++"):
        monkeypatch.setenv("CXX", cxx)
        assert compiler() is None


def test_the_compiler_is_asked_once(tmp_path, monkeypatch):
    monkeypatch.setenv("CXX", program(tmp_path, f"echo x >>{tmp_path}/asked; echo 'c 1.2'"))
    assert [compiler(), compiler()] == ["c++ 1.2"] * 2
    assert (tmp_path / "asked").read_text("utf-8") == "x\n"


def quick(monkeypatch, tmp_path, pace=None):
    """A diagnosis that trains nothing: `pace` says what the training gives, or raises."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(diagnosis, "measure_pace", pace or (lambda recipe, _seconds: Pace(recipe, 100, 10, True)))
    return diagnose(compiles=False)


def shown(found, columns=80):
    screen = Console(file=io.StringIO(), width=columns, markup=False, emoji=False, highlight=False)
    print_diagnosis(found, screen)
    return screen.file.getvalue()


def test_a_sound_machine_is_told_so_in_80_columns(monkeypatch, tmp_path):
    found = quick(monkeypatch, tmp_path)
    text = shown(found)
    assert found.exit_code == 0
    assert max(map(len, text.splitlines())) <= 80
    assert "9:00 min" in text  # 54,000 steps at 100 a second


def test_training_that_fails_is_a_fault_and_exit_1(monkeypatch, tmp_path):
    def pace(_recipe, _seconds):
        raise RuntimeError("Illegal instruction\nand more")

    found = quick(monkeypatch, tmp_path, pace)
    assert found.exit_code == 1
    assert found.faults == [f"training {name} failed: Illegal instruction" for name in ("e1", "e15")]
    text = shown(found)
    assert "FAULT: training e1 failed: Illegal instruction\n" in text
    assert text.endswith("this machine cannot train\n")
    assert found.document()["can_train"] is False


def test_weights_that_are_no_numbers_are_a_fault(monkeypatch, tmp_path):
    found = quick(monkeypatch, tmp_path, lambda recipe, _seconds: Pace(recipe, 100, 10, recipe.name == "e1"))
    assert found.faults == ["training e15 gave weights that are not finite"]
    assert [pace.experiment.name for pace in found.paces] == ["e1"]


def test_a_disk_without_locks_is_a_fault(monkeypatch, tmp_path):
    assert disk_fault(tmp_path) is None
    monkeypatch.setattr("reprogrok.files.fcntl.flock", lambda *_: None)
    assert disk_fault(tmp_path) == f"{tmp_path}: two processes can hold the same lock"


def test_a_disk_that_cannot_replace_a_folder_is_a_fault(monkeypatch, tmp_path):
    def refuse(*_):
        raise InputError("cannot be published: Operation not permitted", path="run")

    monkeypatch.setattr(diagnosis, "publish", refuse)
    assert disk_fault(tmp_path).endswith("work cannot be kept here: run: cannot be published: Operation not permitted")


def test_a_folder_that_is_not_there_is_a_fault(tmp_path):
    assert "work cannot be kept here" in disk_fault(tmp_path / "none")


def test_a_missing_compiler_is_a_fact_and_no_fault(monkeypatch, tmp_path):
    monkeypatch.setenv("CXX", str(tmp_path / "nothing"))
    found = quick(monkeypatch, tmp_path)
    assert (found.compiler, found.exit_code) == (None, 0)
    assert "none: training runs eagerly, several times slower" in shown(found)


def test_compiling_that_fails_or_lies_is_told(monkeypatch, tmp_path):
    def refuse(_function):
        raise RuntimeError("InvalidCxxCompiler: no compiler\ntrace")

    monkeypatch.setattr(torch, "compile", refuse)
    before = dict(os.environ)
    assert try_compiling().problem == "InvalidCxxCompiler: no compiler"
    monkeypatch.setattr(torch, "compile", lambda _function: lambda x: x.sum())
    assert try_compiling().problem == "the compiled function gives another result"
    monkeypatch.setattr(torch, "compile", lambda function: function)
    assert try_compiling().problem is None
    assert dict(os.environ) == before
    tried = replace(quick(monkeypatch, tmp_path), compilation=Compilation(12.3, "no compiler"))
    assert "does not work (12 s with an empty cache): no compiler" in shown(tried)


def test_a_gpu_is_shown_with_its_memory_and_promise(monkeypatch, tmp_path):
    found = quick(monkeypatch, tmp_path)
    gpu = FoundDevice("cuda:0", "NVIDIA H200", diagnosis.PROMISES["cuda"], 150_000_000_000, "9.0")
    seen = replace(found, devices=[*found.devices, gpu])
    assert [*seen.document()["devices"][1]] == ["device", "name", "memory_bytes", "capability", "promise"]
    text = shown(seen, 120)
    assert "NVIDIA H200, 140 GiB, compute capability 9.0" in text
    assert "deterministic algorithms alone" in text


def test_a_torch_that_does_not_load_is_exit_1_with_the_reason(tmp_path, reprogrok):
    (tmp_path / "torch.py").write_text("raise OSError('libtorch_cpu.so: cannot open shared object file')", "utf-8")
    paths = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    result = reprogrok("doctor", cwd=tmp_path, PYTHONPATH=paths)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == (
        "FAULT: a package that is needed cannot be loaded: libtorch_cpu.so: cannot open shared object file\n"
    )

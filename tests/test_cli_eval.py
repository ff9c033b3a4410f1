"""`reprogrok eval` as a user runs it: published scores, both methods, what is printed, and the exit code."""

from __future__ import annotations

import json
import shutil

import pytest
import safetensors.torch
import torch

from reprogrok.judge.comparison import read_evaluations
from reprogrok.schema import load

SEEDS = (41, 100, 200, 300, 400, 500, 999, 1234, 7777, 31415)
SPLIT = dict(zip(map(str, SEEDS), (2, 0, 1, 3, 1, 0, 0, 2, 2, 1), strict=True))  # as published for the 512 parameters


@pytest.fixture(scope="module")
def published(fixtures_dir):
    """Two published checkpoints: one without an error in the exam, and one with twelve."""
    folder = fixtures_dir / "checkpoints"
    return folder / "best_456p_s43.pt", folder / "best_512params.pt"


@pytest.fixture(scope="module")
def both(published, generated, reprogrok, made_once):
    """The uniform exam of both, all 100,000 problems each: a folder with what was printed and the file."""

    def make(folder):
        folder.mkdir()
        words = ("--suite", "uniform", "--data", generated / "data" / "smoke", "--min-exact", "0.99988")
        result = reprogrok("eval", *published, *words, "--output", "both.json", cwd=folder)
        assert (result.returncode, result.stderr) == (0, "")
        (folder / "printed.txt").write_text(result.stdout, "utf-8")

    return made_once("both", make)


def test_published_checkpoints_have_their_published_errors(both):
    written = load(both / "both.json", "evaluation").data
    assert written["format"] == "reprogrok.evaluations/1"
    none, twelve = (entry["multi_seed_validation"] for entry in written["evaluations"])
    assert (none["aggregate_errors"], none["total_examples"], none["aggregate_exact_match"]) == (0, 100_000, 1.0)
    assert (twelve["aggregate_errors"], twelve["aggregate_exact_match"]) == (12, 0.99988)
    assert {seed: score["errors"] for seed, score in twelve["per_seed"].items()} == SPLIT
    parameters = [entry["checkpoint"]["parameters"] for entry in written["evaluations"]]
    assert parameters == [entry["checkpoint"]["claimed_parameters"] for entry in written["evaluations"]] == [456, 512]


def test_the_file_reads_back_as_what_was_measured(both):
    none, twelve = read_evaluations(both / "both.json")
    assert (none.sittings["uniform"].errors.k, twelve.sittings["uniform"].errors.k) == (0, 12)
    strata = json.loads((both / "both.json").read_bytes())["evaluations"][1]["suites"]["uniform"]["strata"]
    asked = {pair for s in strata for pair in zip(s["failures"]["a"], s["failures"]["b"], strict=True)}
    assert twelve.sittings["uniform"].failed == asked
    assert len(asked) == 12


def test_every_failure_says_what_the_model_answers(both):
    strata = load(both / "both.json").data["evaluations"][1]["suites"]["uniform"]["strata"]
    failures = [f for stratum in strata for f in zip(*stratum["failures"].values(), strict=True)]
    assert len(failures) == 12
    assert all(int(answer) != a + b and len(answer) == 11 for _, a, b, answer in failures)


def test_several_checkpoints_stand_side_by_side_under_their_numbers(both, published):
    lines = (both / "printed.txt").read_text("utf-8").splitlines()
    assert lines[0] == f"[1] {published[0]}"
    rows = [line.split() for line in lines]
    assert ["[1]", "456", "0", "at", "most", "3.69e-05", "0.7513"] in rows
    assert ["[2]", "512", "12", "6.2e-05", "to", "0.00021", "0.0376"] in rows
    assert ["300", "10,000", "0", "3"] in rows
    assert max(len(line) for line in lines if not line.startswith("[")) <= 80


@pytest.mark.usefixtures("both")  # which met 0.99988, exactly what the worse one has; 0.99988 is no binary fraction
def test_min_exact_is_met_at_exactly_k_of_n_and_not_above(published, reprogrok, tmp_path):
    words = ("--suite", "uniform", "--min-exact", "0.999880000001")
    result = reprogrok("eval", published[1], *words, cwd=tmp_path)
    assert result.returncode == 1
    assert result.stderr == "--min-exact 0.999880000001: not met (lowest 0.99988)\n"
    assert "uniform: 12 errors in 100,000; error rate 6.2e-05 to 0.00021 (95 %, exact)" in result.stdout


def test_one_checkpoint_is_shown_by_stratum_with_its_first_failures(published, reprogrok, tmp_path):
    result = reprogrok("eval", published[1], "--limit", "300", "--format", "table", cwd=tmp_path)
    assert result.returncode == 0
    assert "512 unique parameters (the file claims 512)" in result.stdout
    assert "1 layer, width 7, MLP 14, 1 head, LayerNorm, tie_qkv none" in result.stdout
    assert "uniform: 0 errors in 3,000; error rate at most 0.00123 (95 %, exact)" in result.stdout
    rows = [line.split() for line in result.stdout.splitlines()]
    assert ["sum", "10^10", "300", "6", "0.00737", "to", "0.043", "0.0891"] in rows
    assert "    [sum 10^10] 3044861360 + 6955138640 = 10000000000, answered 09900000000" in result.stdout
    assert "1 errors" not in result.stdout


def test_both_methods_fail_the_same_problems_with_the_same_answers(published, reprogrok, tmp_path):
    failures = []
    for method in ("forward", "generate"):
        words = ("--suite", "stress", "--limit", "60", "--method", method, "--format", "json")
        result = reprogrok("eval", published[1], *words, cwd=tmp_path)
        suite = json.loads(result.stdout)["suites"]["stress"]
        assert suite["method"] == method
        failures.append([stratum["failures"] for stratum in suite["strata"]])
    assert failures[0] == failures[1]
    assert sum(len(columns["index"]) for columns in failures[0]) > 0


def test_our_own_checkpoint_brings_its_task(untrained, reprogrok, tmp_path):
    torch.save(untrained(), tmp_path / "x.pt")
    result = reprogrok("eval", "x.pt", "--limit", "20", "--format", "json", cwd=tmp_path)
    document = json.loads(result.stdout)
    assert (document["checkpoint"]["origin"]["experiment"], document["checkpoint"]["step"]) == ("smoke", 7)
    assert document["suites"]["uniform"]["exam"] == "addition-100k/1 (first 20 of each stratum)"
    assert document["suites"]["uniform"]["total"]["n"] == 200


def test_a_model_of_another_shape_needs_the_name_of_its_experiment(project, untrained, reprogrok, one_error):
    torch.save(untrained(3, ours=False), project / "x.pt")
    words = ("eval", "x.pt", "--limit", "5", "--format", "json")
    assert "name its task with --experiment" in one_error(reprogrok(*words, cwd=project))
    text = (project / "params.yaml").read_text("utf-8")
    head, smoke = text.split("  smoke:\n")
    short = smoke.replace("digits: 10", "digits: 3").replace("gates: [smoke]", "")
    (project / "params.yaml").write_text(f"{head}  smoke:\n{smoke}\n  short:\n{short}", "utf-8")
    result = reprogrok(*words, "--experiment", "short", cwd=project)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["suites"]["stress"]["exam"].startswith("addition-stress/1 with 3 digits")
    assert "cannot hold 10-digit addition" in one_error(reprogrok(*words, "--experiment", "smoke", cwd=project))


def test_generated_problems_are_compared_with_those_of_the_protocol(
    generated, published, reprogrok, tmp_path, one_error
):
    words = ("eval", published[0], "--suite", "uniform", "--data", "data")
    data = tmp_path / "data"
    data.mkdir()
    shutil.copy(generated / "data" / "smoke" / "exam-uniform.safetensors", data)
    sets = safetensors.torch.load_file(data / "exam-uniform.safetensors")
    sets["41"][17, 0] += 1
    safetensors.torch.save_file(sets, data / "exam-uniform.safetensors")
    line = one_error(reprogrok(*words, cwd=tmp_path))
    assert line.startswith("data/exam-uniform.safetensors 41: not the problems that the protocol draws")
    line = one_error(reprogrok(*words, "--limit", "5", cwd=tmp_path))
    assert line == "--data: a part of the problems cannot be checked: expected no --limit"

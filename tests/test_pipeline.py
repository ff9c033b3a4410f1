"""The pipeline as DVC runs it, on a small experiment in its own repository: once, not twice, and why it runs again."""

from __future__ import annotations

import io
import json
import shutil

import pytest
import torch
from small_pipeline import ROOT, Repository, lay_pipeline

from reprogrok.schema import load

STAGES = ["generate", "train", "evaluate", "compare"]


@pytest.fixture(scope="module")
def repository(made_once, untrained, tmp_path_factory):
    """The project's pipeline with three-digit smoke as its only experiment and one provided checkpoint, after repro."""
    made = made_once("pipeline", lambda folder: reproduce(folder, untrained))
    return Repository(shutil.copytree(made, tmp_path_factory.mktemp("pipeline") / "repository"))


def reproduce(folder, untrained):
    given = io.BytesIO()
    torch.save(untrained(3), given)
    fresh = Repository(folder)
    lay_pipeline(fresh, given.getvalue())
    output = fresh.dvc("repro")
    assert [stage for stage in STAGES if f"Running stage '{stage}@smoke'" not in output] == []


def test_every_stage_leaves_what_it_promises(repository):
    evaluations = load(repository.folder / "evaluations" / "smoke.json", "evaluation").data["evaluations"]
    assert [entry["checkpoint"]["path"] for entry in evaluations] == [
        "checkpoints/given.pt",
        "runs/smoke/seed-3/best.pt",
    ]
    assert sorted(path.name for path in (repository.folder / "results" / "smoke").iterdir()) == [
        *(".gitignore",) * (repository.folder / "results" / "smoke" / ".gitignore").exists(),
        *("comparison.json", "curves.csv", "curves.png", "metrics.json"),
    ]


def test_a_second_repro_runs_nothing(repository):
    lock = (repository.folder / "dvc.lock").read_bytes()
    output = repository.dvc("repro")
    assert "Running stage" not in output
    assert "Data and pipelines are up to date." in output
    assert repository.changed_stages() == []
    assert (repository.folder / "dvc.lock").read_bytes() == lock


def test_git_sees_metrics_and_plots_but_no_data_runs_or_work(repository):
    repository.run("git", "add", "--all")
    tracked = repository.run("git", "ls-files").stdout.split()
    assert {"dvc.lock", "results/smoke/metrics.json", "results/smoke/curves.csv"} <= set(tracked)
    leaked = [name for name in tracked if name.endswith((".safetensors", ".jsonl")) or name.startswith(".reprogrok")]
    assert leaked == []
    assert [name for name in tracked if name.startswith("runs/") and not name.endswith(".gitignore")] == []


def test_dvc_shows_metrics_and_plots(repository):
    metrics = json.loads(repository.dvc("metrics", "show", "--json", "results/smoke/metrics.json"))
    values = metrics[""]["data"]["results/smoke/metrics.json"]["data"]
    assert values["grok rate"]["runs/smoke"]["seeds"] == 1
    assert values["errors"]["checkpoints/given.pt"]["uniform"] == 100_000
    plots = json.loads(repository.dvc("plots", "show", "--json", "results/smoke/curves.csv"))
    assert "test_exact_match_median" in json.dumps(plots)
    assert repository.run("git", "check-ignore", "dvc_plots/index.html").returncode == 0


def test_what_a_stage_depends_on_is_data_and_parameters_never_code(repository):
    lock = load(repository.folder / "dvc.lock").data["stages"]
    assert sorted(lock) == sorted(f"{stage}@smoke" for stage in STAGES)
    files = {dependency["path"] for stage in lock.values() for dependency in stage.get("deps", [])}
    assert files == {"checkpoints", "data/smoke", "runs/smoke", "evaluations/smoke.json"}
    assert all("engine_version" in stage["params"]["params.yaml"] for stage in lock.values())


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "engine_version: 2 ",
            "engine_version: 3 ",
            ["compare@smoke", "evaluate@smoke", "generate@smoke", "train@smoke"],
        ),
        ("steps: 60\n", "steps: 61\n", ["train@smoke"]),
        ("seeds: [3]", "seeds: [3, 7]", ["generate@smoke", "train@smoke"]),
        ("    steps: 50000", "    steps: 49999", []),  # of another experiment
        ("# what bare", "# What bare", []),
    ],
)
def test_a_parameter_moves_the_stages_that_use_it_and_no_others(repository, old, new, expected):
    repository.edit(old, new)
    try:
        assert repository.changed_stages() == expected
    finally:
        repository.edit(new, old)


def test_dvc_shows_which_parameter_differs(repository):
    repository.edit("steps: 60\n", "steps: 61\n")
    try:
        difference = json.loads(repository.dvc("params", "diff", "--json"))
    finally:
        repository.edit("steps: 61\n", "steps: 60\n")
    assert difference["params.yaml"]["experiments.smoke.steps"] == {"old": 60, "new": 61, "diff": 1}


def test_the_long_experiments_are_a_pipeline_of_the_same_stages(repository):
    listed = repository.dvc("stage", "list", "--name-only", "long/dvc.yaml").split()
    experiments = ("e1", "e2", "e5", "e7", "e8", "e9", "e10")
    assert sorted(listed) == sorted(f"long/dvc.yaml:{stage}@{name}" for stage in STAGES for name in experiments)
    default, long = (load(ROOT / name).data["stages"] for name in ("dvc.yaml", "long/dvc.yaml"))
    for stage in STAGES:
        assert long[stage]["do"].pop("wdir") == ".."
        assert long[stage]["do"] == default[stage]["do"]

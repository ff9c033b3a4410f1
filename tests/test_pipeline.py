"""The pipeline as DVC runs it, on a small experiment in its own repository: once, not twice, and why it runs again."""

from __future__ import annotations

import io
import json
import shutil

import pytest
import torch
from small_pipeline import ROOT, Repository, lay_pipeline

from reprogrok.params import read_params
from reprogrok.schema import load

STAGES = ["generate", "train", "evaluate", "compare"]
MODULAR = ["generate", "train", "analyse"]
ALL = sorted([*(f"{stage}@smoke" for stage in STAGES), *(f"{stage}@v2b-mini" for stage in MODULAR)])


@pytest.fixture(scope="module")
def repository(made_once, untrained, tmp_path_factory):
    """The project's pipeline on three-digit smoke, a mini and one provided checkpoint, after repro."""
    made = made_once("pipeline", lambda folder: reproduce(folder, untrained))
    return Repository(shutil.copytree(made, tmp_path_factory.mktemp("pipeline") / "repository"))


def reproduce(folder, untrained):
    given = io.BytesIO()
    torch.save(untrained(3), given)
    fresh = Repository(folder)
    lay_pipeline(fresh, given.getvalue())
    output = fresh.dvc("repro")
    assert [stage for stage in ALL if f"Running stage '{stage}'" not in output] == []


@pytest.mark.long(quick="test_no_go_writes_its_verdict_and_starts_no_training")
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


@pytest.mark.long(quick="test_no_go_writes_its_verdict_and_starts_no_training")
def test_a_second_repro_runs_nothing(repository):
    lock = (repository.folder / "dvc.lock").read_bytes()
    output = repository.dvc("repro")
    assert "Running stage" not in output
    assert "Data and pipelines are up to date." in output
    assert repository.changed_stages() == []
    assert (repository.folder / "dvc.lock").read_bytes() == lock


@pytest.mark.long(quick="test_no_go_writes_its_verdict_and_starts_no_training")
def test_git_sees_metrics_and_plots_but_no_data_runs_or_work(repository):
    repository.run("git", "add", "--all")
    tracked = repository.run("git", "ls-files").stdout.split()
    assert {"dvc.lock", "results/smoke/metrics.json", "results/smoke/curves.csv"} <= set(tracked)
    leaked = [name for name in tracked if name.endswith((".safetensors", ".jsonl")) or name.startswith(".reprogrok")]
    assert leaked == []
    assert [name for name in tracked if name.startswith("runs/") and not name.endswith(".gitignore")] == []


@pytest.mark.long(quick="test_no_go_writes_its_verdict_and_starts_no_training")
def test_dvc_shows_metrics_and_plots(repository):
    metrics = json.loads(repository.dvc("metrics", "show", "--json", "results/smoke/metrics.json"))
    values = metrics[""]["data"]["results/smoke/metrics.json"]["data"]
    assert values["grok rate"]["runs/smoke"]["seeds"] == 1
    assert values["errors"]["checkpoints/given.pt"]["uniform"] == 100_000
    plots = json.loads(repository.dvc("plots", "show", "--json", "results/smoke/curves.csv"))
    assert "test_exact_match_median" in json.dumps(plots)
    assert repository.run("git", "check-ignore", "dvc_plots/index.html").returncode == 0


@pytest.mark.long(quick="test_no_go_writes_its_verdict_and_starts_no_training")
def test_what_a_stage_depends_on_is_data_and_parameters_never_code(repository):
    lock = load(repository.folder / "dvc.lock").data["stages"]
    assert sorted(lock) == ALL
    files = {dependency["path"] for stage in lock.values() for dependency in stage.get("deps", [])}
    mini = {"data/v2b-mini", "runs/v2b-mini"}
    assert files == {"checkpoints", "data/smoke", "runs/smoke", "evaluations/smoke.json"} | mini
    assert all("engine_version" in stage["params"]["params.yaml"] for stage in lock.values())


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "engine_version: 2 ",
            "engine_version: 3 ",
            ALL,
        ),
        ("steps: 60\n", "steps: 61\n", ["train@smoke"]),
        ("seeds: [3]", "seeds: [3, 7]", ["generate@smoke", "train@smoke"]),
        ("    steps: 400000", "    steps: 399999", []),  # of another experiment
        ("# what bare", "# What bare", []),
    ],
)
@pytest.mark.long(quick="test_no_go_writes_its_verdict_and_starts_no_training")
def test_a_parameter_moves_the_stages_that_use_it_and_no_others(repository, old, new, expected):
    repository.edit(old, new)
    try:
        assert repository.changed_stages() == expected
    finally:
        repository.edit(new, old)


@pytest.mark.long(quick="test_no_go_writes_its_verdict_and_starts_no_training")
def test_dvc_shows_which_parameter_differs(repository):
    repository.edit("steps: 60\n", "steps: 61\n")
    try:
        difference = json.loads(repository.dvc("params", "diff", "--json"))
    finally:
        repository.edit("steps: 61\n", "steps: 60\n")
    assert difference["params.yaml"]["experiments.smoke.steps"] == {"old": 60, "new": 61, "diff": 1}


@pytest.mark.long(quick="test_no_go_writes_its_verdict_and_starts_no_training")
def test_the_long_experiments_are_a_pipeline_of_the_same_stages(repository):
    listed = repository.dvc("stage", "list", "--name-only", "long/dvc.yaml").split()
    params = read_params(ROOT / "params.yaml")
    rest = {name: entry for name, entry in params.experiments.items() if name not in (*params.pipeline, "smoke")}
    stages = {name: MODULAR if entry.task.name == "modular" else STAGES for name, entry in rest.items()}
    expected = [f"long/dvc.yaml:{stage}@{name}" for name in rest for stage in ("gate", *stages[name])]
    assert sorted(listed) == sorted(expected)
    default, long = (load(ROOT / name).data["stages"] for name in ("dvc.yaml", "long/dvc.yaml"))
    assert long["train"]["do"]["deps"].pop() == "results/${item}/go"
    for stage in dict.fromkeys((*STAGES, *MODULAR)):
        assert long[stage]["do"].pop("wdir") == ".."
        # The published window of an analysis is for runs as long as those of its authors.
        short = json.loads(json.dumps(default[stage]["do"]).replace("--window 500", "--window 10000"))
        assert long[stage]["do"] == short


@pytest.mark.long(quick="test_no_go_writes_its_verdict_and_starts_no_training")
def test_a_mini_leaves_its_analysis(repository):
    evaluations = load(repository.folder / "evaluations" / "v2b-mini.json", "evaluation").data
    assert set(evaluations["suites"]) == {"held-out", "train"}
    written = load(repository.folder / "evaluations" / "v2b-mini" / "post_analysis.json", "post_analysis").data
    # Twenty-one updates teach nothing, so nothing can be said yet; the ceiling of the split is in the document.
    assert written["reprogrok"]["regime"]["regime"] == "undecided"
    header = (repository.folder / "results" / "v2b-mini" / "curves.csv").read_text("utf-8").splitlines()[0]
    assert {"step", "test_accuracy_median", "train_accuracy_median", "final_layer_rank_median"} <= set(
        header.split(",")
    )


def test_every_long_run_is_registered_with_the_gate_in_front_of_it():
    gates = load(ROOT / "long/dvc.yaml").data["vars"][1]["gate_of"]
    params = read_params(ROOT / "params.yaml")
    assert {name: (gate,) for name, gate in gates.items()} == {name: params.experiments[name].gates for name in gates}


@pytest.fixture
def laid(tmp_path):
    """The project as it is, nothing made yet."""
    fresh = Repository(tmp_path / "laid")
    lay_pipeline(fresh, b"no checkpoint")
    return fresh


def test_no_go_writes_its_verdict_and_starts_no_training(laid):
    stopped = laid.run("dvc", "repro", "long/dvc.yaml:train@v2")
    assert stopped.returncode != 0
    assert "failed to reproduce 'long/dvc.yaml:gate@v2'" in stopped.stderr
    assert "train@v2" not in stopped.stdout
    verdict = load(laid.folder / "results" / "v2" / "preflight.json", "preflight").data
    assert (verdict["verdict"], verdict["exit_code"]) == ("NO_GO", 1)
    assert not (laid.folder / "results" / "v2" / "go").exists()
    assert not (laid.folder / "runs").exists()
    # The other gates do not wait for it.
    assert "GO" in laid.dvc("repro", "--keep-going", "--dry", "long/dvc.yaml:gate@v1")


@pytest.mark.long(quick="test_no_go_writes_its_verdict_and_starts_no_training")
def test_a_go_lets_the_training_start_and_is_taken_back_when_the_experiment_changes(laid):
    results = laid.folder / "results" / "d10-1"
    laid.dvc("repro", "long/dvc.yaml:gate@d10-1")
    assert load(results / "preflight.json", "preflight").data["verdict"] == "GO"
    assert (results / "go").read_text("utf-8") == "GO\n"
    assert "Data and pipelines are up to date." in laid.dvc("status", "long/dvc.yaml:gate@d10-1")
    text = (laid.folder / "params.yaml").read_text("utf-8")
    before, entry = text.split("  d10-1:\n")
    unfair = "split: {kind: result_range, seed: 42, train: [0, 48], test: [48, 97]}"
    entry = entry.replace("split: {kind: random, seed: 42, fraction: 0.5}", unfair, 1)
    (laid.folder / "params.yaml").write_text(f"{before}  d10-1:\n{entry}", "utf-8")
    assert laid.run("dvc", "repro", "long/dvc.yaml:train@d10-1").returncode != 0
    assert load(results / "preflight.json", "preflight").data["verdict"] == "NO_GO"
    assert not (results / "go").exists()
    assert not (laid.folder / "runs").exists()


def test_a_verdict_in_other_words_retrains_nothing():
    depends = {
        dependency
        for stage in ("generate", "train", "evaluate", "compare", "analyse")
        for dependency in load(ROOT / "long/dvc.yaml").data["stages"][stage]["do"].get("deps", [])
    }
    assert "results/${item}/go" in depends
    assert not any("preflight.json" in dependency for dependency in depends)

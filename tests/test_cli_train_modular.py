"""`reprogrok train` of a modular experiment: what it leaves behind, and what is wrong in one line with its place."""

from __future__ import annotations

import json
import shutil

import pytest
from test_cli_train import contents

from reprogrok import record
from reprogrok.formats.checkpoints import load_checkpoint
from reprogrok.metrics.registry import ANALYSED
from reprogrok.spec.task import ModularTask, SplitSpec

MINI = """\
engine_version: 1
device: cpu
pipeline: [mini]
experiments:
  mini:
    title: a small one
    source: nowhere
    task:
      name: modular
      operation: add
      modulus: 11
      format: llmc8
      loss: all
      split: {kind: random, seed: 42, fraction: 0.5}
    model: {n_layer: 2, d_model: 8, n_head: 2, d_ff: 16, bias: true, dropout: 0.1, initial_biases: uniform}
    optimiser: {lr: 0.01, betas: [0.9, 0.98], eps: 1e-8, weight_decay: 0, clip: null}
    schedule: {warmup: 0, floor: 1}
    batch: {size: 16, order: reshuffled}
    steps: 60
    evaluate_every: {metrics: 20, early: {every: 5, until: 10}, analysis: 20, checkpoints: 40}
    seeds: [0, 1]
"""
STEPS = (0, 5, 10, 20, 40, 59)


def changed(text, *changes):
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


def lay(folder, text):
    """A project with one experiment, `mini`, and no gates."""
    (folder / "audit" / "criteria").mkdir(parents=True, exist_ok=True)
    (folder / "params.yaml").write_text(text, "utf-8")
    return folder


@pytest.fixture(scope="module")
def mini(made_once, reprogrok):
    """A project with the finished run of `mini`; not to be changed."""

    def make(folder):
        result = reprogrok("train", "mini", "--workers", "1", cwd=lay(folder, MINI))
        assert result.returncode == 0, result.stderr
        assert "right answers to all 61 held-out equations" in result.stdout

    return made_once("mini", make)


def test_every_metric_has_a_definition_and_every_definition_a_metric(mini):
    spec = json.loads((mini / "runs/mini" / record.SPEC).read_bytes())
    rows = [json.loads(line) for line in (mini / "runs/mini" / record.METRICS).read_text("utf-8").splitlines()]
    assert [(row["seed"], row["step"]) for row in rows] == [(seed, step) for seed in (0, 1) for step in STEPS]
    for row in rows:
        expected = set(spec["definitions"]) - (set() if row["step"] in {0, 20, 40, 59} else set(ANALYSED))
        assert set(row) == {"seed", "step"} | expected, row["step"]
    assert spec["facts"] == {
        "positions": 8, "width": 8, "classes": 11, "train_examples": 60, "test_examples": 61, "steps": 60
    }  # fmt: skip
    read = record.read(mini / "runs/mini")
    assert read.definitions["test_accuracy"] == "argmax/answer"
    assert read.replicas[0]["final_layer_rank"].steps == (0, 20, 40, 59)


def test_the_experiment_says_which_checkpoints_are_published(mini):
    for seed in (0, 1):
        folder = mini / "runs/mini" / f"seed-{seed}"
        assert sorted(path.name for path in folder.iterdir()) == ["best.pt", "last.pt", "step-0.pt", "step-40.pt"]
        last = load_checkpoint(folder / "last.pt")
        assert (last.step, last.origin.experiment, last.origin.seed) == (59, "mini", seed)
        assert last.origin.task == ModularTask("add", 11, "llmc8", "all", SplitSpec("random", 42, fraction=0.5))
    summary = json.loads((mini / "runs/mini" / record.SUMMARY).read_bytes())
    scores = record.read(mini / "runs/mini").replicas[1]["test_accuracy"]
    best = summary["replicas"][1]
    assert best["best_score"] == max(scores.values)
    assert best["best_step"] == scores.steps[scores.values.index(max(scores.values))]
    assert summary["score"] == "test_accuracy"


def test_stopped_in_the_middle_of_an_epoch_and_gone_on_it_is_the_same_run(mini, tmp_path, reprogrok):
    folder = lay(tmp_path / "early", MINI)
    result = reprogrok("train", "mini", "--workers", "1", "--stop-at", "43", cwd=folder)  # epochs of four batches
    assert result.returncode == 0, result.stderr
    spec = json.loads((folder / "runs/mini" / record.SPEC).read_bytes())
    assert (spec["stopped_at"], spec["checkpoints"]["steps"]) == (43, [0, 40])
    scores = record.read(folder / "runs/mini").replicas[0]
    assert scores["test_accuracy"].steps == (0, 5, 10, 20, 40, 42)
    assert scores["train_loss"].steps == (0, 5, 10, 20, 40)
    result = reprogrok("train", "mini", "--workers", "1", cwd=folder)
    assert result.returncode == 0, result.stderr
    assert contents(folder / "runs/mini") == contents(mini / "runs/mini")


def test_only_the_checkpoints_that_are_asked_for_are_another_matter(mini, tmp_path, reprogrok):
    folder = shutil.copytree(mini, tmp_path / "project")
    lay(folder, changed(MINI, (", checkpoints: 40", "")))
    result = reprogrok("train", "mini", "--workers", "1", "--checkpoints", "10", cwd=folder)
    assert result.returncode == 0, result.stderr
    ours, plain = contents(folder / "runs/mini"), contents(mini / "runs/mini")
    assert {name for name in ours if name.endswith(".pt") and "step" in name} == {
        "seed-0/step-10.pt",
        "seed-1/step-10.pt",
    }
    same = {name for name in plain if plain[name] == ours.get(name)}
    assert same >= {record.METRICS, *(f"seed-{seed}/{name}.pt" for seed in (0, 1) for name in ("best", "last"))}
    line = reprogrok("train", "mini", "--checkpoints", "13", cwd=folder).stderr
    assert "--checkpoints: not an evaluation step (the nearest is 10)" in line


TASK = "$.experiments.mini.task"
CASES = {
    "an unknown operation": (
        ("operation: add", "operation: ad"),
        10,
        f"{TASK}.operation: unknown operation",
        "did you",
    ),
    "a modulus that is no prime": (
        ("operation: add\n      modulus: 11", "operation: div\n      modulus: 12"),
        11,
        f"{TASK}.modulus: expected a prime, which div needs",
        "found 12",
    ),
    "no modulus": (("      modulus: 11\n", ""), 8, f"{TASK}.modulus: expected a modulus from 2 to 1,000", "found none"),
    "a modulus of S5": (("operation: add", "operation: s5"), 11, f"{TASK}.modulus: expected none, for s5", "found 11"),
}
OF_THE_SPLIT = {
    "an empty side": (("fraction: 0.5", "fraction: 0.001"), 14, f"{TASK}.split.fraction: the training side", "empty"),
    "a range beyond the results": (
        ("kind: random, seed: 42, fraction: 0.5", "kind: result_range, seed: 42, train: [0, 5], test: [5, 12]"),
        14,
        f"{TASK}.split.test: expected [first, end]",
        "found [5, 12]",
    ),
    "an operand that is none": (
        ("kind: random, seed: 42, fraction: 0.5", "kind: operand_holdout, seed: 42, held: [11]"),
        14,
        f"{TASK}.split.held: expected one or more different operands from 0 to 10",
        "found [11]",
    ),
    "a format that spells out no modulus": (
        ("operation: add\n      modulus: 11\n      format: llmc8", "operation: s5\n      format: text9"),
        11,
        f"{TASK}.format: expected a format without the modulus",
        "found text9",
    ),
}
OF_THE_BATCH = {
    "a batch that cannot be filled": (
        ("size: 16", "size: 61"),
        18,
        "$.experiments.mini.batch.size: a batch that cannot be filled: expected at most 60",
        "found 61",
    )
}
ALL = CASES | OF_THE_SPLIT | OF_THE_BATCH
COMMANDS = [
    *((case, "train mini --dry-run") for case in ALL),
    ("an unknown operation", "list"),
    ("a modulus that is no prime", "split mini"),
    ("an operand that is none", "floors mini"),
    ("an empty side", "generate mini"),
]


@pytest.mark.parametrize(("case", "words"), COMMANDS)
def test_what_only_the_data_can_find_is_one_line_with_its_place(tmp_path, reprogrok, one_error, case, words):
    change, line, start, end = ALL[case]
    folder = lay(tmp_path, changed(MINI, change))
    before = sorted(folder.rglob("*"))
    error = one_error(reprogrok(*words.split(), cwd=folder))
    assert error.startswith(f"params.yaml:{line} {start}"), error
    assert end in error
    assert sorted(folder.rglob("*")) == before, "nothing was written"

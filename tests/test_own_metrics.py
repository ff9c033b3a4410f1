"""A metric of another package: what it is given, what is checked, and a run that trains on a package's three offers."""

from __future__ import annotations

import json
import math
import os
import shutil
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import own_package
import pytest
import torch

from reprogrok.errors import InputError
from reprogrok.metrics import own_metrics
from reprogrok.metrics.logged import definitions_of
from reprogrok.metrics.own_measurement import answer_logits, value_of
from reprogrok.metrics.own_metrics import Answers, Metric, find_metric, own_definitions
from reprogrok.metrics.registry import METRICS, bounds
from reprogrok.model.decoder import logits
from reprogrok.model.initialise import initial_weights
from reprogrok.params import read_params
from reprogrok.spec.model import ModelSpec
from reprogrok.spec.task import ModularTask, SplitSpec
from reprogrok.tasks import packages
from reprogrok.tasks.modular import Modular
from reprogrok.tasks.modular_tokens import token_columns
from reprogrok.tasks.splits import make_split
from reprogrok.train.task_choice import training_task_of

MEAN_OPERAND = Metric("mean_operand", "here/mean-operand/1", "mean of a", lambda answers: answers.a_N.mean(), 0, 4)
MISNAMED = Metric("other", "here/other/1", "another", lambda _: 0.0)
TASK = ModularTask("add", 5, "power5", "answer", SplitSpec("random", 7, fraction=0.6))
MODEL = ModelSpec(n_layer=1, d_model=8, n_head=2, d_ff=16, max_seq_len=4, vocab_size=7)
ANSWERS = Answers(np.zeros((3, 7), dtype=np.float32), *(np.arange(3) for _ in range(3)))


@pytest.fixture
def offered(monkeypatch):
    """Let these metrics be installed: (name, value) pairs."""

    def offer(*entries):
        found = [EntryPoint(name, value, own_metrics.GROUP) for name, value in entries]
        monkeypatch.setattr(packages, "entry_points", lambda group: found if group == own_metrics.GROUP else [])

    return offer


def experiment(read, metrics):
    text = own_package.params().replace("max, modulus: 11", "add, modulus: 5").replace("metrics: [near_miss]", metrics)
    split = "split: {kind: small-sums, seed: 42, settings: {limit: 12}}"
    assert split in text
    return read(
        text.replace(split, "split: {kind: random, seed: 7, fraction: 0.6}").replace("size: 32", "size: 5")
    ).experiments["max-11"]


def test_a_run_measures_it_on_both_sides_for_every_replica(offered, read):
    offered(("mean_operand", f"{__name__}:MEAN_OPERAND"))
    asked = experiment(read, "metrics: [mean_operand]")
    task = training_task_of(asked, (0, 1), torch.device("cpu"))
    weights = {
        name: torch.stack([initial_weights(asked.model, seed, "zero")[name] for seed in (0, 1)])
        for name in initial_weights(asked.model, 0, "zero")
    }
    found = task.evaluate(weights, analyse=False)
    equations, split = Modular("add", 5, "power5").equations(), make_split(asked.task)
    for side, rows_N in (("train", split.train_N), ("test", split.test_N)):
        assert found[f"{side}_mean_operand"].tolist() == [equations.a_N[rows_N].mean()] * 2
    assert set(found) <= set(definitions_of(asked))
    assert definitions_of(asked)["test_mean_operand"] == "here/mean-operand/1"


def test_the_logits_are_those_of_the_answer_row_by_row():
    task = Modular("add", 5, "power5")
    weights = {name: tensor.unsqueeze(0) for name, tensor in initial_weights(MODEL, 0).items()}
    equations = task.equations()
    tokens_TN = token_columns(task, torch.tensor(equations.a_N), torch.tensor(equations.b_N))
    found_RNV = answer_logits(MODEL, weights, tokens_TN, task.first_answer, rows=4)
    assert (found_RNV.shape, found_RNV.dtype) == ((1, 25, 7), torch.float32)
    for row in (0, 7, 24):
        alone_RVTB = logits(MODEL, weights, tokens_TN[None, :-1, row : row + 1], 0)
        torch.testing.assert_close(found_RNV[0, row], alone_RVTB[0, :, task.first_answer, 0])


def test_criteria_know_its_bounds_but_do_not_list_it(offered):
    offered(("mean_operand", f"{__name__}:MEAN_OPERAND"))
    found = bounds("test_mean_operand", "here/mean-operand/1", {})
    assert (found.low, found.high, found.arithmetic) == (0, 4, "its package says that it lies in [0, 4]")
    assert "test_mean_operand" in METRICS
    assert "mean_operand" not in METRICS
    assert "test_mean_operand" not in list(METRICS)
    assert "test_other" not in METRICS


def test_no_package_is_asked_for_what_is_built_in(monkeypatch):
    def asked(**_):
        raise AssertionError("entry points were read")

    monkeypatch.setattr(packages, "entry_points", asked)
    assert METRICS["test_accuracy"]
    assert len(METRICS) == len(list(METRICS))


@pytest.mark.parametrize("value", [0, 4, 2.5, np.float32(1), np.int64(2), math.nan])
def test_a_number_within_its_bounds_is_taken(value):
    taken = value_of(Metric("m", "m/1", "m", lambda _: value, 0, 4), ANSWERS)
    assert type(taken) is float
    assert taken == value or (math.isnan(taken) and math.isnan(value))


@pytest.mark.parametrize(
    ("measure", "message"),
    [
        (lambda _: 4.1, "expected a number from 0 to 4, as it promises, found 4.1"),
        (lambda _: -1, "expected a number from 0 to 4, as it promises, found -1"),
        (lambda _: math.inf, "expected a number from 0 to 4, as it promises, found inf"),
        (lambda _: "1", "expected a number, found str"),
        (lambda _: None, "expected a number, found NoneType"),
        (lambda answers: answers.a_N * 1.0, "expected a number, found ndarray"),
    ],
)
def test_what_a_strangers_metric_gives_is_checked(measure, message):
    with pytest.raises(InputError) as error:
        value_of(Metric("m", "m/1", "m", measure, 0, 4), ANSWERS)
    assert str(error.value) == f"$.metrics: metric m: {message}"


def test_an_error_in_a_strangers_metric_is_one_line():
    with pytest.raises(InputError) as error:
        value_of(Metric("m", "m/1", "m", lambda answers: answers.typo), ANSWERS)
    assert str(error.value).startswith("$.metrics: metric m cannot be measured (AttributeError: ")
    assert "\n" not in str(error.value)


def test_a_replica_that_diverged_is_not_measured():
    broken = Answers(np.full((3, 7), np.nan, dtype=np.float32), *(np.arange(3) for _ in range(3)))
    assert math.isnan(value_of(Metric("m", "m/1", "m", lambda _: 1 / 0), broken))


def test_bounds_that_are_no_interval_are_refused():
    with pytest.raises(InputError, match="metric m: expected low <= high, found 4 and 0"):
        Metric("m", "m/1", "m", lambda _: 0, 4, 0)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        (
            [],
            (
                "$.metrics: unknown metric: expected an installed package that offers it (reprogrok.metrics), "
                "found mean_operand"
            ),
        ),
        (
            [("mean", f"{__name__}:MEAN_OPERAND")],
            "$.metrics: unknown metric: expected one of mean, or an installed package",
        ),
        ([("mean_operand", f"{__name__}:MISNAMED")], "metric mean_operand of a package"),
        ([("mean_operand", f"{__name__}:MODEL")], "metric mean_operand of a package"),
        (
            [("mean_operand", "no_such_module_here:X")],
            "metric mean_operand of a package (no_such_module_here:X) cannot",
        ),
    ],
)
def test_an_unknown_metric_and_a_broken_package_are_one_clear_error(offered, entries, message):
    offered(*entries)
    with pytest.raises(InputError) as error:
        find_metric("mean_operand")
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


def test_a_name_of_a_record_is_not_taken_twice(offered):
    offered(("mean_operand", f"{__name__}:MEAN_OPERAND"))
    with pytest.raises(InputError, match="this name is taken: expected a metric by another name, found test_mean_op"):
        own_definitions(["mean_operand"], {"test_mean_operand": "ours"})


def test_addition_has_no_metrics_of_packages(project):
    text = (project / "params.yaml").read_text("utf-8").replace("    gates: [smoke]", "    metrics: [near_miss]")
    (project / "params.yaml").write_text(text, "utf-8")
    with pytest.raises(InputError, match=r"experiments\.smoke\.metrics: only of modular tasks"):
        read_params(project / "params.yaml")


CRITERIA = """
format: reprogrok.criteria/1
gate: max-11
title: a gate that speaks of a package's metric
source: this test
criteria:
  - id: some-are-near
    title: Never are all answers wrong by one
    source: this test
    metric: test_near_miss
    definition: my-lab/near-miss/1
    window: {from: 0, to: 40}
    coverage: {first: 0, every: 20}
    conditions:
      - always: {less_than: 1}
"""


@pytest.fixture(scope="module")
def with_package(made_once, reprogrok):
    """A folder with the document's package in `installed` and its experiment trained; not to be changed."""

    def make(folder: Path):
        own_package.install(folder / "installed")
        (folder / "params.yaml").write_text(own_package.params(), "utf-8")
        (folder / "audit" / "criteria").mkdir(parents=True)
        (folder / "audit" / "criteria" / "max-11.yaml").write_text(CRITERIA, "utf-8")
        result = reprogrok("train", "max-11", "--workers", "1", cwd=folder, PYTHONPATH=path_with(folder / "installed"))
        assert result.returncode == 0, result.stderr

    return made_once("with-package", make)


def path_with(folder: Path) -> str:
    return os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])


def test_the_package_of_the_document_is_short_and_trains(with_package):
    assert len(own_package.block("my_lab.py").splitlines()) < 40
    spec = json.loads((with_package / "runs/max-11/spec.json").read_text("utf-8"))
    assert spec["packages"] == {
        "operation max": "my-lab 0.1 (my_lab:MAXIMUM)",
        "split small-sums": "my-lab 0.1 (my_lab:small_sums)",
        "metric near_miss": "my-lab 0.1 (my_lab:NEAR_MISS)",
    }
    for line in json.dumps(spec["packages"], indent=2).splitlines()[1:-1]:
        assert f"    {line}\n" in own_package.DOCUMENT.read_text("utf-8"), "the document shows what a record says"
    assert spec["definitions"]["test_near_miss"] == "my-lab/near-miss/1"
    small = [(a, b) for a in range(11) for b in range(11) if a + b < 12]
    assert spec["facts"]["train_examples"] == len(small)
    assert spec["facts"]["test_examples"] == 121 - len(small)
    rows = [json.loads(line) for line in (with_package / "runs/max-11/metrics.jsonl").read_text("utf-8").splitlines()]
    assert [(row["seed"], row["step"]) for row in rows] == [(seed, step) for seed in (0, 1) for step in (0, 20, 40)]
    assert all(0 <= row[f"{side}_near_miss"] <= 1 for row in rows for side in ("train", "test"))


def test_the_metric_counts_what_a_plain_loop_over_the_checkpoint_counts(with_package):
    from reprogrok.formats.checkpoints import load_checkpoint

    rows = [json.loads(line) for line in (with_package / "runs/max-11/metrics.jsonl").read_text("utf-8").splitlines()]
    checkpoint = load_checkpoint(with_package / "runs/max-11/seed-1/last.pt")
    weights = {name: tensor.unsqueeze(0) for name, tensor in checkpoint.weights.items()}
    near = held_out = 0
    for a in range(11):
        for b in range(11):
            if a + b >= 12:
                tokens = torch.tensor([a, 11, b, 12]).reshape(1, 4, 1)
                given = int(logits(checkpoint.spec, weights, tokens, 3)[0, :, 0, 0].argmax())
                near += abs(given - max(a, b)) == 1
                held_out += 1
    assert rows[-1]["test_near_miss"] == near / held_out


@pytest.mark.long(quick="test_the_package_of_the_document_is_short_and_trains")
def test_every_command_takes_such_a_run(with_package, reprogrok, tmp_path):
    folder = shutil.copytree(with_package, tmp_path / "project")
    installed = {"PYTHONPATH": path_with(folder / "installed")}
    listed = reprogrok("list", cwd=folder, **installed, COLUMNS="120")
    assert listed.returncode == 0, listed.stderr
    for words in (
        "operation   max ",
        "split       small-sums ",
        "metric      near_miss ",
        "my-lab 0.1 (my_lab:NEAR_MISS)",
    ):
        assert words in listed.stdout
    for command, said in (
        (("split", "max-11"), "small-sums, limit 12, seed 42"),
        (("sanity", "max-11"), "GO (exit 0)"),
        (("analyze", "runs/max-11"), "wrote runs/max-11/post_analysis-seed-0.json"),
        (("plot", "runs/max-11", "--metric", "test_near_miss", "--csv", "curves.csv"), "wrote curves.csv"),
        (("eval", "runs/max-11/seed-0/last.pt"), ""),
    ):
        result = reprogrok(*command, cwd=folder, **installed)
        assert result.returncode in {0, 1} if command[0] == "eval" else result.returncode == 0, (command, result.stderr)
        assert said in result.stdout, command


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (("eval", "runs/max-11/seed-0/last.pt"), "unknown split: expected one of random, three_way, "),
        (("train", "max-11", "--dry-run"), "params.yaml:8 $.experiments.max-11.task.operation: unknown operation: "),
        (("sanity", "max-11"), "audit/criteria/max-11.yaml:10 $.criteria[0].metric: unknown metric: expected one of "),
    ],
)
def test_without_the_package_each_command_says_so_in_one_line(with_package, reprogrok, one_error, command, message):
    assert message in one_error(reprogrok(*command, cwd=with_package))


def test_a_package_that_cannot_be_imported_is_one_line(with_package, reprogrok, one_error, tmp_path):
    broken = own_package.install(tmp_path, module="raise RuntimeError('by hand')\n")
    line = one_error(reprogrok("split", "max-11", cwd=with_package, PYTHONPATH=path_with(broken)))
    assert line.endswith("operation max of package my-lab (my_lab:MAXIMUM) cannot be loaded: RuntimeError: by hand")

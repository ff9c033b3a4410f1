"""A split of another package: asked for by name and settings, drawn twice, checked, and named where it is missing."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest

from reprogrok.errors import InputError
from reprogrok.params import read_params
from reprogrok.spec.task import ModularTask, OwnSplitSpec, modular_task
from reprogrok.tasks import packages, splits
from reprogrok.tasks.split_audit import audit_split
from reprogrok.tasks.split_modular import SplitModular
from reprogrok.tasks.split_tables import split_text
from reprogrok.tasks.splits import make_split, own_splits

ROOT = Path(__file__).resolve().parents[1]
SETTINGS = {"limit": 4}
TASK = ModularTask("add", 5, "power5", "answer", OwnSplitSpec("small-sums", 7, settings=SETTINGS))
PAIRS = [(a, b) for a in range(5) for b in range(5)]
SMALL = [index for index, (a, b) in enumerate(PAIRS) if a + b < 4]

EXPERIMENT = """
engine_version: 2
device: cpu
pipeline: [own]
experiments:
  own:
    title: a split of another package
    source: "This test"
    task: {name: modular, operation: add, modulus: 5, format: power5, loss: answer, split: SPLIT}
    model: {n_layer: 1, d_model: 8, n_head: 2, d_ff: 16}
    optimiser: {lr: 0.001, betas: [0.9, 0.98], eps: 1e-8, weight_decay: 0, clip: null}
    schedule: {warmup: 0, floor: 1}
    batch: {size: 4, order: reshuffled}
    steps: 11
    evaluate_every: 10
    seeds: [0]
"""


def small_sums(equations, settings, draw):
    """Pairs with a small sum train.

    More words.
    """
    small_N = equations.a_N + equations.b_N < settings["limit"]
    return draw.permutation(np.flatnonzero(small_N)), np.flatnonzero(~small_N)


@pytest.fixture
def offered(monkeypatch):
    """Let these splits be installed: name -> function of this module."""

    def offer(**functions):
        for name, function in functions.items():
            monkeypatch.setitem(globals(), f"OFFERED_{name}", function)
        found = [EntryPoint(name.replace("_", "-"), f"{__name__}:OFFERED_{name}", splits.GROUP) for name in functions]
        monkeypatch.setattr(packages, "entry_points", lambda group: found if group == splits.GROUP else [])

    return offer


def test_the_function_is_called_with_equations_settings_and_a_generator_of_the_seed(offered):
    offered(small_sums=small_sums)
    split = make_split(TASK)
    assert split.train_N.tolist() == np.random.RandomState(7).permutation(SMALL).tolist()
    assert split.test_N.tolist() == [index for index in range(25) if index not in SMALL]
    assert not len(split.validation_N)
    assert own_splits() == {"small-sums": "Pairs with a small sum train."}


def test_what_asks_for_a_split_counts_and_names_one_of_a_package(offered):
    offered(small_sums=small_sums)
    audit = audit_split(TASK)
    assert (audit.train, audit.test) == (10, 15)
    assert SplitModular.of(TASK).split_name == "small-sums limit 4 seed 7"
    assert split_text(TASK.split) == "small-sums, limit 4, seed 7"


def test_a_third_array_validates(offered):
    offered(small_sums=lambda *_: ([0, 1], [2, 3], [4]))
    assert make_split(TASK).validation_N.tolist() == [4]


def counting(*_):
    counting.calls += 1
    return [counting.calls], [0]


def spoils(_equations, settings, _draw):
    settings["limit"] += 1
    return [settings["limit"]], [0]


def test_settings_are_the_same_at_every_call(offered):
    offered(small_sums=spoils)
    assert make_split(TASK).train_N.tolist() == [5]
    assert SETTINGS == {"limit": 4}


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda *_: ([0], []), ": the test side is empty"),
        (lambda *_: ([], [0]), ": the training side is empty"),
        (lambda *_: ([0, 7], [1, 7]), ": 1 equations are in it twice, the first is that of (1, 2)"),
        (lambda *_: ([0, 0], [1]), ": 1 equations are in it twice, the first is that of (0, 0)"),
        (lambda *_: ([0, 25], [1]), ": expected rows 0 to 24, found 0 to 25"),
        (lambda *_: ([-1], [1]), ": expected rows 0 to 24, found -1 to -1"),
        (lambda *_: ([0],), ": expected training and test rows, maybe validation rows, found 1"),
        (
            lambda e, *_: (e.a_N > 2, e.a_N <= 2),
            ": expected row numbers (np.flatnonzero makes them of bools), found bool of shape (25,)",
        ),
        (lambda *_: None, " cannot be drawn (TypeError: 'NoneType' object is not iterable)"),
        (lambda _, settings, __: settings["typo"], " cannot be drawn (KeyError: 'typo')"),
        (counting, " gave two different splits for one seed: it must draw all randomness from `draw`"),
    ],
)
def test_what_a_strangers_split_gives_is_checked(offered, function, message):
    counting.calls = 0
    offered(small_sums=function)
    with pytest.raises(InputError) as error:
        make_split(TASK)
    assert str(error.value) == f"$.task.split: split small-sums of a package ({__name__}:OFFERED_small_sums){message}"


def test_what_is_no_function_is_refused(offered):
    offered(small_sums=SETTINGS)
    with pytest.raises(InputError, match=r"split small-sums of a package .*: expected a function, found dict"):
        make_split(TASK)


def test_without_the_package_the_task_is_read_and_its_data_refused_in_one_line(offered):
    offered()
    with pytest.raises(InputError) as error:
        make_split(modular_task(TASK_DATA))
    known = "random, three_way, result_range, operand_holdout, twin_closed"
    expected = f"one of {known}, or an installed package that offers it (reprogrok.splits)"
    assert str(error.value) == f"$.task.split.kind: unknown split: expected {expected}, found small-sums"


def test_a_built_in_kind_cannot_be_offered(offered):
    offered(random=small_sums)
    with pytest.raises(InputError, match="offers split random, which is built in; it needs another name"):
        own_splits()


TASK_DATA = {
    "name": "modular",
    "operation": "add",
    "modulus": 5,
    "format": "power5",
    "loss": "answer",
    "split": {"kind": "small-sums", "seed": 7, "settings": {"limit": 4}},
}


def test_params_yaml_asks_for_it_by_kind_and_settings(read):
    params = read(EXPERIMENT.replace("SPLIT", "{kind: small-sums, seed: 7, settings: {limit: 4}}"))
    assert params.experiments["own"].task == TASK == modular_task(TASK_DATA)
    assert params.experiments["own"].as_dict()["task"]["split"] == {
        **dict.fromkeys(("fraction", "train", "test", "held")),
        **TASK_DATA["split"],
    }


def test_settings_decide_the_digest(read):
    digests = {
        read(EXPERIMENT.replace("SPLIT", split)).experiments["own"].digest()
        for split in (
            "{kind: small-sums, seed: 7, settings: {limit: 4}}",
            "{kind: small-sums, seed: 7, settings: {limit: 5}}",
            "{kind: random, seed: 7, fraction: 0.5}",
        )
    }
    assert len(digests) == 3


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ("{kind: small-sums, seed: 7}", "$.experiments.own.task.split.kind: expected one of random, three_way"),
        (
            "{kind: random, seed: 7, settings: {}}",
            "$.experiments.own.task.split.settings: only of splits that a package offers: expected no settings of rand",
        ),
        ("{kind: mine, seed: 7, settings: {}, fraction: 0.5}", "$.experiments.own.task.split.fraction: unknown field"),
        (
            "{kind: mine, seed: 7, settings: 3}",
            "$.experiments.own.task.split.settings: expected a value of type object",
        ),
    ],
)
def test_a_split_of_neither_kind_is_refused(tmp_path, split, message):
    path = tmp_path / "params.yaml"
    path.write_text(EXPERIMENT.replace("SPLIT", split), "utf-8")
    with pytest.raises(InputError) as error:
        read_params(path)
    assert message in str(error.value)


@pytest.mark.parametrize(
    "split",
    [
        {"kind": "random", "seed": 7, "settings": {}},
        {"kind": "no name", "seed": 7, "settings": {}},
        {"kind": "mine", "seed": 7, "settings": {"x": float("nan")}},
        {"kind": "mine", "seed": 7, "settings": {"x": {1: 2}}},
        {"kind": "mine", "seed": 7, "settings": []},
    ],
)
def test_a_checkpoint_cannot_say_what_params_yaml_could_not(split):
    with pytest.raises((TypeError, ValueError)):
        modular_task(TASK_DATA | {"split": split})


def test_records_from_before_there_were_packages_keep_their_digest():
    experiment = read_params(ROOT / "params.yaml").experiments["v2b"]
    assert "settings" not in experiment.as_dict()["task"]["split"]
    assert "metrics" not in experiment.as_dict()
    assert experiment.digest() == "fa2fbfa5f11c536011ae6b164c57db589f1c0a61b05cb837f4bb16755237a8be"

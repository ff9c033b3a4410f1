"""params.yaml: what it holds is what was published, and whatever is wrong in it is found at its line."""

import re
from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reprogrok.errors import InputError
from reprogrok.model.shapes import count_parameters
from reprogrok.params import read_params
from reprogrok.spec.experiment import EarlyGrid
from reprogrok.spec.ranges import seed_range, step_range

ROOT = Path(__file__).resolve().parents[1]
PARAMS = read_params(ROOT / "params.yaml")

TEXT = """\
engine_version: 1
device: cpu
pipeline: [one]
experiments:
  one:
    title: a title
    source: somewhere
    task:
      name: addition
      digits: 10
      hold_out: addition-100k/1
      curriculum:
        - start: 0
          digits: [1, 3]
        - start: 50
          digits: [1, 10]
    model:
      n_layer: 1
      d_model: 8
      n_head: 2
      d_ff: 28
    optimiser:
      lr: 0.015
      betas: [0.9, 0.999]
      eps: 1e-8
      weight_decay: 0.01
      clip: 1.0
    schedule:
      warmup: 20
      floor: 0.1
    batch: 64
    steps: 200
    evaluate_every: 50
    seeds: [0, 1]
"""


def changed(old, new):
    """The text with one place changed, and the line of that place."""
    assert TEXT.count(old) == 1, old
    return TEXT.replace(old, new), TEXT[: TEXT.index(old)].count("\n") + 1


# --- What the project's own file says -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "parameters", "lr", "steps", "every"),
    [
        ("e1", 456, 0.02, 54_000, 500),
        ("e2", 456, 0.02, 54_000, 500),
        ("e5", 512, 0.02, 27_000, 1_000),
        ("e7", 512, 0.02, 100_000, 1_000),
        ("e8", 763, 0.02, 50_000, 500),
        ("e9", 959, 0.01, 27_000, 500),
        ("e10", 1128, 0.01, 30_000, 500),
        ("e15", 1128, 0.015, 30_000, 500),
    ],
)
def test_the_published_experiments(name, parameters, lr, steps, every):
    found = PARAMS.experiments[name]
    assert (count_parameters(found.model), found.optimiser.lr, found.steps) == (parameters, lr, steps)
    assert (found.evaluate_every, found.batch, found.task.digits, found.task.hold_out) == (
        every,
        512,
        10,
        "addition-100k/1",
    )
    optimiser = replace(found.optimiser, lr=0)
    assert (optimiser.betas, optimiser.eps, optimiser.weight_decay, optimiser.clip) == ((0.9, 0.999), 1e-8, 0.01, 1.0)
    assert (found.schedule.warmup, found.schedule.floor) == (1350, 0.1)
    stages = [(stage.start, stage.digits) for stage in found.task.curriculum]
    assert stages == [(0, (1, 3)), (2_000, (1, 6)), (7_000, (1, 10))]
    assert (found.model.max_seq_len, found.model.vocab_size) == (33, 14)


def test_the_pipeline_names_experiments_and_names_are_those_of_the_source():
    assert set(PARAMS.pipeline) <= set(PARAMS.experiments)
    assert {"e1", "e2", "e5", "e7", "e8", "e9", "e10", "e15", "smoke"} <= set(PARAMS.experiments)
    assert all(experiment.name == name for name, experiment in PARAMS.experiments.items())


def test_a_spec_is_read_whole(read):
    one = read(TEXT).experiments["one"]
    assert (one.seeds, one.gates, one.steps) == ((0, 1), (), 200)
    assert one.evaluation_steps() == (0, 50, 100, 150, 199)
    assert replace(one, steps=201).evaluation_steps() == (0, 50, 100, 150, 200)
    with pytest.raises(FrozenInstanceError):
        one.steps = 5


def test_the_digest_is_of_what_a_replica_computes(read):
    one = read(TEXT).experiments["one"]
    words = TEXT.replace("a title", "other").replace("somewhere", "else").replace("[0, 1]", '"3:9"')
    assert read(words).experiments["one"].digest() == one.digest()
    for old, new in (
        ("lr: 0.015", "lr: 0.0150001"),
        ("steps: 200", "steps: 201"),
        ("start: 50", "start: 51"),
        ("n_head: 2", "n_head: 4"),
        ("batch: 64", "batch: 65"),
        ("floor: 0.1", "floor: 0.2"),
        ("evaluate_every: 50", "evaluate_every: 25"),
        ("d_ff: 28", "d_ff: 28\n      use_rmsnorm: true"),
    ):
        assert read(changed(old, new)[0]).experiments["one"].digest() != one.digest(), new


@pytest.mark.parametrize(
    ("old", "new"),
    [("clip: 1.0", "clip: 1"), ("eps: 1e-8", "eps: 0.00000001"), ("lr: 0.015", "lr: 1.5e-2")],
)
def test_one_number_written_in_two_ways_is_one_number(read, old, new):
    same = read(changed(old, new)[0]).experiments["one"]
    assert same.digest() == read(TEXT).experiments["one"].digest()


# --- What is wrong is found at its line ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "field", "message"),
    [
        ("lr: 0.015", "lrr: 0.015", "optimiser.lrr", "unknown field: expected one of lr, betas"),
        ("batch: 64", "btach: 64", "btach", "(did you mean batch?)"),
        ("n_head: 2", "n_head: 3", "model.n_head", "expected a divisor of d_model = 8, found 3"),
        ("n_head: 2", "n_head: 0", "model.n_head", "expected at least 1, found 0"),
        ("n_head: 2", "n_head: true", "model.n_head", "expected a value of type integer, found true"),
        ("n_head: 2", "n_head: 2.0", "model.n_head", "expected a value of type integer, found 2.0"),
        ("n_head: 2", "n_head: '2'", "model.n_head", 'expected a value of type integer, found "2"'),
        ("n_head: 2", "n_head:", "model.n_head", "expected a value of type integer, found null"),
        ("d_ff: 28", "d_ff: 28\n      use_rmsnorm: 1", None, "expected a value of type boolean, found 1"),
        ("d_ff: 28", "d_ff: 28\n      tie_qkv: shareB", None, "expected one of none, shareA_tieKV"),
        ("d_ff: 28", "d_ff: 28\n      tie_qkv: shareA_tieKV", None, "expected more than 0, which tie_qkv"),
        (
            "warmup: 20",
            "warmup: 200",
            "schedule.warmup",
            "expected fewer warm-up steps than the run has (200), found 200",
        ),
        ("warmup: 20", "warmup: -1", "schedule.warmup", "expected at least 0, found -1"),
        ("floor: 0.1", "floor: 1.1", "schedule.floor", "expected at most 1, found 1.1"),
        ("seeds: [0, 1]", "seeds: []", "seeds", "expected at least one seed, found []"),
        ("seeds: [0, 1]", "seeds: [1, 1]", "seeds", "expected each seed once, found [1, 1]"),
        ("seeds: [0, 1]", 'seeds: "5:5"', "seeds", 'expected at least one seed, found "5:5"'),
        ("seeds: [0, 1]", 'seeds: "a:b"', "seeds", 'expected a list of seeds or a range such as "0:8"'),
        ("seeds: [0, 1]", "seeds: [0, -1]", "seeds[1]", "expected at least 0, found -1"),
        ("seeds: [0, 1]", "seeds: [0, 1.0]", "seeds[1]", "expected a value of type integer, found 1.0"),
        ("seeds: [0, 1]", "seeds: 5", "seeds", "expected a value of type array or string, found 5"),
        ("start: 0", "start: 1", "task.curriculum", "expected stages that start at 0 and increase, found [1, 50]"),
        ("start: 50", "start: 0", "task.curriculum", "expected stages that start at 0 and increase, found [0, 0]"),
        (
            "digits: [1, 10]",
            "digits: [2, 1]",
            "task.curriculum[1].digits",
            "expected least <= most <= 10, found [2, 1]",
        ),
        ("digits: [1, 10]", "digits: [1, 11]", "task.curriculum[1].digits[1]", "expected at most 10, found 11"),
        ("digits: [1, 3]", "digits: [1]", "task.curriculum[0].digits", "expected at least 2 item(s)"),
        ("lr: 0.015", "lr: 0", "optimiser.lr", "expected more than 0, found 0"),
        ("lr: 0.015", "lr: .nan", "optimiser.lr", "expected a finite number, found NaN"),
        ("lr: 0.015", "lr: .inf", "optimiser.lr", "expected a finite number, found Infinity"),
        ("lr: 0.015", "lr: 1,5e-2", "optimiser.lr", "expected a value of type number"),
        ("betas: [0.9, 0.999]", "betas: [0.9, 1.0]", "optimiser.betas[1]", "expected less than 1, found 1.0"),
        ("clip: 1.0", "clip: -1", "optimiser.clip", "expected more than 0, found -1"),
        ("weight_decay: 0.01", "weight_decay: -0.01", "optimiser.weight_decay", "expected at least 0"),
        ("steps: 200", "steps: 0", "steps", "expected at least 1, found 0"),
        ("steps: 200", "steps: 2e2", "steps", "expected a value of type integer, found 200.0"),
        ("steps: 200", "steps: no", "steps", 'expected a value of type integer, found "no"'),
        ("hold_out: addition-100k/1", "hold_out: none", "task.hold_out", "expected addition-100k/1"),
        ("name: addition", "name: subtraction", "task.name", "expected one of addition, modular"),
        ("digits: 10", "digits: 2", "task.digits", "expected at least 3, found 2"),
        ("digits: 10", "digits: 5", "task.curriculum[1].digits", "expected least <= most <= 5, found [1, 10]"),
    ],
)
def test_what_is_wrong_is_named_at_its_line(read, old, new, field, message):
    if old in {"digits: 10", "name: addition"}:
        old, new = f"      {old}\n", f"      {new}\n"
    text, line = changed(old, new)
    with pytest.raises(InputError) as caught:
        read(text)
    if field is None:  # the added line
        line += 1
    elif field == "task.curriculum":  # the list as a whole
        line = TEXT[: TEXT.index("curriculum:")].count("\n") + 1
    elif field == "task.curriculum[1].digits":
        line = TEXT[: TEXT.index("digits: [1, 10]")].count("\n") + 1
    assert message in str(caught.value)
    assert caught.value.field.startswith("$.experiments.one")
    assert caught.value.field == f"$.experiments.one.{field}" or field is None
    # qkv_rank is not written, so the line is that of the nearest thing that is: the model.
    assert caught.value.line in {line, TEXT[: TEXT.index("model:")].count("\n") + 1 if field is None else line}
    assert re.match(r".*params\.yaml:\d+ \$\.experiments\.one", str(caught.value))


@pytest.mark.parametrize(
    "field",
    [
        "title",
        "source",
        "task",
        "model",
        "optimiser",
        "schedule",
        "batch",
        "steps",
        "evaluate_every",
        "seeds",
    ],
)
def test_a_field_is_missing(read, field):
    text = re.sub(rf"^    {field}:.*\n(      .*\n)*", "", TEXT, flags=re.MULTILINE)
    with pytest.raises(InputError, match=f"one: the field {field} is missing") as caught:
        read(text)
    assert caught.value.line == 5


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "pipeline: [one]",
            "pipeline: [one, two]",
            r"params.yaml:3 \$.pipeline\[1\]: expected one of one, found \"two\"",
        ),
        ("pipeline: [one]", "pipeline: []", r"params.yaml:3 \$.pipeline: expected at least 1 item"),
        ("device: cpu", "device: tpu", r"params.yaml:2 \$.device: expected one of auto, cpu, cuda, mps, found \"tpu\""),
        ("  one:\n", "  One!:\n", r"params.yaml:4 \$.experiments: expected text that matches .*, found \"One!\""),
        ("engine_version: 1", "engine_version: 0", r"params.yaml:1 \$.engine_version: expected at least 1, found 0"),
        ("engine_version: 1\n", "", r"the field engine_version is missing"),
        ("    batch: 64\n", "    batch: 64\n    batch: 65\n", r"duplicate key \"batch\""),
        ("    batch: 64\n", "    batch: 64\n   steps: 5\n", r"params.yaml:\d+.*not YAML"),
    ],
)
def test_the_frame_of_the_file(read, old, new, message):
    with pytest.raises(InputError, match=message):
        read(TEXT.replace(old, new))


def test_an_unknown_experiment_is_named_with_what_there_is():
    with pytest.raises(
        InputError, match=r"unknown experiment: expected one of .*e15.*, found e155 \(did you mean e15\?\)"
    ):
        PARAMS.experiment("e155", Path("params.yaml"))
    assert PARAMS.experiment("e15", Path("params.yaml")).name == "e15"


# --- Ranges of seeds ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seeds"),
    [
        ("0:3", (0, 1, 2)),
        ("42,43", (42, 43)),
        (" 7 , 8 ", (7, 8)),
        ("7", (7,)),
        ("3:3", ()),
        ("5:3", ()),
        ("", None),
        ("a", None),
        ("1:2:3", None),
        ("-1:3", None),
        ("1.5", None),
        ("1,", None),
        ("0:99999999999", None),
    ],
)
def test_ranges_of_seeds(text, seeds):
    assert seed_range(text) == seeds


@given(st.integers(0, 1000), st.integers(0, 1000))
def test_a_range_leaves_out_its_end(first, last):
    assert seed_range(f"{first}:{last}") == tuple(range(first, last))


def test_whether_a_step_is_evaluated_needs_no_list_of_steps():
    for steps, every in ((200, 50), (201, 50), (1, 7), (50, 50), (51, 50), (7, 100)):
        one = replace(PARAMS.experiments["smoke"], steps=steps, evaluate_every=every)
        listed = one.evaluation_steps()
        assert tuple(step for step in range(-3, steps + 3) if one.evaluates(step)) == listed
        for step in range(steps + 60):
            distances = {abs(candidate - step): candidate for candidate in reversed(listed)}
            assert one.nearest_evaluation(step) == distances[min(distances)]
    assert replace(one, steps=10**9, evaluate_every=1).nearest_evaluation(10**8) == 10**8


@given(
    st.integers(1, 120),
    st.integers(1, 40),
    st.none() | st.builds(EarlyGrid, st.integers(1, 30), st.integers(1, 150)),
)
def test_the_three_ways_to_ask_for_evaluations_agree(steps, every, early):
    one = replace(PARAMS.experiments["smoke"], steps=steps, evaluate_every=every, early=early)
    plainly = {steps - 1} | {step for step in range(steps) if step % every == 0}
    if early is not None:
        plainly |= {step for step in range(steps) if step % early.every == 0 and step <= early.until}
    listed = tuple(sorted(plainly))
    assert one.evaluation_steps() == listed
    assert tuple(step for step in range(-3, steps + 50) if one.evaluates(step)) == listed
    for step in range(steps + 60):
        assert one.nearest_evaluation(step) == min(
            listed, key=lambda listed_step: (abs(listed_step - step), listed_step)
        )


def test_behind_the_early_grid_its_last_step_may_be_the_nearest():
    one = replace(PARAMS.experiments["smoke"], steps=5_000, evaluate_every=1_000, early=EarlyGrid(25, 1_410))
    assert one.nearest_evaluation(1_440) == 1_400
    assert one.nearest_evaluation(1_750) == 2_000


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("500,1000", (500, 1000)),
        ("0", (0,)),
        ("0:54000:20000", (0, 20000, 40000)),
        ("3:6", (3, 4, 5)),
        ("5:5:1", ()),
        ("9:3:2", ()),
        ("0:10:0", None),
        ("0:1000000000", None),
        ("0:1:2:3", None),
        ("1,,2", None),
        ("-1", None),
        ("", None),
    ],
)
def test_steps_are_a_list_or_a_range(text, expected):
    assert step_range(text) == expected


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ("batch: 64", "batch: {size: 64, order: blocks}", "batch.order"),
        ("d_ff: 28", "d_ff: 28\n      dropout: 0.1", "model.dropout"),
        ("evaluate_every: 50", "evaluate_every: {metrics: 50, analysis: 50}", "evaluate_every.analysis"),
    ],
)
def test_what_only_modular_tasks_have_is_refused_for_addition(read, old, new, field):
    with pytest.raises(InputError, match="only of modular tasks") as caught:
        read(changed(old, new)[0])
    assert caught.value.field == f"$.experiments.one.{field}"

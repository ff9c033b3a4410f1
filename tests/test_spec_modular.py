"""params.yaml of modular tasks: the spec of a task and its split is read whole, and what is wrong in it is found."""

from pathlib import Path

import pytest

from reprogrok.errors import InputError
from reprogrok.model.shapes import count_parameters
from reprogrok.params import read_params
from reprogrok.spec.experiment import EarlyGrid
from reprogrok.spec.task import ModularTask, SplitSpec

ROOT = Path(__file__).resolve().parents[1]
PARAMS = read_params(ROOT / "params.yaml")

MODULAR = """\
engine_version: 1
device: cpu
pipeline: [one]
experiments:
  one:
    title: a title
    source: somewhere
    cost: an hour
    task:
      name: modular
      operation: add
      modulus: 97
      format: llmc8
      loss: all
      split:
        kind: random
        seed: 42
        fraction: 0.5
    model:
      n_layer: 2
      d_model: 128
      n_head: 4
      d_ff: 512
      bias: true
      gelu: tanh
      dropout: 0.1
      initial_biases: uniform
    optimiser:
      lr: 1e-3
      betas: [0.9, 0.98]
      eps: 1e-8
      weight_decay: 1
      clip: null
    schedule:
      warmup: 0
      floor: 1
    batch:
      size: 512
      order: blocks
    steps: 50000
    evaluate_every:
      metrics: 500
      early: {every: 25, until: 1000}
      analysis: 1000
      checkpoints: 5000
    seeds: [1337]
"""
HELD = (
    ("        kind: random\n", "        kind: operand_holdout\n"),
    ("        fraction: 0.5\n", "        held: [3, 5]\n"),
)
RANGES = (
    ("        kind: random\n", "        kind: result_range\n"),
    (
        "        fraction: 0.5\n",
        "        train: [0, 48]\n        test: [48, 97]\n",
    ),
)


def modular_with(*changes):
    text = MODULAR
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


def test_a_modular_spec_is_read_whole(read):
    one = read(MODULAR).experiments["one"]
    assert one.task == ModularTask("add", 97, "llmc8", "all", SplitSpec("random", 42, fraction=0.5))
    assert (one.model.max_seq_len, one.model.vocab_size, count_parameters(one.model)) == (8, 101, 410_752)
    assert (one.batch, one.batches, one.dropout, one.initial_biases) == (512, "blocks", 0.1, "uniform")
    assert (one.optimiser.clip, one.optimiser.weight_decay, one.schedule.floor) == (None, 1.0, 1.0)
    assert (one.evaluate_every, one.early, one.analyse_every, one.checkpoint_every) == (
        500,
        EarlyGrid(25, 1000),
        1000,
        5000,
    )
    assert one.evaluation_steps()[:3] == (0, 25, 50)
    assert one.evaluation_steps()[38:43] == (950, 975, 1000, 1500, 2000)
    assert [step for step in one.evaluation_steps() if one.analyses(step)] == [*range(0, 50_000, 1_000), 49_999]
    assert one.checkpoint_steps() == tuple(range(0, 50_000, 5_000))
    assert all(map(one.evaluates, one.checkpoint_steps()))
    assert one.cost == "an hour"


@pytest.mark.parametrize(
    ("changes", "split"),
    [
        (HELD, SplitSpec("operand_holdout", 42, held=(3, 5))),
        (RANGES, SplitSpec("result_range", 42, train=(0, 48), test=(48, 97))),
        ([("kind: random", "kind: three_way")], SplitSpec("three_way", 42, fraction=0.5)),
        ([("kind: random", "kind: twin_closed")], SplitSpec("twin_closed", 42, fraction=0.5)),
    ],
)
def test_every_split_has_its_own_fields(read, changes, split):
    assert read(modular_with(*changes)).experiments["one"].task.split == split


@pytest.mark.parametrize(("layout", "length", "tokens"), [("llmc8", 8, 101), ("text9", 16, 104), ("power5", 4, 99)])
def test_positions_and_vocabulary_follow_from_the_format(read, layout, length, tokens):
    one = read(modular_with(("format: llmc8", f"format: {layout}"))).experiments["one"]
    assert (one.model.max_seq_len, one.model.vocab_size) == (length, tokens)


def test_the_published_size_of_seeds_000_and_002(read):
    wide = [("n_layer: 2", "n_layer: 4"), ("d_model: 128", "d_model: 256"), ("d_ff: 512", "d_ff: 1024")]
    one = read(modular_with(*wide, ("format: llmc8", "format: text9"))).experiments["one"]
    assert count_parameters(one.model) == 3_190_272


def test_the_digest_of_a_modular_run_is_of_what_a_replica_computes(read):
    one = read(MODULAR).experiments["one"].digest()
    for old, new in (("an hour", "two"), ("checkpoints: 5000", "checkpoints: 500"), ("[1337]", "[1, 2]")):
        assert read(modular_with((old, new))).experiments["one"].digest() == one, new
    for old, new in (
        ("operation: add", "operation: sub"),
        ("modulus: 97", "modulus: 101"),
        ("loss: all", "loss: answer"),
        ("fraction: 0.5", "fraction: 0.8"),
        ("        seed: 42", "        seed: 43"),
        ("dropout: 0.1", "dropout: 0"),
        ("initial_biases: uniform", "initial_biases: zero"),
        ("order: blocks", "order: reshuffled"),
        ("clip: null", "clip: 1.0"),
        ("analysis: 1000", "analysis: 500"),
        ("every: 25", "every: 50"),
    ):
        assert read(modular_with((old, new))).experiments["one"].digest() != one, new


@pytest.mark.parametrize(
    ("old", "new", "field", "message"),
    [
        ("format: llmc8", "format: llmc9", "task.format", 'expected one of llmc8, text9, power5, found "llmc9"'),
        ("loss: all", "loss: some", "task.loss", "expected one of all, answer"),
        ("modulus: 97", "modulus: 1", "task.modulus", "expected at least 2, found 1"),
        ("modulus: 97", "modulus: 1001", "task.modulus", "expected at most 1000, found 1001"),
        ("modulus: 97", "modulus: 97.0", "task.modulus", "expected a value of type integer"),
        ("operation: add", "operation: 3", "task.operation", "expected a value of type string"),
        ("      operation: add\n", "      operator: add\n", "task.operator", "unknown field"),
        ("fraction: 0.5", "fraction: 0", "task.split.fraction", "expected more than 0, found 0"),
        ("fraction: 0.5", "fraction: 1.0", "task.split.fraction", "expected less than 1, found 1.0"),
        ("fraction: 0.5", "fractoin: 0.5", "task.split.fractoin", "(did you mean fraction?)"),
        ("fraction: 0.5", "held: [1]", "task.split.held", "unknown field"),
        ("kind: random", "kind: randm", "task.split.kind", "expected one of random, three_way"),
        ("        seed: 42", "        seed: 4294967296", "task.split.seed", "expected at most 4294967295"),
        ("dropout: 0.1", "dropout: 1.0", "model.dropout", "expected at most 0.99, found 1.0"),
        ("dropout: 0.1", "dropout: 0.999999", "model.dropout", "expected at most 0.99"),
        ("dropout: 0.1", "dropout: -0.1", "model.dropout", "expected at least 0"),
        ("dropout: 0.1", "dropout: 1e-6", "model.dropout", "expected 0, or at least 2^-16"),
        ("bias: true", "bias: false", "model.initial_biases", "expected zero, or bias: true beside it"),
        ("order: blocks", "order: drawn", "batch.order", "expected one of reshuffled, blocks"),
        ("size: 512", "size: 0", "batch.size", "expected at least 1"),
        ("analysis: 1000", "analysis: 750", "evaluate_every.analysis", "expected a multiple of 500, the steps between"),
        ("checkpoints: 5000", "checkpoints: 25", "evaluate_every.checkpoints", "expected a multiple of 500"),
        ("metrics: 500", "metric: 500", "evaluate_every.metric", "(did you mean metrics?)"),
    ],
)
def test_what_is_wrong_with_a_modular_task_is_named_at_its_line(read, old, new, field, message):
    with pytest.raises(InputError) as caught:
        read(modular_with((old, new)))
    assert message in str(caught.value)
    assert caught.value.field == f"$.experiments.one.{field}"
    at = "initial_biases: uniform" if field == "model.initial_biases" else old
    assert caught.value.line == MODULAR[: MODULAR.index(at)].count("\n") + 1


@pytest.mark.parametrize(
    ("changes", "field", "message"),
    [
        ([("    batch:\n      size: 512\n      order: blocks\n", "    batch: 64\n")], "batch", "{size: N, order:"),
        ([("        fraction: 0.5\n", "")], "task.split", "the field fraction is missing"),
        ([*RANGES, ("[0, 48]", "[0]")], "task.split.train", "expected at least 2 item(s)"),
        ([*RANGES, ("[0, 48]", "[-1, 48]")], "task.split.train[0]", "expected at least 0"),
        ([*RANGES, ("[48, 97]", "[48, 1001]")], "task.split.test[1]", "expected at most 1000"),
        ([*RANGES, ("        test: [48, 97]\n", "")], "task.split", "the field test is missing"),
        ([*HELD, ("[3, 5]", "[]")], "task.split.held", "expected at least 1 item(s)"),
        ([*HELD, ("[3, 5]", "[5000]")], "task.split.held[0]", "expected at most 1000"),
        ([("      format: llmc8\n", "")], "task", "the field format is missing"),
    ],
)
def test_what_several_lines_say_together_is_checked(read, changes, field, message):
    with pytest.raises(InputError) as caught:
        read(modular_with(*changes))
    assert message in str(caught.value)
    assert caught.value.field == f"$.experiments.one.{field}"
    assert caught.value.line is not None


def test_what_only_the_data_can_find_gets_file_and_line(read):
    params = read(MODULAR)
    line = MODULAR[: MODULAR.index("modulus: 97")].count("\n") + 1
    with pytest.raises(InputError) as caught, params.located("one"):
        raise InputError("unfit", field="$.task.modulus", expected="a prime", found="97")
    assert (
        str(caught.value)
        == f"{params.document.path}:{line} $.experiments.one.task.modulus: unfit: expected a prime, found 97"
    )
    for other in (InputError("x", field="--stop-at"), InputError("x", path="y", field="$.a")):
        with pytest.raises(InputError) as caught, params.located("one"):
            raise other
        assert caught.value is other


def test_an_error_without_a_place_is_one_of_the_experiment(read):
    params = read(MODULAR)
    with pytest.raises(InputError) as caught, params.located("one"):
        raise InputError("unfit")
    line = MODULAR[: MODULAR.index("  one:")].count("\n") + 1
    assert str(caught.value) == f"{params.document.path}:{line} $.experiments.one: unfit"

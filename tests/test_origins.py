"""The block of our checkpoints that names the task: read back as it was written, or refused; never a fault of ours."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from reprogrok.errors import CheckpointError
from reprogrok.formats.checkpoints import checkpoint_bytes, load_checkpoint
from reprogrok.formats.origins import Origin, read_origin
from reprogrok.model.initialise import initial_weights
from reprogrok.spec.model import ModelSpec
from reprogrok.spec.task import SPLIT_KINDS, ModularTask, SplitSpec

SPLITS = {
    "random": SplitSpec("random", 42, fraction=0.5),
    "three_way": SplitSpec("three_way", 2**32 - 1, fraction=0.8),
    "result_range": SplitSpec("result_range", 42, train=(0, 48), test=(48, 97)),
    "operand_holdout": SplitSpec("operand_holdout", 0, held=(3, 96)),
    "twin_closed": SplitSpec("twin_closed", 7, fraction=0.25),
}
TASK = ModularTask("add", 97, "llmc8", "answer", SPLITS["random"])
ORIGIN = Origin("c12-5", None, 1337, "a" * 64, TASK)
PATH = Path("x.pt")
DIGEST = "0" * 64


def block_with(**changes):
    """The block of `ORIGIN` with other fields in its task."""
    block = ORIGIN.as_written(DIGEST)
    return block | {"task": block["task"] | changes}


def split_with(**changes):
    return {"split": ORIGIN.as_written(DIGEST)["task"]["split"] | changes}


def test_the_kinds_of_splits_are_named_once():
    assert tuple(SPLITS) == SPLIT_KINDS


@pytest.mark.parametrize("kind", SPLITS)
def test_a_task_comes_back_from_a_file_as_it_was(tmp_path, kind):
    origin = replace(ORIGIN, task=replace(TASK, split=SPLITS[kind]), block=4_703 if kind == "random" else None)
    spec = ModelSpec(n_layer=1, d_model=8, n_head=2, d_ff=16, max_seq_len=8, vocab_size=101, bias=True)
    path = tmp_path / "x.pt"
    path.write_bytes(checkpoint_bytes(spec, initial_weights(spec, 0), origin, 7, 0.5))
    assert load_checkpoint(path).origin == origin
    content = torch.load(path, weights_only=True)  # noqa: TID251 - what we wrote a line above
    assert content["reprogrok"]["format"] == "reprogrok.checkpoint/2"
    assert content["reprogrok"]["task"]["split"]["kind"] == kind


@pytest.mark.parametrize("rows", [0, -1, 10**7])
def test_a_block_of_no_size_is_refused(tmp_path, rows):
    with pytest.raises(CheckpointError, match=r"\$\.reprogrok\.block: expected 1 to 1000000"):
        read_origin(tmp_path / "x.pt", ORIGIN.as_written(DIGEST) | {"block": rows})


def test_addition_keeps_its_block():
    origin = Origin("e1", 10, 43, "a" * 64)
    block = origin.as_written(DIGEST)
    assert block == {
        "format": "reprogrok.checkpoint/1", "experiment": "e1", "digits": 10, "seed": 43,
        "spec_digest": "a" * 64, "content_digest": DIGEST,
    }  # fmt: skip
    assert read_origin(PATH, block) == (origin, DIGEST)


def test_a_task_of_s5_has_no_modulus():
    origin = replace(ORIGIN, task=ModularTask("s5", None, "power5", "answer", SPLITS["random"]))
    assert read_origin(PATH, origin.as_written(DIGEST)) == (origin, DIGEST)


ATTACKS = {
    "split is a number": {"split": 5},
    "split is nothing": {"split": None},
    "split is a list": {"split": [1]},
    "split without a kind": {"split": {"seed": 42}},
    "a field too many in the split": split_with(colour="red"),
    "a kind that never was": split_with(kind="best"),
    "a kind of terabytes": split_with(kind="x" * 10_000),
    "a seed that is text": split_with(seed="42"),
    "a seed that is true": split_with(seed=True),
    "a negative seed": split_with(seed=-1),
    "a seed too large": split_with(seed=2**32),
    "a fraction that is not a number": split_with(fraction=float("nan")),
    "a fraction of all": split_with(fraction=1.0),
    "a fraction that is text": split_with(fraction="0.5"),
    "a range of three": split_with(train=(0, 1, 2)),
    "a range that is text": split_with(train="ab"),
    "a range as a list": split_with(train=[0, 48]),
    "a range of numbers that are none": split_with(train=(0, 4.5)),
    "held operands that are text": split_with(held=("1",)),
    "held operands beyond everything": split_with(held=(10**9,)),
    "an operation that is no name": {"operation": "add\n"},
    "an operation that is a number": {"operation": 3},
    "an operation that is bytes": {"operation": b"add"},
    "a modulus too large": {"modulus": 1_001},
    "a modulus of one": {"modulus": 1},
    "a modulus that is true": {"modulus": True},
    "a modulus with a point": {"modulus": 97.0},
    "a modulus that is text": {"modulus": "97"},
    "another format": {"format": "llmc9"},
    "a format that is a list": {"format": ["llmc8"]},
    "another loss": {"loss": "none"},
    "another task": {"name": "addition"},
    "a field too many": {"colour": "red"},
    "a tensor": {"modulus": torch.tensor(97)},
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_block_that_we_do_not_write_is_refused(attack):
    with pytest.raises(CheckpointError) as caught:
        read_origin(PATH, block_with(**ATTACKS[attack]))
    assert (caught.value.path, caught.value.field) == (PATH, "$.reprogrok.task")
    assert len(str(caught.value)) < 300
    assert read_origin(PATH, block_with()) == (ORIGIN, DIGEST)


@pytest.mark.parametrize(
    "change",
    [
        lambda block: block | {"digits": 10},
        lambda block: block | {"format": "reprogrok.checkpoint/1"},
        lambda block: block | {"format": "reprogrok.checkpoint/3"},
        lambda block: block | {"task": None},
        lambda block: {name: value for name, value in block.items() if name != "task"},
        lambda block: block | {"seed": "1"},
        lambda block: [block],
    ],
)
def test_a_frame_that_we_do_not_write_is_refused(change):
    with pytest.raises(CheckpointError, match=r"x\.pt \$\.reprogrok: expected the block that"):
        read_origin(PATH, change(ORIGIN.as_written(DIGEST)))


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(["add", "llmc8"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from(["operation", "modulus", "format", "loss", "split", "name"]), JUNK)
def test_whatever_stands_in_a_task_is_a_task_or_refused(field, value):
    try:
        origin, _ = read_origin(PATH, block_with(**{field: value}))
    except CheckpointError:
        return
    assert origin.as_written(DIGEST) == block_with(**{field: value})

"""Splits are the published ones, row for row, and the new ones keep what they promise."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from reprogrok.errors import InputError
from reprogrok.spec.task import ModularTask, SplitSpec
from reprogrok.tasks import modular
from reprogrok.tasks.modular import Modular
from reprogrok.tasks.modular_tokens import token_columns
from reprogrok.tasks.operations import OPERATIONS, Operation
from reprogrok.tasks.splits import is_twin, make_split

torch.set_num_threads(1)


def task_of(kind, operation="add", modulus=97, layout="llmc8", seed=42, **split):
    return ModularTask(operation, modulus, layout, "all", SplitSpec(kind, seed, **split))


def equations_of(task):
    return Modular(task.operation, task.modulus, task.format).equations()


def sizes(split):
    return len(split.train_N), len(split.validation_N), len(split.test_N)


@pytest.mark.parametrize(("part", "file", "count"), [("train_N", "train.bin", 4_704), ("test_N", "val.bin", 4_705)])
def test_the_published_shards_token_by_token(fixtures_dir, part, file, count):
    data = (fixtures_dir / "llmc" / file).read_bytes()
    header, tokens = np.frombuffer(data[:1024], "<i4"), np.frombuffer(data[1024:], "<u2")
    assert header[:3].tolist() == [20240520, 1, 8 * count]
    task = task_of("random", fraction=0.5)
    rows, equations = getattr(make_split(task), part), equations_of(task)
    columns = token_columns(
        Modular("add", 97, "llmc8"), torch.tensor(equations.a_N[rows]), torch.tensor(equations.b_N[rows])
    )
    assert columns[:-1].T.flatten().tolist() == tokens.tolist()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ({"kind": "random", "fraction": 0.8}, (7_527, 0, 1_882)),
        ({"kind": "random", "fraction": 0.55}, (5_174, 0, 4_235)),
        ({"kind": "three_way", "fraction": 0.5}, (4_704, 2_352, 2_353)),
        ({"kind": "result_range", "train": (0, 48), "test": (48, 97)}, (4_656, 0, 4_753)),
        ({"kind": "operand_holdout", "held": (0, 5)}, (95 * 95, 0, 97 * 97 - 95 * 95)),
        ({"kind": "twin_closed", "fraction": 0.5}, (4_704, 0, 4_705)),
        ({"kind": "twin_closed", "operation": "sub", "fraction": 0.3}, (2_822, 0, 6_587)),
    ],
)
def test_sizes(words, expected):
    task = task_of(layout="text9", **words)
    split = make_split(task)
    assert sizes(split) == expected
    rows = np.concatenate([split.train_N, split.validation_N, split.test_N])
    assert sorted(rows.tolist()) == list(range(9_409))  # every equation once
    again = make_split(task)
    assert all(np.array_equal(getattr(split, part), getattr(again, part)) for part in ("train_N", "test_N"))
    assert {getattr(split, part).dtype for part in ("train_N", "validation_N", "test_N")} == {np.dtype(np.int64)}


def test_random_is_the_beginning_of_one_permutation():
    split = make_split(task_of("random", layout="text9", fraction=0.8))
    order = np.random.RandomState(42).permutation(9_409)
    assert np.concatenate([split.train_N, split.test_N]).tolist() == order.tolist()


def test_three_way_shuffles_each_part_by_the_same_generator():
    draw = np.random.RandomState(7)
    order = draw.permutation(9_409).tolist()
    parts = [order[:4_704], order[4_704:7_056], order[7_056:]]
    for part in parts:  # of a list, as the source has it
        draw.shuffle(part)
    split = make_split(task_of("three_way", fraction=0.5, seed=7))
    assert [split.train_N.tolist(), split.validation_N.tolist(), split.test_N.tolist()] == parts


def test_result_range_permutes_each_side_by_a_fresh_generator():
    split = make_split(task_of("result_range", train=(0, 48), test=(48, 97)))
    equations = [(a, b) for a in range(97) for b in range(97)]
    for rows, side in ((split.train_N, range(48)), (split.test_N, range(48, 97))):
        chosen = [index for index, (a, b) in enumerate(equations) if (a + b) % 97 in side]
        order = np.random.RandomState(42).permutation(len(chosen))
        assert rows.tolist() == [chosen[index] for index in order]


def test_ranges_may_overlap():
    split = make_split(task_of("result_range", train=(0, 60), test=(48, 97)))
    assert len(set(split.train_N.tolist()) & set(split.test_N.tolist())) == 12 * 97


def test_held_operands_never_occur_in_training():
    task = task_of("operand_holdout", operation="div", layout="power5", held=(3, 5))
    split, equations = make_split(task), equations_of(task)
    for index in split.train_N:
        assert not {equations.a_N[index], equations.b_N[index]} & {3, 5}
    for index in split.test_N:
        assert {equations.a_N[index], equations.b_N[index]} & {3, 5}


@given(
    st.sampled_from(sorted(OPERATIONS)),
    st.sampled_from([3, 5, 11]),
    st.floats(0.05, 0.95),
    st.integers(0, 2**32 - 1),
)
def test_twins_stay_together_and_the_share_is_as_close_as_they_allow(name, p, fraction, seed):
    group = name.startswith("s5")
    task = task_of("twin_closed", operation=name, modulus=None if group else p, fraction=fraction, seed=seed)
    equations = equations_of(task)
    wanted = int(len(equations) * fraction)
    if wanted == 0:
        return
    split = make_split(task)
    assert abs(len(split.train_N) - wanted) <= 1
    train, test = (
        set(zip(equations.a_N[rows].tolist(), equations.b_N[rows].tolist(), strict=True))
        for rows in (split.train_N, split.test_N)
    )
    assert not train & test
    assert len(train) + len(test) == len(equations)
    assert not {(b, a) for a, b in train} & test
    assert not is_twin(split, equations).any()


@pytest.mark.parametrize(
    ("operation", "fraction"), [("add", 0.5), ("sub", 0.5), ("s5", 0.4), ("div", 0.6), ("cubic", 0.5)]
)
def test_twins_are_swapped_pairs_with_the_same_answer(operation, fraction):
    modulus = None if operation == "s5" else 31
    task = task_of("random", operation=operation, modulus=modulus, layout="power5", fraction=fraction)
    split, equations = make_split(task), equations_of(task)
    triples = list(zip(equations.a_N.tolist(), equations.b_N.tolist(), equations.c_N.tolist(), strict=True))
    trained = {triples[index] for index in split.train_N}
    expected = [(b, a, c) in trained and a != b for a, b, c in (triples[index] for index in split.test_N)]
    assert is_twin(split, equations).tolist() == expected
    assert any(expected) == (operation != "sub")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            {"kind": "folds"},
            "kind: expected one of random, three_way, result_range, operand_holdout, twin_closed, foun",
        ),
        ({"kind": "random", "seed": -1, "fraction": 0.5}, "seed: expected 0 to 4294967295, found -1"),
        ({"kind": "random", "seed": 2**32, "fraction": 0.5}, "seed: expected 0 to 4294967295, found 4294967296"),
        ({"kind": "random"}, "fraction: expected a number between 0 and 1, both excluded, found none"),
        ({"kind": "random", "fraction": 1.0}, "fraction: expected a number between 0 and 1, both excluded, found 1"),
        (
            {"kind": "twin_closed", "fraction": 0.0},
            "fraction: expected a number between 0 and 1, both excluded, found 0",
        ),
        ({"kind": "three_way", "fraction": float("nan")}, "fraction: expected a number between 0 and 1, both excluded"),
        ({"kind": "random", "fraction": 1e-9}, "fraction: the training side of the split is empty: found 1e-09"),
        (
            {"kind": "three_way", "fraction": 0.9999},
            "fraction: the validation side of the split is empty: found 0.9999",
        ),
        (
            {"kind": "result_range", "test": (0, 5)},
            "train: expected [first, end] with 0 <= first < end <= 97, the end ex",
        ),
        (
            {"kind": "result_range", "train": (0, 5), "test": (90, 98)},
            "test: expected [first, end] with 0 <= first < end",
        ),
        (
            {"kind": "result_range", "train": (5, 5), "test": (0, 5)},
            "train: expected [first, end] with 0 <= first < end",
        ),
        ({"kind": "operand_holdout"}, "held: expected one or more different operands from 0 to 96, found none"),
        (
            {"kind": "operand_holdout", "held": (1, 97)},
            "held: expected one or more different operands from 0 to 96, foun",
        ),
        (
            {"kind": "operand_holdout", "held": (1, 1)},
            "held: expected one or more different operands from 0 to 96, found",
        ),
        (
            {"kind": "operand_holdout", "held": tuple(range(97))},
            "held: the training side of the split is empty: found [",
        ),
    ],
)
def test_a_split_that_cannot_be_names_its_field(words, message):
    with pytest.raises(InputError) as error:
        make_split(task_of(**words))
    assert str(error.value).startswith(f"$.task.split.{message}")


def test_a_range_that_no_answer_falls_into_is_an_empty_side(monkeypatch):
    even = Operation("even", "2x (mod p)", lambda a, _b, p: 2 * a % p)
    monkeypatch.setattr(modular, "find_operation", lambda _: even)
    with pytest.raises(InputError, match=r"split\.test: the test side of the split is empty: found \(1, 2\)"):
        make_split(task_of("result_range", operation="even", modulus=10, train=(0, 1), test=(1, 2)))


def test_the_last_twins_go_in_whole_where_no_single_is_left():
    task = task_of("twin_closed", modulus=2, fraction=0.8)  # {01, 10}, 00 and 11: three of four
    assert sizes(make_split(task)) == (3, 0, 1)

"""Loss bounds are entropies counted from the data: against closed forms, and against a plain second count."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reprogrok.errors import InputError
from reprogrok.spec.task import ModularTask, SplitSpec
from reprogrok.tasks.loss_bound_tables import document_of
from reprogrok.tasks.loss_bounds import CHANCE, MEMORISED, TASK_KNOWN, cross_entropy, loss_bounds


def task_of(layout="llmc8", operation="add", modulus=97, kind="random", loss="all", **split):
    return ModularTask(operation, modulus, layout, loss, SplitSpec(kind, 42, **({"fraction": 0.5} | split)))


def test_a_window_decides_what_the_published_bounds_mean():
    # Published with means over 7 positions: 1.307 and 1.961; a program that averages over 8 has 1.144 and 1.716.
    bounds = loss_bounds(task_of())
    means = {name: bounds.bound(name) for name in (TASK_KNOWN, CHANCE)}
    assert len(bounds.windows["equation"]) == 7
    assert round(means[TASK_KNOWN].mean(bounds.windows["equation"]), 3) == 1.307
    assert math.isclose(means[CHANCE].mean(bounds.windows["equation"]), 3 * math.log(97) / 7)
    assert math.isclose(means[TASK_KNOWN].mean(bounds.windows["all"]), 2 * math.log(97) / 8)
    assert math.isclose(means[CHANCE].mean(bounds.windows["all"]), 3 * math.log(97) / 8)
    assert (means[TASK_KNOWN].mean(bounds.windows["answer"]), means[CHANCE].nats_T[4]) == (0, math.log(97))


@pytest.mark.parametrize(("block", "rows"), [(None, 4_704), (4_703, 4_703), (512, 4_608)])
def test_rows_known_by_heart_cost_the_logarithm_of_their_number(block, rows):
    bounds = loss_bounds(task_of(), block=block)
    assert (bounds.train, bounds.left_out) == (rows, 4_704 - rows)
    assert math.isclose(bounds.bound(MEMORISED).mean(bounds.windows["all"]), math.log(rows) / 8)


def test_a_block_that_no_rows_fill_is_refused():
    with pytest.raises(InputError, match=r"\$\.batch\.size: .* expected at most 4703: .* found 4704"):
        loss_bounds(task_of(), block=4_704)


def test_operands_that_were_never_trained_on_are_infinite_and_their_answers_unknown():
    bound = loss_bounds(task_of()).bound(MEMORISED, "test")
    assert [round(nats, 4) for nats in bound.nats_T[:2]] == [4.5919, 0]
    assert math.isinf(bound.nats_T[2])
    assert math.isnan(bound.nats_T[4])
    assert bound.nats_T[5:] == (0, 0, 0)
    assert math.isinf(bound.mean(range(8)))
    assert math.isnan(bound.mean(range(4, 5)))


def test_the_first_operand_of_power5_is_given_and_division_has_one_less():
    bounds = loss_bounds(task_of("power5", "div", loss="answer"))
    assert (bounds.window, bounds.windows["equation"], bounds.windows["answer"]) == ("answer", range(4), range(3, 4))
    assert bounds.bound(TASK_KNOWN).nats_T == pytest.approx((0, math.log(96), 0, 0))
    assert bounds.bound(CHANCE).nats_T == pytest.approx((0, math.log(96), 0, math.log(97)))


def test_chance_is_over_the_answers_that_there_are():
    # All 120 elements occur as products, and power5 asks for them at position 3.
    assert loss_bounds(task_of("power5", "s5", None)).bound(CHANCE).nats_T[3] == math.log(120)


@pytest.mark.parametrize("layout", ["llmc8", "text9"])
@pytest.mark.parametrize("operation", ["add", "div", "cubic-y"])
@pytest.mark.parametrize(
    "split", [{"fraction": 0.3}, {"kind": "result_range", "fraction": None, "train": (0, 9), "test": (5, 31)}]
)
def test_no_loss_is_below_what_the_training_rows_allow(layout, operation, split):
    bounds = loss_bounds(task_of(layout, operation, 31, **split))
    every = bounds.windows["all"]
    memorised = bounds.bound(MEMORISED)
    assert math.isclose(sum(memorised.nats_T), math.log(bounds.train))  # the chain rule
    assert memorised.mean(every) <= bounds.bound(TASK_KNOWN).mean(every) <= bounds.bound(CHANCE).mean(every)
    assert bounds.bound(TASK_KNOWN, "test").nats_T[bounds.predicted.index("c")] == 0


def plain(known, rows):
    """Nats per position by dictionaries."""
    result = []
    for position in range(1, len(rows[0])):
        if len({row[position] for row in known + rows}) == 1:
            result.append(0.0)
            continue
        prefixes = Counter(tuple(row[:position]) for row in known)
        longer = Counter(tuple(row[: position + 1]) for row in known)
        costs = []
        for row in rows:
            seen, also = prefixes[tuple(row[:position])], longer[tuple(row[: position + 1])]
            costs.append(math.nan if not seen else math.inf if not also else -math.log(also / seen))
        result.append(math.inf if math.inf in costs else sum(costs) / len(costs))
    return result


ROWS = st.lists(st.lists(st.integers(0, 2), min_size=4, max_size=4), min_size=1, max_size=12)


@given(ROWS, ROWS)
def test_every_cost_is_that_of_a_plain_count(known, rows):
    assert cross_entropy(np.array(known), np.array(rows)) == pytest.approx(plain(known, rows), nan_ok=True)


def test_the_worked_values():
    known = np.array([[0, 0], [0, 1]])
    assert cross_entropy(known, np.array([[0, 1]])) == pytest.approx((math.log(2),))
    assert cross_entropy(known, np.array([[0, 2]])) == (math.inf,)
    assert math.isnan(cross_entropy(known, np.array([[1, 0]]))[0])


def test_the_document_writes_what_is_no_number_as_a_word():
    task = task_of()
    document = document_of("c12-7", task, loss_bounds(task, block=4_703))
    last = document["floors"][-1]
    assert (last["definition"], last["side"]) == ("floor/memorised", "test")
    assert (last["nats"][2], last["nats"][4], last["mean"]["all"]) == ("infinite", "unknown", "infinite")
    assert document["windows"] == {"all": list(range(8)), "equation": list(range(7)), "answer": [4]}
    assert (document["train"], document["left_out"], document["window"]) == (4_703, 1, "all")

"""Token rows of modular arithmetic are those of the published formats, for every operation and shape."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from reprogrok.errors import InputError
from reprogrok.spec.task import FORMATS
from reprogrok.tasks.modular import Modular
from reprogrok.tasks.modular_tokens import token_columns, token_rows
from reprogrok.tasks.operations import OPERATIONS

torch.set_num_threads(1)


def row_in_words(a, b, c, layout, p=97):
    """The row as the definitions spell it."""
    return {
        "llmc8": [p + 2, a, p, b, p + 1, c, p + 3, p + 3, p + 2],
        "text9": [p + 4, a, p + 1, b, p + 2, p, p + 3, c, p + 5],
        "power5": [a, p, b, p + 1, c],
    }[layout]


@pytest.mark.parametrize(
    ("layout", "vocabulary", "positions", "first_answer"),
    [("llmc8", 101, 8, 4), ("text9", 104, 8, 6), ("power5", 99, 4, 3)],
)
def test_lengths_and_positions(layout, vocabulary, positions, first_answer):
    task = Modular("add", 97, layout)
    assert (task.vocabulary, task.positions, task.first_answer) == (vocabulary, positions, first_answer)
    assert (task.prompt_length, task.answer_length) == (first_answer + 1, 1)
    assert len(task.symbols) == vocabulary
    assert len(task.predicted) == positions
    assert task.predicted[first_answer] == "c"
    shape = FORMATS[layout]
    assert (97 + shape.extra_tokens, shape.positions, shape.answer) == (vocabulary, positions, first_answer)


@pytest.mark.parametrize("layout", FORMATS)
def test_every_row_of_every_equation(layout):
    task = Modular("add", 97, layout)
    equations = task.equations()
    assert len(equations) == task.problems == 9_409
    columns = token_columns(task, torch.tensor(equations.a_N), torch.tensor(equations.b_N))
    assert columns.dtype == torch.int64
    assert columns.T.tolist() == [row_in_words(a, b, (a + b) % 97, layout) for a in range(97) for b in range(97)]


@given(st.sampled_from(sorted(OPERATIONS)), st.sampled_from([2, 5, 31]), st.sampled_from(sorted(FORMATS)), st.data())
def test_columns_hold_the_answers_of_the_equations(name, p, layout, data):
    modulus = None if name.startswith("s5") else p
    if modulus is None and layout == "text9":
        return
    task = Modular(name, modulus, layout)
    equations = task.equations()
    rows = data.draw(st.lists(st.integers(0, len(equations) - 1), min_size=1, max_size=6))
    a, b, c = (column[rows] for column in (equations.a_N, equations.b_N, equations.c_N))
    columns = token_columns(task, torch.tensor(a), torch.tensor(b))
    assert columns.T.tolist() == [row_in_words(*row, layout, task.values) for row in zip(a, b, c, strict=True)]
    assert 0 <= columns.min() <= columns.max() < task.vocabulary


@pytest.mark.parametrize("shape", [(1,), (0,), (2, 3), (1, 1, 5)])
def test_any_leading_axes(shape):
    task = Modular("div", 97, "text9")
    a, b = torch.full(shape, 1), torch.full(shape, 2)
    assert token_columns(task, a, b).shape == (*shape[:-1], 9, shape[-1])
    assert token_rows(task, a, b).reshape(-1, 9).tolist() == [row_in_words(1, 2, 49, "text9")] * a.numel()


def test_no_answer_where_nothing_is_defined():
    assert token_rows(Modular("div", 97, "power5"), torch.tensor(1), torch.tensor(0))[-1] == -1


def test_an_answer_is_readable_whatever_it_is():
    task = Modular("add", 97, "text9")
    assert task.text([5]) == "5"
    assert [task.text([token]) for token in range(97, 104)] == ["97", "+", "mod", "=", "<bos>", "<eos>", "<pad>"]
    assert Modular("cubic", 97, "llmc8").symbols[97:] == ("<cubic>", "=", "<bos>", "<eos>")


def test_equations_cannot_be_changed_by_those_who_share_them():
    with pytest.raises(ValueError, match="read-only"):
        Modular("add", 97, "llmc8").equations().c_N[0] = 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("add", 97, "llmc9"), "$.task.format: expected one of llmc8, text9, power5, found llmc9"),
        (("s5", None, "text9"), "$.task.format: expected a format without the modulus, for s5 has none, found text9"),
        (("s5", 5, "llmc8"), "$.task.modulus: expected none, for s5 acts on the 120 elements of S5, found 5"),
        (("plus", 97, "llmc8"), "$.task.operation: unknown operation: expected one of add, "),
    ],
)
def test_a_task_that_cannot_be_is_refused(words, message):
    with pytest.raises(InputError) as error:
        Modular(*words)
    assert str(error.value).startswith(message)

"""Rows of tokens are those of the definitions, for every pair there can be."""

import pytest
import reference
import torch
from hypothesis import given
from hypothesis import strategies as st

from reprogrok.tasks.addition import EOS, EQUALS, PLUS, SYMBOLS, VOCABULARY, Addition, _digits

torch.set_num_threads(1)

TOP = 10**10 - 1


def row_in_words(a, b, digits=10):
    """The row, spelled out as the definition says it."""
    symbols = [*f"{a:0{digits}d}", "+", *f"{b:0{digits}d}", "=", *reversed(f"{a + b:0{digits + 1}d}"), "<eos>"]
    return [{"+": 10, "=": 11, "<pad>": 12, "<eos>": 13}.get(symbol) or int(symbol) for symbol in symbols]


def test_lengths_and_positions():
    task = Addition()
    assert (task.prompt_length, task.answer_length, task.positions, task.first_answer) == (22, 11, 33, 21)
    assert (PLUS, EQUALS, EOS, VOCABULARY) == (10, 11, 13, 14)
    assert (task.problems, Addition(3).problems) == (10**20, 10**6)
    assert len(SYMBOLS) == VOCABULARY


def test_a_worked_row():
    row = Addition().encode(torch.tensor(1234567890), torch.tensor(99)).tolist()
    assert row[:10] == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0]
    assert row[10] == 10
    assert row[11:21] == [0, 0, 0, 0, 0, 0, 0, 0, 9, 9]
    assert row[21] == 11
    assert row[22:33] == [9, 8, 9, 7, 6, 5, 4, 3, 2, 1, 0]
    assert row[33] == 13
    assert row == row_in_words(1234567890, 99)
    assert Addition().text(row[22:33]) == "01234567989"


NUMBER = st.one_of(
    st.integers(0, TOP),
    st.sampled_from([0, 1, 9, 10, TOP, TOP - 1, 5 * 10**9]),
    st.integers(0, 10).map(lambda k: min(10**k, TOP)),
    st.integers(0, 10).map(lambda k: 10**k - 1),
)


@given(st.lists(st.tuples(NUMBER, NUMBER), min_size=1, max_size=20))
def test_every_pair_is_encoded_as_defined(pairs):
    a, b = torch.tensor(pairs).T
    rows = Addition().encode(a, b)
    assert rows.dtype == torch.int64
    assert rows.tolist() == [row_in_words(*pair) for pair in pairs]
    assert torch.equal(rows, reference.encode(a, b))


@given(st.integers(1, 13), st.data())
def test_fewer_and_more_digits(digits, data):
    a, b = (data.draw(st.integers(0, 10**digits - 1)) for _ in range(2))
    assert Addition(digits).encode(torch.tensor([a]), torch.tensor([b]))[0].tolist() == row_in_words(a, b, digits)


@given(st.integers(0, 2 * 10**14 - 1))
def test_digits_are_exact_up_to_the_largest_sum(value):
    digits = _digits(torch.tensor([value]), range(16))[:, 0]
    assert [int(digit) for digit in digits] == [value // 10**place % 10 for place in range(15)]
    backwards = _digits(torch.tensor([value]), range(15, -1, -1))[:, 0]
    assert torch.equal(backwards, digits.flip(-1))


def test_digits_next_to_every_power_of_ten():
    values = [m * 10**k + d for k in range(15) for m in range(1, 10) for d in (-1, 0, 1)]
    digits = _digits(torch.tensor(values), range(16)).T.long()
    assert digits.tolist() == [[value // 10**place % 10 for place in range(15)] for value in values]


@pytest.mark.parametrize("shape", [(), (1,), (0,), (2, 3), (1, 1, 5)])
def test_any_shape(shape):
    a = torch.full(shape, 7)
    rows = Addition().encode(a, a)
    assert rows.shape == (*shape, 34)
    assert all(row == row_in_words(7, 7) for row in rows.reshape(-1, 34).tolist())


def test_many_rows_at_once():
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randint(0, 10**10, (200_000,), generator=generator) for _ in range(2))
    rows = Addition().encode(a, b)
    powers = 10 ** torch.arange(11)
    assert torch.equal((rows[:, :10] * powers[:10].flip(0)).sum(1), a)
    assert torch.equal((rows[:, 11:21] * powers[:10].flip(0)).sum(1), b)
    assert torch.equal((rows[:, 22:33] * powers).sum(1), a + b)
    assert rows.min() == 0
    assert (rows[:, [*range(10), *range(11, 21), *range(22, 33)]] <= 9).all()


def test_an_answer_that_is_no_number_stays_readable():
    assert Addition().text([1, 2, 10, 13, 12]) == "<pad><eos>+21"

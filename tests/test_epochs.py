"""Epochs: every example once, or fixed blocks as the loader of llm.c has them; a function of (seed, step) alone."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from draws import draws
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from reprogrok.errors import InputError
from reprogrok.tasks.epochs import Epochs
from reprogrok.tasks.streams import Purpose, draw

torch.set_num_threads(1)

CPU = torch.device("cpu")
SEEDS = st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=4, unique=True)


def epochs(count, size, order="reshuffled", seeds=(0,)):
    return Epochs(seeds, count, size, order, CPU)


def plain_order(seed, epoch, count):
    """Numbers sorted by 63 bits of the generator, one at a time."""
    keys = []
    for index in range(count):
        high, low, _, _ = (int(word) for word in draw(seed, Purpose.ORDER, epoch, index))
        keys.append(((high % 2**31) * 2**32 + low, index))
    return [index for _, index in sorted(keys)]


# --- Reshuffled ---------------------------------------------------------------------------------------------------


@draws(40)
@given(st.integers(1, 60), st.integers(1, 60), SEEDS)
def test_an_epoch_holds_every_example_once_and_its_last_batch_is_the_rest(count, size, seeds):
    size = min(size, count)
    made = epochs(count, size, seeds=seeds)
    batches = [made.batch(step) for step in range(made.steps)]
    assert made.steps == len(range(0, count, size))
    assert [batch.shape for batch in batches[:-1]] == [(len(seeds), size)] * (made.steps - 1)
    assert batches[-1].shape == (len(seeds), count - size * (made.steps - 1))
    assert torch.equal(torch.cat(batches, 1).sort(1).values, torch.arange(count).expand(len(seeds), -1))


def test_the_next_epoch_and_the_next_seed_have_another_order():
    made = epochs(50, 8, seeds=(0, 1))
    first, second = (torch.cat([made.batch(step) for step in range(k * 7, k * 7 + 7)], 1) for k in (0, 1))
    assert len({tuple(row.tolist()) for row in (*first, *second)}) == 4


@pytest.mark.parametrize("seed", [0, 42, 2**40 + 3])
def test_an_order_is_that_of_the_generators_words(seed):
    made = epochs(23, 5, seeds=(seed,))
    for epoch in (0, 1, 7):
        found = [index for place in range(5) for index in made.batch(epoch * 5 + place)[0].tolist()]
        assert found == plain_order(seed, epoch, 23)


@draws(30)
@given(st.integers(2, 40), st.integers(1, 12), SEEDS, st.sampled_from(["reshuffled", "blocks"]), st.randoms())
def test_a_batch_follows_from_seed_and_step_whatever_was_asked_before(count, size, seeds, order, shuffle):
    size = min(size, count - 1)
    made, steps = epochs(count, size, order, seeds), list(range(25))
    in_turn = [made.batch(step).clone() for step in steps]
    shuffle.shuffle(steps)
    for step in steps:
        assert torch.equal(made.batch(step), in_turn[step])
        assert torch.equal(epochs(count, size, order, seeds).batch(step), in_turn[step])
        for slot, seed in enumerate(seeds):
            assert torch.equal(epochs(count, size, order, (seed,)).batch(step)[0], in_turn[step][slot])


def test_all_orders_are_equally_likely():
    made = epochs(4, 4)
    counted = Counter(tuple(made.batch(step)[0].tolist()) for step in range(2_400))
    assert len(counted) == 24
    assert chisquare(list(counted.values())).pvalue > 1e-4


# --- Blocks -------------------------------------------------------------------------------------------------------


@draws(40)
@given(st.integers(2, 80), st.integers(1, 79), st.integers(1, 9), st.integers(0, 2**63 - 1))
def test_blocks_are_consecutive_rows_and_as_many_as_llm_c_counts(count, size, tokens, seed):
    size = min(size, count - 1)
    made = epochs(count, size, "blocks", (seed,))
    # A block of B rows of T tokens needs one token more, the target of its last position.
    assert made.steps == (count * tokens - 1) // (size * tokens)
    for epoch in range(2):
        starts = []
        for place in range(made.steps):
            rows = made.batch(epoch * made.steps + place)[0].tolist()
            assert rows == list(range(rows[0], rows[0] + size))
            starts.append(rows[0])
        assert sorted(starts) == [size * block for block in range(made.steps)]


def test_the_published_batch_of_512_has_nine_blocks_and_96_rows_that_are_never_seen():
    made = epochs(4_704, 512, "blocks", (1337,))
    assert (made.steps, made.constant) == (9, False)
    seen = torch.cat([made.batch(step) for step in range(90)], 1)
    assert sorted(set(seen[0].tolist())) == list(range(4_608))
    starts = [tuple(made.batch(step)[0, 0].item() for step in range(k, k + 9)) for k in range(0, 90, 9)]
    assert len(set(starts)) == 10, "each epoch in an order of its own"
    assert starts[3] == tuple(512 * block for block in plain_order(1337, 3, 9))


@pytest.mark.parametrize("size", [4_688, 4_703])
def test_a_full_batch_is_always_the_first_rows(size):
    made = epochs(4_704, size, "blocks", (0, 1))
    assert (made.steps, made.constant) == (1, True)
    assert torch.equal(made.batch(17), torch.arange(size).expand(2, -1))


@pytest.mark.parametrize(
    ("count", "size", "order", "most"), [(4_704, 4_704, "blocks", 4_703), (9, 10, "reshuffled", 9)]
)
def test_a_batch_that_cannot_be_filled_is_refused(count, size, order, most):
    with pytest.raises(InputError) as caught:
        epochs(count, size, order)
    assert (caught.value.field, caught.value.found) == ("$.batch.size", str(size))
    assert caught.value.expected == f"at most {most}: there are {count} training examples"
    assert epochs(count, most, order).steps == 1


def test_only_a_single_block_is_always_the_same_batch():
    assert not epochs(10, 10).constant, "the same examples, but in another order"
    with pytest.raises(ValueError, match="order 'sorted' is none of reshuffled, blocks"):
        epochs(10, 5, "sorted")

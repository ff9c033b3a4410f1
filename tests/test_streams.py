"""Counter-based streams: the published generator, the same numbers in any order and grouping, and fair ones."""

import math

import numpy as np
import pytest
import torch
from draws import draws
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2, kstest

from reprogrok.tasks.streams import Purpose, below, draw, philox, standard_normal

torch.set_num_threads(1)

ONES = 0xFFFFFFFF
GOLDEN = [-0.6816625871706372, -1.8088631925285592]


@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [  # the known answers of Random123 (kat_vectors, philox4x32 with 10 rounds)
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((ONES,) * 4, (ONES,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_known_answers(counter, key, words):
    assert tuple(int(word) for word in philox(counter, key)) == words
    tensors = tuple(torch.full((2, 3), word) for word in counter)
    for found, word in zip(philox(tensors, key), words, strict=True):
        assert torch.equal(found, torch.full((2, 3), word))


WORD = st.integers(0, ONES)


def plain_philox(counter, key):
    """The same in Python's own integers."""
    x0, x1, x2, x3 = counter
    k0, k1 = key
    for _ in range(10):
        p0, p1 = 0xD2511F53 * x0, 0xCD9E8D57 * x2
        x0, x1, x2, x3 = (p1 >> 32) ^ x1 ^ k0, p1 & ONES, (p0 >> 32) ^ x3 ^ k1, p0 & ONES
        k0, k1 = (k0 + 0x9E3779B9) & ONES, (k1 + 0xBB67AE85) & ONES
    return x0, x1, x2, x3


@given(st.tuples(WORD, WORD, WORD, WORD), st.tuples(WORD, WORD))
def test_wrapping_products_are_exact(counter, key):
    assert tuple(int(word) for word in philox(counter, key)) == plain_philox(counter, key)


@given(st.integers(0, 2**64 - 1), st.integers(0, ONES), st.integers(0, ONES), st.integers(0, 7))
def test_the_counter_is_index_attempt_step_purpose_and_the_key_is_the_seed(seed, step, index, attempt):
    found = draw(seed, Purpose.OPERANDS, step, index, attempt)
    assert tuple(int(word) for word in found) == plain_philox((index, attempt, step, 3), (seed & ONES, seed >> 32))


@given(st.integers(0, 2**63 - 1), st.integers(1, 40), st.data())
@draws(30)
def test_order_and_grouping_do_not_matter(seed, count, data):
    steps, indices = torch.arange(3).unsqueeze(1), torch.arange(count)
    whole = torch.stack(draw(seed, Purpose.DIGIT_COUNT, steps, indices))
    order = torch.tensor(data.draw(st.permutations(range(count))))
    cut = data.draw(st.integers(0, count))
    pieces = [draw(seed, Purpose.DIGIT_COUNT, steps, part) for part in (order[:cut], order[cut:])]
    assert torch.equal(torch.cat([torch.stack(piece) for piece in pieces], dim=2), whole[:, :, order])
    assert torch.equal(torch.stack(draw(seed, Purpose.DIGIT_COUNT, 2, indices)), whole[:, 2])


def test_seeds_purposes_steps_and_attempts_are_different_streams():
    index = torch.arange(8)
    streams = {
        tuple(draw(seed, purpose, step, index, attempt)[0].tolist())
        for seed in (0, 1, 2**32)
        for purpose in Purpose
        for step in (0, 1)
        for attempt in (0, 1)
    }
    assert len(streams) == 3 * len(Purpose) * 2 * 2


def test_numbers_of_purposes_are_never_reused():
    assert {purpose.name: purpose.value for purpose in Purpose} == {
        "INITIAL_WEIGHTS": 1, "DIGIT_COUNT": 2, "OPERANDS": 3, "STRESS": 4, "ORDER": 5, "DROPOUT": 6,
    }  # fmt: skip


@given(st.integers(1, 10**10), WORD, WORD)
def test_below_is_the_remainder_of_63_bits(bound, high, low):
    found = int(below(bound, torch.tensor(high), torch.tensor(low)))
    assert found == ((high << 32 | low) & (2**63 - 1)) % bound
    assert 0 <= found < bound


@pytest.mark.parametrize("bound", [3, 10, 97, 1000])
def test_words_are_uniform(bound):
    count = 200_000
    words = draw(2024, Purpose.OPERANDS, 5, torch.arange(count))
    for high, low in ((words[0], words[1]), (words[2], words[3])):
        seen = torch.bincount(below(bound, high, low), minlength=bound).double()
        statistic = ((seen - count / bound) ** 2 / (count / bound)).sum().item()
        assert 1e-3 < chi2.sf(statistic, bound - 1) < 1 - 1e-3  # fixed seed: no flakiness
    for word in words:
        bits = torch.stack([(word >> bit) & 1 for bit in range(32)]).double().mean(1)
        assert (bits - 0.5).abs().max() < 5 * 0.5 / math.sqrt(count)


def test_standard_normal_is_standard_and_normal():
    draws = standard_normal(7, Purpose.INITIAL_WEIGHTS, 1, 100_000)
    assert draws.dtype == torch.float64
    for power, moment, spread in ((1, 0, 1), (2, 1, 2**0.5), (3, 0, 15**0.5), (4, 3, 96**0.5)):
        assert abs((draws**power).mean().item() - moment) < 4 * spread / math.sqrt(len(draws))
    assert kstest(draws.numpy(), "norm").pvalue > 1e-3
    assert np.isfinite(draws.numpy()).all()


def test_standard_normal_is_a_function_of_place_not_of_count():
    assert torch.equal(standard_normal(7, Purpose.STRESS, 1, 1_000)[:9], standard_normal(7, Purpose.STRESS, 1, 9))
    assert not torch.equal(standard_normal(7, Purpose.STRESS, 1, 9), standard_normal(7, Purpose.STRESS, 2, 9))
    # A golden value: initial weights of every published run begin here.
    assert standard_normal(43, Purpose.INITIAL_WEIGHTS, 0, 2).tolist() == GOLDEN

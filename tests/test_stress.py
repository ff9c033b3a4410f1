"""The stress strata: counted against every problem there is, drawn by the law that is printed with them."""

import hashlib
import itertools
from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2

from reprogrok.exam.exam import build_exam
from reprogrok.exam.stress import (
    _PAIRS_BY_KIND,
    _WAYS,
    carry_chains,
    completions,
    strata,
)
from reprogrok.tasks.addition import Addition
from reprogrok.tasks.problems import Pairs
from reprogrok.tasks.protocols import STRESS_SUITE

torch.set_num_threads(1)

GOLDEN = "5f780e6158dc57ea9e3588838b3f80b513efd7eacf8a002170d019d06aeeec1a"


def longest_chain(pairs, digits=10):
    """The length of each pair's longest carry chain, (N,) int64, straight from the definition."""
    run = torch.zeros_like(pairs.a)
    longest = torch.zeros_like(pairs.a)
    for place in range(digits):
        total = pairs.a // 10**place % 10 + pairs.b // 10**place % 10
        run = torch.where(total > 9, 1, torch.where((total == 9) & (run > 0), run + 1, 0))
        longest = torch.maximum(longest, run)
    return longest


def plain_longest(a, b, digits):
    """The definition, in words of one problem: a place at 10 or more, then places at exactly 9."""
    sums = [a // 10**place % 10 + b // 10**place % 10 for place in range(digits)]
    longest = 0
    for start, total in enumerate(sums):
        if total >= 10:
            length = 1 + len(list(itertools.takewhile(lambda s: s == 9, sums[start + 1 :])))
            longest = max(longest, length)
    return longest


@given(st.integers(0, 10**10 - 1), st.integers(0, 10**10 - 1))
def test_longest_chain_is_the_definition(a, b):
    assert longest_chain(Pairs(torch.tensor([a]), torch.tensor([b]))).item() == plain_longest(a, b, 10)


@given(st.lists(st.tuples(st.integers(0, 9), st.sampled_from([8, 9, 9, 9, 10, 11])), min_size=10, max_size=10))
def test_longest_chain_where_chains_are_long(places):
    pairs = [(x, min(max(total - x, 0), 9)) for x, total in places]
    a, b = (sum(pair[side] * 10**place for place, pair in enumerate(pairs)) for side in (0, 1))
    assert longest_chain(Pairs(torch.tensor([a]), torch.tensor([b]))).item() == plain_longest(a, b, 10)


@pytest.mark.parametrize(
    ("a", "b", "length"),
    [
        *[(0, 0, 0), (4, 5, 0), (5, 5, 1), (95, 5, 2), (994, 6, 3), (999, 991, 1), (45, 54, 0), (9999999999, 1, 10)],
        *[(1234567890, 9876543210, 1), (5000000000, 5000000000, 1), (1111111111, 8888888889, 10)],
    ],
)
def test_worked_chains(a, b, length):
    assert longest_chain(Pairs(torch.tensor([a]), torch.tensor([b]))).item() == length
    assert plain_longest(a, b, 10) == length


def test_kinds_of_digit_pairs_are_all_of_them():
    assert [len(pairs) for pairs in _PAIRS_BY_KIND] == list(_WAYS)
    assert sorted(itertools.chain(*_PAIRS_BY_KIND)) == sorted(itertools.product(range(10), repeat=2))


@pytest.mark.parametrize("digits", [1, 2, 3])
def test_completions_count_every_problem(digits):
    numbers = torch.arange(10**digits)
    a, b = (grid.reshape(-1) for grid in torch.meshgrid(numbers, numbers, indexing="ij"))
    counted = Counter(longest_chain(Pairs(a, b), digits).tolist())
    for length in range(digits + 1):
        assert completions(digits, 0, 0, length) == counted[length]


@pytest.mark.parametrize(("run", "longest"), [(0, 0), (0, 1), (1, 1), (2, 2), (1, 2)])
def test_completions_after_a_beginning(run, longest):
    for length in range(5):
        expected = 0
        for sums in itertools.product(range(19), repeat=2):
            ways = [10 - abs(9 - total) for total in sums]
            now, most = run, longest
            for total in sums:
                now = 1 if total > 9 else now + 1 if total == 9 and now else 0
                most = max(most, now)
            expected += ways[0] * ways[1] * (most == length)
        assert completions(2, run, longest, length) == expected


def test_all_problems_of_ten_digits_are_in_one_stratum():
    assert sum(completions(10, 0, 0, length) for length in range(11)) == 10**20


@pytest.mark.parametrize("length", [0, 1, 2])
def test_chains_of_two_digits_are_uniform(length):
    cells = [(a, b) for a, b in itertools.product(range(100), repeat=2) if plain_longest(a, b, 2) == length]
    count = 40 * len(cells)
    pairs = carry_chains(length, 2, count, seed=1)
    seen = Counter(zip(pairs.a.tolist(), pairs.b.tolist(), strict=True))
    assert set(seen) <= set(cells)
    statistic = sum((seen[cell] - 40) ** 2 / 40 for cell in cells)
    assert 1e-3 < chi2.sf(statistic, len(cells) - 1) < 1 - 1e-3  # fixed seed: no flakiness


@pytest.mark.parametrize("digits", [3, 10])
def test_every_stratum_obeys_its_law(digits):
    count, top = 2_000, 10**digits
    found = {stratum.name: stratum for stratum in strata(digits, count)}
    expected = [*(f"carry chain {n}" for n in range(digits + 1)), *(f"length {n}" for n in range(1, digits + 1))]
    expected += ["unequal lengths", f"sum 10^{digits}", *(["edge pairs"] * (digits == 10))]
    assert list(found) == expected
    for stratum in found.values():
        a, b = stratum.pairs.a, stratum.pairs.b
        assert stratum.law
        assert len(stratum.pairs) == (10 if stratum.name == "edge pairs" else count)
        assert a.min() >= 0
        assert b.min() >= 0
        assert max(a.max(), b.max()) < top
    for n in range(digits + 1):
        assert (longest_chain(found[f"carry chain {n}"].pairs, digits) == n).all()
    lengths = {
        name: torch.stack([torch.tensor([len(str(x)) for x in column.tolist()]) for column in (s.pairs.a, s.pairs.b)])
        for name, s in found.items()
    }
    for n in range(1, digits + 1):
        assert (lengths[f"length {n}"] == n).all()
        low = 0 if n == 1 else 10 ** (n - 1)
        spread = (found[f"length {n}"].pairs.a - low).double() / (10**n - low)
        assert abs(spread.mean().item() - 0.5) < (0.05 if n == 1 else 0.03) + 0.05 * (n == 1)
    unequal = lengths["unequal lengths"]
    assert (unequal[0] != unequal[1]).all()
    both = Counter(zip(*unequal.tolist(), strict=True))
    assert len(both) == digits * (digits - 1)
    assert max(both.values()) < 2 * count / len(both) + 20
    total = found[f"sum 10^{digits}"].pairs
    assert ((total.a + total.b) == top).all()
    assert abs((total.a.double() / top).mean().item() - 0.5) < 0.03


def test_edge_pairs_are_the_published_ten():
    top = 9_999_999_999
    edge = next(stratum for stratum in strata() if stratum.name == "edge pairs").pairs
    assert list(zip(edge.a.tolist(), edge.b.tolist(), strict=True)) == [
        (0, 0), (0, 1), (top, 0), (top, 1), (top, top), (5000000000, 5000000000),
        (1111111111, 8888888889), (1234567890, 9876543210), (top, top), (1, top),
    ]  # fmt: skip


def test_strata_do_not_depend_on_each_other_nor_on_their_number():
    few, many = ({s.name: s.pairs for s in strata(10, count)} for count in (20, 100))
    for name, pairs in few.items():
        assert torch.equal(pairs.a, many[name].a[:20])
        assert torch.equal(pairs.b, many[name].b[:20])
    rows = {name: tuple(pairs.a.tolist()) for name, pairs in few.items()}
    assert len(set(rows.values())) == len(rows)
    other = {s.name: s.pairs for s in strata(10, 20, seed=1)}
    assert not torch.equal(other["length 7"].a, few["length 7"].a)


def test_the_suite_has_its_golden_digest():
    exam = build_exam("stress", Addition())
    assert (exam.name, exam.digest) == (STRESS_SUITE, GOLDEN)
    hasher = hashlib.sha256(STRESS_SUITE.encode())
    for stratum in exam.strata:
        hasher.update(b"\0" + stratum.name.encode() + b"\0")
        for column in (stratum.pairs.a, stratum.pairs.b):
            hasher.update(b"".join(int(x).to_bytes(8, "little") for x in column))
    assert hasher.hexdigest() == GOLDEN


def test_one_digit_has_no_unequal_lengths():
    assert [s.name for s in strata(1, 5)] == ["carry chain 0", "carry chain 1", "length 1", "sum 10^1"]

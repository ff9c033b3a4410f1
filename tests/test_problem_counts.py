"""Numbers of problems: against every problem of up to three digits, and against formulas for ten."""

import functools
import itertools

import numpy as np
import pytest
from draws import draws
from hypothesis import given
from hypothesis import strategies as st

from reprogrok.certificate.checker import counts as problem_counts
from reprogrok.certificate.checker import sweep as problem_sweep
from reprogrok.certificate.checker.carries import Block, blocks
from reprogrok.certificate.checker.counts import Part, bounds, count, counts, parts
from reprogrok.certificate.checker.trees import Leaf, LeafStatus, decode
from reprogrok.exam.stress import completions
from reprogrok.tasks.addition import EQUALS


@functools.cache
def every_problem(digits):
    """Digits of a, of b and carries of all problems; each place a row over problems."""
    a, b = (side.ravel() for side in np.meshgrid(np.arange(10**digits), np.arange(10**digits), indexing="ij"))
    first = np.array([a // 10**i % 10 for i in range(digits)])
    second = np.array([b // 10**i % 10 for i in range(digits)])
    carries = np.array([(a % 10**i + b % 10**i) // 10**i for i in range(digits + 1)])
    return first, second, carries


def union(some, limit=problem_counts.LIMIT):
    """How many problems lie in at least one of the parts, by the sweep; None where it is not exact."""
    low, high = problem_sweep.swept(*problem_counts._asked(list(some)), limit)
    return low if low == high else None


def members(part):
    """Which of all problems lie in a part, by the definition of its case and its choices."""
    block, cases, case = part.block, part.block.cases, part.case
    first, second, carries = every_problem(block.digits)
    inside = np.ones(100**block.digits, dtype=bool)
    if block.place < block.digits:
        inside &= (first[block.place] == cases.a[case]) & (second[block.place] == cases.b[case])
    if block.place > 0:
        before = block.place - 1
        inside &= (first[before] == cases.a_before[case]) & (second[before] == cases.b_before[case])
        inside &= carries[before] == cases.carry[case]
    for place, mask in part.allowed.items():
        carry = carries[place] if place < block.place else 0
        inside &= mask[100 * carry + 10 * first[place] + second[place]]
    return inside


def in_any(some, digits):
    return functools.reduce(np.logical_or, map(members, some), np.zeros(100**digits, dtype=bool))


def random_parts(digits, how_many, seed):
    """Parts of different cases, many of them of the same places; masks of every density, none and all among them."""
    rng = np.random.default_rng(seed)
    every = list(blocks(digits))
    found = {}
    for _ in range(how_many):
        block = every[rng.integers(len(every))]
        case = int(rng.integers(len(block.cases)))
        halved = [place for place in block.far if rng.random() < 0.6]
        shares = rng.choice([0.0, 0.02, 0.3, 0.9, 1.0], len(halved))
        masks = {p: rng.random(len(block.choices(p))) < share for p, share in zip(halved, shares, strict=True)}
        found[block, case] = Part(block, case, masks)
    return list(found.values())


seeds = st.integers(0, 2**32)


@draws(40)
@given(st.integers(1, 2), st.integers(1, 60), seeds)
def test_a_part_and_a_union_hold_as_many_problems_as_are_found_one_by_one(digits, how_many, seed):
    some = random_parts(digits, how_many, seed)
    assert [count(part.block, part.case, part.allowed) for part in some] == [members(part).sum() for part in some]
    assert union(some) == in_any(some, digits).sum()


@draws(3)
@given(st.integers(1, 30), seeds)
def test_of_three_digits_too(how_many, seed):
    some = random_parts(3, how_many, seed)
    assert [count(part.block, part.case, part.allowed) for part in some] == [members(part).sum() for part in some]
    assert union(some) == in_any(some, 3).sum()


@draws(40)
@given(st.integers(1, 2), st.integers(0, 60), st.integers(0, 60), st.integers(0, 12), seeds)
def test_bounds_hold_at_any_limit_and_are_exact_without_one(digits, how_many, unknown, limit, seed):
    some = random_parts(digits, how_many + unknown, seed)
    wrong, open_ = some[:how_many], some[how_many:]
    least, most = in_any(wrong, digits).sum(), in_any(some, digits).sum()
    assert bounds(wrong, open_, digits) == (least, most)
    at_least, at_most = bounds(wrong, open_, digits, limit)
    assert at_least <= least <= most <= at_most
    assert union(wrong, limit) in {None, least}


def test_bounds_at_a_limit_do_not_fall_below_the_wrong_problems_of_one_place():
    rng = np.random.default_rng(5)
    some = [
        Part(block, int(case), {p: rng.random(len(block.choices(p))) < 0.5 for p in block.far})
        for block in blocks(3)
        for case in rng.permutation(len(block.cases))[:2]
    ]
    at_least, at_most = bounds(some, [], 3, 2)
    by_place = [sum(members(part).sum() for part in some if part.block.place == place) for place in range(4)]
    assert union(some, 2) is None
    assert max(by_place) <= at_least < union(some) < at_most <= sum(by_place)


@given(seeds)
def test_overlapping_parts_of_one_case_are_counted_once(seed):
    rng = np.random.default_rng(seed)
    block = Block(2, 2, 3)
    some = [Part(block, 4, {0: rng.random(100) < 0.3}) for _ in range(5)]
    assert union(some) == in_any(some, 2).sum()


@pytest.mark.parametrize("digits", [1, 2, 3, 10])
def test_the_cases_of_a_place_hold_every_problem_once(digits):
    for place in {0, 1, 2, digits}:
        if place > digits:
            continue
        mine = [block for block in blocks(digits) if block.place == place]
        assert sum(sum(counts(block, decode("a" * len(block.cases), block), {})) for block in mine) == 100**digits
        whole = [Part(block, case) for block in mine for case in range(len(block.cases))]
        assert union(whole) == 100**digits
        assert bounds(whole, [], digits) == (100**digits, 100**digits)
        assert bounds([], whole, digits) == (0, 100**digits)


def test_nothing_is_wrong_where_no_part_is():
    assert union([]) == 0
    assert bounds([], [], 10) == (0, 0)
    assert counts(Block(10, 3, 1), [], {}) == []


def test_a_part_without_choices_is_empty():
    nothing = Part(Block(10, 4, 1), 7, {0: np.zeros(100, dtype=bool)})
    assert count(nothing.block, nothing.case, nothing.allowed) == 0
    assert bounds([nothing], [], 10) == (0, 0)


def carried_out(digits, place):
    """The cases after a carry out of a place."""
    for block in blocks(digits):
        if block.place == place + 1:
            cases = block.cases
            for case in np.flatnonzero(cases.a_before + cases.b_before + cases.carry > 9):
                yield Part(block, int(case))


def test_the_worked_carries_of_two_digits():
    assert union(carried_out(2, 0)) == 4500
    assert union(carried_out(2, 1)) == 4950
    assert union([*carried_out(2, 0), *carried_out(2, 1)]) == 6975


def test_half_of_all_ten_digit_pairs_less_half_the_diagonal_have_a_carry_at_the_end():
    assert union(carried_out(10, 9)) == (10**20 - 10**10) // 2
    assert union(itertools.chain(*(carried_out(10, place) for place in range(10)))) == 100**10 - 55**10


def test_pairs_with_a_sum_of_all_nines_are_as_many_as_first_operands():
    block = Block(10, 10, 9)
    nines = block.choices(1).a + block.choices(1).b == 9
    nines &= block.choices(1).carry_in == 0
    masks = {place: nines[: len(block.choices(place))] for place in block.far}
    cases = np.flatnonzero((block.cases.a_before + block.cases.b_before == 9) & (block.cases.carry == 0))
    some = [Part(block, int(case), masks) for case in cases]
    assert [count(block, part.case, masks) for part in some] == [10**9] * 10
    assert union(some) == 10**10


def test_pairs_without_such_a_sum_are_all_the_others():
    others = []
    for block in blocks(10):
        if block.place < 10:
            others += [Part(block, int(case)) for case in np.flatnonzero(block.cases.a + block.cases.b != 9)]
    assert union(others) == 10**20 - 10**10


def test_carry_chains_of_two_and_of_three_places_are_as_many_as_the_strata_say():
    two, three = [], []
    for block in blocks(10):
        before = block.cases.a_before + block.cases.b_before
        if 0 < block.place < 10:
            two += [Part(block, int(c)) for c in np.flatnonzero((before > 9) & (block.cases.a + block.cases.b == 9))]
        if 1 < block.place < 10:
            choices = block.choices(block.place - 2)
            begins = {block.place - 2: choices.a + choices.b > 9}
            through = (before == 9) & (block.cases.carry == 1) & (block.cases.a + block.cases.b == 9)
            three += [Part(block, int(case), begins) for case in np.flatnonzero(through)]
    shorter = [completions(10, 0, 0, length) for length in range(3)]
    assert union(two) == 100**10 - sum(shorter[:2])
    assert union(three) == 100**10 - sum(shorter)
    assert union(two + three) == union(two)


def random_leaves(block, seed):
    """All leaves of trees that halve far places at random."""
    rng = np.random.default_rng(seed)

    def tree(depth):
        if depth == 0 or not block.far or rng.random() < 0.3:
            return "Aa?"[rng.integers(3)]
        return chr(48 + rng.choice(block.far)) + tree(depth - 1) + tree(depth - 1)

    leaves = decode("".join(tree(3) for _ in range(len(block.cases))), block)
    return leaves, {place: rng.permutation(len(block.choices(place))) for place in block.far}


@draws(12)
@given(st.sampled_from([b for n in (1, 2, 3, 10) for b in blocks(n) if b.place in {0, 1, 2, n - 1, n}]), seeds)
def test_the_counts_of_many_leaves_are_the_counts_of_each(block, seed):
    leaves, orders = random_leaves(block, seed)
    found = counts(block, leaves, orders)
    some = range(0, len(leaves), 1 + len(leaves) // 100)
    assert [found[i] for i in some] == [
        count(block, part.case, part.allowed) for part in parts(block, [leaves[i] for i in some], orders)
    ]
    assert sum(found) == sum(count(block, case, {}) for case in range(len(block.cases)))
    assert all(isinstance(number, int) for number in found)
    for i, part in zip(some, parts(block, [leaves[i] for i in some], orders), strict=True):
        assert (part.block, part.case) == (block, leaves[i].case)
        assert count(block, part.case, part.allowed) == found[i]


@pytest.mark.parametrize("block", [Block(10, 0, EQUALS), Block(10, 1, 0), Block(10, 10, 0), Block(12, 5, 3)])
def test_counts_are_exact_beyond_64_bits(block):
    order = np.roll(np.arange(100), -1)
    place = max(block.far)
    leaves = [Leaf(0, LeafStatus.WRONG, 0, ()), Leaf(0, LeafStatus.WRONG, 0, ((place, 0, 99),))]
    # Without a run: the far places are free but for the carry into the case, which is 0 for the first one.
    below = (10 ** (2 * (block.place - 1)) + 10 ** (block.place - 1)) // 2 if block.place > 1 else 1
    free = below * 100 ** len(block.above)
    found = counts(block, leaves, {place: np.tile(order, 2)} if block.place == 10 else {place: order})
    assert found[0] == free == count(block, 0, {})
    if place in block.above:
        assert found[1] == free // 100 * 99


def test_masks_that_fit_no_far_place_are_refused():
    block = Block(10, 6, 3)
    for masks, message in (
        ({5: np.ones(100, dtype=bool)}, "place 5 is not far from place 6 of 10"),
        ({10: np.ones(100, dtype=bool)}, "place 10 is not far"),
        ({3: np.ones(100, dtype=bool)}, r"place 3 has 200 choices, not \(100,\)"),
    ):
        with pytest.raises(ValueError, match=message):
            count(block, 0, masks)
        with pytest.raises(ValueError, match=message):
            union([Part(block, 0, masks)])


def test_parts_of_other_digits_are_refused():
    mixed = [Part(Block(2, 1, 0), 0), Part(Block(3, 1, 0), 0)]
    with pytest.raises(ValueError, match="a part of 3 digits among those of 2"):
        union(mixed)
    with pytest.raises(ValueError, match="a part of 2 digits among those of 3"):
        bounds(mixed, [], 3)


def test_a_halved_place_without_an_order_is_refused():
    with pytest.raises(ValueError, match="place 2 is halved but has no order"):
        counts(Block(10, 6, 3), [Leaf(0, LeafStatus.RIGHT, 0, ((2, 0, 100),))], {})


def test_a_sweep_that_forgets_carries_is_seen(monkeypatch):
    some = random_parts(2, 60, 1)
    assert union(some) == in_any(some, 2).sum()
    monkeypatch.setattr(problem_sweep, "CARRY_OUT_IK", np.zeros((2, 100), dtype=int))
    assert union(some) != in_any(some, 2).sum()


def test_a_sweep_that_lets_sets_go_for_nothing_is_seen(monkeypatch):
    some = random_parts(2, 60, 1)
    low, high = bounds(some, [], 2, 1)
    assert low < high
    real = problem_sweep._dropped
    monkeypatch.setattr(problem_sweep, "_dropped", lambda *arguments: 0.0 * real(*arguments))
    assert union(some, 1) != in_any(some, 2).sum()


def test_a_count_that_takes_every_carry_is_seen(monkeypatch):
    part = next(part for part in random_parts(3, 200, 2) if part.block.place > 1 and not part.allowed)
    assert count(part.block, part.case, {}) == members(part).sum()
    monkeypatch.setattr(problem_counts, "_table", lambda *_: np.array([[100, 0], [0, 100]]))
    assert count(part.block, part.case, {}) != members(part).sum()


@pytest.mark.parametrize("limit", [1, 20, 1000])
def test_a_place_that_is_cleared_in_between_still_gives_bounds(monkeypatch, limit):
    monkeypatch.setattr(problem_sweep, "_SPARE", 0)
    monkeypatch.setattr(problem_sweep, "_CHUNK", 1)
    some = random_parts(3, 60, 3)
    exact = in_any(some, 3).sum()
    low, high = problem_sweep.swept(*problem_counts._asked(some), limit)
    assert low <= exact <= high
    assert (low == high) == (limit == 1000)

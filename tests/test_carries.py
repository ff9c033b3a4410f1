"""Blocks, cases and choices against every problem of one, two and three digits, by schoolbook addition."""

import itertools
from collections import Counter

import numpy as np
import pytest

from reprogrok.certificate.checker.carries import Block, blocks
from reprogrok.tasks.addition import EQUALS


def every_problem(digits):
    """All problems, as arrays: digits of a, of b and of the sum, and carries; each place a row over problems."""
    a, b = (side.ravel() for side in np.meshgrid(np.arange(10**digits), np.arange(10**digits), indexing="ij"))
    first = np.array([a // 10**i % 10 for i in range(digits)])
    second = np.array([b // 10**i % 10 for i in range(digits)])
    answer = np.array([(a + b) // 10**i % 10 for i in range(digits + 1)])
    carries = np.array([(a % 10**i + b % 10**i) // 10**i for i in range(digits + 1)])
    return first, second, answer, carries


def test_ten_digits_have_101_blocks_with_170300_cases():
    found = list(blocks(10))
    sizes = {place: {len(block.cases) for block in found if block.place == place} for place in range(11)}
    assert len(found) == 101
    assert found[0] == Block(10, 0, EQUALS)
    assert [(block.place, block.token) for block in found[1:]] == list(itertools.product(range(1, 11), range(10)))
    assert sizes == {0: {100}, 1: {1000}, **{place: {2000} for place in range(2, 10)}, 10: {20}}
    assert sum(len(block.cases) for block in found) == 170_300


def test_of_one_digit_the_last_place_has_no_carry_before_it():
    assert [len(block.cases) for block in blocks(1)] == [100] + 10 * [10]


@pytest.mark.parametrize("digits", [1, 2, 3])
def test_every_problem_is_in_one_case_of_one_block_of_each_place_and_the_case_knows_its_digit(digits):
    first, second, answer, carries = every_problem(digits)
    for place in range(digits + 1):
        matches = np.zeros(100**digits, dtype=int)
        for block in blocks(digits):
            if block.place != place:
                continue
            cases = block.cases
            token = np.full(100**digits, EQUALS) if place == 0 else answer[place - 1]
            nothing = np.zeros(100**digits, dtype=int)
            before = [rows[place - 1] if place else nothing for rows in (carries, first, second)]
            own = [rows[place] if place < digits else nothing for rows in (first, second)]
            # A case's five numbers as one, looked up for every problem whose token is the block's.
            weights = (10000, 1000, 100, 10, 1)
            columns = (cases.carry, cases.a_before, cases.b_before, cases.a, cases.b)
            keys = sum(w * x for w, x in zip(weights, columns, strict=True))
            assert len(set(keys.tolist())) == len(cases)
            assert np.array_equal(keys, np.sort(keys))
            where = np.full(20000, -1)
            where[keys] = np.arange(len(cases))
            case = where[sum(w * x for w, x in zip(weights, (*before, *own), strict=True))]
            mine = (token == block.token) & (case >= 0)
            assert np.array_equal(mine, token == block.token)
            assert np.array_equal(cases.right[case[mine]], answer[place][mine])
            matches += mine
        assert (matches == 1).all()


@pytest.mark.parametrize("digits", [1, 2, 3])
def test_what_stands_at_a_far_place_is_a_choice_and_carries_chain_up_to_the_case(digits):
    first, second, answer, carries = every_problem(digits)
    for block in blocks(digits):
        assert sorted((*block.below, *block.above)) == list(block.far)
        for place in block.far:
            choices = block.choices(place)
            read = place in block.below
            carry = carries[place] if read else 0 * carries[place]
            number = 100 * carry + 10 * first[place] + second[place]
            assert number.max() < len(choices)
            assert np.array_equal(choices.carry_in[number], carry)
            assert np.array_equal(choices.a[number], first[place])
            assert np.array_equal(choices.b[number], second[place])
            if read:
                assert np.array_equal(choices.digit[number], answer[place])
                assert np.array_equal(choices.carry_out[number], carries[place + 1])


def test_a_choice_has_the_number_of_its_carry_and_digits():
    choices = Block(10, 6, 3).choices(2)
    assert len(choices) == 200
    assert [int(column[147]) for column in (choices.carry_in, choices.a, choices.b, choices.digit)] == [1, 4, 7, 2]
    assert int(choices.carry_out[147]) == 1


def test_only_a_place_between_the_first_and_the_one_before_has_200_choices():
    sizes = {place: len(Block(10, 6, 3).choices(place)) for place in Block(10, 6, 3).far}
    assert sizes == {0: 100, 1: 200, 2: 200, 3: 200, 4: 200, 7: 100, 8: 100, 9: 100}


def test_a_block_knows_where_its_digit_is_asked():
    # `a10 + b10 =` are positions 0 to 21; the digit of place 0 is asked at the last of them.
    assert [Block(10, 0, EQUALS).asked, Block(10, 10, 4).asked] == [21, 31]


def test_every_case_of_a_block_fits_its_token():
    for block in blocks(4):
        if block.place:
            cases = block.cases
            digits = Counter(((cases.a_before + cases.b_before + cases.carry) % 10).tolist())
            assert set(digits) == {block.token}

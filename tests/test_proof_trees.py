"""The text of a certificate's trees: read and written, against a plain reader by recursion, and attacked."""

import contextlib
import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reprogrok.certificate.checker.carries import Block, blocks
from reprogrok.certificate.checker.counts import parts
from reprogrok.certificate.checker.trees import (
    GRIDS,
    Leaf,
    LeafStatus,
    checked_order,
    decode,
    encode,
    mark,
    pack,
    unpack,
)
from reprogrok.errors import InputError
from reprogrok.tasks.addition import EQUALS

FIRST = Block(10, 0, EQUALS)
MIDDLE = Block(10, 6, 3)
LAST = Block(10, 10, 4)  # the one with the fewest cases: 20
ALPHABET = "0123456789:;<=>?@ABCDEFGHabcdefgh"


def read(tree, case, runs, sizes):
    """All leaves of one tree, as the docstring of the format says."""
    if isinstance(tree, str):
        if tree == "?":
            return [Leaf(case, LeafStatus.OPEN, 0, tuple(runs))]
        status, grid = (
            (LeafStatus.RIGHT, ord(tree) - ord("A")) if tree < "a" else (LeafStatus.WRONG, ord(tree) - ord("a"))
        )
        return [Leaf(case, status, grid, tuple(runs))]
    place, lower, upper = tree
    others = [run for run in runs if run[0] != place]
    [(_, first, end)] = [run for run in runs if run[0] == place] or [(place, 0, sizes[place])]
    middle = first + (end - first) // 2
    return read(lower, case, sorted([*others, (place, first, middle)]), sizes) + read(
        upper, case, sorted([*others, (place, middle, end)]), sizes
    )


def trees(block):
    leaf = st.sampled_from("?ABCDEFGabcdefg")
    # Six leaves are at most five halvings of one place, and 100 choices can be halved six times.
    node = st.recursive(leaf, lambda part: st.tuples(st.sampled_from(block.far), part, part), max_leaves=6)
    return st.lists(node, min_size=len(block.cases), max_size=len(block.cases))


@given(trees(LAST))
def test_leaves_are_what_a_plain_reader_finds(forest):
    sizes = {place: 200 if 0 < place < 9 else 100 for place in LAST.far}
    expected = [leaf for case, tree in enumerate(forest) for leaf in read(tree, case, [], sizes)]
    assert decode(encode(forest), LAST) == expected


def test_the_worked_text():
    text = encode([(3, "A", (5, "a", "?")), *"B" * 99])
    assert text == "3A5a?" + "B" * 99
    assert decode(text, FIRST)[:4] == [
        Leaf(0, LeafStatus.RIGHT, 0, ((3, 0, 50),)),
        Leaf(0, LeafStatus.WRONG, 0, ((3, 50, 100), (5, 0, 50))),
        Leaf(0, LeafStatus.OPEN, 0, ((3, 50, 100), (5, 50, 100))),
        Leaf(1, LeafStatus.RIGHT, 1, ()),
    ]


def test_a_node_may_be_filled_in_later_and_hold_text():
    node = [3, None, None]
    forest = [node]
    node[1], node[2] = "A", [5, encode(["a"]), "?"]
    assert encode(forest) == "3A5a?"


def test_every_mark_is_read_as_it_was_written():
    for status in LeafStatus:
        for grid in range(len(GRIDS)):
            [leaf, *_] = decode(mark(status, grid) + 99 * "A", FIRST)
            assert (leaf.status, leaf.grid) == (status, 0 if status is LeafStatus.OPEN else grid)
    with pytest.raises(IndexError):
        mark(LeafStatus.RIGHT, len(GRIDS))


def test_the_runs_of_a_place_are_halved_down_to_one_choice():
    def whole(size):
        return "A" if size == 1 else [3, whole(size // 2), whole(size - size // 2)]

    leaves = decode(encode([whole(200), *19 * "A"]), LAST)
    assert [leaf.runs for leaf in leaves[:200]] == [((3, choice, choice + 1),) for choice in range(200)]


def test_a_tree_as_deep_as_it_can_be_needs_no_recursion():
    def comb(places):
        tree = "A"
        for place in places:
            size = 200 if 0 < place < 9 else 100
            while size > 1:
                size -= size // 2
                tree = (place, "?", tree)
        return tree

    text = encode([comb(LAST.far), *19 * "A"])
    leaves = decode(text, LAST)
    assert len(leaves) == 8 * 8 + 7 + 20
    assert max(len(leaf.runs) for leaf in leaves) == 9
    # 200, 100, 50, 25, 12, 6, 3, 1: the eighth halving fails, whatever else would follow.
    with pytest.raises(InputError, match=r"character 8: expected a place with choices left.*found place 3, of one"):
        decode("3" * 1_000_000, LAST)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("A" * 19, r"character 20: expected 20 trees, one for each case, found 19$"),
        ("", r"character 1: expected 20 trees, one for each case, found 0$"),
        ("A" * 19 + "3A", r"character 22: expected 20 trees, .*found 19 and a tree that is cut off"),
        ("A" * 18 + "3A", r"character 21: expected 20 trees, .*found 18 and a tree that is cut off"),
        ("A" * 21, r"character 21: expected the end, after 20 trees, found 'A'"),
        ("AA9AA", r"character 3: expected a place among 0, 1, 2, 3, 4, 5, 6, 7, 8, found place 9"),
        ("H" * 20, r"character 1: expected a grid below 7, found grid 7 \('H'\)"),
        ("Az" + "A" * 18, r"character 2: expected a grid below 7, found grid 25 \('z'\)"),
        ("A A", r"character 2: expected a place, a grid's letter or '\?', found ' '"),
        ("\U0001f600", r"character 1: expected a place, .* found '\\U0001f600'"),
        ("\x00", r"character 1: expected a place, .* found '\\x00'"),
    ],
)
def test_a_bad_text_says_where_and_what(text, message):
    with pytest.raises(InputError, match="trees of place 10, token 4, " + message):
        decode(text, LAST)


def test_the_asked_place_and_the_one_before_are_never_halved():
    for place in (5, 6):
        with pytest.raises(InputError, match=f"expected a place among 0, 1, 2, 3, 4, 7, 8, 9, found place {place}"):
            decode(f"{place}AA" + "A" * 1999, MIDDLE)


def test_one_digit_has_no_place_to_halve():
    with pytest.raises(InputError, match="expected a place among none, found place 0"):
        decode("0AA" + 99 * "A", Block(1, 0, EQUALS))


@given(st.one_of(st.text(max_size=60), st.text(ALPHABET, max_size=60)), st.sampled_from(list(blocks(2))))
def test_any_text_is_read_or_refused(text, block):
    try:
        leaves = decode(text, block)
    except InputError:
        return
    assert {leaf.case for leaf in leaves} == set(range(len(block.cases)))
    assert all(leaf.grid < len(GRIDS) for leaf in leaves)


@given(trees(LAST), st.data())
def test_a_text_with_one_character_changed_is_read_or_refused(forest, data):
    text = encode(forest)
    at = data.draw(st.integers(0, len(text) - 1))
    changed = text[:at] + data.draw(st.sampled_from(ALPHABET)) + text[at + 1 :]
    try:
        leaves = decode(changed, LAST)
    except InputError:
        return
    assert len(leaves) == sum(character == "?" or character.isalpha() for character in changed)


def test_an_order_is_every_choice_once():
    order = np.random.default_rng(1).permutation(200)
    assert checked_order(order.astype(np.uint8), MIDDLE, 2).tolist() == order.tolist()
    assert checked_order(list(range(100)), MIDDLE, 9).dtype == np.int64


@pytest.mark.parametrize(
    ("order", "place", "message"),
    [
        (range(200), 6, "order of place 6: expected a place among 0, 1, 2, 3, 4, 7, 8, 9, found 6"),
        (range(200), 11, "order of place 11: expected a place among"),
        (range(100), 2, r"order of place 2: expected 200 choices, found shape \(100,\)"),
        (range(200), 9, r"order of place 9: expected 100 choices, found shape \(200,\)"),
        ([0, *range(99)], 9, "order of place 9: expected each of 0 to 99 once, found another list"),
        (range(1, 101), 9, "expected each of 0 to 99 once"),
        ([x + 0.0 for x in range(100)], 9, "expected each of 0 to 99 once"),
        ([[x] for x in range(100)], 9, r"found shape \(100, 1\)"),
    ],
)
def test_an_order_that_is_none_is_refused(order, place, message):
    with pytest.raises(InputError, match=message):
        checked_order(list(order), MIDDLE, place)


@given(trees(LAST), st.integers(0, 2**32))
def test_the_masks_of_a_cases_leaves_are_parts_of_its_problems(forest, seed):
    # A random problem, as its choice at each far place, lies in exactly one leaf of every case.
    rng = np.random.default_rng(seed)
    orders = {place: rng.permutation(len(LAST.choices(place))) for place in LAST.far}
    chosen = {place: rng.integers(len(orders[place])) for place in LAST.far}
    hits = np.zeros(len(LAST.cases), dtype=int)
    for part in parts(LAST, decode(encode(forest), LAST), orders):
        hits[part.case] += all(mask[chosen[place]] for place, mask in part.allowed.items())
    assert (hits == 1).all()


def test_a_mask_holds_the_run_of_the_order():
    order = np.arange(99, -1, -1)
    [part] = parts(LAST, [Leaf(0, LeafStatus.RIGHT, 0, ((3, 50, 100),))], {3: order})
    [mask] = part.allowed.values()
    assert np.flatnonzero(mask).tolist() == list(range(50))


@given(st.text(ALPHABET))
def test_packing_loses_nothing(text):
    assert unpack(pack(text), len(text)) == text


def test_a_block_of_one_kind_of_leaf_packs_into_few_bytes():
    assert len(pack("A" * 2000)) < 30


def test_a_bomb_is_not_unpacked():
    bomb = zlib.compress(b"A" * 50_000_000, 9)
    assert len(bomb) < 60_000
    tracemalloc.start()
    with pytest.raises(InputError, match="trees: expected at most 1000 characters, found more"):
        unpack(bomb, 1000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000


@pytest.mark.parametrize(
    ("packed", "message"),
    [
        (b"", "expected one whole zlib stream, found one that is cut off"),
        (pack("A" * 2000)[:-1], "found one that is cut off"),
        (pack("A") + b"xx", "found 2 bytes after it"),
        (b"not zlib", "expected a zlib stream"),
        (zlib.compress(b"\xff"), "expected ASCII characters"),
    ],
)
def test_bytes_that_are_no_packed_text_are_refused(packed, message):
    with pytest.raises(InputError, match=message):
        unpack(packed, 5000)


@given(st.binary(max_size=80))
def test_any_bytes_are_unpacked_or_refused(packed):
    with contextlib.suppress(InputError):
        assert unpack(packed, 1000).isascii()

"""What the search goes by is what the model does, and what it writes down is what it found; nothing here is trusted."""

from itertools import pairwise

import numpy as np
import pytest
from certificate_statements import search_block
from plain_addition import (
    FAMILY,
    all_pairs,
    cases_of,
    choice_of,
    leads,
    plain_forward,
    random_weights,
    rows,
    spec_of,
)  # fmt: skip

from reprogrok.certificate.checker.carries import Block, blocks
from reprogrok.certificate.checker.counts import parts
from reprogrok.certificate.checker.enclosure import Enclosure
from reprogrok.certificate.checker.trees import OPEN, LeafStatus, decode
from reprogrok.certificate.search.estimated_boxes import BlockBoxes, Nodes, SearchedModel, halves, runs
from reprogrok.certificate.search.estimated_margins import estimated_margins
from reprogrok.certificate.search.proof_search import search
from reprogrok.tasks.addition import EQUALS


def counted():
    """A clock that counts how often it was asked."""
    times = iter(range(1_000_000))
    return lambda: float(next(times))


def searched(spec, weights, digits):
    return SearchedModel(spec, {name: tensor.double().numpy() for name, tensor in weights.items()}, digits)


def problems_of(block):
    """Every problem of a block: operands, cases, and what attention and logits are at the asked position."""
    a_B, b_B = all_pairs(block.digits)
    case_B = cases_of(block, a_B, b_B)
    mine = case_B >= 0
    return a_B[mine], b_B[mine], case_B[mine]


def outcomes(spec, weights, block, a_B, b_B):
    """Attention's output and the right token's least lead, in float64 by a plain model."""
    attended_BTD, logits_BTV = plain_forward(spec, weights, rows(block.digits, a_B, b_B))
    right_B = (a_B + b_B) // 10**block.place % 10
    return attended_BTD[:, block.asked], leads(logits_BTV[:, block.asked], right_B).min(1)


def of_leaf(proof, leaf, a_B, b_B, case_B):
    """Which problems a leaf is about."""
    mine_B = case_B == leaf.case
    for place, mask in parts(proof.block, [leaf], proof.orders)[0].allowed.items():
        choices = proof.block.choices(place)
        number = np.full(200, -1)
        number[100 * choices.carry_in + 10 * choices.a + choices.b] = np.arange(len(choices))
        mine_B &= mask[number[choice_of(proof.block, place, a_B, b_B)]]
    return mine_B


@pytest.mark.parametrize("kind", FAMILY[::2], ids=str)
def test_boxes_of_whole_cases_are_what_attention_reaches(kind):
    spec = spec_of(2, **kind)
    weights = random_weights(spec, 4, 0.5)
    for block in (Block(2, 0, EQUALS), Block(2, 2, 6)):
        boxes = BlockBoxes(searched(spec, weights, 2), block)
        nodes = boxes.whole_cases()
        a_B, b_B, case_B = problems_of(block)
        reached_BR = outcomes(spec, weights, block, a_B, b_B)[0] @ boxes.basis_RD.T
        for case in range(0, len(block.cases), 7):
            mine_BR = reached_BR[case_B == case]
            size = np.abs(mine_BR).max()
            assert nodes.low_NR[case] == pytest.approx(mine_BR.min(0), abs=2e-3 * size)
            assert nodes.high_NR[case] == pytest.approx(mine_BR.max(0), abs=2e-3 * size)
            assert (nodes.low_NR[case] <= mine_BR.min(0) + 1e-7 * size).all()
            assert (nodes.high_NR[case] >= mine_BR.max(0) - 1e-7 * size).all()


def test_halved_cases_have_smaller_boxes_that_still_hold_their_problems():
    block = Block(3, 3, 5)
    spec = spec_of(3, rms=True)
    weights = random_weights(spec, 5, 0.5)
    boxes = BlockBoxes(searched(spec, weights, 3), block)
    whole = boxes.whole_cases()
    first = Nodes(whole.case_N, whole.run_NF + np.array([1, 0]), whole.low_NR, whole.high_NR)
    half = boxes.shrunk(first)
    width, before = half.high_NR - half.low_NR, whole.high_NR - whole.low_NR
    assert (width <= before + 1e-9).all()
    assert np.median((width / before).min(1)) < 0.9
    rng = np.random.default_rng(0)
    a_B, b_B = rng.integers(0, 1000, (2, 4000))
    case_B = cases_of(block, a_B, b_B)
    members = boxes.orders[0][: len(boxes.orders[0]) // 2]
    mine = (case_B >= 0) & np.isin(choice_of(block, 0, a_B, b_B), members)
    assert mine.sum() > 100
    reached_BR = outcomes(spec, weights, block, a_B[mine], b_B[mine])[0] @ boxes.basis_RD.T
    assert (reached_BR >= half.low_NR[case_B[mine]] - 1e-7).all()
    assert (reached_BR <= half.high_NR[case_B[mine]] + 1e-7).all()


@pytest.mark.parametrize("kind", FAMILY[1::2], ids=str)
def test_leads_bound_those_of_every_problem_on_every_grid(kind):
    spec = spec_of(2, **kind)
    weights = random_weights(spec, 6, 0.5)
    block = Block(2, 2, 1)
    boxes = BlockBoxes(searched(spec, weights, 2), block)
    a_B, b_B, case_B = problems_of(block)
    lead_B = outcomes(spec, weights, block, a_B, b_B)[1]
    nodes = boxes.whole_cases()
    seen = [estimated_margins(boxes, nodes, grid) for grid in (0, 2, 4)]
    for each in seen:
        assert (lead_B >= each.lowest_N[case_B] - 1e-6).all()
        assert (lead_B <= each.beaten_N[case_B] + 1e-6).all()
    for coarse, fine in pairwise(seen):
        assert np.median(fine.lowest_N - coarse.lowest_N) >= 0


def test_the_slope_points_to_where_the_lead_falls():
    block = Block(2, 2, 3)
    spec = spec_of(2, rms=True)
    weights = random_weights(spec, 8, 0.3)
    boxes = BlockBoxes(searched(spec, weights, 2), block)
    nodes = boxes.whole_cases()
    slopes = estimated_margins(boxes, nodes, 0).slope_NR
    a_B, b_B, case_B = problems_of(block)
    reached_BR = outcomes(spec, weights, block, a_B, b_B)[0] @ boxes.basis_RD.T
    for case in range(len(nodes)):
        a, b = boxes.worst_problem(nodes[case : case + 1], slopes[case])
        mine = case_B == case
        at = np.flatnonzero(mine & (a_B == a) & (b_B == b))
        assert len(at) == 1, "it is a problem of the case"
        falls_B = reached_BR[mine] @ slopes[case]
        # Weights differ a little between problems, so the lowest of the linear pull is nearly the lowest of all.
        assert reached_BR[at[0]] @ slopes[case] <= falls_B.min() + 0.1 * np.ptp(falls_B)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("digits", [1, 2])
def test_what_it_calls_right_or_wrong_is_so_in_float64(digits, seed):
    spec = spec_of(digits, rms=bool(seed % 2))
    weights = random_weights(spec, 20 + seed, 0.6)
    model = searched(spec, weights, digits)
    decided = 0
    for block in list(blocks(digits))[:: 2 * digits - 1]:
        proof = search_block(model, block, 3.0, counted()).proof
        a_B, b_B, case_B = problems_of(block)
        lead_B = outcomes(spec, weights, block, a_B, b_B)[1]
        leaves = decode(proof.text, block)
        seen_B = np.zeros(len(a_B), dtype=int)
        for leaf in leaves:
            mine_B = of_leaf(proof, leaf, a_B, b_B, case_B)
            seen_B += mine_B
            if leaf.status is LeafStatus.RIGHT:
                assert (lead_B[mine_B] > 0).all()
            elif leaf.status is LeafStatus.WRONG:
                assert (lead_B[mine_B] < 0).all()
            decided += leaf.status is not LeafStatus.OPEN
        assert (seen_B == 1).all(), "leaves share no problem and leave none out"
    assert decided > 100


def test_an_enclosure_takes_back_what_rounding_in_float32_leaves_open():
    spec = spec_of(2)
    weights = random_weights(spec, 31, 3.0)
    model, enclosure = searched(spec, weights, 2), Enclosure(spec, weights, 2)
    refused = {True: 0, False: 0}
    for asked in (True, False):
        for block in list(blocks(2))[::5]:
            proof = search_block(model, block, 0.0, lambda: 1.0, enclosure if asked else None).proof
            leaves = [leaf for leaf in decode(proof.text, block) if leaf.status is not LeafStatus.OPEN]
            margins = enclosure.block(block, proof.basis_rD, proof.orders).margins(leaves)
            for leaf, lowest, beaten in zip(leaves, margins.lowest_L, margins.beaten_L, strict=True):
                refused[asked] += not (lowest > 0 if leaf.status is LeafStatus.RIGHT else beaten < 0)
    assert refused[True] == 0
    assert refused[False] > 100


def test_without_time_every_case_is_tried_as_a_whole_and_none_is_halved():
    spec = spec_of(3)
    model = searched(spec, random_weights(spec, 9), 3)
    found = search_block(model, Block(3, 3, 5), seconds=0.0, clock=lambda: 1.0)
    assert len(found.proof.text) == len(Block(3, 3, 5).cases)
    assert OPEN in found.proof.text
    assert found.proof.orders == {}


def test_what_was_found_before_is_handed_on_and_the_rest_is_searched():
    spec = spec_of(1)
    model = searched(spec, random_weights(spec, 10), 1)
    everything = list(search(model, {}, 10.0))
    assert {found.proof.block for found in everything} == set(blocks(1))
    have = {found.proof.block: found for found in everything[:4]}
    again = list(search(model, have, 10.0))
    assert all(one is other for one, other in zip(again[:4], everything[:4], strict=True))
    texts = [{found.proof.block: found.proof.text for found in each} for each in (again, everything)]
    assert texts[0] == texts[1]


def test_the_block_with_most_open_problems_is_halved_first():
    spec = spec_of(2, rms=True)
    model = searched(spec, random_weights(spec, 5, 0.6), 2)
    shares = []
    stopped = {found.proof.block: found for found in search(model, {}, 0.0)}
    going_on = {found.proof.block: found for found in search(model, {}, 20.0, counted(), None, shares.append)}
    assert set(stopped) == set(going_on) == set(blocks(2))
    assert len(shares) > 2
    assert all(later <= earlier for earlier, later in pairwise(shares))

    def open_cases(found):
        return found.proof.text.count(OPEN)

    halved = [block for block, found in going_on.items() if found.proof.orders]
    assert halved
    assert open_cases(stopped[max(halved, key=lambda block: block.place)]) > 0


def test_suspects_are_problems_of_the_block_and_hold_what_is_wrong():
    spec = spec_of(2, rms=True)
    weights = random_weights(spec, 21, 0.6)
    block = Block(2, 1, 4)
    found = search_block(searched(spec, weights, 2), block, 3.0, counted())
    a_B, b_B = (np.array(column) for column in zip(*found.suspects, strict=True))
    assert (cases_of(block, a_B, b_B) >= 0).all()
    assert (outcomes(spec, weights, block, a_B, b_B)[1] < 0).any()


def test_runs_are_halved_as_the_text_of_a_certificate_halves_them():
    assert runs(5, 1) == [(0, 5), (0, 2), (2, 5)]
    everything = runs(100, 99)
    assert len(everything) == len(set(everything)) == 199, "a tree with 100 leaves"
    for run, (first, second) in zip(everything, halves(100), strict=True):
        start, end = run
        if end - start == 1:
            assert (first, second) == (-1, -1)
        else:
            middle = start + (end - start) // 2
            assert (everything[first], everything[second]) == ((start, middle), (middle, end))

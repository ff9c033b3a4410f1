"""No problem of a leaf leaves its bounds, in real arithmetic or in float32; models of other kinds are refused."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from plain_addition import (
    FAMILY,
    all_pairs,
    cases_of,
    choice_of,
    float32_logits,
    leads,
    plain_forward,
    random_weights,
    rows,
    spec_of,
)  # fmt: skip

from reprogrok.certificate.checker import affine, enclosure
from reprogrok.certificate.checker.carries import Block, blocks
from reprogrok.certificate.checker.enclosure import Enclosure, refusal
from reprogrok.certificate.checker.rounding import FLOAT32, REAL
from reprogrok.certificate.checker.trees import GRIDS, Leaf, LeafStatus
from reprogrok.errors import InputError
from reprogrok.formats.checkpoints import load_checkpoint
from reprogrok.tasks.addition import EQUALS

TOKENS = (0, 7, EQUALS)
ARITHMETICS = [pytest.param(REAL, id="real"), pytest.param(FLOAT32, id="float32")]


def whole(block, grid=0):
    return [Leaf(case, LeafStatus.RIGHT, grid, ()) for case in range(len(block.cases))]


def escapes(spec, weights, digits, arithmetic, *, basis=None, grid=0, problems=None, only=None):
    """How many problems leave the bounds of their leaf, over the blocks of some tokens."""
    a_B, b_B = all_pairs(digits) if problems is None else problems
    tokens_BT = rows(digits, a_B, b_B)
    if arithmetic is REAL:
        logits_BTV = plain_forward(spec, weights, tokens_BT)[1]
    else:
        logits_BTV = float32_logits(spec, weights, tokens_BT)
    basis_rD = np.eye(spec.d_model) if basis is None else basis
    model = Enclosure(spec, weights, digits, arithmetic)
    outside = asked = 0
    for block in blocks(digits):
        if block.token not in TOKENS or (only is not None and block.place not in only):
            continue
        case_B = cases_of(block, a_B, b_B)
        of_B = np.flatnonzero(case_B >= 0)
        leaf_B = case_B[of_B]
        bounds = model.block(block, basis_rD, {}).margins(whole(block, grid))
        lead_BV = leads(logits_BTV[of_B, block.asked], block.cases.right[leaf_B])
        least_B = lead_BV.min(1)
        outside += (least_B < bounds.lowest_L[leaf_B]).sum() + (least_B > bounds.beaten_L[leaf_B]).sum()
        asked += len(of_B)
    assert asked > len(a_B) / 10
    return outside


@pytest.mark.parametrize("arithmetic", ARITHMETICS)
@pytest.mark.parametrize("kind", FAMILY, ids=str)
def test_every_problem_of_two_digits_lies_within_the_bounds_of_its_case(kind, arithmetic):
    spec = spec_of(2, **kind)
    assert escapes(spec, random_weights(spec, 1), 2, arithmetic) == 0


@pytest.mark.parametrize("scale", [0.1, 2.0, 5.0])
@pytest.mark.parametrize("rms", [False, True])
def test_weights_of_any_size_are_enclosed(rms, scale):
    spec = spec_of(2, rms=rms)
    for arithmetic in (REAL, FLOAT32):
        assert escapes(spec, random_weights(spec, 2, scale), 2, arithmetic, only=(0, 2)) == 0


@pytest.mark.parametrize("grid", range(1, 5))
def test_boxes_cut_into_cells_hold_as_well_and_are_no_looser(grid):
    spec = spec_of(2, rms=True)
    weights = random_weights(spec, 3)
    assert escapes(spec, weights, 2, FLOAT32, grid=grid, only=(0, 2)) == 0
    block = Block(2, 2, 4)
    part = Enclosure(spec, weights, 2).block(block, np.eye(5), {})
    plain, cut = part.margins(whole(block)), part.margins(whole(block, grid))
    assert np.median(cut.lowest_L - plain.lowest_L) > 0
    assert np.median(plain.beaten_L - cut.beaten_L) > 0
    assert (plain.width_L == cut.width_L).all()


@pytest.mark.parametrize("rank", [0, 1, 2, 5])
def test_any_basis_is_sound(rank):
    spec = spec_of(2)
    weights = random_weights(spec, 4)
    rng = np.random.default_rng(rank)
    basis_rD = rng.normal(size=(rank, 5))
    assert escapes(spec, weights, 2, REAL, basis=basis_rD, only=(0, 2)) == 0
    assert escapes(spec, weights, 2, REAL, basis=np.linalg.qr(rng.normal(size=(5, 5)))[0][:rank], only=(0, 2)) == 0
    same_rD = np.repeat(basis_rD[:1], rank, axis=0)
    assert escapes(spec, weights, 2, REAL, basis=same_rD, grid=2, only=(0, 2)) == 0


def test_more_coordinates_than_symbols_are_sound(monkeypatch):
    spec = spec_of(2, d_model=8)
    monkeypatch.setattr(enclosure, "SYMBOLS", 3)
    assert escapes(spec, random_weights(spec, 5), 2, FLOAT32, only=(0, 2)) == 0


@pytest.mark.parametrize("place", [1, 2, 3])
def test_problems_of_three_digits_lie_within_the_bounds_of_their_halves(place):
    spec = spec_of(3, ranks=(3, 3, 2, 3), rms=True)
    weights = random_weights(spec, 6)
    block = Block(3, place, 7)
    rng = np.random.default_rng(place)
    a_B, b_B = rng.integers(0, 1000, (2, 60_000))
    case_B = cases_of(block, a_B, b_B)
    a_B, b_B, case_B = a_B[case_B >= 0], b_B[case_B >= 0], case_B[case_B >= 0]
    orders = {far: rng.permutation(len(block.choices(far))) for far in block.far}
    ends = {far: [0, len(order) // 2, len(order)] for far, order in orders.items()}
    half_B = np.zeros(len(a_B), dtype=np.int64)
    for far, order in orders.items():
        rank = np.empty_like(order)
        rank[order] = np.arange(len(order))
        half_B = 2 * half_B + (rank[choice_of(block, far, a_B, b_B)] >= ends[far][1])
    shapes = [()]
    for far in orders:
        shapes = [(*shape, (far, ends[far][h], ends[far][h + 1])) for shape in shapes for h in (0, 1)]
    leaves = [Leaf(case, LeafStatus.RIGHT, 0, shape) for case in range(len(block.cases)) for shape in shapes]
    bounds = Enclosure(spec, weights, 3, FLOAT32).block(block, np.eye(5), orders).margins(leaves)
    leaf_B = case_B * len(shapes) + half_B
    logits_BV = float32_logits(spec, weights, rows(3, a_B, b_B))[:, block.asked]
    least_B = leads(logits_BV, block.cases.right[case_B]).min(1)
    assert (least_B >= bounds.lowest_L[leaf_B]).all()
    assert (least_B <= bounds.beaten_L[leaf_B]).all()
    plain = Enclosure(spec, weights, 3, FLOAT32).block(block, np.eye(5), {}).margins(whole(block))
    assert (bounds.width_L < plain.width_L[[leaf.case for leaf in leaves]] + 1e-12).all()


def test_bounds_depend_on_the_leaf_alone():
    spec = spec_of(3)
    block = Block(3, 3, 4)
    order = np.random.default_rng(0).permutation(200)
    part = Enclosure(spec, random_weights(spec, 7), 3).block(block, np.eye(5), {1: order})
    leaves = [Leaf(case, LeafStatus.RIGHT, case % 5, ((1, 0, 100),) if case % 2 else ()) for case in range(20)]
    together = part.margins(leaves)
    alone = [part.margins([leaf]) for leaf in leaves]
    assert np.allclose(together.lowest_L, [each.lowest_L[0] for each in alone], rtol=1e-12, atol=1e-12)
    assert (together.width_L == [each.width_L[0] for each in alone]).all()


def test_a_part_in_which_no_carries_fit_is_vacuous():
    spec = spec_of(2)
    block = Block(2, 2, 4)
    choices = block.choices(0)
    order = np.argsort(choices.carry_out, kind="stable")
    part = Enclosure(spec, random_weights(spec, 8), 2).block(block, np.eye(5), {0: order})
    with_carry = int(np.flatnonzero(block.cases.carry == 1)[0])
    assert not choices.carry_out[order[:50]].any()
    bounds = part.margins(
        [Leaf(with_carry, LeafStatus.RIGHT, 0, ((0, 0, 50),)), Leaf(0, LeafStatus.RIGHT, 0, ((0, 0, 50),))]
    )
    assert (bounds.lowest_L[0], bounds.beaten_L[0], bounds.width_L[0]) == (np.inf, -np.inf, 0.0)
    assert np.isfinite(bounds.lowest_L[1])


@pytest.mark.parametrize("name", ["best_456p_s43.pt", "best_512params.pt"])
def test_sampled_problems_of_a_real_checkpoint_keep_to_the_bounds_of_their_cases(name, fixtures_dir):
    checkpoint = load_checkpoint(fixtures_dir / "checkpoints" / name)
    model = Enclosure(checkpoint.spec, checkpoint.weights, 10)
    rng = np.random.default_rng(1)
    a_B, b_B = rng.integers(0, 10**10, (2, 4_000))
    a_B[::4] = 10**10 - 1 - b_B[::4]  # long chains of carries, or none at all
    b_B[::8] = np.minimum(b_B[::8] + 1, 10**10 - 1)
    logits_BTV = float32_logits(checkpoint.spec, checkpoint.weights, rows(10, a_B, b_B))
    asked = 0
    for block in (Block(10, 0, EQUALS), Block(10, 1, 3), Block(10, 4, 0), Block(10, 9, 9), Block(10, 10, 1)):
        case_B = cases_of(block, a_B, b_B)
        of_B = np.flatnonzero(case_B >= 0)
        bounds = model.block(block, np.eye(7), {}).margins(whole(block))
        least_B = leads(logits_BTV[of_B, block.asked], block.cases.right[case_B[of_B]]).min(1)
        assert (least_B >= bounds.lowest_L[case_B[of_B]]).all()
        assert (least_B <= bounds.beaten_L[case_B[of_B]]).all()
        asked += len(of_B)
    assert asked > 4_500


# Guards, each shown to matter: without it some problem leaves its bounds.


def narrow(seed):
    """A model whose attention puts out multiples of one vector, and that vector: a box without slack."""
    spec = spec_of(2, rms=True, ranks=(0, 0, 1, 0))
    weights = random_weights(spec, seed)
    direction_D = weights["blocks.0.attn.proj.B"].double().numpy()
    return spec, weights, direction_D / np.linalg.norm(direction_D)


def test_without_remainders_some_problem_escapes(monkeypatch):
    spec, weights, basis_rD = narrow(9)
    honest = affine.margins
    assert escapes(spec, weights, 2, REAL, basis=basis_rD, only=(0, 2)) == 0
    monkeypatch.setattr(enclosure, "margins", lambda y, *rest: honest(replace(y, radius_LF=0 * y.radius_LF), *rest))
    assert escapes(spec, weights, 2, REAL, basis=basis_rD, only=(0, 2)) > 0


def test_without_the_rest_that_a_basis_leaves_some_problem_escapes(monkeypatch):
    spec = spec_of(2)
    weights = random_weights(spec, 4)
    basis_rD = np.eye(5)[:1]
    assert escapes(spec, weights, 2, REAL, basis=basis_rD, only=(0, 2)) == 0
    honest = enclosure.BlockEnclosure._attention

    def forgetful(self, orders):
        box = honest(self, orders)
        self.output_error_D = 0 * self.output_error_D  # the shift stays
        return box

    monkeypatch.setattr(enclosure.BlockEnclosure, "_attention", forgetful)
    assert escapes(spec, weights, 2, REAL, basis=basis_rD, only=(0, 2)) > 0


def test_float32_differs_from_real_arithmetic_and_its_bounds_allow_for_more():
    spec, weights, basis_rD = narrow(9)
    block = Block(2, 0, EQUALS)
    tokens_BT = rows(2, *all_pairs(2))
    exact_BV = plain_forward(spec, weights, tokens_BT)[1][:, block.asked]
    off = np.abs(exact_BV - float32_logits(spec, weights, tokens_BT)[:, block.asked]).max()
    real, float32 = (
        Enclosure(spec, weights, 2, kind).block(block, basis_rD, {}).margins(whole(block)) for kind in (REAL, FLOAT32)
    )
    assert off > 1e-7
    assert (real.lowest_L - float32.lowest_L > off).all()
    assert (float32.beaten_L - real.beaten_L > off).all()


# What cannot be bounded is never called right or wrong.


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e20, 3e38])
@pytest.mark.parametrize("name", ["token_emb.weight", "blocks.0.mlp.fc2.weight", "blocks.0.attn.qkv.weight"])
def test_what_may_overflow_or_is_no_number_bounds_nothing(name, value):
    spec = spec_of(2)
    weights = random_weights(spec, 12)
    weights[name] = weights[name].clone()
    weights[name][3] = value
    for block in (Block(2, 0, 11), Block(2, 2, 3)):
        bounds = Enclosure(spec, weights, 2).block(block, np.eye(5), {}).margins(whole(block))
        assert not (bounds.lowest_L > 0).any()
        assert not (bounds.beaten_L < 0).any()
        assert not np.isnan(bounds.width_L).any()


def test_a_model_that_answers_everything_alike_is_neither_right_nor_wrong_where_it_ties():
    spec = spec_of(2)
    weights = {name: torch.zeros_like(tensor) for name, tensor in random_weights(spec, 0).items()}
    block = Block(2, 1, 5)
    bounds = Enclosure(spec, weights, 2).block(block, np.eye(5), {}).margins(whole(block))
    assert (bounds.lowest_L <= 0).all()
    assert (bounds.beaten_L >= 0).all()


# Refusals.

TEN = spec_of(10)


@pytest.mark.parametrize(
    ("spec", "digits", "word"),
    [
        (replace(TEN, n_layer=2), 10, "2 layers"),
        (replace(TEN, d_model=6, n_head=2), 10, "2 heads"),
        (replace(TEN, bias=True), 10, "biases"),
        (replace(TEN, gelu="tanh"), 10, "approximation tanh"),
        (replace(TEN, vocab_size=15), 10, "15 tokens"),
        (replace(TEN, max_seq_len=31), 10, "31 positions"),
        (replace(TEN, d_ff=401), 10, "wider than 400"),
        (replace(TEN, pos_rank=500), 10, "wider than 400"),
        (TEN, 15, "14 digits"),
    ],
)
def test_models_of_other_kinds_are_refused_with_the_reason(spec, digits, word):
    assert word in refusal(spec, digits)
    with pytest.raises(InputError, match=word):
        Enclosure(spec, {}, digits)


def test_every_kind_of_the_family_is_taken():
    assert all(refusal(spec_of(10, **kind)) is None for kind in FAMILY)
    assert refusal(replace(TEN, max_seq_len=32)) is None


@pytest.mark.parametrize("basis", [np.eye(4), np.eye(6, 5), np.full((1, 5), np.nan), np.zeros(5)])
def test_a_basis_that_does_not_fit_is_refused(basis):
    spec = spec_of(2)
    model = Enclosure(spec, random_weights(spec, 0), 2)
    with pytest.raises(InputError, match="basis"):
        model.block(Block(2, 0, 11), basis, {})


@pytest.mark.parametrize("order", [np.arange(99), np.zeros(100, dtype=np.int64), np.arange(1, 101)])
def test_an_order_that_does_not_name_every_choice_once_is_refused(order):
    spec = spec_of(2)
    model = Enclosure(spec, random_weights(spec, 0), 2)
    with pytest.raises(InputError, match="order of place 1"):
        model.block(Block(2, 0, 11), np.eye(5), {1: order})


def test_a_grid_cuts_as_it_says():
    assert GRIDS[:4] == ((1, 1), (2, 1), (4, 1), (4, 2))

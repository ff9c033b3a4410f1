"""The box holds the attention's output of every problem of a part, and touches the largest and the least of them."""

import numpy as np
import pytest
from plain_addition import FAMILY, all_pairs, cases_of, choice_of, plain_forward, random_weights, rows, spec_of

from reprogrok.certificate.checker import attention_box
from reprogrok.certificate.checker.carries import Block
from reprogrok.certificate.checker.enclosure import Enclosure
from reprogrok.certificate.checker.rounding import REAL
from reprogrok.certificate.checker.trees import Leaf, LeafStatus


def box_of(spec, weights, block, basis_rD, leaves, *, orders=None):
    """The box of leaves in real arithmetic."""
    part = Enclosure(spec, weights, block.digits, REAL).block(block, basis_rD, orders or {})
    return part.attention.of(leaves)


def coordinates(spec, weights, block, basis_rD, problems):
    """What the attention puts out where the block is asked, by the plain model."""
    return plain_forward(spec, weights, rows(block.digits, *problems))[0][:, block.asked] @ basis_rD.T


@pytest.mark.parametrize("place", [0, 1, 2, 3])
@pytest.mark.parametrize("kind", FAMILY[1::2], ids=str)
def test_the_box_is_the_smallest_that_holds_all_problems_of_a_case(monkeypatch, kind, place):
    monkeypatch.setattr(attention_box, "COARSE", 512)
    monkeypatch.setattr(attention_box, "FINE", 512)
    spec = spec_of(3, **kind)
    weights = random_weights(spec, 1)
    block = Block(3, place, 11 if place == 0 else 4)
    basis_rD = np.linalg.qr(np.random.default_rng(0).normal(size=(5, 5)))[0][:3]
    chosen = np.linspace(0, len(block.cases) - 1, 3).astype(int)
    box = box_of(spec, weights, block, basis_rD, [Leaf(int(case), LeafStatus.OPEN, 0, ()) for case in chosen])
    for row, case in enumerate(chosen):
        u_Br = coordinates(spec, weights, block, basis_rD, problems_of(block, case))
        width_r = u_Br.max(0) - u_Br.min(0)
        assert (u_Br.max(0) <= box.high_Lr[row] + 1e-12).all()
        assert (u_Br.min(0) >= box.low_Lr[row] - 1e-12).all()
        assert (box.high_Lr[row] - u_Br.max(0) <= 1e-6 * width_r + 1e-10).all()
        assert (u_Br.min(0) - box.low_Lr[row] <= 1e-6 * width_r + 1e-10).all()


def problems_of(block, case, most=10_000):
    """All problems of a case of three digits, or a choice of them that holds every far digit pair and carry."""
    a_B, b_B = all_pairs(3)
    place = block.place
    keep_B = np.ones(len(a_B), dtype=bool)
    cases = block.cases
    if place > 0:
        keep_B &= a_B // 10 ** (place - 1) % 10 == cases.a_before[case]
        keep_B &= b_B // 10 ** (place - 1) % 10 == cases.b_before[case]
    if place < 3:
        keep_B &= (a_B // 10**place % 10 == cases.a[case]) & (b_B // 10**place % 10 == cases.b[case])
    a_B, b_B = a_B[keep_B], b_B[keep_B]
    keep_B = cases_of(block, a_B, b_B) == case
    assert keep_B.sum() <= most
    return a_B[keep_B], b_B[keep_B]


@pytest.mark.parametrize("place", [1, 2, 3])
def test_a_halved_part_has_the_box_of_its_own_problems(monkeypatch, place):
    monkeypatch.setattr(attention_box, "COARSE", 256)
    monkeypatch.setattr(attention_box, "FINE", 256)
    spec = spec_of(3, rms=True)
    weights = random_weights(spec, 2)
    block = Block(3, place, 6)
    rng = np.random.default_rng(place)
    orders = {far: rng.permutation(len(block.choices(far))) for far in block.far}
    case = len(block.cases) // 2
    a_B, b_B = problems_of(block, case)
    shapes = [((far, 0, len(order) // 2),) for far, order in orders.items()]
    shapes += [tuple((far, len(order) // 4, len(order) // 2) for far, order in orders.items())]
    basis_rD = np.eye(5)[:2]
    box = box_of(
        spec, weights, block, basis_rD, [Leaf(case, LeafStatus.OPEN, 0, shape) for shape in shapes], orders=orders
    )
    for row, shape in enumerate(shapes):
        inside_B = np.ones(len(a_B), dtype=bool)
        for far, first, end in shape:
            inside_B &= np.isin(choice_of(block, far, a_B, b_B), orders[far][first:end])
        u_Br = coordinates(spec, weights, block, basis_rD, (a_B[inside_B], b_B[inside_B]))
        width_r = u_Br.max(0) - u_Br.min(0)
        assert (u_Br.max(0) <= box.high_Lr[row] + 1e-12).all()
        assert (u_Br.min(0) >= box.low_Lr[row] - 1e-12).all()
        assert (box.high_Lr[row] - u_Br.max(0) <= 1e-5 * width_r + 1e-10).all()
        assert (u_Br.min(0) - box.low_Lr[row] <= 1e-5 * width_r + 1e-10).all()


def test_with_a_wrong_rule_of_carries_a_problem_leaves_its_box(monkeypatch):
    spec = spec_of(3)
    weights = random_weights(spec, 4)
    block = Block(3, 3, 4)
    case = int(np.flatnonzero(block.cases.carry == 1)[0])
    u_Br = coordinates(spec, weights, block, np.eye(5), problems_of(block, case))
    leaf = Leaf(case, LeafStatus.OPEN, 0, ())

    def outside():
        box = box_of(spec, weights, block, np.eye(5), [leaf])
        return ((u_Br > box.high_Lr + 1e-12) | (u_Br < box.low_Lr - 1e-12)).any(1).sum()

    assert outside() == 0
    honest = attention_box._of_whole
    monkeypatch.setattr(attention_box, "_of_whole", lambda *args: honest(*args)[:, ::-1])
    assert outside() > 0


@pytest.mark.parametrize(("asked", "place"), [(5, 0), (5, 2), (5, 7)])
def test_a_whole_place_gives_what_its_choices_give_one_by_one(asked, place):
    rng = np.random.default_rng(place)
    a_VMX, b_VMX, digit_VMX = rng.normal(size=(3, 10, 2, 3))
    choices = Block(10, asked, 3).choices(place)
    read = place < asked
    whole = attention_box._of_whole(a_VMX, b_VMX, digit_VMX if read else None, place in range(1, asked - 1))
    for carry_in in (0, 1):
        for carry_out in (0, 1):
            sums = [
                a_VMX[a] + b_VMX[b] + (digit_VMX[(a + b + carry_in) % 10] if read else 0.0)
                for a in range(10)
                for b in range(10)
                if not read or (a + b + carry_in >= 10) == carry_out
            ]
            if carry_in not in choices.carry_in or (not read and carry_out):
                assert np.isneginf(whole[carry_in, carry_out]).all()
            else:
                assert np.allclose(whole[carry_in, carry_out], np.max(sums, axis=0), rtol=1e-15)


def test_the_usual_grid_loses_little(monkeypatch):
    spec = spec_of(10, rms=True, d_model=7)
    weights = random_weights(spec, 3, scale=0.4)
    block = Block(10, 5, 3)
    leaves = [Leaf(case, LeafStatus.OPEN, 0, ()) for case in range(0, 2_000, 97)]
    usual = box_of(spec, weights, block, np.eye(7), leaves)
    monkeypatch.setattr(attention_box, "COARSE", 512)
    fine = box_of(spec, weights, block, np.eye(7), leaves)
    excess_Lr = (usual.high_Lr - usual.low_Lr) / (fine.high_Lr - fine.low_Lr) - 1
    assert excess_Lr.max() < 0.005

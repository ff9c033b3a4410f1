"""Certificates say of small models what trying every problem says; mistakes in the checker are found by that."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from certificate_models import KEPT, SmallModel, drawn, kept, moved
from certificate_mutants import FOUND_BY_TRIALS, NOT_SEEN, Case
from certificate_oracle import Problems, every_problem, tried
from certificate_statements import Bounded, Comparison, agreement, compare, estimated, search_block

from reprogrok.certificate.checker.carries import Block, blocks
from reprogrok.certificate.checker.enclosure import Enclosure
from reprogrok.certificate.checker.rounding import FLOAT32, REAL
from reprogrok.exam.stress import strata
from reprogrok.formats.checkpoints import load_checkpoint
from reprogrok.tasks.addition import EQUALS

torch.set_num_threads(1)


@cache
def problems(digits):
    return Problems(digits, *(column.numpy() for column in every_problem(digits)))


@cache
def trained(digits):
    return {model.name: model for model in kept(digits)}


def judged(model, arithmetic=FLOAT32, **words):
    seen = tried(model, *every_problem(model.digits), outputs=model.digits == 2)
    return agreement(model, problems(model.digits), seen, np.random.default_rng(7), arithmetic, **words)


def test_the_kept_models_are_few_kilobytes():
    assert KEPT.stat().st_size < 100_000
    assert len(trained(2)) + len(trained(3)) >= 40


@pytest.mark.parametrize("digits", [1, 2])
def test_a_task_is_its_blocks_and_every_problem_is_asked_once_a_place(digits):
    places = {}
    for block in blocks(digits):
        asked = problems(digits).of(block)
        case_B = np.repeat(np.arange(len(block.cases)), np.diff(asked.starts))
        a_B, b_B = (column.numpy()[asked.index_B] for column in every_problem(digits))
        assert ((a_B + b_B) // 10**block.place % 10 == block.cases.right[case_B]).all()
        places.setdefault(block.place, []).append(asked.index_B)
    for place in range(digits + 1):
        assert (np.sort(np.concatenate(places[place])) == np.arange(100**digits)).all()


@pytest.mark.parametrize(
    ("name", "verdict", "wrong"),
    [
        ("two full 1 step 2500", "proved", 0),
        ("two full 4 step 2150", None, 5),
        ("two ranks 4 step 4000", None, 1_666),
    ],
)
def test_a_trained_model_is_what_its_trial_says(name, verdict, wrong):
    found = judged(trained(2)[name])
    assert found.faults == ()
    assert found.single == found.double == wrong
    assert found.at_least <= wrong <= found.at_most
    assert verdict in {None, found.verdict}


def test_in_real_arithmetic_every_problem_of_two_digits_is_decided():
    found = judged(trained(2)["two narrow rms 1 step 2500"], REAL)
    assert found.faults == ()
    assert (found.verdict, found.at_least, found.at_most) == ("decided", 87, 87)


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.long)])
def test_random_weights_are_bounded(seed):
    assert judged(drawn(2, seed)).faults == ()


@pytest.mark.long(quick="test_random_weights_are_bounded")
def test_a_model_of_three_digits_is_what_its_trial_says():
    found = judged(trained(3)["three rms 3 step 1800"], patience=0.0, strays=0.0)
    assert found.faults == ()
    assert found.at_least <= found.single <= found.at_most
    assert 0 < found.single < 1_000


@pytest.mark.long(quick="test_random_weights_are_bounded")
def test_the_certificate_of_a_moved_model_breaks_no_later_than_the_model():
    model = trained(2)["two tied 4 step 2500"]
    found = [judged(moved(model, 1, share), strays=0.0) for share in (0.003, 0.1)]
    assert [each.faults for each in found] == [()] * 2
    assert found[-1].single > 0
    assert not any(each.verdict == "proved" and each.single for each in found)


@cache
def cases():
    """Models, in an arithmetic, that show mistakes."""
    few = torch.randint(0, 1_000, (2, 50_000), generator=torch.Generator().manual_seed(1))
    some, rng = Problems(3, *(column.numpy() for column in few)), np.random.default_rng(3)
    chosen = [(drawn(2, 9), REAL), (trained(2)["two full 1 step 1550"], REAL)]
    chosen += [(drawn(2, 10), FLOAT32), (drawn(2, 79), REAL)]
    made = [Case(model, problems(2), every_problem(2), rng, arithmetic) for model, arithmetic in chosen]
    return [*made, Case(trained(3)["three rms 3 step 4000"], some, few, rng, REAL, top=3)]


def test_without_a_mistake_there_is_no_fault():
    assert [case.faults() for case in cases()] == [[]] * len(cases())


@pytest.mark.parametrize("mistake", FOUND_BY_TRIALS, ids=lambda mistake: mistake.__name__)
def test_a_mistake_in_the_checker_is_found(mistake):
    known = cases()
    with mistake():
        assert any(case.faults() for case in known)


@pytest.mark.parametrize("mistake", NOT_SEEN, ids=lambda mistake: mistake.__name__)
@pytest.mark.long(quick="test_random_weights_are_bounded")
def test_some_mistakes_are_too_small_to_be_seen_by_trials(mistake):
    known = cases()
    with mistake():
        assert not any(case.faults() for case in known)


def test_sampled_problems_of_ten_digits_stay_in_their_boxes(fixtures_dir):
    checkpoint = load_checkpoint(fixtures_dir / "checkpoints" / "best_456p_s43.pt")
    model = SmallModel("456p", "published", 10, checkpoint.spec, checkpoint.weights)
    uniform = torch.randint(0, 10**10, (2, 2_000), generator=torch.Generator().manual_seed(5))
    stress = [torch.stack([each.pairs.a[:20], each.pairs.b[:20]]) for each in strata(10, 20)]
    a_B, b_B = torch.cat([uniform, *stress], dim=1)
    seen, asked = tried(model, a_B, b_B, outputs=True), Problems(10, a_B.numpy(), b_B.numpy())
    estimates = estimated(model)
    enclosure, comparison = Enclosure(model.spec, model.weights, 10), Comparison()
    for block in (Block(10, 0, EQUALS), Block(10, 1, 4), Block(10, 6, 0), Block(10, 9, 9), Block(10, 10, 0)):
        bounded = Bounded.of(enclosure, search_block(estimates, block, 0.0).proof, box=True)
        compare(comparison, bounded, asked, seen)
    assert comparison.faults == []
    assert comparison.problems > 2_000
    assert 0.3 < comparison.fullest <= 1

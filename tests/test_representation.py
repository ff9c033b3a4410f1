"""Ranks and entropies are those of the definitions, computed in the tests by NumPy from the plain module's states."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from draws import draws
from hypothesis import given
from hypothesis import strategies as st
from test_decoder import random_tokens, random_weights
from test_trace import plainly

from reprogrok.errors import InputError
from reprogrok.metrics.representation import Representation, entropy_rank, participation_ratio, pca_rank, represent
from reprogrok.spec.model import ModelSpec

torch.set_num_threads(1)

SPEC = ModelSpec(n_layer=3, d_model=12, n_head=2, d_ff=16, max_seq_len=8, vocab_size=9, bias=True)
N, T, ANSWER = 30, 8, 4


def stack(*weights):
    return {name: torch.stack([each[name] for each in weights]) for name in weights[0]}


def rows_of(count=N, seed=0):
    return random_tokens(SPEC, count, T + 1, seed).T


def rank_by_numpy(state_ND):
    """As the definition reads: centre, SVD, count(cumulative < 0.99) + 1."""
    values = np.linalg.svd((state_ND - state_ND.mean(0)).astype(np.float32), compute_uv=False)
    shares = np.cumsum(values**2) / np.sum(values**2)
    return int(np.sum(shares < 0.99)) + 1, values


def test_ranks_are_those_of_the_states_before_and_after_each_block():
    alone = [random_weights(SPEC, seed) for seed in (0, 1)]
    found = represent(SPEC, stack(*alone), rows_of(), ANSWER, batches=3, rows=8)
    assert found.examples == 24
    for replica, weights in enumerate(alone):
        states, _ = plainly(SPEC, weights, rows_of()[:-1, :24].T)
        expected = [rank_by_numpy(state.numpy().reshape(-1, 12)) for state in states]
        ranks = [rank for rank, _ in expected]
        assert found.rank()[replica].tolist() == ranks[:-1]
        assert found.rank_after()[replica].tolist() == ranks[1:]
        for at, (_, values) in enumerate(expected):
            assert found.singular_RSK[replica, at].tolist() == pytest.approx(values.tolist(), rel=1e-5)
            covariance = np.linalg.eigvalsh(np.cov(states[at].numpy().reshape(-1, 12).T))
            if at < SPEC.n_layer:
                ratio = covariance.sum() ** 2 / (covariance**2).sum()
                assert float(found.participation_ratio()[replica, at]) == pytest.approx(ratio, rel=1e-5)
                p = values / values.sum()
                assert float(found.entropy_rank()[replica, at]) == pytest.approx(np.exp(-(p * np.log(p)).sum()))
    assert len(set(found.rank().flatten().tolist())) > 1, "the case cannot tell layers apart"


def test_entropies_are_those_of_the_definitions():
    weights = random_weights(SPEC, 2)
    found = represent(SPEC, stack(weights), rows_of(), ANSWER, rows=7)
    assert found.examples == N
    _, shares = plainly(SPEC, weights, rows_of()[:-1].T)
    for layer, share_BHQT in enumerate(shares):
        p = share_BHQT.numpy()
        plain = -(p * np.log(p + 1e-9)).sum(3).mean((0, 2))
        clamped = -(p * np.log(np.maximum(p, 1e-9))).sum(3).mean((0, 2))
        seen = p[:, :, ANSWER, : ANSWER + 1]
        answer = -(seen * np.log(seen)).sum(2).mean(0) / math.log(5)
        assert found.entropy_RLH[0, layer].tolist() == pytest.approx(plain.tolist(), abs=1e-12)
        assert found.entropy_clamped_RLH[0, layer].tolist() == pytest.approx(clamped.tolist(), abs=1e-12)
        assert found.answer_entropy_RLH[0, layer].tolist() == pytest.approx(answer.tolist(), abs=1e-12)


def test_even_attention_reaches_the_bounds():
    even = {name: tensor * 0 for name, tensor in random_weights(SPEC, 0, torch.float32).items()}
    found = represent(SPEC, stack(even), rows_of(), ANSWER)
    bound = math.log(math.factorial(8)) / 8
    assert round(bound, 4) == 1.3256
    assert found.entropy_RLH.flatten().tolist() == pytest.approx([bound] * 6, abs=1e-6)
    assert found.entropy_clamped_RLH.flatten().tolist() == pytest.approx([bound] * 6, abs=1e-6)
    assert found.answer_entropy_RLH.flatten().tolist() == pytest.approx([1.0] * 6, abs=1e-6)


@given(seed=st.integers(0, 2**40), scale=st.floats(0.1, 30))
@draws(20)
def test_no_attention_exceeds_the_bounds(seed, scale):
    weights = {name: tensor * scale for name, tensor in random_weights(SPEC, seed).items()}
    found = represent(SPEC, stack(weights), rows_of(9), ANSWER)
    for entropy in (found.entropy_RLH, found.entropy_clamped_RLH):
        assert entropy.min() > -1e-7
        assert entropy.max() <= math.log(math.factorial(8)) / 8
    assert found.answer_entropy_RLH.min() >= 0
    assert found.answer_entropy_RLH.max() <= 1 + 1e-12


def test_only_the_first_batches_are_read_and_only_the_first_for_the_other_id():
    weights, tokens = stack(random_weights(SPEC, 0)), rows_of()
    changed = tokens.clone()
    changed[1:, 16:] = (changed[1:, 16:] + 1) % 9
    two, other = (represent(SPEC, weights, rows, ANSWER, batches=2, rows=8) for rows in (tokens, changed))
    assert torch.equal(two.singular_RSK, other.singular_RSK)
    one = represent(SPEC, weights, tokens, ANSWER, batches=1, rows=8)
    assert one.examples == 8
    assert not torch.allclose(one.singular_RSK, two.singular_RSK)
    assert represent(SPEC, weights, tokens, ANSWER).examples == N


def test_what_a_replica_shows_does_not_depend_on_the_others():
    alone = [random_weights(SPEC, seed, torch.float32) for seed in range(3)]
    tokens_RTN = torch.stack([rows_of(seed=seed) for seed in range(3)])
    together = represent(SPEC, stack(*alone), tokens_RTN, ANSWER)
    for slot, weights in enumerate(alone):
        own = represent(SPEC, stack(weights), tokens_RTN[slot], ANSWER)
        for name in ("singular_RSK", "entropy_RLH", "entropy_clamped_RLH", "answer_entropy_RLH"):
            assert torch.equal(getattr(own, name)[0], getattr(together, name)[slot])


def test_worked_values():
    assert int(pca_rank(torch.tensor([10.0, 1.0, 1.0]), 0.995)) == 3
    assert int(pca_rank(torch.tensor([10.0, 1.0, 1.0]), 0.98)) == 1
    assert pca_rank(torch.tensor([[1.0] * 100, [10.0] + [0.0] * 99])).tolist() == [99.0, 1.0]
    assert float(entropy_rank(torch.tensor([3.0, 1.0]))) == pytest.approx(1.7548, abs=5e-5)
    assert float(entropy_rank(torch.tensor([2.0, 2.0, 2.0, 0.0]))) == pytest.approx(3)
    assert float(participation_ratio(torch.tensor([2.0, 1.0, 1.0]))) == 2
    assert float(participation_ratio(torch.ones(7))) == pytest.approx(7)


@given(values=st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=40))
def test_every_rank_lies_between_one_and_the_number_of_directions(values):
    singular = torch.tensor(sorted(values, reverse=True))
    for measure in (pca_rank, entropy_rank, participation_ratio):
        assert 1 - 1e-9 <= float(measure(singular)) <= len(values) + 1e-6
        assert float(measure(8 * singular)) == pytest.approx(float(measure(singular)))


def test_states_that_are_constant_or_not_finite_have_no_rank_to_report():
    constant, broken, sound = (random_weights(SPEC, 0) for _ in range(3))
    constant = {name: tensor * 0 for name, tensor in constant.items()}
    broken["blocks.1.mlp.fc2.bias"][0] = math.inf
    found = represent(SPEC, stack(constant, broken, sound), rows_of(), ANSWER)
    assert found.rank()[0].tolist() == [1.0] * 3
    assert found.entropy_rank()[0].isnan().all()
    assert found.participation_ratio()[0].isnan().all()
    assert found.rank()[1].isnan().tolist() == [False, False, True]
    assert found.rank_after()[1].isnan().tolist() == [False, True, True]
    assert found.rank()[2].isfinite().all()


def test_the_layers_are_named_in_order():
    singular_RSK = torch.tensor([[[1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [1.0, 1.0, 1.0]]])
    found = Representation(1, singular_RSK, *[torch.zeros(1, 2, 1)] * 3)
    assert found.rank().tolist() == [[1.0, 2.0]]
    assert found.rank_after().tolist() == [[2.0, 3.0]]


@pytest.mark.parametrize(
    ("answer", "rows", "message"),
    [(0, 3, "answer: expected a position from 1 to 7, found 0"), (8, 3, "answer"), (4, 0, "empty")],
)
def test_what_cannot_be_analysed_is_refused(answer, rows, message):
    with pytest.raises(InputError, match=message):
        represent(SPEC, stack(random_weights(SPEC, 0)), rows_of()[:, :rows], answer)


def test_models_of_low_rank_are_analysed_too():
    spec = replace(SPEC, bias=False, qkv_rank=3, pos_rank=3, tie_qkv="shareA_tieKV", use_rmsnorm=True)
    weights = random_weights(spec, 0)
    states, _ = plainly(spec, weights, rows_of()[:-1].T)
    expected = [rank_by_numpy(state.numpy().reshape(-1, 12))[0] for state in states]
    assert represent(spec, stack(weights), rows_of(), ANSWER).rank()[0].tolist() == expected[:-1]

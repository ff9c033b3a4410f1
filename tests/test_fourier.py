"""Waves of the sum are found where they were put, and losses with and without them are those of plain projections."""

import math

import numpy as np
import pytest
import torch
from draws import draws
from hypothesis import given
from hypothesis import strategies as st
from test_decoder import module_of, random_weights

from reprogrok.errors import InputError
from reprogrok.metrics.fourier import (
    Grid,
    answer_logits,
    check_waves,
    embedding_energy,
    excluded_loss,
    fourier_measures,
    full_loss,
    grids,
    key_frequencies,
    logit_energy,
    restricted_loss,
)
from reprogrok.spec.model import ModelSpec
from reprogrok.tasks.modular import Equations, Modular

torch.set_num_threads(1)


def generator(seed):
    return torch.Generator().manual_seed(seed)


def pairs_of(p):
    a, b = np.divmod(np.arange(p * p), p)
    return a, b


def sums_of(p, sign=1):
    a, b = pairs_of(p)
    return torch.from_numpy((a + sign * b) % p)


def rotating(p, amplitudes, sign=1):
    """Logits sum_k alpha_k cos(w_k (sum - c))."""
    lead_NC = sums_of(p, sign)[:, None] - torch.arange(p)
    waves = (alpha * torch.cos(2 * math.pi * k / p * lead_NC.double()) for k, alpha in amplitudes.items())
    return Grid(sum(waves), sums_of(p, sign))


def memorising(p, fraction, height=20.0, seed=0):
    """A peak at the right answer of some pairs, nothing for the others; and which were learned."""
    learned_N = torch.rand(p * p, generator=generator(seed)) < fraction
    peaks_NC = torch.nn.functional.one_hot(sums_of(p), p).double()
    return Grid(height * peaks_NC * learned_N[:, None], sums_of(p)), learned_N


def random_grid(p, seed=0):
    return Grid(torch.randn(p * p, p, generator=generator(seed), dtype=torch.float64), sums_of(p))


def projected(grid, frequencies, sign=1):
    """The waves part (N, C), one unit vector of length p^2 after the other."""
    p = grid.modulus
    a, b = (torch.from_numpy(x).double() for x in pairs_of(p))
    part_NC = torch.zeros_like(grid.logits_NC)
    for k in frequencies:
        for wave in (torch.cos, torch.sin):
            direction_N = wave(2 * math.pi * k / p * (a + sign * b))
            if direction_N.norm() > 1e-6:
                direction_N /= direction_N.norm()
                part_NC += direction_N[:, None] * (direction_N @ grid.logits_NC)
    return part_NC


def cross_entropy(logits_NC, target_N, chosen_N=slice(None)):
    losses = torch.logsumexp(logits_NC, 1) - logits_NC[torch.arange(len(target_N)), target_N]
    return float(losses[chosen_N].mean())


@pytest.mark.parametrize(("p", "sign"), [(11, 1), (11, -1), (12, 1), (97, 1)])
def test_losses_are_those_of_plain_projections(p, sign):
    grid = Grid(3 * random_grid(p).logits_NC + 1, sums_of(p, sign))
    chosen_N = torch.rand(p * p, generator=generator(1)) < 0.5
    for frequencies in ((), (1,), (2, 5), tuple(range(1, p // 2 + 1))):
        waves_NC = projected(grid, frequencies, sign)
        for chosen in (None, chosen_N, chosen_N.nonzero().squeeze(1)):
            over = slice(None) if chosen is None else chosen
            constant_C = grid.logits_NC.mean(0)
            expected = cross_entropy(waves_NC + constant_C, grid.sum_N, over)
            assert restricted_loss(grid, frequencies, chosen) == pytest.approx(expected, abs=1e-10)
            expected = cross_entropy(grid.logits_NC - waves_NC, grid.sum_N, over)
            assert excluded_loss(grid, frequencies, chosen) == pytest.approx(expected, abs=1e-10)
            assert full_loss(grid, chosen) == pytest.approx(cross_entropy(grid.logits_NC, grid.sum_N, over), abs=1e-10)


@pytest.mark.parametrize("p", [11, 12])
def test_energies_are_those_of_plain_projections(p):
    grid = random_grid(p)
    total = (grid.logits_NC - grid.logits_NC.mean(0)).square().sum()
    expected = [float(projected(grid, (k,)).square().sum() / total) for k in range(1, p // 2 + 1)]
    assert logit_energy(grid).tolist() == pytest.approx(expected, abs=1e-12)


@given(
    p=st.sampled_from([31, 97]),
    chosen=st.sets(st.integers(1, 15), min_size=1, max_size=3),
    seed=st.integers(0, 2**40),
)
@draws(30)
def test_the_frequencies_that_were_put_in_are_the_key_ones(p, chosen, seed):
    heights = 10 + 5 * torch.rand(len(chosen), generator=generator(seed))
    grid = rotating(p, dict(zip(chosen, heights.tolist(), strict=True)))
    assert key_frequencies(logit_energy(grid)) == tuple(sorted(chosen))
    noisy = Grid(grid.logits_NC + 2 * random_grid(p, seed).logits_NC, grid.sum_N)
    assert key_frequencies(logit_energy(noisy)) == tuple(sorted(chosen))


def test_shares_are_the_squares_of_amplitudes():
    shares = logit_energy(rotating(11, {1: 3.0, 2: 4.0}))
    assert shares.tolist() == pytest.approx([9 / 25, 16 / 25, 0, 0, 0], abs=1e-12)


@pytest.mark.parametrize("sign", [1, -1])
def test_without_its_waves_a_rotating_solution_is_at_chance_and_with_them_alone_it_loses_nothing(sign):
    p, amplitudes = 97, {14: 27.0, 35: 33.0, 41: 30.0}
    grid = rotating(p, amplitudes, sign)
    keys = key_frequencies(logit_energy(grid))
    assert keys == (14, 35, 41)
    assert full_loss(grid) < 0.01
    assert restricted_loss(grid, keys) == pytest.approx(full_loss(grid), abs=1e-12)
    assert excluded_loss(grid, keys) == pytest.approx(math.log(97), abs=1e-9)
    assert excluded_loss(grid, ()) == full_loss(grid)
    assert restricted_loss(grid, ()) == pytest.approx(math.log(97), abs=1e-9)


def test_constants_of_each_answer_are_kept_on_both_sides():
    grid = rotating(31, {3: 12.0, 7: 12.0})
    constant_C = torch.linspace(-1, 1, 31, dtype=torch.float64)
    biased = Grid(grid.logits_NC + constant_C, grid.sum_N)
    assert key_frequencies(logit_energy(biased)) == (3, 7)
    assert restricted_loss(biased, (3, 7)) == pytest.approx(full_loss(biased), abs=1e-12)
    alone = cross_entropy(constant_C.expand(31**2, -1), grid.sum_N)
    assert excluded_loss(biased, (3, 7)) == pytest.approx(alone, abs=1e-9)


@pytest.mark.parametrize("fraction", [0.3, 0.5, 0.8, 1.0])
def test_what_was_learned_by_heart_has_no_key_and_hardly_notices_the_loss_of_a_few(fraction):
    grid, learned_N = memorising(97, fraction)
    assert logit_energy(grid).max() <= 1.1 / 48
    assert key_frequencies(logit_energy(grid)) == ()
    if fraction < 0.6:
        assert full_loss(grid, learned_N) < 1e-6
        assert excluded_loss(grid, (14, 35, 41), learned_N) < 1e-4
        assert restricted_loss(grid, (14, 35, 41), ~learned_N) > 2


@pytest.mark.parametrize("seed", range(5))
def test_noise_has_no_key(seed):
    assert key_frequencies(logit_energy(random_grid(97, seed))) == ()
    assert logit_energy(random_grid(97, seed)).max() < 3 / 97**2
    embedding_PD = torch.randn(97, 128, generator=generator(seed))
    assert embedding_energy(embedding_PD).max() < 1.5 / 48
    assert key_frequencies(embedding_energy(embedding_PD)) == ()


def test_the_energy_of_an_embedding_is_that_of_its_waves_wherever_it_is_centred():
    at_P = torch.arange(97).double()
    angle_P5 = 2 * math.pi / 97 * torch.outer(at_P, torch.tensor([5.0, 40.0]).double())
    embedding_PD = torch.cat([angle_P5.cos() * torch.tensor([1.0, 2.0]), angle_P5.sin() * torch.tensor([1.0, 2.0])], 1)
    shares = embedding_energy(embedding_PD + 7)
    assert shares[4].item() == pytest.approx(0.2)
    assert shares[39].item() == pytest.approx(0.8)
    assert shares.sum().item() == pytest.approx(1)
    assert key_frequencies(shares) == (5, 40)


def test_a_key_has_more_than_twice_the_even_share():
    assert key_frequencies(torch.tensor([0.5, 0.3, 0.1, 0.05, 0.05])) == (1,)
    assert key_frequencies(torch.tensor([0.5, 0.3, 0.1, 0.05, 0.05]), times_even=1) == (1, 2)
    assert key_frequencies(torch.full((48,), 1 / 48)) == ()
    assert key_frequencies(torch.zeros(48)) == ()


def test_logits_that_do_not_see_the_pair_have_no_energy():
    grid = Grid(torch.arange(11.0).double().expand(121, -1), sums_of(11))
    assert logit_energy(grid).tolist() == [0.0] * 5


@pytest.mark.parametrize("frequencies", [(0,), (6,), (-1,), (1, 9)])
def test_frequencies_that_a_modulus_does_not_have_are_refused(frequencies):
    for loss in (restricted_loss, excluded_loss):
        with pytest.raises(InputError, match="frequencies: expected numbers from 1 to 5, found"):
            loss(random_grid(11), frequencies)


@pytest.mark.parametrize("rows", [7, 1000])
def test_answers_are_those_of_the_plain_module_to_every_pair_in_order(rows):
    spec = ModelSpec(n_layer=1, d_model=8, n_head=2, d_ff=8, max_seq_len=4, vocab_size=9)
    task, alone = Modular("add", 7, "power5"), [random_weights(spec, seed) for seed in (0, 1)]
    weights = {name: torch.stack([each[name] for each in alone]) for name in alone[0]}
    answer_RVN = answer_logits(spec, weights, task, rows=rows)
    a, b = pairs_of(7)
    tokens_NT = torch.from_numpy(np.stack([a, a * 0 + 7, b, a * 0 + 8], axis=1))  # `a + b =`
    found = grids(answer_RVN, task.equations(), 7)
    for replica in range(2):
        expected_NV = module_of(spec, alone[replica])(tokens_NT)[:, 3].detach()
        torch.testing.assert_close(answer_RVN[replica].T, expected_NV, rtol=0, atol=1e-12)
        torch.testing.assert_close(found[replica].logits_NC, expected_NV[:, :7], rtol=0, atol=1e-12)
        assert found[replica].sum_N.tolist() == ((a + b) % 7).tolist()


def test_differences_have_waves_too_and_pairs_may_come_in_any_order():
    equations = Modular("sub", 7, "power5").equations()
    order = np.random.RandomState(0).permutation(49)
    shuffled = Equations(equations.a_N[order], equations.b_N[order], equations.c_N[order])
    grid = rotating(7, {2: 9.0}, sign=-1)
    (found,) = grids(grid.logits_NC[order].T.unsqueeze(0), shuffled, 7)
    assert key_frequencies(logit_energy(found)) == (2,)
    assert restricted_loss(found, (2,)) == pytest.approx(full_loss(grid))


@pytest.mark.parametrize(
    ("operation", "keep", "found"),
    [("mul", 49, "other answers"), ("squares", 49, "other answers"), ("add", 42, "42 equations"), ("div", 42, "42")],
)
def test_operations_without_waves_of_a_sum_are_refused(operation, keep, found):
    equations = Modular(operation, 7, "power5").equations()
    some = Equations(equations.a_N[:keep], equations.b_N[:keep], equations.c_N[:keep])
    with pytest.raises(InputError, match=f"sums and differences: expected a .* for all 49 pairs, found {found}"):
        grids(torch.zeros(1, 9, keep), some, 7)


def test_a_group_without_a_modulus_is_refused():
    task = Modular("s5", None, "power5")
    with pytest.raises(InputError, match="sums and differences: expected a modulus, found none"):
        grids(torch.zeros(1, 122, 14_400), task.equations(), task.modulus)


def test_the_measures_of_a_snapshot_puts_each_loss_on_its_pairs():
    grid, chosen_N = rotating(31, {3: 12.0, 7: 12.0}), torch.rand(31**2, generator=generator(3)) < 0.5
    noisy = Grid(grid.logits_NC + 3 * random_grid(31).logits_NC, grid.sum_N)
    embedding_PD = torch.cos(2 * math.pi * 3 / 31 * torch.arange(31.0))[:, None].expand(-1, 4)
    seen = fourier_measures(noisy, embedding_PD, (3,), chosen_N, ~chosen_N)
    waves_NC = projected(noisy, (3,))
    assert (seen.logit_keys, seen.embedding_keys) == ((3, 7), (3,))
    assert seen.key_energy == pytest.approx(float(logit_energy(noisy)[2]))
    assert seen.full_loss_train == pytest.approx(cross_entropy(noisy.logits_NC, noisy.sum_N, chosen_N))
    assert seen.full_loss_test == pytest.approx(cross_entropy(noisy.logits_NC, noisy.sum_N, ~chosen_N))
    assert seen.full_loss_all == pytest.approx(cross_entropy(noisy.logits_NC, noisy.sum_N))
    alone_NC = waves_NC + noisy.logits_NC.mean(0)
    assert seen.restricted_loss_test == pytest.approx(cross_entropy(alone_NC, noisy.sum_N, ~chosen_N))
    assert seen.restricted_loss_all == pytest.approx(cross_entropy(alone_NC, noisy.sum_N))
    without_NC = noisy.logits_NC - waves_NC
    assert seen.excluded_loss_train == pytest.approx(cross_entropy(without_NC, noisy.sum_N, chosen_N))
    assert fourier_measures(noisy, embedding_PD, (), chosen_N, ~chosen_N).key_energy == 0.0


def test_the_energy_of_logits_that_are_no_numbers_is_no_number():
    grid = Grid(torch.full((121, 11), math.inf).double(), sums_of(11))
    assert all(map(math.isnan, logit_energy(grid).tolist()))
    assert key_frequencies(logit_energy(grid)) == ()


def test_more_logits_than_are_held_at_once_are_refused_before_they_are_computed():
    equations = Modular("add", 500, "power5").equations()
    with pytest.raises(InputError, match="expected at most 67,108,864 logits of all pairs, found 125,000,000"):
        check_waves(equations, 500)
    assert check_waves(Modular("sub", 97, "power5").equations(), 97) == 97

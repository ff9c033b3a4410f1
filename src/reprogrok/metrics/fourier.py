"""The answers to all pairs of a modular sum -> their key frequencies, and the loss with those alone or without them.

    answer logits (V, p^2) + equations --Grid--> energy by frequency --> key frequencies --> restricted, excluded loss
                                                 all of them, for one snapshot of a run --> FourierMeasures

A network that adds by rotation answers with logits that are waves of the sum, cos(w_k (a + b - c)), w_k = 2 pi k / p,
at few frequencies k. The measures are those of Nanda et al. 2023 ("Progress measures for grokking via mechanistic
interpretability", section 5.1):
    ce/residues                          cross-entropy of the p residues' logits, no other token in the softmax
    ce/restricted/cos+sin-of-sum         the same after projecting the logits, as functions of (a, b) for each c, onto
                                         the constant and cos(w_k (a + b)), sin(w_k (a + b)) of the key frequencies
    ce/excluded/cos+sin-of-sum           the same after subtracting these waves of all key frequencies and keeping the
                                         rest with the constant, on training pairs in the paper. It hardly changes
                                         for a memoriser, and is chance, ln p, for a network that adds by rotation
    energy-share/logits/cos+sin-of-sum   fraction of these waves of the key frequencies in the energy of the logits
                                         that depends on (a, b)
The paper's text can also be read as the 2 x 2 blocks of products of waves of a and of b; its published code projects
onto the two directions, as here. This needs the logits of ALL pairs, even where the loss is over some of them.

The paper selects key frequencies by eye ("nontrivial coefficients"). Here a frequency is key if its fraction of an
energy is more than TWICE the even one, 1/K with K = floor(p / 2).
    key-frequencies/logits/twice-even     of all energy of the logits that depends on (a, b). Right answers learned one
                                          by one, each a peak at c = a + b, hold at most 1/K at each frequency, and
                                          noise about 2/p^2: neither has a key
    key-frequencies/embedding/twice-even  of the energy of the residues' embeddings that depends on the residue. Random
                                          ones of width 128 stay within 1.5/K; of width 8 one may pass by chance
As in the paper, the key frequencies of the final model serve every earlier step.

For subtraction read a - b. Other operations have no such waves and are refused.

Axes: R replicas   V tokens   N = p^2 pairs   S = p sums   C = p residues answered   K frequencies 1..floor(p / 2)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from reprogrok.errors import InputError
from reprogrok.model.decoder import Weights, logits
from reprogrok.spec.model import ModelSpec
from reprogrok.tasks.modular import Equations, Modular
from reprogrok.tasks.modular_tokens import token_columns

LOSS = "ce/residues"
RESTRICTED = "ce/restricted/cos+sin-of-sum"
EXCLUDED = "ce/excluded/cos+sin-of-sum"
LOGIT_KEYS = "key-frequencies/logits/twice-even"
EMBEDDING_KEYS = "key-frequencies/embedding/twice-even"
ENERGY = "energy-share/logits/cos+sin-of-sum"

# Field of a `FourierMeasures` -> its definition and its set: the pairs or, for the embeddings, residues.
MEASURES = {
    "logit_keys": (LOGIT_KEYS, "all"),
    "embedding_keys": (EMBEDDING_KEYS, "residues"),
    "key_energy": (ENERGY, "all"),
    "full_loss_train": (LOSS, "train"),
    "full_loss_test": (LOSS, "test"),
    "full_loss_all": (LOSS, "all"),
    "restricted_loss_test": (RESTRICTED, "test"),
    "restricted_loss_all": (RESTRICTED, "all"),
    "excluded_loss_train": (EXCLUDED, "train"),
}

TIMES_EVEN = 2.0
ROWS = 512  # equations in a forward pass
MOST_LOGITS = 2**26  # of one grid, half a GiB: moduli up to 406


@dataclass(frozen=True)
class Grid:
    """One replica's answers to all p^2 pairs.

    Attributes:
        logits_NC: logit of every residue, for every pair in any order; float64.
        sum_N: the right answer of every pair, (a + b) mod p or (a - b) mod p, int64.
    """

    logits_NC: Tensor
    sum_N: Tensor

    @property
    def modulus(self) -> int:
        """The modulus p."""
        return self.logits_NC.shape[1]


@dataclass(frozen=True)
class FourierMeasures:
    """The measures of one snapshot; losses in nats, `MEASURES` gives their definitions and sets.

    Attributes:
        logit_keys: key frequencies of this snapshot's own logits.
        embedding_keys: key frequencies of its own embedding.
        key_energy: fraction of the energy in the given key frequencies.
        full_loss_train: `LOSS` of the training pairs; likewise of the test pairs and of all p^2 pairs.
        restricted_loss_test: `RESTRICTED` to the given key frequencies, of the test pairs; likewise of all pairs.
        excluded_loss_train: `EXCLUDED` without the given key frequencies, of the training pairs.
    """

    logit_keys: tuple[int, ...]
    embedding_keys: tuple[int, ...]
    key_energy: float
    full_loss_train: float
    full_loss_test: float
    full_loss_all: float
    restricted_loss_test: float
    restricted_loss_all: float
    excluded_loss_train: float


@torch.inference_mode()
def answer_logits(spec: ModelSpec, weights: Weights, task: Modular, rows: int = ROWS) -> Tensor:
    """Return the logits of every token at the answer, for all equations in their order: (R, V, N) on the CPU."""
    equations = task.equations()
    a_N, b_N = torch.tensor(equations.a_N), torch.tensor(equations.b_N)  # copies: arrays may be read-only
    embedding_RVD = weights["token_emb.weight"]
    tokens_TN = token_columns(task, a_N, b_N)[: task.first_answer + 1].to(embedding_RVD.device)
    answers = []
    for tokens_TB in tokens_TN.split(rows, dim=1):
        tokens_RTB = tokens_TB.expand(embedding_RVD.shape[0], -1, -1)
        answers.append(logits(spec, weights, tokens_RTB, task.first_answer)[:, :, 0].cpu())
    return torch.cat(answers, dim=2)


def grids(answer_RVN: Tensor, equations: Equations, modulus: int | None) -> list[Grid]:
    """Return the answers of each replica to all pairs, for the residues alone (tokens 0..p - 1).

    Raises:
        InputError: as `check_waves`.
    """
    p = check_waves(equations, modulus)
    sum_N = torch.tensor(equations.c_N)
    return [Grid(answer_VN[:p].T.double(), sum_N) for answer_VN in answer_RVN]


def check_waves(equations: Equations, modulus: int | None) -> int:
    """Return the modulus p of equations that have waves of a sum or a difference.

    Raises:
        InputError: there is no modulus, these are not all p^2 pairs, the answers are neither sums nor differences of
            their operands, or p^3 logits exceed `MOST_LOGITS`.
    """
    refused = "Fourier measures are of sums and differences"
    if modulus is None:
        raise InputError(refused, expected="a modulus", found="none")
    a_N, b_N, c_N = equations.a_N, equations.b_N, equations.c_N
    every = np.array_equal(np.sort(a_N * modulus + b_N), np.arange(modulus**2))
    sums = any(np.array_equal((a_N + sign * b_N) % modulus, c_N) for sign in (1, -1))
    if not (every and sums):
        found = "other answers" if every else f"{len(a_N):,} equations"
        expected = f"a + b or a - b mod {modulus} for all {modulus**2:,} pairs"
        raise InputError(refused, expected=expected, found=found)
    if modulus**3 > MOST_LOGITS:
        expected = f"at most {MOST_LOGITS:,} logits of all pairs"
        raise InputError("Fourier measures hold them at once", expected=expected, found=f"{modulus**3:,}")
    return modulus


def logit_energy(grid: Grid) -> Tensor:
    """Return the fraction of each frequency's two waves of the sum in the energy that depends on the pair: (K,).

    With M[s, c] the mean logit over the p pairs of sum s and X its DFT over s, the waves of frequency k hold the energy
    2 sum_c |X[k, c]|^2 (once for k = p / 2) of the sum over pairs and residues of (logit - its mean over pairs)^2.
    Zeros where nothing depends on the pair. Worked value: logits 3 cos(w_1 (a + b - c)) + 4 cos(w_2 (a + b - c)) have
    fractions 9/25 and 16/25.
    """
    varying_NC = grid.logits_NC - grid.logits_NC.mean(0)
    return _fraction(_energies(torch.fft.rfft(_by_sum(grid), dim=0), grid.modulus), varying_NC.square().sum())


def embedding_energy(embedding_PD: Tensor) -> Tensor:
    """Return the fraction of each frequency in the energy of the p embeddings that depends on the residue: (K,)."""
    exact_PD = embedding_PD.double().cpu()
    energy_K = _energies(torch.fft.rfft(exact_PD, dim=0), len(exact_PD))
    return _fraction(energy_K, energy_K.sum())


def key_frequencies(fraction_K: Tensor, times_even: float = TIMES_EVEN) -> tuple[int, ...]:
    """Return the frequencies with more than `times_even` times the even fraction 1/K, in rising order; none for K < 3.

    Worked value: of 0.5, 0.3, 0.1, 0.05, 0.05 the even fraction is 0.2, and only frequency 1 has more than 0.4.
    """
    threshold = times_even / len(fraction_K)
    return tuple(k for k, fraction in enumerate(fraction_K.tolist(), start=1) if fraction > threshold)


def full_loss(grid: Grid, chosen_N: Tensor | None = None) -> float:
    """Return `LOSS`, the mean cross-entropy in nats over all pairs, or over some by their indices or a mask."""
    return _loss(grid.logits_NC, grid.sum_N, chosen_N)


def restricted_loss(grid: Grid, frequencies: Sequence[int], chosen_N: Tensor | None = None) -> float:
    """Return `RESTRICTED`; without any frequency, the loss of an answer that does not depend on the pair, >= ln p."""
    restricted_SC = _waves(grid, frequencies) + grid.logits_NC.mean(0)
    return _loss(restricted_SC[grid.sum_N], grid.sum_N, chosen_N)


def excluded_loss(grid: Grid, frequencies: Sequence[int], chosen_N: Tensor | None = None) -> float:
    """Return `EXCLUDED`; without any frequency, the full loss."""
    return _loss(grid.logits_NC - _waves(grid, frequencies)[grid.sum_N], grid.sum_N, chosen_N)


def fourier_measures(
    grid: Grid, embedding_PD: Tensor, frequencies: Sequence[int], train_N: Tensor, test_N: Tensor
) -> FourierMeasures:
    """Measure one snapshot.

    Args:
        grid: its answers to all pairs.
        embedding_PD: embeddings of the p residues.
        frequencies: the key frequencies, in the paper those of the last snapshot.
        train_N: indices or mask of the training pairs.
        test_N: indices or mask of the test pairs.
    """
    energy_K = logit_energy(grid)
    return FourierMeasures(
        logit_keys=key_frequencies(energy_K),
        embedding_keys=key_frequencies(embedding_energy(embedding_PD)),
        key_energy=float(energy_K[[k - 1 for k in frequencies]].sum()),
        full_loss_train=full_loss(grid, train_N),
        full_loss_test=full_loss(grid, test_N),
        full_loss_all=full_loss(grid),
        restricted_loss_test=restricted_loss(grid, frequencies, test_N),
        restricted_loss_all=restricted_loss(grid, frequencies),
        excluded_loss_train=excluded_loss(grid, frequencies, train_N),
    )


def _by_sum(grid: Grid) -> Tensor:
    """Return the mean logits over the p pairs of every sum, the projection onto functions of the sum: (S, C)."""
    p = grid.modulus
    return torch.zeros(p, p, dtype=grid.logits_NC.dtype).index_add_(0, grid.sum_N, grid.logits_NC) / p


def _waves(grid: Grid, frequencies: Sequence[int]) -> Tensor:
    """Return the part of the logits in cos and sin of w_k times the sum, for some k: (S, C)."""
    p = grid.modulus
    if not all(1 <= k <= p // 2 for k in frequencies):
        raise InputError(field="frequencies", expected=f"numbers from 1 to {p // 2}", found=str(list(frequencies)))
    transformed_KC = torch.fft.rfft(_by_sum(grid), dim=0)
    kept_KC = torch.zeros_like(transformed_KC)
    kept_KC[list(frequencies)] = transformed_KC[list(frequencies)]
    waves_SC: Tensor = torch.fft.irfft(kept_KC, n=p, dim=0)
    return waves_SC


def _energies(transformed: Tensor, p: int) -> Tensor:
    """Return the energy of frequencies 1..floor(p / 2) of a real DFT of length p, p times that of its input."""
    energy_K = 2 * transformed[1:].abs().square().sum(1)
    if p % 2 == 0:
        energy_K[-1] /= 2  # cos(pi s) has no sine beside it
    return energy_K


def _fraction(energy_K: Tensor, total: Tensor) -> Tensor:
    return torch.zeros_like(energy_K) if total == 0 else energy_K / total


def _loss(logits_NC: Tensor, target_N: Tensor, chosen_N: Tensor | None) -> float:
    if chosen_N is not None:
        logits_NC, target_N = logits_NC[chosen_N], target_N[chosen_N]
    return float(F.cross_entropy(logits_NC, target_N))

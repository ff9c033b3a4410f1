"""Weights and the first rows of a set -> the rank of every block's states and the entropy of its attention.

    rows (T + 1, N) --trace, some rows at a time--> states, attention weights --SVD, sums--> Representation, on the CPU

Several numbers go by the names "rank" and "entropy". Each has an id of its own, and values of different ids are never
compared. The hidden states of one block and replica, at all T positions of all examples, are one matrix (N, D) with
centred columns; s are its singular values by a float32 SVD, l = s^2 its variances.
    pca99/blockin                 count(cumulative fraction of l < 0.99) + 1 of the states BEFORE each block, over the
                                  first 10 batches of 256 rows: the number of directions with 99 % of the variance
    pca99/blockin-first-batch     the same over the first batch alone; fewer rows, often a smaller number
    pca99/blockout                the same, after each block
    entropy-rank/blockin          exp(-sum p ln p) with p = s / sum s: the effective rank of Roy & Vetterli 2007 ("The
                                  effective rank: a measure of effective dimensionality"), of singular values, not of l
    participation-ratio/blockin   (sum l)^2 / sum l^2, of the eigenvalues of the covariance
    attn/all-queries              -sum p ln(p + 1e-9) over keys, mean over rows and ALL T query positions; the first
                                  query sees one key, so the maximum is ln(T!)/T
    attn/all-queries-clamped      the same with p clamped at 1e-9 in the logarithm instead
    attn/answer-query-normalised  -sum p ln p of the query at the answer alone, mean over rows, divided by ln k for its
                                  k keys: between 0 and 1
Entropies are in nats (the last one has no unit). Every row weighs the same, also in a smaller last batch. A Gram matrix
in float32 instead of the SVD would lose the small half of the spectrum.

Axes: R replicas   L blocks   S = L + 1 states: before each block, and after the last   D width   K singular values
      H heads   Q queries   T keys, positions   B rows of a pass   N rows times positions
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from reprogrok.errors import InputError
from reprogrok.model.decoder import Weights, trace
from reprogrok.spec.model import ModelSpec

RANK_FIRST_BATCH = "pca99/blockin-first-batch"
ENTROPY_CLAMPED = "attn/all-queries-clamped"

BATCH = 256
BATCHES = 10  # of RANK; one alone for RANK_FIRST_BATCH
FRACTION = 0.99
PUBLISHED_POSITIONS = 8
_TINY = 1e-9


def definition(name: str, positions: int) -> str:
    """Return the id of a measure over all positions: for T = 8 that of the published logs, otherwise with T in it.

    Numbers of different T are not comparable: the largest entropy is ln(T!)/T, and fewer positions give a lower rank.
    """
    return name if positions == PUBLISHED_POSITIONS else f"{name}/T{positions}"


@dataclass(frozen=True)
class Representation:
    """Spectra of hidden states and entropies of attention over some rows, float64 on the CPU.

    Attributes:
        examples: number of rows.
        singular_RSK: singular values of the centred states before each block and after the last; NaN where a state is
            not finite.
        entropy_RLH: "attn/all-queries" of every layer and head.
        entropy_clamped_RLH: "attn/all-queries-clamped".
        answer_entropy_RLH: "attn/answer-query-normalised".
    """

    examples: int
    singular_RSK: Tensor
    entropy_RLH: Tensor
    entropy_clamped_RLH: Tensor
    answer_entropy_RLH: Tensor

    def rank(self) -> Tensor:
        """Return `RANK` (of one batch: `RANK_FIRST_BATCH`) of every block's input: (R, L)."""
        return pca_rank(self.singular_RSK[:, :-1])

    def rank_after(self) -> Tensor:
        """Return `RANK_AFTER` of every block's output: (R, L)."""
        return pca_rank(self.singular_RSK[:, 1:])

    def entropy_rank(self) -> Tensor:
        """Return `ENTROPY_RANK` of every block's input: (R, L)."""
        return entropy_rank(self.singular_RSK[:, :-1])

    def participation_ratio(self) -> Tensor:
        """Return `PARTICIPATION_RATIO` of every block's input: (R, L)."""
        return participation_ratio(self.singular_RSK[:, :-1])


def pca_rank(singular: Tensor, fraction: float = FRACTION) -> Tensor:
    """Count the directions that hold a fraction of the variance: count(cumulative < `fraction`) + 1 on the last axis.

    Singular values come in falling order. NaN where one is not finite; 1 where there is no variance. Worked value:
    10, 1, 1 have cumulative fractions 0.980, 0.990, 1 of the variance, so 3 are needed for 0.995 and 1 for 0.98.
    """
    cumulative = singular.double().square().cumsum(-1)
    count = (cumulative < fraction * cumulative[..., -1:]).sum(-1) + 1
    return torch.where(singular.isfinite().all(-1), count.double(), math.nan)


def entropy_rank(singular: Tensor) -> Tensor:
    """Return the effective rank exp(-sum p ln p), p = s / sum s, on the last axis (Roy & Vetterli 2007, definition 1).

    NaN where there is no variance. Worked value: 3, 1 give p = 0.75, 0.25 and exp(0.56234) = 1.7548.
    """
    values = singular.double()
    entropy: Tensor = torch.special.entr(values / values.sum(-1, keepdim=True)).sum(-1)
    return entropy.exp()


def participation_ratio(singular: Tensor) -> Tensor:
    """Return (sum l)^2 / sum l^2 of variances l = s^2 along the last axis; K for K equal ones, NaN without variance.

    Worked value: 2, 1, 1 have variances 4, 1, 1 and 36 / 18 = 2.
    """
    variance = singular.double().square()
    return variance.sum(-1).square() / variance.square().sum(-1)


@torch.inference_mode()
def represent(
    spec: ModelSpec, weights: Weights, tokens: Tensor, answer: int, *, batches: int = BATCHES, rows: int = BATCH
) -> Representation:
    """Measure the first `batches` x `rows` rows of a set (all, if there are fewer), in order.

    Replicas are read one after the other, which bounds the memory to (L + 1) x N x D numbers. SVDs run on the CPU on
    any device, because there one thread gives the same bits every time.

    Args:
        spec: the shape of the models.
        weights: tensors with a leading axis of R.
        tokens: (T + 1, rows), the same for every replica, or (R, T + 1, rows); the last token of a row is not read.
        answer: the position that predicts the answer.
        batches: number of batches.
        rows: number of rows in a batch.

    Raises:
        InputError: the answer is not among the positions or sees one key alone, or there are no rows.
    """
    T = tokens.shape[-2] - 1
    if not 1 <= answer < T:
        raise InputError(field="answer", expected=f"a position from 1 to {T - 1}", found=str(answer))
    if tokens.shape[-1] == 0:
        raise InputError("a set to be analysed is empty", expected="at least one row", found="0")
    R = weights["token_emb.weight"].shape[0]
    tokens_RTN = tokens[..., :-1, : batches * rows].expand(R, -1, -1)
    parts = []
    for replica in range(R):
        own = {name: tensor[replica : replica + 1] for name, tensor in weights.items()}
        parts.append(_of_one(spec, own, tokens_RTN[replica : replica + 1], answer, rows))
    singular_RSK, *entropies = (torch.stack(columns) for columns in zip(*parts, strict=True))
    return Representation(tokens_RTN.shape[2], singular_RSK, *entropies)


def _of_one(spec: ModelSpec, weights: Weights, tokens_1TN: Tensor, answer: int, rows: int) -> tuple[Tensor, ...]:
    """Return one replica's singular values (S, K) and its three entropies, (L, H) each."""
    states, entropies = [], []
    for tokens_1TB in tokens_1TN.split(rows, dim=2):
        seen = trace(spec, weights, tokens_1TB)
        states.append(seen.hidden_RLDTB[0].permute(0, 2, 3, 1).flatten(1, 2).cpu())
        entropies.append(_entropies(seen.weights_RLHQTB[0], answer).cpu().double())
    singular_SK = torch.stack([_singular_values(state_ND) for state_ND in torch.cat(states, dim=1)])
    plain_LH, clamped_LH, answer_LH = torch.cat(entropies, dim=3).mean(3)
    return singular_SK, plain_LH, clamped_LH, answer_LH / math.log(answer + 1)


def _entropies(weight_LHQTB: Tensor, answer: int) -> Tensor:
    """Return every row's two means over queries and the entropy of the query at the answer: (3, L, H, B)."""
    plain_LHB = -(weight_LHQTB * (weight_LHQTB + _TINY).log()).sum(3).mean(2)
    clamped_LHB = -(weight_LHQTB * weight_LHQTB.clamp(min=_TINY).log()).sum(3).mean(2)
    answer_LHB = torch.special.entr(weight_LHQTB[:, :, answer]).sum(2)
    return torch.stack([plain_LHB, clamped_LHB, answer_LHB])


def _singular_values(state_ND: Tensor) -> Tensor:
    """Return the singular values of the centred matrix by a float32 SVD, in falling order: (K,) float64."""
    single_ND = state_ND.float()
    if not single_ND.isfinite().all():
        return torch.full((min(state_ND.shape),), math.nan, dtype=torch.float64)
    singular_K: Tensor = torch.linalg.svdvals(single_ND - single_ND.mean(0))
    return singular_K.double()

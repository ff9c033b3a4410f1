"""Weights and the first rows of a set -> the rank of every block's states and the entropy of its attention.

    rows (T + 1, N) --trace, some rows at a time--> states, shares --SVD, sums--> Representation, on the CPU

Several numbers go by the names "rank" and "entropy". Here each has an id of its own, and the ids are never compared.
States of one block and replica, all T positions of all examples, are one matrix (N, D) with its columns centred; s are
its singular values by a float32 SVD, l = s^2 its variances.
    pca99/blockin                 count(cumulative share of l < 0.99) + 1 of the states BEFORE each block, over the
                                  first 10 batches of 256 rows: how many directions hold 99 % of the variance
    pca99/blockin-first-batch     the same over the first batch alone; fewer rows, often a smaller number
    pca99/blockout                the same, after each block
    entropy-rank/blockin          exp(-sum p ln p) with p = s / sum s: the effective rank of Roy & Vetterli 2007 ("The
                                  effective rank: a measure of effective dimensionality"), of singular values, not of l
    participation-ratio/blockin   (sum l)^2 / sum l^2, of the eigenvalues of the covariance
    attn/all-queries              -sum p ln(p + 1e-9) over keys, mean over rows and ALL T query positions; the first
                                  sees one key, so that its 0 is in the mean and ln(T!)/T is the most there can be
    attn/all-queries-clamped      the same with p clamped at 1e-9 instead, in the logarithm alone
    attn/answer-query-normalised  -sum p ln p of the query at the answer alone, mean over rows, divided by ln k for its
                                  k keys: between 0 and 1
Entropies are in nats (the last one has no unit). Every row weighs the same, also in a last batch that is smaller.

The SVD costs little beside the forward passes, and a Gram matrix in float32 would lose the small half of the spectrum.

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
SHARE = 0.99
PUBLISHED_POSITIONS = 8
_TINY = 1e-9


def definition(name: str, positions: int) -> str:
    """The id of a measure over all positions: that of the published logs for T = 8, with T in it for any other.

    The largest entropy is ln(T!)/T, and states of fewer positions have fewer directions: numbers of different T are
    not of one kind.
    """
    return name if positions == PUBLISHED_POSITIONS else f"{name}/T{positions}"


@dataclass(frozen=True)
class Representation:
    """What the states and shares of some rows come to, float64 on the CPU.

    Attributes:
        examples: how many rows were read.
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
        """`RANK` (of one batch: `RANK_FIRST_BATCH`) of every block's input: (R, L)."""
        return pca_rank(self.singular_RSK[:, :-1])

    def rank_after(self) -> Tensor:
        """`RANK_AFTER`, of every block's output: (R, L)."""
        return pca_rank(self.singular_RSK[:, 1:])

    def entropy_rank(self) -> Tensor:
        """`ENTROPY_RANK` of every block's input: (R, L)."""
        return entropy_rank(self.singular_RSK[:, :-1])

    def participation_ratio(self) -> Tensor:
        """`PARTICIPATION_RATIO` of every block's input: (R, L)."""
        return participation_ratio(self.singular_RSK[:, :-1])


def pca_rank(singular: Tensor, share: float = SHARE) -> Tensor:
    """How many directions hold a share of the variance: count(cumulative share < `share`) + 1 along the last axis.

    Singular values come in falling order. NaN where one is not finite; 1 where there is no variance at all, as the
    definition has it. Worked value: 10, 1, 1 have shares 0.980, 0.990, 1 of the variance, so 3 are needed for 0.995 and
    1 for 0.98.
    """
    cumulative = singular.double().square().cumsum(-1)
    count = (cumulative < share * cumulative[..., -1:]).sum(-1) + 1
    return torch.where(singular.isfinite().all(-1), count.double(), math.nan)


def entropy_rank(singular: Tensor) -> Tensor:
    """The effective rank exp(-sum p ln p), p = s / sum s, along the last axis (Roy & Vetterli 2007, definition 1).

    NaN where there is no variance. Worked value: 3, 1 give p = 0.75, 0.25 and exp(0.56234) = 1.7548.
    """
    values = singular.double()
    entropy: Tensor = torch.special.entr(values / values.sum(-1, keepdim=True)).sum(-1)
    return entropy.exp()


def participation_ratio(singular: Tensor) -> Tensor:
    """(sum l)^2 / sum l^2 of variances l = s^2 along the last axis; K for K equal ones, NaN where there are none.

    Worked value: 2, 1, 1 have variances 4, 1, 1 and 36 / 18 = 2.
    """
    variance = singular.double().square()
    return variance.sum(-1).square() / variance.square().sum(-1)


@torch.inference_mode()
def represent(
    spec: ModelSpec, weights: Weights, tokens: Tensor, answer: int, *, batches: int = BATCHES, rows: int = BATCH
) -> Representation:
    """Read the first `batches` x `rows` rows of a set (all, if there are fewer), in order.

    One replica after the other, which bounds the memory: (L + 1) x N x D numbers. SVDs are made on the CPU, whatever
    the device, where one thread gives the same bits every time.

    Args:
        spec: the shape of the models.
        weights: tensors with a leading axis of R.
        tokens: (T + 1, rows), the same for every replica, or (R, T + 1, rows); the last token of a row is not read.
        answer: the position that predicts the answer.
        batches: how many batches.
        rows: of a batch.

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
    """One replica's singular values (S, K) and its three entropies (L, H) each."""
    states, entropies = [], []
    for tokens_1TB in tokens_1TN.split(rows, dim=2):
        seen = trace(spec, weights, tokens_1TB)
        states.append(seen.hidden_RLDTB[0].permute(0, 2, 3, 1).flatten(1, 2).cpu())
        entropies.append(_entropies(seen.weights_RLHQTB[0], answer).cpu().double())
    singular_SK = torch.stack([_singular_values(state_ND) for state_ND in torch.cat(states, dim=1)])
    plain_LH, clamped_LH, answer_LH = torch.cat(entropies, dim=3).mean(3)
    return singular_SK, plain_LH, clamped_LH, answer_LH / math.log(answer + 1)


def _entropies(share_LHQTB: Tensor, answer: int) -> Tensor:
    """Every row's two means over queries, and what the query at the answer has: (3, L, H, B)."""
    plain_LHB = -(share_LHQTB * (share_LHQTB + _TINY).log()).sum(3).mean(2)
    clamped_LHB = -(share_LHQTB * share_LHQTB.clamp(min=_TINY).log()).sum(3).mean(2)
    answer_LHB = torch.special.entr(share_LHQTB[:, :, answer]).sum(2)
    return torch.stack([plain_LHB, clamped_LHB, answer_LHB])


def _singular_values(state_ND: Tensor) -> Tensor:
    """Of the centred matrix, in falling order, by a float32 SVD: (K,) float64."""
    single_ND = state_ND.float()
    if not single_ND.isfinite().all():
        return torch.full((min(state_ND.shape),), math.nan, dtype=torch.float64)
    singular_K: Tensor = torch.linalg.svdvals(single_ND - single_ND.mean(0))
    return singular_K.double()

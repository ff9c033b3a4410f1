"""Weights and a set of rows -> loss and accuracy at every scored position, margin and saturation at the answer.

    rows (T + 1, N) --forward pass, some rows at a time--> logits --here--> PositionScores, on the CPU

One pass serves all measures; tokens after the last scored position are not read. Values are those of float32 logits;
sums over rows are float64. Definition ids:
    ce/position                      mean cross-entropy in nats at one position: -log softmax(logits)[target], in the
                                     precision of the logits, so that a row whose loss is below 6e-8 counts as 0
    ce/answer                        the same at the position that predicts the answer
    argmax/position                  k of n: the largest logit of ALL V tokens, the first on ties, is the target; a row
                                     with a logit that is not finite is never right
    argmax/answer                    the same at the position that predicts the answer
    margin/answer/min-all            the least of (right logit - best other logit) over ALL rows, right or wrong:
                                     negative as soon as one is wrong
    softmax/float32-one/answer       fraction of rows whose float32 softmax is exactly 1 for one token, right or wrong:
                                     there the gradient of the loss is gone (softmax collapse: Prieto et al. 2025,
                                     "Grokking at the Edge of Numerical Stability", section 3)

Axes: R replicas   T positions read   N rows of the set   B rows of a pass   Q scored positions   V vocabulary
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from reprogrok.errors import InputError
from reprogrok.model.decoder import Weights, logits
from reprogrok.spec.model import ModelSpec

ROWS = 256  # rows per pass: on one core of a CPU the fastest, or within its noise, for widths of 128 and 256


@dataclass(frozen=True)
class PositionScores:
    """The scores of one set, on the CPU; counts are integers, all others float64.

    Attributes:
        scored: the scored positions, Q of them.
        answer: the position among them that predicts the answer.
        loss_RQ: mean cross-entropy per scored position, in nats.
        right_RQ: number of the N rows that are right at each scored position.
        answer_loss_RN: cross-entropy of every row at the answer, in nats.
        answer_right_RN: whether every row is right at the answer.
        smallest_margin_R: least margin of all rows; not finite where a logit is not.
        saturated_R: fraction of rows with a saturated softmax at the answer.
    """

    scored: range
    answer: int
    loss_RQ: Tensor
    right_RQ: Tensor
    answer_loss_RN: Tensor
    answer_right_RN: Tensor
    smallest_margin_R: Tensor
    saturated_R: Tensor

    @property
    def examples(self) -> int:
        """N, the number of rows of the set."""
        return self.answer_right_RN.shape[1]

    @property
    def accuracy(self) -> Tensor:
        """Fraction of right rows at each scored position: (R, Q)."""
        return self.right_RQ.double() / self.examples

    @property
    def loss(self) -> Tensor:
        """Mean over the scored positions, all of equal weight: (R,)."""
        return self.loss_RQ.mean(1)

    def of(self, chosen_N: Tensor) -> tuple[Tensor, Tensor]:
        """Return loss and accuracy at the answer over the rows of a bool mask: (R,) each, NaN if none is chosen."""
        return self.answer_loss_RN[:, chosen_N].mean(1), self.answer_right_RN[:, chosen_N].double().mean(1)


@torch.inference_mode()
def score_positions(
    spec: ModelSpec, weights: Weights, tokens: Tensor, scored: range, answer: int, *, rows: int = ROWS
) -> PositionScores:
    """Score every row of a set in one pass.

    Args:
        spec: the shape of the models.
        weights: tensors with a leading axis of R.
        tokens: (T + 1, N), the same rows for every replica, or (R, T + 1, N): each position predicts the next token.
        scored: the positions to score, without gaps.
        answer: the position among them that predicts the answer.
        rows: rows per forward pass.

    Raises:
        InputError: the rows lack a position, or the set is empty.
    """
    _check(tokens, scored, answer)
    R = weights["token_emb.weight"].shape[0]
    tokens_RTN = tokens[..., : scored.stop + 1, :].expand(R, -1, -1)
    at = answer - scored.start
    losses, rights, margins, saturated = [], [], [], []
    for tokens_RTB in tokens_RTN.split(rows, dim=2):
        logits_RVQB = logits(spec, weights, tokens_RTB[:, :-1], scored.start)
        target_R1QB = tokens_RTB[:, scored.start + 1 :].unsqueeze(1)
        losses.append(-logits_RVQB.log_softmax(1).gather(1, target_R1QB).squeeze(1))
        # A row with a logit that is not finite is never right, whichever token argmax returns.
        rights.append((logits_RVQB.argmax(1) == target_R1QB.squeeze(1)) & (logits_RVQB.abs().amax(1) < math.inf))
        answer_RVB, target_R1B = logits_RVQB[:, :, at], target_R1QB[:, :, at]
        margins.append(_margins(answer_RVB, target_R1B))
        saturated.append(answer_RVB.float().softmax(1).amax(1) == 1)
    loss_RQN, right_RQN = torch.cat(losses, dim=2).cpu().double(), torch.cat(rights, dim=2).cpu()
    return PositionScores(
        scored=scored,
        answer=answer,
        loss_RQ=loss_RQN.mean(2),
        right_RQ=right_RQN.sum(2),
        answer_loss_RN=loss_RQN[:, at].contiguous(),
        answer_right_RN=right_RQN[:, at].contiguous(),
        smallest_margin_R=torch.cat(margins, dim=1).amin(1).cpu().double(),
        saturated_R=torch.cat(saturated, dim=1).cpu().double().mean(1),
    )


def _check(tokens: Tensor, scored: range, answer: int) -> None:
    read = tokens.shape[-2] - 1
    if tokens.shape[-1] == 0:
        raise InputError("a set to be scored is empty", expected="at least one row", found="0")
    if scored.step != 1 or not 0 <= scored.start < scored.stop <= read:
        raise InputError(field="scored", expected=f"positions from 0 to {read - 1}, without gaps", found=str(scored))
    if answer not in scored:
        raise InputError(field="answer", expected=f"a scored position, in {scored}", found=str(answer))


def _margins(logits_RVB: Tensor, target_R1B: Tensor) -> Tensor:
    """Return the margin of the right token: (R, B), NaN where a logit is not finite."""
    right_R1B = logits_RVB.gather(1, target_R1B)
    best_other_RB = logits_RVB.scatter(1, target_R1B, -math.inf).amax(1)
    finite_RB = logits_RVB.abs().amax(1) < math.inf
    return torch.where(finite_RB, right_R1B.squeeze(1) - best_other_RB, math.nan)

"""Every problem of a small model tried, and what a certificate must agree with; no bound is computed here.

    model, problems --decoder, float32--> margins of the real model
                    --reference.py, float64--> margins and attention's outputs of a plain one
    a block's leaf --whole numbers--> which problems it speaks of --> its least and its greatest margin

The margin of an answer place is the right token's logit less the greatest other one's, over all 14 tokens: the place
is answered right if it is above 0. A problem is wrong if any of its places is not.

Axes: B problems, A answer places, V vocabulary, D width, T positions, L leaves.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cache

import numpy as np
import reference
import torch

from reprogrok.model.decoder import logits
from reprogrok.tasks.addition import Addition

BATCH = 4_000  # stays in a cache


@dataclass(frozen=True)
class Tried:
    """What a model does on some problems.

    Attributes:
        single_AB: margins of the real float32 forward pass, float32 logits subtracted in float64.
        double_AB: those of the plain module in float64.
        output_ADB: what attention adds to the residual stream, in float64; None where nobody asked.
    """

    a_B: np.ndarray
    b_B: np.ndarray
    single_AB: np.ndarray
    double_AB: np.ndarray
    output_ADB: np.ndarray | None

    @property
    def wrong_single(self) -> int:
        return int((self.single_AB <= 0).any(0).sum())

    @property
    def wrong_double(self) -> int:
        return int((self.double_AB <= 0).any(0).sum())


def every_problem(digits):
    """The operands of all 100^n problems."""
    number = torch.arange(100**digits)
    return number // 10**digits, number % 10**digits


def tried(model, a_B, b_B, *, outputs=False):
    """Both forward passes on the given problems."""
    task, spec = Addition(model.digits), model.spec
    module = reference.Decoder(asdict(spec)).double()
    module.load_state_dict({name: tensor.double() for name, tensor in model.weights.items()})
    stacked = {name: tensor.unsqueeze(0) for name, tensor in model.weights.items()}
    found = []
    with torch.no_grad():
        for a, b in zip(a_B.split(BATCH), b_B.split(BATCH), strict=True):
            columns_TB = task.columns(a, b)
            right_AB = columns_TB[task.prompt_length : -1]
            single_VAB = logits(spec, stacked, columns_TB[:-1].unsqueeze(0), task.first_answer)[0, :, :-1]
            double_BAV, output_BAD = _plain(module, columns_TB[:-2].T, task.first_answer)
            found.append((
                _margins(single_VAB.double(), right_AB),
                _margins(double_BAV.permute(2, 1, 0), right_AB),
                *([output_BAD.permute(1, 2, 0)] if outputs else []),
            ))  # fmt: skip
    columns = [torch.cat(parts, dim=-1).numpy() for parts in zip(*found, strict=True)]
    return Tried(a_B.numpy(), b_B.numpy(), columns[0], columns[1], columns[2] if outputs else None)


def _plain(module, tokens_BT, first):
    """Logits (B, A, V) and attention's outputs (B, A, D) of the plain module at the positions from `first` on."""
    block = module.blocks[0]
    x_BTD = module.token_emb(tokens_BT) + module.pos_emb(torch.arange(tokens_BT.shape[1]))
    output_BAD = block.attn(block.ln1(x_BTD))[:, first:]
    x_BAD = x_BTD[:, first:] + output_BAD
    x_BAD = x_BAD + block.mlp(block.ln2(x_BAD))
    return module.ln_f(x_BAD) @ module.token_emb.weight.T, output_BAD


def _margins(logits_VAB, right_AB):
    right = logits_VAB.gather(0, right_AB.unsqueeze(0))[0]
    others = logits_VAB.scatter(0, right_AB.unsqueeze(0), -torch.inf)
    return right - others.amax(0)


class Problems:
    """Some problems by their digits: which of them each block asks, and as which case."""

    def __init__(self, digits, a_B, b_B):
        self.digits = digits
        self.of_place = np.stack([[a_B // 10**i % 10, b_B // 10**i % 10] for i in range(digits)])  # place, operand, B
        self.carries = [np.zeros_like(a_B)]
        for pair in self.of_place:
            self.carries.append((pair.sum(0) + self.carries[-1]) // 10)

    @cache  # noqa: B019 - as long as the problems live
    def of(self, block):
        """The problems of a block."""
        j, zero = block.place, np.zeros_like(self.carries[0])
        before = (self.carries[j - 1], *self.of_place[j - 1]) if j else (zero, zero, zero)
        own = tuple(self.of_place[j]) if j < self.digits else (zero, zero)
        index_B = np.flatnonzero(sum(before) % 10 == block.token) if j else np.arange(len(zero))
        cases = block.cases
        number = np.full(20_000, -1)
        number[_key(cases.carry, cases.a_before, cases.b_before, cases.a, cases.b)] = np.arange(len(cases))
        case_B = number[_key(*(column[index_B] for column in (*before, *own)))]
        order = np.argsort(case_B, kind="stable")
        index_B, case_B = index_B[order], case_B[order]
        choices = {
            i: (100 * self.carries[i] * (i < j) + 10 * self.of_place[i, 0] + self.of_place[i, 1])[index_B]
            for i in block.far
        }
        return BlockProblems(index_B, np.searchsorted(case_B, np.arange(len(cases) + 1)), choices)


@dataclass(frozen=True)
class BlockProblems:
    """The problems of one block, ordered by case.

    Attributes:
        index_B: their numbers among all problems.
        starts: where each case begins, and the end.
        choices: at each far place the number of the choice that stands there, by problem.
    """

    index_B: np.ndarray
    starts: np.ndarray
    choices: dict[int, np.ndarray]

    def leaves_of(self, leaves, orders):
        """For each of the block's problems the number of the leaf that speaks of it; there is exactly one."""
        whole_C = np.full(len(self.starts) - 1, -1)
        for number, leaf in enumerate(leaves):
            if not leaf.runs:
                whole_C[leaf.case] = number
        leaf_B = np.repeat(whole_C, np.diff(self.starts))
        for number, leaf in enumerate(leaves):
            rows = slice(self.starts[leaf.case], self.starts[leaf.case + 1])
            if not leaf.runs or rows.start == rows.stop:
                continue
            held = np.ones(rows.stop - rows.start, dtype=bool)
            for place, first, end in leaf.runs:
                allowed = np.zeros(200, dtype=bool)
                allowed[orders[place][first:end]] = True
                held &= allowed[self.choices[place][rows]]
            if (leaf_B[rows][held] != -1).any():
                raise AssertionError(f"two leaves for a problem: {leaf}")
            leaf_B[rows][held] = number
        if (leaf_B == -1).any():
            raise AssertionError("a problem without a leaf")
        return leaf_B


def _key(carry, a_before, b_before, a, b):
    return 10_000 * carry + 1_000 * a_before + 100 * b_before + 10 * a + b

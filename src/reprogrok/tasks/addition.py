"""Pairs of integers <-> the token rows of the addition task, for any number of digits (ten by default).

    a, b  ->  `a_n ... a_1 + b_n ... b_1 =`  then the digits of a + b, LEAST significant first, then EOS

Operands are zero-padded and most significant first, the sum has n + 1 digits. With ten digits a row has 34 tokens: the
model reads the first 33 and each position predicts the next token. Loss falls on the answer and EOS (positions
21..32); exact match counts the n + 1 answer digits (positions 21..31). Axes: B problems, T positions, A answer digits.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch

PLUS, EQUALS, PAD, EOS = 10, 11, 12, 13
VOCABULARY = 14
SYMBOLS = (*"0123456789", "+", "=", "<pad>", "<eos>")


@dataclass(frozen=True)
class Addition:
    """The task of adding two numbers of up to `digits` digits (at most 14, see `_digits`)."""

    digits: int = 10

    @property
    def prompt_length(self) -> int:
        """Number of tokens up to and including `=`."""
        return 2 * self.digits + 2

    @property
    def answer_length(self) -> int:
        """Number of digits of the sum, without EOS."""
        return self.digits + 1

    @property
    def positions(self) -> int:
        """T, the number of tokens the model reads: all of a row except EOS."""
        return self.prompt_length + self.answer_length

    @property
    def first_answer(self) -> int:
        """The position of `=`, which predicts the first (least significant) answer digit."""
        return self.prompt_length - 1

    @property
    def problems(self) -> int:
        """Number of problems: every pair of operands."""
        return int(100**self.digits)

    def columns(self, a_B: torch.Tensor, b_B: torch.Tensor) -> torch.Tensor:
        """Encode int64 operands (..., B) as columns of prompt, answer and EOS: int64 tokens (..., T + 1, B)."""
        n = self.digits
        shape = (*a_B.shape[:-1], self.positions + 1, a_B.shape[-1])
        columns = torch.empty(shape, dtype=torch.int64, device=a_B.device)
        columns[..., :n, :] = _digits(a_B, range(n, -1, -1))
        columns[..., n, :] = PLUS
        columns[..., n + 1 : 2 * n + 1, :] = _digits(b_B, range(n, -1, -1))
        columns[..., 2 * n + 1, :] = EQUALS
        columns[..., 2 * n + 2 : -1, :] = _digits(a_B + b_B, range(n + 2))
        columns[..., -1, :] = EOS
        return columns

    def encode(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """Encode operands of any shape (...) as rows (..., T + 1)."""
        return self.columns(a.unsqueeze(-1), b.unsqueeze(-1)).squeeze(-1)

    def text(self, answer: list[int]) -> str:
        """Write answer tokens (least significant first) as a number; other symbols stay visible."""
        return "".join(SYMBOLS[token] for token in reversed(answer))


def _digits(value: torch.Tensor, powers: range) -> torch.Tensor:
    """Split int64 values (..., B) into digits (..., count, B) between neighbouring powers of ten, as float64.

    Dividing in float64 is several times faster than integer division, and exact: a quotient that is not an integer
    differs from the next one by at least 10**-15 of itself, and rounding moves it by 2**-53.
    """
    quotient = (value.double().unsqueeze(-2) / _tens(powers, value.device)).floor_()
    higher, lower = (1, 0) if powers.step > 0 else (0, 1)
    count = len(powers) - 1
    return torch.sub(quotient.narrow(-2, lower, count), quotient.narrow(-2, higher, count), alpha=10)


@cache
def _tens(powers: range, device: torch.device) -> torch.Tensor:
    """Return powers of ten as a column, cached per device to avoid waiting for an accelerator."""
    return torch.tensor([[10.0**power] for power in powers], dtype=torch.float64, device=device)

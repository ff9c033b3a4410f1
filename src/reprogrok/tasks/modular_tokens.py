"""Operands of a modular task -> their token rows, as int64 tensors; `tasks.modular` gives the layout of a row.

Axes: B problems, T positions.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch

from reprogrok.tasks.modular import Modular


def token_columns(task: Modular, a_B: torch.Tensor, b_B: torch.Tensor) -> torch.Tensor:
    """Encode int64 operands (..., B) that have an answer as columns of int64 tokens (..., T + 1, B).

    2 + 3 mod 97 in llmc8 is the column 99 2 97 3 98 5 100 100 99.
    """
    c_B = _answers(Modular(task.operation, task.modulus, task.format), a_B.device)[a_B * task.values + b_B]
    columns = torch.empty((*a_B.shape[:-1], len(task.row), a_B.shape[-1]), dtype=torch.int64, device=a_B.device)
    operands = {"a": a_B, "b": b_B, "c": c_B}
    for position, part in enumerate(task.row):
        columns[..., position, :] = operands[part] if part in operands else task.token(part)
    return columns


def token_rows(task: Modular, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Encode operands of any shape (...) as rows (..., T + 1)."""
    return token_columns(task, a.unsqueeze(-1), b.unsqueeze(-1)).squeeze(-1)


@cache
def _answers(task: Modular, device: torch.device) -> torch.Tensor:
    """Return the answers indexed by a * values + b, -1 for pairs without one; cached per device."""
    equations = task.equations()
    answers = np.full(task.values**2, -1, dtype=np.int64)
    answers[equations.a_N * task.values + equations.b_N] = equations.c_N
    return torch.from_numpy(answers).to(device)

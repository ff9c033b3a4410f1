"""A modular task -> the least loss that each degree of knowledge allows, at every position and over every window.

    all rows, training rows -> predictors that only count -> nats per position -> means over windows

The operands of a row cannot be predicted, so a loss over all positions never reaches zero. Its bound depends on what
is known and on the number of positions in the mean:

    task-known      format and rule are known, operands have their frequencies among all equations
    chance          the same, but all possible answers are equally likely: ln(number of answers) at the answer
    memorised       every token has its frequency after the same prefix in the training rows

Each bound is the cross-entropy of a predictor that gives a token its frequency after the same prefix among the rows it
knows. On those rows no predictor does better: this is the empirical conditional entropy. By the chain rule (Cover and
Thomas, Elements of Information Theory, theorem 2.5.1) its sum over a row is the entropy of the row, so n different
memorised rows cost ln(n) nats each where both operands are predicted: a mean of ln(4,704) / 8 = 1.0570 over 8
positions. Axes: N rows, S = T + 1 tokens of a row, T positions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from reprogrok.spec.task import ModularTask
from reprogrok.tasks.modular import Equations, Modular
from reprogrok.tasks.modular_tokens import token_columns
from reprogrok.tasks.operations import Integers
from reprogrok.tasks.splits import make_split

TASK_KNOWN, CHANCE, MEMORISED = "floor/task-known", "floor/chance", "floor/memorised"


@dataclass(frozen=True)
class LossBound:
    """One loss bound on the rows of one side.

    Attributes:
        id: definition id.
        side: rows of the mean, "training" or "test".
        nats_T: bound at each position; infinite if the predictor excludes a token that occurs, NaN if it does not know
            some prefix.
    """

    id: str
    side: str
    nats_T: tuple[float, ...]

    def mean(self, window: range) -> float:
        """Return the mean over a window: infinite if one of its positions is, else NaN if one of them is."""
        return _mean(np.array([self.nats_T[position] for position in window]))


@dataclass(frozen=True)
class LossBounds:
    """All loss bounds of one task.

    Attributes:
        train: number of training rows in full blocks.
        left_out: number of training rows that fill no block and are never trained on.
        test: number of test rows.
        answers: number of possible answers.
        predicted: token kind predicted at each of the T positions.
        window: name of the window of the experiment's loss.
        windows: name -> positions: `all`, `equation` (without the prediction of the next row) and `answer`.
        bounds: task-known, chance and memorised, each on both sides.
    """

    train: int
    left_out: int
    test: int
    answers: int
    predicted: tuple[str, ...]
    window: str
    windows: Mapping[str, range]
    bounds: tuple[LossBound, ...]

    def bound(self, definition: str, side: str = "training") -> LossBound:
        """Return the bound of a definition on one side."""
        return next(bound for bound in self.bounds if (bound.id, bound.side) == (definition, side))


def loss_bounds(task: ModularTask, *, block: int | None = None) -> LossBounds:
    """Compute the loss bounds of a task from its rows.

    Args:
        task: the modular task with its format, loss and split.
        block: batch size, if batches are fixed consecutive blocks; training rows that fill no block are left out.

    Returns:
        For x + y mod 97 in llmc8: 2 ln(97) / 8 = 1.1437 with the task known and 3 ln(97) / 8 = 1.7155 at chance.

    Raises:
        InputError: the split cannot be made.
    """
    modular = Modular(task.operation, task.modulus, task.format)
    equations, split = modular.equations(), make_split(task)
    trained_N = split.in_blocks(block).train_N
    all_NS = _rows(modular, equations, np.arange(len(equations)))
    sides = {
        "training": _rows(modular, equations, trained_N),
        "test": _rows(modular, equations, split.test_N),
    }
    answers = len(np.unique(equations.c_N))
    bounds = []
    for side, rows_NS in sides.items():
        known_T = cross_entropy(all_NS, rows_NS)
        chance_T = (*known_T[: modular.first_answer], math.log(answers), *known_T[modular.first_answer + 1 :])
        bounds += [
            LossBound(TASK_KNOWN, side, known_T),
            LossBound(CHANCE, side, chance_T),
            LossBound(MEMORISED, side, cross_entropy(sides["training"], rows_NS)),
        ]
    return LossBounds(
        train=len(trained_N),
        left_out=len(split.train_N) - len(trained_N),
        test=len(split.test_N),
        answers=answers,
        predicted=modular.predicted,
        window=task.loss,
        windows=_windows(modular),
        bounds=tuple(bounds),
    )


def cross_entropy(known_NS: Integers, rows_NS: Integers) -> tuple[float, ...]:
    """Return the nats at each of the T positions of `rows_NS` for a predictor that knows only the rows `known_NS`.

    A token costs -ln of its frequency after the same prefix among the known rows. A position where all rows have the
    same token belongs to the format and costs nothing. The cost is infinite if the prefix is known but not with this
    token, and NaN if the prefix is not known.

    With the known rows `0 0` and `0 1`, the row `0 1` costs ln(2), `0 2` is infinite and `1 0` is NaN.
    """
    count = len(known_NS)
    tokens_NS = np.concatenate([known_NS, rows_NS])
    size = int(tokens_NS.max()) + 1
    _, prefix_N = np.unique(tokens_NS[:, 0], return_inverse=True)
    nats = []
    for next_N in tokens_NS.T[1:]:
        _, longer_N = np.unique(prefix_N * size + next_N, return_inverse=True)
        if (next_N == next_N[0]).all():
            nats.append(0.0)
        else:
            seen_N, seen_longer_N = (
                np.bincount(key_N[:count], minlength=int(key_N.max()) + 1)[key_N[count:]]
                for key_N in (prefix_N, longer_N)
            )
            with np.errstate(divide="ignore", invalid="ignore"):  # 1 / 0 is infinite and 0 / 0 is NaN, as intended
                nats.append(_mean(np.log(seen_N / seen_longer_N)))
        prefix_N = longer_N
    return tuple(nats)


def _mean(nats: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
    """Return the mean; an infinite cost takes precedence over unknown ones."""
    return math.inf if np.isinf(nats).any() else float(nats.mean())


def _rows(modular: Modular, equations: Equations, rows_N: Integers) -> Integers:
    a_N, b_N = (torch.from_numpy(column[rows_N]) for column in (equations.a_N, equations.b_N))
    return token_columns(modular, a_N, b_N).numpy().T


def _windows(modular: Modular) -> dict[str, range]:
    """Return the windows by name; `equation` leaves out a last position that predicts the next equation."""
    inside = modular.positions - (modular.predicted[-1] == "bos")
    answer = modular.first_answer
    return {"all": range(modular.positions), "equation": range(inside), "answer": range(answer, answer + 1)}

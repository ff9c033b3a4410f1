"""A modular task -> the least loss that each degree of knowledge allows, at every position and over every window.

    all rows, training rows -> predictors that only count -> nats per position -> means over windows

A row's operands cannot be known in advance, so a loss over all positions never reaches zero, and what it does reach
depends on what is known and on how many positions the mean goes over:

    task-known      format and rule are known, operands are as likely as they are among all equations
    chance          the same, but every possible answer is equally likely: ln(number of answers) there
    memorised       operands and answers are as likely, after each prefix, as they are among the training rows

Each is the cross-entropy of a predictor that gives a token the share that it has after that prefix among the rows it
knows. On those very rows nothing can do better: this is the empirical conditional entropy. By the chain rule (Cover and
Thomas, Elements of Information Theory, theorem 2.5.1) its sum over a row is the entropy of the row, so where both
operands are predicted, n different rows that are known by heart cost ln(n) nats each, whatever they say: a mean of
ln(4,704) / 8 = 1.0570 over 8 positions.
Axes: N rows, S = T + 1 tokens of a row, T positions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from reprogrok.spec import ModularTask
from reprogrok.tasks.modular import Equations, Modular
from reprogrok.tasks.operations import Integers
from reprogrok.tasks.splits import make_split

TASK_KNOWN, CHANCE, MEMORISED = "floor/task-known", "floor/chance", "floor/memorised"


@dataclass(frozen=True)
class Floor:
    """One floor on the rows of one side.

    Attributes:
        id: its definition.
        side: "training" or "test": the rows that it is the mean over.
        nats_T: for each position; infinite where a token comes that was taken for impossible, NaN where nothing is
            known about what follows some prefix.
    """

    id: str
    side: str
    nats_T: tuple[float, ...]

    def mean(self, window: range) -> float:
        """Over the positions of a window: infinite if one of them is, else NaN if one of them is."""
        return _mean(np.array([self.nats_T[position] for position in window]))


@dataclass(frozen=True)
class LossFloors:
    """All floors of one task.

    Attributes:
        train: training rows that were counted.
        left_out: training rows that fill no block, and so are never trained on.
        test: test rows.
        answers: possible answers.
        predicted: what each of the T positions predicts.
        window: the name of the window that the experiment's loss is the mean over.
        windows: name -> positions: `all`, `equation` (without what predicts the next row) and `answer`.
        floors: task-known, chance and memorised, each on both sides.
    """

    train: int
    left_out: int
    test: int
    answers: int
    predicted: tuple[str, ...]
    window: str
    windows: Mapping[str, range]
    floors: tuple[Floor, ...]

    def floor(self, definition: str, side: str = "training") -> Floor:
        """The floor of that definition on that side."""
        return next(floor for floor in self.floors if (floor.id, floor.side) == (definition, side))


def loss_floors(task: ModularTask, *, block: int | None = None) -> LossFloors:
    """The floors of a task, computed from its rows.

    Args:
        task: with its format, its loss and its split.
        block: rows of a batch, where batches are fixed consecutive blocks: what fills no block is never trained on,
            and does not count.

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
    floors = []
    for side, rows_NS in sides.items():
        known_T = cross_entropy(all_NS, rows_NS)
        chance_T = (*known_T[: modular.first_answer], math.log(answers), *known_T[modular.first_answer + 1 :])
        floors += [
            Floor(TASK_KNOWN, side, known_T),
            Floor(CHANCE, side, chance_T),
            Floor(MEMORISED, side, cross_entropy(sides["training"], rows_NS)),
        ]
    return LossFloors(
        train=len(trained_N),
        left_out=len(split.train_N) - len(trained_N),
        test=len(split.test_N),
        answers=answers,
        predicted=modular.predicted,
        window=task.loss,
        windows=_windows(modular),
        floors=tuple(floors),
    )


def cross_entropy(known_NS: Integers, rows_NS: Integers) -> tuple[float, ...]:
    """Nats at each of the T positions of `rows_NS`, for one who knows the rows `known_NS` and nothing else.

    A token costs -ln of its share after the same prefix among the known rows. A position where every row has the same
    token belongs to the format and costs nothing. If the prefix is known but not with this token, the cost is
    infinite; if the prefix is not known at all, what is known does not say (NaN).

    Two known rows `0 0`, `0 1`: the row `0 1` costs ln(2), the row `0 2` is infinite, and of `1 0` nothing is known.
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
            with np.errstate(divide="ignore", invalid="ignore"):  # 1 / 0 is infinite and 0 / 0 unknown, as they mean
                nats.append(_mean(np.log(seen_N / seen_longer_N)))
        prefix_N = longer_N
    return tuple(nats)


def _mean(nats: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
    """A token that was impossible costs more than all that is not known elsewhere."""
    return math.inf if np.isinf(nats).any() else float(nats.mean())


def _rows(modular: Modular, equations: Equations, rows_N: Integers) -> Integers:
    a_N, b_N = (torch.from_numpy(column[rows_N]) for column in (equations.a_N, equations.b_N))
    return modular.columns(a_N, b_N).numpy().T


def _windows(modular: Modular) -> dict[str, range]:
    """The last position may predict the beginning of the next equation, which is no part of this one."""
    inside = modular.positions - (modular.predicted[-1] == "bos")
    answer = modular.first_answer
    return {"all": range(modular.positions), "equation": range(inside), "answer": range(answer, answer + 1)}

"""A modular task -> an audit of its split: coverage, leaks, and the accuracy that memorisation alone can reach.

    equations + split -> sizes, coverage of operands and answers, pairs and twins across the split -> ceilings

All numbers are exact counts over all equations, so none has an interval. A *twin* of (a, b) is (b, a), if the two are
different pairs with the same answer. Axes: N rows of a part, V values of an operand.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from reprogrok.spec.task import ModularTask
from reprogrok.tasks.modular import Equations, Modular
from reprogrok.tasks.operations import Integers, Mask
from reprogrok.tasks.splits import Split, is_twin, make_split


@dataclass(frozen=True)
class Coverage:
    """The values of one column of the equations on each side.

    Attributes:
        column: "a", "b" or "answer".
        possible: number of distinct values in all equations.
        train: number of distinct values in the training set.
        test: number of distinct values in the test set.
        unseen: number of values that occur in the test set but not in the training set.
        unseen_examples: number of test examples with such a value.
    """

    column: str
    possible: int
    train: int
    test: int
    unseen: int
    unseen_examples: int


@dataclass(frozen=True)
class Ceilings:
    """The number of test examples that each kind of learner gets right at most, without learning the rule.

    Attributes:
        pairs: a learner that knows the training pairs only.
        swaps: a learner that also answers (a, b) as it learned (b, a): `pairs` and the twins.
        constant: a learner that always gives the most frequent training answer (of several, the one that tests best).
        constant_answer: the answer of `constant`.
        memoriser: a learner that combines `swaps` and `constant`: the most that memorisation can reach.
        support: a learner that gives only answers seen in training: test examples whose answer occurs in training.
    """

    pairs: int
    swaps: int
    constant: int
    constant_answer: int
    memoriser: int
    support: int


@dataclass(frozen=True)
class SplitAudit:
    """The exact counts of a split.

    Attributes:
        equations: number of all equations.
        train: number of training examples; likewise `test` and `validation`.
        left_out: number of training examples that fill no block of the batch and are never trained on.
        neither: number of equations in no part.
        commutes: whether every pair whose operands can be swapped keeps its answer, over all equations.
        pairs_on_both_sides: number of test pairs that are also trained on.
        twins: number of test examples with a twin in training.
        coverage: coverage of the first operand, the second operand and the answer.
        ceilings: test examples that can be answered without the rule.
    """

    equations: int
    train: int
    left_out: int
    test: int
    validation: int
    neither: int
    commutes: bool
    pairs_on_both_sides: int
    twins: int
    coverage: tuple[Coverage, ...]
    ceilings: Ceilings

    @property
    def answers(self) -> Coverage:
        """Coverage of the answers; `unseen` classes never occur as training answers."""
        return self.coverage[-1]


def audit_split(task: ModularTask, *, block: int | None = None) -> SplitAudit:
    """Count coverage, leaks and ceilings of the split of a task.

    x + y mod 97 with training answers [0, 48) and test answers [48, 97), seed 42: 4,656 and 4,753 examples, 49 answers
    that never occur in training, and every ceiling 0.

    Args:
        task: the modular task with its split.
        block: batch size, if batches are fixed consecutive blocks; training rows that fill no block are left out.

    Raises:
        InputError: the split cannot be made.
    """
    whole = make_split(task)
    split = whole.in_blocks(block)
    equations = Modular(task.operation, task.modulus, task.format).equations()
    both_N = np.isin(split.test_N, split.train_N)
    twin_N = is_twin(split, equations)
    columns = {"a": equations.a_N, "b": equations.b_N, "answer": equations.c_N}
    used_N = np.unique(np.concatenate([whole.train_N, split.test_N, split.validation_N]))
    return SplitAudit(
        equations=len(equations),
        train=len(whole.train_N),
        left_out=len(whole.train_N) - len(split.train_N),
        test=len(split.test_N),
        validation=len(split.validation_N),
        neither=len(equations) - len(used_N),
        commutes=_commutes(equations),
        pairs_on_both_sides=int(both_N.sum()),
        twins=int(twin_N.sum()),
        coverage=tuple(_coverage(name, column, split) for name, column in columns.items()),
        ceilings=_ceilings(equations.c_N[split.train_N], equations.c_N[split.test_N], both_N, both_N | twin_N),
    )


def _coverage(name: str, column: Integers, split: Split) -> Coverage:
    train_V, test_V = np.unique(column[split.train_N]), np.unique(column[split.test_N])
    unseen_V = np.setdiff1d(test_V, train_V)
    examples = int(np.isin(column[split.test_N], unseen_V).sum())
    return Coverage(name, len(np.unique(column)), len(train_V), len(test_V), len(unseen_V), examples)


def _ceilings(train_N: Integers, test_N: Integers, both_N: Mask, known_N: Mask) -> Ceilings:
    """Count ceilings from the answers of both sides and masks of the test examples.

    Args:
        train_N: training answers.
        test_N: test answers.
        both_N: test examples that are also trained on.
        known_N: test examples that are trained on as they are or swapped.
    """
    size = int(max(train_N.max(), test_N.max())) + 1
    trained_V, tested_V = (np.bincount(side_N, minlength=size) for side_N in (train_N, test_N))
    frequent_V = np.flatnonzero(trained_V == trained_V.max())
    constant = int(frequent_V[np.argmax(tested_V[frequent_V])])
    return Ceilings(
        pairs=int(both_N.sum()),
        swaps=int(known_N.sum()),
        constant=int(tested_V[constant]),
        constant_answer=constant,
        memoriser=int((known_N | (test_N == constant)).sum()),
        support=int(tested_V[trained_V > 0].sum()),
    )


def _commutes(equations: Equations) -> bool:
    size = int(max(equations.a_N.max(), equations.b_N.max())) + 1
    answers = np.full((size, size), -1, dtype=np.int64)
    answers[equations.a_N, equations.b_N] = equations.c_N
    both = (answers >= 0) & (answers.T >= 0)
    return bool((answers == answers.T)[both].all())

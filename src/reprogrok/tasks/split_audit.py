"""A modular task -> what its split lets a learner see, and what remembering alone can reach on the test set.

    equations + split -> sizes, coverage of operands and answers, pairs and twins across the split -> ceilings

Everything here is counted over all equations, nothing is sampled, so no number has an interval. A *twin* of (a, b) is
(b, a) where the two are different pairs with the same answer. Axes: N rows of a part, V values of an operand.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from reprogrok.spec import ModularTask
from reprogrok.tasks.modular import Equations, Modular
from reprogrok.tasks.operations import Integers, Mask
from reprogrok.tasks.splits import Split, is_twin, make_split


@dataclass(frozen=True)
class Coverage:
    """The values of one column of the equations on each side.

    Attributes:
        column: "a", "b" or "answer".
        possible: different values in all equations.
        train: different values in the training set.
        test: different values in the test set.
        unseen: values of the test set that the training set does not have in this column.
        unseen_examples: test examples with such a value.
    """

    column: str
    possible: int
    train: int
    test: int
    unseen: int
    unseen_examples: int


@dataclass(frozen=True)
class Ceilings:
    """How many of the test examples a learner of each kind gets right, at most; the definitions are exact.

    Attributes:
        pairs: a memoriser of pairs: answers a pair that it was trained on, and no other. Test pairs on both sides.
        swaps: a memoriser that also swaps operands: answers (a, b) as it learned (b, a). `pairs` and the twins.
        constant: always gives one answer: the most frequent in training (of several, the one that tests best).
        constant_answer: that answer.
        memoriser: swaps operands, and gives that one answer elsewhere: the most that remembering can reach here.
        support: any learner that gives only answers it has seen: the test examples whose answer occurs in training.
    """

    pairs: int
    swaps: int
    constant: int
    constant_answer: int
    memoriser: int
    support: int


@dataclass(frozen=True)
class SplitAudit:
    """What a split is, in numbers.

    Attributes:
        equations: all that there are.
        train: training examples; likewise `test` and `validation`.
        left_out: training examples that fill no block of the batch, and so are never trained on.
        neither: equations that are in no part.
        commutes: does every pair whose operands can be swapped keep its answer? Read off all equations.
        pairs_on_both_sides: test pairs that are also trained on.
        twins: test examples with a twin in training.
        coverage: of the first operand, the second operand and the answer.
        ceilings: what can be reached without the rule.
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
        """Of the answers: `unseen` classes never occur as training answers."""
        return self.coverage[-1]


def audit_split(task: ModularTask, *, block: int | None = None) -> SplitAudit:
    """Count what the split of a task lets a learner see.

    x + y mod 97 with training answers [0, 48) and test answers [48, 97), seed 42: 4,656 and 4,753 examples, 49 answers
    that never occur in training, and every ceiling 0.

    Args:
        task: with its split.
        block: rows of a batch, where batches are fixed consecutive blocks: what fills no block is never trained on,
            and is neither seen nor remembered.

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
    """From the answers of both sides, and which test examples were seen, as they are or (`known_N`) also swapped.

    Every count is of test examples: a pair that was seen counts once, twin or not; the constant answer adds to the
    memoriser only where it knows nothing.
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

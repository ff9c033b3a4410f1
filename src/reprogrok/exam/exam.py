"""A model and an exam -> the problems it gets wrong, its answers to them, and its margin on the others.

    exam (versioned problems in strata) + weights --one pass or generation--> rows --count--> scores with intervals

The exams of addition are samples, because there are too many problems. Of a modular task all problems are asked: its
held-out equations, with twins and new pairs as strata, and its training set. Such a score has no interval.

One forward pass over the true row decides a problem: the greedy answer is right exactly if the argmax is right at every
answer position given the right digits before it (induction over positions). Generation is needed only for the answers
of failed problems, and for decisions so close that rounding could change them.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from reprogrok.errors import InputError
from reprogrok.exam.stress import strata
from reprogrok.model.decoder import Weights, logits
from reprogrok.spec.model import ModelSpec
from reprogrok.stats.proportions import Proportion, proportion
from reprogrok.tasks.addition import Addition
from reprogrok.tasks.holdout import hold_out
from reprogrok.tasks.operations import Integers
from reprogrok.tasks.problems import Pairs, Stratum
from reprogrok.tasks.protocols import EXAM_SEEDS, MODULAR_PROTOCOL, PROTOCOL, STRESS_SUITE
from reprogrok.tasks.split_modular import SplitModular
from reprogrok.tasks.splits import NEW_PAIRS, TRAINED, TWINS

Task: TypeAlias = Addition | SplitModular

UNIFORM, STRESS = SUITES = ("uniform", "stress")
HELD_OUT, TRAIN = MODULAR_SUITES = ("held-out", "train")
CLOSE = 1e-2  # logits; in float32, margins of the published checkpoints were off by up to 1.3e-3

_LAWS = {
    TWINS: "held-out equations whose swapped pair is trained on, with the same answer",
    NEW_PAIRS: "held-out equations that are no twins of trained ones",
    TRAINED: "held-out equations that are themselves trained on, because the sides of the split overlap",
    TRAIN: "the equations that are trained on",
}
_WITHOUT = {
    TWINS: "no twins: none is trained on with its operands swapped and the same answer",
    NEW_PAIRS: "no new pairs: every held-out equation is trained on, as it is or swapped",
}


@dataclass(frozen=True)
class Exam:
    """A versioned set of problems, held out or (for comparison) trained on.

    Attributes:
        name: version, with a note if only a part is examined.
        suite: "uniform" or "stress"; for a modular task "held-out" or "train".
        task: the task, with its number of digits or its split.
        strata: the problems.
        population: number of all problems of the suite; None if the problems are a sample.
        notes: remarks on the strata, such as why one is missing.
    """

    name: str
    suite: str
    task: Task
    strata: tuple[Stratum, ...]
    population: int | None = None
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return sum(len(stratum.pairs) for stratum in self.strata)

    @property
    def is_sample(self) -> bool:
        """Whether the problems are a sample, so that the error rate of a stratum has an interval."""
        return self.population is None

    @property
    def has_one_law(self) -> bool:
        """Whether all strata are samples of one law, so that the total error rate has an interval."""
        return self.is_sample and self.suite == UNIFORM

    def sets(self) -> dict[str, Pairs]:
        """Return the problems by stratum."""
        return {stratum.name: stratum.pairs for stratum in self.strata}

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the name and of every stratum's name and pairs (int64, little-endian), in order.

        For a modular task it includes the answers, because an operation of another package may change its meaning.
        """
        hasher = hashlib.sha256(self.name.encode())
        for stratum in self.strata:
            hasher.update(b"\0" + stratum.name.encode() + b"\0")
            pairs, columns = stratum.pairs, [stratum.pairs.a, stratum.pairs.b]
            if isinstance(self.task, SplitModular):
                columns.append(self.task.columns(pairs.a, pairs.b)[self.task.prompt_length])
            for column in columns:
                hasher.update(column.numpy().astype("<i8").tobytes())
        return hasher.hexdigest()


def suites_of(task: Task) -> tuple[str, ...]:
    """Return the suites of a task's exam: uniform and stress, or held-out and train."""
    return MODULAR_SUITES if isinstance(task, SplitModular) else SUITES


def build_exam(suite: str, task: Task, limit: int | None = None) -> Exam:
    """Build the exam of a suite.

    Args:
        suite: "uniform" (the published hold-out: ten test sets of 10,000) or "stress"; for a modular task "held-out"
            or "train".
        task: the task; with fewer than ten digits the exam is an analogue of the published one and named so.
        limit: number of problems to take from each stratum; None for all.

    Raises:
        InputError: the task does not have the suite.
    """
    if suite not in suites_of(task):
        raise InputError("not a suite of this task", expected=" or ".join(suites_of(task)), found=suite)
    part = "" if limit is None else f" (first {limit} of each stratum)"
    if isinstance(task, SplitModular):
        return _modular_exam(suite, task, limit, part)
    if suite == UNIFORM:
        law = f"test set of the hold-out protocol: distinct pairs uniform in [0, 10^{task.digits})^2"
        parts = [Stratum(str(seed), law, hold_out(seed, task.digits).test) for seed in EXAM_SEEDS]
    else:
        parts = list(strata(task.digits))
    name = PROTOCOL if suite == UNIFORM else STRESS_SUITE
    if task.digits != 10:
        name += f" with {task.digits} digits"
    if limit is not None:
        parts = [Stratum(part.name, part.law, part.pairs[:limit]) for part in parts]
    return Exam(name + part, suite, task, tuple(parts))


def _modular_exam(suite: str, task: SplitModular, limit: int | None, part: str) -> Exam:
    """Build the exam of one side of a split; a limit takes the first equations in the random order of the split."""
    equations, notes = task.equations(), []
    rows = task.held_out() if suite == HELD_OUT else {TRAIN: task.train()}
    if suite == HELD_OUT:
        notes = [_WITHOUT[name] for name, rows_N in rows.items() if name in _WITHOUT and not len(rows_N)]
        if validation := task.validation():
            notes.append(f"{validation:,} more equations are kept for validation and not asked")

    def pairs(rows_N: Integers) -> Pairs:
        # In order of (a, b), so that formats that shuffle one split differently have the same exam.
        chosen_N = np.sort(rows_N[:limit])
        return Pairs(*(torch.tensor(column_N[chosen_N]) for column_N in (equations.a_N, equations.b_N)))

    parts = tuple(Stratum(name, _LAWS[name], pairs(rows_N)) for name, rows_N in rows.items() if len(rows_N))
    name = f"{MODULAR_PROTOCOL} {task.name} {task.split_name}{part}"
    return Exam(name, suite, task, parts, sum(map(len, rows.values())), tuple(notes))


@dataclass(frozen=True)
class Failures:
    """The failed problems of a stratum, as columns.

    Attributes:
        index: place in the stratum.
        a: first operand.
        b: second operand.
        answer: the model's greedy answer as text, most significant digit first.
    """

    index: list[int]
    a: list[int]
    b: list[int]
    answer: list[str]


@dataclass(frozen=True)
class Score:
    """The score of a set of problems.

    Attributes:
        errors: errors of n, with the exact interval of their rate (meaningful for a sample only).
        tokens: right answer tokens of all (teacher-forced for "forward").
        smallest_margin: smallest margin of the right answers, in logits; NaN if none is right.
    """

    errors: Proportion
    tokens: Proportion
    smallest_margin: float


@dataclass(frozen=True)
class ExamResult:
    """The result of one model on an exam.

    Attributes:
        exam: the exam.
        method: "forward" or "generate".
        scores: score by stratum.
        total: score of all problems.
        failures: failed problems by stratum.
        rechecked: number of close decisions that generation made again.
    """

    exam: Exam
    method: str
    scores: dict[str, Score]
    total: Score
    failures: dict[str, Failures]
    rechecked: int


@dataclass(frozen=True)
class _Rows:
    """Outcome of each problem of a batch: right or not, right tokens, margin, and whether the decision was close."""

    right_B: Tensor
    tokens_B: Tensor
    margin_B: Tensor
    close_B: Tensor


class Examinee:
    """One model on one device, to be examined."""

    def __init__(self, spec: ModelSpec, weights: Weights, task: Task, device: torch.device) -> None:
        self.spec, self.task, self.device = spec, task, device
        self.weights = {name: tensor.unsqueeze(0).to(device) for name, tensor in weights.items()}

    @torch.inference_mode()
    def examine(
        self, exam: Exam, method: str, batch: int, advance: Callable[[int], None] = lambda _count: None
    ) -> ExamResult:
        """Decide every problem of an exam.

        Args:
            exam: an exam of this examinee's task.
            method: "forward" or "generate".
            batch: rows per forward pass.
            advance: called with the number of problems decided since the last call.
        """
        scores, failures, rechecked, all_rows = {}, {}, 0, []
        for stratum in exam.strata:
            rows, again = self._decide(stratum.pairs, method, batch)
            rechecked += again
            all_rows.append(rows)
            scores[stratum.name] = _score(rows, self.task)
            failures[stratum.name] = self._failures(stratum.pairs, rows, batch)
            advance(len(stratum.pairs))
        total = _score(_joined(all_rows), self.task)
        return ExamResult(exam, method, scores, total, failures, rechecked)

    @torch.inference_mode()
    def generate(self, pairs: Pairs, batch: int = 2_000) -> tuple[Tensor, Tensor]:
        """Decode greedily, without a cache: answer tokens (N, A) and the logits they were chosen from (N, V, A)."""
        answers, chosen_from = [], []
        for part in _batches(len(pairs), batch):
            rows_TB = self.task.columns(pairs.a[part], pairs.b[part])[: self.task.prompt_length].to(self.device)
            steps_VB = []
            for _ in range(self.task.answer_length):
                last_VB = logits(self.spec, self.weights, rows_TB.unsqueeze(0), len(rows_TB) - 1)[0, :, 0]
                steps_VB.append(last_VB)
                rows_TB = torch.cat([rows_TB, last_VB.argmax(0, keepdim=True)])
            answers.append(rows_TB[self.task.prompt_length :].T.cpu())
            chosen_from.append(torch.stack(steps_VB, dim=2).transpose(0, 1).cpu())
        return torch.cat(answers), torch.cat(chosen_from)

    @property
    def _end(self) -> int:
        """Position after the answer in a row."""
        return self.task.prompt_length + self.task.answer_length

    def _decide(self, pairs: Pairs, method: str, batch: int) -> tuple[_Rows, int]:
        """Return the outcome of every row, and the number of close rows decided again by generation."""
        if method == "generate":
            return self._by_generation(pairs, batch), 0
        margin_BA = torch.cat([self._by_forward(pairs[part]) for part in _batches(len(pairs), batch)])
        # A margin of 0 is close, so generation decides such a row.
        rows = _rows((margin_BA > 0) & (margin_BA < math.inf), margin_BA)
        close = rows.close_B.nonzero().squeeze(1)
        if len(close):
            again = self._by_generation(Pairs(pairs.a[close], pairs.b[close]), batch)
            # Right tokens stay teacher-forced, as for the other rows.
            rows.right_B[close], rows.margin_B[close] = again.right_B, again.margin_B
        return rows, len(close)

    def _by_forward(self, pairs: Pairs) -> Tensor:
        """Return the margin of every answer token, given the right tokens before it: (B, A)."""
        rows_TB = self.task.columns(pairs.a, pairs.b).to(self.device)
        # Positions that predict tokens after the answer are not read.
        read_TB = rows_TB[: self._end - 1]
        logits_VAB = logits(self.spec, self.weights, read_TB.unsqueeze(0), self.task.first_answer)[0]
        return _margins(logits_VAB, rows_TB[self.task.prompt_length : self._end]).T.cpu()

    def _by_generation(self, pairs: Pairs, batch: int) -> _Rows:
        target_BA = self.task.columns(pairs.a, pairs.b)[self.task.prompt_length : self._end].T
        answers_BA, chosen_from_BVA = self.generate(pairs, batch)
        margin_BA = _margins(chosen_from_BVA.permute(1, 2, 0), target_BA.T).T
        # A token chosen among infinities and NaN never counts as right.
        return _rows((answers_BA == target_BA) & margin_BA.isfinite(), margin_BA)

    def _failures(self, pairs: Pairs, rows: _Rows, batch: int) -> Failures:
        wrong = (~rows.right_B).nonzero().squeeze(1)
        if not len(wrong):
            return Failures([], [], [], [])
        failed = Pairs(pairs.a[wrong], pairs.b[wrong])
        answers = [self.task.text(answer) for answer in self.generate(failed, batch)[0].tolist()]
        return Failures(wrong.tolist(), failed.a.tolist(), failed.b.tolist(), answers)


def _margins(logits_VAB: Tensor, target_AB: Tensor) -> Tensor:
    """Return the logit of the right token minus the largest other logit: (A, B); not finite if the logits are not."""
    target_1AB = target_AB.unsqueeze(0)
    return (logits_VAB.gather(0, target_1AB) - logits_VAB.scatter(0, target_1AB, -math.inf).amax(0)).squeeze(0)


def _rows(right_BA: Tensor, margin_BA: Tensor) -> _Rows:
    """Combine the outcomes of tokens into outcomes of rows."""
    close_B = (margin_BA.abs() < CLOSE).any(1)
    return _Rows(right_BA.all(1), right_BA.sum(1), margin_BA.amin(1), close_B)


def _joined(parts: list[_Rows]) -> _Rows:
    columns = zip(*((part.right_B, part.tokens_B, part.margin_B, part.close_B) for part in parts), strict=True)
    return _Rows(*map(torch.cat, columns))


def _score(rows: _Rows, task: Task) -> Score:
    n = len(rows.right_B)
    right = int(rows.right_B.sum())
    smallest = float(rows.margin_B[rows.right_B].min()) if right else math.nan
    return Score(proportion(n - right, n), proportion(int(rows.tokens_B.sum()), n * task.answer_length), smallest)


def _batches(count: int, size: int) -> Iterator[slice]:
    return (slice(start, min(start + size, count)) for start in range(0, count, size))

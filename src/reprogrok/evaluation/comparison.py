"""Evaluations -> the differences between checkpoints that are more than chance.

    ExaminedCheckpoint ... --same exam--> pairs of checkpoints --exact test, Holm--> Comparison

Two models that sat the same exam are compared problem by problem: McNemar's exact test on the problems that only one
of them gets wrong. A published evaluation holds counts only; there Fisher's exact test treats the scores as
independent samples, and the table says so. All p-values of a comparison are adjusted together (Holm).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path

from reprogrok.errors import InputError
from reprogrok.evaluation.thresholds import GROKKED, LEVEL
from reprogrok.stats.exact_tests import fisher, holm, mcnemar
from reprogrok.stats.proportions import Proportion, proportion

_GROKKED_IN = ("uniform", "held-out")  # suites on which the checkpoint of a replica counts as grokked


@dataclass(frozen=True)
class SuiteErrors:
    """The errors of one checkpoint on one suite.

    Attributes:
        exam: name of the exam.
        digest: digest of its problems; None if a published evaluation does not say.
        errors: number of errors among n problems.
        failed: operands of the failed problems, each pair once, because a problem that is asked twice is no second
            piece of evidence; None if only counts are known.
    """

    exam: str
    digest: str | None
    errors: Proportion
    failed: frozenset[tuple[int, int]] | None


@dataclass(frozen=True)
class ExaminedCheckpoint:
    """One checkpoint of a comparison: its label, its size and origin as far as known, and its errors by suite."""

    label: str
    parameters: int | None
    experiment: str | None
    seed: int | None
    suites: dict[str, SuiteErrors]


@dataclass(frozen=True)
class CheckpointPair:
    """Two checkpoints on one suite.

    Attributes:
        suite: name of the suite.
        first: label of the first checkpoint.
        second: label of the second checkpoint.
        test: name of the test.
        only_first: number of problems that only the first gets wrong; None if only counts are known.
        only_second: number of problems that only the second gets wrong.
        p: p-value of the test.
        p_adjusted: p-value adjusted for all pairs of the comparison.
    """

    suite: str
    first: str
    second: str
    test: str
    only_first: int | None
    only_second: int | None
    p: float
    p_adjusted: float

    @property
    def differs(self) -> bool:
        """Whether the difference is more than chance, at 5 % for all pairs together."""
        return self.p_adjusted <= LEVEL


@dataclass(frozen=True)
class Comparison:
    """Checkpoints side by side, their pairs, and the number of grokked seeds of each run."""

    checkpoints: tuple[ExaminedCheckpoint, ...]
    pairs: tuple[CheckpointPair, ...]
    grokked: dict[str, Proportion] = field(default_factory=dict)


def compare(checkpoints: Sequence[ExaminedCheckpoint]) -> Comparison:
    """Compare every pair of checkpoints on every suite that all of them sat.

    Raises:
        InputError: one checkpoint has two results, no suite is common, or one name stands for different problems.
    """
    # A released checkpoint may be in the evaluations of several experiments; the same result counts once.
    checkpoints = [each for index, each in enumerate(checkpoints) if each not in checkpoints[:index]]
    labels = [checkpoint.label for checkpoint in checkpoints]
    if twice := next((label for label in labels if labels.count(label) > 1), None):
        raise InputError("two different results under this name; compare one of them", path=twice)
    first, *others = checkpoints
    suites = [suite for suite in first.suites if all(suite in other.suites for other in others)]
    if not suites:
        raise InputError("these evaluations have no exam in common", expected="the same suite in each of them")
    for suite in suites:
        for other in others:
            _check_same_exam(first, other, suite)
    raw = [
        (suite, one, other, *_test(one.suites[suite], other.suites[suite]))
        for suite in suites
        for one, other in combinations(checkpoints, 2)
    ]
    adjusted = holm([p for *_, p in raw])
    pairs = tuple(
        CheckpointPair(suite, one.label, other.label, test, only_first, only_second, p, p_adjusted)
        for (suite, one, other, test, only_first, only_second, p), p_adjusted in zip(raw, adjusted, strict=True)
    )
    kept = tuple(replace(each, suites={suite: each.suites[suite] for suite in suites}) for each in checkpoints)
    return Comparison(kept, pairs, _grok_rates(kept))


def _check_same_exam(first: ExaminedCheckpoint, second: ExaminedCheckpoint, suite: str) -> None:
    one, other = first.suites[suite], second.suites[suite]
    same_digest = None in (one.digest, other.digest) or one.digest == other.digest
    if one.exam != other.exam or one.errors.n != other.errors.n or not same_digest:
        raise InputError(
            "sat another exam", path=second.label, field=f"$.suites.{suite}",
            expected=f"{one.exam} with {one.errors.n:,} problems, digest {str(one.digest)[:16]}",
            found=f"{other.exam} with {other.errors.n:,} problems, digest {str(other.digest)[:16]}",
        )  # fmt: skip


def _test(one: SuiteErrors, other: SuiteErrors) -> tuple[str, int | None, int | None, float]:
    if one.failed is None or other.failed is None:
        p = fisher(one.errors.k, one.errors.n, other.errors.k, other.errors.n)
        return "Fisher (unpaired: one file holds counts alone)", None, None, p
    only_first, only_second = len(one.failed - other.failed), len(other.failed - one.failed)
    return "McNemar", only_first, only_second, mcnemar(only_first, only_second)


def _grok_rates(checkpoints: Sequence[ExaminedCheckpoint]) -> dict[str, Proportion]:
    """Count, for each run, the examined seeds with a checkpoint at or above `GROKKED`.

    Only files in the folder of a run count (`RUN/seed-N/NAME.pt`): released checkpoints were chosen for their score and
    would bias the rate.
    """
    scores: dict[str, dict[int, float]] = {}
    for checkpoint in checkpoints:
        folder, seed = Path(checkpoint.label).parent, checkpoint.seed
        suite = next((suite for suite in _GROKKED_IN if suite in checkpoint.suites), None)
        if seed is not None and folder.name == f"seed-{seed}" and suite is not None:
            by_seed = scores.setdefault(folder.parent.as_posix(), {})
            by_seed[seed] = max(by_seed.get(seed, 0.0), 1 - checkpoint.suites[suite].errors.estimate)
    return {
        run: proportion(sum(score >= GROKKED for score in by_seed.values()), len(by_seed))
        for run, by_seed in scores.items()
    }

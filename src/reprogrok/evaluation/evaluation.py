"""An evaluation: the results of one checkpoint on the exams of its task, with its certificate if it has one.

    checkpoint + exam results + environment --as_document--> `evaluation.schema.json`

The document keeps the block `multi_seed_validation` of the published evaluation script (addition only), so that
readers of those files can read ours. It contains every failed problem, so that two evaluations of one exam can be
compared problem by problem.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from fractions import Fraction
from functools import cached_property

from reprogrok import __version__
from reprogrok.certificate.certified import Certified, Sampled
from reprogrok.evaluation.certificates import CertificateReport
from reprogrok.exam.exam import HELD_OUT, UNIFORM, ExamResult, Score, Task
from reprogrok.formats.checkpoints import Checkpoint
from reprogrok.metrics.grokking import Chance, chance
from reprogrok.model.shapes import count_parameters
from reprogrok.stats.proportions import Proportion
from reprogrok.tasks.split_modular import SplitModular


@dataclass(frozen=True)
class Evaluation:
    """The results of one checkpoint.

    Attributes:
        checkpoint: the examined checkpoint.
        task: task of the exams.
        suites: exam results by suite.
        environment: hardware and versions of the examination.
        certified: statement of a certificate of the same weights, if there is one.
    """

    checkpoint: Checkpoint
    task: Task
    suites: Mapping[str, ExamResult]
    environment: Mapping[str, str | int]
    certified: Certified | None = None

    @property
    def path(self) -> str:
        """Path of the checkpoint as text."""
        return self.checkpoint.path.as_posix()

    @property
    def parameters(self) -> int:
        """Number of unique parameters, counted from the model's spec."""
        return count_parameters(self.checkpoint.spec)

    @property
    def sampled(self) -> Sampled:
        """The errors that certificates are compared with: of the uniform sample, and of all distinct problems."""
        failed = {
            problem
            for result in self.suites.values()
            for failures in result.failures.values()
            for problem in zip(failures.a, failures.b, strict=True)
        }
        uniform = self.suites.get(UNIFORM)
        return Sampled(None if uniform is None else uniform.total.errors, len(failed))

    @cached_property
    def certificate(self) -> CertificateReport | None:
        """The certificate beside the errors of this evaluation."""
        return None if self.certified is None else CertificateReport(self.path, self.certified, self.sampled)

    @property
    def accuracy(self) -> Fraction:
        """Fraction of right answers on the held-out or uniform problems."""
        errors = self.suites[HELD_OUT if HELD_OUT in self.suites else UNIFORM].total.errors
        return Fraction(errors.n - errors.k, errors.n)


def chance_of(result: ExamResult) -> Chance | None:
    """Compare the score of a held-out modular suite with guessing; None for other suites."""
    task, errors = result.exam.task, result.total.errors
    if not isinstance(task, SplitModular) or result.exam.suite != HELD_OUT:
        return None
    return chance(errors.n - errors.k, errors.n, task.values)


def as_document(evaluation: Evaluation) -> dict[str, object]:
    """Return the evaluation as plain data, ready for JSON."""
    written: dict[str, object] = {
        "format": "reprogrok.evaluation/1",
        "reprogrok": __version__,
        "checkpoint": _checkpoint(evaluation),
        "environment": dict(evaluation.environment),
        "suites": {suite: _suite(result) for suite, result in evaluation.suites.items()},
    }
    if isinstance(evaluation.task, SplitModular):
        written["task"] = evaluation.task.as_dict()
    if (uniform := evaluation.suites.get(UNIFORM)) is not None:
        written["multi_seed_validation"] = _published_block(uniform)
    if (report := evaluation.certificate) is not None:
        written["certificate"] = report.as_document()
    return written


def _checkpoint(evaluation: Evaluation) -> dict[str, object]:
    checkpoint = evaluation.checkpoint
    return {
        "path": evaluation.path,
        "sha256": checkpoint.sha256,
        "parameters": evaluation.parameters,
        "claimed_parameters": checkpoint.claimed_parameters,
        "claimed_val_exact": checkpoint.claimed_score,
        "step": checkpoint.step,
        "stored_dtype": checkpoint.stored_dtype,
        "model_config": checkpoint.spec.as_dict(),
        "origin": None if checkpoint.origin is None else asdict(checkpoint.origin),
    }


def _suite(result: ExamResult) -> dict[str, object]:
    exam = result.exam
    written: dict[str, object] = {
        "exam": exam.name,
        "exam_digest": exam.digest,
        "method": result.method,
        "rechecked": result.rechecked,
    }
    if exam.population is not None:
        written |= {"population": exam.population, "notes": list(exam.notes)}
    if (guessing := chance_of(result)) is not None:
        written["chance"] = {
            "classes": guessing.classes,
            "right": guessing.k,
            "probability": guessing.probability,
            "definition": guessing.definition,
        }
    strata = [
        {
            "name": stratum.name,
            "law": stratum.law,
            **_score(result.scores[stratum.name], sampled=exam.is_sample),
            "failures": asdict(result.failures[stratum.name]),
        }
        for stratum in exam.strata
    ]
    return {**written, "total": _score(result.total, sampled=exam.has_one_law), "strata": strata}


def _score(score: Score, *, sampled: bool) -> dict[str, object]:
    """Return a score as plain data; the error rate has an interval only if the problems are a sample of one law."""
    return {
        "n": score.errors.n,
        "errors": score.errors.k,
        "error_rate_interval": [score.errors.low, score.errors.high] if sampled else None,
        "token_accuracy": score.tokens.estimate,
        "smallest_margin": None if math.isnan(score.smallest_margin) else score.smallest_margin,
    }


def _published_block(result: ExamResult) -> dict[str, object]:
    total = result.total.errors
    return {
        "total_examples": total.n,
        "num_test_sets": len(result.scores),
        "aggregate_exact_match": _exact_match(total),
        "aggregate_errors": total.k,
        "per_seed": {
            name: {"exact_match": _exact_match(score.errors), "errors": score.errors.k}
            for name, score in result.scores.items()
        },
    }


def _exact_match(errors: Proportion) -> float:
    return (errors.n - errors.k) / errors.n

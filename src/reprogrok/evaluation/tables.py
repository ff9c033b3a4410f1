"""Evaluations -> tables: one checkpoint stratum by stratum, or several side by side.

No table is wider than 80 columns; several checkpoints are numbered, so that each long path is printed once. The error
rate of a sample has an interval; if every problem was asked, the accuracy is exact and the first line says so.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import islice

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from reprogrok.evaluation.certificates import certificate_lines
from reprogrok.evaluation.evaluation import Evaluation, chance_of
from reprogrok.evaluation.thresholds import LEVEL
from reprogrok.exam.exam import CLOSE, TRAIN, ExamResult, Score
from reprogrok.stats.proportions import interval_text
from reprogrok.tasks.split_modular import SplitModular
from reprogrok.tasks.split_tables import split_text, task_text
from reprogrok.text import counted

SHOWN_FAILURES = 5
_CHECKPOINTS_ABREAST = 5
_FIRST_COLUMN = {"uniform": "test set"}
_METHODS = {"forward": "decided by one forward pass", "generate": "decided by greedy decoding"}


def print_evaluation(evaluation: Evaluation, console: Console, *, hint: str = "; --output writes all") -> None:
    """Print one checkpoint: its facts, its score by suite and stratum, and its first failures.

    Args:
        evaluation: the evaluation to print.
        console: where to print.
        hint: where to find all failures, if anywhere.
    """
    console.print(Text(evaluation.path, style="bold"), soft_wrap=True)
    lines = (*checkpoint_lines(evaluation), *_environment_lines(evaluation), *certificate_lines(evaluation.certificate))
    for line in lines:
        console.print(Text(line), soft_wrap=True)
    for suite, result in evaluation.suites.items():
        errors = result.total.errors
        console.print()
        headline = f"{suite}: {counted(errors.k, 'error')} in {errors.n:,}; {_rate_clause(result)}"
        console.print(Text(headline, style="yellow" if errors.k else "green"), soft_wrap=True)
        for line in (*_suite_lines(result), *_chance_lines(result)):
            console.print(line, soft_wrap=True)
        if suite != TRAIN:  # whose only stratum is the suite itself
            console.print(_strata_table(result))
        if errors.k:
            console.print(f"  first failures (of {errors.k:,}{hint}):")
            for line in islice(_failure_lines(result), SHOWN_FAILURES):
                console.print(Text(line), soft_wrap=True)


def print_evaluations(evaluations: Sequence[Evaluation], console: Console) -> None:
    """Print several checkpoints: the facts of each, then scores and errors by stratum under their numbers."""
    for number, evaluation in enumerate(evaluations, 1):
        console.print(Text(f"[{number}] {evaluation.path}", style="bold"), soft_wrap=True)
        for line in (*checkpoint_lines(evaluation), *certificate_lines(evaluation.certificate)):
            console.print(Text(line), soft_wrap=True)
    for line in _environment_lines(evaluations[0]):
        console.print(line, soft_wrap=True)
    for suite, first in evaluations[0].suites.items():
        results = [evaluation.suites[suite] for evaluation in evaluations]
        console.print()
        console.print(Text(f"{suite}: errors in {first.total.errors.n:,}", style="bold"))
        for line in _common_lines(first):
            console.print(line, soft_wrap=True)
        console.print(_totals_table(suite, evaluations))
        for number, result in enumerate(results, 1):
            for line, place in zip(_chance_lines(result), (f"  [{number}] ", "      "), strict=False):
                console.print(Text(place + line.lstrip()), soft_wrap=True)
        if suite == TRAIN:
            continue
        for start in range(0, len(evaluations), _CHECKPOINTS_ABREAST):
            console.print(_abreast_table(results[start : start + _CHECKPOINTS_ABREAST], start))


def checkpoint_lines(evaluation: Evaluation) -> list[str]:
    """Describe the checkpoint and the claims in its file."""
    checkpoint, spec = evaluation.checkpoint, evaluation.checkpoint.spec
    claimed = checkpoint.claimed_parameters
    claim = "no claim in the file" if claimed is None else f"the file claims {claimed:,}"
    if claimed not in (None, evaluation.parameters):
        claim += ": WRONG"
    ranks = {"pos": spec.pos_rank, "qkv": spec.qkv_rank, "attention out": spec.attn_out_rank, "MLP": spec.ffn_rank}
    named_ranks = ", ".join(f"{name} {rank or 'full'}" for name, rank in ranks.items())
    shape = (
        counted(spec.n_layer, "layer"),
        f"width {spec.d_model}",
        f"MLP {spec.d_ff}",
        counted(spec.n_head, "head"),
        "RMSNorm" if spec.use_rmsnorm else "LayerNorm",
        *(["biases"] if spec.bias else []),
        *([f"GELU {spec.gelu}"] if spec.gelu != "erf" else []),
        f"tie_qkv {spec.tie_qkv}",
    )
    step = "unknown" if checkpoint.step is None else f"{checkpoint.step:,}"
    return [
        *_task_lines(evaluation),
        f"  {evaluation.parameters:,} unique parameters ({claim})",
        f"  {', '.join(shape)}",
        f"  ranks: {named_ranks}",
        f"  step {step}, claimed {_claimed_score(evaluation)}",
        f"  sha256 {checkpoint.sha256}",
    ]


def _claimed_score(evaluation: Evaluation) -> str:
    """Describe the score in the file; our modular runs choose the best checkpoint by the equations of the exam."""
    checkpoint = evaluation.checkpoint
    score, origin = checkpoint.claimed_score, checkpoint.origin
    if score is None or origin is None or origin.task is None:
        return f"validation score {'none' if score is None else score}"
    chosen = ", by which it was chosen" if checkpoint.path.name == "best.pt" else ""
    return f"held-out accuracy {score:.6f}{chosen}"


def _environment_lines(evaluation: Evaluation) -> list[str]:
    about = evaluation.environment
    versions = ", ".join(f"{name} {about[name]}" for name in ("torch", "numpy", "python"))
    threads = counted(int(about["threads"]), "thread")
    return [
        f"  examined on {about['device']} ({about['device_name']}), {about['dtype']}, {threads}",
        f"  with {versions}",
    ]


def _margin_text(score: Score) -> str:
    return "none right" if math.isnan(score.smallest_margin) else f"{score.smallest_margin:.4f}"


def _accuracy_text(score: Score) -> str:
    """Write the accuracy with six places: one error in 100,000 is not 1."""
    return f"{1 - score.errors.k / score.errors.n:.6f}"


def _task_lines(evaluation: Evaluation) -> list[str]:
    task = evaluation.task
    if not isinstance(task, SplitModular):
        return []
    return [f"  {task_text(task.spec)}", f"  split: {split_text(task.split)}"]


def _rate_clause(result: ExamResult) -> str:
    if not result.exam.is_sample:
        return f"accuracy {_accuracy_text(result.total)}"
    if not result.exam.has_one_law:
        return "the error rate differs by stratum"
    return f"error rate {interval_text(result.total.errors)} (95 %, exact)"


def _suite_lines(result: ExamResult) -> list[str]:
    total = result.total
    none_right = math.isnan(total.smallest_margin)
    margin = "no right answer" if none_right else f"{_margin_text(total)} logits"
    digits = f"{total.tokens.estimate:.6f} of the digits right; " if result.exam.is_sample else ""
    return [
        *_common_lines(result),
        f"  {digits}smallest margin of a right answer: {margin}",
        f"  {counted(result.rechecked, 'close answer')} (margin under {CLOSE:g}) decided again by greedy decoding",
    ]


def _common_lines(result: ExamResult) -> list[str]:
    """Describe what all checkpoints of a suite have in common."""
    exam = result.exam
    digest, method = f"digest {exam.digest[:16]}", _METHODS[result.method]
    if exam.population is None:
        return [f"  {exam.name}, {digest}, {method}"]
    n = result.total.errors.n
    asked = "every equation is" if n == exam.population else f"{n:,} of {exam.population:,} equations are"
    lines = [exam.name, f"{digest}, {method}", f"{asked} asked: no sample, so no interval", *exam.notes]
    return [f"  {line}" for line in lines]


def _chance_lines(result: ExamResult) -> list[str]:
    """Compare a score with guessing, if guessing would hardly be so low."""
    guess = chance_of(result)
    if guess is None or guess.probability > LEVEL:
        return []
    right = f"{guess.k:,} of {guess.n:,} right, at chance 1/{guess.classes} it would be {guess.n / guess.classes:.1f}"
    few = f"{guess.k:,} or fewer" if guess.k else "none"
    return [f"  below chance: {right}", f"  probability of {few} right by guessing: {guess.probability:.2g}"]


def _failure_lines(result: ExamResult) -> Iterator[str]:
    task = result.exam.task
    for name, failures in result.failures.items():
        for a, b, answer in zip(failures.a, failures.b, failures.answer, strict=True):
            equation = task.equation(a, b) if isinstance(task, SplitModular) else f"{a} + {b} = {a + b}"
            yield f"    [{name}] {equation}, answered {answer}"


def _strata_table(result: ExamResult) -> Table:
    table = Table(box=SIMPLE)
    table.add_column(_FIRST_COLUMN.get(result.exam.suite, "stratum"))
    for name in ("n", "errors", _rate_heading(result), "smallest margin"):
        table.add_column(name, justify="right")
    for name, score in result.scores.items():
        rate = interval_text(score.errors) if result.exam.is_sample else _accuracy_text(score)
        cells = (name, f"{score.errors.n:,}", f"{score.errors.k:,}", rate, _margin_text(score))
        table.add_row(*cells, style="yellow" if score.errors.k else "")
    return table


def _totals_table(suite: str, evaluations: Sequence[Evaluation]) -> Table:
    reports = [evaluation.certificate for evaluation in evaluations]
    certified = any(reports)
    table = Table(box=SIMPLE, padding=0 if certified else (0, 1))  # six columns need all of the width
    for name in ("checkpoint", "parameters", "errors", _rate_heading(evaluations[0].suites[suite])):
        table.add_column(name, justify="right")
    table.add_column("smallest margin", justify="right")
    if certified:
        table.add_column("certificate", justify="right")
    for number, (evaluation, report) in enumerate(zip(evaluations, reports, strict=True), 1):
        exam, total = evaluation.suites[suite].exam, evaluation.suites[suite].total
        rate = interval_text(total.errors) if exam.has_one_law else "by stratum, below"
        rate = rate if exam.is_sample else _accuracy_text(total)
        cells = [f"{total.errors.k:,}", rate, _margin_text(total)]
        cells += ["-" if report is None else str(report.certified.stated.status)] if certified else []
        size = f"{evaluation.parameters:,}"
        table.add_row(f"[{number}]", size, *cells, style="yellow" if total.errors.k else "")
    return table


def _rate_heading(result: ExamResult) -> str:
    return "error rate, 95 %" if result.exam.is_sample else "accuracy"


def _abreast_table(results: Sequence[ExamResult], start: int) -> Table:
    table = Table(box=SIMPLE)
    table.add_column(_FIRST_COLUMN.get(results[0].exam.suite, "stratum"))
    table.add_column("n", justify="right")
    for number in range(start + 1, start + len(results) + 1):
        table.add_column(f"[{number}]", justify="right")
    for name, score in results[0].scores.items():
        errors = [result.scores[name].errors.k for result in results]
        cells = (f"{k:,}" for k in errors)
        table.add_row(name, f"{score.errors.n:,}", *cells, style="yellow" if any(errors) else "")
    return table

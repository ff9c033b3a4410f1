"""The evaluation file of another project -> findings: counts and accuracies that do not add up.

    {"multi_seed_validation": {total_examples, aggregate_exact_match, aggregate_errors, per_seed: {...}}} --> findings

Each test set has total / sets examples, its accuracy follows from its errors, and the errors of the sets add up to the
aggregate.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from reprogrok.forensics.findings import CheckedNumbers, Finding, Flaw, ForensicReport, Grade
from reprogrok.schema import load

_BLOCK = "multi_seed_validation"
_WRITTEN = 1e-6  # absolute error allowed for accuracies written from float32 or with six decimal places


@dataclass(frozen=True)
class _Score:
    """Accuracy and errors on n examples, read from a field of the file; n is None if it is not known."""

    where: str
    accuracy: float
    errors: int
    n: int | None


def examine_evaluation(path: Path) -> ForensicReport:
    """Check the counts and accuracies of an evaluation.

    Raises:
        InputError: the file cannot be read or is not such an evaluation.
    """
    block, where = load(path, "published_evaluation").data[_BLOCK], f"{path} $.{_BLOCK}"
    total, sets, results = block["total_examples"], block["num_test_sets"], block["per_seed"]
    whole = _Score(where, block["aggregate_exact_match"], block["aggregate_errors"], total)
    n = total // sets if len(results) == sets and total % sets == 0 else None
    parts = [
        _Score(f"{where}.per_seed.{seed}", result["exact_match"], result["errors"], n)
        for seed, result in results.items()
    ]
    check = CheckedNumbers(
        "scores and errors", 2 * len(parts) + 2, 0, f"errors, scores and sums of {len(parts)} test sets"
    )
    return ForensicReport(str(path), tuple(_findings(whole, sets, parts)), (check,))


def _findings(whole: _Score, sets: int, parts: list[_Score]) -> Iterator[Finding]:
    explanation = "a file put together from two evaluations"
    if len(parts) != sets:
        arithmetic = f"per_seed has {len(parts)}"
        yield _finding(f"{whole.where}.num_test_sets", f"num_test_sets {sets}", arithmetic, explanation)
    yield from _score_findings(whole)
    if (errors := sum(part.errors for part in parts)) != whole.errors:
        arithmetic = f"the errors of the test sets add up to {errors:,}, not {whole.errors:,}"
        yield _finding(f"{whole.where}.aggregate_errors", f"{whole.errors:,}", arithmetic, explanation)
    for part in parts:
        yield from _score_findings(part)


def _score_findings(score: _Score) -> Iterator[Finding]:
    accuracy, errors, n = score.accuracy, score.errors, score.n
    if n is not None and abs(accuracy - (n - errors) / n) > _WRITTEN:
        arithmetic = f"1 - {errors:,}/{n:,} = {(n - errors) / n:.6g}, not {accuracy:g}"
        shown = f"{accuracy:g} and {errors:,} errors of {n:,}"
        yield _finding(score.where, shown, arithmetic, "test sets of other sizes")


def _finding(where: str, shown: str, arithmetic: str, explanation: str) -> Finding:
    return Finding(Flaw.COUNTS, where, shown, arithmetic, Grade.CERTAIN, explanation)

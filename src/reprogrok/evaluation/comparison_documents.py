"""Evaluation files -> checkpoints to compare; a comparison -> a JSON document, and the numbers of a pipeline.

    file of ours (one or several evaluations), or of the published script --read_evaluations--> ExaminedCheckpoint ...
    Comparison --document_of--> JSON     --metrics_of--> nested numbers

Counts that contradict each other are refused at their place in the file.
"""

from __future__ import annotations

from pathlib import Path

from reprogrok.evaluation.comparison import Comparison, ExaminedCheckpoint, SuiteErrors
from reprogrok.schema import Document, Steps, check, load
from reprogrok.stats.proportions import Proportion, proportion
from reprogrok.tasks.protocols import EXAM_SEEDS, PROTOCOL

_ROUNDING = 1e-6  # published accuracies are rounded when they are written


def read_evaluations(path: Path) -> list[ExaminedCheckpoint]:
    """Read an evaluation file of ours, with one or several evaluations, or of the published script.

    Raises:
        InputError: it is none of these, or its counts contradict each other.
    """
    document = load(path)
    data = document.data
    if isinstance(data, dict) and "format" not in data and "multi_seed_validation" in data:
        return [_read_published(document)]
    check(document, "evaluation")
    if "evaluations" not in data:
        return [_read_checkpoint(document, ())]
    return [_read_checkpoint(document, ("evaluations", index)) for index in range(len(data["evaluations"]))]


def document_of(comparison: Comparison) -> dict[str, object]:
    """Return the comparison as plain data, ready for JSON."""
    return {
        "format": "reprogrok.comparison/1",
        "checkpoints": [
            {
                "label": checkpoint.label,
                "parameters": checkpoint.parameters,
                "experiment": checkpoint.experiment,
                "seed": checkpoint.seed,
                "suites": {suite: _counts(suite, errors) for suite, errors in checkpoint.suites.items()},
            }
            for checkpoint in comparison.checkpoints
        ],
        "pairs": [vars(pair) | {"more_than_chance": pair.differs} for pair in comparison.pairs],
        "grokked": {name: {"k": r.k, "n": r.n, "low": r.low, "high": r.high} for name, r in comparison.grokked.items()},
    }


def metrics_of(comparison: Comparison) -> dict[str, object]:
    """Return the numbers that a pipeline tracks, as nested dicts of numbers only."""
    rates = {
        name: {"grokked": r.k, "seeds": r.n, "low": r.low, "high": r.high} for name, r in comparison.grokked.items()
    }
    errors = {
        checkpoint.label: {suite: counts.errors.k for suite, counts in checkpoint.suites.items()}
        for checkpoint in comparison.checkpoints
    }
    return {"grok rate": rates, "errors": errors}


def _counts(suite: str, counts: SuiteErrors) -> dict[str, object]:
    """Return errors of n, with an interval if the problems are a sample of one law."""
    errors = counts.errors
    interval = {"low": errors.low, "high": errors.high} if suite == "uniform" else {}
    return {"exam": counts.exam, "errors": errors.k, "n": errors.n, **interval}


def _read_checkpoint(document: Document, at: Steps) -> ExaminedCheckpoint:
    data = document.at(at)
    checkpoint = data["checkpoint"]
    origin = checkpoint["origin"] or {}
    suites = {suite: _read_suite(document, (*at, "suites", suite)) for suite in data["suites"]}
    return ExaminedCheckpoint(
        checkpoint["path"], checkpoint["parameters"], origin.get("experiment"), origin.get("seed"), suites
    )


def _read_suite(document: Document, at: Steps) -> SuiteErrors:
    result = document.at(at)
    total, strata = result["total"], result["strata"]
    failures = [pair for number in range(len(strata)) for pair in _read_failures(document, (*at, "strata", number))]
    if len(failures) != total["errors"]:
        expected = f"{total['errors']} failures in all strata, as the total says"
        raise document.error(at, expected=expected, found=len(failures))
    if (n := sum(stratum["n"] for stratum in strata)) != total["n"]:
        raise document.error((*at, "total", "n"), expected=f"{n} problems, the sum over the strata", found=total["n"])
    errors = _proportion(document, (*at, "total"), total["errors"], total["n"])
    return SuiteErrors(result["exam"], result["exam_digest"], errors, frozenset(failures))


def _read_failures(document: Document, at: Steps) -> list[tuple[int, int]]:
    """Read the operands of a stratum's failures; the schema does not check these long columns."""
    stratum = document.at(at)
    columns = stratum["failures"]
    if len({len(column) for column in columns.values()}) != 1 or len(columns["index"]) != stratum["errors"]:
        lengths = {name: len(column) for name, column in columns.items()}
        raise document.error((*at, "failures"), expected=f"columns of {stratum['errors']} values", found=lengths)
    indices = columns["index"]
    if not all(type(index) is int and 0 <= index < stratum["n"] for index in indices):
        raise document.error((*at, "failures", "index"), expected=f"whole numbers from 0 to {stratum['n'] - 1}")
    if len(set(indices)) != len(indices):
        raise document.error((*at, "failures", "index"), expected="every problem once")
    for name in ("a", "b"):
        if not all(type(operand) is int and operand >= 0 for operand in columns[name]):
            raise document.error((*at, "failures", name), expected="whole numbers")
    return list(zip(columns["a"], columns["b"], strict=True))


def _proportion(document: Document, at: Steps, errors: int, n: int) -> Proportion:
    if errors > n:
        raise document.error(at, expected=f"at most {n} errors", found=errors)
    return proportion(errors, n)


def _read_published(document: Document) -> ExaminedCheckpoint:
    check(document, "published_evaluation")
    at = ("multi_seed_validation",)
    block = document.at(at)
    errors, n, per_seed = block["aggregate_errors"], block["total_examples"], block["per_seed"]
    if sorted(per_seed) != sorted(map(str, EXAM_SEEDS)):
        expected = f"the test sets of {PROTOCOL}, seeds {', '.join(map(str, EXAM_SEEDS))}"
        raise document.error((*at, "per_seed"), "another exam", expected=expected, found=sorted(per_seed))
    if (total := sum(result["errors"] for result in per_seed.values())) != errors:
        expected = f"{total}, the sum over the test sets"
        raise document.error((*at, "aggregate_errors"), expected=expected, found=errors)
    if abs(block["aggregate_exact_match"] - (n - errors) / n) > _ROUNDING:
        expected = f"{(n - errors) / n:.6g}, as the counts say"
        raise document.error((*at, "aggregate_exact_match"), expected=expected, found=block["aggregate_exact_match"])
    counts = SuiteErrors(PROTOCOL, None, _proportion(document, (), errors, n), None)
    return ExaminedCheckpoint(document.path.as_posix(), None, None, None, {"uniform": counts})

"""The evaluation file of another project -> what in its counts and shares does not fit.

    {"multi_seed_validation": {total_examples, aggregate_exact_match, aggregate_errors, per_seed: {...}}} --> findings

Each test set has total / sets examples, its score is that of its errors, and the errors of the sets add up to the
aggregate. A file that keeps all that can still be wrong; one that does not is wrong somewhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from reprogrok.forensics.findings import CheckedNumbers, Examination, Finding, Flaw, Grade
from reprogrok.schema import load

_BLOCK = "multi_seed_validation"
_WRITTEN = 1e-6  # a share that went through float32 or six printed places


def examine_evaluation(path: Path) -> Examination:
    """Look at the published block of an evaluation.

    Raises:
        InputError: it is no such file.
    """
    block = load(path, "published_evaluation").data[_BLOCK]
    note = f"errors, scores and sums of {len(block['per_seed'])} test sets"
    looked_at = 2 * len(block["per_seed"]) + 2
    return Examination(
        str(path), tuple(_findings(path, block)), (CheckedNumbers("scores and errors", looked_at, 0, note),)
    )


def _findings(path: Path, block: Mapping[str, Any]) -> Iterator[Finding]:
    total, sets, wrong = block["total_examples"], block["num_test_sets"], block["aggregate_errors"]
    said = "a file put together from two evaluations explains it as well"
    if len(block["per_seed"]) != sets:
        shown = f"num_test_sets {sets}"
        yield _finding(f"{path} $.{_BLOCK}.num_test_sets", shown, f"per_seed has {len(block['per_seed'])}", said)
    yield from _score(f"{path} $.{_BLOCK}", block["aggregate_exact_match"], wrong, total)
    by_set = sum(result["errors"] for result in block["per_seed"].values())
    if by_set != wrong:
        arithmetic = f"the errors of the test sets add up to {by_set:,}, not {wrong:,}"
        yield _finding(f"{path} $.{_BLOCK}.aggregate_errors", f"{wrong:,}", arithmetic, said)
    if sets and len(block["per_seed"]) == sets and total % sets == 0:
        for seed, result in block["per_seed"].items():
            where = f"{path} $.{_BLOCK}.per_seed.{seed}"
            yield from _score(where, result["exact_match"], result["errors"], total // sets)


def _score(where: str, share: float, errors: int, n: int) -> Iterator[Finding]:
    if abs(share - (n - errors) / n) > _WRITTEN:
        arithmetic = f"1 - {errors:,}/{n:,} = {(n - errors) / n:.6g}, not {share:g}"
        yield _finding(where, f"{share:g} and {errors:,} errors of {n:,}", arithmetic, "test sets of other sizes do it")


def _finding(where: str, shown: str, arithmetic: str, said: str) -> Finding:
    return Finding(Flaw.COUNTS, where, shown, arithmetic, Grade.CERTAIN, said)

"""A replica's best checkpoint -> errors on the exams of its task, for claims about a training and its score.

    runs/NAME/seed-S/best.pt --checked against the run's hashes--> Examinee --exams of its task--> k wrong of n

The exam runs on the CPU, wherever the checkpoint was trained. *best* is the first checkpoint with the highest
validation score.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import torch

from reprogrok.claims.claims import Quantity
from reprogrok.claims.measurements import Measured, Measurement, Missing, misasked
from reprogrok.evaluation.examination import examinee, task_of
from reprogrok.exam.exam import build_exam, suites_of
from reprogrok.formats.checkpoints import load_checkpoint

ERRORS, EXACT_MATCH = "errors", "exact_match"
BEST = "best.pt"
_ROWS = 2_000  # per forward pass


def measure_exam(run: Path, seed: int, quantity: Quantity) -> Measurement:
    """Return the errors of a replica's best checkpoint, or its accuracy, on the exam that the definition names.

    Raises:
        InputError: the checkpoint is missing or damaged.
    """
    if quantity.until is not None:
        return misasked(f"{quantity.name} is asked of the best checkpoint of the whole run, and not until a step")
    path = run / f"seed-{seed}" / BEST
    task = task_of(load_checkpoint(path), None)
    for suite in suites_of(task):
        exam = build_exam(suite, task)
        if quantity.definition == exam.name or quantity.definition.startswith(f"{exam.name}/"):
            counts = _counts(path, suite)
            break
    else:
        return misasked(f"no exam of this task is called {quantity.definition}")
    if quantity.definition not in counts:
        return misasked(f"the parts of {exam.name} are {', '.join(counts)}")
    wrong, n = counts[quantity.definition]
    if quantity.name == ERRORS:
        return Measured(float(wrong), k=wrong, n=n)
    return score_measurements(quantity.definition, wrong, n).get(quantity) or Missing("that part has no problem")


def score_measurements(exam: str, errors: int, n: int) -> dict[Quantity, Measured]:
    """Return both quantities of an exam or a stratum: the errors and the fraction of right answers; none of n = 0."""
    if n == 0:
        return {}
    return {
        Quantity(ERRORS, exam): Measured(errors, k=errors, n=n),
        Quantity(EXACT_MATCH, exam): Measured((n - errors) / n, k=n - errors, n=n),
    }


@cache
def _counts(path: Path, suite: str) -> dict[str, tuple[int, int]]:
    """Return definition -> (errors, problems), for the whole suite and each of its strata."""
    checkpoint = load_checkpoint(path)
    task = task_of(checkpoint, None)
    exam = build_exam(suite, task)
    result = examinee(checkpoint, task, torch.device("cpu")).examine(exam, "forward", _ROWS)
    strata = {f"{exam.name}/{name}": (score.errors.k, score.errors.n) for name, score in result.scores.items()}
    return {exam.name: (result.total.errors.k, result.total.errors.n)} | strata

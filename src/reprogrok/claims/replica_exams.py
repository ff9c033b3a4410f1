"""A replica's best state -> errors on the exams of its task, for claims that speak of a training and its score.

    runs/NAME/seed-S/best.pt --checked against the run's hashes--> Examinee --exams of its task--> k wrong of n

The exam is sat here and now, on the CPU: which errors a state makes does not hang on where it was trained. *best* is
the first state with the highest validation score; of a run that was stopped early it is not the schedule's.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import torch

from reprogrok.claims.claims import Quantity
from reprogrok.claims.outcomes import Absent, Measured, Outcome, misasked
from reprogrok.evaluation.examination import examinee, task_of
from reprogrok.exam.exam import build_exam, suites_of
from reprogrok.formats.checkpoints import load_checkpoint

ERRORS, EXACT_MATCH = "errors", "exact_match"
BEST = "best.pt"
_ROWS = 2_000  # per forward pass


def measure_exam(run: Path, seed: int, quantity: Quantity) -> Outcome:
    """Errors of a replica's best state, or the share that it gets right, on the exam that the definition names.

    Raises:
        InputError: the state is missing or damaged.
    """
    if quantity.until is not None:
        return misasked(f"{quantity.name} is asked of the best state of the whole run, and not until a step")
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
    return Measured((n - wrong) / n, k=n - wrong, n=n) if n else Absent("that part has no problem")


@cache
def _counts(path: Path, suite: str) -> dict[str, tuple[int, int]]:
    """Definition -> (errors, problems): of the whole suite and of each of its strata."""
    checkpoint = load_checkpoint(path)
    task = task_of(checkpoint, None)
    exam = build_exam(suite, task)
    result = examinee(checkpoint, task, torch.device("cpu")).examine(exam, "forward", _ROWS)
    strata = {f"{exam.name}/{name}": (score.errors.k, score.errors.n) for name, score in result.scores.items()}
    return {exam.name: (result.total.errors.k, result.total.errors.n)} | strata

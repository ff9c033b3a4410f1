"""`python tests/campaign certificates [--short] [--broken] [--only PART]`: certificates against what models do.

    sets      small models, every problem tried: bounds, verdicts, leaves and their margins against the trial
    moved     proved models moved along random directions until they break: the certificate breaks no later
    sampled   ten digits: uniform problems and every stress stratum against each leaf's box and bounds

--broken puts a mistake into the checker, one at a time, and wants a fault to be found for each. Exit code 1 if a
statement failed (or, with --broken, a mistake was not found). What is compared stands in certificate_statements.py.

Axes: A answer places, B problems, L leaves.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from certificate_models import SmallModel, drawn, kept, moved
from certificate_mutants import MUTANTS
from certificate_oracle import Problems, every_problem, tried
from certificate_statements import Comparison, agreement, compare, searched

from reprogrok.data.carries import blocks
from reprogrok.data.stress import strata
from reprogrok.formats.checkpoints import load_checkpoint
from reprogrok.measure.enclosure import Enclosure

ROOT = Path(__file__).resolve().parents[2]
SEED = 20_261_121
PARTS = ("sets", "moved", "sampled")
DRAWN = {2: 120, 3: 12}  # models with random weights, by digits
SHARES = tuple(0.001 * 1.5**step for step in range(13))  # of moves, of a tensor's root mean square
DIRECTIONS = {2: 4, 3: 2}
MOST_MOVED = {2: 5, 3: 3}  # models that are moved
TEN_DIGITS = {
    "best_456p_s43": "fixtures", "e1-s22": "checkpoints", "best_512params": "fixtures", "e15-s42": "checkpoints",
    "e15-s47": "checkpoints",
}  # fmt: skip
SAMPLED, OF_STRATUM, AT_ONCE = 1_000_000, 10_000, 100_000
_prepared: list[tuple[Callable, tuple]] = []
_problems: dict[int, Problems] = {}


@dataclass(frozen=True)
class Row:
    """A model's agreement without its arrays, as it comes back from another process."""

    name: str
    kind: str
    digits: int
    verdict: str
    at_least: int
    at_most: int
    single: int
    double: int
    leaves: int
    problems: int
    closest: float
    gap: float
    faults: tuple[str, ...]


def row(model, seed):
    """Try every problem of a model and compare its certificate."""
    _prepare(model.digits)
    found = agreement(
        model, _problems[model.digits], tried(model, *every_problem(model.digits)), np.random.default_rng([SEED, seed])
    )
    gaps = np.concatenate([np.zeros(0), *found.bounds.gaps])
    return Row(
        model.name, model.kind, model.digits, found.verdict, found.at_least, found.at_most, found.single, found.double,
        found.bounds.leaves, found.bounds.problems, found.bounds.closest, float(np.median(gaps)) if len(gaps) else np.nan,
        found.faults,
    )  # fmt: skip


def _prepare(digits):
    if digits not in _problems:
        _problems[digits] = Problems(digits, *(column.numpy() for column in every_problem(digits)))
        for block in blocks(digits):
            _problems[digits].of(block)

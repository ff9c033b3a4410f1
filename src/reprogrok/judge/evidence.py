"""What is known, from files and folders at hand -> observations of one subject and one quantity; nothing is trained.

    audit/evidence/*.json   results that were written down
    runs/NAME/              runs of an experiment of params.yaml        --subject, quantity--> Observation, ...
    checkpoints/*.json      manifests of provided checkpoints
    params.yaml             what follows from an experiment untrained

A claim is judged by these observations alone. An experiment is named by its settings, not by its name: a run or a file
whose spec digest is not that of params.yaml is not used, and said to be left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reprogrok.judge.claims import Quantity, Subject
from reprogrok.measure.grokking import Censored, StepInterval
from reprogrok.params import Params


@dataclass(frozen=True)
class Observation:
    """One quantity that was measured on one subject: a value (with k of n where it is a count), a word or a time.

    Attributes:
        subject: what was measured.
        quantity: the estimator.
        value: the number; of a time the evaluation that had got there; None where there is none.
        word: for a quantity that is a word.
        k: right answers, errors or events, where the value is a count or a share of `n`.
        n: what a count is out of.
        time: the interval between two evaluations, or right-censored.
        seed: of the replica; None where nothing was trained.
        ran_on: the fingerprint of what computed it; empty where that is not known.
        origin: file or folder it was read from, for people.
        updates: optimiser updates that were done; None where nothing was trained or nobody knows.
        planned: updates that the schedule is for; likewise.
    """

    subject: Subject
    quantity: Quantity
    value: float | None = None
    word: str | None = None
    k: int | None = None
    n: int | None = None
    time: StepInterval | Censored | None = None
    seed: int | None = None
    ran_on: Mapping[str, Any] | None = None
    origin: str = ""
    updates: int | None = None
    planned: int | None = None


@dataclass(frozen=True)
class Evidence:
    """All that is at hand."""

    left_out: tuple[str, ...] = ()

    def observations(self, subject: Subject, quantity: Quantity, device: str | None = None) -> tuple[Observation, ...]:
        """What was measured of a quantity, one per seed of an experiment: the newest engine wins."""
        raise NotImplementedError

    def missing(self, subject: Subject, quantity: Quantity) -> str:
        """Why there is no observation, and what would make one, as one sentence."""
        raise NotImplementedError


def gather(
    evidence: Path, runs: Path | None = None, checkpoints: Path | None = None, params: Params | None = None
) -> Evidence:
    """Everything at hand.

    Args:
        evidence: folder of evidence files.
        runs: folder of runs.
        checkpoints: folder of manifests.
        params: the experiments.

    Raises:
        InputError: a file is not what it has to be.
    """
    raise NotImplementedError

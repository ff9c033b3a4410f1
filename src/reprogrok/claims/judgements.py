"""A decision on a claim, with the numbers and the rule that it rests on.

rules --Judgement--> artefacts, trainings --Judgement--> audit --> ClaimVerdict
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class ClaimDecision(StrEnum):
    """Whether the evidence agrees with a claim."""

    REPRODUCED = "REPRODUCED"
    CONTRADICTED = "CONTRADICTED"
    INCONCLUSIVE = "INCONCLUSIVE"


@dataclass(frozen=True)
class Judgement:
    """A decision and the numbers behind it.

    Attributes:
        decision: REPRODUCED, CONTRADICTED or INCONCLUSIVE.
        test: name of the rule that decided.
        numbers: one clause with the observed and the claimed numbers; empty where nothing was observed.
        missing: for INCONCLUSIVE: one clause on the evidence that would decide.
        seeds_needed: for INCONCLUSIVE: more seeds (per arm) for a power of 80 %; None if no number up to 10,000 is
            enough or if seeds are not the problem.
        p: two-sided p of the test; None where an interval decides.
        interval: the interval of the estimate; an end may be infinite.
        error_bound: upper bound on the chance that a decision by this rule is wrong; 0 for arithmetic.
        notes: remarks that a reader of the decision needs.
    """

    decision: ClaimDecision
    test: str
    numbers: str = ""
    missing: str | None = None
    seeds_needed: int | None = None
    p: float | None = None
    interval: tuple[float, float] | None = None
    error_bound: float = 0.0
    notes: tuple[str, ...] = ()

    @property
    def is_open(self) -> bool:
        """Whether the claim is left open."""
        return self.decision is ClaimDecision.INCONCLUSIVE

"""One object for all claims judged: what the tables, the JSON, the ledger and the exit code are all made from.

    Audit
      sources    the documents, with every claim that was read
      verdicts   per claim: a Finding (decision, numbers, test) and the Arms (what was observed, of how many, on what)
      clashes    claims that dispute each other and both came out REPRODUCED: a fault in how they were written down

Nothing here judges; decisions are set by `claims.audit`, and what follows from them is a property, so that no two parts
of an audit can disagree.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from reprogrok.claims.claims import Claim, Source, Subject
from reprogrok.claims.evidence import Observation
from reprogrok.claims.tests import Decision
from reprogrok.errors import ExitCode
from reprogrok.stats.statistics import holm

NOT_KNOWN = "not known"


@dataclass(frozen=True)
class Finding:
    """What one claim came to.

    Attributes:
        decision: REPRODUCED, CONTRADICTED or INCONCLUSIVE.
        test: the rule that decided, by name.
        numbers: what was observed beside what is claimed, as one clause; empty where nothing was observed.
        missing: of INCONCLUSIVE: what would decide it, as one clause.
        seeds_needed: of INCONCLUSIVE: how many more seeds (per arm of a comparison) that is, where it can be said.
        p: of the test, where it has one.
        interval: of what was estimated, where it was.
        error_bound: the chance that such a decision is wrong: 0 for arithmetic.
        notes: what a reader has to know to read the decision rightly.
    """

    decision: Decision
    test: str
    numbers: str = ""
    missing: str | None = None
    seeds_needed: int | None = None
    p: float | None = None
    interval: tuple[float, float] | None = None
    error_bound: float = 0.0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Arm:
    """One subject of a claim and what was used of what is known of it."""

    subject: Subject
    observations: tuple[Observation, ...] = ()

    @property
    def seeds(self) -> tuple[int, ...]:
        """Of trained replicas, in order."""
        return tuple(sorted({seen.seed for seen in self.observations if seen.seed is not None}))

    @property
    def devices(self) -> tuple[str, ...]:
        """Kinds of device that computed it, sorted; what is not known is left out."""
        return tuple(sorted({device for seen in self.observations if (device := device_of(seen)) is not None}))

    @property
    def origins(self) -> tuple[str, ...]:
        """Files and folders, sorted."""
        return tuple(sorted({seen.origin for seen in self.observations if seen.origin}))


def device_of(observation: Observation) -> str | None:
    """The kind of device (cpu, cuda, mps) that computed it; None where that is not known."""
    device = (observation.ran_on or {}).get("device")
    return None if device is None else str(device)


@dataclass(frozen=True)
class ClaimVerdict:
    """One claim judged.

    Attributes:
        claim: what is claimed.
        source: the document that claims it.
        finding: what it came to.
        arms: the evidence: of the subject and, in a comparison, of what it is compared with.
    """

    claim: Claim
    source: str
    finding: Finding
    arms: tuple[Arm, ...]

    @property
    def decision(self) -> Decision:
        """REPRODUCED, CONTRADICTED or INCONCLUSIVE."""
        return self.finding.decision

    @property
    def by_statistics(self) -> bool:
        """Was it decided by a rule that is wrong now and then by chance?"""
        return self.decision is not Decision.INCONCLUSIVE and self.finding.error_bound > 0

    @property
    def settled_by(self) -> Mapping[str, int | None]:
        """Of an open claim: experiment -> how many more seeds of it; None for the one seed that the claim names.

        Empty where no number of seeds decides, as against a published 0 of 2, or where nothing is trained.
        """
        if self.decision is not Decision.INCONCLUSIVE:
            return {}
        needed = self.finding.seeds_needed
        trained = [arm for arm in self.arms if arm.subject.kind == "experiment"]
        if self.claim.seed is not None:
            return {arm.subject.name: None for arm in trained}
        if needed is None:
            return {}
        # Before every side has been run, what is needed is a total; later it is more than there is.
        begun = all(arm.observations for arm in self.arms)
        more = {arm.subject.name: needed if begun else needed - len(arm.seeds) for arm in trained}
        return {name: seeds for name, seeds in more.items() if seeds > 0}


@dataclass(frozen=True)
class Audit:
    """Claims judged together.

    Attributes:
        sources: every document that was read, whether or not its claims were judged.
        verdicts: of the claims that were asked for, in the order of the sources.
        left_out: evidence that could not be used, and why.
        costs: what one seed of an experiment takes, for people.
        beside: of the claims that were not asked for, but dispute one that was; they decide nothing.
    """

    sources: tuple[Source, ...]
    verdicts: tuple[ClaimVerdict, ...]
    left_out: tuple[str, ...] = ()
    costs: Mapping[str, str] = field(default_factory=dict)
    beside: tuple[ClaimVerdict, ...] = ()

    @property
    def exit_code(self) -> ExitCode:
        """1 if anything is contradicted, else 3 if anything is left open, else 0."""
        decisions = {verdict.decision for verdict in self.verdicts}
        if Decision.CONTRADICTED in decisions:
            return ExitCode.FAIL
        return ExitCode.INCONCLUSIVE if Decision.INCONCLUSIVE in decisions else ExitCode.PASS

    def count(self, source: str | None = None) -> dict[Decision, int]:
        """How many verdicts of each kind, over all documents or of one."""
        found = Counter(verdict.decision for verdict in self.verdicts if source in (None, verdict.source))
        return {decision: found[decision] for decision in Decision}

    def of_source(self, source: Source) -> tuple[ClaimVerdict, ...]:
        """The verdicts on one document's claims."""
        return tuple(verdict for verdict in self.verdicts if verdict.source == source.file)

    @property
    def by_statistics(self) -> tuple[ClaimVerdict, ...]:
        """The decided verdicts that chance can make wrong."""
        return tuple(verdict for verdict in self.verdicts if verdict.by_statistics)

    @property
    def expected_wrong(self) -> float:
        """How many of those would be wrong by chance, at most, on average: the sum of their error bounds."""
        return sum(verdict.finding.error_bound for verdict in self.by_statistics)

    @cached_property
    def adjusted(self) -> dict[str, float]:
        """Claim id -> p adjusted by Holm for all claims judged here that have a p, decided or not."""
        having = [(verdict.claim.id, verdict.finding.p) for verdict in self.verdicts]
        tested = [(name, p) for name, p in having if p is not None]
        return dict(zip((name for name, _ in tested), holm([p for _, p in tested]), strict=True))

    @cached_property
    def disputes(self) -> dict[str, tuple[str, ...]]:
        """Claim id -> the claims that it disputes or that dispute it, over everything that was read."""
        return disputes_of(self.sources)

    @property
    def disputed_pairs(self) -> tuple[tuple[str, str], ...]:
        """Each dispute once, in the order of the sources."""
        pairs = ((one, other) for one, others in self.disputes.items() for other in others)
        return tuple({frozenset(pair): pair for pair in reversed(list(pairs))}.values())[::-1]

    @property
    def clashes(self) -> tuple[tuple[str, str], ...]:
        """Disputes of which both sides came out REPRODUCED, which cannot be."""
        both = (*self.verdicts, *self.beside)
        held = {verdict.claim.id for verdict in both if verdict.decision is Decision.REPRODUCED}
        return tuple(pair for pair in self.disputed_pairs if held.issuperset(pair))

    def verdict_of(self, claim: str) -> ClaimVerdict | None:
        """The verdict on a claim; None if it was not judged."""
        both = (*self.verdicts, *self.beside)
        return next((verdict for verdict in both if verdict.claim.id == claim), None)

    @property
    def settling(self) -> tuple[tuple[str, tuple[ClaimVerdict, ...]], ...]:
        """Experiment -> the open claims that more seeds of it can settle; claims about artefacts are not here."""
        found: dict[str, list[ClaimVerdict]] = {}
        for verdict in self.verdicts:
            for name in verdict.settled_by:
                found.setdefault(name, []).append(verdict)
        return tuple((name, tuple(verdicts)) for name, verdicts in sorted(found.items()))


def disputes_of(sources: Iterable[Source]) -> dict[str, tuple[str, ...]]:
    """Claim id -> the claims that it disputes or that dispute it: a dispute has two sides, whoever named it."""
    found: dict[str, tuple[str, ...]] = {}
    for claim in (claim for source in sources for claim in source.claims):
        for other in claim.disputes:
            found[claim.id] = _with(found.get(claim.id, ()), other)
            found[other] = _with(found.get(other, ()), claim.id)
    return found


def _with(known: tuple[str, ...], more: str) -> tuple[str, ...]:
    return known if more in known else (*known, more)

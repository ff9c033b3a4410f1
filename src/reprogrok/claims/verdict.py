"""All judged claims as one object, from which tables, JSON, ledger and exit code are made.

    Audit
      citations  the documents, with every claim that was read
      verdicts   per claim: a Judgement (decision, numbers, test) and the Arms (the observations behind it)
      clashes    claims that dispute each other and both came out REPRODUCED: a fault in how they were written down

`claims.audit` sets the decisions; everything that follows from them is a property, so that no two parts of an audit
can disagree.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from reprogrok.claims.claims import Citation, Claim, Subject
from reprogrok.claims.evidence import Observation
from reprogrok.claims.judgements import ClaimDecision, Judgement
from reprogrok.errors import ExitCode
from reprogrok.stats.exact_tests import holm


@dataclass(frozen=True)
class Arm:
    """One subject of a claim and the observations of it that were used."""

    subject: Subject
    observations: tuple[Observation, ...] = ()

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds of trained replicas, in order."""
        return tuple(sorted({seen.seed for seen in self.observations if seen.seed is not None}))

    @property
    def devices(self) -> tuple[str, ...]:
        """The kinds of device that computed it, sorted, as far as known."""
        return tuple(sorted({device for seen in self.observations if (device := device_of(seen)) is not None}))

    @property
    def origins(self) -> tuple[str, ...]:
        """The files and folders that the observations were read from, sorted."""
        return tuple(sorted({seen.origin for seen in self.observations if seen.origin}))


def device_of(observation: Observation) -> str | None:
    """Return the kind of device (cpu, cuda, mps) that computed an observation; None where that is not known."""
    device = observation.ran_on.get("device")
    return None if device is None else str(device)


@dataclass(frozen=True)
class ClaimVerdict:
    """The verdict on one claim.

    Attributes:
        claim: the judged claim.
        source: name of the document that states it.
        judgement: the decision and the numbers behind it.
        arms: the evidence on the subject and, in a comparison, on the subject it is compared with.
    """

    claim: Claim
    source: str
    judgement: Judgement
    arms: tuple[Arm, ...]

    @property
    def decision(self) -> ClaimDecision:
        """REPRODUCED, CONTRADICTED or INCONCLUSIVE."""
        return self.judgement.decision

    @property
    def by_statistics(self) -> bool:
        """Whether a rule decided it that is sometimes wrong by chance."""
        return not self.judgement.is_open and self.judgement.error_bound > 0

    @property
    def settled_by(self) -> Mapping[str, int | None]:
        """Experiment -> how many more seeds of it may decide an open claim; None for the one seed that a claim names.

        Empty where no number of seeds decides, as against a published 0 of 2, or where nothing is trained.
        """
        if not self.judgement.is_open:
            return {}
        needed = self.judgement.seeds_needed
        trained = [arm for arm in self.arms if arm.subject.kind == "experiment"]
        if self.claim.seed is not None:
            return {arm.subject.name: None for arm in trained}
        if needed is None:
            return {}
        # Until every side has been run, the number needed is a total; after that it comes on top.
        begun = all(arm.observations for arm in self.arms)
        more = {arm.subject.name: needed if begun else needed - len(arm.seeds) for arm in trained}
        return {name: seeds for name, seeds in more.items() if seeds > 0}


@dataclass(frozen=True)
class Audit:
    """Claims judged together.

    Attributes:
        citations: every document that was read, whether or not its claims were judged.
        verdicts: verdicts on the requested claims, in the order of the citations.
        left_out: evidence that could not be used, with the reasons.
        costs: experiment -> the cost of one seed, as text.
        beside: verdicts on claims that were not requested, but dispute a requested one; they decide nothing.
    """

    citations: tuple[Citation, ...]
    verdicts: tuple[ClaimVerdict, ...]
    left_out: tuple[str, ...] = ()
    costs: Mapping[str, str] = field(default_factory=dict)
    beside: tuple[ClaimVerdict, ...] = ()

    @property
    def exit_code(self) -> ExitCode:
        """1 if anything is contradicted, else 3 if anything is left open, else 0."""
        decisions = {verdict.decision for verdict in self.verdicts}
        if ClaimDecision.CONTRADICTED in decisions:
            return ExitCode.FAIL
        return ExitCode.INCONCLUSIVE if ClaimDecision.INCONCLUSIVE in decisions else ExitCode.PASS

    def count(self, source: str | None = None) -> dict[ClaimDecision, int]:
        """Count the verdicts of each kind, over all documents or in one."""
        found = Counter(verdict.decision for verdict in self.verdicts if source in (None, verdict.source))
        return {decision: found[decision] for decision in ClaimDecision}

    def on(self, citation: Citation) -> tuple[ClaimVerdict, ...]:
        """Return the verdicts on one document's claims."""
        return tuple(verdict for verdict in self.verdicts if verdict.source == citation.file)

    @property
    def by_statistics(self) -> tuple[ClaimVerdict, ...]:
        """The decided verdicts that chance can make wrong."""
        return tuple(verdict for verdict in self.verdicts if verdict.by_statistics)

    @property
    def expected_wrong(self) -> float:
        """Upper bound on the expected number of verdicts that are wrong by chance: the sum of their error bounds."""
        return sum(verdict.judgement.error_bound for verdict in self.by_statistics)

    @cached_property
    def adjusted(self) -> dict[str, float]:
        """Claim id -> p adjusted by Holm over all claims judged here that have a p, decided or not."""
        tested = {verdict.claim.id: p for verdict in self.verdicts if (p := verdict.judgement.p) is not None}
        return dict(zip(tested, holm(list(tested.values())), strict=True))

    @cached_property
    def disputes(self) -> dict[str, tuple[str, ...]]:
        """Claim id -> the claims that it disputes or that dispute it, over all citations."""
        return disputes_of(self.citations)

    @property
    def disputed_pairs(self) -> tuple[tuple[str, str], ...]:
        """Each dispute once, in the order of the citations."""
        pairs = ((one, other) for one, others in self.disputes.items() for other in others)
        return tuple({frozenset(pair): pair for pair in reversed(list(pairs))}.values())[::-1]

    @property
    def clashes(self) -> tuple[tuple[str, str], ...]:
        """Disputes in which both sides came out REPRODUCED, which is impossible."""
        both = (*self.verdicts, *self.beside)
        held = {verdict.claim.id for verdict in both if verdict.decision is ClaimDecision.REPRODUCED}
        return tuple(pair for pair in self.disputed_pairs if held.issuperset(pair))

    def verdict_of(self, claim: str) -> ClaimVerdict | None:
        """Return the verdict on a claim; None if it was not judged."""
        both = (*self.verdicts, *self.beside)
        return next((verdict for verdict in both if verdict.claim.id == claim), None)

    @property
    def settling(self) -> tuple[tuple[str, tuple[ClaimVerdict, ...]], ...]:
        """Experiment -> the open claims that more seeds of it can settle; claims about artefacts are left out."""
        found: dict[str, list[ClaimVerdict]] = {}
        for verdict in self.verdicts:
            for name in verdict.settled_by:
                found.setdefault(name, []).append(verdict)
        return tuple((name, tuple(verdicts)) for name, verdicts in sorted(found.items()))


def disputes_of(citations: Iterable[Citation]) -> dict[str, tuple[str, ...]]:
    """Return claim id -> the claims that it disputes or that dispute it."""
    found: dict[str, tuple[str, ...]] = {}
    for claim in (claim for citation in citations for claim in citation.claims):
        for other in claim.disputes:
            found[claim.id] = _with(found.get(claim.id, ()), other)
            found[other] = _with(found.get(other, ()), claim.id)
    return found


def _with(known: tuple[str, ...], more: str) -> tuple[str, ...]:
    return known if more in known else (*known, more)

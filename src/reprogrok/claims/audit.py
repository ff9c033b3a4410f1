"""Claims and the available evidence -> verdicts; nothing is trained, and the same input gives the same audit.

    Citation, ... + Evidence --judge_claims--> Audit(ClaimVerdict(Judgement, Arm, ...), ...)

    tier          evidence                                can be contradicted by
    bitwise       one seed on the device that is named    a different outcome of that seed there
    numeric       one artefact                            a number outside the claimed region
    statistical   replicas over seeds                     an interval outside the claimed region, or a test

A claim that cannot be decided is INCONCLUSIVE and names the missing evidence. Numbers of different definitions are
never compared.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.random import Generator

from reprogrok.claims.artefacts import disagreement, judge_artefact, judge_one, judge_pair
from reprogrok.claims.claims import Citation, Claim, Order, Quantity, Subject, Tier
from reprogrok.claims.evidence import Evidence, Observation
from reprogrok.claims.judgements import ClaimDecision, Judgement
from reprogrok.claims.measurements import Measurement, Missing
from reprogrok.claims.text import value_text
from reprogrok.claims.trainings import judge_training, judge_trainings, least_seeds
from reprogrok.claims.verdict import Arm, Audit, ClaimVerdict, device_of, disputes_of
from reprogrok.files import sha256_bytes
from reprogrok.spec.experiment import DEVICES
from reprogrok.text import counted

TRAINED = "experiment"
ANY_DEVICE = "any"
NOTHING = "nothing to judge by"
SAME_SEED = "the same seed on the same kind of device"

# Quantities that only replicas that got somewhere have: leaving out the others would favour these.
_OF_SOME_OUTCOMES = {"delay_factor", "delay_factor_most", "highest_spike"}
_MIRRORED = {
    Order.EARLIER: Order.LATER,
    Order.LATER: Order.EARLIER,
    Order.HIGHER: Order.LOWER,
    Order.LOWER: Order.HIGHER,
    Order.MORE_OFTEN: Order.LESS_OFTEN,
    Order.LESS_OFTEN: Order.MORE_OFTEN,
}


def judge_claims(
    citations: Sequence[Citation],
    known: Evidence,
    *,
    generator_of: Callable[[Claim], Generator],
    chosen: Collection[str] | None = None,
    costs: Mapping[str, str] | None = None,
) -> Audit:
    """Judge claims by the evidence.

    Args:
        citations: every document, so that disputes between documents can be shown.
        known: the evidence.
        generator_of: source of randomness for the permutation tests of one claim; see `generator_of_id`.
        chosen: ids of the claims to judge; None for all.
        costs: experiment -> the cost of one seed, for the reports.
    """
    claims = [(claim, citation.file) for citation in citations for claim in citation.claims]
    disputes = disputes_of(citations)
    asked = {claim.id for claim, _ in claims if chosen is None or claim.id in chosen}
    beside = {other for name in asked for other in disputes.get(name, ())} - asked
    verdicts = {
        claim.id: judge_claim(claim, file, known, generator_of(claim))
        for claim, file in claims
        if claim.id in asked or claim.id in beside
    }
    return Audit(
        citations=tuple(citations),
        verdicts=tuple(verdict for name, verdict in verdicts.items() if name in asked),
        left_out=tuple(dict.fromkeys(reason for _, reason in known.left_out)),
        costs=costs or {},
        beside=tuple(verdict for name, verdict in verdicts.items() if name in beside),
    )


def generator_of_id(claim: Claim) -> Generator:
    """Return a generator seeded by the claim's id alone, so that a verdict does not depend on the other claims."""
    return np.random.Generator(np.random.Philox(key=int(sha256_bytes(claim.id.encode())[:32], 16)))


def judge_claim(claim: Claim, source: str, known: Evidence, generator: Generator) -> ClaimVerdict:
    """Judge one claim."""
    if claim.tier is Tier.BITWISE and claim.subject.kind == TRAINED:
        judgement, arms = _same_seed(claim, known)
    else:
        arms = _arms(claim, known)
        judgement = _judge(claim, arms, known, generator)
    return ClaimVerdict(claim, source, judgement, arms)


def _arms(claim: Claim, known: Evidence) -> tuple[Arm, ...]:
    subjects = [claim.subject] if claim.against is None else [claim.subject, claim.against]
    return tuple(Arm(subject, _replicas(subject, claim.quantity, known)) for subject in subjects)


def _replicas(subject: Subject, quantity: Quantity, known: Evidence) -> tuple[Observation, ...]:
    """Return every observation, and an empty one for each replica that was followed and lacks the quantity.

    These are the replicas of the same file or run, and wherever they are those that would have the quantity had they
    gone otherwise: leaving them out would count only the successes of runs that were stopped early.
    """
    found = known.observations(subject, quantity)
    used, seeds = {seen.origin for seen in found}, {seen.seed for seen in found}
    silent = {
        seed: Observation(subject, quantity, seed=seed, ran_on=source.ran_on, origin=source.origin)
        for source in known.sources
        if found and source.subject == subject
        for seed in source.seeds
        if seed not in seeds
        and (source.origin in used or quantity.name in _OF_SOME_OUTCOMES or _left_open(source.measure(seed, quantity)))
    }
    return (*found, *silent.values())


def _left_open(found: Measurement) -> bool:
    return isinstance(found, Missing) and found.open


def _judge(claim: Claim, arms: Sequence[Arm], known: Evidence, generator: Generator) -> Judgement:
    nothing = tuple(arm for arm in arms if not arm.observations)
    if nothing:
        return _nothing(claim, nothing, known)
    other = next((seen for arm in arms for seen in arm.observations if seen.quantity != claim.quantity), None)
    if other is not None:
        return _other_definition(claim.quantity, other)
    if isinstance(claim.expect, Order):
        return _ordered(claim.expect, arms, generator)
    (arm,) = arms
    judge = judge_training if arm.subject.kind == TRAINED else judge_artefact
    return judge(arm.observations, claim.expect)


def _ordered(order: Order, arms: Sequence[Arm], generator: Generator) -> Judgement:
    torn = next((arm for arm in arms if arm.subject.kind != TRAINED and len(arm.observations) > 1), None)
    if torn is not None:
        return disagreement(torn.observations)
    first, second = (arm.observations for arm in arms)
    trained = [arm.subject.kind == TRAINED for arm in arms]
    if trained[0]:
        return judge_trainings(first, second, order, generator)
    if trained[1]:
        return judge_trainings(second, first, _MIRRORED[order], generator)
    return judge_pair(first, second, order)


def _nothing(claim: Claim, arms: Sequence[Arm], known: Evidence) -> Judgement:
    """Name the missing evidence and, for trainings, the least number of seeds that can decide."""
    missing = "; ".join(dict.fromkeys(_missing(arm.subject, claim.quantity, known) for arm in arms))
    trained = any(arm.subject.kind == TRAINED for arm in arms)
    seeds = least_seeds(claim.expect) if trained else None
    if seeds is not None:
        missing += f"; at least {counted(seeds, 'seed')}, if they all agree"
    return Judgement(ClaimDecision.INCONCLUSIVE, NOTHING, missing=missing, seeds_needed=seeds)


def _missing(subject: Subject, quantity: Quantity, known: Evidence) -> str:
    """Return why nothing was observed; for a training that was never run, just that runs are missing."""
    trained = any(source.subject == subject for source in known.sources)
    left_out = any(left == subject for left, _ in known.left_out)
    if subject.kind != TRAINED or trained or left_out:
        return known.missing(subject, quantity)
    return f"runs of {subject.name}"


def _other_definition(asked: Quantity, observation: Observation) -> Judgement:
    wanted, found = _definition(asked), _definition(observation.quantity)
    numbers = f"{value_text(observation)} by {found}"
    return Judgement(
        ClaimDecision.INCONCLUSIVE, NOTHING, numbers, f"an observation by {wanted}; {found} is not comparable"
    )


def _definition(quantity: Quantity) -> str:
    return " ".join(f"{name} {value}" for name, value in quantity.as_dict().items() if name != "name")


def _same_seed(claim: Claim, known: Evidence) -> tuple[Judgement, tuple[Arm, ...]]:
    """Judge a claim about one seed: only a difference on the claim's device contradicts it."""
    found = [
        seen
        for device in (None, *DEVICES)
        for seen in known.observations(claim.subject, claim.quantity, device)
        if seen.seed == claim.seed
    ]
    seen_once = tuple(seen for index, seen in enumerate(found) if seen not in found[:index])
    arms = (Arm(claim.subject, seen_once),)
    if not seen_once:
        where = "every device" if claim.device == ANY_DEVICE else claim.device
        missing = f"{_missing(claim.subject, claim.quantity, known)}, seed {claim.seed} on {where}"
        return Judgement(ClaimDecision.INCONCLUSIVE, SAME_SEED, missing=missing), arms
    other = next((seen for seen in seen_once if seen.quantity != claim.quantity), None)
    if other is not None:
        return _other_definition(claim.quantity, other), arms
    return _on_devices(claim, seen_once), arms


def _on_devices(claim: Claim, observations: Sequence[Observation]) -> Judgement:
    wanted = DEVICES if claim.device == ANY_DEVICE else (str(claim.device),)
    judgements = [(device_of(seen) or "an unknown device", judge_one(seen, claim.expect)) for seen in observations]
    numbers = "; ".join(f"seed {claim.seed} on {device}: {judgement.numbers}" for device, judgement in judgements)
    counted = [judgement for device, judgement in judgements if device in wanted]
    blank = Judgement(ClaimDecision.INCONCLUSIVE, SAME_SEED, numbers)
    if any(judgement.decision is ClaimDecision.CONTRADICTED for judgement in counted):
        note = "says nothing of how often other seeds come out so"
        return replace(blank, decision=ClaimDecision.CONTRADICTED, notes=(note,))
    undecided = next((judgement for judgement in counted if judgement.decision is ClaimDecision.INCONCLUSIVE), None)
    if undecided is not None:
        return replace(blank, missing=undecided.missing)
    unseen = [device for device in wanted if device not in {device for device, _ in judgements}]
    if not unseen:
        return replace(blank, decision=ClaimDecision.REPRODUCED)
    agree = all(judgement.decision is ClaimDecision.REPRODUCED for _, judgement in judgements)
    there = "agrees, but not on the same fingerprint" if agree else "another device contradicts nothing"
    return replace(blank, missing=f"seed {claim.seed} on {', '.join(unseen)} ({there})")

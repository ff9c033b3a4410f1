"""An audit -> its JSON document, by `audit.schema.json`; every number with its n, test and interval."""

from __future__ import annotations

import math

from reprogrok import __version__
from reprogrok.claims.claims import Subject
from reprogrok.claims.evidence import Observation
from reprogrok.claims.evidence_files import plain_bounds, plain_time
from reprogrok.claims.text import expectation_text
from reprogrok.claims.verdict import Arm, Audit, ClaimVerdict, device_of
from reprogrok.files import pretty_json
from reprogrok.schema import check_written

FORMAT = "reprogrok.audit/1"


def as_json(audit: Audit) -> bytes:
    """Return the audit as JSON text, checked against its schema.

    Raises:
        InputError: it breaks the schema, which is a defect of this program.
    """
    document = document_of(audit)
    check_written(document, "audit")
    return pretty_json(document)


def document_of(audit: Audit) -> dict[str, object]:
    """Return the audit as plain data; an unbounded end is null."""
    return {
        "format": FORMAT,
        "reprogrok": __version__,
        "exit_code": int(audit.exit_code),
        "verdicts": {decision.value: count for decision, count in audit.count().items()},
        "chance": {
            "decided_by_statistics": len(audit.by_statistics),
            "expected_wrong_at_most": audit.expected_wrong,
            "adjustment": "holm",
        },
        "clashes": [list(pair) for pair in audit.clashes],
        "left_out": list(audit.left_out),
        "sources": [
            {
                "file": citation.file,
                "title": citation.title,
                "date": citation.date,
                "sha256": citation.sha256,
                "claims": citation.path.as_posix(),
                "verdicts": {decision.value: count for decision, count in audit.count(citation.file).items()},
            }
            for citation in audit.citations
        ],
        "claims": [_claim(audit, verdict) for verdict in audit.verdicts],
        "settled_by": [
            {
                "experiment": name,
                "cost_per_seed": audit.costs.get(name) or None,
                "claims": [verdict.claim.id for verdict in verdicts],
                "more_seeds": max((verdict.settled_by[name] or 1 for verdict in verdicts), default=1),
            }
            for name, verdicts in audit.settling
        ],
    }


def _claim(audit: Audit, verdict: ClaimVerdict) -> dict[str, object]:
    claim, judgement = verdict.claim, verdict.judgement
    return {
        "id": claim.id,
        "source": verdict.source,
        "at": claim.at,
        "words": claim.words,
        "says": claim.says,
        "kind": claim.kind,
        "tier": claim.tier.value,
        "subject": _subject(claim.subject),
        "against": None if claim.against is None else _subject(claim.against),
        "seed": claim.seed,
        "device": claim.device,
        "quantity": claim.quantity.as_dict(),
        "expected": expectation_text(claim.expect),
        "contradicted_by": claim.contradicted_by,
        "disputes": list(audit.disputes.get(claim.id, ())),
        "verdict": verdict.decision.value,
        "test": judgement.test,
        "numbers": judgement.numbers,
        "missing": judgement.missing,
        "seeds_needed": judgement.seeds_needed,
        "p": judgement.p,
        "p_adjusted": audit.adjusted.get(claim.id),
        "interval": None if judgement.interval is None else [_finite(end) for end in judgement.interval],
        "error_bound": judgement.error_bound,
        "notes": [*judgement.notes, *([] if claim.note is None else [claim.note])],
        "evidence": [_arm(arm) for arm in verdict.arms],
    }


def _arm(arm: Arm) -> dict[str, object]:
    return {"subject": _subject(arm.subject), "observations": [_observation(seen) for seen in arm.observations]}


def _observation(seen: Observation) -> dict[str, object]:
    plain: dict[str, object] = {"origin": seen.origin, "seed": seen.seed, "device": device_of(seen)}
    plain |= {"value": seen.value, "word": seen.word, "k": seen.k, "n": seen.n}
    plain |= {} if seen.bounds is None else plain_bounds(seen.bounds)
    plain |= {} if seen.time is None else plain_time(seen.time)
    plain |= {"updates": seen.updates, "planned": seen.planned}
    return {name: value for name, value in plain.items() if value is not None}


def _subject(subject: Subject) -> dict[str, str]:
    return {subject.kind: subject.name}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None

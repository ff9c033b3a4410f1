"""An audit -> the console: a table of verdicts for each document and a summary, or one claim in full."""

from __future__ import annotations

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from reprogrok.claims import text
from reprogrok.claims.judgements import ClaimDecision
from reprogrok.claims.verdict import Audit, ClaimVerdict, device_of
from reprogrok.text import counted

_STYLES = {
    ClaimDecision.REPRODUCED: "green",
    ClaimDecision.CONTRADICTED: "bold red",
    ClaimDecision.INCONCLUSIVE: "yellow",
}
_SHOWN = 12  # observations of one side; the JSON document holds all


def print_audit(audit: Audit, console: Console) -> None:
    """Print the verdicts by document, then a summary."""
    for citation in audit.citations:
        verdicts = audit.on(citation)
        if not verdicts:
            continue
        console.print(Text(f"{citation.title} ({citation.file})", style="bold"), soft_wrap=True)
        table = Table(box=SIMPLE)
        for name in ("claim", "verdict", "claimed", "observed, of how much, or what is missing"):
            table.add_column(name, overflow="fold")
        for verdict in verdicts:
            table.add_row(
                f"{verdict.claim.id} (line {verdict.claim.at})",
                decision_text(verdict.decision),
                text.claimed(verdict.claim),
                _observed(verdict),
            )
        console.print(table)
    _print_clashes(audit, console)
    _print_summary(audit, console)


def _observed(verdict: ClaimVerdict) -> str:
    seen = any(arm.observations for arm in verdict.arms)
    return f"{text.reason(verdict)} ({text.sizes(verdict)})" if seen else text.reason(verdict)


def decision_text(decision: ClaimDecision) -> Text:
    """Return the decision in its colour."""
    return Text(decision.value, style=_STYLES[decision])


def _print_clashes(audit: Audit, console: Console) -> None:
    for pair in audit.clashes:
        console.print(Text(f"IMPOSSIBLE: {text.clash_text(pair)}", style="bold red"), soft_wrap=True)


def _print_summary(audit: Audit, console: Console) -> None:
    counts = ", ".join(f"{count} {decision.value}" for decision, count in audit.count().items())
    console.print(Text(f"{counted(len(audit.verdicts), 'claim')}: {counts}", style="bold"), soft_wrap=True)
    console.print(text.chance_text(audit), soft_wrap=True)
    for line in audit.left_out:
        console.print(f"not used: {line}", soft_wrap=True)


def print_claim(audit: Audit, verdict: ClaimVerdict, console: Console) -> None:
    """Print one claim in full: its words, the claimed value, the evidence, the test, and the missing evidence."""
    claim, judgement = verdict.claim, verdict.judgement
    console.print(Text.assemble((claim.id, "bold"), ": ", decision_text(verdict.decision)), soft_wrap=True)
    lines: list[tuple[str, str | None]] = [
        ("words", f'"{claim.words}" ({verdict.source}, line {claim.at})'),
        ("that is", claim.says),
        ("claimed", text.claimed(claim)),
        ("definition", text.definitions(claim.quantity)),
        ("tier", _tier(verdict)),
        ("would contradict it", claim.contradicted_by),
        *(("evidence", text.arm_text(arm)) for arm in verdict.arms),
        ("from", ", ".join(text.origins(verdict)) or None),
        ("test", judgement.test),
        ("numbers", judgement.numbers or None),
        ("interval", text.interval_text(judgement.interval)),
        ("p", _p(audit, verdict)),
        ("missing", judgement.missing),
        *_cost(audit, verdict),
        *(("note", note) for note in judgement.notes),
        ("note", claim.note),
        *(("disputed with", _other(audit, other)) for other in audit.disputes.get(claim.id, ())),
    ]
    for name, value in lines:
        if value is not None:
            console.print(f"  {name}: {value}", soft_wrap=True)
    _print_observations(verdict, console)
    for line in audit.left_out:
        console.print(f"  not used: {line}", soft_wrap=True)
    _print_clashes(audit, console)


def _tier(verdict: ClaimVerdict) -> str:
    claim = verdict.claim
    if claim.seed is None:
        return claim.tier.value
    where = "every device" if claim.device == "any" else claim.device
    return f"{claim.tier.value}: seed {claim.seed} on {where}"


def _p(audit: Audit, verdict: ClaimVerdict) -> str | None:
    if verdict.judgement.p is None:
        return None
    if len(audit.verdicts) == 1:
        return f"{verdict.judgement.p:.3g}"
    adjusted = audit.adjusted[verdict.claim.id]
    return f"{verdict.judgement.p:.3g}; {adjusted:.3g} adjusted (Holm) for the claims judged here"


def _cost(audit: Audit, verdict: ClaimVerdict) -> list[tuple[str, str | None]]:
    if not verdict.judgement.is_open:
        return []
    subjects = [arm.subject for arm in verdict.arms if arm.subject.kind == "experiment"]
    costs = [(f"one seed of {subject.name}", audit.costs.get(subject.name) or None) for subject in subjects]
    return [*costs, ("to go on", f"`reprogrok reproduce {verdict.claim.id}`")] if verdict.settled_by else []


def _other(audit: Audit, other: str) -> str:
    verdict = audit.verdict_of(other)
    return other if verdict is None else f"{other}, {verdict.decision.value}: {verdict.claim.says}"


def _print_observations(verdict: ClaimVerdict, console: Console) -> None:
    for arm in verdict.arms:
        if not arm.observations:
            continue
        table = Table(box=SIMPLE, title=str(arm.subject), title_justify="left")
        for name in ("seed", "device", "observed", "from"):
            table.add_column(name, overflow="fold")
        for seen in arm.observations[:_SHOWN]:
            seed = text.NOTHING if seen.seed is None else str(seen.seed)
            table.add_row(seed, device_of(seen) or text.NOTHING, text.value_text(seen), seen.origin)
        console.print(table)
        if len(arm.observations) > _SHOWN:
            console.print(f"  {len(arm.observations) - _SHOWN} more in the JSON", soft_wrap=True)

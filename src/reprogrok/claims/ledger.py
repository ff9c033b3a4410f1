"""An audit -> `audit/LEDGER.md`: every claim with its verdict, numbers and evidence, for readers of the repository.

It holds no dates, no versions and only relative paths, so that a fresh clone gives the same bytes. Sections: counts,
verdicts that chance can make wrong, contradicted claims, disputes between documents, the claims of each document, and
the evidence that would settle the open ones.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePath

from reprogrok.claims import text
from reprogrok.claims.claims import Citation
from reprogrok.claims.judgements import ClaimDecision
from reprogrok.claims.verdict import Audit, ClaimVerdict
from reprogrok.text import counted

COMMAND = "reprogrok audit --no-runs --ledger audit/LEDGER.md"
_MARKS = {
    ClaimDecision.REPRODUCED: "reproduced",
    ClaimDecision.CONTRADICTED: "**contradicted**",
    ClaimDecision.INCONCLUSIVE: "inconclusive",
}
_SPECIAL = str.maketrans({"|": "\\|", "<": "&lt;", "*": "\\*", "\n": " "})


def as_ledger(audit: Audit, folder: Path) -> bytes:
    """Return the ledger as Markdown.

    Args:
        audit: all claims, judged by committed evidence.
        folder: the folder of the ledger, which its links start from.
    """
    parts = [
        _head(audit),
        _chance(audit),
        _contradicted(audit),
        _disagreements(audit),
        *(_document(audit, citation, folder) for citation in audit.citations if audit.on(citation)),
        _settling(audit),
        _left_out(audit),
    ]
    return ("\n\n".join(part for part in parts if part) + "\n").encode()


def _head(audit: Audit) -> str:
    rows = [
        (_link(citation.title, _anchor(citation)), *_counts(audit.count(citation.file)))
        for citation in audit.citations
        if audit.on(citation)
    ]
    rows.append(("all", *_counts(audit.count())))
    about = (
        f"Written by `{COMMAND}`; do not edit. It judges every claim in `audit/claims/` by what is committed here: the"
        " files of `audit/evidence/`, the manifests of the provided checkpoints, and what follows from `params.yaml`"
        " without training. Runs that are not committed do not count. `reprogrok audit CLAIM` explains one in full."
    )
    table = _table(("Document", "Reproduced", "Contradicted", "Inconclusive"), rows)
    return f"# Ledger of claims\n\n{about}\n\n{table}"


def _counts(count: dict[ClaimDecision, int]) -> list[str]:
    return [str(count[decision]) for decision in ClaimDecision]


def _chance(audit: Audit) -> str:
    rows = [
        (_claim_link(verdict.claim.id), _MARKS[verdict.decision], f"{verdict.judgement.p:.3g}", f"{adjusted:.3g}")
        for verdict in audit.verdicts
        if verdict.judgement.p is not None and (adjusted := audit.adjusted[verdict.claim.id]) is not None
    ]
    parts = ["## What chance can do", text.chance_text(audit)]
    if rows:
        parts.append("Claims that a test gives a p for, adjusted for all of them together (Holm):")
        parts.append(_table(("Claim", "Verdict", "p", "Adjusted"), rows))
    return "\n\n".join(parts)


def _contradicted(audit: Audit) -> str:
    found = [verdict for verdict in audit.verdicts if verdict.decision is ClaimDecision.CONTRADICTED]
    if not found:
        return ""
    lines = [f"- {_claim_link(v.claim.id)}: {_text(v.claim.says)} Found: {_text(v.judgement.numbers)}." for v in found]
    return "\n\n".join(("## Negative results: what the evidence contradicts", "\n".join(lines)))


def _disagreements(audit: Audit) -> str:
    pairs = audit.disputed_pairs
    if not pairs:
        return ""
    rows = [tuple(_side(audit, name) for name in pair) for pair in pairs]
    clashes = [f"> **Impossible:** {_text(text.clash_text(pair))}" for pair in audit.clashes]
    intro = "Claims that cannot be true together, and what each came to."
    table = _table(("One document", "Another"), rows)
    return "\n\n".join(("## Where documents disagree", intro, *clashes, table))


def _side(audit: Audit, name: str) -> str:
    verdict = audit.verdict_of(name)
    if verdict is None:
        return _code(name)
    return f"{_claim_link(name)}, {_MARKS[verdict.decision]}: {_text(verdict.claim.says)}"


def _document(audit: Audit, citation: Citation, folder: Path) -> str:
    rows = [
        (
            f'<a id="{verdict.claim.id}"></a>{_code(verdict.claim.id)}, line {verdict.claim.at}',
            _text(verdict.claim.says),
            _MARKS[verdict.decision],
            _grounds(verdict, folder),
        )
        for verdict in audit.on(citation)
    ]
    about = f"Words and lines are those of {_code(citation.file)}; the claims are in {_file(citation.path, folder)}."
    table = _table(("Claim", "What is claimed", "Verdict", "Grounds"), rows)
    return "\n\n".join((f"## {citation.title}", about, table))


def _grounds(verdict: ClaimVerdict, folder: Path) -> str:
    """Return numbers, test, n, devices and files; for a claim without observations only the missing evidence."""
    judgement = verdict.judgement
    if not text.origins(verdict):
        return _text(text.reason(verdict))
    seen = [text.sizes(verdict)]
    if (devices := text.devices(verdict)) != text.NOTHING:
        seen.append(devices)
    files = ", ".join(_file(PurePath(origin), folder) for origin in text.origins(verdict))
    parts = [_text(text.reason(verdict)), f"{_text(judgement.test)}; {', '.join(seen)}; {files}"]
    parts += [_text(note) for note in judgement.notes]
    return "<br>".join(parts)


def _settling(audit: Audit) -> str:
    """List the experiments whose runs would settle or narrow open claims, then the claims that no run can settle."""
    rows = [
        (
            _code(name),
            ", ".join(_claim_link(verdict.claim.id) for verdict in verdicts),
            _more_seeds(name, verdicts),
            _text(audit.costs.get(name) or text.NOTHING),
        )
        for name, verdicts in audit.settling
    ]
    trained = {verdict.claim.id for _, verdicts in audit.settling for verdict in verdicts}
    others = [
        f"- {_claim_link(verdict.claim.id)}: {_text(verdict.judgement.missing or text.NOTHING)}"
        for verdict in audit.verdicts
        if verdict.judgement.is_open and verdict.claim.id not in trained
    ]
    if not rows and not others:
        return ""
    parts = ["## What would settle the rest"]
    if rows:
        parts.append(
            "`reprogrok reproduce CLAIM` trains what is missing and judges again. Seeds are those to add, for the claim"
            " that needs most; costs are per seed."
        )
        parts.append(_table(("Experiment", "Open claims", "More seeds", "One seed takes"), rows))
    if others:
        parts.append("No number of seeds decides these, as they stand:")
        parts.append("\n".join(others))
    return "\n\n".join(parts)


def _more_seeds(name: str, verdicts: Sequence[ClaimVerdict]) -> str:
    """Return the most seeds that any of the claims needs, and the named seeds of claims about one seed."""
    needed = [seeds for verdict in verdicts if (seeds := verdict.settled_by[name]) is not None]
    named = [
        f"seed {verdict.claim.seed} on {'every device' if verdict.claim.device == 'any' else verdict.claim.device}"
        for verdict in verdicts
        if verdict.claim.seed is not None
    ]
    return ", ".join([*([f"{max(needed):,}"] if needed else []), *dict.fromkeys(named)])


def _left_out(audit: Audit) -> str:
    if not audit.left_out:
        return ""
    lines = "\n".join(f"- {_text(line)}" for line in audit.left_out)
    return "\n\n".join((f"## Not used ({counted(len(audit.left_out), 'observation')})", lines))


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _text(clause: str) -> str:
    """Escape a text for a table of Markdown."""
    return clause.translate(_SPECIAL)


def _code(name: str) -> str:
    return f"`{name}`"


def _claim_link(name: str) -> str:
    return _link(_code(name), f"#{name}")


def _link(label: str, target: str) -> str:
    return f"[{label}]({target})"


def _anchor(citation: Citation) -> str:
    """Return GitHub's anchor of a heading: lower case, hyphens for blanks, no punctuation."""
    kept = "".join(letter for letter in citation.title.lower() if letter.isalnum() or letter in " -_")
    return "#" + kept.replace(" ", "-")


def _file(path: PurePath, folder: Path) -> str:
    return _link(path.name, PurePath(os.path.relpath(path, folder)).as_posix())

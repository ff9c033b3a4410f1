"""An audit -> `audit/LEDGER.md`: every claim with its verdict, numbers and evidence, for readers of the repository.

No dates, no versions, no paths but relative ones: a fresh clone gives the same bytes. Sections: what it comes to, what
chance can do, what was contradicted, where documents disagree, every document's claims, and what would settle the rest.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePath

from reprogrok.claims import text as words
from reprogrok.claims.claims import Source
from reprogrok.claims.tests import Decision
from reprogrok.claims.verdict import Audit, ClaimVerdict
from reprogrok.text import counted

COMMAND = "reprogrok audit --no-runs --ledger audit/LEDGER.md"
_MARKS = {
    Decision.REPRODUCED: "reproduced",
    Decision.CONTRADICTED: "**contradicted**",
    Decision.INCONCLUSIVE: "inconclusive",
}
_SPECIAL = str.maketrans({"|": "\\|", "<": "&lt;", "*": "\\*", "\n": " "})


def as_ledger(audit: Audit, folder: Path) -> bytes:
    """The ledger as Markdown.

    Args:
        audit: all claims judged, by what is committed.
        folder: where the ledger will stand, which its links start from.
    """
    parts = [
        _head(audit),
        _chance(audit),
        _contradicted(audit),
        _disagreements(audit),
        *(_document(audit, source, folder) for source in audit.sources if audit.of_source(source)),
        _settling(audit),
        _left_out(audit),
    ]
    return ("\n\n".join(part for part in parts if part) + "\n").encode()


def _head(audit: Audit) -> str:
    rows = [
        (_link(source.title, _anchor(source)), *_counts(audit.count(source.file)))
        for source in audit.sources
        if audit.of_source(source)
    ]
    rows.append(("all", *_counts(audit.count())))
    about = (
        f"Written by `{COMMAND}`; do not edit. It judges every claim in `audit/claims/` by what is committed here: the"
        " files of `audit/evidence/`, the manifests of the provided checkpoints, and what follows from `params.yaml`"
        " without training. Runs that are not committed do not count. `reprogrok audit CLAIM` explains one in full."
    )
    table = _table(("Document", "Reproduced", "Contradicted", "Inconclusive"), rows)
    return f"# Ledger of claims\n\n{about}\n\n{table}"


def _counts(count: dict[Decision, int]) -> list[str]:
    return [str(count[decision]) for decision in Decision]


def _chance(audit: Audit) -> str:
    rows = [
        (_claim_link(verdict.claim.id), _MARKS[verdict.decision], f"{verdict.finding.p:.3g}", f"{adjusted:.3g}")
        for verdict in audit.verdicts
        if verdict.finding.p is not None and (adjusted := audit.adjusted[verdict.claim.id]) is not None
    ]
    parts = ["## What chance can do", words.chance_text(audit)]
    if rows:
        parts.append("Claims that a test gives a p for, adjusted for all of them together (Holm):")
        parts.append(_table(("Claim", "Verdict", "p", "Adjusted"), rows))
    return "\n\n".join(parts)


def _contradicted(audit: Audit) -> str:
    found = [verdict for verdict in audit.verdicts if verdict.decision is Decision.CONTRADICTED]
    if not found:
        return ""
    lines = [f"- {_claim_link(v.claim.id)}: {_text(v.claim.says)} Found: {_text(v.finding.numbers)}." for v in found]
    return "\n\n".join(("## Negative results: what the evidence contradicts", "\n".join(lines)))


def _disagreements(audit: Audit) -> str:
    pairs = audit.disputed_pairs
    if not pairs:
        return ""
    rows = [tuple(_side(audit, name) for name in pair) for pair in pairs]
    clashes = [f"> **Impossible:** {_text(words.clash_text(pair))}" for pair in audit.clashes]
    intro = "Claims that cannot be true together, and what each came to."
    table = _table(("One document", "Another"), rows)
    return "\n\n".join(("## Where documents disagree", intro, *clashes, table))


def _side(audit: Audit, name: str) -> str:
    verdict = audit.verdict_of(name)
    if verdict is None:
        return _code(name)
    return f"{_claim_link(name)}, {_MARKS[verdict.decision]}: {_text(verdict.claim.says)}"


def _document(audit: Audit, source: Source, folder: Path) -> str:
    rows = [
        (
            f'<a id="{verdict.claim.id}"></a>{_code(verdict.claim.id)}, line {verdict.claim.at}',
            _text(verdict.claim.says),
            _MARKS[verdict.decision],
            _grounds(verdict, folder),
        )
        for verdict in audit.of_source(source)
    ]
    about = f"Words and lines are those of {_code(source.file)}; the claims are in {_file(source.path, folder)}."
    table = _table(("Claim", "What is claimed", "Verdict", "Grounds"), rows)
    return "\n\n".join((f"## {source.title}", about, table))


def _grounds(verdict: ClaimVerdict, folder: Path) -> str:
    """Numbers, test, n, devices, files: of a claim without any observation only what is not there."""
    finding = verdict.finding
    if not words.origins(verdict):
        return _text(words.reason(verdict))
    seen = [words.sizes(verdict)]
    if (devices := words.devices(verdict)) != words.NOTHING:
        seen.append(devices)
    files = ", ".join(_file(PurePath(origin), folder) for origin in words.origins(verdict))
    parts = [_text(words.reason(verdict)), f"{_text(finding.test)}; {', '.join(seen)}; {files}"]
    parts += [_text(note) for note in finding.notes]
    return "<br>".join(parts)


def _settling(audit: Audit) -> str:
    """Experiments whose runs would settle or narrow what is open, then what no run of ours can settle."""
    rows = [
        (
            _code(name),
            ", ".join(_claim_link(verdict.claim.id) for verdict in verdicts),
            _more_seeds(name, verdicts),
            _text(audit.costs.get(name) or words.NOTHING),
        )
        for name, verdicts in audit.settling
    ]
    trained = {verdict.claim.id for _, verdicts in audit.settling for verdict in verdicts}
    others = [
        f"- {_claim_link(verdict.claim.id)}: {_text(verdict.finding.missing or words.NOTHING)}"
        for verdict in audit.verdicts
        if verdict.decision is Decision.INCONCLUSIVE and verdict.claim.id not in trained
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
    """The most that any of the claims needs; a claim about one seed needs that one, on its device."""
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


def _text(text: str) -> str:
    """A text as Markdown shows it, safe inside a table."""
    return text.translate(_SPECIAL)


def _code(text: str) -> str:
    return f"`{text}`"


def _claim_link(name: str) -> str:
    return _link(_code(name), f"#{name}")


def _link(text: str, target: str) -> str:
    return f"[{text}]({target})"


def _anchor(source: Source) -> str:
    """GitHub's own anchor of a heading: lower case, blanks to hyphens, no punctuation."""
    kept = "".join(letter for letter in source.title.lower() if letter.isalnum() or letter in " -_")
    return "#" + kept.replace(" ", "-")


def _file(path: PurePath, folder: Path) -> str:
    return _link(path.name, PurePath(os.path.relpath(path, folder)).as_posix())

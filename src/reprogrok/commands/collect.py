"""`reprogrok collect`: runs, logs, evaluations and certificates -> a file of evidence."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from reprogrok.certificate.certified import is_certificate, read_certified
from reprogrok.claims.claims import Quantity, Subject, all_claims, claims_files, load_citations
from reprogrok.claims.collection import (
    collect_certificate,
    collect_evaluation,
    collect_run,
    collect_settings,
    subject_of_run,
)
from reprogrok.claims.evidence_files import EvidenceEntry, write_evidence
from reprogrok.claims.replica_quantities import OURS
from reprogrok.errors import ExitCode, InputError
from reprogrok.files import check_writable
from reprogrok.formats.foreign_runs import read_run
from reprogrok.record import Record
from reprogrok.schema import check, load


def run(sources: Sequence[Path], *, output: Path, title: str, notes: Sequence[str], claims: Path) -> ExitCode:
    """Collect the standard quantities, and those of the claims, from each source and write them to one file.

    Raises:
        InputError: a source cannot be read, or the file cannot be written.
    """
    check_writable(output)
    requested = _requested(claims)
    entries: list[EvidenceEntry] = []
    logs: list[Record] = []
    for source in sources:
        if source.suffix == ".json":
            entries += _of_file(source)
            continue
        if not source.is_dir():
            raise InputError(path=source, expected="the folder of a run, a file of `eval --output`, or a certificate")
        read = read_run(source)
        entries.append(collect_run(read, requested.get(subject_of_run(read), [])))
        if read.layout != OURS:
            logs.append(read)
    entries += collect_settings(logs)
    write_evidence(output, title, _command(sources, output), entries, notes)
    sys.stdout.write(f"{output}: {len(entries)} collected\n")
    return ExitCode.PASS


def _of_file(path: Path) -> list[EvidenceEntry]:
    """Return the entry of a certificate, or those of the evaluations in a file of `eval --output`."""
    document = load(path)
    if is_certificate(document):
        return [collect_certificate(read_certified(path))]
    check(document, "evaluation")
    return list(map(collect_evaluation, document.data.get("evaluations", [document.data])))


def _requested(claims: Path) -> dict[Subject, list[Quantity]]:
    """Return subject -> the quantities that the claims of a folder ask of it; none if there is no such folder."""
    requested: dict[Subject, list[Quantity]] = {}
    if claims.is_dir():
        for claim in all_claims(load_citations(claims_files(claims))).values():
            for subject in (claim.subject, *(() if claim.against is None else (claim.against,))):
                requested.setdefault(subject, []).append(claim.quantity)
    return requested


def _command(sources: Sequence[Path], output: Path) -> str:
    """Return the command line without paths of this machine."""
    return f"reprogrok collect {' '.join(map(_place, sources))} --output {_place(output)}"


def _place(path: Path) -> str:
    inside = not path.is_absolute() and ".." not in path.parts
    return path.as_posix() if inside else path.resolve().name

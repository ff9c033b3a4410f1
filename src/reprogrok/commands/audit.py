"""`reprogrok audit`: claims and the available evidence -> verdicts, ledger and exit code; nothing is trained."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from reprogrok.claims.audit import generator_of_id, judge_claims
from reprogrok.claims.claims import Citation, all_claims, check_known, claims_files, load_citations
from reprogrok.claims.documents import as_json
from reprogrok.claims.evidence import CHECKPOINTS, gather
from reprogrok.claims.ledger import as_ledger
from reprogrok.claims.tables import print_audit, print_claim
from reprogrok.claims.verdict import Audit
from reprogrok.console import console
from reprogrok.errors import ExitCode, InputError
from reprogrok.files import check_writable, write_bytes
from reprogrok.params import read_params

# The defaults of the command line, which a project need not have.
_EVIDENCE, _RUNS, _PARAMS = Path("audit/evidence"), Path("runs"), Path("params.yaml")
_SUFFIXES = {".yaml", ".yml", ".json"}


def run(
    named: Sequence[str],
    *,
    claims: Path,
    evidence: Path,
    runs: Path,
    no_runs: bool,
    params: Path,
    output: Path | None,
    ledger: Path | None,
    as_document: bool,
) -> ExitCode:
    """Judge the claims and files of claims that are `named`, or all; write the requested files, print the verdicts.

    Raises:
        InputError: an input cannot be read, or options contradict each other.
    """
    for path in filter(None, (output, ledger)):
        check_writable(path)
    for option, folder, usual in (("--evidence", evidence, _EVIDENCE), ("--runs", runs, _RUNS)):
        if folder != usual and not folder.is_dir():
            raise InputError("no such folder", path=folder, field=option)
    if ledger is not None:
        _check_complete(named, no_runs=no_runs)
    judged = _judge(named, claims, evidence, None if no_runs else runs, params)
    if output is not None:
        write_bytes(output, as_json(judged))
    if ledger is not None:
        write_bytes(ledger, as_ledger(judged, ledger.parent))
    if as_document:
        sys.stdout.write(as_json(judged).decode())
    elif len(named) == 1 and not _is_file(named[0]):
        print_claim(judged, judged.verdicts[0], console())
    else:
        print_audit(judged, console())
    return judged.exit_code


def _check_complete(named: Sequence[str], *, no_runs: bool) -> None:
    """Check that a ledger holds every claim, judged as in a fresh clone.

    Raises:
        InputError: claims are named, or runs that are not committed would count.
    """
    if named:
        raise InputError("a ledger holds every claim", field="--ledger", expected="no claim named beside it")
    if not no_runs:
        message = "a ledger tells what a fresh clone tells"
        raise InputError(message, field="--ledger", expected="--no-runs beside it")


def _is_file(word: str) -> bool:
    """Return whether a word names a file, by its suffix, which no claim has."""
    return Path(word).suffix in _SUFFIXES


def _judge(named: Sequence[str], claims: Path, evidence: Path, runs: Path | None, params: Path) -> Audit:
    files = [Path(word) for word in named if _is_file(word)]
    # Disputes lead from one document to another, so all are read, whichever are judged.
    paths = {path.resolve(): path for path in (claims_files(claims) if claims.is_dir() or not files else [])}
    paths.update({path.resolve(): path for path in files if path.resolve() not in paths})
    citations = sorted(load_citations(list(paths.values())), key=lambda citation: citation.file)
    chosen = _chosen(named, citations, {path.resolve() for path in files}) if named else None
    read = read_params(params) if params.is_file() or params != _PARAMS else None
    known = gather(evidence, runs, CHECKPOINTS, read)
    costs = {} if read is None else {name: experiment.cost for name, experiment in read.experiments.items()}
    return judge_claims(citations, known, generator_of=generator_of_id, chosen=chosen, costs=costs)


def _chosen(named: Sequence[str], citations: Sequence[Citation], files: set[Path]) -> set[str]:
    """Return the ids that were named, one by one or by their file.

    Raises:
        InputError: there is no such claim; the message names the nearest ones.
    """
    chosen = {claim.id for citation in citations if citation.path.resolve() in files for claim in citation.claims}
    known = all_claims(citations)
    for word in named:
        if not _is_file(word):
            check_known(word, known)
            chosen.add(word)
    return chosen

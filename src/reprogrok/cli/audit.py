"""`reprogrok audit [CLAIM|FILE]...`: claims and the evidence at hand -> verdicts and the exit code; no training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reprogrok.cli.options import CHECKPOINTS, CLAIMS, EVIDENCE, PARAMS, Format
from reprogrok.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reprogrok.claims.claims import Source
    from reprogrok.claims.verdict import Audit

_CLAIMS, _EVIDENCE, _RUNS, _PARAMS = Path("audit/claims"), Path("audit/evidence"), Path("runs"), Path("params.yaml")
_SUFFIXES = {".yaml", ".yml", ".json"}


def audit(
    claims_or_files: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[CLAIM|FILE]...",
            help="Ids of claims, or files of claims; all claims if none is named.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[Path | None, typer.Option(metavar="FILE", help="Also write the verdicts as JSON.")] = None,
    output_format: Annotated[Format, typer.Option("--format", help="What is printed.")] = Format.TABLE,
    claims: CLAIMS = _CLAIMS,
    evidence: EVIDENCE = _EVIDENCE,
    runs: Annotated[Path, typer.Option(metavar="DIR", help="The folder of runs.")] = _RUNS,
    no_runs: Annotated[bool, typer.Option("--no-runs", help="Judge by what is committed alone.")] = False,
    ledger: Annotated[Path | None, typer.Option(metavar="FILE", help="Also write all verdicts as a ledger.")] = None,
    params: PARAMS = _PARAMS,
) -> None:
    """Judge published claims by the evidence at hand: REPRODUCED, CONTRADICTED or INCONCLUSIVE; nothing is trained.

    Evidence is what lies in --evidence, in --runs, in the manifests of the provided checkpoints, and what follows from
    params.yaml. One claim alone is explained in full. Of what cannot be decided it says what is missing.
    Exit code: 1 if any claim is contradicted, else 3 if any is left open, else 0; 2 if nothing can be judged.
    """
    from reprogrok.claims.documents import as_json
    from reprogrok.files import check_writable, write_bytes

    for path in (output, ledger):
        if path is not None:
            check_writable(path)
    for option, folder, usual in (("--evidence", evidence, _EVIDENCE), ("--runs", runs, _RUNS)):
        if folder != usual and not folder.is_dir():
            raise InputError("no such folder", path=folder, field=option)
    named = claims_or_files or []
    if ledger is not None and named:
        raise InputError("a ledger holds every claim", field="--ledger", expected="no claim named beside it")
    if ledger is not None and not no_runs:
        message = "a ledger tells what a fresh clone tells"
        raise InputError(message, field="--ledger", expected="--no-runs beside it")
    judged = _judge(named, claims, evidence, None if no_runs else runs, params)
    if output is not None:
        write_bytes(output, as_json(judged))
    if ledger is not None:
        from reprogrok.claims.ledger import as_ledger

        write_bytes(ledger, as_ledger(judged, ledger.parent))
    if output_format is Format.JSON:
        typer.echo(as_json(judged).decode(), nl=False)
    else:
        _print(judged, explained=len(named) == 1 and not _is_file(named[0]))
    raise typer.Exit(judged.exit_code)


def _is_file(word: str) -> bool:
    """Files are named by their suffix; no claim has one of these."""
    return Path(word).suffix in _SUFFIXES


def _judge(named: Sequence[str], claims: Path, evidence: Path, runs: Path | None, params: Path) -> Audit:
    from reprogrok.claims.audit import generator_of_id, judge_claims
    from reprogrok.claims.claims import claims_files, load_sources
    from reprogrok.claims.evidence import gather
    from reprogrok.params import read_params

    files = [Path(word) for word in named if _is_file(word)]
    # Disputes lead from one document to another, so all are read, whichever are judged.
    paths = {path.resolve(): path for path in (claims_files(claims) if claims.is_dir() or not files else [])}
    paths.update({path.resolve(): path for path in files if path.resolve() not in paths})
    sources = sorted(load_sources(list(paths.values())), key=lambda source: source.file)
    chosen = _chosen(named, sources, {path.resolve() for path in files}) if named else None
    experiments = read_params(params) if params.is_file() or params != _PARAMS else None
    known = gather(evidence, runs, CHECKPOINTS, experiments)
    costs = {} if experiments is None else {name: found.cost for name, found in experiments.experiments.items()}
    return judge_claims(sources, known, generator_of=generator_of_id, chosen=chosen, costs=costs)


def _chosen(named: Sequence[str], sources: Sequence[Source], files: set[Path]) -> set[str]:
    """The ids that were named, one by one or by their file.

    Raises:
        InputError: there is no such claim; the message names the nearest ones.
    """
    chosen = {claim.id for source in sources if source.path.resolve() in files for claim in source.claims}
    from reprogrok.claims.claims import all_claims, check_known

    known = all_claims(sources)
    for word in named:
        if _is_file(word):
            continue
        check_known(word, known)
        chosen.add(word)
    return chosen


def _print(judged: Audit, *, explained: bool) -> None:
    from reprogrok.claims.tables import print_audit, print_claim
    from reprogrok.console import console

    if explained:
        print_claim(judged, judged.verdicts[0], console())
    else:
        print_audit(judged, console())

"""`reprogrok observe RUN...`: note down what runs, evaluations and certificates show, as evidence to be committed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reprogrok.cli.options import CLAIMS
from reprogrok.errors import InputError
from reprogrok.files import check_writable

if TYPE_CHECKING:
    from reprogrok.claims.claims import Quantity, Subject


def observe(
    sources: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN",
            help="Folders of runs, ours or others', files of `eval --output`, certificates.",
            show_default=False,
        ),
    ],
    output: Annotated[Path, typer.Option(help="The file of evidence.", show_default=False)],
    title: Annotated[str, typer.Option(help="What it shows, in one line.", show_default=False)],
    note: Annotated[
        list[str] | None, typer.Option(help="What a reader has to know; may be repeated.", show_default=False)
    ] = None,
    claims: CLAIMS = Path("audit/claims"),
) -> None:
    """Note down what runs, logs, evaluations and certificates show, with definitions, device and the files' hashes.

    Of each: times, highest and lowest values, changes, regimes or errors, and what the claims ask of it. A certificate
    is taken at its word; `reprogrok certify --check` checks it.
    A description and no judgement. Exit code: 0, or 2 if something cannot be read.
    """
    check_writable(output)
    from reprogrok.claims.evidence_entries import (
        observe_run,
        observe_settings,
        subject_of_run,
        write_evidence,
    )
    from reprogrok.claims.quantities import OURS
    from reprogrok.formats.foreign_runs import read_run

    asked = asked_of(claims)
    entries: list[dict[str, Any]] = []
    logs = []
    for source in sources:
        if source.suffix == ".json":
            entries += _of_file(source)
            continue
        if not source.is_dir():
            raise InputError(path=source, expected="the folder of a run, a file of `eval --output`, or a certificate")
        run = read_run(source)
        entries.append(observe_run(run, asked.get(subject_of_run(run), [])))
        if run.layout != OURS:
            logs.append(run)
    entries += observe_settings(logs)
    write_evidence(output, title, _command(sources, output), entries, note or ())
    typer.echo(f"{output}: {len(entries)} observed")


def _of_file(path: Path) -> list[dict[str, Any]]:
    """What a certificate states, or the evaluations of a file that `eval --output` wrote: one, or several."""
    from reprogrok.certificate.certified import is_certificate, read_certified
    from reprogrok.claims.evidence_entries import observe_certificate, observe_evaluation
    from reprogrok.schema import check, load

    document = load(path)
    if is_certificate(document):
        return [observe_certificate(read_certified(path))]
    check(document, "evaluation")
    return list(map(observe_evaluation, document.data.get("evaluations", [document.data])))


def asked_of(claims: Path) -> dict[Subject, list[Quantity]]:
    """Subject -> what the claims of a folder ask of it; nothing where there is no such folder."""
    from reprogrok.claims.claims import all_claims, claims_files, load_sources

    asked: dict[Subject, list[Quantity]] = {}
    if claims.is_dir():
        for claim in all_claims(load_sources(claims_files(claims))).values():
            for subject in (claim.subject, *(() if claim.against is None else (claim.against,))):
                asked.setdefault(subject, []).append(claim.quantity)
    return asked


def _command(sources: list[Path], output: Path) -> str:
    """The command line, without where things lie on this machine."""
    return f"reprogrok observe {' '.join(map(_place, sources))} --output {_place(output)}"


def _place(path: Path) -> str:
    inside = not path.is_absolute() and ".." not in path.parts
    return path.as_posix() if inside else path.resolve().name

"""`reprogrok observe RUN...`: note down what runs, logs and evaluations show, as a file of evidence to be committed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reprogrok.cli.options import CLAIMS
from reprogrok.errors import InputError
from reprogrok.files import check_writable

if TYPE_CHECKING:
    from reprogrok.judge.claims import Quantity, Subject


def observe(
    sources: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN", help="Folders of runs, ours or others', and files of `eval --output`.", show_default=False
        ),
    ],
    output: Annotated[Path, typer.Option(help="The file of evidence.", show_default=False)],
    title: Annotated[str, typer.Option(help="What it shows, in one line.", show_default=False)],
    note: Annotated[
        list[str] | None, typer.Option(help="What a reader has to know; may be repeated.", show_default=False)
    ] = None,
    claims: CLAIMS = Path("audit/claims"),
) -> None:
    """Note down what runs, logs and evaluations show, each number with its definition, device and the files' hashes.

    Of each: times, highest and lowest values, changes, regimes or errors, and what the claims ask of it.
    A description and no judgement. Exit code: 0, or 2 if something cannot be read.
    """
    check_writable(output)
    from reprogrok.formats.foreign_runs import read_run
    from reprogrok.judge.evidence_files import (
        observe_evaluation,
        observe_run,
        observe_settings,
        subject_of_run,
        write_evidence,
    )
    from reprogrok.judge.quantities import OURS

    asked = asked_of(claims)
    entries: list[dict[str, Any]] = []
    logs = []
    for source in sources:
        if source.suffix == ".json":
            entries += map(observe_evaluation, _evaluations(source))
            continue
        if not source.is_dir():
            raise InputError(path=source, expected="the folder of a run, or a file of `eval --output`")
        run = read_run(source)
        entries.append(observe_run(run, asked.get(subject_of_run(run), [])))
        if run.layout != OURS:
            logs.append(run)
    entries += observe_settings(logs)
    write_evidence(output, title, _command(sources, output), entries, note or ())
    typer.echo(f"{output}: {len(entries)} observed")


def _evaluations(path: Path) -> list[Any]:
    """The evaluations in a file that `eval --output` wrote: one, or several."""
    from reprogrok.schema import load

    written = load(path, "evaluation").data
    return list(written.get("evaluations", [written]))


def asked_of(claims: Path) -> dict[Subject, list[Quantity]]:
    """Subject -> what the claims of a folder ask of it; nothing where there is no such folder."""
    from reprogrok.judge.claims import all_claims, claims_files, load_sources

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

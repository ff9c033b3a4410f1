"""`reprogrok audit [CLAIM|FILE]...`: judge claims by the available evidence."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reprogrok.cli.options import CLAIMS, EVIDENCE, FORMAT, PARAMS, RUNS, Format


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
    output_format: FORMAT = Format.TABLE,
    claims: CLAIMS = Path("audit/claims"),
    evidence: EVIDENCE = Path("audit/evidence"),
    runs: RUNS = Path("runs"),
    no_runs: Annotated[bool, typer.Option("--no-runs", help="Judge by committed evidence alone.")] = False,
    ledger: Annotated[Path | None, typer.Option(metavar="FILE", help="Also write all verdicts as a ledger.")] = None,
    params: PARAMS = Path("params.yaml"),
) -> None:
    """Judge published claims by the available evidence.

    Evidence comes from --evidence, --runs, the manifests of the released checkpoints, and params.yaml; nothing is
    trained. A claim is REPRODUCED, CONTRADICTED or INCONCLUSIVE, with the evidence that is missing. A single claim is
    explained in full.
    Exit code: 1 if any claim is contradicted, else 3 if any is left open, else 0; 2 if nothing can be judged.
    """
    from reprogrok.commands.audit import run

    code = run(
        claims_or_files or [],
        claims=claims,
        evidence=evidence,
        runs=runs,
        no_runs=no_runs,
        params=params,
        output=output,
        ledger=ledger,
        as_document=output_format is Format.JSON,
    )
    raise typer.Exit(code)

"""`reprogrok reproduce CLAIM`: train the seeds that a claim lacks, and judge it again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reprogrok.cli.options import CLAIMS, DEVICE_OF_PARAMS, EVIDENCE, PARAMS, RUNS, WORKERS


def reproduce(
    claim_id: Annotated[str, typer.Argument(metavar="CLAIM", help="Id of a claim.", show_default=False)],
    seeds: Annotated[
        int | None,
        typer.Option(min=1, help="Number of seeds to train.", show_default="as many as the verdict lacks, at most 8"),
    ] = None,
    device: DEVICE_OF_PARAMS = None,
    workers: WORKERS = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and its cost; train nothing.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress and no table of runs.")] = False,
    collect: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Also write the new runs into a file of evidence.", show_default=False),
    ] = None,
    observed: Annotated[
        Path | None, typer.Option("--observed", metavar="FILE", help="The older name of --collect.", hidden=True)
    ] = None,
    claims: CLAIMS = Path("audit/claims"),
    evidence: EVIDENCE = Path("audit/evidence"),
    runs: RUNS = Path("runs"),
    params: PARAMS = Path("params.yaml"),
) -> None:
    """Train the seeds that a claim lacks and judge it again.

    After a stop or a kill, the same command resumes. Runs are published as runs/EXPERIMENT-seeds-FIRST-LAST, where
    `audit` finds them. A claim that is decided already, or that training cannot decide, is judged at once.
    Exit code: 0 reproduced, 1 contradicted, 3 inconclusive, 2 bad input, or 130 (143) if it was stopped.
    """
    from reprogrok.commands.reproduce import Request, run

    code = run(
        Request(claim_id, seeds, device, runs),
        workers=workers,
        dry_run=dry_run,
        quiet=quiet,
        collect=collect or observed,
        claims=claims,
        evidence=evidence,
        params=params,
    )
    raise typer.Exit(code)

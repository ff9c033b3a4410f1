"""`reprogrok sanity NAME`: judge a run by a gate; with --preflight, check the gate against an experiment instead."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reprogrok.cli.options import CRITERIA, PARAMS, VerdictFormat
from reprogrok.errors import InputError


def sanity(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The gate: NAME.yaml in the folder of criteria.")],
    run: Annotated[
        Path | None,
        typer.Option("--run", metavar="DIR", help="The run to judge, ours or of another project. [default: runs/NAME]"),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", metavar="FILE", help="Also write the verdict to FILE, in the chosen format (JSON for table)."
        ),
    ] = None,
    output_format: Annotated[VerdictFormat, typer.Option("--format", help="Output format.")] = VerdictFormat.TABLE,
    criteria: CRITERIA = Path("audit/criteria"),
    accept_amended: Annotated[
        bool,
        typer.Option(
            "--accept-amended",
            help="Give a GO although the criteria were amended after training began; the verdict records it.",
        ),
    ] = False,
    preflight: Annotated[
        bool,
        typer.Option("--preflight", help="Check the gate before any run: can each criterion pass, and can it fail?"),
    ] = False,
    experiment: Annotated[
        str | None,
        typer.Option(
            "--experiment", metavar="NAME", help="With --preflight: the experiment. [default: the gate's name]"
        ),
    ] = None,
    params: PARAMS = Path("params.yaml"),
) -> None:
    """Judge a run by the criteria of a gate.

    Exit code: 0 GO, 1 NO_GO, 3 INCONCLUSIVE, 2 if it cannot be judged.
    """
    _check_options(run, experiment, preflight=preflight, accept_amended=accept_amended)
    if preflight:
        from reprogrok.commands.preflight import run as run_preflight

        code = run_preflight(
            name, experiment=experiment, params=params, output=output, output_format=output_format, criteria=criteria
        )
        raise typer.Exit(code)
    from reprogrok.commands.sanity import run as run_sanity

    code = run_sanity(
        name, folder=run, output=output, output_format=output_format, criteria=criteria, accept_amended=accept_amended
    )
    raise typer.Exit(code)


def _check_options(run: Path | None, experiment: str | None, *, preflight: bool, accept_amended: bool) -> None:
    """Refuse options that would have no effect.

    Raises:
        InputError: one of them was given.
    """
    if preflight and run is not None:
        raise InputError("a preflight judges no run", field="--run", expected="no --preflight")
    if preflight and accept_amended:
        raise InputError("nothing is registered yet", field="--accept-amended", expected="no --preflight")
    if experiment is not None and not preflight:
        raise InputError("only with --preflight; --run names an existing run", field="--experiment")

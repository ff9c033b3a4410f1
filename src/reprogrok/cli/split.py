"""`reprogrok split EXPERIMENT`: audit the split of a modular experiment."""

from __future__ import annotations

from pathlib import Path

import typer

from reprogrok.cli.options import EXPERIMENT, FORMAT, PARAMS, Format


def split(experiment: EXPERIMENT, output_format: FORMAT = Format.TABLE, params: PARAMS = Path("params.yaml")) -> None:
    """Audit the split of a modular experiment.

    Print sizes, coverage, twins, and the accuracy that memorisation can reach. The audit describes and does not judge:
    the exit code is 0 for every split.
    """
    from reprogrok.commands.split import run

    raise typer.Exit(run(experiment, params=params, as_json=output_format is Format.JSON))

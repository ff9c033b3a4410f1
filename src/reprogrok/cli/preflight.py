"""`reprogrok sanity NAME --preflight`: a gate and an experiment -> what each criterion can do, before the run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from reprogrok.errors import InputError

if TYPE_CHECKING:
    from reprogrok.gates.criteria import Gate

TABLE, JSON = "table", "json"


def preflight_command(
    gate: Gate, experiment_name: str | None, params_path: Path, output: Path | None, output_format: str = TABLE
) -> None:
    """Look at a gate from before a run: GO (exit 0) or NO_GO (1); 2 if there is no such experiment.

    Args:
        gate: the criteria.
        experiment_name: what would be trained; None for the experiment of the gate's own name.
        params_path: the file of experiments.
        output: also written there, always before anything is printed, as JSON.
        output_format: "table" or "json".

    Raises:
        InputError: no such experiment, a split that cannot be made, or a format that says nothing before a run.
        typer.Exit: with the exit code.
    """
    from reprogrok.files import write_bytes
    from reprogrok.gates.preflight import preflight
    from reprogrok.gates.preflight_documents import as_json
    from reprogrok.params import read_params

    if output_format not in {TABLE, JSON}:
        raise InputError("not with --preflight", field="--format", expected=f"{TABLE} or {JSON}", found=output_format)
    params = read_params(params_path)
    name = gate.name if experiment_name is None else experiment_name
    if experiment_name is None and name not in params.experiments:
        advice = f"--experiment NAME, for {params_path} has no experiment of the gate's name"
        raise InputError("which run would be judged is not known", path=gate.path, expected=advice, found=name)
    found = preflight(gate, params.experiment(name, params_path), params)
    document = as_json(found)
    if output is not None:
        write_bytes(output, document)
    if output_format == TABLE:
        from reprogrok.console import console
        from reprogrok.gates.preflight_tables import print_preflight

        print_preflight(found, console())
    else:
        typer.echo(document, nl=False)
    raise typer.Exit(found.exit_code)

"""`reprogrok sanity --preflight`: a gate and an experiment -> whether each criterion can decide, before any run."""

from __future__ import annotations

from pathlib import Path

from reprogrok.console import console, write
from reprogrok.errors import ExitCode, InputError
from reprogrok.files import write_bytes
from reprogrok.gates.gate_files import find_gate, load_gate
from reprogrok.gates.preflight.documents import as_json
from reprogrok.gates.preflight.preflight import preflight
from reprogrok.gates.preflight.tables import print_preflight
from reprogrok.params import read_params


def run(
    name: str, *, experiment: str | None, params: Path, output: Path | None, output_format: str, criteria: Path
) -> ExitCode:
    """Check a gate against an experiment, by default the one with the gate's name; print a table or JSON.

    Raises:
        InputError: the gate or the experiment does not exist, or its split is not possible.
    """
    gate = load_gate(find_gate(name, criteria), name)
    if output_format not in {"table", "json"}:
        raise InputError("not with --preflight", field="--format", expected="table or json", found=output_format)
    read = read_params(params)
    chosen = gate.name if experiment is None else experiment
    if experiment is None and chosen not in read.experiments:
        advice = f"--experiment NAME, because {params} has no experiment with the gate's name"
        raise InputError("the run to be judged is not known", path=gate.path, expected=advice, found=chosen)
    result = preflight(gate, read.experiment(chosen, params), read)
    document = as_json(result)
    if output is not None:
        write_bytes(output, document)
    if output_format == "json":
        write(document)
    else:
        print_preflight(result, console())
    return result.exit_code

"""`reprogrok sanity NAME`: a gate and a run's folder -> a verdict on the screen, in a file, and as the exit code.

With --preflight there is no run yet: the gate is held against an experiment of params.yaml instead.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reprogrok.cli.options import CRITERIA, PARAMS
from reprogrok.errors import InputError, RecordError

if TYPE_CHECKING:
    from reprogrok.gates.verdict import Verdict


class Format(StrEnum):
    """How a verdict is printed."""

    TABLE = "table"
    JSON = "json"
    JUNIT = "junit"
    GITHUB = "github"


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
    output_format: Annotated[Format, typer.Option("--format", help="What to print.")] = Format.TABLE,
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
        typer.Option("--preflight", help="Judge the gate before any run: can each criterion pass, and can it fail?"),
    ] = False,
    experiment: Annotated[
        str | None,
        typer.Option(
            "--experiment", metavar="NAME", help="With --preflight: the experiment. [default: the gate's name]"
        ),
    ] = None,
    params: PARAMS = Path("params.yaml"),
) -> None:
    """Judge a run by the criteria of a gate: GO (exit 0), NO_GO (1) or INCONCLUSIVE (3); 2 if it cannot be judged."""
    _check_options(run, experiment, preflight=preflight, accept_amended=accept_amended)
    from reprogrok.files import write_bytes
    from reprogrok.formats.foreign_runs import read_run
    from reprogrok.gates.criteria import find_gate, load_gate
    from reprogrok.gates.gate import judge

    gate = load_gate(find_gate(name, criteria), name)
    if preflight:
        from reprogrok.cli.preflight import preflight_command

        preflight_command(gate, experiment, params, output, output_format)
        return
    folder = Path("runs") / name if run is None else run
    if run is None and not folder.exists():
        advice = f"`reprogrok train {name}` first (if params.yaml has it), or --run DIR for another folder"
        raise RecordError("no run here", path=folder, expected=advice)
    verdict = judge(gate, read_run(folder), accept_amended=accept_amended)
    if output is not None:
        # Before anything is printed: a verdict that could not be kept is not shown as if it had been.
        write_bytes(output, _document(verdict, Format.JSON if output_format is Format.TABLE else output_format))
    if output_format is Format.TABLE:
        _print_table(verdict)
    else:
        typer.echo(_document(verdict, output_format), nl=False)
    raise typer.Exit(verdict.exit_code)


def _check_options(run: Path | None, experiment: str | None, *, preflight: bool, accept_amended: bool) -> None:
    """Refuse options that would have no effect.

    Raises:
        InputError: one of them was given.
    """
    if preflight and run is not None:
        raise InputError("a run cannot be judged before it is there", field="--run", expected="no --preflight")
    if preflight and accept_amended:
        raise InputError("nothing was registered yet", field="--accept-amended", expected="no --preflight")
    if experiment is not None and not preflight:
        raise InputError("only with --preflight; a run that is there is named by --run", field="--experiment")


def _document(verdict: Verdict, output_format: Format) -> bytes:
    from reprogrok.gates.documents import as_github, as_json, as_junit

    return {Format.JSON: as_json, Format.JUNIT: as_junit, Format.GITHUB: as_github}[output_format](verdict)


def _print_table(verdict: Verdict) -> None:
    from reprogrok.console import console
    from reprogrok.gates.tables import print_verdict

    print_verdict(verdict, console())

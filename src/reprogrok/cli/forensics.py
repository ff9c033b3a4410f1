"""`reprogrok forensics FILE`: a log or a claims file -> the numbers in it that do not fit, and the exit code."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reprogrok.cli.options import Format
from reprogrok.errors import RecordError

if TYPE_CHECKING:
    from reprogrok.forensics.findings import Examination


def forensics(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="A run's folder, a log, an evaluation, or a claims file (or a folder of them).",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path | None, typer.Option("--output", metavar="FILE", help="Also write the findings to FILE, as JSON.")
    ] = None,
    output_format: Annotated[Format, typer.Option("--format", help="What is printed.")] = Format.TABLE,
) -> None:
    """Look for numbers that do not fit together: exit 0 if there are none, 1 if a finding is certain or telling.

    It is arithmetic on what is printed. An inconsistency is not fraud, and each finding says what else explains it.
    """
    from reprogrok.console import console
    from reprogrok.files import write_bytes
    from reprogrok.forensics.tables import as_json, print_examination

    examination = _examine(file)
    if output is not None:
        write_bytes(output, as_json(examination))
    if output_format is Format.JSON:
        typer.echo(as_json(examination).decode(), nl=False)
    else:
        print_examination(examination, console())
    raise typer.Exit(examination.exit_code)


def _examine(file: Path) -> Examination:
    """Look at a file as what it is: claims by their suffix, a run by its folder or log, else an evaluation.

    Raises:
        InputError: it cannot be read.
    """
    from reprogrok.claims.claims import SUFFIX

    if file.suffix == SUFFIX or (file.is_dir() and any(file.glob(f"*{SUFFIX}"))):
        from reprogrok.forensics.claims import examine_claims

        return examine_claims(file)
    from reprogrok.commands.runs import find_run
    from reprogrok.forensics.evaluations import examine_evaluation
    from reprogrok.forensics.logs import examine_log
    from reprogrok.formats.foreign_runs import LOGS
    from reprogrok.record import METRICS

    if file.suffix and not file.exists():
        expected = "a run's folder, a log, an evaluation, or a claims file"
        raise RecordError("no such file or folder", path=file, expected=expected)
    # These two need what lies beside them, as the size of the test set.
    inside = next(
        (log for log in (LOGS, Path(METRICS)) if file.is_file() and file.parts[-len(log.parts) :] == log.parts), None
    )
    found = find_run(file if inside is None else file.parents[len(inside.parts) - 1])
    return examine_evaluation(found) if found.suffix == ".json" else examine_log(found)

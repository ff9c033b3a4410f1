"""`reprogrok forensics`: a log or a claims file -> findings about its numbers, and the exit code."""

from __future__ import annotations

from pathlib import Path

from reprogrok.claims.claims import SUFFIX
from reprogrok.commands.runs import find_run
from reprogrok.console import console, write
from reprogrok.errors import ExitCode, RecordError
from reprogrok.files import write_bytes
from reprogrok.forensics.claims import examine_claims
from reprogrok.forensics.evaluations import examine_evaluation
from reprogrok.forensics.findings import ForensicReport
from reprogrok.forensics.logs import examine_log
from reprogrok.forensics.tables import as_json, print_report
from reprogrok.formats.foreign_runs import LOGS
from reprogrok.record import METRICS


def run(file: Path, *, output: Path | None, json: bool) -> ExitCode:
    """Examine a file, print the findings as text or JSON, and return the exit code that follows from them.

    Raises:
        InputError: the file cannot be read.
    """
    report = _examine(file)
    if output is not None:
        write_bytes(output, as_json(report))
    if json:
        write(as_json(report))
    else:
        print_report(report, console())
    return report.exit_code


def _examine(file: Path) -> ForensicReport:
    """Examine claims by their suffix, a run by its folder or log, and any other JSON as an evaluation."""
    if file.suffix == SUFFIX or (file.is_dir() and any(file.glob(f"*{SUFFIX}"))):
        return examine_claims(file)
    if file.suffix and not file.exists():
        expected = "a run's folder, a log, an evaluation, or a claims file"
        raise RecordError("no such file or folder", path=file, expected=expected)
    # A log inside a run stands for the run, whose other files give the size of the test set.
    inside = next(
        (log for log in (LOGS, Path(METRICS)) if file.is_file() and file.parts[-len(log.parts) :] == log.parts), None
    )
    found = find_run(file if inside is None else file.parents[len(inside.parts) - 1])
    return examine_evaluation(found) if found.suffix == ".json" else examine_log(found)

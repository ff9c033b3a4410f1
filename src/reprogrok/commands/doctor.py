"""The command `doctor`: this machine -> its diagnosis, as a table or JSON."""

from __future__ import annotations

from pathlib import Path

from reprogrok.console import console, write
from reprogrok.errors import ExitCode
from reprogrok.files import check_writable, pretty_json, write_bytes
from reprogrok.train.diagnosis import diagnose
from reprogrok.train.diagnosis_tables import print_diagnosis


def run(*, compiles: bool, output: Path | None, as_json: bool) -> ExitCode:
    """Examine this machine, print the diagnosis and return its exit code."""
    if output is not None:
        check_writable(output)
    diagnosis = diagnose(compiles=compiles)
    document = pretty_json(diagnosis.document())
    if output is not None:
        write_bytes(output, document)
    if as_json:
        write(document)
    else:
        print_diagnosis(diagnosis, console())
    return diagnosis.exit_code

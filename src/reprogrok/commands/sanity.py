"""`reprogrok sanity`: a gate and a run's folder -> a verdict on the screen, in a file, and as the exit code."""

from __future__ import annotations

from pathlib import Path

from reprogrok.console import console, write
from reprogrok.errors import ExitCode, RecordError
from reprogrok.files import write_bytes
from reprogrok.formats.foreign_runs import read_run
from reprogrok.gates.documents import DOCUMENTS
from reprogrok.gates.gate import judge
from reprogrok.gates.gate_files import find_gate, load_gate
from reprogrok.gates.requirements import NOT_COUNTED, SplitAnswers
from reprogrok.gates.tables import print_verdict
from reprogrok.record import Record
from reprogrok.runs.analysis import support_of


def run(
    name: str, *, folder: Path | None, output: Path | None, output_format: str, criteria: Path, accept_amended: bool
) -> ExitCode:
    """Judge a run by a gate; print the verdict as a table or as one of `DOCUMENTS`.

    Raises:
        InputError: the gate or the run cannot be read.
    """
    gate = load_gate(find_gate(name, criteria), name)
    path = Path("runs") / name if folder is None else folder
    if folder is None and not path.exists():
        advice = f"`reprogrok train {name}` first (if params.yaml has it), or --run DIR for another folder"
        raise RecordError("no run here", path=path, expected=advice)
    record = read_run(path)
    answers = _split_answers(record) if gate.requires else NOT_COUNTED
    verdict = judge(gate, record, answers, accept_amended=accept_amended)
    document = DOCUMENTS.get(output_format, DOCUMENTS["json"])(verdict)
    if output is not None:
        # Before anything is printed: a verdict that could not be written is not shown as if it had been.
        write_bytes(output, document)
    if output_format in DOCUMENTS:
        write(document)
    else:
        print_verdict(verdict, console())
    return verdict.exit_code


def _split_answers(record: Record) -> SplitAnswers:
    """Count the answers of a run's split over all its equations, if its configuration determines them."""
    found = support_of(record)
    return SplitAnswers(found.classes, found.ceiling, found.source)

"""`reprogrok compare`: evaluations, or two runs -> a comparison, printed as tables or JSON and written to files."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from reprogrok.commands.runs import find_run
from reprogrok.console import console
from reprogrok.errors import ExitCode, InputError
from reprogrok.evaluation import comparison as evaluations
from reprogrok.evaluation import comparison_documents as evaluation_documents
from reprogrok.evaluation.comparison_tables import print_comparison
from reprogrok.files import check_writable, pretty_json, write_bytes
from reprogrok.formats.foreign_runs import read_run
from reprogrok.runs import comparison_documents as run_documents
from reprogrok.runs.comparison import compare_runs
from reprogrok.runs.comparison_tables import print_run_comparison


class _Report(NamedTuple):
    """A comparison as its document, the numbers of its DVC metrics file, and its tables."""

    document: Mapping[str, object]
    numbers: Mapping[str, object]
    show: Callable[[Console], None]


def run(paths: Sequence[Path], *, output: Path | None, metrics: Path | None, as_json: bool) -> ExitCode:
    """Compare evaluations, or two runs.

    Raises:
        InputError: evaluations and runs are mixed, or cannot be read or compared.
    """
    for path in (output, metrics):
        if path is not None:
            check_writable(path)
    runs = [path for path in paths if _is_run(path)]
    if runs and (file := next((path for path in paths if path not in runs), None)):
        raise InputError(
            "an evaluation and a run cannot be compared with each other", path=file,
            expected=f"another run, as {runs[0]} is one", found="a JSON file",
        )  # fmt: skip
    report = _of_runs(paths) if runs else _of_evaluations(paths)
    if output is not None:
        write_bytes(output, pretty_json(report.document))
    if metrics is not None:
        write_bytes(metrics, pretty_json(report.numbers))
    if as_json:
        sys.stdout.write(pretty_json(report.document).decode())
    else:
        report.show(console())
    return ExitCode.PASS


def _is_run(path: Path) -> bool:
    """Return whether a path means a run: a folder, a foreign log or the name of an experiment. Evaluations are JSON."""
    return path.is_dir() or (path.suffix != ".json" and (path.is_file() or not path.exists()))


def _of_evaluations(paths: Sequence[Path]) -> _Report:
    found = evaluations.compare([entry for path in paths for entry in evaluation_documents.read_evaluations(path)])
    document, numbers = evaluation_documents.document_of(found), evaluation_documents.metrics_of(found)
    return _Report(document, numbers, lambda screen: print_comparison(found, screen))


def _of_runs(paths: Sequence[Path]) -> _Report:
    found = compare_runs([read_run(find_run(path)) for path in paths])
    document, numbers = run_documents.document_of(found), run_documents.metrics_of(found)
    return _Report(document, numbers, lambda screen: print_run_comparison(found, screen))

"""`reprogrok plot`: runs -> a CSV of their learning curves for DVC, and pictures."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from reprogrok.commands.runs import find_run
from reprogrok.errors import ExitCode, InputError
from reprogrok.files import check_writable
from reprogrok.formats.foreign_runs import read_run
from reprogrok.runs.curves import choose_metrics, one_definition_each, write_csv
from reprogrok.runs.identity import run_labels
from reprogrok.runs.pictures import write_picture


def run(
    runs: Sequence[Path],
    *,
    csv: Path | None,
    png: Path | None,
    svg: Path | None,
    log_steps: bool,
    requested: Sequence[str],
) -> ExitCode:
    """Write the learning curves of runs.

    Raises:
        InputError: no file is requested, a run cannot be read, or no run has a requested metric.
    """
    if csv is None and png is None and svg is None:
        raise InputError("nothing to write", expected="--csv FILE or --png FILE or --svg FILE")
    for path in (csv, png, svg):
        if path is not None:
            check_writable(path)
    records = [read_run(find_run(path)) for path in runs]
    labelled = dict(zip(run_labels(records), records, strict=True))
    metrics = choose_metrics(records, requested)
    if csv is not None:
        alike, others = one_definition_each(labelled, metrics)
        # A requested column must not be missing in silence, nor may a CSV be empty.
        write_csv(labelled, metrics if requested or not alike else alike, csv)
        if not requested:
            for name, found in others.items():
                sys.stdout.write(f"left out of {csv}: {name}, which does not mean the same in these runs ({found})\n")
        sys.stdout.write(f"wrote {csv}\n")
    for kind, path in (("png", png), ("svg", svg)):
        if path is not None:
            write_picture(labelled, metrics, path, kind=kind, log_steps=log_steps)
            sys.stdout.write(f"wrote {path}\n")
    return ExitCode.PASS

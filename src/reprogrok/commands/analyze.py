"""`reprogrok analyze`: a run -> one post-analysis per replica, printed as tables or JSON and written to files."""

from __future__ import annotations

import sys
from pathlib import Path

from reprogrok.commands.runs import find_run
from reprogrok.console import console
from reprogrok.errors import ExitCode
from reprogrok.files import check_writable, pretty_json, write_bytes
from reprogrok.formats.foreign_runs import read_run
from reprogrok.model.device import choose_device
from reprogrok.runs.analysis import Analysis, analyse
from reprogrok.runs.checkpoint_snapshots import snapshots_of
from reprogrok.runs.post_analysis import post_analyse
from reprogrok.runs.post_analysis_documents import document_of, place
from reprogrok.runs.tables import print_analyses


def run(
    path: Path,
    *,
    t_grok: int | None,
    window: int,
    claim: int | None,
    seed: int | None,
    output: Path | None,
    device: str,
    as_json: bool,
) -> ExitCode:
    """Analyse the replicas of a run.

    Raises:
        InputError: the run or a checkpoint of it cannot be read, or a file cannot be written.
    """
    record = read_run(find_run(path))
    seeds = list(record.replicas) if seed is None else [seed]
    analyses = [analyse(record, one, t_grok, claim) for one in seeds]
    places = [_place(analysis, output, alone=len(seeds) == 1) for analysis in analyses]
    for file in places:
        check_writable(file)
    chosen = choose_device(device)
    found = [post_analyse(analysis, snapshots_of(analysis, chosen), window) for analysis in analyses]
    documents = list(map(document_of, found))
    for file, document in zip(places, documents, strict=True):
        write_bytes(file, pretty_json(document))
    if as_json:
        shown = documents[0] if len(documents) == 1 else {"analyses": documents}
        sys.stdout.write(pretty_json(shown).decode())
        return ExitCode.PASS
    print_analyses(found, console())
    for file in places:
        sys.stdout.write(f"wrote {file}\n")
    return ExitCode.PASS


def _place(analysis: Analysis, output: Path | None, *, alone: bool) -> Path:
    if output is None:
        return place(analysis)
    return output if alone else output.with_stem(f"{output.stem}-seed-{analysis.seed}")

"""`reprogrok split`: a modular experiment -> the audit of its split, printed as tables or JSON."""

from __future__ import annotations

import sys
from pathlib import Path

from reprogrok.commands.modular import modular_experiment
from reprogrok.console import console
from reprogrok.errors import ExitCode
from reprogrok.files import pretty_json
from reprogrok.tasks.split_audit import audit_split
from reprogrok.tasks.split_tables import document_of, print_split


def run(experiment: str, *, params: Path, as_json: bool) -> ExitCode:
    """Audit the split of a modular experiment.

    Raises:
        InputError: the experiment is unknown, is of another task, or its split is not possible.
    """
    chosen, task = modular_experiment(experiment, params)
    audit = audit_split(task, block=chosen.block)
    if as_json:
        sys.stdout.write(pretty_json(document_of(chosen.name, task, audit)).decode())
    else:
        print_split(chosen.name, task, audit, console())
    return ExitCode.PASS

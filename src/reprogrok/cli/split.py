"""`reprogrok split EXPERIMENT`: what a split lets a learner see, and what remembering alone can reach on it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reprogrok.cli.options import PARAMS, Format


def split(
    experiment: Annotated[str, typer.Argument(metavar="EXPERIMENT", help="A name in params.yaml.", show_default=False)],
    format: Annotated[Format, typer.Option(help="What is printed.")] = Format.TABLE,  # noqa: A002 - the option's name
    params: PARAMS = Path("params.yaml"),
) -> None:
    """Audit the split of a modular experiment: sizes, coverage, twins, and what can be reached without the rule.

    A description and no judgement: exit code 0 whatever the split is like.
    """
    from reprogrok.cli.modular import modular_experiment

    chosen, task = modular_experiment(experiment, params)
    from reprogrok.console import console
    from reprogrok.files import pretty_json
    from reprogrok.tasks.split_audit import audit_split
    from reprogrok.tasks.split_tables import document_of, print_split

    audit = audit_split(task, block=chosen.block)
    if format is Format.JSON:
        typer.echo(pretty_json(document_of(chosen.name, task, audit)).decode(), nl=False)
    else:
        print_split(chosen.name, task, audit, console())

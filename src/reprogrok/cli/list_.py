"""`reprogrok list`: the experiments, gates and exams that there are."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reprogrok.cli.options import CRITERIA, PARAMS


def list_everything(
    params: PARAMS = Path("params.yaml"),
    criteria: CRITERIA = Path("audit/criteria"),
    sources: Annotated[bool, typer.Option("--sources", help="Also print where each experiment was published.")] = False,
) -> None:
    """List experiments, gates, exams and what packages offer."""
    from reprogrok.commands.list_ import run

    raise typer.Exit(run(params, criteria, sources=sources))

"""`reprogrok generate EXPERIMENT`: write the data of an experiment to files that others can read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reprogrok.cli.options import EXPERIMENT, PARAMS


def generate(
    experiment: EXPERIMENT,
    out: Annotated[Path | None, typer.Option(help="Folder to write to.", show_default="data/EXPERIMENT")] = None,
    params: PARAMS = Path("params.yaml"),
) -> None:
    """Write the data of an experiment to files.

    Addition: the held-out pairs of every seed and the problems of both exams, as safetensors files. A modular task: its
    split, and for the format llmc8 the shards that llm.c reads. `train --data` and `eval --data` read the safetensors
    files and refuse any problems but those of the protocol.
    """
    from reprogrok.commands.generate import run

    raise typer.Exit(run(experiment, out=out, params=params))

"""Options that several commands share, declared once so that they read the same everywhere."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

EXPERIMENT = Annotated[str, typer.Argument(metavar="EXPERIMENT", help="A name in params.yaml.", show_default=False)]
TASK_OF = Annotated[str | None, typer.Option("--experiment", help="Experiment of the task, if the file names none.")]
DEVICE = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
DEVICE_OF_PARAMS = Annotated[str | None, typer.Option(help="auto, cpu, cuda or mps.", show_default="as in params.yaml")]
WORKERS = Annotated[int | None, typer.Option(min=1, help="Processes on a CPU.", show_default="one per core")]
PARAMS = Annotated[Path, typer.Option(help="The file of experiments.")]
RUNS = Annotated[Path, typer.Option(metavar="DIR", help="The folder of runs.")]
CRITERIA = Annotated[Path, typer.Option(help="The folder of criteria files, or one such file.")]
CLAIMS = Annotated[Path, typer.Option(metavar="DIR", help="The folder of claims files.")]
EVIDENCE = Annotated[Path, typer.Option(metavar="DIR", help="The folder of evidence files.")]
DATA = Annotated[
    Path | None, typer.Option(help="Folder written by `generate`, to be checked against the experiment's problems.")
]


class Format(StrEnum):
    """An output format of every command."""

    TABLE = "table"
    JSON = "json"


FORMAT = Annotated[Format, typer.Option("--format", help="Output format.")]


class VerdictFormat(StrEnum):
    """The output format of a verdict: a `Format`, or a format of CI systems."""

    TABLE = Format.TABLE
    JSON = Format.JSON
    JUNIT = "junit"
    GITHUB = "github"

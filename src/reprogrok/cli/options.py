"""Options that several commands share, declared once so that they read the same everywhere."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

DEVICE = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
DEVICE_OF_PARAMS = Annotated[
    str | None, typer.Option(help="auto, cpu, cuda or mps.", show_default="as params.yaml says")
]
PARAMS = Annotated[Path, typer.Option(help="The file of experiments.")]

CRITERIA = Annotated[Path, typer.Option(help="The folder of criteria files, or one such file.")]
CLAIMS = Annotated[Path, typer.Option(metavar="DIR", help="The folder of claims files.")]
EVIDENCE = Annotated[Path, typer.Option(metavar="DIR", help="The folder of evidence files.")]
DATA = Annotated[Path | None, typer.Option(help="Folder that `generate` wrote; its problems must be the protocol's.")]


class Format(StrEnum):
    """What a command prints."""

    TABLE = "table"
    JSON = "json"


class VerdictFormat(StrEnum):
    """The output format of a verdict: a `Format`, or a format of CI systems."""

    TABLE = Format.TABLE
    JSON = Format.JSON
    JUNIT = "junit"
    GITHUB = "github"

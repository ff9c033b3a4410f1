"""Options that several commands share, declared once so that they read the same everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

DEVICE = Annotated[str | None, typer.Option(help="auto, cpu, cuda or mps.", show_default="as params.yaml says")]
PARAMS = Annotated[Path, typer.Option(help="The experiments.")]

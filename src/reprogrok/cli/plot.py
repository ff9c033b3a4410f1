"""`reprogrok plot RUN`: learning curves of a run, as a CSV for DVC and as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def plot(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder.", show_default=False)],
    csv: Annotated[Path | None, typer.Option(help="Lowest, median and highest over the seeds, per step.")] = None,
    png: Annotated[Path | None, typer.Option(help="One line per seed.")] = None,
) -> None:
    """Draw the learning curves of a run, whose files are checked against their hashes first."""
    from reprogrok.errors import InputError
    from reprogrok.record import read
    from reprogrok.report.curves import write_csv, write_picture

    if csv is None and png is None:
        raise InputError("nothing to write", expected="--csv FILE or --png FILE")
    record = read(run)
    for path, write in ((csv, write_csv), (png, write_picture)):
        if path is not None:
            write(record, path)
            typer.echo(f"wrote {path}")

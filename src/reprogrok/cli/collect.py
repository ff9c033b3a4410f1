"""`reprogrok collect RUN...`: write runs, evaluations and certificates into a file of evidence, to be committed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reprogrok.cli.options import CLAIMS


def collect(
    sources: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN",
            help="Folders of runs, ours or others', files of `eval --output`, certificates.",
            show_default=False,
        ),
    ],
    output: Annotated[Path, typer.Option(help="The file of evidence.", show_default=False)],
    title: Annotated[str, typer.Option(help="One line on its contents.", show_default=False)],
    note: Annotated[
        list[str] | None, typer.Option(help="A remark for its readers; may be repeated.", show_default=False)
    ] = None,
    claims: CLAIMS = Path("audit/claims"),
) -> None:
    """Collect evidence from runs, evaluations and certificates.

    For each source: times, highest and lowest values, changes, regimes or errors, and the quantities that claims ask
    for, with definitions, device and file hashes. A certificate is not checked; `reprogrok certify --check` does that.
    Exit code: 0, or 2 if something cannot be read.
    """
    from reprogrok.commands.collect import run

    raise typer.Exit(run(sources, output=output, title=title, notes=note or (), claims=claims))

"""`reprogrok release RUN SEED`: copy a run's best checkpoint for others, with a manifest of its origin and scores."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reprogrok.cli.options import DEVICE


def release(
    out: Annotated[Path, typer.Option(help="The .pt file to write; the manifest is written beside it as .json.")],
    run: Annotated[
        Path | None, typer.Argument(metavar="RUN", help="Folder of a finished run.", show_default=False)
    ] = None,
    seed: Annotated[int | None, typer.Argument(metavar="SEED", help="One of its seeds.", show_default=False)] = None,
    certificate: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Certificate of that checkpoint, to be copied beside it.")
    ] = None,
    device: DEVICE = "auto",
) -> None:
    """Copy a run's best checkpoint and write its manifest.

    The checkpoint is examined on every suite of its task. Without RUN and SEED, add a certificate to a checkpoint that
    was released before. The certificate is not checked again; `reprogrok certify --check` checks it.
    """
    from reprogrok.commands import release as command

    raise typer.Exit(command.run(run, seed, out=out, certificate=certificate, device=device))

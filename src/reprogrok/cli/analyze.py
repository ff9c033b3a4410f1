"""`reprogrok analyze RUN`: grok times, regime, and rank and entropy around the transition."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reprogrok.cli.options import DEVICE, FORMAT, Format


def analyze(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN",
            help="The folder of a run, ours or foreign, or the name of an experiment.",
            show_default=False,
        ),
    ],
    t_grok: Annotated[
        int | None, typer.Option("--t-grok", min=0, help="Step of the transition.", show_default="estimated")
    ] = None,
    window: Annotated[
        int, typer.Option(min=0, help="Checkpoints at most so many steps from the transition are near it.")
    ] = 10_000,
    claim: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="STEPS",
            help="Judge the claim that the test was learned within so many steps.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="One seed of the run.", show_default="all")] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            help="The file to write; with several seeds its name gets -seed-N.",
            show_default="post_analysis.json in the run's folder; for a foreign run, the current folder",
        ),
    ] = None,
    device: DEVICE = "cpu",
    output_format: FORMAT = Format.TABLE,
) -> None:
    """Measure grok times, regime, rank and entropy of a run.

    Write post_analysis.json. Times are intervals between evaluations. Rank and entropy, and for sums and differences
    the Fourier measures, are those of checkpoints 3 before, 2 near and 3 after the transition; the document adds other
    estimators. A run without checkpoints is analysed from its logs.
    """
    from reprogrok.commands.analyze import run as analyse

    raise typer.Exit(
        analyse(
            run, t_grok=t_grok, window=window, claim=claim, seed=seed, output=output, device=device,
            as_json=output_format is Format.JSON,
        )
    )  # fmt: skip

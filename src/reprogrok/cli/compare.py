"""`reprogrok compare A.json B.json...`: evaluations side by side, and which differences are more than chance."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reprogrok.cli.options import Format


def compare(
    evaluations: Annotated[
        list[Path],
        typer.Argument(
            metavar="EVALUATION", help="What `eval --output` wrote, or a published evaluation.", show_default=False
        ),
    ],
    output: Annotated[Path | None, typer.Option(help="Also write the comparison as JSON.")] = None,
    metrics: Annotated[Path | None, typer.Option(help="Also write its numbers as a DVC metrics file.")] = None,
    format: Annotated[Format, typer.Option(help="What is printed.")] = Format.TABLE,  # noqa: A002 - the option's name
) -> None:
    """Set evaluations side by side: scores with intervals, and McNemar's exact test for every pair.

    Checkpoints must have sat the same exam. p-values are adjusted for the number of pairs (Holm).
    """
    from reprogrok.files import pretty_json, write_bytes
    from reprogrok.judge.comparison import compare as compare_entries
    from reprogrok.judge.comparison import document_of, metrics_of, read_evaluations
    from reprogrok.report.comparison_tables import print_comparison
    from reprogrok.report.console import console

    comparison = compare_entries([entry for path in evaluations for entry in read_evaluations(path)])
    if output is not None:
        write_bytes(output, pretty_json(document_of(comparison)))
    if metrics is not None:
        write_bytes(metrics, pretty_json(metrics_of(comparison)))
    if format is Format.JSON:
        typer.echo(pretty_json(document_of(comparison)).decode(), nl=False)
    else:
        print_comparison(comparison, console())

"""`reprogrok compare A B...`: evaluations side by side, or two runs, and which differences are more than chance."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reprogrok.cli.options import Format
from reprogrok.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console


def compare(
    evaluations: Annotated[
        list[Path],
        typer.Argument(
            metavar="EVALUATION",
            help="What `eval --output` wrote, or a published evaluation; or two runs, by folder or experiment.",
            show_default=False,
        ),
    ],
    output: Annotated[Path | None, typer.Option(help="Also write the comparison as JSON.")] = None,
    metrics: Annotated[Path | None, typer.Option(help="Also write its numbers as a DVC metrics file.")] = None,
    format: Annotated[Format, typer.Option(help="What is printed.")] = Format.TABLE,  # noqa: A002 - the option's name
) -> None:
    """Set evaluations side by side (scores with intervals, McNemar's exact test for every pair), or two runs.

    Checkpoints must have sat the same exam. p-values are adjusted for the number of pairs (Holm). Of two runs, ours or
    of another project, it says what differs between their settings, when each grokked, how much later the second did,
    and what rank and entropy were before and after. Metrics of different definitions are never compared.
    """
    from reprogrok.console import console
    from reprogrok.files import check_writable, pretty_json, write_bytes

    for path in (output, metrics):
        if path is not None:
            check_writable(path)
    runs = [path for path in evaluations if _is_run(path)]
    if runs and (file := next((path for path in evaluations if path not in runs), None)):
        raise InputError(
            "an evaluation and a run cannot be compared with each other", path=file,
            expected=f"another run, as {runs[0]} is one", found="a JSON file",
        )  # fmt: skip
    document, numbers, show = _runs(evaluations) if runs else _evaluations(evaluations)
    if output is not None:
        write_bytes(output, pretty_json(document))
    if metrics is not None:
        write_bytes(metrics, pretty_json(numbers))
    if format is Format.JSON:
        typer.echo(pretty_json(document).decode(), nl=False)
    else:
        show(console())


def _is_run(path: Path) -> bool:
    """Folders are runs, and so are logs of others and names of experiments; evaluations are JSON."""
    return path.is_dir() or (path.suffix != ".json" and (path.is_file() or not path.exists()))


_Result = tuple[dict[str, Any], dict[str, Any], "Callable[[Console], None]"]


def _evaluations(paths: list[Path]) -> _Result:
    from reprogrok.evaluation.comparison import compare as compare_entries
    from reprogrok.evaluation.comparison_documents import document_of, metrics_of, read_evaluations
    from reprogrok.evaluation.comparison_tables import print_comparison

    comparison = compare_entries([entry for path in paths for entry in read_evaluations(path)])
    return document_of(comparison), metrics_of(comparison), lambda screen: print_comparison(comparison, screen)


def _runs(paths: list[Path]) -> _Result:
    from reprogrok.commands.runs import find_run
    from reprogrok.formats.foreign_runs import read_run
    from reprogrok.runs.comparison import compare_runs
    from reprogrok.runs.comparison_documents import document_of, metrics_of
    from reprogrok.runs.comparison_tables import print_run_comparison

    comparison = compare_runs([read_run(find_run(path)) for path in paths])
    return document_of(comparison), metrics_of(comparison), lambda screen: print_run_comparison(comparison, screen)

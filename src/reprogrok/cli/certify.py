"""`reprogrok certify CKPT`: prove an addition checkpoint right on every problem, or show where it is wrong."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reprogrok.cli.options import PARAMS, Format
from reprogrok.errors import InputError
from reprogrok.files import check_writable

if TYPE_CHECKING:
    from reprogrok.formats.checkpoints import Checkpoint

BUDGET = 180.0  # seconds of search; checking comes on top


class ArithmeticChoice(StrEnum):
    """Which arithmetic is spoken of."""

    FLOAT32 = "float32"
    REAL = "real"


class _StoppedError(BaseException):
    """A signal came; no `except Exception` on the way is to take it for an error."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@dataclass(frozen=True)
class Asked:
    """The options of a search: seconds, arithmetic, where to write, what to print, and whether to show progress."""

    budget: float
    arithmetic: ArithmeticChoice
    output: Path | None
    format: Format
    quiet: bool


def certify(
    checkpoint: Annotated[
        Path,
        typer.Argument(metavar="CHECKPOINT", help="A .pt or .safetensors file, of addition.", show_default=False),
    ],
    check: Annotated[
        Path | None,
        typer.Option(metavar="CERT.json", help="Check this certificate; search nothing.", show_default=False),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(metavar="CERT.json", help="Also write the certificate, which --check reads.", show_default=False),
    ] = None,
    budget: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", help="Of search, earlier sittings included.", show_default=f"{BUDGET:g}"),
    ] = None,
    arithmetic: Annotated[
        ArithmeticChoice | None,
        typer.Option(
            help="What is stated holds in any float32 evaluation too, or in real arithmetic on the weights alone.",
            show_default="float32",
        ),
    ] = None,
    experiment: Annotated[str | None, typer.Option(help="Whose task it is, if the file does not say.")] = None,
    format: Annotated[Format, typer.Option(help="What is printed.")] = Format.TABLE,  # noqa: A002 - the option's name
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
    params: PARAMS = Path("params.yaml"),
) -> None:
    """Prove that a model adds every pair of numbers right, or show where it does not.

    Of one layer and one head the digits that decide an answer are few enough to go through, and what all the others do
    to it is bounded. What is stated holds in real arithmetic and in any float32 evaluation within the stated rounding.
    Stopped or killed, the same command goes on. `eval` looks for a certificate beside the checkpoint: MODEL.pt has
    MODEL.certificate.json.
    Exit code: 0 PROVED, 1 REFUTED, 3 PARTIAL; 2 if it cannot be certified, 130 (143) if it was stopped.
    With --check: 0, 1 or 3 if the certificate is confirmed, 1 if it is not, 2 if it is of something else or unreadable.
    """
    if check is not None:
        beside = {"--output": output, "--budget": budget, "--arithmetic": arithmetic}
        if given := [name for name, value in beside.items() if value is not None]:
            raise InputError("it is for a search, and --check makes none", field=given[0], expected="one of the two")
    if budget is not None and not 0 <= budget < float("inf"):
        raise InputError(field="--budget", expected="a number of seconds", found=f"{budget}")
    if output is not None:
        _check_output(output)
    loaded, digits = _addition(checkpoint, experiment, params)
    if check is not None:
        _check(check, loaded, digits, format, quiet=quiet)
    asked = Asked(BUDGET if budget is None else budget, arithmetic or ArithmeticChoice.FLOAT32, output, format, quiet)
    _certify(loaded, digits, asked)


def _check_output(output: Path) -> None:
    """Refuse a file that could not be written, or not be read again.

    Raises:
        InputError: it is one of these.
    """
    if output.suffix != ".json" and not (output.is_char_device() or output.is_fifo()):
        raise InputError(
            "--check would not read it", field="--output", expected="a name that ends in .json", found=f"{output}"
        )
    check_writable(output)


def _addition(path: Path, experiment: str | None, params: Path) -> tuple[Checkpoint, int]:
    """The checkpoint and the digits of its operands.

    Raises:
        InputError: it is of another task, or no model whose problems can be gone through.
    """
    from reprogrok.certificate.checker.enclosure import refuses
    from reprogrok.evaluation.examination import task_of, task_text
    from reprogrok.formats.checkpoints import load_checkpoint
    from reprogrok.params import read_params
    from reprogrok.tasks.addition import Addition

    chosen = None if experiment is None else read_params(params).experiment(experiment, params)
    loaded = load_checkpoint(path)
    task = task_of(loaded, chosen)
    if not isinstance(task, Addition):
        raise InputError(
            "nothing to certify: the task is finite, and `reprogrok eval` asks every one of its equations",
            path=path, expected="a checkpoint of addition", found=task_text(task),
        )  # fmt: skip
    if (reason := refuses(loaded.spec, task.digits)) is not None:
        raise InputError(f"cannot be certified: {reason}", path=path)
    return loaded, task.digits


def _certify(checkpoint: Checkpoint, digits: int, asked: Asked) -> None:
    """Search, check, print, write, and leave with the verdict's exit code."""
    from reprogrok.certificate.certification import Work, certify, search_all
    from reprogrok.certificate.checker.enclosure import Enclosure
    from reprogrok.certificate.display import block_display
    from reprogrok.certificate.document import ARITHMETICS, SCHEMA, Verdict, write_certificate
    from reprogrok.certificate.tables import print_certificate
    from reprogrok.console import console
    from reprogrok.evaluation.examination import examinee
    from reprogrok.files import pretty_json
    from reprogrok.model.device import choose_device
    from reprogrok.schema import check_written
    from reprogrok.tasks.addition import Addition

    arithmetic = ARITHMETICS[asked.arithmetic]
    work = Work.of(checkpoint, digits, asked.budget, arithmetic)
    model = examinee(checkpoint, Addition(digits), choose_device("cpu"))
    with work.held():
        if (kept := work.kept()) and not asked.quiet:
            typer.echo(f"going on: {kept} of {work.blocks} blocks were searched before ({work.folder})", err=True)
        try:
            with (
                _stopped_by_signals(),
                block_display(digits, ("searched", "checked"), quiet=asked.quiet) as (show, watch),
            ):
                enclosure = Enclosure(checkpoint.spec, checkpoint.weights, digits, arithmetic)
                searched = search_all(
                    work, checkpoint, asked.budget, enclosure, lambda block: show("searched", block), watch=watch
                )
                content = certify(
                    checkpoint, digits, searched, enclosure, model,
                    budget=asked.budget, advance=lambda block: show("checked", block),
                )  # fmt: skip
        except _StoppedError as stopped:
            typer.echo(
                f"stopped; {work.kept()} of {work.blocks} blocks are kept, and the same command goes on", err=True
            )
            raise typer.Exit(128 + stopped.number) from stopped
        check_written(content, SCHEMA)
        if asked.output is not None:
            write_certificate(asked.output, content)
            work.remove()
    if asked.format is Format.JSON:
        typer.echo(pretty_json(content).decode(), nl=False)
    else:
        print_certificate(content, console(), written=asked.output)
    raise typer.Exit(Verdict(content["verdict"]).exit_code)


def _check(path: Path, checkpoint: Checkpoint, digits: int, format: Format, *, quiet: bool) -> None:  # noqa: A002
    """Check a certificate, print what came out, and leave with its exit code."""
    from reprogrok.certificate.checker.enclosure import Enclosure
    from reprogrok.certificate.confirmation import check_certificate, check_document, require_same_model
    from reprogrok.certificate.display import block_display
    from reprogrok.certificate.document import read_certificate
    from reprogrok.certificate.tables import print_check
    from reprogrok.console import console
    from reprogrok.evaluation.examination import examinee
    from reprogrok.files import pretty_json
    from reprogrok.model.device import choose_device
    from reprogrok.model.shapes import count_parameters
    from reprogrok.tasks.addition import Addition

    certificate = read_certificate(path)
    require_same_model(certificate, checkpoint, digits)
    model = examinee(checkpoint, Addition(digits), choose_device("cpu"))
    try:
        with _stopped_by_signals(), block_display(digits, ("checked",), quiet=quiet) as (show, _):
            found = check_certificate(
                certificate,
                Enclosure(checkpoint.spec, checkpoint.weights, digits, certificate.arithmetic),
                model,
                count_parameters(checkpoint.spec),
                lambda block: show("checked", block),
            )
    except _StoppedError as stopped:
        typer.echo("stopped; nothing was decided", err=True)
        raise typer.Exit(128 + stopped.number) from stopped
    if format is Format.JSON:
        typer.echo(pretty_json(check_document(found)).decode(), nl=False)
    else:
        print_check(found, console())
    raise typer.Exit(found.exit_code)


@contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """SIGINT and SIGTERM end the block that is being looked at; those before it are kept.

    Raises:
        _StoppedError: one came.
    """

    def stop(number: int, _frame: FrameType | None) -> Any:
        raise _StoppedError(number)

    earlier = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)

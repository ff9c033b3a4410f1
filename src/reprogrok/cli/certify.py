"""`reprogrok certify CKPT`: prove an addition checkpoint right on every problem, or show where it is wrong."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from reprogrok.cli.options import PARAMS, Format
from reprogrok.errors import InputError
from reprogrok.files import check_writable

BUDGET = 180.0  # seconds of search; checking comes on top


class ArithmeticName(StrEnum):
    """The evaluations for which a certificate holds."""

    FLOAT32 = "float32"
    REAL = "real"


def certify(
    checkpoint: Annotated[
        Path,
        typer.Argument(metavar="CHECKPOINT", help="A .pt or .safetensors file of addition.", show_default=False),
    ],
    check: Annotated[
        Path | None,
        typer.Option(metavar="CERT.json", help="Check this certificate; search nothing.", show_default=False),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(metavar="CERT.json", help="Also write the certificate, for --check.", show_default=False),
    ] = None,
    budget: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", help="Of search, earlier sittings included.", show_default=f"{BUDGET:g}"),
    ] = None,
    arithmetic: Annotated[
        ArithmeticName | None,
        typer.Option(
            help="The statement holds in any float32 evaluation too, or in real arithmetic on the weights alone.",
            show_default="float32",
        ),
    ] = None,
    experiment: Annotated[str | None, typer.Option(help="Whose task it is, if the file does not say.")] = None,
    format: Annotated[Format, typer.Option(help="Form of what is printed.")] = Format.TABLE,  # noqa: A002 - the option's name
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
    params: PARAMS = Path("params.yaml"),
) -> None:
    """Prove that a model adds every pair of numbers right, or show where it does not.

    In a model of one layer and one head, the digits that decide an answer are few enough to enumerate, and the effect
    of all others is bounded. The statement holds in real arithmetic and in any float32 evaluation within the stated
    rounding. Stopped or killed, the same command goes on. `eval` looks for a certificate beside the checkpoint:
    MODEL.pt has MODEL.certificate.json.
    Exit code: 0 PROVED, 1 REFUTED, 3 PARTIAL; 2 if it cannot be certified, 130 (143) if it was stopped.
    With --check: 0, 1 or 3 if the certificate is confirmed, 1 if it is not, 2 if it is of something else or unreadable.
    """
    if check is not None:
        for_search = {"--output": output, "--budget": budget, "--arithmetic": arithmetic}
        if given := [name for name, value in for_search.items() if value is not None]:
            raise InputError("it is for a search, and --check makes none", field=given[0], expected="one of the two")
    if budget is not None and not 0 <= budget < float("inf"):
        raise InputError(field="--budget", expected="a number of seconds", found=f"{budget}")
    if output is not None:
        _check_output(output)
    from reprogrok.commands.certify import check_certificate, make_certificate

    if check is not None:
        code = check_certificate(
            checkpoint, check, experiment=experiment, params=params, as_json=format is Format.JSON, quiet=quiet
        )
    else:
        code = make_certificate(
            checkpoint,
            output,
            BUDGET if budget is None else budget,
            arithmetic or ArithmeticName.FLOAT32,
            experiment=experiment,
            params=params,
            as_json=format is Format.JSON,
            quiet=quiet,
        )
    raise typer.Exit(code)


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

"""`reprogrok certify CKPT`: prove an addition checkpoint right on every problem, or show where it is wrong."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from reprogrok.cli.options import FORMAT, PARAMS, TASK_OF, Format
from reprogrok.errors import InputError

BUDGET = 180.0  # seconds of search; checking comes on top


class ArithmeticName(StrEnum):
    """The evaluations for which a certificate holds."""

    FLOAT32 = "float32"
    REAL = "real"


def certify(
    checkpoint: Annotated[
        Path, typer.Argument(metavar="CHECKPOINT", help="A .pt or .safetensors file of addition.", show_default=False)
    ],
    check: Annotated[
        Path | None,
        typer.Option(metavar="CERT.json", help="Check this certificate instead of making one.", show_default=False),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(metavar="CERT.json", help="Also write the certificate to this file.", show_default=False),
    ] = None,
    budget: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", help="Time of the search, earlier runs included.", show_default=f"{BUDGET:g}"),
    ] = None,
    arithmetic: Annotated[
        ArithmeticName | None,
        typer.Option(
            help="Prove it for every float32 evaluation, or for exact arithmetic on the weights only.",
            show_default="float32",
        ),
    ] = None,
    experiment: TASK_OF = None,
    output_format: FORMAT = Format.TABLE,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print no progress.")] = False,
    params: PARAMS = Path("params.yaml"),
) -> None:
    """Prove that a model adds every pair right, or find its errors.

    In a model of one layer and one head, the digits that decide an answer are few enough to enumerate, and the effect
    of all others is bounded. After a stop or a kill, the same command resumes. `eval` looks for the certificate of
    MODEL.pt in MODEL.certificate.json.
    Exit code: 0 PROVED, 1 REFUTED, 3 PARTIAL; 2 if it cannot be certified, 130 (143) if it was stopped.
    With --check: 0, 1 or 3 if the certificate is confirmed, 1 if it is not, 2 if it is unreadable or of another
    checkpoint.
    """
    if check is not None:
        for_search = {"--output": output, "--budget": budget, "--arithmetic": arithmetic}
        if given := [name for name, value in for_search.items() if value is not None]:
            raise InputError("it is for a search, and --check makes none", field=given[0], expected="one of the two")
    if budget is not None and not 0 <= budget < float("inf"):
        raise InputError(field="--budget", expected="a number of seconds", found=f"{budget}")
    from reprogrok.commands.certify import check_certificate, make_certificate

    if check is not None:
        code = check_certificate(
            checkpoint, check, experiment=experiment, params=params, as_json=output_format is Format.JSON, quiet=quiet
        )
    else:
        code = make_certificate(
            checkpoint,
            output,
            BUDGET if budget is None else budget,
            arithmetic or ArithmeticName.FLOAT32,
            experiment=experiment,
            params=params,
            as_json=output_format is Format.JSON,
            quiet=quiet,
        )
    raise typer.Exit(code)

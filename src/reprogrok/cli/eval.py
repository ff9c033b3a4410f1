"""`reprogrok eval CKPT...`: examine checkpoints on held-out problems, with exact intervals of the error rate."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from reprogrok.cli.options import DATA, DEVICE, FORMAT, PARAMS, TASK_OF, Format


class SuiteChoice(StrEnum):
    """Suites of problems: the first two of addition, the next two of modular tasks."""

    UNIFORM = "uniform"
    STRESS = "stress"
    HELD_OUT = "held-out"
    TRAIN = "train"
    ALL = "all"


class ExamChoice(StrEnum):
    """Hold-out protocols."""

    ADDITION_100K = "addition-100k"
    MODULAR_SPLIT = "modular-split"


class Method(StrEnum):
    """Ways to decide a problem."""

    FORWARD = "forward"
    GENERATE = "generate"


def evaluate(
    checkpoints: Annotated[
        list[Path],
        typer.Argument(metavar="CHECKPOINT", help=".pt, .safetensors or llm.c .bin files.", show_default=False),
    ],
    device: DEVICE = "auto",
    exam: Annotated[
        ExamChoice | None, typer.Option(help="The hold-out protocol.", show_default="the exam of the checkpoint's task")
    ] = None,
    suite: Annotated[
        SuiteChoice,
        typer.Option(
            help="Addition: the published uniform problems, the stress strata, or both. "
            "Modular tasks: the held-out equations, the training set, or both."
        ),
    ] = SuiteChoice.ALL,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first N problems of each stratum.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Rows per forward pass.")] = 2_000,
    method: Annotated[Method, typer.Option(help="Decide by one forward pass, or by greedy decoding.")] = Method.FORWARD,
    min_exact: Annotated[
        float | None,
        typer.Option(help="Exit 1 unless every checkpoint reaches this accuracy on the uniform or held-out problems."),
    ] = None,
    experiment: TASK_OF = None,
    certificate: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="Certificate of a checkpoint; may be repeated. It is not checked again.",
            show_default="NAME.certificate.json beside the checkpoint, if it exists",
        ),
    ] = None,
    output: Annotated[Path | None, typer.Option(help="Also write the evaluation with every failure as JSON.")] = None,
    output_format: FORMAT = Format.TABLE,
    data: DATA = None,
    params: PARAMS = Path("params.yaml"),
) -> None:
    """Examine checkpoints on held-out problems.

    Addition: a score is k of n with its exact interval. Uniform problems hardly test carries; the stress strata show
    where a checkpoint without an error is weak. Modular tasks: every held-out equation is asked, with twins (whose
    swapped pair is trained on) and new pairs counted separately, and the whole training set. A certificate is shown
    beside the score. Exit code: 0; 1 if a checkpoint does not meet --min-exact or a certificate contradicts the
    results; 2 if a file cannot be examined.
    """
    from reprogrok.commands.eval import Examination, run

    asked = Examination(exam, suite, limit, batch_size, method, device, data)
    raise typer.Exit(
        run(
            checkpoints,
            asked,
            certificates=certificate or [],
            min_exact=min_exact,
            experiment=experiment,
            params=params,
            output=output,
            as_json=output_format is Format.JSON,
        )
    )

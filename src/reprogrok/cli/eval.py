"""`reprogrok eval CKPT...`: examine checkpoints on held-out problems and say what is known of their error rate."""

from __future__ import annotations

from enum import StrEnum
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reprogrok.cli.options import DATA, DEVICE, PARAMS, Format
from reprogrok.errors import ExitCode, InputError
from reprogrok.files import check_writable

if TYPE_CHECKING:
    from reprogrok.certificate.certified import Certified
    from reprogrok.exam.exam import Exam, Task
    from reprogrok.formats.checkpoints import Checkpoint


class SuiteChoice(StrEnum):
    """Which problems to ask: the first two are of addition, the next two of modular tasks."""

    UNIFORM = "uniform"
    STRESS = "stress"
    HELD_OUT = "held-out"
    TRAIN = "train"
    ALL = "all"


class ExamChoice(StrEnum):
    """The hold-out protocols."""

    ADDITION_100K = "addition-100k"
    MODULAR_SPLIT = "modular-split"


# What --min-exact speaks of, by suite; the other suites have no share of right answers that stands for one.
_JUDGED = {SuiteChoice.STRESS: SuiteChoice.UNIFORM, SuiteChoice.TRAIN: SuiteChoice.HELD_OUT}


class Method(StrEnum):
    """How a problem is decided."""

    FORWARD = "forward"
    GENERATE = "generate"


def evaluate(
    checkpoints: Annotated[
        list[Path],
        typer.Argument(metavar="CHECKPOINT", help=".pt, .safetensors or llm.c .bin files.", show_default=False),
    ],
    device: DEVICE = "auto",
    exam: Annotated[
        ExamChoice | None, typer.Option(help="The hold-out protocol.", show_default="that of the checkpoint's task")
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
    method: Annotated[Method, typer.Option(help="One pass over the true row, or greedy decoding.")] = Method.FORWARD,
    min_exact: Annotated[
        float | None,
        typer.Option(
            help="Exit 1 unless every checkpoint gets at least this share of the uniform or held-out problems right."
        ),
    ] = None,
    experiment: Annotated[str | None, typer.Option(help="Whose task it is, if the file does not say.")] = None,
    certificate: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="What `certify` wrote of a checkpoint here; may be repeated. Not checked again.",
            show_default="NAME.certificate.json beside it, if there",
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Also write the whole evaluation, with every failure, as JSON.")
    ] = None,
    format: Annotated[Format, typer.Option(help="What is printed.")] = Format.TABLE,  # noqa: A002 - the option's name
    data: DATA = None,
    params: PARAMS = Path("params.yaml"),
) -> None:
    """Examine checkpoints on held-out problems.

    Addition: a score is k of n with its exact interval. Uniform problems hardly test carries; the stress strata show
    where a checkpoint without an error is weak. Modular tasks: every held-out equation is asked, twins (whose swapped
    pair is trained on) and new pairs apart, and the whole training set. A certificate is shown beside the score.
    Exit code: 0, or 1 if --min-exact is not met by every checkpoint or a certificate cannot be true beside what was
    seen, or 2 if a file cannot be examined.
    """
    if min_exact is not None and not 0 <= min_exact <= 1:
        raise InputError(field="--min-exact", expected="a share from 0 to 1", found=str(min_exact))
    if min_exact is not None and (judged := _JUDGED.get(suite)) is not None:
        raise InputError(
            f"needs the {judged} problems", field="--min-exact", expected=f"--suite {judged} or all", found=suite.value
        )
    if output is not None:
        check_writable(output)
    given = certificate or []
    evaluations = _evaluate(
        checkpoints, given, device, exam, suite, limit, batch_size, method.value, experiment, params, data
    )
    written = (
        evaluations[0] if len(evaluations) == 1 else {"format": "reprogrok.evaluations/1", "evaluations": evaluations}
    )
    _write(written, evaluations, output, format)
    wrong = _contradicted(evaluations)
    if min_exact is not None:
        shares = [Fraction(*_right_of(evaluation)) for evaluation in evaluations]
        if min(shares) < Fraction(str(min_exact)):
            typer.echo(f"--min-exact {min_exact}: not met (lowest {float(min(shares)):.6g})", err=True)
            wrong = True
    if wrong:
        raise typer.Exit(ExitCode.FAIL)


def _evaluate(
    paths: list[Path],
    certificates: list[Path],
    device_name: str,
    exam: ExamChoice | None,
    suite: SuiteChoice,
    limit: int | None,
    batch: int,
    method: str,
    experiment: str | None,
    params: Path,
    data: Path | None,
) -> list[dict[str, Any]]:
    from reprogrok.evaluation.examination import document, examinee, task_of, task_text, with_certificate
    from reprogrok.evaluation.progress import counting
    from reprogrok.exam.exam import build_exam
    from reprogrok.formats.checkpoints import load_checkpoint
    from reprogrok.model.device import choose_device
    from reprogrok.params import read_params

    chosen = None if experiment is None else read_params(params).experiment(experiment, params)
    # Every file is read and checked before the first one is examined: a typing error costs no minutes.
    loaded = [load_checkpoint(path) for path in paths]
    tasks = [task_of(checkpoint, chosen) for checkpoint in loaded]
    task = tasks[0]
    if other := next(((path, found) for path, found in zip(paths, tasks, strict=True) if found != task), None):
        raise InputError(
            "another task than the first checkpoint's; evaluate them apart", path=other[0],
            expected=task_text(task), found=task_text(other[1]),
        )  # fmt: skip
    certified = _certified(loaded, task, certificates)
    suites = _suites(task, exam, suite)
    device = choose_device(device_name)
    exams = [build_exam(name, task, limit) for name in suites]
    if data is not None:
        if limit is not None:
            raise InputError("a part of the problems cannot be checked", field="--data", expected="no --limit")
        _check_data(data, task, exams)
    evaluations = []
    with counting("problems", len(loaded) * sum(len(s.pairs) for e in exams for s in e.strata)) as advance:
        for checkpoint in loaded:
            model = examinee(checkpoint, task, device)
            results = [model.examine(one, method, batch, advance) for one in exams]
            evaluation = document(checkpoint, results, device)
            stated = certified.get(checkpoint.sha256)
            evaluations.append(evaluation if stated is None else with_certificate(evaluation, stated))
    return evaluations


def _certified(loaded: list[Checkpoint], task: Task, given: list[Path]) -> dict[str, Certified]:
    """Sha256 of a checkpoint -> what is certified of it: by the files that were given, else by those beside them.

    A file beside a checkpoint that is not about it, or cannot be read, is warned of and left out.

    Raises:
        InputError: a file that was given is none, or of none of the checkpoints.
    """
    from reprogrok.certificate.certified import read_certified
    from reprogrok.certificate.document import beside

    found = {}
    for path in given:
        one = read_certified(path)
        if one.checkpoint_sha256 not in {checkpoint.sha256 for checkpoint in loaded}:
            raise InputError(
                "a certificate of another file", path=path, field="$.checkpoint.sha256",
                expected=" or ".join(f"{checkpoint.sha256[:16]}…" for checkpoint in loaded),
                found=f"{one.checkpoint_sha256[:16]}…",
            )  # fmt: skip
        one.check_is_for(task)
        found[one.checkpoint_sha256] = one
    for checkpoint in loaded:
        path = beside(Path(checkpoint.path))
        if checkpoint.sha256 in found or not path.exists():
            continue
        try:
            one = read_certified(path)
            one.check_is_of(checkpoint.sha256, checkpoint.path)
            one.check_is_for(task)
        except InputError as error:
            typer.echo(f"warning: not used: {error}", err=True)
        else:
            found[checkpoint.sha256] = one
    return found


def _contradicted(evaluations: list[dict[str, Any]]) -> bool:
    """Say loudly which certificates cannot be true beside what was seen; is there one?"""
    from reprogrok.certificate.certified_lines import contradiction

    found = [text for evaluation in evaluations if (text := contradiction(evaluation)) is not None]
    for text in found:
        typer.echo(text, err=True)
    return bool(found)


def _suites(task: Task, exam: ExamChoice | None, suite: SuiteChoice) -> tuple[str, ...]:
    """The suites that are asked for, if the task has them.

    Raises:
        InputError: it has another exam, or other suites.
    """
    from reprogrok.evaluation.examination import task_text
    from reprogrok.exam.exam import MODULAR_SUITES, suites_of

    suites = suites_of(task)
    own = ExamChoice.MODULAR_SPLIT if suites == MODULAR_SUITES else ExamChoice.ADDITION_100K
    if exam not in (None, own):
        raise InputError(
            f"not an exam of {task_text(task)}", field="--exam", expected=f"{own} or nothing", found=f"{exam}"
        )
    if suite is SuiteChoice.ALL:
        return suites
    if suite not in suites:
        raise InputError(
            f"not a suite of {task_text(task)}", field="--suite", expected=f"{' or '.join(suites)} or all",
            found=suite.value,
        )  # fmt: skip
    return (suite.value,)


def _check_data(data: Path, task: Task, exams: list[Exam]) -> None:
    """Compare a folder that `generate` wrote with the problems that will be asked.

    Raises:
        InputError: a file is missing, damaged, or holds other problems.
    """
    from reprogrok.formats.problem_files import check_problems
    from reprogrok.tasks.split_modular import SplitModular
    from reprogrok.tasks.split_problems import SPLIT_FILE, split_sets

    if isinstance(task, SplitModular):
        check_problems(data / SPLIT_FILE, split_sets(task.spec))
        return
    for exam in exams:
        check_problems(data / f"exam-{exam.suite}.safetensors", exam.sets())


def _write(written: dict[str, Any], evaluations: list[dict[str, Any]], output: Path | None, format: Format) -> None:  # noqa: A002
    from reprogrok.console import console
    from reprogrok.evaluation.tables import print_evaluation, print_evaluations
    from reprogrok.files import pretty_json, write_bytes
    from reprogrok.schema import check_written

    if output is not None or format is Format.JSON:
        check_written(written, "evaluation")
    if output is not None:
        write_bytes(output, pretty_json(written))
    if format is Format.JSON:
        typer.echo(pretty_json(written).decode(), nl=False)
    elif len(evaluations) == 1:
        print_evaluation(evaluations[0], console())
    else:
        print_evaluations(evaluations, console())


def _right_of(evaluation: dict[str, Any]) -> tuple[int, int]:
    suites = evaluation["suites"]
    total = suites[SuiteChoice.HELD_OUT if SuiteChoice.HELD_OUT in suites else SuiteChoice.UNIFORM]["total"]
    return total["n"] - total["errors"], total["n"]

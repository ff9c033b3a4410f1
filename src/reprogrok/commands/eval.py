"""`reprogrok eval`: checkpoints -> evaluations, printed as tables or JSON and written to a file.

files --> checkpoints of one task --exams--> Evaluation ... --tables or documents--> stdout, --output
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from reprogrok.certificate.certified import Certified, read_certified
from reprogrok.certificate.document import beside
from reprogrok.console import console, remark
from reprogrok.errors import ExitCode, InputError
from reprogrok.evaluation.certificates import contradiction
from reprogrok.evaluation.evaluation import Evaluation, as_document
from reprogrok.evaluation.examination import examinee, task_of, task_text
from reprogrok.evaluation.progress import counting
from reprogrok.evaluation.tables import print_evaluation, print_evaluations
from reprogrok.exam.exam import HELD_OUT, MODULAR_SUITES, STRESS, TRAIN, UNIFORM, Exam, Task, build_exam, suites_of
from reprogrok.files import check_writable, pretty_json, write_bytes
from reprogrok.formats.checkpoints import Checkpoint, load_checkpoint
from reprogrok.formats.problem_files import check_problems
from reprogrok.model.device import choose_device, environment
from reprogrok.params import read_params
from reprogrok.schema import check_written
from reprogrok.tasks.split_modular import SplitModular
from reprogrok.tasks.split_problems import SPLIT_FILE, split_sets

ALL = "all"
# The suite that --min-exact judges instead of one that has no single accuracy.
_JUDGED = {STRESS: UNIFORM, TRAIN: HELD_OUT}


@dataclass(frozen=True)
class Examination:
    """The requested examination of checkpoints.

    Attributes:
        exam: name of the hold-out protocol; None for that of the task.
        suite: name of a suite, or "all".
        limit: number of problems to take from each stratum; None for all.
        batch: rows per forward pass.
        method: "forward" or "generate".
        device: name of the device.
        data: folder written by `generate` to compare the problems with.
    """

    exam: str | None
    suite: str
    limit: int | None
    batch: int
    method: str
    device: str
    data: Path | None


def run(
    paths: Sequence[Path],
    asked: Examination,
    *,
    certificates: Sequence[Path],
    min_exact: float | None,
    experiment: str | None,
    params: Path,
    output: Path | None,
    as_json: bool,
) -> ExitCode:
    """Examine checkpoints; FAIL if --min-exact is not met or a certificate contradicts the results.

    Raises:
        InputError: an option is out of range, or a file cannot be examined.
    """
    _check_min_exact(min_exact, asked.suite)
    if output is not None:
        check_writable(output)
    evaluations = _evaluate(paths, asked, certificates, experiment, params)
    _write(evaluations, output, as_json=as_json)
    contradictions = [text for each in evaluations if (text := contradiction(each.certificate)) is not None]
    for text in contradictions:
        remark(text)
    failed = bool(contradictions)
    if min_exact is not None and (lowest := min(each.accuracy for each in evaluations)) < Fraction(str(min_exact)):
        remark(f"--min-exact {min_exact}: not met (lowest {float(lowest):.6g})")
        failed = True
    return ExitCode.FAIL if failed else ExitCode.PASS


def _check_min_exact(min_exact: float | None, suite: str) -> None:
    if min_exact is None:
        return
    if not 0 <= min_exact <= 1:
        raise InputError(field="--min-exact", expected="a number from 0 to 1", found=str(min_exact))
    if (judged := _JUDGED.get(suite)) is not None:
        expected = f"--suite {judged} or all"
        raise InputError(f"needs the {judged} problems", field="--min-exact", expected=expected, found=suite)


def _evaluate(
    paths: Sequence[Path], asked: Examination, certificates: Sequence[Path], experiment: str | None, params: Path
) -> list[Evaluation]:
    chosen = None if experiment is None else read_params(params).experiment(experiment, params)
    # All files are read and checked before the first examination, so that a typing error costs no minutes.
    loaded = [load_checkpoint(path) for path in paths]
    task, *others = [task_of(checkpoint, chosen) for checkpoint in loaded]
    for checkpoint, other in zip(loaded[1:], others, strict=True):
        if other != task:
            raise InputError(
                "not the task of the first checkpoint; evaluate them separately", path=checkpoint.path,
                expected=task_text(task), found=task_text(other),
            )  # fmt: skip
    certified = _certified(loaded, task, certificates)
    suites = _suites(task, asked.exam, asked.suite)
    device = choose_device(asked.device)
    exams = [build_exam(name, task, asked.limit) for name in suites]
    if asked.data is not None:
        if asked.limit is not None:
            raise InputError("a part of the problems cannot be checked", field="--data", expected="no --limit")
        _check_data(asked.data, task, exams)
    about, evaluations = environment(device), []
    with counting("problems", len(loaded) * sum(map(len, exams))) as advance:
        for checkpoint in loaded:
            model = examinee(checkpoint, task, device)
            results = {exam.suite: model.examine(exam, asked.method, asked.batch, advance) for exam in exams}
            stated = certified.get(checkpoint.sha256)
            evaluations.append(Evaluation(checkpoint, task, results, about, stated))
    return evaluations


def _certified(loaded: Sequence[Checkpoint], task: Task, given: Sequence[Path]) -> Mapping[str, Certified]:
    """Map the SHA-256 of checkpoints to their certificates, from the given files or else from files beside them.

    A file beside a checkpoint that is of another file, or cannot be read, is left out with a warning.

    Raises:
        InputError: a given file is not a certificate, or not of one of the checkpoints.
    """
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
        path = beside(checkpoint.path)
        if checkpoint.sha256 in found or not path.exists():
            continue
        try:
            one = read_certified(path)
            one.check_is_of(checkpoint.sha256, checkpoint.path)
            one.check_is_for(task)
        except InputError as error:
            remark(f"warning: not used: {error}")
        else:
            found[checkpoint.sha256] = one
    return found


def _suites(task: Task, exam: str | None, suite: str) -> tuple[str, ...]:
    """Return the requested suites of a task.

    Raises:
        InputError: the task has another exam, or other suites.
    """
    suites = suites_of(task)
    own = "modular-split" if suites == MODULAR_SUITES else "addition-100k"
    if exam not in {None, own}:
        raise InputError(f"not an exam of {task_text(task)}", field="--exam", expected=f"{own} or nothing", found=exam)
    if suite == ALL:
        return suites
    if suite not in suites:
        expected = f"{' or '.join(suites)} or all"
        raise InputError(f"not a suite of {task_text(task)}", field="--suite", expected=expected, found=suite)
    return (suite,)


def _check_data(data: Path, task: Task, exams: Sequence[Exam]) -> None:
    """Compare a folder written by `generate` with the problems of the exams.

    Raises:
        InputError: a file is missing, damaged, or holds other problems.
    """
    if isinstance(task, SplitModular):
        check_problems(data / SPLIT_FILE, split_sets(task.spec))
        return
    for exam in exams:
        check_problems(data / f"exam-{exam.suite}.safetensors", exam.sets())


def _write(evaluations: Sequence[Evaluation], output: Path | None, *, as_json: bool) -> None:
    if output is not None or as_json:
        documents = [as_document(evaluation) for evaluation in evaluations]
        many = {"format": "reprogrok.evaluations/1", "evaluations": documents}
        written = documents[0] if len(documents) == 1 else many
        check_written(written, "evaluation")
        if output is not None:
            write_bytes(output, pretty_json(written))
        if as_json:
            sys.stdout.write(pretty_json(written).decode())
            return
    if len(evaluations) == 1:
        print_evaluation(evaluations[0], console())
    else:
        print_evaluations(evaluations, console())

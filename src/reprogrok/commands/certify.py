"""Make a certificate of a checkpoint, or check one, and print it; the exit code is that of its status."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from reprogrok.certificate.certification import CertificationWork, certify, search_all
from reprogrok.certificate.checker.confirm import confirm
from reprogrok.certificate.checker.enclosure import Enclosure, refusal
from reprogrok.certificate.display import block_display
from reprogrok.certificate.document import (
    ARITHMETICS,
    SCHEMA,
    certificate_document,
    read_certificate,
    write_certificate,
)
from reprogrok.certificate.tables import confirmation_document, print_certificate, print_confirmation
from reprogrok.console import console, remark
from reprogrok.errors import ExitCode, InputError
from reprogrok.evaluation.examination import examinee, task_of, task_text
from reprogrok.files import check_writable, pretty_json
from reprogrok.formats.checkpoints import Checkpoint, load_checkpoint
from reprogrok.model.device import choose_device
from reprogrok.model.shapes import count_parameters
from reprogrok.params import read_params
from reprogrok.schema import check_written
from reprogrok.tasks.addition import Addition


class _StoppedError(BaseException):
    """A signal came. Not an Exception, so that no handler of errors catches it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.exit_code = 128 + number


def make_certificate(
    path: Path,
    output: Path | None,
    budget: float,
    arithmetic_name: str,
    *,
    experiment: str | None,
    params: Path,
    as_json: bool,
    quiet: bool,
) -> int:
    """Search and check; print the certificate, and write it to `output`. Return the exit code of its status.

    Raises:
        InputError: the checkpoint cannot be certified, or the certificate not be written.
        BusyError: another process is certifying it.
    """
    if output is not None:
        _check_output(output)
    checkpoint, digits = _addition(path, experiment, params)
    arithmetic = ARITHMETICS[arithmetic_name]
    work = CertificationWork.of(checkpoint, digits, budget, arithmetic)
    model = examinee(checkpoint, Addition(digits), choose_device("cpu"))
    with work.held():
        if (kept := work.kept()) and not quiet:
            remark(f"going on: {kept} of {work.blocks} blocks were searched before ({work.folder})")
        try:
            with _stopped_by_signals(), block_display(digits, ("searched", "checked"), quiet=quiet) as (show, watch):
                enclosure = Enclosure(checkpoint.spec, checkpoint.weights, digits, arithmetic)
                searched = search_all(
                    work, checkpoint, budget, enclosure, lambda block: show("searched", block), watch=watch
                )
                certificate = certify(
                    checkpoint, digits, searched, enclosure, model,
                    budget=budget, advance=lambda block: show("checked", block),
                )  # fmt: skip
        except _StoppedError as stopped:
            remark(f"stopped; {work.kept()} of {work.blocks} blocks are kept, and the same command goes on")
            return stopped.exit_code
        document = certificate_document(certificate)
        check_written(document, SCHEMA)
        if output is not None:
            write_certificate(output, certificate)
            work.remove()
    if as_json:
        sys.stdout.write(pretty_json(document).decode())
    else:
        print_certificate(certificate, console(), written=output)
    return certificate.statement.status.exit_code


def check_certificate(
    path: Path, certificate: Path, *, experiment: str | None, params: Path, as_json: bool, quiet: bool
) -> int:
    """Check a certificate and print the result. Return the exit code of its status if it is confirmed, else 1.

    Raises:
        InputError: the checkpoint cannot be certified, or the certificate is of another one or unreadable.
    """
    checkpoint, digits = _addition(path, experiment, params)
    file = read_certificate(certificate)
    file.require_is_of(checkpoint, digits)
    model = examinee(checkpoint, Addition(digits), choose_device("cpu"))
    try:
        with _stopped_by_signals(), block_display(digits, ("checked",), quiet=quiet) as (show, _):
            result = confirm(
                file.certificate,
                Enclosure(checkpoint.spec, checkpoint.weights, digits, file.certificate.arithmetic),
                model,
                count_parameters(checkpoint.spec),
                lambda block: show("checked", block),
            )
    except _StoppedError as stopped:
        remark("stopped; nothing was decided")
        return stopped.exit_code
    if as_json:
        sys.stdout.write(pretty_json(confirmation_document(file, result)).decode())
    else:
        print_confirmation(file, result, console())
    return file.certificate.statement.status.exit_code if result.confirmed else ExitCode.FAIL


def _addition(path: Path, experiment: str | None, params: Path) -> tuple[Checkpoint, int]:
    """Load a checkpoint of addition; return it with the digits of its operands.

    Raises:
        InputError: it is of another task, or of no family that can be enclosed.
    """
    chosen = None if experiment is None else read_params(params).experiment(experiment, params)
    loaded = load_checkpoint(path)
    task = task_of(loaded, chosen)
    if not isinstance(task, Addition):
        raise InputError(
            "nothing to certify: the task is finite, and `reprogrok eval` asks every one of its equations",
            path=path, expected="a checkpoint of addition", found=task_text(task),
        )  # fmt: skip
    if (reason := refusal(loaded.spec, task.digits)) is not None:
        raise InputError(f"cannot be certified: {reason}", path=path)
    return loaded, task.digits


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


@contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """Turn SIGINT and SIGTERM into `_StoppedError`; finished blocks are kept.

    Raises:
        _StoppedError: one came.
    """

    def stop(number: int, _frame: FrameType | None) -> None:
        raise _StoppedError(number)

    earlier = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)

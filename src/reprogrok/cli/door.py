"""The one door by which a command ends: standard streams that cannot change a verdict, errors as one line, exit codes.

    standard streams --open_streams--> closed ones discard; a reader that leaves early is no error; errors never raise
    exception --report--> `error: ...` on one line, control characters escaped --> exit code

A command's exit code is decided by its result. So a closed pipe on stdout discards the rest of the output, and stderr
may be full or closed without any effect. A stdout that cannot be written (a full disk) is an error: exit code 2.
"""

from __future__ import annotations

import io
import os
import sys
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TextIO

import typer

from reprogrok.errors import ExitCode, ReprogrokError, printable

if TYPE_CHECKING:
    from typing_extensions import Buffer

# The base of typer's errors about words that cannot be parsed; typer may carry click under a private name.
UsageError: type[Exception] = typer.BadParameter.__bases__[0]
INTERRUPTED = 130  # 128 + SIGINT, as shells have it


class _StandardStream(io.FileIO):
    """A standard stream without the errors that must not decide an exit code.

    Args:
        number: its file descriptor.
        ignored: the errors of writing that discard what was written.
    """

    def __init__(self, number: int, ignored: type[OSError]) -> None:
        super().__init__(number, "w", closefd=False)
        self._ignored = ignored

    def write(self, data: Buffer, /) -> int:
        """Write `data`, or discard it if nobody can read it any more; returns its length in bytes."""
        try:
            return super().write(data)
        except self._ignored:
            return memoryview(data).nbytes


def open_streams() -> None:
    """Replace the standard streams: after this a file that is opened never takes the number of a closed one."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDONLY if number == 0 else os.O_WRONLY)  # takes the lowest free number
    sys.stdin = sys.stdin or os.fdopen(0, closefd=False)
    sys.stdout = _text_stream(_StandardStream(1, BrokenPipeError), "strict", sys.stdout)
    sys.stderr = _text_stream(_StandardStream(2, OSError), "backslashreplace", sys.stderr)


def _text_stream(raw: _StandardStream, errors: str, before: TextIO | None) -> io.TextIOWrapper:
    """A text stream over `raw` with the encoding of the stream that it replaces."""
    encoding = getattr(before, "encoding", None)
    handler = getattr(before, "errors", None) or errors
    if before is not None:
        before.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(raw), encoding, handler, line_buffering=errors != "strict" or os.isatty(raw.fileno())
    )


def leave(command: Callable[[], object]) -> int:
    """Run a command and return the exit code of the process; print the error if there is no other result.

    Args:
        command: parses the command line and runs the body; returns an exit code, or None for 0. It may raise anything.
    """
    try:
        result = command()
        sys.stdout.flush()
    except Exception as error:  # noqa: BLE001 - Python's own exit code for an exception is 1, which means "fail"
        return report(error)
    return result if isinstance(result, int) else ExitCode.PASS


def report(error: Exception) -> int:
    """Print an error as one line on stderr and return its exit code."""
    if isinstance(error, typer.Abort):
        return INTERRUPTED
    if isinstance(error, UsageError):
        _report_usage(error)
    elif isinstance(error, ReprogrokError):
        _print_error(str(error))
    elif isinstance(error, OSError):  # the machine refused something (a full disk, no permission): no fault of ours
        _print_error(f"{error.filename or 'the output'}: {error.strerror or error}")
    else:
        for line in "".join(traceback.format_exception(error)).splitlines():
            sys.stderr.write(printable(line) + "\n")
        _print_error("a fault in reprogrok itself (see above); nothing was decided")
    _discard_output()
    return ExitCode.ERROR


def _report_usage(error: Any) -> None:
    """Name the words that cannot be parsed and the help; a bare command has printed its help already."""
    context = error.ctx
    if message := error.format_message().rstrip("."):
        _print_error(f"{message} (see `{context.command_path} --help`)" if context is not None else message)


def _print_error(message: str) -> None:
    sys.stderr.write(f"error: {printable(message)}\n")


def _discard_output() -> None:
    """Discard what could not be written: flushed again at the interpreter's end, it would change the exit code."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)

"""The command line called in the process of the tests: the same door as `python -m reprogrok`, without its start.

    words, folder, environment --main()--> exit code, stdout, stderr, as `subprocess.run` gives them

A start costs a second or two of imports, hundreds of times in one run of the tests. What a start itself promises
(imports, signals, groups of processes, variables that the interpreter reads) is tested on started processes. Output is
caught at the file descriptors, so that what a command's own child processes print is caught as well.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import traceback
import warnings
from contextlib import ExitStack, contextmanager

import torch

from reprogrok.cli.main import main

# Variables that are read while a command runs; with another value of any other one, a command is started.
READ_LATE = {"COLUMNS", "PYTEST_CURRENT_TEST", "NO_COLOR", "FORCE_COLOR", "TERM"}
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def call(words, cwd, environment) -> subprocess.CompletedProcess:
    """Run `reprogrok WORDS` here, in the folder `cwd`; nothing of it is left behind but the files that it wrote."""
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors, ExitStack() as stack:
        for kept in (_kept_folder(cwd), _kept_environment(environment), _kept_state(), _kept_streams(output, errors)):
            stack.enter_context(kept)
        sys.argv = ["reprogrok", *words]
        code = _code_of(main)
        stack.close()
        texts = [_text(file) for file in (output, errors)]
    return subprocess.CompletedProcess(["reprogrok", *words], code, *texts)


def fits(environment) -> bool:
    """Whether a command that is called here sees this environment as one that is started would."""
    return _early(environment) == _early(os.environ)


def _early(environment):
    return {name: value for name, value in environment.items() if name not in READ_LATE}


def _code_of(act) -> int:
    try:
        act()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001 - as the interpreter does with it
        traceback.print_exc()
        return 1
    return 0


@contextmanager
def _kept_folder(cwd):
    before = os.getcwd()  # noqa: PTH109 - what chdir takes back
    os.chdir(cwd)
    try:
        yield
    finally:
        os.chdir(before)


@contextmanager
def _kept_environment(environment):
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(environment)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def _kept_state():
    """Signals, warnings, arguments and what torch holds for the whole process."""
    handlers = {number: signal.getsignal(number) for number in _SIGNALS}
    argv, threads = sys.argv, torch.get_num_threads()
    strict = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    try:
        with warnings.catch_warnings():
            warnings.resetwarnings()
            yield
    finally:
        sys.argv = argv
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(strict[0], warn_only=strict[1])
        for number, handler in handlers.items():
            signal.signal(number, handler)


@contextmanager
def _kept_streams(output, errors):
    """Standard input empty, output and errors into these files, for child processes too."""
    streams = sys.stdin, sys.stdout, sys.stderr
    for stream in streams[1:]:
        stream.flush()
    saved = [os.dup(number) for number in (0, 1, 2)]
    with open(os.devnull, "rb") as nothing:  # noqa: PTH123 - not a path of the project
        for number, file in enumerate((nothing, output, errors)):
            os.dup2(file.fileno(), number)
    try:
        sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
        sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
        sys.stderr = os.fdopen(2, "w", encoding="utf-8", closefd=False, errors="backslashreplace")
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            if not stream.closed:
                stream.flush()
        sys.stdin, sys.stdout, sys.stderr = streams
        for number, before in enumerate(saved):
            os.dup2(before, number)
            os.close(before)


def _text(file) -> str:
    file.seek(0)
    return file.read().decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")

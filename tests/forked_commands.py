"""Commands as a user runs them, each in a process of its own, without what Python takes to start one.

    test --words, folder, environment, two files--> this process, which has loaded everything --fork--> the command

`python -m reprogrok` spends a second or two on imports before it does anything, hundreds of times in one run of the
tests. Here they are loaded once, in a process that does nothing else; every command is forked off it and goes its own
way to its end: its own folder, environment, output and exit. What a start itself promises (imports, signals, groups of
processes, variables that the interpreter reads) is tested on processes that are started, not forked.
"""

from __future__ import annotations

import array
import atexit
import gc
import importlib
import json
import os
import pkgutil
import runpy
import socket
import subprocess
import sys
import tempfile
import traceback

# What a running command reads by itself; all else can have taken effect when the modules were loaded.
READ_LATE = {"COLUMNS", "PYTEST_CURRENT_TEST"}
ALSO_LOADED = (
    *("jsonschema", "referencing.jsonschema", "ruamel.yaml", "scipy.special", "scipy.stats", "typer._adapters"),
    *("matplotlib.figure", "matplotlib.backends.backend_agg", "rich.console", "rich.live", "rich.table"),
)
NOT_LOADED = ("reprogrok.__main__", "reprogrok.train.compilation")  # the program itself, and torch's compiler


class Forks:
    """Runs commands by forking; started with the environment of the tests, in which alone it may be used."""

    def __init__(self) -> None:
        self._environment = late_left_out(os.environ)
        self._channel, theirs = socket.socketpair()
        command = [sys.executable, __file__, str(theirs.fileno())]
        self._process = subprocess.Popen(command, pass_fds=(theirs.fileno(),), stdin=subprocess.DEVNULL)
        theirs.close()

    def fits(self, environment) -> bool:
        """Whether a command that is forked sees this environment as one that is started would."""
        return late_left_out(environment) == self._environment

    def run(self, words, cwd, environment) -> subprocess.CompletedProcess:
        """Run `reprogrok WORDS` in the folder `cwd`, as `subprocess.run` does with text and captured output."""
        with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
            request = json.dumps({"words": words, "cwd": os.fspath(cwd), "environment": dict(environment)}).encode()
            descriptors = array.array("i", [output.fileno(), errors.fileno()])
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptors)]
            self._channel.sendmsg([len(request).to_bytes(8, "big")], rights)
            self._channel.sendall(request)
            status = exactly(self._channel, 4)
            texts = [read_text(file) for file in (output, errors)]
        code = os.waitstatus_to_exitcode(int.from_bytes(status, "big"))
        return subprocess.CompletedProcess(["reprogrok", *words], code, *texts)

    def close(self) -> None:
        """End the process that is forked."""
        self._channel.close()
        self._process.wait()


def late_left_out(environment):
    return {name: value for name, value in environment.items() if name not in READ_LATE}


def read_text(file):
    file.seek(0)
    return file.read().decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")


def exactly(channel, count):
    data = b""
    while len(data) < count:
        part = channel.recv(count - len(data))
        if not part:
            message = "the process that commands are forked off has ended"
            raise EOFError(message)
        data += part
    return data


def load_everything():
    """Import what commands import, whichever they are."""
    import reprogrok

    names = (module.name for module in pkgutil.walk_packages(reprogrok.__path__, "reprogrok."))
    for name in (*ALSO_LOADED, *names):
        if name not in NOT_LOADED:
            importlib.import_module(name)
    gc.collect()
    gc.freeze()  # what is never collected is never copied


def next_command(channel):
    """Fork for each request that comes; returns, in the child alone, the words of its command."""
    while True:
        length, rights, _, _ = channel.recvmsg(8, socket.CMSG_SPACE(8))
        if not length:
            sys.exit()
        descriptors = array.array("i", rights[0][2])
        request = json.loads(exactly(channel, int.from_bytes(length, "big")))
        child = os.fork()
        if child == 0:
            channel.close()
            for ours, theirs in zip((1, 2), descriptors, strict=True):
                os.dup2(theirs, ours)
                os.close(theirs)
            os.chdir(request["cwd"])
            os.environ.clear()
            os.environ.update(request["environment"])
            sys.path[0] = request["cwd"]  # as `python -m` has it
            return request["words"]
        for descriptor in descriptors:
            os.close(descriptor)
        _, status = os.waitpid(child, 0)
        channel.sendall(status.to_bytes(4, "big"))


def leave(code):
    """End as the interpreter does, but for taking every module to pieces, which takes longer than most commands."""
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    requests = socket.socket(fileno=int(sys.argv[1]))
    requests.set_inheritable(False)
    load_everything()
    sys.argv = ["reprogrok", *next_command(requests)]
    try:
        runpy.run_module("reprogrok", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        leave(end.code if isinstance(end.code, int) else int(end.code is not None))
    except BaseException:  # noqa: BLE001 - as the interpreter does with it
        traceback.print_exc()
        leave(1)
    leave(0)

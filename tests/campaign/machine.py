"""A machine that fails at one named operation of the file system: it kills the process there, or refuses.

    reprogrok --os.replace, os.fsync, FileIO.write, ...--> Machine --count, name, fail once--> the system

Nothing of this is in the program: the child that is attacked has the functions of `os` and `io` replaced before it
calls the command line. An operation is named by what it does, to which file, and the how-many-eth time:
`rename .reprogrok/work/*/seed-0/state-9.*.pt 1`; random parts of names and digests are written as `*`.
"""

from __future__ import annotations

import errno
import io
import os
import re
import signal
from dataclasses import dataclass
from pathlib import Path

_CREATING = {"open", "write", "mkdir", "fsync", "truncate"}  # what a full disk refuses


@dataclass(frozen=True)
class Fault:
    """What goes wrong at `point`.

    mode: "before" or "after" the operation the process dies; "half" of a write arrives and then it dies; "full": half
    of a write arrives, and from then on the disk takes nothing; "broken": this one operation fails with EIO; "short":
    the system takes half of what it is given in every write, which is no failure.
    by: how the process dies, "SIGKILL" or "os._exit".
    """

    point: str
    mode: str
    by: str = "SIGKILL"


class Machine:
    """Put between a process and its file system by `install`; there is no way back."""

    def __init__(self, root: Path, fault: Fault | None = None) -> None:
        self.root, self.fault = os.fspath(root), fault
        self.seen: list[str] = []
        self._times: dict[str, int] = {}
        self._paths: dict[int, str] = {}
        self._full = False
        self._open_descriptor, self._open_file = os.open, io.open

    def install(self) -> None:
        """Replace what the program reaches the file system by."""
        for kind, function in {"unlink": os.unlink, "rmdir": os.rmdir, "mkdir": os.mkdir, "chmod": os.chmod}.items():
            setattr(os, kind, self._on_path(kind, function))
        replace, fsync = os.replace, os.fsync
        os.replace = lambda source, target: self.at("rename", target, lambda: replace(source, target))
        os.fsync = lambda descriptor: self.at("fsync", self._paths.get(descriptor), lambda: fsync(descriptor))
        os.open, io.open = self._os_open, self._io_open

    def at(self, kind, path, act, half=None):
        """Carry out one operation, or fail at it."""
        name = self._name(kind, path)
        if name is None:
            return act()
        self.seen.append(name)
        mode = self.fault.mode if self.fault is not None and name == self.fault.point else ""
        if mode == "before":
            self._die()
        if mode == "broken":
            raise OSError(
                errno.EIO, os.strerror(errno.EIO), *([] if kind in {"write", "fsync", "truncate"} else [path])
            )
        if self._full or mode == "full":
            if kind in _CREATING:
                if half is not None and not self._full:
                    half()
                self._full = True
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), *([path] if kind in {"open", "mkdir"} else []))
            self._full = True
        if mode == "half":
            half()
            self._die()
        if self.fault is not None and self.fault.mode == "short" and half is not None:
            return half()
        try:
            return act()
        finally:  # what the system itself refuses (a folder that exists) is an operation, too
            if mode == "after":
                self._die()

    def _die(self):
        if self.fault.by == "SIGKILL":
            os.kill(os.getpid(), signal.SIGKILL)
        os._exit(137)

    def _name(self, kind, path):
        """`kind label times`, or None for what lies outside the project."""
        if path is None:
            return None
        absolute = os.path.abspath(os.fspath(path))  # noqa: PTH100 - not resolved: links are named as they are
        if not absolute.startswith(self.root + os.sep):
            return None
        label = os.path.relpath(absolute, self.root)
        label = re.sub(r"\.[a-z0-9_]{8}\.part$", ".part", re.sub(r"[0-9a-f]{64}|[0-9a-f]{16}", "*", label))
        times = self._times[kind, label] = self._times.get((kind, label), 0) + 1
        return f"{kind} {label} {times}"

    def _on_path(self, kind, function):
        def operation(path, *args, dir_fd=None, **kwargs):
            if dir_fd is not None:
                kwargs["dir_fd"] = dir_fd
            return self.at(kind, self._below(path, dir_fd), lambda: function(path, *args, **kwargs))

        return operation

    def _below(self, path, dir_fd):
        """The path that is meant: one that is opened below a folder's descriptor is relative to that folder."""
        if dir_fd is None:
            return path
        return os.path.join(self._paths[dir_fd], path) if dir_fd in self._paths else None  # noqa: PTH118 - text

    def _os_open(self, path, flags, *args, dir_fd=None, **kwargs):
        if dir_fd is not None:
            kwargs["dir_fd"] = dir_fd
        where = self._below(path, dir_fd)
        if flags & os.O_CREAT:
            descriptor = self.at("open", where, lambda: self._open_descriptor(path, flags, *args, **kwargs))
        else:
            descriptor = self._open_descriptor(path, flags, *args, **kwargs)
        self._paths[descriptor] = where
        return descriptor

    def _io_open(self, file, mode="r", buffering=-1, *text, **more):
        """`open` whose writes pass through `at`; files that are only read are opened as ever."""
        if not set(mode) & set("wax+"):
            return self._open_file(file, mode, buffering, *text, **more)
        raw_mode = mode.replace("b", "").replace("t", "")
        if isinstance(file, int):
            path = self._paths.get(file)
            raw = _Raw(self, path, file, raw_mode)
        else:
            path = os.path.abspath(os.fspath(file))  # noqa: PTH100 - as above
            raw = self.at("open", path, lambda: _Raw(self, path, path, raw_mode))
        self._paths[raw.fileno()] = path
        buffered = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
        return buffered if "b" in mode else io.TextIOWrapper(buffered, *text, **more)


class _Raw(io.FileIO):
    """A file whose every write to the system and every truncation is an operation of the machine."""

    def __init__(self, machine, path, file, mode):
        super().__init__(file, mode)
        self._machine, self._path = machine, path

    def write(self, data):
        view = memoryview(data).cast("B")
        write = super().write
        return self._machine.at("write", self._path, lambda: write(view), lambda: write(view[: (len(view) + 1) // 2]))

    def truncate(self, size=None):
        truncate = super().truncate
        return self._machine.at("truncate", self._path, lambda: truncate(size))

"""Write files and folders whole or not at all: after a crash the old or the new one is there.

Every file this project writes passes through `write_bytes` (or through `publish`, for a folder). The order is
write aside, flush to the disk, rename (atomic on POSIX file systems), flush the folder, without which a power cut could
undo the rename. A terminal or a pipe cannot be replaced and is written to directly.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reprogrok.errors import BusyError, InputError


def sha256_bytes(data: bytes) -> str:
    """Return the SHA-256 of `data` as 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file's contents as 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def canonical_json(value: object) -> bytes:
    """Write `value` for a digest: sorted keys, no blanks, no NaN, UTF-8."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False).encode()


def digest(value: object) -> str:
    """Return the SHA-256 of the canonical JSON of `value`."""
    return sha256_bytes(canonical_json(value))


def pretty_json(value: object, *, row: str | None = None) -> bytes:
    """Write JSON for people and `git diff`: indented, keys in their own order, no NaN; a list of scalars on one line.

    Args:
        value: plain data.
        row: objects with this key are one line each, and so is every item of a list.
    """
    return (_pretty(value, "\n", row) + "\n").encode()


def _pretty(value: object, newline: str, row: str | None) -> str:
    inner = newline + "  "
    if isinstance(value, dict) and value and row not in value:
        rows = (f"{json.dumps(str(key), ensure_ascii=False)}: {_pretty(v, inner, row)}" for key, v in value.items())
        return "{" + inner + f",{inner}".join(rows) + newline + "}"
    if isinstance(value, list | tuple) and value and (row or any(isinstance(v, dict | list | tuple) for v in value)):
        return "[" + inner + f",{inner}".join(_pretty(item, inner, row) for item in value) + newline + "]"
    return json.dumps(value, allow_nan=False, ensure_ascii=False)


def sync_folder(path: Path) -> None:
    """Flush a folder's entries to the disk, so that a rename inside it survives a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path`, or to the file that it links to, whole or not at all; to a device or a pipe, directly.

    Raises:
        InputError: the folder cannot be written to; an old file is untouched.
    """
    try:
        if _takes_bytes(path):
            with path.open("wb") as file:
                file.write(data)
            return
        target = _target(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}", path=path) from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes private files; a result gets the usual permissions.
        umask = os.umask(0)
        os.umask(umask)
        Path(name).chmod(0o666 & ~umask)
        Path(name).replace(target)
        sync_folder(target.parent)
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}", path=path) from error
    finally:
        Path(name).unlink(missing_ok=True)


def write_hashed(folder: Path, stem: str, data: bytes) -> Path:
    """Write `data` to STEM.<SHA-256>.pt in `folder`, so that the file and its hash appear by one rename."""
    path = folder / f"{stem}.{sha256_bytes(data)}.pt"
    write_bytes(path, data)
    return path


def hash_in_name(path: Path) -> str:
    """Return the SHA-256 in a name given by `write_hashed`; for any other name, a text that is no SHA-256."""
    return path.stem.rpartition(".")[2]


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn an OSError of the block into an error at `path`, because a failed write does not name its file.

    Raises:
        InputError: any OSError of the block.
    """
    try:
        yield
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror or error}", path=path) from error


def check_writable(path: Path) -> None:
    """Check that a file can be written, before the work whose result it will hold.

    Raises:
        InputError: it is a folder, or the nearest folder above it that exists cannot be written to.
    """
    if _takes_bytes(path):
        if not os.access(path, os.W_OK):
            raise InputError("cannot be written: Permission denied", path=path)
        return
    above = next(parent for parent in _target(path).absolute().parents if parent.exists())
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        raise InputError(f"cannot be written: {above} is no folder that one can write to", path=path)


def _takes_bytes(path: Path) -> bool:
    """Return whether this is a terminal, /dev/null or a pipe, which a rename would replace."""
    return path.is_char_device() or path.is_fifo()


def _target(path: Path) -> Path:
    """Return the file to replace: `path`, or the target of its links.

    Raises:
        InputError: it exists and is no regular file, or its links lead nowhere.
    """
    try:
        target = path.resolve() if path.is_symlink() else path
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links, before Python 3.13
        raise InputError("cannot be written: its links lead nowhere", path=path) from error
    if target.exists() and not target.is_file():
        raise InputError(f"cannot be written: it is {'a folder' if target.is_dir() else 'no regular file'}", path=path)
    return target


def publish(work: Path, target: Path, aside: Path) -> None:
    """Replace `target` by the finished folder `work` with one rename.

    An older folder at `target` is first moved to `aside` and removed last; a crash between the two renames leaves both
    whole, and a refused rename restores the older one. A folder already at `aside` is removed: its name must be ours.

    Raises:
        InputError: a rename was refused (no permission, another file system); both folders are where they were.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if aside.exists():
            shutil.rmtree(aside)
        if target.exists():
            target.replace(aside)
        try:
            work.replace(target)
        except OSError:
            if aside.exists():
                aside.replace(target)
            raise
        sync_folder(target.parent)
        if aside.exists():
            shutil.rmtree(aside)
    except OSError as error:
        raise InputError(f"cannot be published: {error.strerror or error}", path=target) from error


@contextmanager
def exclusive(path: Path, what: str) -> Iterator[None]:
    """Hold the lock file `path` while the block runs; the kernel releases it however the process ends.

    Raises:
        BusyError: another process holds it.
        InputError: it cannot be locked (no permission, a file system without locks).
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a", encoding="ascii")
    except OSError as error:
        raise InputError(f"cannot be locked: {error.strerror}", path=path) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BusyError(f"another process is {what} (it holds {path}); wait for it or stop it") from error
        except OSError as error:
            raise InputError(f"cannot be locked: {error.strerror}", path=path) from error
        yield

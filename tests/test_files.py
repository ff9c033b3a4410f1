"""Files are whole or absent: a failure at any step of a write leaves the old file or the new one."""

import hashlib
import json
import os
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reprogrok import files
from reprogrok.errors import BusyError, InputError

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
).filter(lambda value: "\\ud" not in json.dumps(value))  # half a surrogate pair is no text


@pytest.fixture
def umask():
    """Sets the umask, and puts the old one back."""
    old = os.umask(0o022)
    yield os.umask
    os.umask(old)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def refuse(*_args, **_kwargs):
    raise OSError(28, "No space left on device")


class Interrupted(BaseException):
    """Like KeyboardInterrupt: not an error of the file system."""


def interrupt(*_args, **_kwargs):
    raise Interrupted


class Full:
    """A file on a disk that fills up in the middle of a write."""

    def __init__(self, file):
        self.file = file

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        self.file.close()

    def write(self, data):
        self.file.write(data[: len(data) // 2])
        refuse()


def fill_up(monkeypatch):
    open_descriptor = os.fdopen
    monkeypatch.setattr(os, "fdopen", lambda *args: Full(open_descriptor(*args)))


FAILURES = {
    "mkstemp": lambda m: m.setattr(files.tempfile, "mkstemp", refuse),
    "write": fill_up,
    "fsync": lambda m: m.setattr(os, "fsync", refuse),
    "chmod": lambda m: m.setattr(Path, "chmod", refuse),
    "replace": lambda m: m.setattr(Path, "replace", refuse),
}


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("before", [None, b"the old contents"])
def test_a_failed_write_leaves_what_was_there(tmp_path, monkeypatch, failure, before):
    target = tmp_path / "result.json"
    if before is not None:
        target.write_bytes(before)
    with monkeypatch.context() as context:
        FAILURES[failure](context)
        with pytest.raises(InputError, match=r"result\.json: cannot be written: No space left on device"):
            files.write_bytes(target, b"the new contents")
    assert names(tmp_path) == ([] if before is None else ["result.json"])
    if before is not None:
        assert target.read_bytes() == before


@pytest.mark.parametrize(("owner", "step"), [(os, "fsync"), (Path, "replace")])
def test_an_interrupted_write_leaves_no_part(tmp_path, monkeypatch, owner, step):
    with monkeypatch.context() as context:
        context.setattr(owner, step, interrupt)
        with pytest.raises(Interrupted):
            files.write_bytes(tmp_path / "result.json", b"new")
    assert names(tmp_path) == []


def test_the_order_is_flush_rename_flush_folder(tmp_path, monkeypatch):
    calls = []
    fsync, replace = os.fsync, Path.replace

    def note_fsync(descriptor):
        calls.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    def note_replace(path, target):
        calls.append("rename")
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(Path, "replace", note_replace)
    files.write_bytes(tmp_path / "result.json", b"new")
    assert calls == ["file", "rename", "folder"]


@given(before=st.binary(), after=st.binary())
def test_what_is_written_is_read(tmp_path_factory, before, after):
    target = tmp_path_factory.mktemp("files") / "deep" / "er" / "result.bin"
    for data in (before, after):
        files.write_bytes(target, data)
        assert target.read_bytes() == data
    assert files.sha256_file(target) == files.sha256_bytes(after) == hashlib.sha256(after).hexdigest()
    assert names(target.parent) == ["result.bin"]


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600)])
def test_permissions_follow_the_umask(tmp_path, umask, mask, mode):
    umask(mask)
    files.write_bytes(tmp_path / "result.json", b"new")
    assert stat.S_IMODE((tmp_path / "result.json").stat().st_mode) == mode
    assert umask(mask) == mask


@pytest.mark.parametrize("before", [b"old", None])
def test_a_link_stays_and_its_target_is_replaced(tmp_path, before):
    (tmp_path / "far").mkdir()
    target, link = tmp_path / "far" / "real.json", tmp_path / "result.json"
    if before is not None:
        target.write_bytes(before)
    link.symlink_to("far/real.json")
    files.check_writable(link)
    files.write_bytes(link, b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"
    assert (names(tmp_path), names(tmp_path / "far")) == (["far", "result.json"], ["real.json"])


def test_a_pipe_and_a_device_take_the_bytes_and_stay_what_they_are(tmp_path):
    pipe, null = tmp_path / "pipe", tmp_path / "null"
    os.mkfifo(pipe)
    null.symlink_to("/dev/null")
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    for path in (pipe, null, Path("/dev/null")):
        files.check_writable(path)
        files.write_bytes(path, b"new")
    assert os.read(reader, 100) == b"new"
    os.close(reader)
    assert pipe.is_fifo()
    assert null.is_symlink()
    assert Path("/dev/null").is_char_device()
    assert names(tmp_path) == ["null", "pipe"]


def test_what_is_no_file_and_what_leads_nowhere_is_refused_and_left_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the name of a socket must be short
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")
        Path("loop").symlink_to("loop")
        Path("folder").mkdir()
        Path("link").symlink_to("folder")
        for name, why in {"socket": "no regular file", "loop": "lead nowhere", "link": "a folder"}.items():
            for refused in (files.check_writable, lambda path: files.write_bytes(path, b"new")):
                with pytest.raises(InputError, match=f"{name}: cannot be written: it.*{why}"):
                    refused(Path(name))
    assert Path("socket").is_socket()
    assert names(tmp_path) == ["folder", "link", "loop", "socket"]


def test_a_folder_in_the_way_is_an_input_error(tmp_path):
    (tmp_path / "result.json").mkdir()
    with pytest.raises(InputError, match=r"result\.json: cannot be written"):
        files.write_bytes(tmp_path / "result.json", b"new")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InputError, match="cannot be written"):
        files.write_bytes(tmp_path / "file" / "result.json", b"new")


def test_a_hashed_file_and_its_hash_appear_together(tmp_path):
    path = files.write_hashed(tmp_path, "state-7", b"bytes")
    assert path == tmp_path / f"state-7.{hashlib.sha256(b'bytes').hexdigest()}.pt"
    assert path.read_bytes() == b"bytes"
    assert files.hash_in_name(path) == files.sha256_file(path)
    assert [files.hash_in_name(Path(name)) for name in ("state.pt", "state-7.ab.pt", "x")] == ["state", "ab", "x"]


def test_what_a_failed_write_does_not_say_is_said(tmp_path):
    with (
        pytest.raises(InputError, match=r"log: cannot be written: No space left on device"),
        files.writing(tmp_path / "log"),
    ):
        refuse()
    with pytest.raises(ValueError, match="not of the system"), files.writing(tmp_path / "log"):
        raise ValueError("not of the system")


# --- publish -----------------------------------------------------------------------------------------------------


def folder(path, **contents):
    path.mkdir(parents=True)
    for name, text in contents.items():
        (path / name).write_text(text, "utf-8")
    return path


@pytest.mark.parametrize("older", [False, True])
@pytest.mark.parametrize("leftover", [False, True])
def test_publish_puts_the_finished_folder_in_place(tmp_path, older, leftover):
    work = folder(tmp_path / "work", a="new")
    target = tmp_path / "runs" / "e15"
    if older:
        folder(target, a="old", b="old")
    if leftover:
        folder(target.with_name("aside"), a="older")
    files.publish(work, target, target.with_name("aside"))
    assert names(target) == ["a"]
    assert (target / "a").read_text("utf-8") == "new"
    assert not work.exists()
    assert names(target.parent) == ["e15"]


@pytest.mark.parametrize("older", [False, True])
def test_a_refused_publish_moves_nothing(tmp_path, monkeypatch, older):
    work = folder(tmp_path / "work", a="new")
    target = tmp_path / "runs" / "e15"
    if older:
        folder(target, a="old")
    replace = Path.replace

    def other_file_system(path, to):
        if path == work:
            raise OSError(18, "Invalid cross-device link")
        return replace(path, to)

    monkeypatch.setattr(Path, "replace", other_file_system)
    with pytest.raises(InputError, match="e15: cannot be published: Invalid cross-device link"):
        files.publish(work, target, target.with_name("aside"))
    assert (work / "a").read_text("utf-8") == "new"
    assert names(target.parent) == (["e15"] if older else [])
    if older:
        assert (target / "a").read_text("utf-8") == "old"


def test_a_crash_between_the_renames_leaves_both_whole(tmp_path, monkeypatch):
    work, target = folder(tmp_path / "work", a="new"), folder(tmp_path / "e15", a="old")
    replace = Path.replace

    def crash(path, to):
        if path == work:
            raise Interrupted
        return replace(path, to)

    with monkeypatch.context() as context:
        context.setattr(Path, "replace", crash)
        with pytest.raises(Interrupted):
            files.publish(work, target, tmp_path / "aside")
    assert (tmp_path / "aside" / "a").read_text("utf-8") == "old"
    assert (work / "a").read_text("utf-8") == "new"
    files.publish(work, target, tmp_path / "aside")
    assert (target / "a").read_text("utf-8") == "new"
    assert names(tmp_path) == ["e15"]


# --- exclusive ---------------------------------------------------------------------------------------------------


def test_the_lock_refuses_a_second_holder_and_is_free_afterwards(tmp_path):
    lock = tmp_path / "work" / "lock"
    with files.exclusive(lock, "training e15"):
        with (
            pytest.raises(BusyError, match=r"another process is training e15 \(it holds .*lock\)"),
            files.exclusive(lock, "training e15"),
        ):
            pytest.fail("two holders")
        with files.exclusive(tmp_path / "other", "training e9"):
            pass
    with files.exclusive(lock, "training e15"):
        pass


def test_the_lock_is_free_after_its_holder_was_killed(tmp_path):
    lock = tmp_path / "lock"
    code = (
        "import sys, time; from pathlib import Path; from reprogrok.files import exclusive\n"
        "with exclusive(Path(sys.argv[1]), 'busy'): print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, lock], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(BusyError), files.exclusive(lock, "busy"):
            pytest.fail("two holders")
        holder.send_signal(signal.SIGKILL)
    with files.exclusive(lock, "busy"):
        pass


def test_a_block_that_fails_frees_the_lock_and_keeps_its_error(tmp_path):
    with pytest.raises(ZeroDivisionError), files.exclusive(tmp_path / "lock", "busy"):
        _ = 1 / 0
    with files.exclusive(tmp_path / "lock", "busy"):
        pass


def test_where_there_can_be_no_lock_nobody_is_called_busy(tmp_path, monkeypatch):
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="cannot be locked"), files.exclusive(tmp_path / "folder", "busy"):
        pass
    monkeypatch.setattr(files.fcntl, "flock", refuse)
    with pytest.raises(InputError, match="cannot be locked"), files.exclusive(tmp_path / "lock", "busy"):
        pass


# --- spelling and digests ----------------------------------------------------------------------------------------


def test_known_digests():
    # FIPS 180-2, appendix B.1.
    assert files.sha256_bytes(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert files.canonical_json({"b": [1, 2.5, None], "a": "é"}) == '{"a":"é","b":[1,2.5,null]}'.encode()
    assert files.digest({}) == hashlib.sha256(b"{}").hexdigest()


@given(JSON)
def test_canonical_json_reads_back_and_ignores_the_order_of_keys(value):
    data = files.canonical_json(value)
    assert json.loads(data) == value
    assert files.canonical_json(_turned(value)) == data
    assert json.loads(files.pretty_json(value)) == value


def _turned(value):
    """The same value with the keys of every object in the other order."""
    if isinstance(value, dict):
        return {key: _turned(item) for key, item in reversed(value.items())}
    return [_turned(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_no_file_of_ours_holds_a_nan(number):
    for spell in (files.canonical_json, files.pretty_json, files.digest):
        with pytest.raises(ValueError, match="not JSON compliant"):
            spell({"a": [number]})


@pytest.mark.parametrize("place", ["folder", "file/below", "file/far/below"])
def test_a_place_that_cannot_be_written_is_refused_beforehand_and_left_alone(tmp_path, place):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("kept")
    with pytest.raises(InputError, match="cannot be written"):
        files.check_writable(tmp_path / place)
    assert (tmp_path / "file").read_text() == "kept"
    files.check_writable(tmp_path / "folder" / "new" / "result.json")
    assert not (tmp_path / "folder" / "new").exists()

"""Builds with one guard taken out, which the campaign has to find: name -> a change to the program in the child."""

from __future__ import annotations

import shutil
from pathlib import Path

from reprogrok import files, record
from reprogrok.train import publication, run, saved


def sound() -> None:
    """The program as it is."""


def written_in_place() -> None:
    """Files are written where they will stand, without a rename."""

    def write(path, data):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    files.write_bytes = publication.write_bytes = write


def published_in_place() -> None:
    """A run is published file by file."""

    def publish(staging, target, _aside):
        shutil.rmtree(target, ignore_errors=True)
        for path in sorted(path for path in staging.rglob("*") if path.is_file()):
            place = target / path.relative_to(staging)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(path.read_bytes())
        shutil.rmtree(staging)

    publication.publish = publish


def metrics_not_cut() -> None:
    """What was streamed after the saved state stays where it is."""

    def init(self, path, _length):
        self._path, self._file = path, path.open("ab")
        self.length = path.stat().st_size

    saved._Stream.__init__ = init


def hashes_not_checked() -> None:
    """States and listed checkpoints are parsed whatever their bytes are."""
    load = saved.load_state
    saved.load_state = lambda path, _sha256: load(path)
    record.check_listed = lambda _path, _data: None


def one_state() -> None:
    """Only the newest state is kept."""
    saved.KEPT_STATES = 1


def work_removed_bit_by_bit() -> None:
    """The work of a published run is removed file by file, the metrics before the states."""

    def discard(folder: Path) -> None:
        for path in sorted(folder.iterdir()):
            path.unlink()
        folder.rmdir()

    run.discard = discard


def states_saved_first() -> None:
    """A checkpoint that was asked for is written after the state that has passed its step."""
    keep, save = saved.Journal.keep, saved.Journal.save
    waiting = []

    def save_first(self, state):
        save(self, state)
        while waiting:
            keep(self, *waiting.pop())

    saved.Journal.keep = lambda _self, *arguments: waiting.append(arguments)
    saved.Journal.save = save_first


# Build -> the attacks that have to find it, as a pattern of their names.
BROKEN = {
    written_in_place: r"^(half|full) write .*(state-1\.|summary)",
    published_in_place: r"^before (write|open) runs/smoke/",
    metrics_not_cut: r"^after fsync .*metrics\.jsonl 2",
    hashes_not_checked: r"^flip ",
    one_state: r"^damage ",
    work_removed_bit_by_bit: r"^after unlink .*work/.*metrics\.jsonl",
    states_saved_first: r"^after rename .*state-1\.",
}

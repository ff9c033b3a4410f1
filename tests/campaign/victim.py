"""A small project and its training command, run in a forked child that has torch loaded already: tenths of a second.

The project has an earlier run at the place where the new one will be published, so that replacing is under attack too.
"""

from __future__ import annotations

import importlib
import os
import shutil
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from reprogrok import record
from reprogrok.cli.main import main
from reprogrok.errors import ReprogrokError

ROOT = Path(__file__).resolve().parents[2]
RUN = Path("runs/smoke")
WORDS = ("train", "smoke", "--seeds", "0", "--workers", "1", "--checkpoints", "0,8,16", "--keep", "2")
IMPORTED = (
    *("scipy.special", "ruamel.yaml", "jsonschema", "referencing.jsonschema", "typer._adapters", "rich.progress"),
    *("reprogrok.train.tables", "reprogrok.train.display", "reprogrok.train.run", "reprogrok.train.addition"),
    "reprogrok.commands.train",
    *("reprogrok.train.backends", "reprogrok.train.sinks", "reprogrok.gates.registration", "reprogrok.tasks.holdout"),
)
LEFT = ("audit/", "params.yaml", ".reprogrok/publishing-", "runs/smoke/")  # what is there when all is done; and locks


@dataclass(frozen=True)
class Outcome:
    """How a command ended: its exit code (-9 for SIGKILL) and what it wrote to stderr."""

    code: int
    errors: str


def execute(folder: Path, words: tuple[str, ...], prepare: Callable[[], None] = lambda: None) -> Outcome:
    """Run `reprogrok WORDS` in `folder` in a forked child, in which `prepare` is called first."""
    errors = folder.with_name(f"{folder.name}.stderr")
    child = os.fork()
    if child == 0:
        code = 99
        try:
            os.chdir(folder)
            with errors.open("wb") as file:
                os.dup2(file.fileno(), 1)
                os.dup2(file.fileno(), 2)
            sys.argv = ["reprogrok", *words]
            prepare()
            main()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        except BaseException:  # noqa: BLE001 - whatever it is, the child must not return into the campaign
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    _, status = os.waitpid(child, 0)
    return Outcome(os.waitstatus_to_exitcode(status), errors.read_text("utf-8", "replace"))


def contents(run: Path) -> dict[str, bytes]:
    """Every file of a run but the clock readings."""
    files = sorted(path for path in run.rglob("*") if path.is_file() and path.name != record.TIMING)
    return {path.relative_to(run).as_posix(): path.read_bytes() for path in files}


def lay(folder: Path, **changes: str) -> Path:
    """A project with the experiment `smoke`, with `changes` in its lines of params.yaml."""
    (folder / "audit").mkdir(parents=True)
    shutil.copytree(ROOT / "audit" / "criteria", folder / "audit" / "criteria")
    text = (ROOT / "params.yaml").read_text("utf-8")
    smoke = text.split("  smoke:\n")[1]
    head = "engine_version: 1\ndevice: cpu\npipeline: [smoke]\nexperiments:\n"
    lines = [
        next((f"    {name}: {value}" for name, value in changes.items() if line.startswith(f"    {name}:")), line)
        for line in smoke.splitlines()
    ]
    (folder / "params.yaml").write_text(f"{head}  smoke:\n" + "\n".join(lines) + "\n", "utf-8")
    return folder


@dataclass(frozen=True)
class Victim:
    """What is attacked: a project with an earlier run, and what an undisturbed run leaves there."""

    base: Path
    expected: dict[str, bytes]

    def copy(self, folder: Path) -> Path:
        """A fresh copy to be attacked."""
        return shutil.copytree(self.base, folder)

    def lost(self, folder: Path, prepare: Callable[[], None] = lambda: None) -> str | None:
        """Why this project has lost something after an attack, or None if it has not."""
        run = folder / RUN
        aside = list(run.parent.glob(".smoke.*.old"))
        try:
            record.read(run if run.exists() or not aside else aside[0])
        except ReprogrokError as error:
            return f"the published run is not whole: {error}"
        again = execute(folder, WORDS, prepare)
        return self.differs(folder) if again.code == 0 else f"exit {again.code}: {again.errors.strip()[-300:]}"

    def differs(self, folder: Path) -> str | None:
        """Which files of the run are not those of an undisturbed one, or what else was left behind; None if none."""
        found = contents(folder / RUN)
        names = {name for name in found.keys() | self.expected.keys() if found.get(name) != self.expected.get(name)}
        if names:
            return f"other bytes than those of an undisturbed run: {', '.join(sorted(names))}"
        files = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
        left = [name for name in files if not name.startswith(LEFT) and not name.endswith("/lock")]
        return f"left behind: {', '.join(left)}" if left else None


def make_victim(folder: Path) -> Victim:
    """Lay the project, publish an earlier run in it, and see what an undisturbed command leaves."""
    for name in IMPORTED:
        importlib.import_module(name)  # what every child would import again
    task = "{name: addition, digits: 3, hold_out: addition-100k/1, curriculum: [{start: 0, digits: [1, 3]}]}"
    base = lay(folder / "base", task=task, steps="24", evaluate_every="8", schedule="{warmup: 4, floor: 0.1}")
    for place, words in ((base, ("train", "smoke", "--seeds", "1", "--workers", "1")), (folder / "undisturbed", WORDS)):
        if place != base:
            shutil.copytree(base, place)
        outcome = execute(place, words)
        if outcome.code:
            message = f"the undisturbed run failed: {outcome.errors}"
            raise RuntimeError(message)
    return Victim(base, contents(folder / "undisturbed" / RUN))

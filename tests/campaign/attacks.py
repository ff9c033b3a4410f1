"""The attacks on one small run: a death or a refusal at every operation, and a flip of every byte.

    undisturbed run --Machine--> names of all operations --x modes--> attacks --attack, same command again--> lost?

Every attack gets a fresh copy of the project. It is survived if the error was clear, whatever stood published stayed
whole, and the same command then ends with the bytes of a run that nobody disturbed.
"""

from __future__ import annotations

import os
import re
import shutil
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from machine import Fault, Machine
from victim import RUN, WORDS, Victim, execute

from reprogrok import record
from reprogrok.errors import InputError
from reprogrok.files import sha256_bytes
from reprogrok.formats import checkpoints
from reprogrok.params import read_params
from reprogrok.train import saved
from reprogrok.train.work import TrainingPlan

_CHUNK = 4_096  # bytes that one attack flips, one after the other

KINDS = {
    "before": "killed before an operation",
    "after": "killed after an operation",
    "half": "killed when half of a write had arrived",
    "full": "the disk full from an operation on",
    "broken": "an operation refused with EIO",
    "short": "every write taken by halves",
    "flip": "one byte of a file flipped",
    "damage": "the newest saved state damaged",
}


@dataclass(frozen=True)
class Attack:
    """`kind` is a key of KINDS; `run` returns why something was lost, or None; a flip counts `tries` bytes."""

    kind: str
    name: str
    run: Callable[[], str | None]
    tries: int = 1


def operations(victim: Victim, folder: Path, build: Callable[[], None]) -> list[str]:
    """The names of all operations of an undisturbed run of this build."""
    place, trace = victim.copy(folder / "traced"), folder / "trace"

    def prepare():
        build()
        machine = Machine(place)
        machine.install()
        _at_the_end(lambda: trace.write_text("\n".join(machine.seen), "utf-8"))

    outcome = execute(place, WORDS, prepare)
    if outcome.code:
        raise RuntimeError(outcome.errors)
    return trace.read_text("utf-8").splitlines()


def _at_the_end(act: Callable[[], object]) -> None:
    """Let `act` run in this process when the command line has come to its end."""
    import victim

    main = victim.main

    def main_and_act():
        try:
            main()
        finally:
            act()

    victim.main = main_and_act


def faults(points: list[str]) -> Iterator[Fault]:
    """Every way to fail at every operation, and dying in both ways."""
    for point in points:
        for by in ("SIGKILL", "os._exit"):
            yield from (Fault(point, mode, by) for mode in ("before", "after"))
            if point.startswith("write "):
                yield Fault(point, "half", by)
        yield Fault(point, "full")
        yield Fault(point, "broken")
    yield Fault("", "short")


def fault_attack(victim: Victim, folder: Path, build: Callable[[], None], fault: Fault) -> Attack:
    """One fault, then the same command without it."""
    kills = fault.mode in {"before", "after", "half"}
    name = f"{fault.mode} {fault.point}" + (f" ({fault.by})" if kills else "")

    def run() -> str | None:
        place = victim.copy(folder / f"attack-{sha256_bytes(name.encode())[:16]}")
        try:

            def prepare():
                build()
                Machine(place, fault).install()

            outcome = execute(place, WORDS, prepare)
            if kills and outcome.code not in {-9, 137}:
                return f"the operation was never reached (exit {outcome.code}): {outcome.errors.strip()[-300:]}"
            if not kills and (unclear := _unclear(outcome.code, outcome.errors)):
                return unclear
            if fault.mode == "short" or (not kills and outcome.code == 0):
                return victim.differs(place) if outcome.code == 0 else f"exit {outcome.code}: {outcome.errors}"
            return victim.lost(place, build)
        finally:
            shutil.rmtree(place)

    return Attack(fault.mode, name, run)


def _unclear(code: int, errors: str) -> str | None:
    """Why a refusal was not told as promised: exit code 2 and one line that names a file; None if it was."""
    lines = [line for line in errors.splitlines() if line.startswith("error: ")]
    if code == 0:
        return None
    if code != 2 or len(lines) != 1 or "Traceback" in errors or not re.match(r"error: \S*[/.]\S*: ", lines[0]):
        return f"no clear error (exit {code}): {errors.strip()[-500:]}"
    return None


def stopped_work(victim: Victim, folder: Path) -> Path:
    """A project whose run was ended after 20 of 24 steps: its work holds two states."""
    place = victim.copy(folder / "stopped")
    outcome = execute(place, (*WORDS, "--stop-at", "20"))
    if outcome.code:
        raise RuntimeError(outcome.errors)
    return place


def states_of(place: Path) -> list[Path]:
    """The saved states of a project, the newest last."""
    found = place.glob(".reprogrok/work/*/seed-0/state-*.pt")
    return sorted(found, key=lambda path: int(path.name.split(".")[0].split("-")[1]))


def flip_attacks(stopped: Path, folder: Path, build: Callable[[], None], every: int) -> Iterator[Attack]:
    """Bytes of a record's checkpoint, of a saved state and of the work's metrics, each seen before it is parsed."""
    state = states_of(stopped)[-1]
    for path in (stopped / RUN / "seed-0" / "best.pt", state, state.with_name(record.METRICS)):
        name, size = path.relative_to(stopped), path.stat().st_size
        for start in range(0, size, _CHUNK):
            offsets = range(start, min(start + _CHUNK, size), every)

            def run(name: Path = name, offsets: range = offsets) -> str | None:
                place = shutil.copytree(stopped, folder / f"flips-{name.name[:8]}-{offsets.start}")
                try:
                    return in_child(place, lambda: _flip(place, place / name, build, offsets))
                finally:
                    shutil.rmtree(place)

            yield Attack("flip", f"flip {name} from byte {start}", run, len(offsets))


def in_child(place: Path, act: Callable[[], str | None]) -> str | None:
    """What `act` returns in a forked child, whose program it may change."""
    answer = place.with_name(f"{place.name}.answer")
    child = os.fork()
    if child == 0:
        try:
            answer.write_text(act() or "", "utf-8")
        except BaseException:  # noqa: BLE001 - whatever it is, the child must not return into the campaign
            answer.write_text(traceback.format_exc(), "utf-8")
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    return answer.read_text("utf-8") or None


def _flip(place: Path, path: Path, build: Callable[[], None], offsets: range) -> str | None:
    """Flip a bit of each byte in turn; the reader must refuse, and the parser must not see what was flipped."""
    build()
    params = place / "params.yaml"
    plan = TrainingPlan(read_params(params).experiment("smoke", params), (0,), "cpu", 1, RUN, 1, "eager", "bitwise", {})
    newest = states_of(place)[-1]
    if path.name == "best.pt":
        read = partial(checkpoints.load_checkpoint, path)
    else:
        read = partial(saved._verified, plan, (0,), newest)
    parse, good = checkpoints._read_pt, path.read_bytes()

    def guarded(parsed, *arguments):
        if parsed == path:
            message = "damaged bytes reached the parser"
            raise AssertionError(message)
        return parse(parsed, *arguments)

    read()
    checkpoints._read_pt = guarded
    for offset in offsets:
        data = bytearray(good)
        data[offset] ^= 1 << offset % 8
        path.write_bytes(data)
        try:
            read()
        except InputError:
            continue
        except AssertionError as error:
            return f"byte {offset}: {error}"
        return f"byte {offset}: nobody noticed"
    return None


DAMAGES = {
    "flipped": lambda path: path.write_bytes(path.read_bytes()[:-1] + bytes([path.read_bytes()[-1] ^ 1])),
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "empty": lambda path: path.write_bytes(b""),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"\0"),
    "misnamed": lambda path: path.rename(path.with_name("state-20.pt")),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "gone": lambda path: path.unlink(),
}


def damage_attacks(victim: Victim, folder: Path, build: Callable[[], None]) -> Iterator[Attack]:
    """The newest of two states is damaged in every way that comes to mind; the one before it is taken, and said."""
    for how, damage in DAMAGES.items():

        def run(how: str = how, damage: Callable[[Path], object] = damage) -> str | None:
            place = victim.copy(folder / f"damaged-{how.replace(' ', '-')}")
            try:
                outcome = execute(place, (*WORDS, "--stop-at", "20"), build)
                damage(states_of(place)[-1])
                outcome = execute(place, WORDS, build)
                if outcome.code:
                    return f"exit {outcome.code}: {outcome.errors.strip()[-300:]}"
                if how != "gone" and "resuming from step 17" not in outcome.errors:
                    return f"nobody said so: {outcome.errors.strip()[-300:]}"
                return victim.differs(place)
            finally:
                shutil.rmtree(place)

        yield Attack("damage", f"damage {how}", run)

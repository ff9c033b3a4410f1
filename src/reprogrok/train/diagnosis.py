"""This machine -> its devices, versions and training rates, and the faults that keep it from training, as one value.

Everything is tried, not looked up: a lock is contended, a folder is replaced, a model is trained for seconds. Failures
of what training needs are faults; an optional part that is missing (a compiler, a GPU, a tracker) is a fact.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from reprogrok import __version__
from reprogrok.errors import ExitCode, ReprogrokError
from reprogrok.files import exclusive, publish, write_bytes
from reprogrok.model.compiler import compiler
from reprogrok.model.device import choose_device, environment, usable_cores
from reprogrok.train.pace import RECIPES, Pace, measure_pace
from reprogrok.train.sinks import SINKS, installed

PROMISES = {
    "cpu": "the same bytes on the same fingerprint",
    "cuda": "the same bytes on the same fingerprint: deterministic algorithms alone",
    "mps": "no bitwise promise: scores agree within a tolerance",
}
_PACE_SECONDS = 2.0
_LOCKED = 7  # the exit code of a process that finds the lock held
_TAKE_LOCK = f"""
import fcntl, sys
with open(sys.argv[1], "a") as file:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit({_LOCKED})
"""


@dataclass(frozen=True)
class Compilation:
    """The trial of torch.compile on a tiny function, with an empty cache.

    Attributes:
        seconds: the time that it took.
        problem: the reason why it failed, or None.
    """

    seconds: float
    problem: str | None


@dataclass(frozen=True)
class FoundDevice:
    """A device of this machine.

    Attributes:
        device: its name in torch, such as "cuda:0".
        name: its model.
        promise: the promise of a run on it.
        memory_bytes: its memory, where it is a GPU.
        capability: its compute capability, where it is a GPU.
    """

    device: str
    name: str
    promise: str
    memory_bytes: int | None = None
    capability: str | None = None

    def document(self) -> dict[str, object]:
        """Return the device as plain data for a file, without the facts that it lacks."""
        gpu = {"memory_bytes": self.memory_bytes, "capability": self.capability}
        known = {key: value for key, value in gpu.items() if value is not None}
        return {"device": self.device, "name": self.name, **known, "promise": self.promise}


@dataclass(frozen=True)
class Diagnosis:
    """The state of this machine.

    Attributes:
        versions: package -> version, None where it is not installed.
        devices: the devices that torch can use.
        cores: the cores that this process may use.
        compiler: the compiler that torch.compile would use, or None.
        compilation: the trial of torch.compile, if it was made.
        extras: sink -> version of its package, None where it is not installed.
        folder: the folder of work in progress.
        free_bytes: the free space of its disk.
        paces: the rates of the published recipes on one core of the CPU.
        faults: the reasons why this machine cannot train on its CPU, as sentences; empty where it can.
    """

    versions: dict[str, str | None]
    devices: list[FoundDevice]
    cores: int
    compiler: str | None
    compilation: Compilation | None
    extras: dict[str, str | None]
    folder: Path
    free_bytes: int
    paces: list[Pace]
    faults: list[str]

    @property
    def exit_code(self) -> ExitCode:
        """0 if it can train on the CPU, 1 if not."""
        return ExitCode.FAIL if self.faults else ExitCode.PASS

    def seeds_per_hour(self, pace: Pace) -> float:
        """Return the seeds per hour on all cores, if each is as fast as the one that was measured."""
        return self.cores * 3600 / pace.seconds_per_seed

    def document(self) -> dict[str, object]:
        """Return the diagnosis as plain data for a file."""
        tried = self.compilation
        return {
            "format": "reprogrok.doctor/1",
            "can_train": not self.faults,
            "faults": self.faults,
            "versions": self.versions,
            "devices": [device.document() for device in self.devices],
            "cores": self.cores,
            "compiler": self.compiler,
            "torch_compile": None if tried is None else {"seconds": round(tried.seconds, 2), "problem": tried.problem},
            "extras": self.extras,
            "disk": {"folder": str(self.folder), "free_bytes": self.free_bytes},
            "expected": [
                {
                    "experiment": pace.experiment.name,
                    "steps": pace.experiment.steps,
                    "steps_per_second": round(pace.steps_per_second, 1),
                    "measured_steps": pace.measured_steps,
                    "seconds_per_seed": round(pace.seconds_per_seed, 1),
                    "seeds_per_hour": round(self.seeds_per_hour(pace), 2),
                }
                for pace in self.paces
            ],
        }


def diagnose(*, compiles: bool, seconds: float = _PACE_SECONDS) -> Diagnosis:
    """Examine this machine.

    Args:
        compiles: whether to try torch.compile, which takes ten seconds and more.
        seconds: the time of training for each recipe.
    """
    cpu = choose_device("cpu")
    work = Path(".reprogrok")
    folder = work if work.is_dir() else Path()
    disk = disk_fault(folder)
    faults = [] if disk is None else [disk]
    paces: list[Pace] = []
    for recipe in RECIPES:
        try:
            pace = measure_pace(recipe, seconds)
        except Exception as error:  # noqa: BLE001 - any failure of torch is a fault
            faults.append(f"training {recipe.name} failed: {_first_line(error)}")
            continue
        if pace.finite:
            paces.append(pace)
        else:
            faults.append(f"training {recipe.name} gave weights that are not finite")
    about = environment(cpu)
    return Diagnosis(
        versions={
            "reprogrok": __version__,
            **{name: str(about[name]) for name in ("python", "torch", "numpy", "scipy")},
            **{name: installed(name) for name in ("dvc", "triton")},
        },
        devices=list(_devices(str(about["device_name"]))),
        cores=usable_cores(),
        compiler=compiler(),
        compilation=try_compiling() if compiles else None,
        extras={name: installed(name) for name in SINKS},
        folder=folder,
        free_bytes=shutil.disk_usage(folder).free,
        paces=paces,
        faults=faults,
    )


def disk_fault(folder: Path) -> str | None:
    """Return why work cannot be kept in `folder`, or None: files and folders are replaced, a lock is contended."""
    try:
        with tempfile.TemporaryDirectory(prefix=".reprogrok-doctor-", dir=folder) as name:
            place = Path(name)
            for content in (b"1", b"2"):
                write_bytes(place / "file", content)
                write_bytes(place / "work" / "file", content)
                publish(place / "work", place / "run", place / "aside")
            with exclusive(place / "lock", "looking at this machine"):
                other = subprocess.run([sys.executable, "-c", _TAKE_LOCK, place / "lock"], check=False)  # noqa: S603 - our own program
            if other.returncode != _LOCKED:
                return f"{folder}: two processes can hold the same lock"
    except (OSError, ReprogrokError) as error:
        return f"{folder}: work cannot be kept here: {_first_line(error)}"
    return None


def try_compiling() -> Compilation:
    """Compile a tiny function with an empty cache and compare its result."""

    def plain(x: torch.Tensor) -> torch.Tensor:
        return (x.sin() + 1).sum()

    began, problem = time.monotonic(), None
    x = torch.linspace(0, 1, 100)
    try:
        with tempfile.TemporaryDirectory() as cache, _environment_variable("TORCHINDUCTOR_CACHE_DIR", cache):
            if not torch.allclose(torch.compile(plain)(x), plain(x)):
                problem = "the compiled function gives another result"
    except Exception as error:  # noqa: BLE001 - every failure is a result
        problem = _first_line(error)
    return Compilation(time.monotonic() - began, problem)


@contextmanager
def _environment_variable(name: str, value: str) -> Iterator[None]:
    earlier = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        del os.environ[name]
        if earlier is not None:
            os.environ[name] = earlier


def _devices(processor: str) -> Iterator[FoundDevice]:
    yield FoundDevice("cpu", processor, PROMISES["cpu"])
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            about = torch.cuda.get_device_properties(index)
            capability = f"{about.major}.{about.minor}"
            yield FoundDevice(f"cuda:{index}", about.name, PROMISES["cuda"], about.total_memory, capability)
    if torch.backends.mps.is_available():
        yield FoundDevice("mps", processor.rpartition(", ")[0], PROMISES["mps"])


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]

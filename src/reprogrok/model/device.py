"""A device's name -> the device, and what kind of arithmetic to expect of it.

One thread on a CPU: the models are so small that more threads cost time, and in torch 2.13.0 the first forward pass of
a fresh multi-threaded process was sometimes inaccurate (errors of 1e-3 and more; later passes were exact).
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from reprogrok.errors import InputError

DEVICES = ("auto", "cpu", "cuda", "mps")


def choose_device(name: str, deterministic: str = "tolerance") -> torch.device:
    """The device of that name, made ready; `auto` takes CUDA, then MPS if nothing bitwise is asked, then the CPU.

    Args:
        name: one of `DEVICES`.
        deterministic: what is promised: "tolerance", scores that agree; "bitwise", the same bytes on the same
            fingerprint, which allows strictly deterministic algorithms alone: torch refuses any other.

    Raises:
        InputError: this machine, or this build of torch, does not have it, or it cannot promise what is asked for.
    """
    torch.set_num_threads(1)
    present = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        promising = ("cuda", "cpu") if deterministic == "bitwise" else ("cuda", "mps", "cpu")
        name = next(device for device in promising if present[device])
    if name not in present:
        raise InputError(field="--device", expected=f"one of {', '.join(DEVICES)}", found=name)
    if not present[name]:
        available = ", ".join(device for device, there in present.items() if there)
        raise InputError(
            f"{name} is not available here (torch {torch.__version__})",
            field="--device",
            expected=available,
            found=name,
        )
    if name == "mps" and deterministic == "bitwise":
        raise InputError(
            "mps does not promise the same bits twice", field="--deterministic", expected="tolerance", found="bitwise"
        )
    if (strict := deterministic == "bitwise") != torch.are_deterministic_algorithms_enabled():
        # The same switch as `use_deterministic_algorithms`, which would load the compiler for a setting of its own (a
        # second and more); what we compile gets that setting in `train/compilation.py`.
        torch.set_deterministic_debug_mode("error" if strict else "default")
    # It would overwrite every new buffer, to catch reads of what was never written.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    if name == "cpu":
        _keep_freed_memory()
    if name == "cuda":
        # Deterministic cuBLAS needs its workspace fixed before the first call; float32 stays float32.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.backends.cuda.matmul.allow_tf32 = False
    return torch.device(name)


@contextmanager
def subnormals_as_zero() -> Iterator[None]:
    """Let this thread count numbers below 1e-38 as zero while it trains.

    A trained model's moments and softmax shares sink there, where a CPU takes a hundred times longer: half of a step's
    time. As zeros they change nothing that matters; they do change bits, so a run's fingerprint says it.
    """
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def _keep_freed_memory() -> None:
    """Keep the C library from handing memory back to the system after every batch.

    glibc does so above a threshold which follows the largest block that was freed, up to 32 MiB. The tensors of an exam
    cross it again and again, and a quarter of its time went into page faults. One block, freed and never touched, lifts
    the threshold; other C libraries take no notice.
    """
    torch.empty(31 * 2**20, dtype=torch.uint8)


def environment(device: torch.device) -> dict[str, Any]:
    """What a number was measured on: enough to tell two machines apart, nothing that names them."""
    name = f"{_processor()}, {torch.backends.cpu.get_cpu_capability()}"
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    elif device.type == "mps":
        name = _processor()
    about = {
        "device": device.type,
        "device_name": name,
        "dtype": "float32",
        "threads": torch.get_num_threads(),
        "torch": str(torch.__version__),  # a plain string: what is stored must load without its class
        "numpy": np.__version__,
        "scipy": version("scipy"),  # initial weights are drawn through it
        "python": platform.python_version(),
        "system": platform.system(),
    }
    if device.type == "cuda":
        about |= {
            "cuda": str(torch.version.cuda),
            "triton": version("triton") if find_spec("triton") else "none",
            "cublas_workspace": os.environ.get("CUBLAS_WORKSPACE_CONFIG", "none"),
        }
    return about


def usable_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _processor() -> str:
    """The processor's model, where the system tells it; Python's own answer is empty on most Linux machines."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")
    return model or platform.processor() or platform.machine()

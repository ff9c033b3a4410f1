"""Choose a device, set its arithmetic, and describe it.

A CPU uses one thread: the models are so small that more threads cost time, and in torch 2.13.0 the first forward pass
of a fresh multi-threaded process was sometimes inaccurate (errors of 1e-3 and more; later passes were exact).
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from reprogrok.errors import InputError
from reprogrok.spec.experiment import DEVICES

CHOICES = ("auto", *DEVICES)


def choose_device(name: str, deterministic: str = "tolerance") -> torch.device:
    """Prepare and return a device; `auto` prefers CUDA, then MPS (unless bitwise results are requested), then the CPU.

    Args:
        name: one of `CHOICES`.
        deterministic: "tolerance" promises scores that agree; "bitwise" promises the same bytes on the same
            fingerprint and makes torch refuse every algorithm that is not deterministic.

    Raises:
        InputError: the device is not available here, or cannot keep the requested promise.
    """
    torch.set_num_threads(1)
    present = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        promising = ("cuda", "cpu") if deterministic == "bitwise" else ("cuda", "mps", "cpu")
        name = next(device for device in promising if present[device])
    if name not in present:
        raise InputError(field="--device", expected=f"one of {', '.join(CHOICES)}", found=name)
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
        # `use_deterministic_algorithms` sets the same switch but loads the compiler, which takes a second or more; the
        # compiler's own setting is made in `train/compilation.py`.
        torch.set_deterministic_debug_mode("error" if strict else "default")
    # Skip overwriting every new buffer, which would catch reads of uninitialised memory.
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
    """Flush numbers below 1e-38 to zero in this thread.

    The moments and attention weights of a trained model become subnormal, which slows a CPU a hundredfold: half of a
    step's time. Flushing them changes bits but no result that matters; a run's fingerprint records it.
    """
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def _keep_freed_memory() -> None:
    """Keep the C library from returning memory to the system after every batch.

    glibc returns blocks above a threshold that follows the largest freed block, up to 32 MiB. Freeing one untouched
    block raises the threshold; otherwise an exam spends a quarter of its time in page faults.
    """
    torch.empty(31 * 2**20, dtype=torch.uint8)


def environment(device: torch.device) -> dict[str, str | int]:
    """Describe the hardware and versions behind a number, without naming the machine."""
    name = f"{_processor()}, {torch.backends.cpu.get_cpu_capability()}"
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    elif device.type == "mps":
        name = _processor()
    about: dict[str, str | int] = {
        "device": device.type,
        "device_name": name,
        "dtype": "float32",
        "threads": torch.get_num_threads(),
        "torch": str(torch.__version__),  # a plain string, which loads without torch's class
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
    """Return the number of cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _processor() -> str:
    """Return the processor's model; Python's own answer is empty on most Linux machines."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")
    return model or platform.processor() or platform.machine()

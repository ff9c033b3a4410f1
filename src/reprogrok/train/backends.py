"""Model, device, length of the run -> the backend that executes its steps, from a fixed table; no torch.

    backend    how a step is executed                          its bits depend on
    eager      operation by operation                          torch and the processor
    compiled   as one graph, by TorchInductor                  the compiler, too

The backend is never chosen by timing: two runs of one experiment on one kind of machine must use the same one, because
the two backends round differently. The table follows measurements (docs/engine.md has the figures) and depends on

  - the device: TorchInductor on MPS was never measured here;
  - the length of the run and the width of the model: a compilation takes ten seconds to a minute, as long as some
    thousand steps of a narrow model and some hundred of a wide one.

Without a C++ compiler (and Python's headers) a CPU runs eagerly, and so does CUDA without Triton; the run says so.
"""

from __future__ import annotations

from enum import StrEnum
from importlib.util import find_spec

from reprogrok.model.compiler import compiler
from reprogrok.spec.model import ModelSpec


class Backend(StrEnum):
    """How a training step is executed."""

    EAGER = "eager"
    COMPILED = "compiled"


_LONG_RUNS = {"cpu": Backend.COMPILED, "cuda": Backend.COMPILED, "mps": Backend.EAGER}
_NARROW = 32  # width of the residual stream
_WORTH_COMPILING = {True: 3_000, False: 300}  # is the model narrow? -> the least number of steps


def available_backend(model: ModelSpec, steps: int, device: str) -> Backend:
    """Return the backend of a run of so many steps of a model on "cpu", "cuda" or "mps" of this machine."""
    lacks = (device == "cpu" and compiler() is None) or (device == "cuda" and find_spec("triton") is None)
    return Backend.EAGER if lacks else preferred_backend(model, steps, device)


def preferred_backend(model: ModelSpec, steps: int, device: str) -> Backend:
    """Return the backend that the run would use if the device had its compiler."""
    return _LONG_RUNS[device] if steps >= _WORTH_COMPILING[model.d_model <= _NARROW] else Backend.EAGER

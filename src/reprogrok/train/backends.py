"""Model, device, length of the run -> the path on which its steps are executed, from a fixed table; no torch.

    path       how a step is executed                          which bits
    eager      operation by operation                          follow from torch and the processor
    compiled   as one graph, by TorchInductor                  follow from the compiler, too

The path is never chosen by timing: two runs of one experiment on one kind of machine must take the same one, for its
bits are not the other's. What was measured is the table (docs/engine.md has the figures). It asks for

  - the device: what TorchInductor makes of MPS was never measured here;
  - the length of the run and the width of the model: a compilation takes ten seconds to a minute, which is as long as
    some thousand steps of a narrow model and some hundred of a wide one.

Without a C++ compiler (and Python's headers) a CPU takes the eager path, without Triton CUDA does; the run says so.
"""

from __future__ import annotations

from importlib.util import find_spec

from reprogrok.model.compiler import compiler
from reprogrok.spec import ModelSpec

PATHS = ("eager", "compiled")
_TABLE = {"cpu": "compiled", "cuda": "compiled", "mps": "eager"}  # of a run that is worth a compilation
_NARROW = 32  # width of the residual stream
_WORTH_COMPILING = {True: 3_000, False: 300}  # is the model narrow? -> from so many steps on


def path_of(model: ModelSpec, steps: int, device: str) -> str:
    """The path of a run of so many steps of a model on "cpu", "cuda" or "mps"."""
    lacks = (device == "cpu" and compiler() is None) or (device == "cuda" and find_spec("triton") is None)
    return "eager" if lacks else wanted_path(model, steps, device)


def wanted_path(model: ModelSpec, steps: int, device: str) -> str:
    """The path that the run would take if the device had its compiler."""
    return _TABLE[device] if steps >= _WORTH_COMPILING[model.d_model <= _NARROW] else "eager"

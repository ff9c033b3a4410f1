"""Model, device, length of the run -> the path on which its steps are executed, from a fixed table; no torch.

    path       how a step is executed                          which bits
    eager      operation by operation                          follow from torch and the processor
    compiled   as one graph, by TorchInductor                  follow from the compiler, too

The path is never chosen by timing: two runs of one experiment on one kind of machine must take the same one, for its
bits are not the other's. What is measured is the table (docs/engine.md has the figures). It asks for three things:

  - the model. Narrow ones are hundreds of tiny operations, which compiling melts into a dozen loops. Wide ones are a
    few large matrix products, which compiling cannot make faster on a CPU.
  - the device. What TorchInductor makes of MPS was never measured here.
  - the length. A compilation takes about as long as a few thousand steps.

Without a C++ compiler a CPU takes the eager path, and the run says so.
"""

from __future__ import annotations

from reprogrok.model.compiler import compiler
from reprogrok.spec import ModelSpec

PATHS = ("eager", "compiled")
NARROW = 32  # width of the residual stream
WORTH_COMPILING = 3_000  # steps

# (device, is the model narrow) -> the path of a run that is long enough to be worth a compilation.
_TABLE = {
    ("cpu", True): "compiled",
    ("cpu", False): "eager",
    ("cuda", True): "compiled",
    ("cuda", False): "compiled",
    ("mps", True): "eager",
    ("mps", False): "eager",
}


def path_of(model: ModelSpec, steps: int, device: str) -> str:
    """The path of a run of so many steps of a model on "cpu", "cuda" or "mps"."""
    path = _TABLE[device, model.d_model <= NARROW]
    if path == "compiled" and (steps < WORTH_COMPILING or (device == "cpu" and compiler() is None)):
        return "eager"
    return path


def missing_compiler(model: ModelSpec, steps: int, device: str) -> bool:
    """Would this run be compiled if there were a C++ compiler?"""
    wanted = _TABLE[device, model.d_model <= NARROW] == "compiled" and steps >= WORTH_COMPILING
    return wanted and device == "cpu" and compiler() is None

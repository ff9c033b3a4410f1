"""An update -> one graph of machine code: traced through its backward and its optimiser, compiled by TorchInductor.

Tracing runs the update once on tensors without contents and records every operation, those of autograd included. The
graph holds the whole step, so the compiler can fuse the gradient's last use with its first. TorchInductor caches its
output on disk, where other processes find it: seconds instead of ten.

torch loads `torch._inductor`, which takes a second, when the name is first used. So this module imports nothing of it
by name, and an eager training never loads the compiler.
"""

from __future__ import annotations

from functools import lru_cache, partial
from typing import NamedTuple

import torch
from torch._subclasses import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx

from reprogrok.errors import InputError
from reprogrok.train.update import Rule, Update, update_


class TensorKind(NamedTuple):
    """The properties of a tensor for which an update is compiled."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device


@lru_cache(maxsize=8)  # a worker trains many seeds with one compilation
def compiled_update(rule: Rule, kinds: tuple[TensorKind, ...]) -> Update:
    """Compile the update of a rule for tensors of these kinds, in the order of `train.update.update_`.

    Raises:
        InputError: the compiler, or something that it needs, does not work here.
    """
    torch._inductor.config.deterministic = True  # noqa: SLF001 - its documented place; choose nothing by timing
    # Shapes are fixed, but without an environment of shapes TorchInductor does not use its cache.
    shapes = torch.fx.experimental.symbolic_shapes.ShapeEnv()
    with FakeTensorMode(shape_env=shapes, static_shapes=True):
        examples = [torch.empty(kind.shape, dtype=kind.dtype, device=kind.device) for kind in kinds]
        graph = make_fx(partial(update_, rule))(*examples)
    try:
        compiled: Update = torch._inductor.compile(graph, list(examples))  # noqa: SLF001 - its documented entry point
    except Exception as error:  # a compiler and its headers can fail in any way
        reason = next((line.strip() for line in str(error).splitlines() if "error" in line), type(error).__name__)
        raise InputError(
            f"a step cannot be compiled here ({reason[:200]})",
            field="--backend",
            expected="eager, which needs no compiler",
        ) from error
    return compiled

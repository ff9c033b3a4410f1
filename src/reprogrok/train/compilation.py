"""An update -> one graph of machine code: traced through its backward and its optimiser, compiled by TorchInductor.

Tracing runs the update once on tensors without contents and writes down every operation, autograd's among them; so
the graph holds the whole step, and the compiler sees the gradient's last use beside its first. What it makes lies in
TorchInductor's own cache and is found again by other processes: seconds instead of ten.
"""

from __future__ import annotations

from functools import lru_cache, partial
from typing import NamedTuple

import torch
import torch._inductor
from torch._subclasses import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.experimental.symbolic_shapes import ShapeEnv

from reprogrok.errors import InputError
from reprogrok.train.update import Rule, Update, update_


class Kind(NamedTuple):
    """What a compilation knows of a tensor."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device


@lru_cache(maxsize=8)  # a worker trains many seeds with one compilation
def compiled_update(rule: Rule, kinds: tuple[Kind, ...]) -> Update:
    """The update of a rule for tensors of these kinds, in the order of `train.step.update_`.

    Raises:
        InputError: the compiler, or something that it needs, does not work here.
    """
    # Nothing is to be chosen by timing it.
    torch._inductor.config.deterministic = True  # noqa: SLF001 - its documented place
    # Shapes that are known to be fixed: without an environment of shapes the compiler's cache is passed over.
    with FakeTensorMode(shape_env=ShapeEnv(), static_shapes=True):
        examples = [torch.empty(kind.shape, dtype=kind.dtype, device=kind.device) for kind in kinds]
        graph = make_fx(partial(update_, rule))(*examples)
    try:
        compiled: Update = torch._inductor.compile(graph, list(examples))  # noqa: SLF001 - its documented door
    except Exception as error:  # whatever a compiler and its headers can lack
        reason = next((line.strip() for line in str(error).splitlines() if "error" in line), type(error).__name__)
        raise InputError(
            f"a step cannot be compiled here ({reason[:200]})",
            field="--path",
            expected="eager, which needs no compiler",
        ) from error
    return compiled

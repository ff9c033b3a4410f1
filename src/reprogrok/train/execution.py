"""Rule, state and backend -> an update that can be called once per step.

    eager       operation by operation
    compiled    traced once, backward and optimiser included, and compiled as one graph (`train.compilation`)

On CUDA either is captured as a CUDA graph, so that a step is one launch and the host does not wait. The backend is part
of a run's fingerprint: another order of additions gives other bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from reprogrok.train.backends import Backend
from reprogrok.train.compilation import TensorKind, compiled_update
from reprogrok.train.update import Rule, Update, update_

_WARM_UP = 3  # updates before a capture: libraries allocate and choose on their first calls


def make_update(rule: Rule, state: Sequence[Tensor], batch: Sequence[Tensor], backend: Backend) -> Update:
    """Return the update of these very tensors, in place.

    Args:
        rule: the definition of the update.
        state: weights, mean and square (R, P), and the step at which a replica diverged, or -1 (R,) int64.
        batch: an example of tokens (R, T + 1, B), numbers of a step (3,), the step itself () int64 and, where there is
            dropout, the seeds (R,) int64.
        backend: how it is executed.
    """
    function: Update = partial(update_, rule)
    if backend == Backend.COMPILED:
        function = compiled_update(rule, tuple(TensorKind(tuple(x.shape), x.dtype, x.device) for x in (*state, *batch)))
    if state[0].device.type == "cuda":
        return _captured(function, state, batch)
    return partial(function, *state)


def _captured(function: Update, state: Sequence[Tensor], batch: Sequence[Tensor]) -> Update:
    """Capture the function as a CUDA graph: every call copies its batch to the graph's inputs and replays."""
    inputs = [x.clone() for x in batch]
    before = [x.clone() for x in state]
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(_WARM_UP):
            function(*state, *inputs)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        results = function(*state, *inputs)
    for tensor, old in zip(state, before, strict=True):
        tensor.copy_(old)

    def replay(*batch: Tensor) -> tuple[Tensor, Tensor]:
        for place, value in zip(inputs, batch, strict=True):
            place.copy_(value)
        graph.replay()
        return results

    return replay

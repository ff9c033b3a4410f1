"""Shared by the tests of the engine: a run to its end or to a step, its tensors by name, skips without a compiler."""

from __future__ import annotations

import pytest

from reprogrok.model.compiler import compiler


def finished(engine, state=None, stop_at=None):
    """Train to the end, or until the state has reached step `stop_at`; returns the state and the evaluations."""
    state = state or engine.fresh()
    evaluations = list(engine.train(state, lambda: stop_at is not None and state.step >= stop_at))
    return state, evaluations


def tensors(state):
    return {"weights": state.weights_RP, "mean": state.mean_RP, "square": state.square_RP, "best": state.best_RP}


def needs(backend):
    if backend == "compiled" and compiler() is None:
        pytest.skip("there is no C++ compiler here")

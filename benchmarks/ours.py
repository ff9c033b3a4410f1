"""Our side of the training benchmark: a family of reference_loop.py -> replicas in training by reprogrok."""

from __future__ import annotations

import collections
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import torch

from reprogrok.model.compiler import compiler
from reprogrok.spec import CurriculumStage, read_params
from reprogrok.train.engine import Engine

PARAMS = Path(__file__).resolve().parents[1] / "params.yaml"
PATHS = ("eager", "compiled")
EXPERIMENTS = MappingProxyType({"addition-456": "e1", "addition-1128": "e15"})

Advance = Callable[[int], None]  # take so many steps


class NotOfferedError(Exception):
    """What is asked for cannot be trained; the message says why."""


class OurTrainer:
    """Replicas 0..R-1 of one family, in training on one core.

    Raises:
        NotOfferedError: reprogrok does not train this family by this path.
    """

    def __init__(self, family: str, replicas: int, path: str) -> None:
        if family not in _FACTORIES:
            raise NotOfferedError("reprogrok does not train this family")
        self._advance = _FACTORIES[family](family, replicas, path)

    def train(self, steps: int) -> None:
        """Advance every replica by so many steps."""
        self._advance(steps)


def _addition(family: str, replicas: int, path: str) -> Advance:
    """The engine in the phase of 1-10 digits, evaluating only after its first step."""
    if path == "compiled" and compiler() is None:
        raise NotOfferedError("there is no C++ compiler here")
    recipe = read_params(PARAMS).experiments[EXPERIMENTS[family]]
    recipe = replace(recipe, curriculum=(CurriculumStage(0, (1, 10)),), evaluate_every=recipe.steps)
    engine = Engine(recipe, tuple(range(replicas)), torch.device("cpu"), path)
    state = engine.fresh()

    def advance(steps: int) -> None:
        end = state.step + steps
        collections.deque(engine.train(state, lambda: state.step >= end), maxlen=0)

    return advance


_FACTORIES: Mapping[str, Callable[[str, int, str], Advance]] = MappingProxyType(dict.fromkeys(EXPERIMENTS, _addition))

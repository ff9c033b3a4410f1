"""Our side of the training benchmark: a family of reference_loop.py -> replicas in training by reprogrok.

Addition is trained by the engine, its batches drawn as in a run. The modular families are not tasks of the engine yet:
only their update is measured, on the rows of the plain loop, with a loss on the scored positions.
The engine has no dropout, so for `text9-v1` the plain loop trains without it, too (`bench_training`).
"""

from __future__ import annotations

import collections
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import torch
from reference_loop import FAMILIES

from reprogrok.model.compiler import compiler
from reprogrok.model.device import choose_device, subnormals_as_zero
from reprogrok.model.initialise import initial_weights
from reprogrok.params import read_params
from reprogrok.spec.experiment import OptimiserSpec
from reprogrok.spec.model import ModelSpec
from reprogrok.spec.task import AdditionTask, CurriculumStage
from reprogrok.tasks.protocols import PROTOCOL
from reprogrok.train.backends import Backend
from reprogrok.train.engine import Engine
from reprogrok.train.execution import make_update
from reprogrok.train.optimiser import step_numbers
from reprogrok.train.update import Layout, Rule

PARAMS = Path(__file__).resolve().parents[1] / "params.yaml"
EXPERIMENTS = MappingProxyType({"addition-456": "e1", "addition-1128": "e15"})

Advance = Callable[[int], None]  # make so many updates


class NotOfferedError(Exception):
    """The requested training is not possible; the message gives the reason."""


class OurTrainer:
    """Replicas 0..R-1 of one family, in training on one core.

    Raises:
        NotOfferedError: reprogrok does not train this family on this backend.
    """

    def __init__(self, family: str, replicas: int, backend: str) -> None:
        if family not in _FACTORIES:
            raise NotOfferedError("reprogrok does not train this family")
        if backend not in list(Backend):
            raise NotOfferedError(f"the engine has no {backend} backend")
        choose_device("cpu", "bitwise")
        self._advance = _FACTORIES[family](family, replicas, backend)

    def train(self, steps: int) -> None:
        """Advance every replica by so many steps."""
        with subnormals_as_zero():
            self._advance(steps)


def _addition(family: str, replicas: int, backend: str) -> Advance:
    """The engine in the phase of 1-10 digits, evaluating only after its first step."""
    _check_compiler(backend)
    recipe = read_params(PARAMS).experiments[EXPERIMENTS[family]]
    task = AdditionTask(10, PROTOCOL, (CurriculumStage(0, (1, 10)),))
    recipe = replace(recipe, task=task, evaluate_every=recipe.steps)
    engine = Engine(recipe, tuple(range(replicas)), torch.device("cpu"), backend)
    state = engine.fresh()

    def advance(steps: int) -> None:
        end = state.step + steps
        collections.deque(engine.train(state, lambda: state.step >= end), maxlen=0)

    return advance


def _modular(family: str, replicas: int, backend: str) -> Advance:
    """The update of a wide model, on rows that are all the same size."""
    _check_compiler(backend)
    if replicas > 1:
        raise NotOfferedError("a CPU trains every seed by itself; stacks of wide models only overflow its caches")
    plain = FAMILIES[family]
    config = {key: value for key, value in plain.config.items() if key != "dropout"}
    optimiser = OptimiserSpec(plain.lr, plain.betas, 1e-8, plain.weight_decay, clip=None)
    rule = Rule(ModelSpec(**config), plain.scored.start, optimiser)
    layout = Layout(rule.model)
    weights_RP = torch.stack([layout.flatten(initial_weights(rule.model, seed)) for seed in range(replicas)])
    state = (weights_RP, torch.zeros_like(weights_RP), torch.zeros_like(weights_RP), torch.full((replicas,), -1))
    rows_BT = next(plain.rows(plain, torch.Generator().manual_seed(0), 0))[:, : plain.scored.stop + 1]
    tokens_RTB = rows_BT.T.expand(replicas, -1, -1).contiguous()
    numbers_S3, steps = step_numbers(optimiser, [plain.lr] * 1000, 0).float(), torch.arange(1000)
    update, done = make_update(rule, state, (tokens_RTB, numbers_S3[0], steps[0]), Backend(backend)), 0

    def advance(count: int) -> None:
        nonlocal done
        for step in range(done, done + count):
            update(tokens_RTB, numbers_S3[step], steps[step])
        done += count

    return advance


def _check_compiler(backend: str) -> None:
    if backend == Backend.COMPILED and compiler() is None:
        raise NotOfferedError("there is no C++ compiler here")


_FACTORIES: Mapping[str, Callable[[str, int, str], Advance]] = MappingProxyType(
    dict.fromkeys(EXPERIMENTS, _addition) | dict.fromkeys(("llmc8-1", "llmc8-2", "text9-v1"), _modular)
)

"""Eight replicas in one stack against each of them alone: the same bytes, on every backend and for each family.

The tests do this for eager stacks; compiling a stack of eight takes minutes, so the campaign does that.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from reprogrok.model.compiler import compiler
from reprogrok.model.device import choose_device, subnormals_as_zero
from reprogrok.params import read_params
from reprogrok.train.backends import Backend
from reprogrok.train.engine import Engine, EngineState

SEEDS = (44, 7, 43, 999, 0, 2**40, 1, 46)
FAMILIES = ("e1", "e15")  # low rank with tied keys and values; full rank
PARAMS = Path(__file__).resolve().parents[2] / "params.yaml"


def slots_against_replicas_alone(_folder: Path, steps: int) -> tuple[int, list[str]]:
    """Return how many slots were compared after so many steps, and the differences found."""
    cpu = choose_device("cpu", "bitwise")
    tried, different = 0, []
    for name in FAMILIES:
        experiment = replace(read_params(PARAMS).experiments[name], evaluate_every=steps)
        for backend in Backend if compiler() else [Backend.EAGER]:
            together = trained(Engine(experiment, SEEDS, cpu, backend), steps)
            for slot, seed in enumerate(SEEDS):
                alone = trained(Engine(experiment, (seed,), cpu, backend), steps)
                pairs = zip((*alone.updated(), alone.best_RP), (*together.updated(), together.best_RP), strict=True)
                tried += 1
                if not all(torch.equal(one[0], other[slot]) for one, other in pairs):
                    different.append(f"{name}, {backend}: seed {seed} alone is not slot {slot} of {len(SEEDS)}")
    return tried, different


def trained(engine: Engine, steps: int) -> EngineState:
    """Return the state after so many updates."""
    state = engine.fresh()
    with subnormals_as_zero():
        for _ in engine.train(state, lambda: state.step >= steps):
            pass
    return state

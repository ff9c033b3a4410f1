"""The training rate of this machine: a few seconds of real training -> steps per second on one core.

The recipes are those of e1 and e15 in `params.yaml`, so that a machine can be measured outside a project.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from reprogrok.model.device import subnormals_as_zero
from reprogrok.spec.experiment import Experiment, OptimiserSpec, ScheduleSpec
from reprogrok.spec.model import ModelSpec
from reprogrok.spec.task import AdditionTask, CurriculumStage
from reprogrok.tasks.protocols import PROTOCOL
from reprogrok.train.backends import available_backend
from reprogrok.train.engine import Engine

_DIGITS = 10
_BASE = Experiment(
    name="e1",
    title="456 parameters",
    source="",
    task=AdditionTask(
        _DIGITS, PROTOCOL, (CurriculumStage(0, (1, 3)), CurriculumStage(2000, (1, 6)), CurriculumStage(7000, (1, 10)))
    ),
    model=ModelSpec(
        n_layer=1,
        d_model=7,
        n_head=1,
        d_ff=14,
        max_seq_len=3 * _DIGITS + 3,
        vocab_size=14,
        pos_rank=3,
        qkv_rank=3,
        attn_out_rank=2,
        ffn_rank=3,
        use_rmsnorm=True,
        tie_qkv="shareA_tieKV",
    ),
    optimiser=OptimiserSpec(lr=0.02, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01, clip=1.0),
    schedule=ScheduleSpec(warmup=1350, floor=0.1),
    batch=512,
    steps=54_000,
    evaluate_every=500,
    seeds=(0,),
)
RECIPES = (
    _BASE,
    replace(
        _BASE,
        name="e15",
        title="1,128 parameters",
        model=ModelSpec(n_layer=1, d_model=8, n_head=1, d_ff=28, max_seq_len=3 * _DIGITS + 3, vocab_size=14),
        optimiser=replace(_BASE.optimiser, lr=0.015),
        steps=30_000,
    ),
)


@dataclass(frozen=True)
class Pace:
    """The rate at which one experiment trains on one core.

    Attributes:
        experiment: the experiment.
        steps_per_second: updates of one model, evaluations not counted.
        measured_steps: the number of steps measured.
        finite: whether every loss, gradient and weight was finite.
    """

    experiment: Experiment
    steps_per_second: float
    measured_steps: int
    finite: bool

    @property
    def seconds_per_seed(self) -> float:
        """The time that all steps of the experiment take, evaluations not counted."""
        return self.experiment.steps / self.steps_per_second


def measure_pace(experiment: Experiment, seconds: float, clock: Callable[[], float] = time.monotonic) -> Pace:
    """Train seed 0 of `experiment` on the CPU for so many seconds after its first step and evaluation.

    The first step and evaluation load libraries and compile; the clock starts after them.
    """
    with subnormals_as_zero():
        backend = available_backend(experiment.model, experiment.steps, "cpu")
        engine = Engine(replace(experiment, evaluate_every=experiment.steps), (0,), torch.device("cpu"), backend)
        state, end = engine.fresh(), math.inf
        training = engine.train(state, lambda: clock() >= end)
        next(training)
        began, before = clock(), state.step
        end = began + seconds
        for _ in training:
            pass
    steps, finite = state.step - before, bool((state.diverged_R < 0).all())
    return Pace(experiment, steps / (clock() - began), steps, finite)

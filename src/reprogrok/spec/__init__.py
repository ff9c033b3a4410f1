"""Everything that decides the results of a replica, as frozen dataclasses; no torch.

A spec is complete: every field that changes a result stands in `params.yaml` and enters the digest. It is checked when
it is read (`params`) and never changed; `dataclasses.replace` makes a variant.
"""

from reprogrok.spec.experiment import (
    DEVICES,
    LEAST_DROPOUT,
    MAX_STEPS,
    NO_BITS,
    EarlyGrid,
    Experiment,
    OptimiserSpec,
    ScheduleSpec,
    schedule_problem,
)
from reprogrok.spec.model import GELU, TIE_QKV, ModelSpec
from reprogrok.spec.ranges import MAX_SEED, MAX_STEPS_LISTED, seed_range, step_range
from reprogrok.spec.task import (
    DIGITS,
    FORMATS,
    GROUP_ELEMENTS,
    LOSSES,
    MAX_MODULUS,
    MAX_SPLIT_SEED,
    NAME,
    SPLIT_KINDS,
    AdditionTask,
    CurriculumStage,
    FormatShape,
    ModularTask,
    OwnSplitSpec,
    SplitSpec,
    modular_task,
)

__all__ = [
    "DEVICES",
    "DIGITS",
    "FORMATS",
    "GELU",
    "GROUP_ELEMENTS",
    "LEAST_DROPOUT",
    "LOSSES",
    "MAX_MODULUS",
    "MAX_SEED",
    "MAX_SPLIT_SEED",
    "MAX_STEPS",
    "MAX_STEPS_LISTED",
    "NAME",
    "NO_BITS",
    "SPLIT_KINDS",
    "TIE_QKV",
    "AdditionTask",
    "CurriculumStage",
    "EarlyGrid",
    "Experiment",
    "FormatShape",
    "ModelSpec",
    "ModularTask",
    "OptimiserSpec",
    "OwnSplitSpec",
    "ScheduleSpec",
    "SplitSpec",
    "modular_task",
    "schedule_problem",
    "seed_range",
    "step_range",
]

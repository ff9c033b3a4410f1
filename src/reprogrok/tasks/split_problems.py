"""A modular task -> its split as named sets of problems, and as the token rows that llm.c reads.

The sets are what `generate` writes and `train --data` compares. llm.c knows training and validation: where a split has
two sides its test side is the validation shard, as the published two-way shards have it. Axes: N rows, T tokens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from reprogrok.spec import ModularTask
from reprogrok.tasks.modular import Modular
from reprogrok.tasks.problems import Pairs
from reprogrok.tasks.splits import make_split

if TYPE_CHECKING:
    from reprogrok.tasks.operations import Integers

SPLIT_FILE = "split.safetensors"


def split_name(task: ModularTask) -> str:
    """What the file of a split says of itself."""
    modulus = "" if task.modulus is None else f" mod {task.modulus}"
    return f"{task.operation}{modulus}, {task.split.kind} split, seed {task.split.seed}"


def split_sets(task: ModularTask) -> dict[str, Pairs]:
    """Training, validation (where there is any) and test, in the order of the split."""
    split, equations = make_split(task), Modular(task.operation, task.modulus, task.format).equations()
    sides = {"train": split.train_N, "validation": split.validation_N, "test": split.test_N}
    a_N, b_N = (torch.tensor(column_N) for column_N in (equations.a_N, equations.b_N))
    return {
        name: Pairs(a_N[torch.from_numpy(rows_N)], b_N[torch.from_numpy(rows_N)])
        for name, rows_N in sides.items()
        if len(rows_N)
    }


def split_rows(task: ModularTask) -> dict[str, Integers]:
    """The rows of llm.c's shards by their names, (N, 8): an equation each, without the token behind it."""
    modular, sets = Modular(task.operation, task.modulus, task.format), split_sets(task)
    named = {"train": sets["train"], "val": sets.get("validation", sets["test"])}
    if "validation" in sets:
        named["test"] = sets["test"]
    return {name: modular.encode(pairs.a, pairs.b)[:, :-1].numpy() for name, pairs in named.items()}

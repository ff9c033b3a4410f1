"""A modular task -> its split as named sets of problems, and as token rows for llm.c.

`generate` writes the sets and `train --data` compares them. llm.c knows training and validation only: the test side of
a two-way split is its validation shard, as in the published shards. Axes: N rows, T tokens.
"""

from __future__ import annotations

import torch

from reprogrok.spec.task import ModularTask
from reprogrok.tasks.modular import Modular
from reprogrok.tasks.modular_tokens import token_rows
from reprogrok.tasks.operations import Integers
from reprogrok.tasks.problems import Pairs
from reprogrok.tasks.splits import make_split

SPLIT_FILE = "split.safetensors"


def split_name(task: ModularTask) -> str:
    """Return the description that the file of a split carries."""
    modulus = "" if task.modulus is None else f" mod {task.modulus}"
    return f"{task.operation}{modulus}, {task.split.kind} split, seed {task.split.seed}"


def split_sets(task: ModularTask) -> dict[str, Pairs]:
    """Return the problems of training, validation (if any) and test, in the order of the split."""
    split, equations = make_split(task), Modular(task.operation, task.modulus, task.format).equations()
    sides = {"train": split.train_N, "validation": split.validation_N, "test": split.test_N}
    a_N, b_N = (torch.tensor(column_N) for column_N in (equations.a_N, equations.b_N))
    return {
        name: Pairs(a_N[torch.from_numpy(rows_N)], b_N[torch.from_numpy(rows_N)])
        for name, rows_N in sides.items()
        if len(rows_N)
    }


def split_rows(task: ModularTask) -> dict[str, Integers]:
    """Return the rows of llm.c's shards by name, (N, 8): one equation each, without the token after it."""
    modular, sets = Modular(task.operation, task.modulus, task.format), split_sets(task)
    named = {"train": sets["train"], "val": sets.get("validation", sets["test"])}
    if "validation" in sets:
        named["test"] = sets["test"]
    return {name: token_rows(modular, pairs.a, pairs.b)[:, :-1].numpy() for name, pairs in named.items()}

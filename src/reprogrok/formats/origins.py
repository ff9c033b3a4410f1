"""The block in our own checkpoints that says what a model was trained to do, and a digest of its contents.

    reprogrok.checkpoint/1   addition: the number of digits
    reprogrok.checkpoint/2   a modular task, whole: operation, modulus, format, loss and split

A block from a file is held to the form that we write, for its texts reach screens and reports.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from reprogrok.errors import CheckpointError, InputError
from reprogrok.schema import show
from reprogrok.spec import MAX_MODULUS, MAX_SEED, ModularTask, modular_task

FORMATS = {"digits": "reprogrok.checkpoint/1", "task": "reprogrok.checkpoint/2"}
_DIGITS = (3, 10)
_FORMS = {"experiment": r"[\w.-]{1,80}", "spec_digest": "[0-9a-f]{64}", "content_digest": "[0-9a-f]{64}"}


@dataclass(frozen=True)
class Origin:
    """What our own checkpoints say of themselves.

    Attributes:
        experiment: name of the experiment.
        digits: of the addition task; None for a modular one.
        seed: of the replica.
        spec_digest: digest of the experiment's spec.
        task: the modular task; None for addition.
        block: rows of a batch, where batches were fixed consecutive blocks of the training rows; None elsewhere.
    """

    experiment: str
    digits: int | None
    seed: int
    spec_digest: str
    task: ModularTask | None = None
    block: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain data, with digits or task."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def as_written(self, content_digest: str) -> dict[str, Any]:
        """The block of a file with these contents."""
        kind = FORMATS["digits" if self.task is None else "task"]
        return {"format": kind, **self.as_dict(), "content_digest": content_digest}


def read_origin(path: Path, block: Any) -> tuple[Origin, str]:
    """The origin, and the digest of the contents that the block claims.

    Raises:
        CheckpointError: not a block that we write.
    """
    subject = next(
        (name for name, kind in FORMATS.items() if isinstance(block, dict) and block.get("format") == kind), ""
    )
    types = {"experiment": str, "seed": int, "spec_digest": str, "format": str, "content_digest": str}
    types |= {subject: int if subject == "digits" else dict}
    if subject == "task" and "block" in block:
        types["block"] = int
    if (
        not subject
        or {k: type(v) for k, v in block.items()} != types
        or not all(re.fullmatch(form, block[key]) for key, form in _FORMS.items())
    ):
        expected, found = f"the block that {' or '.join(FORMATS.values())} defines", shown(block)
        raise CheckpointError(path=path, field="$.reprogrok", expected=expected, found=found)
    if not 0 <= block["seed"] <= MAX_SEED:
        raise CheckpointError(
            path=path, field="$.reprogrok.seed", expected=f"0 to {MAX_SEED}", found=shown(block["seed"])
        )
    if subject == "digits" and not _DIGITS[0] <= block["digits"] <= _DIGITS[1]:
        expected, found = f"{_DIGITS[0]} to {_DIGITS[1]} digits", shown(block["digits"])
        raise CheckpointError(path=path, field="$.reprogrok.digits", expected=expected, found=found)
    task = _task(path, block["task"]) if subject == "task" else None
    rows = block.get("block")
    if rows is not None and not 1 <= rows <= MAX_MODULUS**2:
        raise CheckpointError(
            path=path, field="$.reprogrok.block", expected=f"1 to {MAX_MODULUS**2}", found=shown(rows)
        )
    origin = Origin(block["experiment"], block.get("digits"), block["seed"], block["spec_digest"], task, rows)
    return origin, block["content_digest"]


def _task(path: Path, entry: Mapping[str, Any]) -> ModularTask:
    try:
        task = modular_task(entry)
        sound = asdict(task) == dict(entry) and re.fullmatch(r"[\w.-]{1,80}", task.operation)
    except (InputError, KeyError, TypeError, ValueError):
        sound = None
    if not sound:
        raise CheckpointError("not a modular task", path=path, field="$.reprogrok.task", found=shown(entry))
    return task


def kind_of(value: Any) -> str:
    """The type of a value, for a message."""
    return "nothing" if value is None else type(value).__name__


def shown(value: Any) -> str:
    """A value for a message; of what is no scalar, its type (a file can hold what no text can show)."""
    small = value is None or isinstance(value, str | bool | float) or (isinstance(value, int) and abs(value) < 2**64)
    return show(value) if small else kind_of(value)

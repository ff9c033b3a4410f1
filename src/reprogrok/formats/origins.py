"""The origin block of our own checkpoints: the task, experiment and seed of a model, and a digest of its contents.

    reprogrok.checkpoint/1   addition: the number of digits
    reprogrok.checkpoint/2   a modular task: operation, modulus, format, loss and split

A block is accepted only in the form that we write, because its texts reach screens and reports.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from reprogrok.errors import CheckpointError, InputError
from reprogrok.schema import show
from reprogrok.spec.ranges import MAX_SEED
from reprogrok.spec.task import DIGITS, MAX_MODULUS, ModularTask, modular_task

FORMATS = {"digits": "reprogrok.checkpoint/1", "task": "reprogrok.checkpoint/2"}
_RANGES = {"seed": (0, MAX_SEED), "digits": DIGITS, "block": (1, MAX_MODULUS**2)}
_FORMS = {"experiment": r"[\w.-]{1,80}", "spec_digest": "[0-9a-f]{64}", "content_digest": "[0-9a-f]{64}"}


@dataclass(frozen=True)
class Origin:
    """The origin of one of our own checkpoints.

    Attributes:
        experiment: name of the experiment.
        digits: number of digits of an addition task; None for a modular task.
        seed: seed of the replica.
        spec_digest: digest of the experiment's spec.
        task: the modular task; None for addition.
        block: batch size, if batches were fixed consecutive blocks of the training rows.
    """

    experiment: str
    digits: int | None
    seed: int
    spec_digest: str
    task: ModularTask | None = None
    block: int | None = None

    def as_dict(self) -> dict[str, object]:
        """Return plain data, with either digits or task."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def as_written(self, content_digest: str) -> dict[str, object]:
        """Return the block of a file with these contents."""
        kind = FORMATS["digits" if self.task is None else "task"]
        return {"format": kind, **self.as_dict(), "content_digest": content_digest}


def read_origin(path: Path, value: object) -> tuple[Origin, str]:
    """Read a block: the origin, and the digest of the contents that it states.

    Raises:
        CheckpointError: it is not a block that we write.
    """
    block = value if isinstance(value, dict) else {}
    subject = next((name for name, kind in FORMATS.items() if block.get("format") == kind), "")
    types = {"experiment": str, "seed": int, "spec_digest": str, "format": str, "content_digest": str}
    types |= {subject: int if subject == "digits" else dict}
    if subject == "task" and "block" in block:
        types["block"] = int
    if (
        not subject
        or {k: type(v) for k, v in block.items()} != types
        or not all(re.fullmatch(form, block[key]) for key, form in _FORMS.items())
    ):
        expected, found = f"the block that {' or '.join(FORMATS.values())} defines", shown(value)
        raise CheckpointError(path=path, field="$.reprogrok", expected=expected, found=found)
    for name, (least, most) in _RANGES.items():
        if name in block and not least <= block[name] <= most:
            expected, found = f"{least} to {most}", shown(block[name])
            raise CheckpointError(path=path, field=f"$.reprogrok.{name}", expected=expected, found=found)
    task = _task(path, block["task"]) if subject == "task" else None
    digits, rows = block.get("digits"), block.get("block")
    origin = Origin(block["experiment"], digits, block["seed"], block["spec_digest"], task, rows)
    return origin, block["content_digest"]


def _task(path: Path, entry: Mapping[str, object]) -> ModularTask:
    try:
        task = modular_task(entry)
        sound = asdict(task) == dict(entry) and re.fullmatch(r"[\w.-]{1,80}", task.operation)
    except (InputError, KeyError, TypeError, ValueError):
        sound = None
    if not sound:
        raise CheckpointError("not a modular task", path=path, field="$.reprogrok.task", found=shown(entry))
    return task


def kind_of(value: object) -> str:
    """Return the name of a value's type for a message."""
    return "nothing" if value is None else type(value).__name__


def shown(value: object) -> str:
    """Return a scalar for a message; for other values, which may not be printable, their type."""
    small = value is None or isinstance(value, str | bool | float) or (isinstance(value, int) and abs(value) < 2**64)
    return show(value) if small else kind_of(value)

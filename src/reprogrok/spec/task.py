"""Plain data -> the task of an experiment: problems, format, loss and split."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from types import MappingProxyType
from typing import Any

LOSSES = ("all", "answer")
SPLIT_KINDS = ("random", "three_way", "result_range", "operand_holdout", "twin_closed")
DIGITS = (3, 10)  # least and most of an operand of addition
MAX_MODULUS = 1_000  # keeps the table of all equations small
MAX_SPLIT_SEED = 2**32 - 1  # largest seed of a numpy `RandomState`
GROUP_ELEMENTS = 120  # elements of S5, whose operations have no modulus
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,79}")  # names that packages may offer


@dataclass(frozen=True)
class CurriculumStage:
    """From step `start` on, operands have between `digits[0]` and `digits[1]` digits."""

    start: int
    digits: tuple[int, int]


@dataclass(frozen=True)
class AdditionTask:
    """Addition of two numbers, digit by digit.

    Attributes:
        digits: digits of each operand.
        hold_out: the protocol that keeps pairs out of training.
        curriculum: stages by number of digits.
    """

    digits: int
    hold_out: str
    curriculum: tuple[CurriculumStage, ...]
    name: str = "addition"

    @property
    def vocab_size(self) -> int:
        """Ten digits, `+`, `=`, PAD and EOS."""
        return 14

    @property
    def max_seq_len(self) -> int:
        """Prompt and answer."""
        return 3 * self.digits + 3


@dataclass(frozen=True)
class SplitSpec:
    """The rule that divides equations into training and test set (`tasks.splits`).

    Attributes:
        kind: one of `SPLIT_KINDS`; in `OwnSplitSpec`, a name that a package offers.
        seed: seed of the published generator that shuffles, a numpy `RandomState`.
        fraction: training fraction of random, three_way and twin_closed.
        train: for result_range: equations with train[0] <= result < train[1] are trained on.
        test: for result_range: likewise, held out; the two may overlap.
        held: for operand_holdout: operands that never occur in training.
    """

    kind: str
    seed: int
    fraction: float | None = None
    train: tuple[int, int] | None = None
    test: tuple[int, int] | None = None
    held: tuple[int, ...] | None = None


@dataclass(frozen=True)
class OwnSplitSpec(SplitSpec):
    """A split that an installed package offers (`tasks.splits`).

    Attributes:
        settings: argument of the package's function, plain data from `params.yaml`.
    """

    settings: Mapping[str, object] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class FormatShape:
    """The layout of an equation as a row of tokens, as far as a model's shape depends on it.

    Attributes:
        extra_tokens: number of symbols next to the residues.
        positions: T, number of tokens that the model reads.
        answer: the position that predicts the result.
        max_seq_len: number of learned positions of the published models.
    """

    extra_tokens: int
    positions: int
    answer: int
    max_seq_len: int


FORMATS: Mapping[str, FormatShape] = MappingProxyType(
    {
        "llmc8": FormatShape(extra_tokens=4, positions=8, answer=4, max_seq_len=8),
        "text9": FormatShape(extra_tokens=7, positions=8, answer=6, max_seq_len=16),
        "power5": FormatShape(extra_tokens=2, positions=4, answer=3, max_seq_len=4),
    }
)


@dataclass(frozen=True)
class ModularTask:
    """The equations of a finite operation, all of which are known.

    Attributes:
        operation: a name of `tasks.operations`.
        modulus: modulus of the residues; None for an operation of S5.
        format: a name of `FORMATS`.
        loss: "all" for the mean over all T positions, "answer" for the position that predicts the result.
        split: the rule that divides the equations.
    """

    operation: str
    modulus: int | None
    format: str
    loss: str
    split: SplitSpec
    name: str = "modular"

    @property
    def elements(self) -> int:
        """Number of operands and of results."""
        return GROUP_ELEMENTS if self.modulus is None else self.modulus

    @property
    def vocab_size(self) -> int:
        """Number of elements and of the format's other symbols."""
        return self.elements + FORMATS[self.format].extra_tokens

    @property
    def max_seq_len(self) -> int:
        """Number of learned positions; the format may read fewer."""
        return FORMATS[self.format].max_seq_len

    @property
    def scored(self) -> range:
        """Positions that the loss is a mean over."""
        shape = FORMATS[self.format]
        return range(shape.positions) if self.loss == "all" else range(shape.answer, shape.answer + 1)


def modular_task(entry: Mapping[str, Any]) -> ModularTask:
    """Read the task from plain data, as `params.yaml` and our checkpoints hold it.

    Whether the operation is known and every side of the split has equations is checked by `tasks.operations` and
    `tasks.splits`.

    Raises:
        KeyError: a field is missing.
        TypeError: a field is unknown or of another type.
        ValueError: a value is out of range.
    """
    if not isinstance(entry["split"], Mapping):
        raise TypeError("split")
    split: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in entry["split"].items()
    }
    if type(split.get("fraction")) is int:
        split["fraction"] = float(split["fraction"])
    kind = OwnSplitSpec if "settings" in split else SplitSpec
    task = ModularTask(entry["operation"], entry.get("modulus"), entry["format"], entry["loss"], kind(**split))
    if not (type(task.operation) is str and task.format in FORMATS and task.loss in LOSSES):
        raise ValueError("operation, format or loss")
    if not (type(task.elements) is int and 1 < task.elements <= MAX_MODULUS):
        raise ValueError("modulus")
    if not _is_split(task.split):
        raise ValueError("split")
    return task


def _is_split(split: SplitSpec) -> bool:
    """Return whether every field has its type and a possible value."""
    lists = [numbers for numbers in (split.train, split.test, split.held) if numbers is not None]
    if isinstance(split, OwnSplitSpec):
        known = type(split.kind) is str and NAME.fullmatch(split.kind) is not None and split.kind not in SPLIT_KINDS
        known = known and type(split.settings) is dict and _is_plain(split.settings)
    else:
        known = split.kind in SPLIT_KINDS
    return (
        known
        and type(split.seed) is int
        and 0 <= split.seed <= MAX_SPLIT_SEED
        and (split.fraction is None or (type(split.fraction) is float and 0 < split.fraction < 1))
        and all(type(numbers) is tuple for numbers in lists)
        and all(type(number) is int and 0 <= number <= MAX_MODULUS for numbers in lists for number in numbers)
        and all(numbers is None or len(numbers) == 2 for numbers in (split.train, split.test))
    )


def _is_plain(value: object) -> bool:
    """Return whether JSON can express a value."""
    if isinstance(value, dict):
        return all(type(key) is str for key in value) and all(map(_is_plain, value.values()))
    if type(value) is list:
        return all(map(_is_plain, value))
    return value is None or type(value) in {str, bool, int} or (type(value) is float and isfinite(value))

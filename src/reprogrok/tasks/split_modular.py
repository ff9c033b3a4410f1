"""A modular task with its split: the equations of an exam, and the side of the split of each.

The loss is left out: two models that differ in their training loss alone sit the same exam. Axes: N equations.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import torch

from reprogrok.spec.task import ModularTask, OwnSplitSpec, SplitSpec
from reprogrok.tasks.modular import Modular
from reprogrok.tasks.modular_tokens import token_columns, token_rows
from reprogrok.tasks.operations import Integers
from reprogrok.tasks.splits import NEW_PAIRS, TWINS, Split, held_out_parts, make_split


@dataclass(frozen=True)
class SplitModular(Modular):
    """An operation, its format, and the split of its equations.

    Attributes:
        split: rule that divides the equations into training and test set.
        block: batch size, if batches were fixed consecutive blocks; rows that fill no block were never trained on.

    Raises:
        InputError: as `Modular` does.
    """

    split: SplitSpec
    block: int | None = None

    @classmethod
    def of(cls, task: ModularTask, block: int | None = None) -> SplitModular:
        """Return the same task without its loss."""
        return cls(task.operation, task.modulus, task.format, task.split, block)

    @property
    def spec(self) -> ModularTask:
        """The task in the form of `params.yaml`; the loss, which an exam does not use, is "answer"."""
        return ModularTask(self.operation, self.modulus, self.format, "answer", self.split)

    def as_dict(self) -> dict[str, object]:
        """Return plain data, without the fields of the split that its kind does not use."""
        split = {name: value for name, value in asdict(self.split).items() if value is not None}
        written = {"name": "modular", "operation": self.operation, "modulus": self.modulus, "format": self.format}
        return {**written, "split": split, **({} if self.block is None else {"block": self.block})}

    @property
    def name(self) -> str:
        """`add mod 97`, or `s5`."""
        return self.operation if self.modulus is None else f"{self.operation} mod {self.modulus}"

    @property
    def split_name(self) -> str:
        """`random 0.5 seed 42`, `result_range train 0:48 test 48:97 seed 42`, `operand_holdout 3 held seed 42`."""
        parts = [self.split.kind]
        if self.split.fraction is not None:
            parts.append(f"{self.split.fraction:g}")
        for side, bounds in (("train", self.split.train), ("test", self.split.test)):
            if bounds is not None:
                parts.append(f"{side} {bounds[0]}:{bounds[1]}")
        if self.split.held is not None:
            parts.append(f"{len(self.split.held)} held")
        if isinstance(self.split, OwnSplitSpec):
            parts += [f"{name} {value}" for name, value in self.split.settings.items()]
        return " ".join([*parts, f"seed {self.split.seed}"])

    def columns(self, a_B: torch.Tensor, b_B: torch.Tensor) -> torch.Tensor:
        """Encode operands as `token_columns` does."""
        return token_columns(self, a_B, b_B)

    def encode(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """Encode operands as `token_rows` does."""
        return token_rows(self, a, b)

    def answer(self, a: int, b: int) -> int | None:
        """Return the right answer, None for a pair that has none: 2 for 3 + 96 mod 97, None for 3 / 0."""
        index = self._index(a, b)
        return None if index is None else int(self.equations().c_N[index])

    def equation(self, a: int, b: int) -> str:
        """Write the equation: `3 + 96 = 2 (mod 97)`; in S5 `3 <s5> 4 = 1`; the answer may be `none`."""
        answer = self.answer(a, b)
        modulus = "" if self.modulus is None else f" (mod {self.modulus})"
        sign = self.rule.sign or f"<{self.operation}>"
        return f"{a} {sign} {b} = {'none' if answer is None else answer}{modulus}"

    def train(self) -> Integers:
        """Return the indices of the training equations in the order of the split: int64 (N,)."""
        return self._split().train_N

    def held_out(self) -> dict[str, Integers]:
        """Return the indices of the test equations by kind, in the order of the split: int64 (N,) each, maybe empty.

        The kinds are those of `held_out_parts`.
        """
        split = self._split()
        return {name: split.test_N[mask_N] for name, mask_N in held_out_parts(split, self.equations()).items()}

    def validation(self) -> int:
        """Return the number of equations kept for validation."""
        return len(make_split(self.spec).validation_N)

    def side(self, a: int, b: int) -> str:
        """Describe the side of a pair: "trained on", "held out, a twin: ..." and so on."""
        index = self._index(a, b)
        if index in self.train():
            return "trained on"
        held_out = self.held_out()
        if index in held_out[TWINS]:
            return "held out, a twin: its swapped pair is trained on"
        return "held out, a new pair" if index in held_out[NEW_PAIRS] else "neither trained on nor in the exam"

    def _split(self) -> Split:
        return make_split(self.spec).in_blocks(self.block)

    def _index(self, a: int, b: int) -> int | None:
        equations = self.equations()
        found = np.flatnonzero((equations.a_N == a) & (equations.b_N == b))
        return int(found[0]) if len(found) else None

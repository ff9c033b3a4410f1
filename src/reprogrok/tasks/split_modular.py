"""A modular task together with its split: what a model can be asked, and on which side each equation stands.

An exam needs both: the rows that a model reads, and what was kept from it. The loss that it was trained by decides
neither, so two models that differ in that alone sit the same exam. Axes: N equations.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from reprogrok.spec import ModularTask, OwnSplitSpec, SplitSpec
from reprogrok.tasks.modular import Modular
from reprogrok.tasks.operations import Integers
from reprogrok.tasks.splits import NEW_PAIRS, TWINS, Split, held_out_parts, make_split


@dataclass(frozen=True)
class SplitModular(Modular):
    """An operation, its format, and the split of its equations.

    Attributes:
        split: which equations are trained on and which are held out.
        block: rows of a batch, where batches were fixed consecutive blocks: what fills none was never trained on.

    Raises:
        InputError: as `Modular` does.
    """

    split: SplitSpec
    block: int | None = None

    @classmethod
    def of(cls, task: ModularTask, block: int | None = None) -> SplitModular:
        """The same task without its loss."""
        return cls(task.operation, task.modulus, task.format, task.split, block)

    @property
    def spec(self) -> ModularTask:
        """As `tasks.splits` wants it."""
        return ModularTask(self.operation, self.modulus, self.format, "answer", self.split)

    def as_dict(self) -> dict[str, Any]:
        """Plain data, with the fields of the split that its kind knows."""
        plain = asdict(self)
        plain["split"] = {k: v for k, v in plain["split"].items() if v is not None}
        return {"name": "modular", **{k: v for k, v in plain.items() if k != "block" or v is not None}}

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

    def answer(self, a: int, b: int) -> int | None:
        """The right answer, None for a pair that has none: 2 for 3 + 96 mod 97, None for 3 / 0."""
        index = self._index(a, b)
        return None if index is None else int(self.equations().c_N[index])

    def equation(self, a: int, b: int) -> str:
        """`3 + 96 = 2 (mod 97)`; in S5 by the numbers of elements, `3 <s5> 4 = 1`; the answer is `none` without one."""
        answer = self.answer(a, b)
        modulus = "" if self.modulus is None else f" (mod {self.modulus})"
        sign = self.rule.sign or f"<{self.operation}>"
        return f"{a} {sign} {b} = {'none' if answer is None else answer}{modulus}"

    def train(self) -> Integers:
        """The equations that are trained on, as indices in the order of the split: int64 (N,)."""
        return self._split().train_N

    def held_out(self) -> dict[str, Integers]:
        """The equations of the test side by kind, as indices in the order of the split: int64 (N,) each, maybe empty.

        "twins": the swapped pair is trained on, with the same answer; "also trained on": of sides that overlap, the
        very equation is trained on; "new pairs": all others.
        """
        split = self._split()
        return {name: split.test_N[mask_N] for name, mask_N in held_out_parts(split, self.equations()).items()}

    def validation(self) -> int:
        """How many equations are on neither side, kept for validation."""
        return len(make_split(self.spec).validation_N)

    def side(self, a: int, b: int) -> str:
        """Where a pair stands, in words: "trained on", "held out, a twin: ...", and so on."""
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

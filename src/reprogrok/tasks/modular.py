"""An operation and a modulus -> all its equations, and the layout of a row in the three published formats.

    llmc8    BOS a OP b EQ c EOS EOS | BOS   T = 8   residues 0..p-1, OP = p, EQ = p+1, BOS = p+2, EOS = p+3
    text9    bos a + b mod p = c eos         T = 8   residues 0..p-1, the literal p = p, + = p+1, mod = p+2, `=` = p+3,
                                                     bos = p+4, eos = p+5, pad = p+6
    power5   a op b = c                      T = 4   residues 0..p-1, op = p, `=` = p+1

A row has T + 1 tokens; the model reads the first T and each position predicts the next token. In llmc8 equations follow
one another, so the last position predicts the BOS of the next one. The experiment decides whether all positions or the
answer alone are scored. For operations on S5, residues stand for the numbers of its 120 elements.
`tasks.modular_tokens` writes the rows; this module imports no torch. Axes: N equations, T positions.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from reprogrok.errors import InputError
from reprogrok.spec.task import FORMATS
from reprogrok.tasks.operations import Integers, Operation, find_operation

# The parts of a row, and the tokens numbered after the residues, in order; a, b and c are the equation.
_ROWS = {
    "llmc8": ("bos", "a", "op", "b", "=", "c", "eos", "eos", "bos"),
    "text9": ("bos", "a", "op", "b", "mod", "modulus", "=", "c", "eos"),
    "power5": ("a", "op", "b", "=", "c"),
}
_TOKENS = {
    "llmc8": ("op", "=", "bos", "eos"),
    "text9": ("modulus", "op", "mod", "=", "bos", "eos", "pad"),
    "power5": ("op", "="),
}


@dataclass(frozen=True, eq=False)
class Equations:
    """All pairs that have an answer, as int64 arrays (N,), in order of (a, b)."""

    a_N: Integers
    b_N: Integers
    c_N: Integers

    def __len__(self) -> int:
        return len(self.a_N)


@dataclass(frozen=True)
class Modular:
    """One operation on residues or on S5, in a token format.

    Attributes:
        operation: name, see `tasks.operations`.
        modulus: p; None for operations on S5.
        format: "llmc8", "text9" or "power5".

    Raises:
        InputError: the operation or format is unknown, the operation does not allow the modulus, or the format
            contains a modulus and there is none.
    """

    operation: str
    modulus: int | None
    format: str

    def __post_init__(self) -> None:
        self.rule.values(self.modulus)
        if self.format not in FORMATS:
            raise InputError(field="$.task.format", expected=f"one of {', '.join(FORMATS)}", found=self.format)
        if self.modulus is None and "modulus" in self.row:
            expected = f"a format without the modulus, for {self.operation} has none"
            raise InputError(field="$.task.format", expected=expected, found=self.format)

    @property
    def rule(self) -> Operation:
        """The operation."""
        return find_operation(self.operation)

    @property
    def values(self) -> int:
        """Number of residues (or elements)."""
        return self.rule.values(self.modulus)

    @property
    def prompt_length(self) -> int:
        """Number of tokens up to and including `=`."""
        return self.first_answer + 1

    @property
    def answer_length(self) -> int:
        """Number of answer tokens: one."""
        return 1

    @property
    def positions(self) -> int:
        """T, the number of tokens the model reads: all of a row except the last."""
        return len(self.row) - 1

    @property
    def first_answer(self) -> int:
        """The position of `=`, which predicts c."""
        return self.row.index("=")

    @property
    def vocabulary(self) -> int:
        """Number of tokens, unpadded: for p = 97, 101 in llmc8, 104 in text9 and 99 in power5."""
        return self.values + len(_TOKENS[self.format])

    @property
    def symbols(self) -> tuple[str, ...]:
        """Symbol of each token."""
        sign = self.rule.sign or f"<{self.operation}>"
        shown = {"op": sign, "modulus": str(self.modulus), "=": "=", "mod": "mod"}
        return (*map(str, range(self.values)), *(shown.get(token, f"<{token}>") for token in _TOKENS[self.format]))

    @property
    def row(self) -> tuple[str, ...]:
        """Part of a row at each of the T + 1 positions: `a`, `op`, `b`, `=`, `c`, `eos` and so on."""
        return _ROWS[self.format]

    def token(self, part: str) -> int:
        """Return the token of a part other than `a`, `b` and `c`."""
        return self.values + _TOKENS[self.format].index(part)

    @property
    def predicted(self) -> tuple[str, ...]:
        """Part of a row predicted at each of the T positions."""
        return self.row[1:]

    @property
    def problems(self) -> int:
        """Number of equations."""
        return len(self.equations())

    def equations(self) -> Equations:
        """Return all equations in order of (a, b): 9,409 for x + y mod 97, 9,312 for x / y, 14,400 in S5."""
        return _equations(self.operation, self.modulus)

    def text(self, answer: list[int]) -> str:
        """Write answer tokens as text."""
        return " ".join(self.symbols[token] for token in answer)


@cache
def _equations(name: str, modulus: int | None) -> Equations:
    operation = find_operation(name)
    a_N, b_N = operation.domain(modulus)
    c_N = operation.result(a_N, b_N, modulus)
    for column in (a_N, b_N, c_N):
        column.flags.writeable = False  # shared by all callers
    return Equations(a_N, b_N, c_N)

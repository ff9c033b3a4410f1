"""Modular operations by name: two operands and a modulus -> the answer, and the pairs that have one.

    add sub mul div div-odd-sub-even squares quadratic quadratic-x cubic cubic-y     residues 0 .. p-1
    s5 s5-conj s5-xyx                                                              elements 0 .. 119 of S5

All but `mul` are the twelve of Power et al. 2022 (appendix A.1.1, arXiv:2201.02177). A new operation is one more entry
of `_BUILT_IN`, or an `Operation` that an installed package offers under the entry-point group `reprogrok.operations`:

    [project.entry-points."reprogrok.operations"]
    max = "my_package.rules:maximum"        # maximum = Operation("max", "max(x, y)", lambda a, b, p: np.maximum(a, b))

Packages are loaded only to find a name that is not built in, or to list all operations; their results are checked.
Whether an operation commutes is computed from its results. Axes: N pairs, K elements of a permutation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import permutations
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from reprogrok.errors import InputError
from reprogrok.spec.task import GROUP_ELEMENTS, MAX_MODULUS
from reprogrok.tasks import packages

Integers: TypeAlias = npt.NDArray[np.int64]
Mask: TypeAlias = npt.NDArray[np.bool_]

GROUP = "reprogrok.operations"


def _everywhere(_a_N: Integers, b_N: Integers, _modulus: int) -> Mask:
    return np.ones(b_N.shape, dtype=np.bool_)


@dataclass(frozen=True)
class Operation:
    """One operation.

    Attributes:
        name: name in `params.yaml`.
        formula: formula for display.
        rule: int64 operands (N,), (N,) and the number of values -> int64 answers (N,), each in 0 .. values - 1.
        defined: the same arguments -> bool (N,), whether a pair has an answer; `rule` gets only pairs that have one.
        prime: whether the rule needs a prime modulus.
        group: whether the rule acts on the 120 elements of S5, without a modulus.
        sign: operator sign in text; empty means `<name>`.
    """

    name: str
    formula: str
    rule: Callable[[Integers, Integers, int], Integers]
    defined: Callable[[Integers, Integers, int], Mask] = _everywhere
    prime: bool = False
    group: bool = False
    sign: str = ""

    def problem(self, modulus: int | None) -> str | None:
        """Describe the moduli that the operation accepts, if this one is not accepted; None if it is.

        `find_operation("div").problem(96)` is "a prime, which div needs (x / y (mod p))".
        """
        if self.group:
            return None if modulus is None else f"none, for {self.name} acts on the {GROUP_ELEMENTS} elements of S5"
        if modulus is None or not 2 <= modulus <= MAX_MODULUS:
            return f"a modulus from 2 to {MAX_MODULUS:,}"
        if self.prime and not _is_prime(modulus):
            return f"a prime, which {self.name} needs ({self.formula})"
        return None

    def values(self, modulus: int | None) -> int:
        """Return the number of values of operands and answers: the modulus, or the elements of S5.

        Raises:
            InputError: the operation is not defined for this modulus.
        """
        if (expected := self.problem(modulus)) is not None:
            found = "none" if modulus is None else str(modulus)
            raise InputError(field="$.task.modulus", expected=expected, found=found)
        return GROUP_ELEMENTS if modulus is None else modulus

    def domain(self, modulus: int | None) -> tuple[Integers, Integers]:
        """Return all pairs that have an answer, in order of (a, b), as two int64 arrays (N,); 9,312 for x/y mod 97.

        Raises:
            InputError: the modulus is not accepted, or the operation of a package did not give a bool per pair.
        """
        size = self.values(modulus)
        a_N, b_N = (x.ravel() for x in np.indices((size, size), dtype=np.int64))
        try:
            defined_N = np.asarray(self.defined(a_N, b_N, size))
        except Exception as error:  # another package's code may raise anything
            raise self._fault(f"its domain cannot be computed ({type(error).__name__}: {error})") from error
        if defined_N.shape != a_N.shape or defined_N.dtype != np.bool_:
            raise self._fault("its domain is wrong", f"{len(a_N):,} bools", _described(defined_N))
        if not defined_N.any():
            raise self._fault("its domain is empty")
        return a_N[defined_N], b_N[defined_N]

    def result(self, a_N: Integers, b_N: Integers, modulus: int | None) -> Integers:
        """Compute and check the answers to pairs of the domain: int64 (N,) in 0 .. values - 1.

        Raises:
            InputError: the modulus is not accepted, or the rule failed or did not give one value per pair.
        """
        size = self.values(modulus)
        try:
            c_N = np.asarray(self.rule(a_N, b_N, size))
        except Exception as error:  # another package's code may raise anything
            raise self._fault(f"it cannot be computed ({type(error).__name__}: {error})") from error
        if c_N.shape != a_N.shape or c_N.dtype.kind not in "iu":
            raise self._fault("its answers are wrong", f"{a_N.shape} integers", _described(c_N))
        if outside := sorted({int(c) for c in c_N[(c_N < 0) | (c_N >= size)]}):
            raise self._fault("an answer is out of range", f"0 to {size - 1}", str(outside[0]))
        return np.asarray(c_N, dtype=np.int64)

    def _fault(self, message: str, expected: str | None = None, found: str | None = None) -> InputError:
        where = f"operation {self.name}: {message}"
        return InputError(where, field="$.task.operation", expected=expected, found=found)


def _described(array: npt.NDArray[np.generic]) -> str:
    return f"{array.dtype} of shape {array.shape}"


def _is_prime(number: int) -> bool:
    return number >= 2 and all(number % divisor for divisor in range(2, int(number**0.5) + 1))


# Residues. Every product is reduced before the next, so no value overflows 64 bits.


def _inverse(b_N: Integers, p: int) -> Integers:
    """Return 1 / b from a table of the p residues; 0, which has no inverse, gives 0."""
    inverse: Integers = np.array([0] + [pow(b, -1, p) for b in range(1, p)], dtype=np.int64)
    return np.asarray(inverse[b_N])


def _divide(a_N: Integers, b_N: Integers, p: int) -> Integers:
    quotient_N: Integers = a_N * _inverse(b_N, p) % p
    return quotient_N


def _divide_or_subtract(a_N: Integers, b_N: Integers, p: int) -> Integers:
    answer_N: Integers = np.where(b_N % 2 == 1, _divide(a_N, b_N, p), (a_N - b_N) % p)
    return answer_N


def _quadratic(a_N: Integers, b_N: Integers, p: int) -> Integers:
    answer_N: Integers = (a_N * a_N + a_N * b_N + b_N * b_N) % p
    return answer_N


def _cubic(a_N: Integers, b_N: Integers, p: int) -> Integers:
    return (a_N * a_N % p * a_N + a_N * b_N) % p


def _cubic_y(a_N: Integers, b_N: Integers, p: int) -> Integers:
    return (a_N * a_N % p * a_N + b_N * b_N % p * a_N + b_N) % p


# S5. Element i is the i-th of `itertools.permutations(range(5))`, in lexicographic order: 0 is the identity, 119 the
# reversal. An element g sends k to g[k], and x.y applies y first: (x.y)[k] = x[y[k]].


@cache
def _s5() -> tuple[Integers, Integers]:
    """Return the elements, (120, K = 5), and the number of each indexed by its digits in base 5, (3125,)."""
    elements_NK = np.array(list(permutations(range(5))), dtype=np.int64)
    number = np.full(5**5, -1, dtype=np.int64)
    number[elements_NK @ 5 ** np.arange(5)] = np.arange(len(elements_NK))
    return elements_NK, number


def _compose(x_N: Integers, y_N: Integers) -> Integers:
    elements_NK, number = _s5()
    product_NK = np.take_along_axis(elements_NK[x_N], elements_NK[y_N], axis=1)
    return np.asarray(number[product_NK @ 5 ** np.arange(5)])


def _s5_inverse(x_N: Integers) -> Integers:
    elements_NK, number = _s5()
    return np.asarray(number[np.argsort(elements_NK[x_N], axis=1) @ 5 ** np.arange(5)])


_BUILT_IN = (
    Operation("add", "x + y (mod p)", lambda a, b, p: (a + b) % p, sign="+"),
    Operation("sub", "x - y (mod p)", lambda a, b, p: (a - b) % p, sign="-"),
    Operation("mul", "x y (mod p)", lambda a, b, p: a * b % p, sign="*"),
    Operation("div", "x / y (mod p)", _divide, defined=lambda _a, b, _p: b > 0, prime=True, sign="/"),
    # The paper's domain is every 0 <= x, y < p: 0 is even, so y = 0 subtracts and nothing divides by it.
    Operation("div-odd-sub-even", "x / y if y is odd, else x - y (mod p)", _divide_or_subtract, prime=True),
    Operation("squares", "x^2 + y^2 (mod p)", lambda a, b, p: (a * a + b * b) % p),
    Operation("quadratic", "x^2 + xy + y^2 (mod p)", _quadratic),
    Operation("quadratic-x", "x^2 + xy + y^2 + x (mod p)", lambda a, b, p: (_quadratic(a, b, p) + a) % p),
    Operation("cubic", "x^3 + xy (mod p)", _cubic),
    Operation("cubic-y", "x^3 + xy^2 + y (mod p)", _cubic_y),
    Operation("s5", "x . y in S5", lambda x, y, _: _compose(x, y), group=True),
    Operation("s5-conj", "x . y . x^-1 in S5", lambda x, y, _: _compose(_compose(x, y), _s5_inverse(x)), group=True),
    Operation("s5-xyx", "x . y . x in S5", lambda x, y, _: _compose(_compose(x, y), x), group=True),
)
OPERATIONS: Mapping[str, Operation] = MappingProxyType({operation.name: operation for operation in _BUILT_IN})


def find_operation(name: str) -> Operation:
    """Return the operation of a name, built in or offered by an installed package.

    Raises:
        InputError: it does not exist, or its package is broken.
    """
    if name in OPERATIONS:
        return OPERATIONS[name]
    return packages.load(packages.find(GROUP, name, OPERATIONS, "$.task.operation"), Operation)


def all_operations() -> dict[str, Operation]:
    """Return the operations by name, built-in ones first, then those of installed packages.

    Raises:
        InputError: a package is broken.
    """
    entries = packages.offered(GROUP, OPERATIONS)
    return {**OPERATIONS, **{name: packages.load(entry, Operation) for name, entry in sorted(entries.items())}}

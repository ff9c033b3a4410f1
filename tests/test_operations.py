"""Every operation is the paper's, computed a second time in plain Python; strangers' operations are checked."""

from __future__ import annotations

import itertools
from importlib.metadata import EntryPoint

import numpy as np
import pytest

from reprogrok.errors import InputError
from reprogrok.tasks import operations, packages
from reprogrok.tasks.operations import OPERATIONS, Operation, all_operations, find_operation


def divided(a, b, p):
    """The c with c * b = a (mod p), by trying them all."""
    return next(c for c in range(p) if c * b % p == a)


PLAIN = {
    "add": lambda a, b, p: (a + b) % p,
    "sub": lambda a, b, p: (a - b) % p,
    "mul": lambda a, b, p: (a * b) % p,
    "div": divided,
    "div-odd-sub-even": lambda a, b, p: divided(a, b, p) if b % 2 == 1 else (a - b) % p,
    "squares": lambda a, b, p: (a**2 + b**2) % p,
    "quadratic": lambda a, b, p: (a**2 + a * b + b**2) % p,
    "quadratic-x": lambda a, b, p: (a**2 + a * b + b**2 + a) % p,
    "cubic": lambda a, b, p: (a**3 + a * b) % p,
    "cubic-y": lambda a, b, p: (a**3 + a * b**2 + b) % p,
}
PERMUTATIONS = list(itertools.permutations(range(5)))


def after(x, y):
    """x . y: first y, then x."""
    return tuple(x[y[k]] for k in range(5))


def inverse(x):
    return tuple(x.index(k) for k in range(5))


GROUP = {
    "s5": after,
    "s5-conj": lambda x, y: after(after(x, y), inverse(x)),
    "s5-xyx": lambda x, y: after(after(x, y), x),
}


def test_the_twelve_of_the_paper_and_multiplication():
    assert sorted(OPERATIONS) == sorted([*PLAIN, *GROUP])
    assert len(OPERATIONS) == 12 + 1


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize("p", [2, 3, 13, 97])
def test_every_residue_operation_is_its_formula(name, p):
    operation = find_operation(name)
    a_N, b_N = operation.domain(p)
    pairs = [(a, b) for a in range(p) for b in range(p) if name != "div" or b > 0]
    assert list(zip(a_N.tolist(), b_N.tolist(), strict=True)) == pairs
    assert operation.result(a_N, b_N, p).tolist() == [PLAIN[name](a, b, p) for a, b in pairs]


def test_the_sizes_of_the_paper():
    assert len(find_operation("div").domain(97)[0]) == 9_312
    assert len(find_operation("div-odd-sub-even").domain(97)[0]) == 9_409
    assert len(find_operation("s5").domain(None)[0]) == 14_400


@pytest.mark.parametrize("name", GROUP)
def test_every_group_operation_is_its_formula(name):
    operation = find_operation(name)
    a_N, b_N = operation.domain(None)
    expected = [PERMUTATIONS.index(GROUP[name](x, y)) for x in PERMUTATIONS[::7] for y in PERMUTATIONS]
    chosen = a_N % 7 == 0
    assert operation.result(a_N[chosen], b_N[chosen], None).tolist() == expected


def test_a_worked_product_of_permutations():
    # 24 is (1, 0, 2, 3, 4) and 1 is (0, 1, 2, 4, 3); as y is applied first, 6 . 24 sends 0 to (0, 2, 1, 3, 4)[1] = 2.
    assert (PERMUTATIONS[24], PERMUTATIONS[6]) == ((1, 0, 2, 3, 4), (0, 2, 1, 3, 4))
    product = find_operation("s5").result(np.array([6]), np.array([24]), None)[0]
    assert PERMUTATIONS[product] == (2, 0, 1, 3, 4)
    assert find_operation("s5").result(np.array([24]), np.array([6]), None)[0] != product


@pytest.mark.parametrize("name", ["add", "cubic-y", "mul"])
def test_a_modulus_need_not_be_prime_where_nothing_is_divided(name):
    a_N, b_N = find_operation(name).domain(96)
    assert find_operation(name).result(a_N, b_N, 96).tolist() == [
        PLAIN[name](a, b, 96) for a in range(96) for b in range(96)
    ]


@pytest.mark.parametrize(
    ("name", "modulus", "expected"),
    [
        ("div", 96, "a prime, which div needs (x / y (mod p))"),
        ("div-odd-sub-even", 1, "a modulus from 2 to 1,000"),
        ("div-odd-sub-even", 91, "a prime, which div-odd-sub-even needs (x / y if y is odd, else x - y (mod p))"),
        ("add", None, "a modulus from 2 to 1,000"),
        ("add", 1_001, "a modulus from 2 to 1,000"),
        ("s5", 97, "none, for s5 acts on the 120 elements of S5"),
    ],
)
def test_a_modulus_that_cannot_be_is_refused(name, modulus, expected):
    found = "none" if modulus is None else modulus
    with pytest.raises(InputError) as error:
        find_operation(name).domain(modulus)
    assert str(error.value) == f"$.task.modulus: expected {expected}, found {found}"


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(InputError, match=r"unknown operation: .* found quadratik \(did you mean quadratic\?\)"):
        find_operation("quadratik")


MAXIMUM = Operation("max", "max(x, y)", lambda a, b, _: np.maximum(a, b))
MISNAMED = Operation("min", "min(x, y)", lambda a, b, _: np.minimum(a, b))


@pytest.fixture
def offered(monkeypatch):
    """Let these entry points be installed: (name, value) pairs."""

    def offer(*entries):
        found = [EntryPoint(name, value, operations.GROUP) for name, value in entries]
        monkeypatch.setattr(packages, "entry_points", lambda group: found if group == operations.GROUP else [])

    return offer


def test_an_operation_of_another_package_is_found_and_listed(offered):
    offered(("max", f"{__name__}:MAXIMUM"))
    a_N, b_N = find_operation("max").domain(5)
    assert find_operation("max").result(a_N, b_N, 5).tolist() == [max(a, b) for a in range(5) for b in range(5)]
    assert list(all_operations()) == [*OPERATIONS, "max"]


def test_other_packages_are_not_asked_for_what_is_built_in(monkeypatch):
    def asked(**_):
        raise AssertionError("entry points were read")

    monkeypatch.setattr(packages, "entry_points", asked)
    assert find_operation("add").name == "add"


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        (
            [("max", "no_such_module_here:X")],
            "operation max of a package (no_such_module_here:X) cannot be loaded: Mod",
        ),
        ([("max", f"{__name__}:NOTHING")], f"operation max of a package ({__name__}:NOTHING) cannot be loaded: Attrib"),
        (
            [("max", f"{__name__}:PLAIN")],
            f"operation max of a package ({__name__}:PLAIN): expected an Operation, found",
        ),
        ([("max", f"{__name__}:MISNAMED")], f"operation max of a package ({__name__}:MISNAMED): expected the name max"),
        ([("add", f"{__name__}:MAXIMUM")], f"a package ({__name__}:MAXIMUM) offers operation add, which is built in"),
        ([("max", "one:X"), ("max", "two:X")], "a package (one:X) and a package (two:X) both offer operation max"),
    ],
)
def test_a_broken_package_is_one_clear_error(offered, entries, message):
    offered(*entries)
    for ask in (lambda: find_operation("max"), all_operations):
        with pytest.raises(InputError) as error:
            ask()
        assert str(error.value).startswith(message)
        assert "\n" not in str(error.value)


def broken(_a, _b, _p):
    raise ZeroDivisionError("by hand")


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (lambda a, b, _: a + b, "operation mine: an answer is out of range: expected 0 to 4, found 5"),
        (lambda a, b, _: a - b, "operation mine: an answer is out of range: expected 0 to 4, found -4"),
        (lambda a, _b, _p: a[:-1], "operation mine: its answers are wrong: expected (25,) integers, found int64 of sh"),
        (lambda a, _b, _p: a / 2, "operation mine: its answers are wrong: expected (25,) integers, found float64 of"),
        (lambda _a, _b, _p: None, "operation mine: its answers are wrong: expected (25,) integers, found object of"),
        (broken, "operation mine: it cannot be computed (ZeroDivisionError: by hand)"),
    ],
)
def test_what_a_strangers_rule_computes_is_checked(rule, message):
    mine = Operation("mine", "?", rule)
    with pytest.raises(InputError) as error:
        mine.result(*mine.domain(5), 5)
    assert str(error.value).startswith(f"$.task.operation: {message}")


@pytest.mark.parametrize(
    ("defined", "message"),
    [
        (lambda _a, b, _p: b, "operation mine: its domain is wrong: expected 25 bools, found int64 of shape (25,)"),
        (lambda _a, b, _p: b > 9, "operation mine: its domain is empty"),
        (broken, "operation mine: its domain cannot be computed (ZeroDivisionError: by hand)"),
    ],
)
def test_a_strangers_domain_is_checked(defined, message):
    with pytest.raises(InputError) as error:
        Operation("mine", "?", lambda a, _b, _p: a, defined).domain(5)
    assert str(error.value) == f"$.task.operation: {message}"

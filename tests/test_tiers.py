"""Two tiers of tests: the quick one touches every room, and keeps in short what a test of the long one promises."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

TESTS = Path(__file__).parent
SOURCE = TESTS.parent / "src" / "reprogrok"


@cache
def parsed(file):
    path = TESTS / file
    return ast.parse(path.read_text("utf-8")) if path.exists() else ast.Module([], [])


def functions(file):
    """The test functions of a file by name, each with its decorators; a file that does not exist has none."""
    return {
        node.name: node.decorator_list
        for node in parsed(file).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


def assigned(file):
    """The marks that a file gives a name to."""
    return {
        node.targets[0].id: node.value
        for node in parsed(file).body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }


def quick_of(file, decorators):
    """The name of the quick test that a long one gives, "" if it gives none, None if the test is not a long one."""
    for decorator in decorators:
        node = assigned(file).get(decorator.id) if isinstance(decorator, ast.Name) else decorator
        if ast.unparse(getattr(node, "func", node) or ast.Constant(None)) == "pytest.mark.long":
            return next((word.value.value for word in getattr(node, "keywords", ()) if word.arg == "quick"), "")
    return None


FILES = sorted(path.name for path in TESTS.glob("test_*.py"))


def test_a_long_test_names_a_quick_one_with_the_same_promise():
    long = {
        (file, name): quick
        for file in FILES
        for name, decorators in functions(file).items()
        if (quick := quick_of(file, decorators)) is not None
    }
    assert len(long) > 20
    for (file, name), quick in long.items():
        where, _, test = quick.rpartition("::")
        where = where or file
        assert test in functions(where), f"{file}::{name} names no test: {quick!r}"
        assert (where, test) not in long, f"{file}::{name} names a long test: {quick!r}"


def rooms_of(file):
    """The rooms that a test file uses: those it imports from, and where it runs the program, the command line's."""
    for node in ast.walk(parsed(file)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("reprogrok."):
            yield node.module.split(".")[1]
        elif isinstance(node, ast.ImportFrom) and node.module == "reprogrok":
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.arg) and node.arg == "reprogrok":
            yield from ("cli", "commands")


def test_every_room_has_a_quick_test():
    quick = {
        room
        for file in FILES
        if any(quick_of(file, decorators) is None for decorators in functions(file).values())
        for room in rooms_of(file)
    }
    rooms = {path.name for path in SOURCE.iterdir() if (path / "__init__.py").exists() or any(path.glob("*.py"))}
    assert rooms - {"__pycache__"} - quick == set()

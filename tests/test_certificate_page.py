"""The page on certificates lists the trusted files as they are, and the checker imports nothing else of its room."""

import ast
from pathlib import Path

from reprogrok.certificate.document import FORMAT

ROOT = Path(__file__).resolve().parents[1]
CHECKER = ROOT / "src" / "reprogrok" / "certificate" / "checker"
PAGE = ROOT / "docs" / "certificate.md"


def code_lines(path):
    """Lines with code: no blank line, comment or docstring."""
    text = path.read_text("utf-8")
    documented = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            documented |= set(range(node.lineno, node.end_lineno + 1))
    lines = enumerate(text.splitlines(), 1)
    return sum(bool(line.strip()) and not line.strip().startswith("#") and at not in documented for at, line in lines)


def table():
    """The rows of the page: each trusted file, what it is trusted for, and its lines of code."""
    rows = [line.strip("| ").split(" | ") for line in PAGE.read_text("utf-8").splitlines() if line.startswith("| `")]
    return {row[0].strip("`"): row[2] for row in rows if len(row) == 3 and row[0].strip("`").endswith(".py")}


def test_the_page_lists_the_files_of_the_checker_with_their_lines_of_code():
    files = {path.name: str(code_lines(path)) for path in sorted(CHECKER.glob("*.py")) if path.name != "__init__.py"}
    assert table() == files
    assert f"{sum(map(int, files.values())):,} lines of code" in " ".join(PAGE.read_text("utf-8").split())
    assert FORMAT in PAGE.read_text("utf-8")


def test_the_checker_imports_nothing_else_of_its_room():
    for path in CHECKER.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                assert not name.startswith("reprogrok.certificate") or name.startswith("reprogrok.certificate.checker")

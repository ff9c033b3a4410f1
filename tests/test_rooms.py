"""The house holds: an import goes to its own room or to a lower one, wherever in a module it stands.

src/reprogrok/**.py --ast--> imports of each module --rules below--> violations, as sentences
"""

import ast
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "src"

# From the top down. "__init__" is the package itself (its version), which every room may import.
ROOMS = (
    "cli",
    "commands",
    "forensics",
    "claims",
    "gates",
    "runs",
    "train",
    "evaluation",
    "certificate",
    "exam",
    "stats",
    "metrics",
    "formats",
    "model",
    "tasks",
    "text",
    "record",
    "params",
    "schema",
    "spec",
    "files",
    "console",
    "errors",
    "__init__",
)
HEIGHT = {room: len(ROOMS) - index for index, room in enumerate(ROOMS)}
# The parts of the certificate's room beside its checker, read from the tree so that a new one is forbidden at once.
UNTRUSTED = sorted(
    path.stem
    for path in (SOURCE / "reprogrok" / "certificate").iterdir()
    if path.stem != "checker" and path.stem[0] != "_"
)
# What a module never imports, whatever the order of the rooms: (modules below, modules below, the sentence).
NEVER = (
    *((room, "train", f"{room} never imports train") for room in ("forensics", "claims", "gates", "runs")),
    *(("certificate.checker", f"certificate.{part}", f"the checker never imports {part}") for part in UNTRUSTED),
)
LIGHT = {"text", "record", "params", "schema", "spec", "files", "console", "errors", "__init__"}
HEAVY = {"torch", "numpy", "scipy", "matplotlib", "dvc"}
MAX_LINES = 450
MAX_SHARE = 0.2  # of the code in one room


@dataclass(frozen=True)
class Module:
    """A module that was parsed: its text, and every (line, imported module, whether inside a function)."""

    name: str
    text: str
    tree: ast.Module
    imports: tuple[tuple[int, str, bool], ...]

    @property
    def room(self):
        """The room it lies in, or its own name at the base."""
        return _room(self.name)


def violations(source):
    """Every sentence that the modules below `source`/reprogrok deserve."""
    modules = parse(source)
    found = [sentence for module in modules.values() for sentence in _violations(module)]
    return found + [f"an import circle: {' -> '.join(circle)}" for circle in circles(modules)]


def parse(source):
    """Module name -> module, for all below `source`/reprogrok."""
    paths = {_name(path, source): path for path in sorted((source / "reprogrok").rglob("*.py"))}
    return {name: _parse(name, path, set(paths)) for name, path in paths.items()}


def circles(modules):
    """The first import circle between modules, as the chain that closes: [["a", "b", "a"]]; none: []."""
    edges = {name: {target for _, target, _ in module.imports if target in modules} for name, module in modules.items()}
    try:
        TopologicalSorter(edges).prepare()
    except CycleError as error:
        return [error.args[1]]
    return []


def largest_room(modules):
    """(room, its share of the lines of all modules)."""
    lines = {}
    for module in modules.values():
        lines[module.room] = lines.get(module.room, 0) + module.text.count("\n")
    room = max(lines, key=lines.__getitem__)
    return room, lines[room] / sum(lines.values())


def _name(path, source):
    return ".".join(path.relative_to(source).with_suffix("").parts).removesuffix(".__init__")


def _parse(name, path, names):
    text = path.read_text("utf-8")
    tree = ast.parse(text)
    return Module(name, text, tree, tuple(_imports(tree, name, path.name == "__init__.py", names)))


def _room(module):
    parts = module.split(".")
    if len(parts) == 1:
        return "__init__"
    return "cli" if parts[1] == "__main__" else parts[1]


def _violations(module):
    name, here = module.name, module.room
    if here not in HEIGHT:
        yield f"{name} lies in no room: add it to ROOMS and to docs/architecture.md"
        return
    if not (ast.get_docstring(module.tree) or "").strip():
        yield f"{name} has no docstring"
    if (lines := module.text.count("\n")) > MAX_LINES:
        yield f"{name} has {lines} lines, more than {MAX_LINES}"
    for line, target, inside in module.imports:
        if inside and here != "cli":
            yield f"{name}:{line} imports {target} inside a function: only a command's file loads its body late"
        root = target.split(".")[0]
        if here in LIGHT and root in HEAVY:
            yield f"{name}:{line} imports {root}, too heavy for the base"
        if root == "reprogrok":
            yield from _between_rooms(name, line, target)


def _between_rooms(name, line, target):
    here, there = _room(name), _room(target)
    never = [sentence for above, below, sentence in NEVER if _within(name, above) and _within(target, below)]
    if there not in HEIGHT:
        yield f"{name}:{line} imports {target}, which lies in no room"
    elif never:
        yield f"{name}:{line} imports {target}: {never[0]}"
    elif HEIGHT[there] > HEIGHT[here]:
        yield f"{name}:{line} imports {target}, which is in a higher room"


def _within(module, part):
    return f"{module}.".startswith(f"reprogrok.{part}.")


def _imports(tree, name, is_package, names):
    """(line, module, inside a function) of every import, under TYPE_CHECKING too; a dynamic one by its literal name."""
    inside = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for node in ast.walk(function)
    }
    for node in ast.walk(tree):
        for line, target in _targets(node, name, is_package, names):
            yield line, target, id(node) in inside


def _targets(node, name, is_package, names):
    if isinstance(node, ast.Import):
        yield from ((node.lineno, alias.name) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = node.module or ""
        if node.level:
            parts = name.split(".")
            parents = parts[: len(parts) - node.level + is_package]
            base = ".".join([*parents, base] if base else parents)
        for alias in node.names:
            # `from reprogrok import record` imports a module, `from reprogrok import __version__` a name.
            member = f"{base}.{alias.name}"
            is_module = member in names or any(module.startswith(f"{member}.") for module in names)
            yield node.lineno, member if is_module else base
    elif (
        isinstance(node, ast.Call)
        and ast.unparse(node.func) in {"__import__", "import_module", "importlib.import_module"}
        and node.args
        and isinstance(node.args[0], ast.Constant)
    ):
        yield node.lineno, str(node.args[0].value)


def test_the_house_holds():
    assert violations(SOURCE) == []


def test_every_room_of_the_list_is_there():
    package = SOURCE / "reprogrok"
    assert [room for room in ROOMS if not (package / room).is_dir() and not (package / f"{room}.py").is_file()] == []


def test_no_room_holds_a_fifth_of_the_code():
    room, share = largest_room(parse(SOURCE))
    assert share < MAX_SHARE, f"{room} holds {share:.1%} of the code"


GOOD = {
    "__init__.py": '"""The package."""\n__version__ = "1"\n',
    "__main__.py": '"""The program."""\nfrom reprogrok.cli.main import main\n',
    "cli/__init__.py": '"""Commands."""\n',
    "cli/main.py": '"""Main."""\ndef main():\n    from reprogrok import train\n    import reprogrok.gates.gate\n',
    "gates/__init__.py": '"""Gates."""\n',
    "gates/gate.py": '"""A."""\nfrom reprogrok import __version__, record\nfrom . import x\nfrom ..errors import E\n',
    "gates/x.py": '"""X."""\nimport scipy\n',
    "train/__init__.py": '"""Training."""\n',
    "train/engine.py": '"""Engine."""\nimport torch\nfrom reprogrok.exam import exam\n',
    "certificate/__init__.py": '"""Certificates."""\n',
    "certificate/checker/__init__.py": '"""Trusted."""\n',
    "certificate/checker/check.py": '"""Check."""\n',
    "certificate/search/__init__.py": '"""Untrusted."""\n',
    "certificate/search/halving.py": '"""Halves."""\nfrom reprogrok.certificate.checker import check\n',
    "certificate/failures/__init__.py": '"""Failures."""\n',
    "exam/__init__.py": '"""Exams."""\n',
    "exam/exam.py": '"""Exam."""\n',
    "record.py": '"""A run."""\nimport json\n',
    "errors.py": '"""Errors."""\nclass E(Exception): ...\n',
}


def build(root, modules):
    for name, text in modules.items():
        path = root / "reprogrok" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return root


def test_a_sound_house_is_left_in_peace(tmp_path):
    assert violations(build(tmp_path, GOOD)) == []


@pytest.mark.parametrize(
    ("name", "code", "sentence"),
    [
        ("params.py", "from reprogrok.gates import gate", "reprogrok.params:2 imports reprogrok.gates.gate, {up}"),
        ("params.py", "from reprogrok import gates", "reprogrok.params:2 imports reprogrok.gates, {up}"),
        ("exam/exam.py", "from ..cli.main import main", "exam:2 imports reprogrok.cli.main, {up}"),
        ("exam/__init__.py", "from ..cli import main", "exam:2 imports reprogrok.cli.main, {up}"),
        ("errors.py", "from reprogrok import record", "errors:2 imports reprogrok.record, {up}"),
        (
            "errors.py",
            "if TYPE_CHECKING:\n    from reprogrok.record import R",
            "errors:3 imports reprogrok.record, {up}",
        ),
        ("__init__.py", "from reprogrok.errors import E", "reprogrok:2 imports reprogrok.errors, {up}"),
        ("gates/gate.py", "from reprogrok.train.engine import run", "gate:2 imports reprogrok.train.engine: {never}"),
        ("gates/gate.py", "import_module('reprogrok.train.engine')", "gate:2 imports reprogrok.train.engine: {never}"),
        *(
            (f"{room}/x.py", "import reprogrok.train", f"x:2 imports reprogrok.train: {room} never imports train")
            for room in ("forensics", "claims", "runs")
        ),
        *(
            (
                "certificate/checker/check.py",
                f"import reprogrok.certificate.{part}",
                f"check:2 imports reprogrok.certificate.{part}: the checker never imports {part}",
            )
            for part in (
                "search",
                "failures",
                "document",
                "certification",
                "certified",
                "certified_lines",
                "tables",
                "display",
                "single_problems",
            )
        ),
        ("exam/exam.py", "def f():\n    import json", "exam:3 imports json inside a function: only a command's file"),
        ("exam/exam.py", "async def f():\n    import json", "exam:3 imports json inside a function"),
        ("record.py", "import torch.nn", "reprogrok.record:2 imports torch, too heavy for the base"),
        ("errors.py", "from numpy import array", "reprogrok.errors:2 imports numpy, too heavy for the base"),
        ("record.py", "x = 1\n" * MAX_LINES, f"reprogrok.record has {MAX_LINES + 2} lines, more than {MAX_LINES}"),
        ("utils.py", "x = 1", "reprogrok.utils lies in no room"),
        ("cli/main.py", "import reprogrok.helpers.things", "imports reprogrok.helpers.things, which lies in no room"),
        (
            "gates/x.py",
            "if TYPE_CHECKING:\n    from reprogrok.gates.gate import G",
            "an import circle: reprogrok.gates.gate -> reprogrok.gates.x -> reprogrok.gates.gate",
        ),
    ],
)
def test_the_guard_speaks(tmp_path, name, code, sentence):
    found = violations(build(tmp_path, GOOD | {name: f'"""A module."""\n{code}\n'}))
    assert len(found) == 1, found
    assert sentence.format(up="which is in a higher room", never="gates never imports train") in found[0]


@pytest.mark.parametrize("text", ["class E(Exception): ...\n", '""" """\nclass E(Exception): ...\n'])
def test_a_module_without_a_map_is_named(tmp_path, text):
    assert violations(build(tmp_path, GOOD | {"errors.py": text})) == ["reprogrok.errors has no docstring"]


def test_a_room_that_grows_too_large_is_named(tmp_path):
    large = GOOD | {"train/engine.py": '"""Engine."""\n' + "x = 1\n" * 100}
    room, share = largest_room(parse(build(tmp_path, large)))
    assert room == "train"
    assert share > MAX_SHARE

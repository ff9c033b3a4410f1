"""The package of docs/own-project.md, word for word, laid out as an installed one: a module and its entry points."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "own-project.md"
NAME, VERSION = "my-lab", "0.1"


def block(name: str) -> str:
    """The code that the document gives under the line `name`:, or, of a language, its first block."""
    text = DOCUMENT.read_text("utf-8")
    found = re.search(
        rf"(?:^`{re.escape(name)}`:\n\n```\w+|```{re.escape(name)})\n(.*?)^```", text, re.MULTILINE | re.DOTALL
    )
    assert found is not None, f"no block {name} in {DOCUMENT}"
    return found[1]


def install(folder: Path, *, module: str | None = None, entry_points: str | None = None) -> Path:
    """Lay the package out in `folder` as pip would; PYTHONPATH=folder makes it installed."""
    folder.mkdir(parents=True, exist_ok=True)
    project = tomllib.loads(block("pyproject.toml"))["project"]
    assert (project["name"], project["version"]) == (NAME, VERSION)
    groups = project["entry-points"].items()
    offered = "\n".join(
        f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in entries.items()) for group, entries in groups
    )
    (folder / "my_lab.py").write_text(block("my_lab.py") if module is None else module, "utf-8")
    about = folder / "my_lab-0.1.dist-info"
    about.mkdir(exist_ok=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {NAME}\nVersion: {VERSION}\n", "utf-8")
    (about / "entry_points.txt").write_text(offered if entry_points is None else entry_points, "utf-8")
    return folder


def params() -> str:
    """A params.yaml that holds the document's experiment and no other."""
    return f"engine_version: 2\ndevice: cpu\npipeline: [max-11]\nexperiments:\n{block('yaml')}"

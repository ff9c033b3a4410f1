"""YAML or JSON text -> a checked document that still knows where each of its values stands.

    text --parse--> plain data + line of every field --JSON Schema--> Document --typed constructors--> objects

The schemas ship inside the package (`reprogrok/schemas/*.schema.json`). YAML is version 1.2: `1e-3` is a number,
`no` is a word and `0:8` is not sexagesimal. Errors read `file:line $.path: expected ..., found ...`, the most
specific one first; a document with any error yields nothing.
"""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reprogrok.errors import InputError
from reprogrok.files import sha256_bytes

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError
    from jsonschema.protocols import Validator

Steps = tuple[str | int, ...]

MAX_DOCUMENT_BYTES = 256 * 2**20  # a log of 400,000 steps is a few megabytes


@dataclass(frozen=True)
class Document:
    """A parsed file: plain dicts, lists and scalars, the line of every field, and the hash of the text."""

    path: Path
    data: Any
    lines: dict[Steps, int]
    sha256: str

    def error(self, steps: Steps, message: str = "", *, expected: str | None = None, found: object = None) -> InputError:
        """An InputError that points at the field `steps` (or its nearest ancestor with a known line)."""
        line = next((self.lines[steps[:n]] for n in range(len(steps), -1, -1) if steps[:n] in self.lines), None)
        shown = None if found is None else show(found)
        return InputError(message, path=self.path, line=line, field=json_path(steps), expected=expected, found=shown)


def json_path(steps: Sequence[str | int]) -> str:
    """`("a", 0, "b")` -> `$.a[0].b`."""
    return "$" + "".join(f"[{s}]" if isinstance(s, int) else f".{s}" for s in steps)


def show(value: object, limit: int = 80) -> str:
    """A value as JSON, cut to `limit` characters, for an error message."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= limit else text[: limit - 3] + "..."


def load(path: Path, schema: str | None = None) -> Document:
    """Read a YAML or JSON file (by its suffix) and check it against a shipped schema.

    Raises:
        InputError: missing, too large, not UTF-8, not well-formed, or not what the schema asks for.
    """
    data = read_bytes(path)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"not UTF-8 text (byte {error.start})", path=path) from error
    parsed, lines = _parse_json(path, text) if path.suffix == ".json" else _parse_yaml(path, text)
    document = Document(path, parsed, lines, sha256_bytes(data))
    if schema is not None:
        check(document, schema)
    return document


def read_bytes(path: Path, limit: int = MAX_DOCUMENT_BYTES) -> bytes:
    """A file's bytes.

    Raises:
        InputError: there is no such file, it is a folder, or it is larger than `limit` bytes.
    """
    try:
        size = path.stat().st_size
        if size > limit:
            raise InputError("file too large", path=path, expected=f"at most {limit} bytes", found=f"{size}")
        return path.read_bytes()
    except OSError as error:
        raise InputError(error.strerror or str(error), path=path) from error


def check(document: Document, schema: str) -> None:
    """Raise the most telling violation of `schema`, if there is one.

    Raises:
        InputError: the first violation in the order of the file.
    """
    if (name := _non_finite(document.data)) is not None:
        raise document.error(name, expected="a finite number", found="a number that is not")
    errors = sorted(validator(schema).iter_errors(document.data), key=lambda e: (_line(document, e), list(map(str, e.path))))
    if errors:
        raise _explain(document, _most_specific(errors[0]))


@cache
def validator(schema: str) -> Validator:
    """The compiled validator of a shipped schema, by its short name."""
    from jsonschema import Draft202012Validator

    text = resources.files("reprogrok").joinpath("schemas", f"{schema}.schema.json").read_text("utf-8")
    return Draft202012Validator(json.loads(text))


def _line(document: Document, error: ValidationError) -> int:
    return document.lines.get(tuple(error.absolute_path), 0)


def _most_specific(error: ValidationError) -> ValidationError:
    """Inside `oneOf`/`anyOf`, the error of the branch that the author most likely meant (jsonschema's relevance)."""
    from jsonschema.exceptions import best_match

    while error.context:
        error = best_match(error.context)
    return error


def _explain(document: Document, error: ValidationError) -> InputError:
    steps: Steps = tuple(error.absolute_path)
    if error.validator == "additionalProperties":
        known = list(error.schema.get("properties", {}))
        unknown = next(key for key in error.instance if key not in known)
        near = difflib.get_close_matches(unknown, known, n=1)
        hint = f"one of {', '.join(known)}" + (f" (did you mean {near[0]}?)" if near else "")
        return document.error((*steps, unknown), "unknown field", expected=hint, found=unknown)
    if error.validator == "required":
        missing = next(key for key in error.validator_value if key not in error.instance)
        return document.error(steps, f"the field {missing} is missing")
    expected = {
        "type": f"a value of type {error.validator_value}",
        "enum": f"one of {', '.join(map(str, error.validator_value))}" if error.validator == "enum" else "",
        "const": f"{error.validator_value}",
        "minimum": f"at least {error.validator_value}",
        "maximum": f"at most {error.validator_value}",
        "exclusiveMinimum": f"more than {error.validator_value}",
        "exclusiveMaximum": f"less than {error.validator_value}",
        "minItems": f"at least {error.validator_value} item(s)",
        "maxItems": f"at most {error.validator_value} item(s)",
        "pattern": f"text that matches {error.validator_value}",
    }.get(str(error.validator))
    if expected is None:
        return document.error(steps, error.message)
    return document.error(steps, expected=expected, found=error.instance)


def _non_finite(value: Any, steps: Steps = ()) -> Steps | None:
    """Where the first NaN or infinity stands: configuration has none, and JSON Schema would let it through."""
    if isinstance(value, float) and not math.isfinite(value):
        return steps
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return next((found for key, item in items if (found := _non_finite(item, (*steps, key))) is not None), None)


def _parse_json(path: Path, text: str) -> tuple[Any, dict[Steps, int]]:
    try:
        return json.loads(text), {}
    except json.JSONDecodeError as error:
        raise InputError(f"not JSON: {error.msg} (column {error.colno})", path=path, line=error.lineno) from error
    except RecursionError as error:
        raise InputError("not a document of ours: nested too deeply", path=path) from error


def _parse_yaml(path: Path, text: str) -> tuple[Any, dict[Steps, int]]:
    from ruamel.yaml import YAML
    from ruamel.yaml.constructor import DuplicateKeyError
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        # Composed for the lines, loaded by the safe 1.2 constructor for the values: only plain types come out.
        node = YAML(typ="safe", pure=True).compose(text)
        data = YAML(typ="safe", pure=True).load(text)
    except DuplicateKeyError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        raise InputError(str(error.problem).split(" with value")[0], path=path, line=line) from error
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        raise InputError(f"not YAML: {error.problem}", path=path, line=line) from error
    except (YAMLError, RecursionError, ValueError) as error:
        raise InputError(f"not YAML: {error}", path=path) from error
    lines: dict[Steps, int] = {}
    if node is not None:
        _collect_lines(node, (), lines)
    return data, lines


def _collect_lines(node: Any, steps: Steps, lines: dict[Steps, int]) -> None:
    lines.setdefault(steps, node.start_mark.line + 1)
    if node.id == "mapping":
        for key, value in node.value:
            lines[(*steps, key.value)] = key.start_mark.line + 1
            _collect_lines(value, (*steps, key.value), lines)
    elif node.id == "sequence":
        for index, value in enumerate(node.value):
            _collect_lines(value, (*steps, index), lines)

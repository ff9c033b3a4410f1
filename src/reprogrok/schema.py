"""YAML or JSON text -> a checked document that keeps the line of each value.

    text --parse--> plain data + line of every field --JSON Schema--> Document --typed constructors--> objects

The schemas ship inside the package (`reprogrok/schemas/*.schema.json`). YAML is version 1.2: `1e-3` is a number,
`no` is text and `0:8` is not sexagesimal. Only the part of YAML that JSON can express is accepted: no aliases (a few
of them make a document of terabytes), no tags, no dates, and keys are text. Errors read
`file:line $.path: expected ..., found ...`, the first of the file and its most specific cause.
"""

from __future__ import annotations

import difflib
import json
import math
import re
import stat
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Final

from jsonschema import Draft202012Validator, validators
from jsonschema.exceptions import ValidationError, best_match
from jsonschema.protocols import Validator
from referencing import Registry, Resource
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import CollectionEndEvent, CollectionStartEvent, Event

from reprogrok.errors import InputError, located
from reprogrok.files import sha256_bytes

Steps = tuple[str | int, ...]

MAX_DOCUMENT_BYTES = 256 * 2**20  # a log of 400,000 steps is a few megabytes
MAX_DEPTH = 100  # of YAML, whose parser slows down with the square of the depth
NOT_SHOWN: Final = object()  # None is a value that a document can hold
PLAIN_TAGS = {f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "float", "bool", "null", "seq", "map")}


@dataclass(frozen=True)
class Document:
    """A parsed file: plain dicts, lists and scalars, the line of every field, and the SHA-256 of the text."""

    path: Path
    data: Any
    lines: dict[Steps, int]
    sha256: str

    def at(self, steps: Steps) -> Any:
        """Return the value of the field `steps`."""
        value = self.data
        for step in steps:
            value = value[step]
        return value

    def error(
        self, steps: Steps, message: str = "", *, expected: str | None = None, found: object = NOT_SHOWN
    ) -> InputError:
        """Return an InputError that points at the field `steps`."""
        shown, field = None if found is NOT_SHOWN else show(found), json_path(steps)
        line = self.line_of(field)
        return InputError(message, path=self.path, line=line, field=field, expected=expected, found=shown)

    def line_of(self, field: str) -> int | None:
        """Return the line of `$.a.b[0]`, or of the nearest field around it that has one."""
        lines = {json_path(steps): line for steps, line in self.lines.items()}
        while field and field not in lines:
            field = field[: max(field.rfind("."), field.rfind("["), 0)]
        return lines.get(field)

    def located(self, steps: Steps) -> AbstractContextManager[None]:
        """Place the errors of a block that reads the field `steps` in this file: see `errors.located`."""
        return located(self.path, json_path(steps), self.line_of)


def json_path(steps: Sequence[str | int]) -> str:
    """Return `$.a[0].b` for `("a", 0, "b")`."""
    return "$" + "".join(f"[{s}]" if isinstance(s, int) else f".{s}" for s in steps)


def show(value: object, limit: int = 80) -> str:
    """Return a value as JSON, cut to `limit` characters, for an error message."""
    return _cut(json.dumps(value, ensure_ascii=False, default=str), limit)


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 3] + "..."


def load(path: Path, schema: str | None = None) -> Document:
    """Read a YAML or JSON file (by its suffix) and check it against a shipped schema.

    Raises:
        InputError: it is missing, too large, not UTF-8 or not well-formed, or it violates the schema.
    """
    data = read_bytes(path)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"not UTF-8 text (byte {error.start})", path=path) from error
    try:
        parsed, lines = _parse_json(path, text) if path.suffix == ".json" else _parse_yaml(path, text)
        document = Document(path, parsed, lines, sha256_bytes(data))
        if schema is not None:
            check(document, schema)
    except RecursionError as error:
        raise InputError("nested too deeply", path=path) from error
    return document


def read_bytes(path: Path, limit: int = MAX_DOCUMENT_BYTES) -> bytes:
    """Read a regular file.

    Raises:
        InputError: it is missing, larger than `limit` bytes, or a folder, a device or a pipe, which may never end.
    """
    try:
        about = path.stat()
        if not stat.S_ISREG(about.st_mode) and not stat.S_ISDIR(about.st_mode):  # opening a folder gives its own error
            raise InputError("not a regular file", path=path)
        if about.st_size > limit:
            raise InputError("file too large", path=path, expected=f"at most {limit} bytes", found=f"{about.st_size}")
        with path.open("rb") as file:
            data = file.read(about.st_size + 1)
    except OSError as error:
        raise InputError(error.strerror or str(error), path=path) from error
    if len(data) > about.st_size:
        raise InputError("grew while it was read", path=path)
    return data


def check(document: Document, schema: str) -> None:
    """Check a document against a shipped schema.

    Raises:
        InputError: the first violation in the order of the file, explained by its most specific cause.
    """
    for steps, value in _non_finite(document.data):
        raise document.error(steps, expected="a finite number", found=value)
    errors = sorted(
        validator(schema).iter_errors(document.data), key=lambda e: (_line(document, e), list(map(str, e.path)))
    )
    if errors:
        raise _explain(document, _most_specific(errors[0]))


def check_written(value: object, schema: str) -> None:
    """Check a document before it is written.

    Raises:
        InputError: it violates its schema, which is a fault of this program.
    """
    check(Document(Path(f"<{schema} to be written>"), value, {}, ""), schema)


@cache
def validator(schema: str) -> Validator:
    """Return the compiled validator of a shipped schema."""
    # JSON Schema counts 200.0 among the integers; Python's range() does not.
    types = Draft202012Validator.TYPE_CHECKER.redefine("integer", lambda _, value: type(value) is int)
    strict: type[Validator] = validators.extend(Draft202012Validator, type_checker=types)  # type: ignore[no-untyped-call]
    asked = _shipped(f"{schema}.schema.json")
    # All referred files are registered now, because a retrieved one would be sought again at each reference.
    registry = Registry[bool | Mapping[str, Any]]()
    for name, contents in _referred(asked).items():
        registry = registry.with_resource(name, Resource.from_contents(contents))
    return strict(asked, registry=registry.crawl())


def _shipped(name: str) -> dict[str, object]:
    """Read a schema of the package by its file name."""
    contents: dict[str, object] = json.loads(resources.files("reprogrok").joinpath("schemas", name).read_text("utf-8"))
    return contents


def _referred(schema: object) -> dict[str, dict[str, object]]:
    """Return the schemas that `schema` refers to, directly or not, by file name."""
    found: dict[str, dict[str, object]] = {}
    waiting = [schema]
    while waiting:
        part = waiting.pop()
        reference = part.get("$ref") if isinstance(part, dict) else None
        name = reference.split("#")[0] if isinstance(reference, str) else ""
        if name and name not in found:
            found[name] = _shipped(name)
            waiting.append(found[name])
        waiting.extend(part.values() if isinstance(part, dict) else part if isinstance(part, list) else ())
    return found


def _line(document: Document, error: ValidationError) -> int:
    return document.lines.get(tuple(error.absolute_path), 0)


def _most_specific(error: ValidationError) -> ValidationError:
    """Return the error of the branch of `oneOf`/`anyOf` that the author most likely meant; `error` if there is none."""
    branches: dict[object, list[ValidationError]] = {}
    for inner in error.context or ():
        branches.setdefault(inner.schema_path[0], []).append(inner)
    # A branch for another type of value, or for another word in a field that tells types apart, was not meant.
    for turned_away in (_other_kind_or_word, _other_kind):
        for inner_errors in branches.values():
            if not any(map(turned_away, inner_errors)):
                return _most_specific(best_match(inner_errors))
    return error


def _other_kind(error: ValidationError) -> bool:
    return error.validator == "type" and not error.relative_path


def _other_kind_or_word(error: ValidationError) -> bool:
    return _other_kind(error) or (error.validator in {"const", "enum"} and len(error.relative_path) == 1)


def _explain(document: Document, error: ValidationError) -> InputError:
    steps: Steps = tuple(error.absolute_path)
    schema: Any = error.schema
    asked: Any = error.validator_value
    instance: Any = error.instance
    if error.validator == "additionalProperties":
        known = list(schema.get("properties", {}))
        patterns = schema.get("patternProperties", {})
        unknown = next(key for key in instance if key not in known and not any(re.search(p, key) for p in patterns))
        near = difflib.get_close_matches(str(unknown), known, n=1)
        hint = f"one of {', '.join(known)}" + (f" (did you mean {near[0]}?)" if near else "")
        return document.error((*steps, unknown), "unknown field", expected=hint, found=unknown)
    if error.validator == "required":
        missing = next(key for key in asked if key not in instance)
        return document.error(steps, f"the field {missing} is missing")
    kinds = [str(inner.validator_value) for inner in error.context or () if _other_kind(inner)]
    if kinds and len(kinds) == len(error.context or ()):
        return document.error(steps, expected=f"a value of type {' or '.join(dict.fromkeys(kinds))}", found=instance)
    expected = {
        "type": f"a value of type {' or '.join(asked) if isinstance(asked, list) else asked}",
        "enum": f"one of {', '.join(map(str, asked))}" if error.validator == "enum" else "",
        "const": f"{asked}",
        "minimum": f"at least {asked}",
        "maximum": f"at most {asked}",
        "exclusiveMinimum": f"more than {asked}",
        "exclusiveMaximum": f"less than {asked}",
        "minItems": f"at least {asked} item(s)",
        "maxItems": f"at most {asked} item(s)",
        "minProperties": f"at least {asked} field(s)",
        "maxProperties": f"at most {asked} field(s)",
        "pattern": f"text that matches {asked}",
    }.get(str(error.validator))
    if expected is None:
        return document.error(steps, _cut(error.message, 200))
    return document.error(steps, expected=expected, found=instance)


def _non_finite(value: object, steps: Steps = ()) -> Iterator[tuple[Steps, float]]:
    """Yield the place and value of every NaN and infinity, which JSON Schema would accept."""
    if isinstance(value, float) and not math.isfinite(value):
        yield steps, value
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from _non_finite(item, (*steps, key))


def _parse_json(path: Path, text: str) -> tuple[object, dict[Steps, int]]:
    def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
        fields = dict(pairs)
        if len(fields) != len(pairs):
            twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
            raise InputError(f'found duplicate key "{twice}"', path=path)
        return fields

    try:
        return json.loads(text, object_pairs_hook=unique), {}
    except json.JSONDecodeError as error:
        raise InputError(f"not JSON: {error.msg} (column {error.colno})", path=path, line=error.lineno) from error
    except ValueError as error:  # an integer of more digits than Python converts
        raise InputError(f"not JSON: {_cut(str(error), 80)}", path=path) from error


def _parse_yaml(path: Path, text: str) -> tuple[object, dict[Steps, int]]:
    lines: dict[Steps, int] = {}
    yaml = YAML(typ="safe", pure=True)
    try:
        # One pass: each event is checked, composed for its line, then built by the safe constructor of YAML 1.2.
        _watch(path, yaml)
        node = yaml.compose(text)
        if node is None:
            return None, lines
        _collect_lines(path, node, (), lines)
        return yaml.constructor.construct_document(node), lines
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        raise InputError(f"not YAML: {error.problem}", path=path, line=line) from error
    except (YAMLError, ValueError) as error:
        raise InputError(f"not YAML: {_cut(str(error).splitlines()[0], 80)}", path=path) from error


def _watch(path: Path, yaml: Any) -> None:
    """Make `yaml` refuse, on reading it, an event that JSON cannot express or that is nested too deeply."""
    depth, make = 0, yaml.Parser

    def watched(loader: object) -> Any:
        parser = make(loader=loader)
        given = parser.get_event

        def get_event() -> Any:
            nonlocal depth
            event = given()
            _refuse_event(path, event)
            depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
            if depth > MAX_DEPTH:
                raise InputError("nested too deeply", path=path, line=event.start_mark.line + 1)
            return event

        parser.get_event = get_event
        return parser

    yaml.Parser = watched


def _refuse_event(path: Path, event: Event) -> None:
    """Raise an InputError at an anchor, an alias, a tag, or the declaration of another version of YAML."""
    line = event.start_mark.line + 1
    if (anchor := getattr(event, "anchor", None)) is not None:
        raise InputError(
            "anchors and aliases are not accepted: write the value out", path=path, line=line, found=anchor
        )
    if (tag := getattr(event, "tag", None)) is not None:
        raise InputError("tags are not accepted", path=path, line=line, found=str(tag))
    if (version := getattr(event, "version", None)) not in {None, (1, 2)}:
        raise InputError(path=path, line=line, expected="YAML 1.2", found=f"YAML {'.'.join(map(str, version))}")


def _collect_lines(path: Path, node: Any, steps: Steps, lines: dict[Steps, int]) -> None:
    """Record the line of every field below `node`.

    Raises:
        InputError: a value or a key that JSON cannot express, or a repeated key.
    """
    line = node.start_mark.line + 1
    if node.tag not in PLAIN_TAGS:
        expected = "text, a number, true, false, null, a list or a mapping (quote it to make it text)"
        raise InputError(path=path, line=line, field=json_path(steps), expected=expected, found=node.value)
    lines.setdefault(steps, line)
    if node.id == "mapping":
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not key.tag.endswith(":str"):
                found = key.value if key.id == "scalar" else f"a {key.id}"
                expected = "a key that is text (quote it)"
                raise InputError(path=path, line=line, field=json_path(steps), expected=expected, found=found)
            if (*steps, key.value) in lines:
                raise InputError(f'found duplicate key "{key.value}"', path=path, line=line)
            lines[(*steps, key.value)] = line
            _collect_lines(path, value, (*steps, key.value), lines)
    elif node.id == "sequence":
        for index, value in enumerate(node.value):
            _collect_lines(path, value, (*steps, index), lines)

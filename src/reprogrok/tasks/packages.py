"""The extensions that installed packages offer by entry points: their names, objects and origins.

    [project.entry-points."reprogrok.operations"]      GROUP of tasks.operations
    [project.entry-points."reprogrok.splits"]          GROUP of tasks.splits
    [project.entry-points."reprogrok.metrics"]         GROUP of metrics.own_metrics

A package is imported only when one of its names is requested. Built-in names cannot be replaced, because a name must
mean the same in every record. A broken package is reported in one line that names it.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection
from importlib.metadata import EntryPoint, entry_points
from typing import TypeVar

from reprogrok.errors import InputError

T = TypeVar("T")


def offered(group: str, built_in: Collection[str]) -> dict[str, EntryPoint]:
    """Return the entry points of a group by name, without loading them.

    Raises:
        InputError: a name is built in, or two packages offer it.
    """
    kind, found = kind_of(group), dict[str, EntryPoint]()
    for entry in entry_points(group=group):
        if entry.name in built_in:
            raise InputError(f"{origin(entry)} offers {kind} {entry.name}, which is built in; it needs another name")
        if entry.name in found and entry.value != found[entry.name].value:
            both = f"{origin(found[entry.name])} and {origin(entry)}"
            raise InputError(f"{both} both offer {kind} {entry.name}; uninstall one of them")
        found[entry.name] = entry
    return found


def find(group: str, name: str, built_in: Collection[str], field: str) -> EntryPoint:
    """Return the entry point of a name; `field` is the place of the name in the input.

    Raises:
        InputError: no installed package offers it, or `offered` raises.
    """
    entries = offered(group, built_in)
    if name in entries:
        return entries[name]
    known = (*built_in, *entries)
    near = difflib.get_close_matches(name, known, n=1)
    hint = f" (did you mean {near[0]}?)" if near else ""
    package = f"an installed package that offers it ({group})"
    expected = f"one of {', '.join(known)}, or {package}" if known else package
    raise InputError(f"unknown {kind_of(group)}", field=field, expected=expected, found=name + hint)


def load(entry: EntryPoint, wanted: type[T]) -> T:
    """Load the object of an entry point.

    Raises:
        InputError: it cannot be imported, is not a `wanted`, or has another name.
    """
    what = f"{kind_of(entry.group)} {entry.name} of {origin(entry)}"
    try:
        found = entry.load()
    except Exception as error:  # importing another package may raise anything
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputError(f"{what} cannot be loaded: {reason}") from error
    if not isinstance(found, wanted):
        article = "an" if wanted.__name__[0] in "AEIOU" else "a"
        raise InputError(what, expected=f"{article} {wanted.__name__}", found=type(found).__name__)
    if (name := getattr(found, "name", entry.name)) != entry.name:
        raise InputError(what, expected=f"the name {entry.name}", found=str(name))
    return found


def kind_of(group: str) -> str:
    """Return the singular of a group's name: `reprogrok.splits` -> "split"."""
    return group.removeprefix("reprogrok.").removesuffix("s")


def origin(entry: EntryPoint) -> str:
    """Describe the source for messages: `package my-lab (my_lab.rules:maximum)`."""
    package = f"package {entry.dist.name}" if entry.dist is not None else "a package"
    return f"{package} ({entry.value})"


def release(entry: EntryPoint) -> str:
    """Describe the source for records: `my-lab 0.1 (my_lab.rules:maximum)`."""
    package = f"{entry.dist.name} {entry.dist.version}" if entry.dist is not None else "a package"
    return f"{package} ({entry.value})"

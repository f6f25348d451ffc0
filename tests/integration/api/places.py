"""Where in a schema something is demanded, and the same place in an object."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

Path = tuple[str | int, ...]
"""Names of fields, keys of maps, and indices of lists."""


@dataclass(frozen=True)
class Place:
    """A node of a schema: fields by name, ``[]`` for the items of a list, ``{}`` for the values of a map."""

    steps: tuple[str, ...]

    def __str__(self) -> str:
        return ".".join(self.steps).replace(".[]", "[]").replace(".{}", "{}")

    def find(self, manifest: Any) -> list[Path]:
        """Every path in ``manifest`` that this place describes."""
        found: list[tuple[Path, Any]] = [((), manifest)]
        for step in self.steps:
            found = [((*path, name), child) for path, node in found for name, child in _children(node, step)]
        return [path for path, _ in found]


def _children(node: Any, step: str) -> list[tuple[str | int, Any]]:
    if step == "[]":
        return list(enumerate(node))
    if step == "{}":
        return list(node.items())
    return [(step, node[step])] if step in node else []


def places(schema: dict[str, Any], steps: tuple[str, ...] = ()) -> Iterator[tuple[Place, dict[str, Any]]]:
    """Every node of a schema, ``metadata`` and ``status`` aside: those are not the user's to get wrong."""
    yield Place(steps), schema
    for name, child in schema.get("properties", {}).items():
        if steps or name == "spec":
            yield from places(child, (*steps, name))
    if "items" in schema:
        yield from places(schema["items"], (*steps, "[]"))
    if "additionalProperties" in schema:
        yield from places(schema["additionalProperties"], (*steps, "{}"))


def dotted(path: Path) -> str:
    """``spec.routing.hosts.0``: indices and keys like names of fields."""
    return ".".join(str(step) for step in path)


def get(manifest: Any, path: Path) -> Any:
    for step in path:
        manifest = manifest[step]
    return manifest


def changed(manifest: dict[str, Any], path: Path, value: Any) -> dict[str, Any]:
    """A copy of ``manifest`` with ``value`` at ``path``; where both are objects they are merged, None
    removes."""
    root = {"": copy.deepcopy(manifest)}
    parent = get(root, ("", *path)[:-1])
    last = path[-1] if path else ""
    parent[last] = _merged(parent[last], value)
    return root[""]


def _merged(old: Any, new: Any) -> Any:
    if not isinstance(old, dict) or not isinstance(new, dict):
        return new
    both = {**old, **{name: _merged(old.get(name), value) for name, value in new.items()}}
    return {name: value for name, value in both.items() if value is not None}

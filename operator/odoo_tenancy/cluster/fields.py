"""``fieldsV1``: how the API server notes which manager set which fields of an object.

A set of fields is a tree. Its keys are ``f:<field>``, ``k:<the keys of a list's item, as JSON>``,
``v:<the value of a set's member>``, ``i:<index>``, and ``.`` for the node itself beside its children.
A leaf is ``{}``.
Source: https://kubernetes.io/docs/reference/using-api/server-side-apply/ and fieldpath/serialize-pe.go of
sigs.k8s.io/structured-merge-diff.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

FieldSet = dict[str, Any]
Path = tuple[str, ...]
"""Keys of a ``FieldSet``, from the root of the object to a field."""

ITSELF = "."


class _Missing:
    """Stands for a field that an object lacks; unlike None, which is a value."""

    def __repr__(self) -> str:
        return "missing"


MISSING = _Missing()


def children(fields: FieldSet) -> Iterator[tuple[str, FieldSet]]:
    """The nodes below, without the node itself."""
    return ((key, below) for key, below in fields.items() if key != ITSELF)


def union(first: FieldSet, second: FieldSet) -> FieldSet:
    """All fields that are in one of the two."""
    merged = dict(first)
    for key, below in second.items():
        merged[key] = union(merged[key], below) if key in merged else below
    return merged


def project(value: Any, fields: FieldSet) -> Any:
    """The part of a value that the set names, keyed as the set is: the order of items doesn't show in it."""
    if value is MISSING:
        return None
    projected = {}
    # One turn for each field of each object that a watch shows: `step` and `children`, spelt out.
    for key, sub in fields.items():
        if key == ITSELF:
            continue
        if key.startswith("f:"):
            item = value.get(key[2:], MISSING) if isinstance(value, dict) else MISSING
        else:
            item = step(value, key)[1]
        projected[key] = project(item, sub)
    return projected or value


def differing(before: Any, after: Any, fields: FieldSet, at: Path = ()) -> Iterator[Path]:
    """The fields of the set whose values are not the same in the two objects."""
    below = list(children(fields))
    missing = before is MISSING or after is MISSING
    if not below or (missing and at[-1:] and at[-1].startswith("k:")):  # a list's item is named as a whole
        if before != after:
            yield at
        return
    for key, sub in below:
        yield from differing(step(before, key)[1], step(after, key)[1], sub, (*at, key))


def step(value: Any, key: str) -> tuple[str | int, Any]:
    """One step down: the field's name or the item's index, and the value there, or ``MISSING``."""
    kind, _, word = key.partition(":")
    if kind == "f":
        return word, value.get(word, MISSING) if isinstance(value, dict) else MISSING
    items = value if isinstance(value, list) else []
    if kind == "i":
        index = int(word)
        return index, items[index] if index < len(items) else MISSING
    wanted = _parsed(word)
    for index, item in enumerate(items):
        if item == wanted if kind == "v" else _has_keys(item, wanted):
            return index, item
    return -1, MISSING


def locate(value: Any, path: Path) -> tuple[str | int, ...] | None:
    """Where a field stands in this very object, with lists' indexes; ``None`` where it isn't there."""
    place: list[str | int] = []
    for key in path:
        name, value = step(value, key)
        if value is MISSING:
            return None
        place.append(name)
    return tuple(place)


def contains(fields: FieldSet, path: Path) -> bool:
    """Whether a field, or something that it is part of, is in the set."""
    for key in path:
        if key not in fields:
            return False
        fields = fields[key]
        if not fields:
            return True
    return True


def readable(path: Path) -> str:
    """A field as people write it: ``spec.template.spec.containers[name=odoo].image``."""
    text = ""
    for key in path:
        kind, _, word = key.partition(":")
        if kind == "f":
            text += f"[{word}]" if set(word) & set("./") else f"{'.' if text else ''}{word}"
        elif kind == "k":
            text += "[" + ",".join(f"{k}={v}" for k, v in _parsed(word).items()) + "]"
        else:
            text += f"[{word}]"
    return text


def pointer(place: tuple[str | int, ...]) -> str:
    """A JSON pointer (RFC 6901)."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in place)


def _has_keys(item: Any, wanted: dict[str, Any]) -> bool:
    return isinstance(item, dict) and all(item.get(k) == v for k, v in wanted.items())


@lru_cache(maxsize=4096)
def _parsed(word: str) -> Any:
    return json.loads(word)

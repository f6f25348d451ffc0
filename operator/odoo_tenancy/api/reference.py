"""``python -m odoo_tenancy.api.reference [file]``: ``docs/reference.md``, generated from the models.

A table for each object of a spec and status. What several places have, such as a peer, is described once, at the end.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from odoo_tenancy.api import shared, types
from odoo_tenancy.api.meta import API_VERSION, ApiObject
from odoo_tenancy.api.options import OWNED_OPTIONS
from odoo_tenancy.api.rules import RULES
from odoo_tenancy.api.schema import KINDS, resolved

Node = dict[str, Any]

_TYPES: dict[str, Any] = {
    "duration": types.Duration,
    "duration above 0": types.PositiveDuration,
    "quantity": types.Quantity,
    "size": types.Size,
    "network": types.Cidr,
    "host name": types.HostName,
    "cron": types.Cron,
    "time zone": types.TimeZone,
    "object name": types.ObjectName,
    "namespace": types.Namespace,
    "claim": types.Claim,
    "image": types.ImageName,
    "URL": types.Url,
    "label key": shared.LabelKey,
    "label value": shared.LabelValue,
}
"""Types with a rule of their own: named in the tables, explained once."""

_NAMED: dict[str, Node] = {name: TypeAdapter(given).json_schema() for name, given in _TYPES.items()}

_HEAD = f"""# Reference

The kinds of `{API_VERSION}`, field by field. Where a tenant's default follows its tier, see
[choosing a tier](how-to.md#choose-a-tier); what the conditions mean stands in [conditions](conditions.md).

<!-- Made from operator/odoo_tenancy/api by `make crds`: change the models, not this file. -->

How to read the tables: a field without a default is left out when it is not asked for, unless it says **required**.
*Italics* are what the API server answers where a rule does not hold. `[]` after a field means each entry of a list, `{{}}`
each value of a map. Fields of the status are written by the operator alone.
"""


@dataclass(frozen=True)
class _Row:
    path: str
    type: str
    default: str
    text: str


@dataclass
class _Table:
    """One object: its fields, those of small objects in it among them, and what holds across them."""

    title: str
    about: str
    defaults: bool = True
    """The API server fills them in; in a status it does not."""
    rows: list[_Row] = field(default_factory=list)
    rules: list[str] = field(default_factory=list)

    def lines(self, level: int) -> list[str]:
        text = ["", f"{'#' * level} {self.title}", "", self.about, ""]
        text += ["| field | type | default | meaning |", "|---|---|---|---|"]
        text += [f"| `{row.path}` | {row.type} | {row.default} | {row.text} |" for row in self.rows]
        return text + (["", *(f"- {rule}" for rule in self.rules)] if self.rules else [])


class Reference:
    """The page, put together from the JSON schemas of all kinds."""

    def __init__(self) -> None:
        self._documents = {kind: kind.model_json_schema(by_alias=True) for kind in KINDS}
        self._definitions: Node = {}
        for document in self._documents.values():
            self._definitions |= document["$defs"]
        uses = Counter(name for node in self._definitions.values() for name in _references(node))
        self._pieces = sorted(
            name
            for name, count in uses.items()
            if count > 1 and len(self._fields(self._definitions[name])) > 1
        )

    def page(self) -> str:
        """The whole page as Markdown."""
        lines = [_HEAD.rstrip(), "", *_types(), "", "## Kinds", ""]
        lines += ["| kind | short name | scope | what it is |", "|---|---|---|---|"]
        lines += [_summary(kind) for kind in KINDS]
        for kind in KINDS:
            lines += self._kind(kind)
        lines += ["", "## What several of them have"]
        for name in self._pieces:
            lines += self._piece(name)
        lines += ["", "## Options that the operator owns", "", _OPTIONS, ""]
        lines += [", ".join(f"`{option}`" for option in OWNED_OPTIONS) + "."]
        return "\n".join(lines) + "\n"

    def _kind(self, kind: type[ApiObject]) -> Iterator[str]:
        document = self._documents[kind]
        columns = ", ".join(c.name for c in kind.definition.columns if not c.wide)
        yield from ("", f"## {kind.__name__}", "", _sentence(document))
        yield from ("", f"`kubectl get {kind.definition.short_name}` shows: {columns}.")
        for rule in document.get(RULES, ()):
            yield from ("", f"`{rule['fieldPath'][1:]}`: *{rule['message']}.*")
        for part in ("spec", "status"):
            for table in self._tables(document["properties"][part], part, kind.__name__):
                yield from table.lines(3)

    def _piece(self, name: str) -> Iterator[str]:
        node = self._definitions[name]
        table = _Table(name, _sentence(node), defaults=name != "Condition")
        self._fill(table, node, "", [])
        self._say_rules(table, node, "")
        yield from table.lines(3)

    def _tables(self, node: Node, title: str, kind: str) -> list[_Table]:
        """The object, and each object in it that has fields of its own."""
        node = self._resolved(node)
        first = _Table(f"{kind} `{title}`", _sentence(node), defaults=title == "spec")
        later: list[tuple[str, Node]] = []
        self._fill(first, node, "", later)
        tables = [first]
        for name, child in later:
            table = _Table(f"{kind} `{title}.{name}`", _sentence(child), defaults=first.defaults)
            self._fill(table, child, "", None)
            self._say_rules(table, child, "")
            tables.append(table)
        self._say_rules(first, node, "")
        return tables

    def _fill(self, table: _Table, node: Node, prefix: str, later: list[tuple[str, Node]] | None) -> None:
        """A row a field. Objects go on in rows of the same table, or, where ``later`` collects them, in their own."""
        required = node.get("required", ())
        for name, raw in self._fields(node).items():
            path, child = prefix + name, self._resolved(raw)
            piece = self._piece_of(raw)
            while piece is None and len(self._fields(child)) == 1:
                ((inner, raw),) = self._fields(child).items()
                path, piece = f"{path}.{inner}", self._piece_of(raw)
                child = self._joined(child, raw)
            own = piece is None and bool(self._fields(child))
            default = "**required**" if name in required else self._default(child) if table.defaults else ""
            type_ = self._type(child, raw)
            if own and later is not None:
                later.append((path, child))
                type_ = f"[object](#{_anchor(table.title, path)})"
            table.rows.append(_Row(path, type_, default, _sentence(child) + self._own_rules(child)))
            if own and later is None:
                self._fill(table, child, f"{path}.", None)
                self._say_rules(table, child, path)
            self._fill_items(table, child, path)

    def _fill_items(self, table: _Table, node: Node, path: str) -> None:
        """The fields of a list's entries, where they are described nowhere else."""
        items = node.get("items")
        if items is None or self._piece_of(items) is not None:
            return
        item = self._resolved(items)
        if len(self._fields(item)) > 1:
            self._fill(table, item, f"{path}[].", None)
            self._say_rules(table, item, f"{path}[]")

    def _joined(self, outer: Node, raw: Node) -> Node:
        """An object of one field, and that field: one row with what both say."""
        inner = self._resolved(raw)
        says = [outer.get("description", "")]
        if inner.get("description", "") not in ("Name of the object.", "Name of the Secret.", "The Secret."):
            says.append(inner.get("description", ""))
        rules = [*inner.get(RULES, ()), *outer.get(RULES, ())]
        return {**inner, "description": " ".join(says), **({RULES: rules} if rules else {})}

    def _say_rules(self, table: _Table, node: Node, prefix: str) -> None:
        """What holds across the fields of an object, below the table."""
        for rule in node.get(RULES, ()):
            path = (prefix + rule.get("fieldPath", "")).removeprefix(".")
            table.rules.append(f"{f'`{path}`: ' if path else ''}*{rule['message']}.*")

    def _own_rules(self, node: Node) -> str:
        """What the API server says of a value by itself; that of a named type stands in the table of types."""
        rules = []
        if "properties" not in node:
            rules = _rules_beyond(node)
        for inner in ("items", "additionalProperties"):
            if isinstance(node.get(inner), dict) and self._piece_of(node[inner]) is None:
                item = self._resolved(node[inner])
                rules += [] if "properties" in item else _rules_beyond(item)
        return "".join(f"<br>*{message}.*" for message in rules)

    def _type(self, node: Node, raw: Node) -> str:
        piece = self._piece_of(raw)
        if piece is not None:
            return f"[{piece}](#{piece.lower()})"
        if "items" in node:
            bounds = _range(node, "minItems", "maxItems")
            return f"list ({bounds}) of {self._type(self._resolved(node['items']), node['items'])}"
        if isinstance(node.get("additionalProperties"), dict):
            values = node["additionalProperties"]
            most = _range(node, "minProperties", "maxProperties")
            return f"map ({most}) to {self._type(self._resolved(values), values)}"
        if len(self._fields(node)) == 1:
            return f"object: `{next(iter(self._fields(node)))}`"
        return _scalar(node)

    def _default(self, node: Node) -> str:
        value = node.get("default")
        if isinstance(value, dict):
            value = self._unlike_its_fields(node, value)
        return "" if value in (None, "", [], (), {}) else f"`{_literal(value)}`"

    def _unlike_its_fields(self, node: Node, value: Node) -> Node:
        """What an object's default says beyond the defaults of its fields."""
        fields = self._fields(node)
        return {
            name: inner
            for name, inner in value.items()
            if name in fields
            and inner not in (None, [], {})
            and inner != self._resolved(fields[name]).get("default")
        }

    def _fields(self, node: Node) -> Node:
        fields: Node = self._resolved(node).get("properties", {})
        return fields

    def _resolved(self, node: Node) -> Node:
        return resolved(node, self._definitions)

    def _piece_of(self, node: Node) -> str | None:
        name = _reference(node)
        return name if name in self._pieces else None


_OPTIONS = (
    "`spec.odoo.config` of an OdooTenant, and the Secret of `spec.odoo.configFrom`, may not name these options of "
    "odoo.conf, in any spelling: the operator derives them from the rest of the spec."
)


def main() -> None:
    """Write the page into the file named, or into ``docs/reference.md``."""
    file = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/reference.md")
    file.write_text(Reference().page(), encoding="utf-8")


def _types() -> Iterator[str]:
    yield from ("## Types", "", "| type | what it takes |", "|---|---|")
    for name, node in _NAMED.items():
        says = "; ".join(rule["message"] for rule in node[RULES])
        bounds = f"; at most {node['maxLength']} characters"
        yield f"| {name} | {says}{'' if 'at most' in says else bounds} |"
    yield "| time | RFC 3339, such as 2026-11-22T18:00:00Z |"


def _summary(kind: type[ApiObject]) -> str:
    definition = kind.definition
    scope = definition.scope.lower()
    return f"| [{kind.__name__}](#{kind.__name__.lower()}) | `{definition.short_name}` | {scope} | {_text(kind.__doc__)} |"


def _scalar(node: Node) -> str:
    name = _name_of(node)
    if name is not None:
        return name
    if "enum" in node:
        return ", ".join(f"`{value}`" if value else "empty" for value in node["enum"])
    if "const" in node:
        return f"`{node['const']}`"
    if node.get("format") == "date-time":
        return "time"
    if node.get("type") == "string":
        return f"string {_range(node, 'minLength', 'maxLength')}".rstrip()
    return f"{node.get('type', 'object')} {_range(node, 'minimum', 'maximum')}".rstrip()


def _name_of(node: Node) -> str | None:
    """The name of the type whose rules the value has."""
    for name, named in _NAMED.items():
        if node.get(RULES, [])[: len(named[RULES])] == named[RULES]:
            return name
    return None


def _rules_beyond(node: Node) -> list[str]:
    """The messages of the rules that the value's named type doesn't bring."""
    name = _name_of(node)
    brought = len(_NAMED[name][RULES]) if name else 0
    return [rule["message"] for rule in node.get(RULES, ())[brought:]]


def _range(node: Node, least: str, most: str) -> str:
    low, high = node.get(least), node.get(most)
    if high is None:
        return "" if low is None else f"≥ {low}"
    return f"≤ {high}" if low is None else f"{low}–{high}"


def _references(node: Any) -> Iterator[str]:
    """The definitions that a definition refers to."""
    if isinstance(node, dict):
        if "$ref" in node:
            yield node["$ref"].rsplit("/", 1)[1]
        for child in node.values():
            yield from _references(child)
    elif isinstance(node, list):
        for child in node:
            yield from _references(child)


def _reference(node: Node) -> str | None:
    """The definition that a field is of, "or null" aside."""
    for choice in node.get("anyOf", ()):
        if "$ref" in choice:
            return _reference(choice)
    return node["$ref"].rsplit("/", 1)[1] if "$ref" in node else None


def _sentence(node: Node) -> str:
    return _text(node.get("description"))


def _text(description: str | None) -> str:
    return " ".join((description or "").replace("``", "`").replace("|", "\\|").split())


def _literal(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {_literal(inner)}" for name, inner in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_literal(inner) for inner in value) + "]"
    return value if isinstance(value, str) else json.dumps(value)


def _anchor(title: str, path: str) -> str:
    """As GitHub makes one of the heading ``<kind> `<part>.<path>` ``."""
    heading = f"{title.rstrip('`')}.{path}`".lower()
    return "".join(c for c in heading if c.isalnum() or c in " -_").replace(" ", "-")


if __name__ == "__main__":
    main()

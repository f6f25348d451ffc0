"""``python -m odoo_tenancy.api.schema [folder]``: the CRDs, generated from the models.

pydantic's JSON schema becomes a structural OpenAPI schema: references are replaced by what they refer to, "or
null" becomes "not required", titles and empty defaults go.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import yaml

from odoo_tenancy.api.backup import TenantBackup
from odoo_tenancy.api.drill import RestoreDrill, RestoreDrillSchedule
from odoo_tenancy.api.meta import GROUP, VERSION, ApiObject, Column, Definition, Manifest
from odoo_tenancy.api.policy import BackupPolicy
from odoo_tenancy.api.pool import HostingPool
from odoo_tenancy.api.restore import TenantRestore
from odoo_tenancy.api.rules import RULES
from odoo_tenancy.api.tenant import OdooTenant

KINDS: tuple[type[ApiObject], ...] = (
    OdooTenant,
    HostingPool,
    BackupPolicy,
    TenantBackup,
    TenantRestore,
    RestoreDrill,
    RestoreDrillSchedule,
)

HEADER = "# Generated from operator/odoo_tenancy/api by `make crds`: change the models, not this file.\n"


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def main() -> None:
    """Write one file a kind into the folder named, or into ``crds/``."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "crds")
    for kind in KINDS:
        (folder / file_name(kind)).write_text(to_yaml(crd(kind)), encoding="utf-8")


def file_name(kind: type[ApiObject]) -> str:
    """``odootenants.odootenancy.io.yaml``."""
    return f"{kind.definition.plural}.{GROUP}.yaml"


def to_yaml(manifest: Manifest) -> str:
    """The manifest as it stands in ``crds/``."""
    return HEADER + yaml.dump(manifest, Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)


def crd(kind: type[ApiObject]) -> Manifest:
    """The CustomResourceDefinition of ``kind``."""
    definition = kind.definition
    name = kind.__name__
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{definition.plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "names": {
                "kind": name,
                "listKind": f"{name}List",
                "plural": definition.plural,
                "singular": name.lower(),
                "shortNames": [definition.short_name],
                "categories": ["odoo"],
            },
            "scope": definition.scope,
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": open_api_schema(kind)},
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [_column(column) for column in definition.columns],
                    **_selectable(definition),
                }
            ],
        },
    }


def open_api_schema(kind: type[ApiObject]) -> dict[str, Any]:
    """The structural schema of ``kind``."""
    document = kind.model_json_schema(by_alias=True)
    schema = _structural(document, document["$defs"])
    schema["properties"].update(
        apiVersion={"type": "string"},
        kind={"type": "string"},
        metadata={"type": "object", "properties": {"name": {"type": "string"}}},
    )
    schema["properties"]["status"] = _without_defaults(schema["properties"]["status"])
    schema["required"] = ["spec"]
    return schema


def _selectable(definition: Definition) -> dict[str, Any]:
    paths = [{"jsonPath": path} for path in definition.selectable]
    return {"selectableFields": paths} if paths else {}


def _column(column: Column) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": column.name, "type": column.type, "jsonPath": column.path}
    return {**entry, "priority": 1} if column.wide else entry


def _structural(node: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """``node`` without references, alternatives, titles, and defaults that say nothing."""
    node = resolved(node, definitions)
    schema = {key: value for key, value in node.items() if key not in ("title", "default", "$defs")}
    if "description" in schema:
        schema["description"] = " ".join(schema["description"].replace("``", "`").split())
    if schema.get("x-kubernetes-int-or-string"):
        schema.pop("type")
    if "properties" in schema:
        schema["properties"] = {
            name: _structural(child, definitions) for name, child in schema["properties"].items()
        }
    for inner in ("items", "additionalProperties"):
        if isinstance(schema.get(inner), dict):
            schema[inner] = _structural(schema[inner], definitions)
    default = _default(node.get("default"), schema)
    if default is not None:
        schema["default"] = default
    return schema


def resolved(node: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """``node`` with what it refers to; its own keywords win, its rules add up."""
    for choice in node.get("anyOf", ()):
        if choice.get("type") != "null":
            return resolved({**choice, **{k: v for k, v in node.items() if k != "anyOf"}}, definitions)
    if "$ref" not in node:
        return node
    target = definitions[node["$ref"].rsplit("/", 1)[1]]
    merged = {**target, **{k: v for k, v in node.items() if k != "$ref"}}
    rules = [*target.get(RULES, []), *node.get(RULES, [])]
    return resolved({**merged, RULES: rules} if rules else merged, definitions)


def _default(default: Any, schema: dict[str, Any]) -> Any:
    """What the API server should fill in. Whole objects: it checks their rules before it fills in their
    fields."""
    if isinstance(default, dict) and "properties" in schema:
        fields = {name: _default(value, schema["properties"][name]) for name, value in default.items()}
        return {name: value for name, value in fields.items() if value is not None}
    return None if default in ([], {}) else default


def _without_defaults(schema: dict[str, Any]) -> dict[str, Any]:
    """A status holds what the operator wrote and nothing else: a default would come back as a difference."""
    schema = {key: value for key, value in schema.items() if key != "default"}
    if "properties" in schema:
        fields = schema["properties"].items()
        schema["properties"] = {name: _without_defaults(child) for name, child in fields}
    if isinstance(schema.get("items"), dict):
        schema["items"] = _without_defaults(schema["items"])
    return schema


if __name__ == "__main__":
    main()

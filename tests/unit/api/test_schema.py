"""What the CRDs promise, looked up in the CRDs themselves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from odoo_tenancy.api.meta import ApiObject
from odoo_tenancy.api.rules import RULES
from odoo_tenancy.api.schema import KINDS, crd, file_name, open_api_schema, to_yaml

CRDS = Path(__file__).parents[3] / "crds"

MINIMAL: dict[str, dict[str, Any]] = {
    "OdooTenant": {
        "tenancy": "Shared",
        "poolRef": {"name": "eu"},
        "odoo": {"image": "odoo:19.0"},
        "routing": {"hosts": ["acme.example.com"]},
    },
    "HostingPool": {
        "namespace": "odoo-eu",
        "postgres": {"host": "pg", "adminSecretRef": {"name": "pg"}, "connectionBudget": 100},
    },
    "BackupPolicy": {
        "schedule": "@daily",
        "store": {"s3": {"endpoint": "https://s3", "bucket": "odoo", "credentialsSecretRef": {"name": "s3"}}},
        "encryption": {"recoveryKeys": [{"id": "2026a", "secretRef": {"name": "key"}}]},
    },
    "TenantBackup": {"tenantRef": {"name": "acme"}},
    "TenantRestore": {
        "tenantRef": {"name": "acme"},
        "source": {"latest": True},
        "confirm": "acme",
        "notAfter": "2026-11-22T18:00:00Z",
    },
    "RestoreDrill": {"tenantRef": {"name": "acme"}},
    "RestoreDrillSchedule": {"schedule": "@monthly", "tenantRef": {"name": "acme"}},
}

every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)


def nodes(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every part of the schema with its path."""
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        if f"{path}.{name}" != ".metadata":
            yield from nodes(child, f"{path}.{name}")
    for inner in ("items", "additionalProperties"):
        if inner in schema:
            yield from nodes(schema[inner], f"{path}[]")


def defaulted(value: Any, schema: dict[str, Any]) -> Any:
    """What the API server makes of ``value``."""
    if isinstance(value, list):
        return [defaulted(item, schema["items"]) for item in value]
    if not isinstance(value, dict) or "properties" not in schema:
        return value
    fields = schema["properties"]
    filled = {**{name: field["default"] for name, field in fields.items() if "default" in field}, **value}
    return {name: defaulted(item, fields[name]) for name, item in filled.items()}


def without_empties(value: Any) -> Any:
    """An absent list, map or object says the same as an empty one."""
    if isinstance(value, dict):
        kept = {name: without_empties(item) for name, item in value.items()}
        return {name: item for name, item in kept.items() if item not in ({}, [], None)}
    return [without_empties(item) for item in value] if isinstance(value, list | tuple) else value


@every_kind
def test_the_folder_is_what_the_models_generate(kind: type[ApiObject]) -> None:
    written = (CRDS / file_name(kind)).read_text(encoding="utf-8")
    assert written == to_yaml(crd(kind)), "crds/ differs from operator/odoo_tenancy/api: run `make crds`"


def test_the_folder_has_every_kind_and_installs_it() -> None:
    names = {file_name(kind) for kind in KINDS}
    assert {path.name for path in CRDS.glob("*.yaml")} - {"kustomization.yaml"} == names
    assert set(yaml.safe_load((CRDS / "kustomization.yaml").read_text())["resources"]) == names


@every_kind
def test_every_field_is_documented(kind: type[ApiObject]) -> None:
    bare = [
        f"{path}.{name}"
        for path, node in nodes(open_api_schema(kind))
        for name, field in node.get("properties", {}).items()
        if len(field.get("description", "")) < 4
    ]
    assert set(bare) <= {".apiVersion", ".kind", ".metadata"}


@every_kind
def test_everything_has_a_bound(kind: type[ApiObject]) -> None:
    unbounded = []
    for path, node in nodes(open_api_schema(kind)):
        of_type = "string" if node.get("x-kubernetes-int-or-string") else node.get("type")
        bounded = {
            "string": "maxLength" in node or "enum" in node or node.get("format") == "date-time",
            "array": "maxItems" in node,
            "object": "maxProperties" in node or "properties" in node,
        }
        if not bounded.get(str(of_type), True):
            unbounded.append(path)
    assert set(unbounded) <= {".apiVersion", ".kind"}


@every_kind
def test_lists_say_how_they_merge(kind: type[ApiObject]) -> None:
    arrays = [(path, node) for path, node in nodes(open_api_schema(kind)) if node.get("type") == "array"]
    assert [path for path, node in arrays if "x-kubernetes-list-type" not in node] == []
    conditions = dict(arrays)[".status.conditions"]
    assert conditions["x-kubernetes-list-map-keys"] == ["type"]


@every_kind
def test_the_schema_is_structural(kind: type[ApiObject]) -> None:
    for path, node in nodes(open_api_schema(kind)):
        assert not {"$ref", "$defs", "anyOf", "allOf", "oneOf", "const", "title"} & node.keys(), path
        assert "type" in node or node.get("x-kubernetes-int-or-string"), path


@every_kind
def test_defaults_in_the_schema_are_those_of_the_models(kind: type[ApiObject]) -> None:
    spec_schema = open_api_schema(kind)["properties"]["spec"]
    minimal = MINIMAL[kind.__name__]
    parsed = kind.parse({"metadata": {"name": "it"}, "spec": minimal})
    dumped = parsed.model_dump(mode="json", by_alias=True)["spec"]
    assert without_empties(dumped) == without_empties(defaulted(minimal, spec_schema))


@every_kind
def test_a_status_has_no_defaults(kind: type[ApiObject]) -> None:
    status = open_api_schema(kind)["properties"]["status"]
    assert [path for path, node in nodes(status) if "default" in node] == []


@every_kind
def test_columns_show_fields_that_exist(kind: type[ApiObject]) -> None:
    paths = {path for path, _ in nodes(open_api_schema(kind))}
    for column in kind.definition.columns:
        path = column.path.split("[?", 1)[0]
        assert path in paths or path == ".metadata.creationTimestamp", column


@every_kind
def test_every_rule_has_a_message_and_a_field_that_exists(kind: type[ApiObject]) -> None:
    tree = dict(nodes(open_api_schema(kind)))
    for path, node in tree.items():
        for rule in node.get(RULES, ()):
            assert len(rule["message"]) > 20, (path, rule)
            assert path + rule.get("fieldPath", "") in {*tree, ".metadata.name"}, (path, rule)


def test_names_are_as_documented() -> None:
    assert {kind.__name__: (kind.definition.scope, kind.definition.short_name) for kind in KINDS} == {
        "OdooTenant": ("Namespaced", "otn"),
        "BackupPolicy": ("Namespaced", "obp"),
        "RestoreDrill": ("Namespaced", "odr"),
        "RestoreDrillSchedule": ("Namespaced", "ods"),
        "TenantBackup": ("Namespaced", "otb"),
        "TenantRestore": ("Namespaced", "otr"),
        "HostingPool": ("Cluster", "ohp"),
    }
    assert all(crd(kind)["spec"]["names"]["categories"] == ["odoo"] for kind in KINDS)

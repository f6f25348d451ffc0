"""Read access for others: which peers the way is opened for, and what the Secret says."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest
from tests.unit.desired.conftest import CLAIM

from odoo_tenancy.api.errors import Refused
from odoo_tenancy.desired import read_only, tenant
from odoo_tenancy.desired.context import TenantContext

MakeContext = Callable[..., TenantContext]
METABASE = {"matchLabels": {"app": "metabase"}}


def names_selected(make_context: MakeContext, *peers: dict[str, Any], **spec: Any) -> list[Any]:
    access = {"enabled": True, "peers": list(peers)}
    ctx = make_context(tenant={"database": {"readOnlyAccess": access}, **spec})
    return [policy["spec"]["podSelector"]["matchLabels"] for policy in read_only.policies(ctx)]


def here(**labels: str) -> dict[str, Any]:
    return {"namespaceSelector": {"matchLabels": labels}, "podSelector": METABASE}


def test_pods_beside_odoo_are_let_out(make_context: MakeContext) -> None:
    by_name = here(**{"kubernetes.io/metadata.name": "odoo-acme"})
    by_claim = here(**{"odootenancy.io/claim": CLAIM})
    everywhere: dict[str, Any] = {"namespaceSelector": {}}
    found = names_selected(make_context, by_name, by_claim, everywhere)
    assert found == [{"app": "metabase"}, {"app": "metabase"}, {}]


def test_who_is_elsewhere_is_not_ours_to_let_out(make_context: MakeContext) -> None:
    other = here(**{"kubernetes.io/metadata.name": "odoo-initech"})
    unknown = here(**{"kubernetes.io/metadata.name": "odoo-acme", "team": "reporting"})
    assert names_selected(make_context, other, unknown, {"cidr": "198.51.100.7/32"}) == []


def test_nobody_speaks_for_its_neighbours_in_a_shared_namespace(make_context: MakeContext) -> None:
    assert names_selected(make_context, {"namespaceSelector": {}}, tenancy="Shared") == []


def test_expressions_are_refused(make_context: MakeContext) -> None:
    expression = {"key": "app", "operator": "Exists"}
    with pytest.raises(Refused, match="use matchLabels") as raised:
        names_selected(make_context, {"namespaceSelector": {"matchExpressions": [expression]}})
    assert raised.value.reason == "NotSupported"


def test_what_is_not_enabled_makes_nothing(make_context: MakeContext) -> None:
    peers: list[dict[str, Any]] = [{"namespaceSelector": {}}]
    ctx = make_context(tenant={"database": {"readOnlyAccess": {"peers": peers}}})
    assert tenant.reporting(ctx) == []
    assert read_only.policies(ctx) == []


def test_the_secret_has_a_uri_that_clients_read(make_context: MakeContext) -> None:
    ctx = make_context(tenant={"database": {"readOnlyAccess": {"enabled": True}}})
    (secret,) = tenant.reporting(ctx)
    assert (secret["metadata"]["namespace"], secret["metadata"]["name"]) == ("tenants", "acme-readonly")
    values = {key: base64.b64decode(value).decode() for key, value in secret["data"].items()}
    assert values["uri"] == (
        f"postgresql://t_{CLAIM}_ro:credential-of-the-reader@postgres.odoo-data.svc:5432/t_{CLAIM}"
        "?sslmode=verify-full"
    )
    assert values["ca.crt"].startswith("-----BEGIN CERTIFICATE")

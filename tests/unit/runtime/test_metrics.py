"""Requests are counted by the audit log's verbs and by kind, never by name."""

from __future__ import annotations

import pytest
from yarl import URL

from odoo_tenancy.runtime.metrics import _verb_and_kind

OURS = "/apis/odootenancy.io/v1alpha1"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/odoo-tenancy-system/leases"


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", f"{OURS}/odootenants?watch=true", ("watch", "OdooTenant")),
        ("GET", f"{OURS}/odootenants?limit=250", ("list", "OdooTenant")),
        ("GET", f"{OURS}/namespaces/tenants/odootenants?watch=true", ("watch", "OdooTenant")),
        ("GET", f"{OURS}/namespaces/tenants/odootenants/acme", ("get", "OdooTenant")),
        ("PATCH", f"{OURS}/namespaces/tenants/odootenants/acme/status", ("patch", "OdooTenant")),
        ("GET", f"{LEASES}/odoo-tenancy", ("get", "Lease")),
        ("PUT", f"{LEASES}/odoo-tenancy", ("update", "Lease")),
        ("POST", LEASES, ("create", "Lease")),
        ("GET", "/api/v1/namespaces", ("list", "Namespace")),
        ("GET", "/api/v1/namespaces/odoo-acme", ("get", "Namespace")),
        ("DELETE", "/api/v1/namespaces/odoo-acme/secrets/odoo-conf", ("delete", "Secret")),
        ("GET", "/apis", ("get", "other")),
        ("GET", OURS, ("get", "other")),
    ],
)
def test_a_request_is_named_by_verb_and_kind(method: str, path: str, expected: tuple[str, str]) -> None:
    assert _verb_and_kind(method, URL(f"https://api:6443{path}")) == expected

"""Tenants and pools as an API server would return them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from odoo_tenancy.api.meta import API_VERSION
from odoo_tenancy.api.pool import HostingPool
from odoo_tenancy.api.tenant import OdooTenant
from odoo_tenancy.reconcile.memory import PoolState, TenantRecord, record_of

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def tenant(
    name: str, *, hosts: tuple[str, ...] = (), age: int = 0, status: dict[str, Any] | None = None, **spec: Any
) -> OdooTenant:
    """A Shared tenant of pool ``main``; ``age``: seconds before ``BEGIN`` at which it was made."""
    created = (BEGIN - timedelta(seconds=age)).isoformat()
    return OdooTenant.parse(
        {
            "apiVersion": API_VERSION,
            "kind": "OdooTenant",
            "metadata": {
                "name": name,
                "namespace": "tenants",
                "uid": f"uid-{name}",
                "generation": 1,
                "creationTimestamp": created,
            },
            "spec": {
                "tenancy": "Shared",
                "poolRef": {"name": "main"},
                "odoo": {"image": "odoo:19.0"},
                "web": {"replicas": 1, "workers": 0},
                "routing": {"hosts": list(hosts or (f"{name}.example.com",))},
                **spec,
            },
            "status": status or {},
        }
    )


def pool(budget: int = 400, **spec: Any) -> PoolState:
    """Pool ``main``, as it was last looked at."""
    postgres = {"host": "db", "adminSecretRef": {"name": "s"}, "connectionBudget": budget}
    return PoolState.of(
        HostingPool.parse(
            {
                "apiVersion": API_VERSION,
                "kind": "HostingPool",
                "metadata": {"name": "main", "uid": "uid-main"},
                "spec": {"namespace": "odoo-main", "postgres": postgres, **spec},
            }
        )
    )


def known(tenant: OdooTenant) -> TenantRecord:
    """What is remembered of it."""
    return record_of(tenant, "a-cluster")

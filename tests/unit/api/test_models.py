"""Manifests become models, also those that an older or a newer schema let in."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from odoo_tenancy.api.errors import Refused
from odoo_tenancy.api.meta import Key
from odoo_tenancy.api.pool import HostingPool
from odoo_tenancy.api.tenant import OdooTenant

TENANT: dict[str, Any] = {
    "apiVersion": "odootenancy.io/v1alpha1",
    "kind": "OdooTenant",
    "metadata": {"name": "acme", "namespace": "tenants", "uid": "u", "generation": 3},
    "spec": {
        "tenancy": "Shared",
        "poolRef": {"name": "eu-standard"},
        "odoo": {"image": "odoo:19.0"},
        "routing": {"hosts": ["acme.example.com"]},
    },
}


def with_spec(**fields: Any) -> dict[str, Any]:
    return {**TENANT, "spec": {**TENANT["spec"], **fields}}


def test_the_key_names_kind_namespace_and_name() -> None:
    assert OdooTenant.parse(TENANT).key == Key("OdooTenant", "tenants", "acme")
    assert str(Key("OdooTenant", "tenants", "acme")) == "OdooTenant/tenants/acme"
    assert str(Key("HostingPool", "", "eu")) == "HostingPool/eu"


def test_a_quantity_may_be_a_number() -> None:
    tenant = OdooTenant.parse(with_spec(quota={"cpu": 4, "pods": 20}, filestore={"size": 1073741824}))
    assert (tenant.spec.quota.cpu, tenant.spec.quota.pods) == ("4", 20)
    assert tenant.spec.filestore.size == "1073741824"


def test_names_with_an_abbreviation_are_read() -> None:
    web = {"autoscaling": {"maxReplicas": 4, "targetCPUUtilization": 55}}
    autoscaling = OdooTenant.parse(with_spec(web=web)).spec.web.autoscaling
    assert autoscaling is not None
    assert autoscaling.target_cpu_utilization == 55


def test_the_status_has_moments_in_time() -> None:
    status = {"backup": {"recoveryPoint": "2026-11-22T18:00:00Z"}, "claim": "0" * 32}
    tenant = OdooTenant.parse({**TENANT, "status": status})
    assert tenant.status.backup.recovery_point == datetime(2026, 11, 22, 18, tzinfo=UTC)
    assert tenant.status.observed_generation == 0


def test_unknown_fields_are_ignored() -> None:
    assert OdooTenant.parse({**with_spec(shape="round"), "status": {"mood": "good"}}) == OdooTenant.parse(
        TENANT
    )


def test_what_the_rules_would_refuse_today_can_still_be_read() -> None:
    tenant = OdooTenant.parse(
        with_spec(routing={"hosts": ["ACME.example.com/"]}, objectives={"rto": "1h30m"})
    )
    assert tenant.spec.routing.hosts == ("ACME.example.com/",)


def test_an_object_that_does_not_fit_is_refused_with_the_field_and_the_mend() -> None:
    with pytest.raises(Refused) as refused:
        OdooTenant.parse(with_spec(tier=7))
    assert refused.value.reason == "InvalidObject"
    assert "acme" in refused.value.message
    assert "spec.tier" in refused.value.message
    assert "Apply it again" in refused.value.message


def test_a_pool_redirects_http_by_default() -> None:
    pool = HostingPool.parse(
        {
            "metadata": {"name": "eu"},
            "spec": {
                "namespace": "odoo-eu",
                "postgres": {"host": "pg", "adminSecretRef": {"name": "pg"}, "connectionBudget": 100},
            },
        }
    )
    assert pool.spec.traefik.redirect_entry_point == "web"
    assert pool.spec.traefik.tls.default_store is True
    assert pool.spec.storage.access_modes == ("ReadWriteMany",)

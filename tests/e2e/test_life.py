"""A tenant's life on a real node: made, changed, stopped, brought back, deleted, taken over."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.odoo_site import OdooSite, browse
from tests.support.tenants import Tenants, until

from odoo_tenancy.api.errors import Refused
from odoo_tenancy.api.tenant import OdooTenant
from odoo_tenancy.cluster.client import Cluster
from odoo_tenancy.cluster.objects import ObjectRef

REPAIRED = 10.0
"""Seconds within which what was taken away is made again."""


async def test_suspended_scales_to_nothing_and_comes_back_with_its_data(
    tenants: Tenants, cluster: Cluster
) -> None:
    await tenants.create("umbrella")
    tenant = await tenants.ready("umbrella")
    partner = await _remember(tenants, tenant, "kept while suspended")

    await tenants.patch("umbrella", {"suspended": True})
    await tenants.says("umbrella", "WorkloadReady", "Suspended")
    assert (await tenants.get("umbrella")).status.phase == "Suspended"
    await until("no pod is left", lambda: _no_pods(cluster, tenant))

    await tenants.patch("umbrella", {"suspended": False})
    await tenants.ready("umbrella")
    assert await _recall(tenants, tenant, partner) == "kept while suspended"
    await tenants.delete("umbrella")


async def test_modules_added_later_are_installed(tenants: Tenants) -> None:
    await tenants.create("hooli")
    tenant = await tenants.ready("hooli")
    await tenants.patch("hooli", {"odoo": {"modules": ["base", "web", "contacts"]}})
    await tenants.ready("hooli", 300)
    async with _logged_in(tenants, tenant) as site:
        wanted = [["name", "=", "contacts"]]
        (module,) = await site.call("ir.module.module", "search_read", wanted, ["state"])
    assert module["state"] == "installed"
    await tenants.delete("hooli")


async def test_an_image_that_cannot_be_pulled_stops_nothing_that_runs(tenants: Tenants) -> None:
    await tenants.patch("initech", {"odoo": {"image": "odoo:no-such-version"}})
    try:
        message = await tenants.says("initech", "WorkloadReady", "ImagePullFailed")
        assert "odoo:no-such-version" in message
        initech = await tenants.get("initech")
        assert initech.status.phase == "Degraded"
        async with browse(initech.status.url) as site:
            assert await site.status("/web/login") == 200
    finally:
        await tenants.patch("initech", {"odoo": {"image": "odoo:19.0"}})
    await tenants.ready("initech")


async def test_an_init_job_that_fails_says_why_and_heals(tenants: Tenants) -> None:
    await tenants.create("vandelay", odoo={"image": "odoo:19.0", "modules": ["base", "no_such_module"]})
    message = await tenants.says("vandelay", "DatabaseReady", "InitializationFailed")
    assert "no_such_module" in message
    assert tenants.condition(await tenants.get("vandelay"), "Stalled").status == "True"
    await tenants.patch("vandelay", {"odoo": {"modules": ["base", "web"]}})
    await tenants.ready("vandelay")
    await tenants.delete("vandelay")


@pytest.mark.parametrize("like", ["acme", "initech"], ids=["Dedicated", "Shared"])
async def test_delete_leaves_nothing(tenants: Tenants, like: str) -> None:
    """``deletion.policy: Delete``; ``Retain`` is below, and ``Backup`` is with the backups."""
    before = tenants.inventory()
    await tenants.create("cyberdyne", like=like)
    tenant = await tenants.ready("cyberdyne")
    await _remember(tenants, tenant, "to be forgotten")
    assert all(tenants.inventory()[kind] > before[kind] for kind in ("databases", "roles", "directories"))
    assert tenants.marked(tenant)
    await tenants.delete("cyberdyne")

    async def as_before() -> bool:
        return tenants.inventory() == before and not tenants.marked(tenant)

    await until("everything of cyberdyne is gone", as_before, 60)


async def test_what_is_retained_is_taken_over_and_by_nobody_else(tenants: Tenants, cluster: Cluster) -> None:
    await tenants.create("soylent", like="acme", deletion={"policy": "Retain"})
    tenant = await tenants.ready("soylent")
    claim = tenant.status.claim
    partner = await _remember(tenants, tenant, "survived its tenant")
    attachment = await _attach(tenants, tenant, "and so did this file")
    await tenants.delete("soylent")

    await tenants.create("soylent", like="acme", adopt={"claim": claim})
    tenant = await tenants.ready("soylent")
    assert tenant.status.claim == claim
    assert await _recall(tenants, tenant, partner) == "survived its tenant"
    assert await _content(tenants, tenant, attachment) == "and so did this file"
    await tenants.delete("soylent")


async def test_the_deployment_comes_back_and_with_it_the_site(tenants: Tenants, cluster: Cluster) -> None:
    acme = await tenants.get("acme")
    ref = ObjectRef("apps/v1", "Deployment", acme.status.namespace, "odoo-web")
    before = await cluster.get(ref)
    assert before is not None
    await cluster.delete(ref)

    async def another() -> dict[str, Any] | None:
        live = await cluster.get(ref)
        return live if live is not None and live["metadata"]["uid"] != before["metadata"]["uid"] else None

    async def serves() -> bool:
        live = await another()
        return live is not None and live.get("status", {}).get("availableReplicas", 0) > 0

    await until("another Deployment is made", another, REPAIRED, every=0.1)
    await until("it serves", serves, 120)
    async with browse(acme.status.url) as site:

        async def answers() -> bool:
            return await site.status("/web/login") == 200

        await until("the site answers again", answers, 30)
    await tenants.ready("acme")
    events = tenants.kubectl("-n", "tenants", "get", "events", "-o", "jsonpath={..message}")
    assert "Deployment odoo-acme/odoo-web was deleted" in events


def _logged_in(tenants: Tenants, tenant: OdooTenant) -> _LoggedIn:
    return _LoggedIn(tenants, tenant)


class _LoggedIn:
    """A browser that the administrator is logged in with."""

    def __init__(self, tenants: Tenants, tenant: OdooTenant) -> None:
        self._tenants, self._tenant = tenants, tenant
        self._browser = browse(tenant.status.url)

    async def __aenter__(self) -> OdooSite:
        site = await self._browser.__aenter__()
        password = await self._tenants.password(self._tenant.metadata.name)

        async def served() -> bool:
            return await site.status("/web/login") == 200

        await until(f"{self._tenant.status.url} answers", served, 60)
        assert await site.log_in("admin", password)
        return site

    async def __aexit__(self, *error: object) -> None:
        await self._browser.__aexit__(None, None, None)


async def _remember(tenants: Tenants, tenant: OdooTenant, name: str) -> int:
    async with _logged_in(tenants, tenant) as site:
        return int(await site.call("res.partner", "create", {"name": name}))


async def _recall(tenants: Tenants, tenant: OdooTenant, partner: int) -> str:
    async with _logged_in(tenants, tenant) as site:
        (found,) = await site.call("res.partner", "read", [partner], ["name"])
    return str(found["name"])


async def _attach(tenants: Tenants, tenant: OdooTenant, content: str) -> int:
    async with _logged_in(tenants, tenant) as site:
        values = {"name": "note.txt", "raw": content}
        return int(await site.call("ir.attachment", "create", values))


async def _content(tenants: Tenants, tenant: OdooTenant, attachment: int) -> str:
    async with _logged_in(tenants, tenant) as site:
        (found,) = await site.call("ir.attachment", "read", [attachment], ["raw", "store_fname"])
    assert found["store_fname"], "kept in the database, not in the filestore"
    return str(found["raw"])


async def _no_pods(cluster: Cluster, tenant: OdooTenant) -> bool:
    selector = f"odootenancy.io/tenant-uid={tenant.metadata.uid}"
    return not await cluster.list("v1", "Pod", tenant.status.namespace, label_selector=selector)


async def test_a_protected_tenant_is_not_deleted(tenants: Tenants, cluster: Cluster) -> None:
    await tenants.patch("acme", {"deletion": {"protected": True}})
    try:
        with pytest.raises(Refused, match=r"acme is protected: set spec\.deletion\.protected to false"):
            await cluster.delete(tenants.ref("acme"))
    finally:
        await tenants.patch("acme", {"deletion": {"protected": False}})
    assert (await tenants.get("acme")).metadata.deletion_timestamp is None

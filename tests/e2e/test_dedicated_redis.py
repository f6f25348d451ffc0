"""A Redis of a tenant's own on a real node: sessions in it, nobody else at it, and nothing of it afterwards."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.e2e.test_sessions import log_in, who
from tests.support.odoo_site import browse
from tests.support.reach import PROBE
from tests.support.tenants import Tenants, until

from odoo_tenancy.api.tenant import OdooTenant
from odoo_tenancy.cluster.client import Cluster
from odoo_tenancy.cluster.objects import ObjectRef

DATA = "odoo-procyon-data"
SERVER = f"redis.{DATA}.svc:6379"


@pytest.fixture
async def procyon(tenants: Tenants) -> AsyncIterator[OdooTenant]:
    """A tenant with a Redis of its own."""
    await tenants.create("procyon", like="acme", redis={"placement": "Dedicated", "maxMemory": "32Mi"})
    yield await tenants.ready("procyon")
    if "procyon" in tenants.made:
        await tenants.delete("procyon")


async def test_it_keeps_sessions_and_nobody_else_reaches_it(
    tenants: Tenants, cluster: Cluster, procyon: OdooTenant
) -> None:
    acme = await tenants.get("acme")
    assert await tenants.python(procyon, PROBE, SERVER) == {SERVER: "open"}
    assert (await tenants.python(acme, PROBE, SERVER))[SERVER] != "open"

    async with browse(procyon.status.url) as site:
        await log_in(tenants, site, "procyon")
        keys = await _own_keys(tenants)
        assert keys > 0, "the session is not in it"
        before = _uid(await cluster.get(_pod()))
        tenants.kubectl("-n", DATA, "delete", "pod", "redis-0")

        async def another() -> bool:
            return _uid(await cluster.get(_pod())) not in ("", before)

        await until("another Redis runs", another, 90)
        assert await until("the site answers", lambda: who(site), 90) == "admin", "logged in as before"
    await tenants.ready("procyon")

    before_it_goes = tenants.inventory()
    assert f"namespace/{DATA}" in before_it_goes["namespaces"]
    await tenants.delete("procyon")

    async def gone() -> bool:
        now = tenants.inventory()
        left = {name for kind in now.values() for name in kind if "procyon" in name}
        return not left and len(now["volumes"]) == len(before_it_goes["volumes"]) - 2

    await until("namespaces and both volumes of procyon are gone", gone, 60)


async def _own_keys(tenants: Tenants) -> int:
    """By its own log of what it wrote: nobody but its tenant's pods may ask it for keys."""
    size = tenants.kubectl(
        "-n", DATA, "exec", "redis-0", "--", "sh", "-c", "cat /data/appendonlydir/*.aof | grep -c session"
    )
    return int(size)


def _pod() -> ObjectRef:
    return ObjectRef("v1", "Pod", DATA, "redis-0")


def _uid(pod: dict[str, object] | None) -> str:
    """Of a pod that runs and stays; else empty."""
    if pod is None:
        return ""
    metadata, status = pod["metadata"], pod["status"]
    assert isinstance(metadata, dict)
    assert isinstance(status, dict)
    ready = any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions", []))
    return str(metadata["uid"]) if ready and "deletionTimestamp" not in metadata else ""

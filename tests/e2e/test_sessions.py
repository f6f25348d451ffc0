"""Sessions in the pool's Redis: they outlive the pod that made them, and Redis itself."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from tests.support.odoo_site import OdooSite, browse
from tests.support.tenants import Tenants, until

from odoo_tenancy.api.tenant import OdooTenant
from odoo_tenancy.cluster.client import Cluster
from odoo_tenancy.cluster.objects import ObjectRef

REDIS = ObjectRef("apps/v1", "StatefulSet", "odoo-data", "redis")


@pytest.fixture
async def replicated(tenants: Tenants) -> AsyncIterator[OdooTenant]:
    """A tenant with two web pods."""
    await tenants.create("sirius", like="acme", web={"replicas": 2, "workers": 0})
    yield await tenants.ready("sirius")
    await tenants.delete("sirius")


async def test_who_is_logged_in_stays_so_when_the_pod_is_killed(
    tenants: Tenants, cluster: Cluster, replicated: OdooTenant
) -> None:
    async with browse(replicated.status.url) as site:
        await log_in(tenants, site, "sirius")
        first = await web_pods(cluster, replicated)
        assert len(first) == 2
        for pod in first:  # whichever of them served
            kill(tenants, pod)
            assert await until("the site answers", lambda: who(site), 60) == "admin"

            async def two_again() -> bool:
                return len(await web_pods(cluster, replicated)) == 2

            await until("two pods serve again", two_again, 120)
        assert not set(first) & set(await web_pods(cluster, replicated))
        assert await who(site) == "admin"


async def test_redis_away_is_said_and_mends_itself(tenants: Tenants) -> None:
    acme = await tenants.get("acme")
    pods = await tenants.pod(acme, "web")
    async with browse(acme.status.url) as site:
        await log_in(tenants, site, "acme")
        with redis_stopped(tenants):
            await tenants.says("acme", "RedisReady", "RedisUnreachable")

            async def unavailable() -> bool:
                return (
                    await site.status("/web/session/get_session_info") == 503
                    or await site.status("/odoo") == 503
                )

            await until("the site says that it is unavailable", unavailable, 60)
            assert await site.status("/web/health") in (200, 503)
        await until("logged in as before", lambda: who(site), 60)
    await tenants.ready("acme")
    assert (await tenants.pod(acme, "web"))["metadata"]["uid"] == pods["metadata"]["uid"], (
        "no pod was replaced"
    )


async def log_in(tenants: Tenants, site: OdooSite, name: str) -> None:
    """As administrator, as soon as the site is served."""

    async def served() -> bool:
        return await site.status("/web/login") == 200

    await until(f"{site.url} answers", served, 60)
    assert await site.log_in("admin", await tenants.password(name))


async def who(site: OdooSite) -> str | None:
    """The login of the session; ``None`` while the site gives no answer."""
    body: dict[str, Any] = {"jsonrpc": "2.0", "method": "call", "params": {}}
    async with site.session.post(f"{site.url}/web/session/get_session_info", json=body) as answer:
        if answer.status != 200:
            return None
        result = await answer.json(content_type=None)
    return (
        str(result["result"]["username"]) if "result" in result else f"nobody: {result['error']['message']}"
    )


async def web_pods(cluster: Cluster, tenant: OdooTenant) -> dict[str, str]:
    """Those that are Ready and stay: name and namespace."""
    selector = f"odootenancy.io/tenant-uid={tenant.metadata.uid},app.kubernetes.io/component=web"
    live = await cluster.list("v1", "Pod", tenant.status.namespace, label_selector=selector)
    return {
        pod["metadata"]["name"]: pod["metadata"]["namespace"]
        for pod in live
        if "deletionTimestamp" not in pod["metadata"]
        and any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", []))
    }


def kill(tenants: Tenants, pod: str) -> None:
    """At once, as a node that dies does."""
    tenants.kubectl("-n", "odoo-sirius", "delete", "pod", pod, "--grace-period=0", "--force")


@contextmanager
def redis_stopped(tenants: Tenants) -> Iterator[None]:
    where = ["-n", REDIS.namespace]
    tenants.kubectl(*where, "scale", "statefulset", REDIS.name, "--replicas=0")
    tenants.kubectl(*where, "wait", "--for=delete", "pod/redis-0", "--timeout=60s")
    try:
        yield
    finally:
        tenants.kubectl(*where, "scale", "statefulset", REDIS.name, "--replicas=1")
        tenants.kubectl(*where, "rollout", "status", "statefulset", REDIS.name, "--timeout=90s")

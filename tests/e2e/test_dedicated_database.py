"""A tenant with a PostgreSQL of its own, on a real CloudNativePG: what it reaches, and a failover under load."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.e2e.test_cloudnative_pg import kubectl
from tests.support.failover import fail_over_under_load
from tests.support.odoo_site import browse
from tests.support.tenants import NAMESPACE, Tenants, until

from devcluster.kubectl import Kubectl
from odoo_tenancy.api.tenant import OdooTenant

__all__ = ["kubectl"]

NAME = "lyra"
DATABASE = {"placement": "Dedicated", "dedicated": {"instances": 2, "storage": "1Gi"}}
REACH = """
import json, socket, sys
def reached(address):
    host, port = address.rsplit(":", 1)
    try:
        socket.create_connection((host, int(port)), 3).close()
    except OSError:
        return False
    return True
print(json.dumps({address: reached(address) for address in sys.argv[1:]}))
"""


@pytest.fixture(scope="module")
async def lyra(tenants: Tenants, kubectl: Kubectl) -> AsyncIterator[OdooTenant]:
    """Gone with its servers before CloudNativePG goes."""
    await tenants.create(NAME, like="acme", tier="Sandbox", database=DATABASE)
    try:
        yield await tenants.ready(NAME, 600)
    finally:
        await tenants.delete(NAME, 300)
        where = json.loads(kubectl.do("Namespaces", "get", "namespace", "-o", "json"))["items"]
        assert not [n["metadata"]["name"] for n in where if n["metadata"]["name"] == f"odoo-{NAME}-data"]


def instances(kubectl: Kubectl, where: str) -> list[dict[str, Any]]:
    words = (
        "-n",
        where,
        "get",
        "pod",
        "-l",
        "cnpg.io/cluster=postgres,cnpg.io/podRole=instance",
        "-o",
        "json",
    )
    return list(json.loads(kubectl.do("Instances", *words))["items"])


async def test_its_administrator_logs_in(tenants: Tenants, lyra: OdooTenant, kubectl: Kubectl) -> None:
    assert lyra.status.database.host == f"postgres-rw.{lyra.status.namespace}-data.svc"
    assert len(instances(kubectl, f"{lyra.status.namespace}-data")) == 2
    password = await tenants.password(NAME)
    async with browse(lyra.status.url) as site:
        await until("its administrator logs in", lambda: site.log_in("admin", password))


async def test_its_pods_reach_postgresql_and_nothing_else_of_it(
    tenants: Tenants, lyra: OdooTenant, kubectl: Kubectl
) -> None:
    addresses = [pod["status"]["podIP"] for pod in instances(kubectl, f"{lyra.status.namespace}-data")]
    asked = [f"{address}:{port}" for address in addresses for port in (5432, 8000, 9187)]
    found = await tenants.python(lyra, REACH, *asked, "postgres.odoo-data.svc:5432")
    assert {address for address, reached in found.items() if reached} == {f"{a}:5432" for a in addresses}


async def test_nobody_elses_pods_reach_it(tenants: Tenants, lyra: OdooTenant, kubectl: Kubectl) -> None:
    acme = await tenants.get("acme")
    host = lyra.status.database.host
    addresses = [pod["status"]["podIP"] for pod in instances(kubectl, f"{lyra.status.namespace}-data")]
    found = await tenants.python(acme, REACH, f"{host}:5432", *(f"{a}:5432" for a in addresses))
    assert not [address for address, reached in found.items() if reached]


async def test_a_failover_is_over_by_itself_and_loses_nothing_acknowledged(
    tenants: Tenants, lyra: OdooTenant
) -> None:
    done = await fail_over_under_load(tenants.kubectl, NAMESPACE, NAME, await tenants.password(NAME))
    print(
        f"{len(done.requests)} requests, {len(done.lost)} lost, the last began {done.seconds:.1f} s after; "
        f"whole again after {done.whole_again:.1f} s; {done.primaries}",
        flush=True,
    )
    assert done.primaries[0] != done.primaries[1], "nothing failed over: the test shows nothing"
    assert done.seconds < 60, [f"{r.began - done.began:.1f} s: {r.problem}" for r in done.lost[-5:]]
    assert done.written_later > 0
    assert done.missing == 0, "what was acknowledged is there"
    await tenants.ready(NAME, 120)

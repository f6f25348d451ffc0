"""Who can reach whom. Each refusal is seen to be one: the same address answers once the policies are gone."""

from __future__ import annotations

import base64
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import pytest
from tests.support.tenants import OPERATOR, Tenants, until

from odoo_tenancy.api.tenant import OdooTenant
from odoo_tenancy.cluster.client import Cluster
from odoo_tenancy.cluster.objects import ObjectRef

METADATA = "169.254.169.254"

PROBE = """
import json, socket, sys, threading
found = {}
def look(target):
    host, _, port = target.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=4).close()
        found[target] = "open"
    except OSError as error:
        found[target] = type(error).__name__
threads = [threading.Thread(target=look, args=(t,)) for t in sys.argv[1:]]
[t.start() for t in threads]
[t.join() for t in threads]
print(json.dumps(found))
"""

LOGIN = """
import json, sys, psycopg2
host, user, password, database = sys.argv[1:]
try:
    psycopg2.connect(host=host, user=user, password=password, dbname=database, connect_timeout=10).close()
    print(json.dumps("in"))
except psycopg2.OperationalError as error:
    print(json.dumps(str(error)))
"""


@dataclass(frozen=True)
class Landscape:
    """Addresses that a tenant's pod must not reach, by what they are."""

    forbidden: dict[str, str]
    allowed: dict[str, str]


@pytest.fixture(scope="module")
async def globex(tenants: Tenants) -> AsyncIterator[OdooTenant]:
    """A neighbour of initech's, in the same shared namespace."""
    await tenants.create("globex", like="initech")
    yield await tenants.ready("globex")
    await tenants.delete("globex")


@pytest.fixture(scope="module")
def metadata_service() -> Iterator[None]:
    """A listener at the address where clouds hand out credentials, on this machine's own loopback."""
    subprocess.run(["ip", "address", "add", f"{METADATA}/32", "dev", "lo"], check=True)
    server = subprocess.Popen(
        [sys.executable, "-m", "http.server", "--bind", METADATA, "80"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for_listener(METADATA, 80)
        yield
    finally:
        server.kill()
        server.wait()
        subprocess.run(["ip", "address", "del", f"{METADATA}/32", "dev", "lo"], check=True)


def _wait_for_listener(host: str, port: int) -> None:
    deadline = time.monotonic() + 15
    while True:
        try:
            socket.create_connection((host, port), timeout=1).close()
            return
        except OSError:
            assert time.monotonic() < deadline, f"nothing listens at {host}:{port}"
            time.sleep(0.05)  # a poll of a condition


async def landscape(tenants: Tenants, cluster: Cluster, others: list[OdooTenant]) -> Landscape:
    """Where everything is right now: pods come and go."""
    forbidden: dict[str, str] = {}
    for other in others:
        name = other.metadata.name
        pod = (await tenants.pod(other, "web"))["status"]["podIP"]
        forbidden[f"{name}'s web pod"] = f"{pod}:8069"
        if other.spec.web.workers:
            forbidden[f"{name}'s websocket"] = f"{pod}:8072"
        services = await cluster.list(
            "v1",
            "Service",
            other.status.namespace,
            label_selector=f"odootenancy.io/tenant-uid={other.metadata.uid}",
        )
        forbidden[f"{name}'s Service"] = f"{services[0]['spec']['clusterIP']}:8069"
    (node,) = await cluster.list("v1", "Node")
    address = next(a["address"] for a in node["status"]["addresses"] if a["type"] == "InternalIP")
    kubernetes = await cluster.get(ObjectRef("v1", "Service", "default", "kubernetes"))
    assert kubernetes is not None
    forbidden |= {
        "API server": f"{kubernetes['spec']['clusterIP']}:443",
        "kubelet": f"{address}:10250",
        "metadata service": f"{METADATA}:80",
    }
    allowed = {"PostgreSQL": "postgres.odoo-data.svc:5432"}
    return Landscape(forbidden, allowed)


async def probe(tenants: Tenants, source: OdooTenant, targets: dict[str, str]) -> dict[str, str]:
    """What a web pod of the tenant finds at each address."""
    found = await tenants.python(source, PROBE, *targets.values())
    return {what: found[address] for what, address in targets.items()}


async def test_nobody_reaches_what_is_not_his(
    tenants: Tenants, cluster: Cluster, globex: OdooTenant, metadata_service: None
) -> None:
    acme, initech = await tenants.get("acme"), await tenants.get("initech")
    pairs = [(acme, [initech]), (initech, [acme, globex]), (globex, [initech])]

    for source, others in pairs:
        ground = await landscape(tenants, cluster, others)
        found = await probe(tenants, source, ground.forbidden)
        assert "open" not in found.values(), f"from {source.metadata.name}: {found}"
        found = await probe(tenants, source, ground.allowed)
        assert set(found.values()) == {"open"}, f"from {source.metadata.name}: {found}"

    namespaces = {t.status.namespace for t in (acme, initech)}
    with tenants.operator_stopped():
        for namespace in namespaces:
            tenants.kubectl("-n", namespace, "delete", "networkpolicy", "--all")
        for source, others in pairs:
            ground = await landscape(tenants, cluster, others)

            async def all_answer(source: OdooTenant = source, ground: Landscape = ground) -> bool:
                return set((await probe(tenants, source, ground.forbidden)).values()) == {"open"}

            await until(f"without policies all answers to {source.metadata.name}", all_answer, 60)

    for source, others in pairs:

        async def none_answers(source: OdooTenant = source, others: list[OdooTenant] = others) -> bool:
            ground = await landscape(tenants, cluster, others)
            return "open" not in (await probe(tenants, source, ground.forbidden)).values()

        await until(f"the operator shut {source.metadata.name} in again", none_answers, 60)


async def test_a_password_opens_its_own_database_and_no_other(
    tenants: Tenants, cluster: Cluster, globex: OdooTenant
) -> None:
    host = "postgres.odoo-data.svc"
    all_of_them = [await tenants.get("acme"), await tenants.get("initech"), globex]
    passwords = {t.metadata.name: await _database_password(cluster, t.status.claim) for t in all_of_them}
    for source in all_of_them:
        mine = passwords[source.metadata.name]
        role = f"t_{source.status.claim}_a"
        own = await tenants.python(source, LOGIN, host, role, mine, f"t_{source.status.claim}")
        assert own == "in"
        for other in all_of_them:
            if other is source:
                continue
            theirs = f"t_{other.status.claim}"
            as_myself = await tenants.python(source, LOGIN, host, role, mine, theirs)
            assert "permission denied for database" in as_myself
            as_them = await tenants.python(source, LOGIN, host, f"{theirs}_a", mine, theirs)
            assert "password authentication failed" in as_them
            as_owner = await tenants.python(source, LOGIN, host, theirs, mine, theirs)
            assert "failed" in as_owner or "not permitted to log in" in as_owner


async def test_pods_have_no_token_and_no_rights(tenants: Tenants) -> None:
    script = (
        "import json, os; print(json.dumps([os.path.exists('/var/run/secrets/kubernetes.io'), os.getuid()]))"
    )
    for name in ("acme", "initech"):
        token, uid = await tenants.python(await tenants.get(name), script)
        assert not token
        assert uid == 100


async def test_a_policy_of_somebody_elses_is_seen_and_named(tenants: Tenants, cluster: Cluster) -> None:
    acme = await tenants.get("acme")
    policy = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "let-everybody-in", "namespace": acme.status.namespace},
        "spec": {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{}]},
    }
    await cluster.create(policy)
    try:
        message = await tenants.says("acme", "NetworkIsolated", "OpenedByStranger", 30)
        assert "let-everybody-in" in message
    finally:
        await cluster.delete(ObjectRef.of(policy))
    await tenants.ready("acme", 60)


async def _database_password(cluster: Cluster, claim: str) -> str:
    live = await cluster.get(ObjectRef("v1", "Secret", OPERATOR.namespace, f"tenant-{claim}"))
    assert live is not None
    return base64.b64decode(live["data"]["database-password"]).decode()

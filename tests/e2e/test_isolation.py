"""Who can reach whom, of two Dedicated and two Shared tenants: each from the pods of each of the others.

Each refusal is seen to be one: the same address answers once the policies are gone.
"""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.support.loopback import listening
from tests.support.reach import METADATA, infrastructure, ports_of, probe
from tests.support.tenants import NAMESPACE, OPERATOR, Tenants, until

from odoo_tenancy.api.tenant import OdooTenant
from odoo_tenancy.cluster.client import Cluster
from odoo_tenancy.cluster.objects import ObjectRef

OUTSIDE, RELAY, CLOSED = "203.0.113.25", 587, 2525
"""An address outside the cluster, a port of it that some tenants' ``network.egress`` names, and one that nobody's does."""
EGRESS = {"egress": [{"cidr": f"{OUTSIDE}/32", "ports": [RELAY]}]}
SHUT_IN = 60.0
"""From an operator that starts until all policies are there again, in seconds."""

LISTENER = """
import socket, sys
server = socket.create_server(("0.0.0.0", 8069), backlog=1024)
print("listens", flush=True)
sys.stdin.read()
"""
"""For a pod that has no port of its own; ends with who started it."""

RESOLVE = """
import json, socket
resolver = open("/etc/resolv.conf").read().split("nameserver ")[1].split()[0]
socket.create_connection((resolver, 53), timeout=4).close()
print(json.dumps(socket.gethostbyname("kubernetes.default.svc.cluster.local")))
"""
"""Over UDP a whole lookup, over TCP a connection."""

LOGIN = """
import json, sys, psycopg2
host, attempts = sys.argv[1], json.loads(sys.argv[2])
found = {}
for user, password, database in attempts:
    try:
        psycopg2.connect(host=host, user=user, password=password, dbname=database, connect_timeout=10).close()
        found[f"{user} {database}"] = "in"
    except psycopg2.OperationalError as error:
        found[f"{user} {database}"] = str(error)
print(json.dumps(found))
"""


@dataclass(frozen=True)
class Landscape:
    """Addresses by what they are, as one tenant's pods should find them."""

    forbidden: dict[str, str]
    allowed: dict[str, str]


@pytest.fixture(scope="module")
async def four(tenants: Tenants) -> AsyncIterator[list[OdooTenant]]:
    """The two of the examples, and a neighbour of each kind that may reach a relay outside."""
    workers, quota = (
        {"replicas": 1, "workers": 2},
        {"cpu": "8", "memory": "12Gi", "storage": "10Gi", "pods": 10},
    )
    await tenants.create("globex", like="initech", web=workers, quota=quota, network=EGRESS)
    await tenants.create("tyrell", like="acme", network=EGRESS)
    try:
        yield [await tenants.ready(name) for name in ("acme", "tyrell", "initech", "globex")]
    finally:
        await asyncio.gather(*(tenants.delete(name) for name in ("globex", "tyrell")))


@pytest.fixture(scope="module")
def outside() -> Iterator[None]:
    """Where clouds hand out credentials, and a relay with one port too many."""
    with listening(METADATA, 80), listening(OUTSIDE, RELAY, CLOSED):
        yield


@contextmanager
def listeners(tenants: Tenants, pods: list[tuple[str, str]]) -> Iterator[None]:
    """Something to find in these pods, by namespace and name."""
    with ExitStack() as ended:
        started = []
        for namespace, name in pods:
            argv = tenants.kubectl_argv("-n", namespace, "exec", "-i", name, "-c", "odoo", "--")
            process = subprocess.Popen(
                [*argv, "python3", "-c", LISTENER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            ended.callback(process.communicate)  # ends its input, and so the listener
            started.append(process)
        for process in started:
            assert process.stdout is not None
            assert process.stdout.readline() == "listens\n"
        yield


async def landscapes(tenants: Tenants, all_of_them: list[OdooTenant]) -> dict[str, Landscape]:
    """Where everything is right now, for each tenant: pods come and go."""
    ports = {t.metadata.name: await ports_of(tenants, t) for t in all_of_them}
    nobodys = await infrastructure(tenants.cluster) | {"the relay's other port": f"{OUTSIDE}:{CLOSED}"}
    servers = {"PostgreSQL": "postgres.odoo-data.svc:5432", "Redis": "redis.odoo-data.svc:6379"}
    relay = {"relay": f"{OUTSIDE}:{RELAY}"}
    found = {}
    for tenant in all_of_them:
        name, may_relay = tenant.metadata.name, bool(tenant.spec.network.egress)
        others = {w: a for other, theirs in ports.items() if other != name for w, a in theirs.items()}
        forbidden = others | nobodys | ({} if may_relay else relay)
        found[name] = Landscape(forbidden, servers | (relay if may_relay else {}))
    return found


async def test_nobody_reaches_what_is_not_his(
    tenants: Tenants, four: list[OdooTenant], outside: None
) -> None:
    crons = [(t.status.namespace, (await tenants.pod(t, "cron"))["metadata"]["name"]) for t in four]
    with listeners(tenants, crons):
        grounds = await landscapes(tenants, four)
        found_by_others = set(grounds["initech"].forbidden)
        assert {
            f"acme's {pod}" for pod in ("web pod, 8069", "web pod, 8072", "cron pod, 8069")
        } <= found_by_others

        async def forbidden() -> dict[str, dict[str, str]]:
            return await look_around(tenants, four, {name: g.forbidden for name, g in grounds.items()})

        for source, found in (await forbidden()).items():
            assert "open" not in found.values(), f"from {source}: {found}"
        allowed = await look_around(tenants, four, {name: g.allowed for name, g in grounds.items()})
        for source, found in allowed.items():
            assert set(found.values()) == {"open"}, f"from {source}: {found}"
        for tenant in four:
            assert await tenants.python(tenant, RESOLVE), f"{tenant.metadata.name} resolves no names"

        with tenants.operator_stopped():
            for namespace in {t.status.namespace for t in four}:
                tenants.kubectl("-n", namespace, "delete", "networkpolicy", "--all")
            await until_none(forbidden, lambda answer: answer != "open", "without policies all answers", 60)
        await until_none(
            forbidden, lambda answer: answer == "open", "the operator shut all in again", SHUT_IN
        )


async def look_around(
    tenants: Tenants, all_of_them: list[OdooTenant], targets: dict[str, dict[str, str]]
) -> dict[str, dict[str, str]]:
    """What each pod of each tenant finds at that one's addresses."""
    pods = [(tenant, component) for tenant in all_of_them for component in ("web", "cron")]
    looks = (probe(tenants, t, targets[t.metadata.name], component) for t, component in pods)
    names = [f"{t.metadata.name}'s {component} pod" for t, component in pods]
    return dict(zip(names, await asyncio.gather(*looks), strict=True))


async def until_none(
    look: Callable[[], Awaitable[dict[str, dict[str, str]]]],
    wrong: Callable[[str], bool],
    what: str,
    seconds: float,
) -> None:
    """Wait until no answer is wrong; else say which are."""
    left: list[str] = []

    async def none_is() -> bool:
        found = await look()
        left[:] = [f"{s} -> {w}: {a}" for s, answers in found.items() for w, a in answers.items() if wrong(a)]
        return not left

    try:
        await until(what, none_is, seconds)
    except AssertionError as late:
        raise AssertionError("\n".join([str(late), *left])) from late


async def test_a_password_opens_its_own_database_and_no_other(
    tenants: Tenants, cluster: Cluster, four: list[OdooTenant]
) -> None:
    for source in four:
        password = await _database_password(cluster, source.status.claim)
        mine = f"t_{source.status.claim}"
        attempts = [(f"{mine}_a", password, mine)]
        for theirs in (f"t_{other.status.claim}" for other in four if other is not source):
            attempts += [(f"{mine}_a", password, theirs)]
            attempts += [(role, password, theirs) for role in (f"{theirs}_a", theirs)]
        found = await tenants.python(source, LOGIN, "postgres.odoo-data.svc", json.dumps(attempts))
        assert len(found) == len(attempts)
        for role, _, database in attempts:
            said = found[f"{role} {database}"]
            if database == mine:
                assert said == "in"
            elif role == f"{mine}_a":
                assert "permission denied for database" in said
            elif role == f"{database}_a":
                assert "password authentication failed" in said
            else:
                assert "failed" in said or "not permitted to log in" in said


@pytest.mark.parametrize("component", ["web", "cron"])
async def test_pods_have_no_token(tenants: Tenants, four: list[OdooTenant], component: str) -> None:
    script = (
        "import json, os; print(json.dumps([os.path.exists('/var/run/secrets/kubernetes.io'), os.getuid()]))"
    )
    for tenant in four:
        assert await tenants.python(tenant, script, component=component) == [False, 100]


async def test_service_accounts_may_do_nothing(
    tenants: Tenants, four: list[OdooTenant], tmp_path: Path
) -> None:
    """Nothing but what everybody may who has a name: ask who one is and what one may, and which versions there are."""
    for tenant in four:
        namespace = tenant.status.namespace
        pods = await tenants.cluster.list("v1", "Pod", namespace)
        accounts = {pod["spec"]["serviceAccountName"] for pod in pods} | {"default"}
        for account in accounts:
            for where in (namespace, NAMESPACE, OPERATOR.namespace, "kube-system"):
                user = f"system:serviceaccount:{namespace}:{account}"
                rules = _rules(tenants, user, where, tmp_path / "review.json")
                about_oneself = {"authorization.k8s.io", "authentication.k8s.io"}
                for rule in rules["resourceRules"]:
                    assert set(rule["apiGroups"]) <= about_oneself, f"{user} in {where}: {rule}"
                    assert rule["verbs"] == ["create"], f"{user} in {where}: {rule}"
                    assert all(r.startswith("selfsubject") for r in rule["resources"]), rule
                for rule in rules["nonResourceRules"]:
                    assert rule["verbs"] == ["get"], f"{user}: {rule}"
                    assert set(rule["nonResourceURLs"]) <= DISCOVERY, f"{user}: {rule}"


DISCOVERY = {
    *("/api", "/api/*", "/apis", "/apis/*", "/openapi", "/openapi/*", "/version", "/version/"),
    *("/healthz", "/livez", "/readyz", "/.well-known/openid-configuration", "/openid/v1/jwks"),
    *("/.well-known/openid-configuration/", "/openid/v1/jwks/"),
}


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


def _rules(tenants: Tenants, user: str, namespace: str, file: Path) -> dict[str, list[dict[str, list[str]]]]:
    """What the API server says to this user that it may do there."""
    kind = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview"}
    file.write_text(json.dumps({**kind, "spec": {"namespace": namespace}}))
    path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"
    said = json.loads(tenants.kubectl("create", "--raw", path, "-f", str(file), "--as", user))["status"]
    assert not said["incomplete"]
    return {kind: said[kind] for kind in ("resourceRules", "nonResourceRules")}


async def _database_password(cluster: Cluster, claim: str) -> str:
    live = await cluster.get(ObjectRef("v1", "Secret", OPERATOR.namespace, f"tenant-{claim}"))
    assert live is not None
    return base64.b64decode(live["data"]["database-password"]).decode()

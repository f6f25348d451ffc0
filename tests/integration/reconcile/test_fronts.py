"""A pool's PgBouncer and its read replica, through the running operator, with the real programs."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests.integration.reconcile.stage import Stage, Tenants, condition, pool_ref
from tests.integration.reconcile.test_rotation import rotate, until_rotated
from tests.support.operator_process import OperatorProcess
from tests.support.pgbouncer import EXAMPLES, PgBouncerProcess, running_pgbouncer
from tests.support.postgres import PostgresProcess, running_replica
from tests.support.redis import free_port
from tests.support.waiting import eventually

from odoo_tenancy.api.meta import Manifest
from odoo_tenancy.cluster.objects import TENANT_UID, ObjectRef
from odoo_tenancy.reconcile.rotation import LEAVE

PEERS = [{"cidr": "127.0.0.1/32"}]
Sql = psycopg.Connection[tuple[object, ...]]


@pytest.fixture(scope="module")
def pooler(stage: Stage) -> Iterator[PgBouncerProcess]:
    """One that keeps what its clients left for longer than any test takes."""
    with running_pgbouncer(stage.postgres, server_idle_timeout="3600") as process:
        yield process


@pytest.fixture(scope="module")
def replica(stage: Stage) -> Iterator[PostgresProcess]:
    with running_replica(stage.postgres) as process:
        yield process


@pytest.fixture
def tenants(stage: Stage, operator: OperatorProcess) -> Iterator[Tenants]:
    tenants = Tenants(stage, f"fronts-{secrets.token_hex(3)}")
    stage.namespace(tenants.namespace)
    yield tenants
    tenants.clear()


def front(port: int) -> dict[str, Any]:
    return {"host": "localhost", "port": port, "peers": PEERS}


def change_pool(stage: Stage, name: str, **postgres: Any) -> None:
    stage.kube.patch(pool_ref(name), {"spec": {"postgres": postgres}})


def until_pool_says(stage: Stage, name: str, status: str, reason: str) -> str:
    def said(pool: Manifest) -> bool:
        found = condition(pool, "PostgresReady")
        return (found.get("status"), found.get("reason")) == (status, reason)

    live = stage.kube.until(pool_ref(name), said, f"PostgresReady {status} {reason}")
    return str(condition(live, "PostgresReady")["message"])


def options(stage: Stage, tenants: Tenants, name: str) -> dict[str, str]:
    """Of its odoo.conf."""
    text = stage.value(tenants.namespace_of(name), "odoo-config", "odoo.conf")
    return dict(line.split(" = ", 1) for line in text.splitlines() if " = " in line)


def as_odoo(conf: dict[str, str], ca: Path) -> Sql:
    return psycopg.connect(
        host=conf["db_host"], port=conf["db_port"], dbname=conf["db_name"], user=conf["db_user"],
        password=conf["db_password"], sslmode=conf["db_sslmode"], sslrootcert=str(ca), autocommit=True,
    )  # fmt: skip


def ports(stage: Stage, namespace: str, policy: str) -> set[int]:
    """To which it opens the way on 127.0.0.1."""
    live = stage.kube.live(ObjectRef("networking.k8s.io/v1", "NetworkPolicy", namespace, policy))
    here = [
        rule
        for rule in live["spec"]["egress"]
        if rule["to"][0].get("ipBlock", {}).get("cidr") == "127.0.0.1/32"
    ]
    return {port["port"] for rule in here for port in rule["ports"]}


@contextmanager
def knowing_nobody(stage: Stage) -> Iterator[None]:
    """What PgBouncer asks for passwords doesn't find any."""
    text = (EXAMPLES / "login_of.sql").read_text()
    function = "CREATE OR REPLACE" + text[text.index("CREATE FUNCTION") : text.index("$$;")].removeprefix(
        "CREATE"
    )
    stage.query(f"{function} AND false $$")
    try:
        yield
    finally:
        stage.query(f"{function} $$")


def test_odoo_goes_through_the_pooler_and_readers_to_the_replica(
    stage: Stage, tenants: Tenants, pooler: PgBouncerProcess, replica: PostgresProcess
) -> None:
    ca = pooler.directory / "ca.crt"
    stage.create_pool("fronted", postgres={"pooler": front(pooler.port), "readReplica": front(replica.port)})
    until_pool_says(stage, "fronted", "True", "Answers")
    tenants.create(
        "acme",
        poolRef={"name": "fronted"},
        database={"readOnlyAccess": {"enabled": True, "peers": [{"namespaceSelector": {}}]}},
    )
    live = tenants.until_ready("acme")
    claim, where = live["status"]["claim"], live["status"]["namespace"]
    assert f"t_{claim}" in stage.kubelet.initialized
    assert f"t_{claim}/t_{claim}_a@" in pooler.log, "its Job went through it too"
    assert live["status"]["database"]["host"] == stage.postgres.host
    old = options(stage, tenants, "acme")
    assert (old["db_host"], old["db_port"]) == ("localhost", str(pooler.port))
    with as_odoo(old, ca) as odoo:
        assert odoo.execute("SELECT current_user").fetchone() == (f"t_{claim}",)
    assert ports(stage, where, "odoo-isolation") == {stage.postgres.port, pooler.port}
    assert ports(stage, where, "odoo-read-only-0") == {replica.port}

    uri = stage.value(tenants.namespace, "acme-readonly", "uri")
    assert f"@localhost:{replica.port}/" in uri

    def reads() -> bool:
        try:
            with psycopg.connect(uri, sslrootcert=str(ca), autocommit=True) as reader:
                row = reader.execute(
                    "SELECT pg_is_in_recovery(), login FROM res_users WHERE id = 2"
                ).fetchone()
        except psycopg.Error:
            return False
        return row == (True, "admin")

    eventually(reads, "what was written is on the replica")

    as_odoo(old, ca).close()
    began = time.monotonic()
    rotate(tenants, "acme", "1")
    until_rotated(tenants, "acme", f"t_{claim}_b")
    assert time.monotonic() - began < LEAVE.total_seconds() / 2, (
        "a session that PgBouncer keeps isn't waited for"
    )
    with pytest.raises(psycopg.OperationalError, match="SASL authentication failed"):
        as_odoo(old, ca)
    with as_odoo(options(stage, tenants, "acme"), ca) as odoo:
        assert odoo.execute("SELECT session_user").fetchone() == (f"t_{claim}_b",)
    assert not [e for e in tenants.events("acme") if e["reason"] == "DriftRepaired"]
    assert pooler.log.count("pooler error: no such user") == 1, "at rest nobody asks"


def test_a_pooler_that_never_answered_is_given_to_nobody(
    stage: Stage, tenants: Tenants, pooler: PgBouncerProcess
) -> None:
    nobody = free_port()
    stage.create_pool("behind")
    tenants.create("acme", poolRef={"name": "behind"})
    tenants.until_ready("acme")
    before = options(stage, tenants, "acme")
    assert before["db_port"] == str(stage.postgres.port)

    change_pool(stage, "behind", pooler=front(nobody))
    said = until_pool_says(stage, "behind", "False", "PoolerUnreachable")
    assert f"spec.postgres.pooler of HostingPool behind: PostgreSQL at localhost:{nobody}" in said
    tenants.until_condition("acme", "Ready", "False", "PoolerUnreachable")
    tenants.create("later", poolRef={"name": "behind"})
    tenants.until_condition("later", "Ready", "False", "PoolerUnreachable")
    assert options(stage, tenants, "acme") == before, "what ran goes on as it was"

    change_pool(stage, "behind", pooler=front(pooler.port))
    until_pool_says(stage, "behind", "True", "Answers")
    eventually(
        lambda: options(stage, tenants, "acme") == {**before, "db_port": str(pooler.port)},
        "it goes through the one that answers",
    )
    for name in ("acme", "later"):
        tenants.until_ready(name)

    stage.kubelet.slow.add("acme")
    uid = tenants.live("acme")["metadata"]["uid"]
    for pod in stage.kube.list("v1", "Pod", selector=f"{TENANT_UID}={uid}"):
        stage.kube.delete(ObjectRef.of(pod))
    with knowing_nobody(stage):
        tenants.until_condition("acme", "WorkloadReady", "False", "PoolerRefusesLogin")
    pooler.stop()
    try:
        said = tenants.until_condition("acme", "WorkloadReady", "False", "PoolerUnreachable")["message"]
        assert f"localhost:{pooler.port}" in said
    finally:
        pooler.start()
        stage.kubelet.slow.discard("acme")
    tenants.until_ready("acme")

    change_pool(stage, "behind", pooler=None, readReplica=front(nobody))
    until_pool_says(stage, "behind", "False", "ReplicaUnreachable")
    eventually(lambda: options(stage, tenants, "acme") == before, "straight again")
    tenants.until_ready("acme")

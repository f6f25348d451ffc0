"""A pool's PostgreSQL on its bad days, through the running operator: what runs goes on, what is wrong is said, and it
heals when the server does. A server that is full, or away when a tenant is made, is in ``test_refusals.py``."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest
from tests.integration.reconcile.stage import OPERATOR_NAMESPACE, Stage, Tenants, condition, pool_ref
from tests.support.operator_process import OperatorProcess
from tests.support.postgres import ADMIN, PostgresProcess, running_postgres
from tests.support.proxy import Proxy

POOL = "moody"


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresProcess]:
    """Of its own: nobody else is to suffer from it."""
    with running_postgres() as process:
        yield process


@pytest.fixture(scope="module")
def wire(stage: Stage, operator: OperatorProcess, server: PostgresProcess) -> Iterator[Proxy]:
    """What is between a pool and that server."""
    proxy = Proxy(server.port)
    admin_secret(stage, server.admin_password)
    stage.secret(OPERATOR_NAMESPACE, f"{POOL}-postgres-ca", {"ca.crt": server.ca_pem})
    stage.create_pool(
        POOL,
        postgres={
            "host": server.host,
            "port": proxy.port,
            "adminSecretRef": {"name": f"{POOL}-postgres"},
            "tls": {"mode": "verify-full", "caSecretRef": {"name": f"{POOL}-postgres-ca"}},
        },
    )
    yield proxy
    stage.drop_pools([POOL])
    proxy.close()


@pytest.fixture
def tenants(stage: Stage, wire: Proxy) -> Iterator[Tenants]:
    tenants = Tenants(stage, f"moody-{secrets.token_hex(3)}")
    stage.namespace(tenants.namespace)
    yield tenants
    tenants.clear()


def admin_secret(stage: Stage, password: str) -> None:
    stage.secret(OPERATOR_NAMESPACE, f"{POOL}-postgres", {"username": ADMIN, "password": password})


def start(tenants: Tenants, name: str) -> None:
    tenants.create(name, poolRef={"name": POOL})
    tenants.until_ready(name)


def goes_on(tenants: Tenants, name: str) -> None:
    """Its pods are left alone, and the route."""
    live = tenants.live(name)
    for type_ in ("WorkloadReady", "RouteReady"):
        assert condition(live, type_)["status"] == "True", condition(live, type_)
    assert live["status"]["phase"] == "Degraded"


def test_a_server_that_restarts_is_waited_for(tenants: Tenants, server: PostgresProcess) -> None:
    start(tenants, "waiting")
    server.stop()
    try:
        tenants.until_condition("waiting", "DatabaseReady", "False", "PostgresUnreachable")
        goes_on(tenants, "waiting")
    finally:
        server.start()
    tenants.until_ready("waiting")


def test_a_server_that_accepts_and_never_answers_holds_up_nobody_elses_tenants(
    stage: Stage, tenants: Tenants, wire: Proxy
) -> None:
    """Not a deletion either, which goes on when the server answers again."""
    start(tenants, "mute")
    start(tenants, "going")
    wire.silence()
    try:
        stage.kube.delete(tenants.ref("going"))
        said = stage.kube.until(
            pool_ref(POOL),
            lambda p: condition(p, "PostgresReady").get("status") == "False",
            "is seen to be mute",
        )
        assert condition(said, "PostgresReady")["reason"] in ("PostgresUnreachable", "PostgresTimeout")
        elsewhere = Tenants(stage, tenants.namespace)
        elsewhere.create("elsewhere")
        elsewhere.until_ready("elsewhere")
        tenants.made.update(elsewhere.made)
        reason = condition(stage.kube.live(pool_ref(POOL)), "PostgresReady")["reason"]
        tenants.until_condition("mute", "DatabaseReady", "False", reason)
        goes_on(tenants, "mute")
        assert stage.kube.get(tenants.ref("going")) is not None
    finally:
        wire.flow()
    tenants.until_ready("mute")
    stage.kube.until_gone(tenants.ref("going"))
    tenants.made.pop("going")


def test_a_password_that_is_wrong_is_said_and_mended_by_the_secret(
    stage: Stage, tenants: Tenants, server: PostgresProcess
) -> None:
    start(tenants, "locked")
    admin_secret(stage, "wrong")
    try:
        tenants.until_condition("locked", "DatabaseReady", "False", "PostgresPasswordRejected")
        goes_on(tenants, "locked")
    finally:
        admin_secret(stage, server.admin_password)
    tenants.until_ready("locked")

"""A pool's Redis through the running operator: users come, come back, and go; what is wrong with the server is said."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest
import redis
from tests.integration.reconcile.stage import OPERATOR_NAMESPACE, Stage, Tenants, condition, pool_ref
from tests.support.operator_process import OperatorProcess
from tests.support.proxy import Proxy
from tests.support.redis import ADMIN, RedisProcess, running_redis
from tests.support.waiting import eventually

from odoo_tenancy.cluster.objects import ObjectRef

POOL = "cached"


@pytest.fixture(scope="module")
def server() -> Iterator[RedisProcess]:
    with running_redis() as process:
        yield process


@pytest.fixture(scope="module")
def wire(server: RedisProcess) -> Iterator[Proxy]:
    """What is between a pool and that server."""
    proxy = Proxy(server.port)
    yield proxy
    proxy.close()


@pytest.fixture(scope="module")
def cached(stage: Stage, operator: OperatorProcess, server: RedisProcess, wire: Proxy) -> Iterator[None]:
    """A pool with that Redis."""
    secret_of_admin(stage, server.admin_password)
    stage.secret(OPERATOR_NAMESPACE, f"{POOL}-redis-ca", {"ca.crt": server.ca_pem})
    stage.create_pool(
        POOL,
        redis={
            "host": server.host,
            "port": wire.port,
            "adminSecretRef": {"name": f"{POOL}-redis"},
            "tls": {"mode": "verify-full", "caSecretRef": {"name": f"{POOL}-redis-ca"}},
            "memoryBudget": "100Mi",
            "peers": [{"cidr": "127.0.0.1/32"}],
        },
    )
    yield
    stage.drop_pools([POOL])


@pytest.fixture
def tenants(stage: Stage, cached: None) -> Iterator[Tenants]:
    tenants = Tenants(stage, f"cached-{secrets.token_hex(3)}")
    stage.namespace(tenants.namespace)
    yield tenants
    tenants.clear()


def secret_of_admin(stage: Stage, password: str) -> None:
    stage.secret(OPERATOR_NAMESPACE, f"{POOL}-redis", {"username": ADMIN, "password": password})


def start(tenants: Tenants, name: str, **spec: object) -> str:
    """Make a tenant of the pool; its claim, when it is Ready."""
    tenants.create(name, poolRef={"name": POOL}, **spec)
    return str(tenants.until_ready(name)["status"]["claim"])


def users(server: RedisProcess) -> set[str]:
    with server.client() as client:
        return {name for name in client.acl_users() if name.startswith("t_")}


def as_tenant(stage: Stage, tenants: Tenants, server: RedisProcess, name: str) -> redis.Redis:
    """With what the tenant's pods have."""
    live = tenants.live(name)["status"]
    password = stage.value(live["namespace"], "odoo-config", "redis-password")
    return server.client(f"t_{live['claim']}", password)


def test_pods_are_given_what_lets_them_in_and_to_nothing_else(
    stage: Stage, tenants: Tenants, server: RedisProcess, wire: Proxy
) -> None:
    claim = start(tenants, "one")
    assert f"t_{claim}" in users(server)
    with as_tenant(stage, tenants, server, "one") as client:
        client.set(f"t_{claim}:session:1", "kept", ex=60)
        assert client.get(f"t_{claim}:session:1") == "kept"
        with pytest.raises(redis.exceptions.NoPermissionError):
            client.get("somebody-else")
    where = tenants.namespace_of("one")
    deployment = stage.kube.live(ObjectRef("apps/v1", "Deployment", where, "odoo-web"))
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    found = {each["name"]: each["value"] for each in container["env"]}
    assert found["ODOO_TENANCY_REDIS_URL"] == f"rediss://t_{claim}@{server.host}:{wire.port}/0"
    assert found["ODOO_TENANCY_REDIS_PREFIX"] == f"t_{claim}:"
    assert condition(tenants.live("one"), "RedisReady")["reason"] == "Ready"
    assert stage.kube.live(pool_ref(POOL))["status"]["redisReservedBytes"] >= 64 << 20


def test_what_is_changed_by_hand_comes_back_and_is_told(
    operator: OperatorProcess, tenants: Tenants, server: RedisProcess
) -> None:
    claim = start(tenants, "changed")
    counted = operator.drift_repairs("unknown").get("Redis user", 0)
    with server.client() as client:
        client.execute_command(
            "ACL", "SETUSER", f"t_{claim}", "+@all", "~*", "&*", ">guessed", "nopass", "off"
        )
        eventually(
            lambda: "@all" not in str(client.acl_getuser(f"t_{claim}")["commands"]),
            lambda: f"its commands are {client.acl_getuser(f't_{claim}')['commands']}",
        )
    attributes = ("flags", "key patterns", "channel patterns", "passwords", "commands")
    title = f"Redis user t_{claim} was changed by unknown"
    tenants.until_event("changed", "DriftRepaired", title, *(f"{attribute} is " for attribute in attributes))
    assert operator.drift_repairs("unknown")["Redis user"] > counted


def test_users_are_back_after_a_restart_without_an_aclfile(
    stage: Stage, tenants: Tenants, server: RedisProcess
) -> None:
    claim = start(tenants, "restarted")
    server.restart()
    eventually(lambda: f"t_{claim}" in users(server), "its user is back")
    with as_tenant(stage, tenants, server, "restarted") as client:
        assert client.get(f"t_{claim}:anything") is None
    tenants.until_ready("restarted")


def test_a_wrong_admin_password_is_said_and_stops_nothing_that_runs(
    stage: Stage, tenants: Tenants, server: RedisProcess
) -> None:
    start(tenants, "running")
    secret_of_admin(stage, "wrong")
    tenants.until_condition("running", "RedisReady", "False", "RedisPasswordRejected")
    assert condition(tenants.live("running"), "WorkloadReady")["status"] == "True"
    pool = stage.kube.live(pool_ref(POOL))
    assert condition(pool, "RedisReady")["reason"] == "RedisPasswordRejected"
    secret_of_admin(stage, server.admin_password)
    tenants.until_ready("running")


def test_a_server_that_is_away_holds_up_a_deletion_until_it_is_back(
    tenants: Tenants, server: RedisProcess
) -> None:
    claim = start(tenants, "going")
    server.stop()
    try:
        tenants.until_condition("going", "RedisReady", "False", "RedisUnreachable")
        tenants.stage.kube.delete(tenants.ref("going"))
        tenants.until_condition("going", "Ready", "False", "RedisUnreachable")
    finally:
        server.start()
    tenants.stage.kube.until_gone(tenants.ref("going"))
    assert f"t_{claim}" not in users(server)


def test_a_server_that_accepts_and_never_answers_holds_up_nobody_elses_tenants(
    stage: Stage, tenants: Tenants, server: RedisProcess, wire: Proxy
) -> None:
    """A deletion that waits for it goes on when it answers again."""
    claim = start(tenants, "going")
    start(tenants, "mute", redis={"maxMemory": "8Mi"})
    elsewhere = Tenants(stage, tenants.namespace, tenants.made)
    wire.silence()
    try:
        stage.kube.delete(tenants.ref("going"))
        tenants.until_condition("mute", "RedisReady", "False", "RedisUnreachable")
        for type_ in ("DatabaseReady", "WorkloadReady", "RouteReady"):
            assert condition(tenants.live("mute"), type_)["status"] == "True", "what runs is left alone"
        elsewhere.create("elsewhere")
        elsewhere.until_ready("elsewhere")
        tenants.until_condition("going", "Ready", "False", "RedisUnreachable")
    finally:
        wire.flow()
    stage.kube.until_gone(tenants.ref("going"))
    tenants.made.pop("going")
    assert f"t_{claim}" not in users(server)
    tenants.until_ready("mute")


def test_user_and_keys_go_with_their_tenant_and_only_they(
    stage: Stage, tenants: Tenants, server: RedisProcess
) -> None:
    claim, other = start(tenants, "leaving"), start(tenants, "staying", redis={"maxMemory": "8Mi"})
    for name, prefix in (("leaving", claim), ("staying", other)):
        with as_tenant(stage, tenants, server, name) as client:
            client.set(f"t_{prefix}:session:1", name)
    tenants.delete("leaving")
    with server.client() as client:
        assert {f"t_{claim}", f"t_{other}"} & set(client.acl_users()) == {f"t_{other}"}
        assert not client.keys(f"t_{claim}:*")
        assert client.get(f"t_{other}:session:1") == "staying"


def test_who_does_not_fit_into_the_memory_waits_until_another_leaves(tenants: Tenants) -> None:
    start(tenants, "first")
    tenants.create("second", poolRef={"name": POOL})
    tenants.until_condition("second", "Ready", "False", "RedisBudgetExceeded")
    live = tenants.live("second")
    assert live["status"]["phase"] == "Pending"
    assert "100Mi" in condition(live, "Ready")["message"]
    tenants.delete("first")
    tenants.until_ready("second")


def test_who_uses_all_its_memory_writes_no_more_until_it_may_again(
    stage: Stage, operator: OperatorProcess, tenants: Tenants, server: RedisProcess
) -> None:
    claim = start(tenants, "hungry", redis={"maxMemory": "1Mi"})
    with as_tenant(stage, tenants, server, "hungry") as client:

        def refused() -> bool:
            try:
                client.set(f"t_{claim}:{secrets.token_hex(8)}", "x" * 20_000, ex=3600)
            except redis.exceptions.NoPermissionError:
                return True
            return False

        for _ in range(53):  # a MiB, and a little
            client.set(f"t_{claim}:{secrets.token_hex(8)}", "x" * 20_000, ex=3600)
        eventually(refused, "its writes are refused within a minute of the overrun", 60)
        tenants.until_condition("hungry", "RedisReady", "False", "RedisQuotaExceeded")
        assert tenants.live("hungry")["status"]["redis"]["usedBytes"] >= 1 << 20
        assert client.get(f"t_{claim}:nothing") is None, "it still reads"

        operator.close()  # who starts anew leaves it as it is until it has measured by itself
        operator.start()
        assert operator.await_line("reconciled", name="hungry")["outcome"] == "refused"
        assert refused()

        tenants.change("hungry", redis={"maxMemory": "40Mi"})
        tenants.until_ready("hungry")
        assert client.set(f"t_{claim}:again", "x", ex=60)
    assert not [e for e in tenants.events("hungry") if e["reason"] == "DriftRepaired"], "this is no drift"


def test_who_comes_near_is_warned_and_who_is_full_writes_again_when_it_has_deleted(
    stage: Stage, operator: OperatorProcess, tenants: Tenants, server: RedisProcess
) -> None:
    claim = start(tenants, "near", redis={"maxMemory": "1Mi"})
    keys = [f"t_{claim}:{number}" for number in range(60)]
    with as_tenant(stage, tenants, server, "near") as client, server.client() as root:
        for key in keys[:43]:
            client.set(key, "x" * 20_000)
        # Of what comes near alone nobody is told for five minutes; memory that others take makes it be looked at now.
        root.set("of:another", "x" * 400_000)
        said = tenants.until_condition("near", "RedisReady", "True", "NearQuota")
        assert "of spec.redis.maxMemory 1Mi" in said["message"]
        assert tenants.until_event("near", "NearQuota", "1Mi")["type"] == "Warning"
        used = sum(int(root.memory_usage(key) or 0) for key in keys[:43])
        told = [
            s.value for s in operator.metric("redis_used_bytes", tenant="near", namespace=tenants.namespace)
        ]
        assert told == [pytest.approx(used, rel=0.1)]
        assert tenants.live("near")["status"]["redis"]["usedBytes"] == pytest.approx(used, rel=0.1)

        for key in keys[43:]:
            client.set(key, "x" * 20_000)
        tenants.until_condition("near", "RedisReady", "False", "RedisQuotaExceeded")
        with pytest.raises(redis.exceptions.NoPermissionError):
            client.set(keys[0], "another")
        client.delete(*keys[10:])
        tenants.until_condition("near", "RedisReady", "True", "Ready")
        assert client.set(keys[0], "another")
        root.delete("of:another")


def test_without_redis_sessions_are_files(stage: Stage, tenants: Tenants, server: RedisProcess) -> None:
    claim = start(tenants, "files", redis={"placement": "None"})
    assert f"t_{claim}" not in users(server)
    assert condition(tenants.live("files"), "RedisReady")["reason"] == "NotUsed"
    where = tenants.namespace_of("files")
    config = stage.kube.live(ObjectRef("v1", "Secret", where, "odoo-config"))
    assert "redis-password" not in config["data"]

"""New credentials through the running operator: side by side while Odoo changes over, and the old ones refused after it."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass

import psycopg
import pytest
import redis
from tests.integration.reconcile.stage import OPERATOR_NAMESPACE, Stage, Tenants, condition, pool_ref
from tests.integration.reconcile.test_readers import Sql, as_backup, as_reporting, log_in
from tests.support.operator_process import OperatorProcess
from tests.support.redis import ADMIN, RedisProcess, running_redis
from tests.support.waiting import eventually

from odoo_tenancy.cluster.objects import TENANT_UID, ObjectRef

POOL = "turning"
ROTATE = "odootenancy.io/rotate-credentials"


@pytest.fixture(scope="module")
def server() -> Iterator[RedisProcess]:
    with running_redis() as process:
        yield process


@pytest.fixture(scope="module")
def turning(stage: Stage, operator: OperatorProcess, server: RedisProcess) -> None:
    """A pool with that Redis."""
    stage.secret(OPERATOR_NAMESPACE, f"{POOL}-redis", {"username": ADMIN, "password": server.admin_password})
    stage.secret(OPERATOR_NAMESPACE, f"{POOL}-redis-ca", {"ca.crt": server.ca_pem})
    stage.create_pool(
        POOL,
        redis={
            "host": server.host,
            "port": server.port,
            "adminSecretRef": {"name": f"{POOL}-redis"},
            "tls": {"mode": "verify-full", "caSecretRef": {"name": f"{POOL}-redis-ca"}},
            "memoryBudget": "1Gi",
            "peers": [{"cidr": "127.0.0.1/32"}],
        },
    )


@pytest.fixture
def tenants(stage: Stage, turning: None) -> Iterator[Tenants]:
    tenants = Tenants(stage, f"turning-{secrets.token_hex(3)}")
    stage.namespace(tenants.namespace)
    yield tenants
    tenants.clear()


@dataclass(frozen=True)
class Configured:
    """What a tenant's pods are given."""

    stage: Stage
    database: str
    user: str
    password: str
    master: str
    redis: str

    def log_in(self) -> Sql:
        return log_in(self.stage, self.database, self.user, self.password)


def configured(stage: Stage, tenants: Tenants, name: str) -> Configured:
    where = tenants.namespace_of(name)
    text = stage.value(where, "odoo-config", "odoo.conf")
    options = dict(line.split(" = ", 1) for line in text.splitlines() if " = " in line)
    return Configured(
        stage=stage,
        database=options["db_name"],
        user=options["db_user"],
        password=options["db_password"],
        master=options["admin_passwd"],
        redis=stage.value(where, "odoo-config", "redis-password"),
    )


def start(stage: Stage, tenants: Tenants, name: str, **spec: object) -> tuple[str, Configured]:
    tenants.create(name, poolRef={"name": POOL}, **spec)
    claim = str(tenants.until_ready(name)["status"]["claim"])
    return claim, configured(stage, tenants, name)


def rotate(tenants: Tenants, name: str, value: str) -> None:
    tenants.stage.kube.patch(tenants.ref(name), {"metadata": {"annotations": {ROTATE: value}}})


def until_rotated(tenants: Tenants, name: str, user: str) -> None:
    """Until that login is live, and the rotation over."""
    tenants.until_event(name, "CredentialsRotated", user)
    tenants.until_condition(name, "DatabaseReady", "True", "Ready")
    tenants.until_ready(name)


def may_log_in(stage: Stage, claim: str) -> dict[str, bool]:
    return dict(stage.query("SELECT right(rolname, 1), rolcanlogin FROM pg_roles WHERE rolname ~ %s",
                            f"^t_{claim}_[ab]$"))  # fmt: skip


def is_refused(login: Configured) -> bool:
    try:
        login.log_in().close()
    except psycopg.OperationalError as error:
        return "not permitted to log in" in str(error) or "password authentication failed" in str(error)
    return False


def answers(server: RedisProcess, claim: str, password: str) -> bool:
    try:
        with server.client(f"t_{claim}", password) as client:
            client.get(f"t_{claim}:anything")
    except redis.exceptions.AuthenticationError:
        return False
    return True


def test_a_rotation_asked_for(stage: Stage, tenants: Tenants, server: RedisProcess) -> None:
    claim, old = start(stage, tenants, "acme", database={"readOnlyAccess": {"enabled": True}})
    before = {name: stage.value(*of, "password") for name, of in people(tenants).items()}
    backup = stage.value(OPERATOR_NAMESPACE, f"tenant-{claim}", "backup-password")
    assert old.user == f"t_{claim}_a"
    with old.log_in() as busy:
        rotate(tenants, "acme", "1")
        tenants.until_condition("acme", "DatabaseReady", "True", "RotatingCredentials")
        eventually(lambda: configured(stage, tenants, "acme") != old, "the configuration is another")
        new = configured(stage, tenants, "acme")
        assert new.user == f"t_{claim}_b"
        assert not {old.password, old.master, old.redis} & {new.password, new.master, new.redis}
        phase = ObjectRef("v1", "Secret", OPERATOR_NAMESPACE, f"tenant-{claim}")
        stage.kube.until(
            phase,
            lambda vault: vault["metadata"]["annotations"]["odootenancy.io/rotation-phase"] == "Closing",
            "waits for the old session",
        )
        with old.log_in(), new.log_in() as after:
            assert after.execute("SELECT current_user").fetchone() == (f"t_{claim}",)
        assert answers(server, claim, old.redis)
        assert answers(server, claim, new.redis)
        assert busy.execute("SELECT 1").fetchone() == (1,), "who is still on the old one may finish"
    until_rotated(tenants, "acme", f"t_{claim}_b")
    assert may_log_in(stage, claim) == {"a": False, "b": True}
    assert is_refused(old)
    new.log_in().close()
    eventually(lambda: not answers(server, claim, old.redis), "Redis forgets the old password")
    assert answers(server, claim, new.redis)
    assert stage.value(OPERATOR_NAMESPACE, f"tenant-{claim}", "backup-password") != backup
    as_backup(stage, claim).close()
    as_reporting(stage, tenants, "acme").close()
    after_it = {name: stage.value(*of, "password") for name, of in people(tenants).items()}
    assert after_it["readonly"] != before["readonly"]
    assert after_it["admin"] == before["admin"], "Odoo's users are the customer's"

    rotate(tenants, "acme", "1")
    tenants.change("acme", web={"replicas": 2})
    tenants.until_ready("acme")
    assert configured(stage, tenants, "acme") == new, "that was asked for already"

    rotate(tenants, "acme", "2")
    until_rotated(tenants, "acme", f"t_{claim}_a")
    assert may_log_in(stage, claim) == {"a": True, "b": False}
    assert is_refused(new)
    configured(stage, tenants, "acme").log_in().close()
    assert not [e for e in tenants.events("acme") if e["reason"] == "DriftRepaired"]


def people(tenants: Tenants) -> dict[str, tuple[str, str]]:
    return {name: (tenants.namespace, f"acme-{name}") for name in ("admin", "readonly")}


def test_the_old_login_is_open_until_every_pod_has_the_new_one(stage: Stage, tenants: Tenants) -> None:
    claim, old = start(stage, tenants, "rolling")
    stage.kubelet.slow.add("rolling")
    rotate(tenants, "rolling", "now")
    tenants.until_condition("rolling", "WorkloadReady", "False", "RollingOut")
    new = configured(stage, tenants, "rolling")
    assert new.user == f"t_{claim}_b"
    for login in (old, new):
        login.log_in().close()
    stage.kubelet.slow.discard("rolling")
    until_rotated(tenants, "rolling", new.user)
    assert is_refused(old)


def test_a_pod_that_is_ending_may_still_log_in(
    stage: Stage, operator: OperatorProcess, tenants: Tenants
) -> None:
    """It has no session, and no Deployment counts it."""
    claim, old = start(stage, tenants, "ending")
    selector = f"{TENANT_UID}={tenants.live('ending')['metadata']['uid']},app.kubernetes.io/component=web"
    (pod,) = map(ObjectRef.of, stage.kube.list("v1", "Pod", selector=selector))
    stage.kube.patch(pod, {"metadata": {"finalizers": ["example.com/lingers"]}})
    try:
        rotate(tenants, "ending", "now")
        vault = ObjectRef("v1", "Secret", OPERATOR_NAMESPACE, f"tenant-{claim}")
        stage.kube.until(
            vault,
            lambda live: live["metadata"]["annotations"].get("odootenancy.io/rotation-phase") == "Closing",
            "every pod that serves is a new one",
        )
        seen = len(operator.looks("ending"))
        eventually(lambda: len(operator.looks("ending")) > seen + 1, "two more looks at it")
        assert stage.kube.live(pod)["metadata"]["deletionTimestamp"]
        old.log_in().close()
    finally:
        stage.kube.patch(pod, {"metadata": {"finalizers": None}})
    until_rotated(tenants, "ending", f"t_{claim}_b")
    assert is_refused(old)


def test_a_suspended_tenant_rotates_too(stage: Stage, tenants: Tenants) -> None:
    claim, old = start(stage, tenants, "asleep", suspended=True)
    rotate(tenants, "asleep", "now")
    until_rotated(tenants, "asleep", f"t_{claim}_b")
    assert is_refused(old)
    assert may_log_in(stage, claim) == {"a": False, "b": True}


def test_the_schedule_rotates_and_what_was_live_is_kept_right(stage: Stage, tenants: Tenants) -> None:
    claim, _ = start(stage, tenants, "timed", database={"rotateCredentialsEvery": "0s"})
    status = tenants.live("timed")["status"]["database"]
    assert "nextRotationAt" not in status
    began = status["credentialsRotatedAt"]
    tenants.change("timed", database={"rotateCredentialsEvery": "1s"})
    tenants.until_event("timed", "CredentialsRotated", f"t_{claim}_b")
    tenants.change("timed", database={"rotateCredentialsEvery": "90d"})
    tenants.until_condition("timed", "DatabaseReady", "True", "Ready")
    live = tenants.until_ready("timed")["status"]["database"]
    assert live["credentialsRotatedAt"] > began
    assert live["nextRotationAt"] > live["credentialsRotatedAt"]

    login = configured(stage, tenants, "timed")
    stage.query(f"ALTER ROLE {login.user} PASSWORD 'hacked'")
    stage.kubelet.slow.add("timed")
    for pod in stage.kube.list(
        "v1", "Pod", selector=f"{TENANT_UID}={tenants.live('timed')['metadata']['uid']}"
    ):
        stage.kube.delete(ObjectRef.of(pod))
    tenants.until_event("timed", "DriftRepaired", f"password of role {login.user}", "brought back")
    stage.kubelet.slow.discard("timed")
    login.log_in().close()


def test_a_rotation_that_does_not_fit_waits_and_says_so(stage: Stage, tenants: Tenants) -> None:
    claim, old = start(stage, tenants, "patient")
    stage.kube.patch(pool_ref(POOL), {"spec": {"postgres": {"connectionBudget": 60}}})
    stage.kube.until(
        pool_ref(POOL),
        lambda pool: pool["status"]["observedGeneration"] == pool["metadata"]["generation"],
        "has the smaller budget",
    )
    rotate(tenants, "patient", "now")
    said = tenants.until_condition("patient", "DatabaseReady", "True", "RotationWaits")["message"]
    assert f"HostingPool {POOL} has 3 left" in said
    assert "raise the budget" in said
    old.log_in().close()
    stage.kube.patch(pool_ref(POOL), {"spec": {"postgres": {"connectionBudget": 2000}}})
    until_rotated(tenants, "patient", f"t_{claim}_b")


def test_a_tenant_that_is_deleted_while_it_rotates_leaves_nothing(
    stage: Stage, tenants: Tenants, server: RedisProcess
) -> None:
    before = stage.inventory()
    claim, old = start(stage, tenants, "leaving")
    with old.log_in():
        rotate(tenants, "leaving", "now")
        tenants.until_condition("leaving", "DatabaseReady", "True", "RotatingCredentials")
        eventually(lambda: may_log_in(stage, claim).get("b"), "both logins are open")
        tenants.delete("leaving")
    assert stage.inventory() == before
    with server.client() as client:
        assert f"t_{claim}" not in client.acl_users()


def test_who_is_adopted_goes_on_with_the_login_that_was_live(stage: Stage, tenants: Tenants) -> None:
    access = {"readOnlyAccess": {"enabled": True}}
    claim, old = start(stage, tenants, "kept", database=access, deletion={"policy": "Retain"})
    rotate(tenants, "kept", "now")
    until_rotated(tenants, "kept", f"t_{claim}_b")
    tenants.delete("kept")
    assert may_log_in(stage, claim) == {"a": False, "b": False}
    again = {"adopt": {"claim": claim}, "namespace": f"odoo-again-{tenants.namespace}"}
    _, new = start(stage, tenants, "kept", database=access, **again)
    assert new.user == f"t_{claim}_b"
    assert may_log_in(stage, claim) == {"a": False, "b": True}
    new.log_in().close()
    as_backup(stage, claim).close()
    as_reporting(stage, tenants, "kept").close()
    assert is_refused(old)


def test_what_was_asked_for_before_the_tenant_was_there_is_done(stage: Stage, tenants: Tenants) -> None:
    manifest = tenants.manifest("fresh", poolRef={"name": POOL})
    manifest["metadata"]["annotations"] = {ROTATE: "from git"}
    stage.kube.create(manifest, manager="gitops")
    tenants.made["fresh"] = ""
    claim = tenants.until_ready("fresh")["status"]["claim"]
    tenants.change("fresh", web={"replicas": 2})
    tenants.until_ready("fresh")
    assert may_log_in(stage, claim) == {"a": True}
    assert condition(tenants.live("fresh"), "DatabaseReady")["reason"] == "Ready"

"""A PostgreSQL server of a tenant's own through the running operator: the same as on a pool's, and apart from it."""

from __future__ import annotations

import base64
import json
import secrets
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from tests.integration.reconcile.stage import OPERATOR_NAMESPACE, Stage, Tenants, condition, pool_ref
from tests.integration.reconcile.test_deletion import read_the_note, write_a_note
from tests.integration.reconcile.test_readers import Sql, log_in
from tests.integration.reconcile.test_rotation import may_log_in, rotate, until_rotated
from tests.support.looks import LOGGED, calls, further_looks, nothing_written_lately, statements
from tests.support.operator_process import OperatorProcess
from tests.support.postgres import ADMIN, PostgresProcess, majors, programs_of, running_postgres
from tests.support.waiting import eventually

from odoo_tenancy.cluster.objects import ObjectRef

POOL = "besides"
USER = "operator-of-own-servers"
"""As whom this operator is known to the API server."""


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresProcess]:
    """The tenants' own; of the newest version that there is."""
    settings = ("max_connections = 250", *LOGGED)
    with running_postgres(programs_of(majors()[-1]), settings=settings) as process:
        yield process


@pytest.fixture(scope="module")
def pools(stage: Stage) -> Iterator[PostgresProcess]:
    """The pool's, which is to be stopped too."""
    with running_postgres() as process:
        yield process


@pytest.fixture(scope="module")
def looking(
    stage: Stage, pools: PostgresProcess, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OperatorProcess]:
    """An operator that looks at every tenant every two seconds."""
    besides = replace(stage, postgres=pools)
    besides.pool_secrets(POOL)
    tls = {"mode": "verify-full", "caSecretRef": {"name": f"{POOL}-postgres-ca"}}
    besides.create_pool(POOL, postgres={"adminSecretRef": {"name": f"{POOL}-postgres"}, "tls": tls})
    operator = OperatorProcess(
        stage.plane.kubeconfig_for(USER, ["system:masters"]),
        tmp_path_factory.mktemp("own-servers"),
        (POOL,),
        RESYNC="2",
        ACTIVITY_EVERY="4",
    )
    yield operator
    stage.drop_pools([POOL])
    operator.close()


@pytest.fixture
def tenants(stage: Stage, looking: OperatorProcess, server: PostgresProcess) -> Iterator[Tenants]:
    """Their namespace has the admin's login and the authority of the tenants' own server."""
    tenants = Tenants(replace(stage, postgres=server), f"own-{secrets.token_hex(3)}")
    stage.namespace(tenants.namespace)
    give_secrets(tenants, server.admin_password)
    yield tenants
    give_secrets(tenants, server.admin_password)
    tenants.clear()


@pytest.fixture
def own(tenants: Tenants) -> Stage:
    """With the tenants' own server."""
    return tenants.stage


def give_secrets(tenants: Tenants, password: str, ca: str = "") -> None:
    stage = tenants.stage
    stage.secret(tenants.namespace, "db-admin", {"username": ADMIN, "password": password})
    stage.secret(tenants.namespace, "db-ca", {"ca.crt": ca or stage.postgres.ca_pem})


def external(server: PostgresProcess, **over: Any) -> dict[str, Any]:
    where = {
        "host": server.host,
        "port": server.port,
        "adminSecretRef": {"name": "db-admin"},
        "tls": {"mode": "verify-full", "caSecretRef": {"name": "db-ca"}},
        "peers": [{"cidr": "198.51.100.7/32"}],
    }
    return {"placement": "External", "external": {**where, **over}}


def start(tenants: Tenants, name: str, **spec: Any) -> str:
    """Make a tenant with the server of its own; its claim, when it is Ready."""
    create(tenants, name, **spec)
    return str(tenants.until_ready(name)["status"]["claim"])


def create(tenants: Tenants, name: str, **spec: Any) -> None:
    database = {**external(tenants.stage.postgres), **spec.pop("database", {})}
    tenants.create(name, poolRef={"name": POOL}, database=database, **spec)


@pytest.mark.parametrize("tenancy", ["Dedicated", "Shared"])
def test_everything_is_on_the_own_server_and_nothing_on_the_pools(
    stage: Stage, own: Stage, tenants: Tenants, pools: PostgresProcess, tenancy: str
) -> None:
    before = own.inventory()
    claim = start(tenants, "acme", tenancy=tenancy)
    status = tenants.live("acme")["status"]
    assert (status["effective"]["databasePlacement"], status["database"]["host"]) == (
        "External",
        own.postgres.host,
    )
    made = own.inventory()
    assert {kind: len(made[kind] - before[kind]) for kind in before} == {
        "databases": 1, "roles": 3, "volumes": 1, "vaults": 1,
    }  # fmt: skip
    assert not [name for name in own.databases() if name.startswith("tpl_")], (
        "there is nobody to clone it for"
    )
    besides = replace(stage, postgres=pools)
    assert not {n for n in (*besides.databases(), *besides.roles()) if claim in n}
    assert stage.kube.live(pool_ref(POOL))["status"]["connectionsReserved"] == 0
    options = configured(tenants, "acme")
    assert (options["db_host"], options["db_port"]) == (own.postgres.host, str(own.postgres.port))
    as_configured(own, options).close()
    opened = json.dumps([p["spec"] for p in policies(tenants, "acme")])
    assert "198.51.100.7/32" in opened
    assert "127.0.0.1/32" not in opened, "the way to the pool's server is closed"
    tenants.delete("acme")
    assert own.inventory() == before


def of_tenant(tenants: Tenants, name: str) -> str:
    return f"odootenancy.io/tenant-uid={tenants.live(name)['metadata']['uid']}"


def configured(tenants: Tenants, name: str) -> dict[str, str]:
    """The options of the tenant's odoo.conf."""
    live = tenants.stage.kube.list("v1", "Secret", tenants.namespace_of(name), of_tenant(tenants, name))
    (text,) = (base64.b64decode(s["data"]["odoo.conf"]).decode() for s in live if "odoo.conf" in s["data"])
    return dict(line.split(" = ", 1) for line in text.splitlines() if " = " in line)


def as_configured(own: Stage, options: dict[str, str]) -> Sql:
    return log_in(own, options["db_name"], options["db_user"], options["db_password"])


def policies(tenants: Tenants, name: str) -> list[Any]:
    return tenants.stage.kube.list(
        "networking.k8s.io/v1", "NetworkPolicy", tenants.namespace_of(name), of_tenant(tenants, name)
    )


def test_a_certificate_of_another_authority_is_refused(
    own: Stage, tenants: Tenants, pools: PostgresProcess
) -> None:
    before = own.inventory()["databases"]
    give_secrets(tenants, own.postgres.admin_password, pools.ca_pem)
    create(tenants, "trusting")
    tenants.until_condition("trusting", "DatabaseReady", "False", "PostgresCertificateRefused")
    assert own.inventory()["databases"] == before
    give_secrets(tenants, own.postgres.admin_password)
    tenants.until_ready("trusting")


def test_a_secret_that_is_missing_is_said_and_nothing_is_made(own: Stage, tenants: Tenants) -> None:
    create(tenants, "keyless", database=external(own.postgres, adminSecretRef={"name": "nowhere"}))
    said = tenants.until_condition("keyless", "DatabaseReady", "False", "SecretMissing")
    assert f"Secret {tenants.namespace}/nowhere (spec.database.external.adminSecretRef" in said["message"]
    tenants.delete("keyless")  # held up by nothing


def test_a_secret_that_vanishes_leaves_what_runs_alone(own: Stage, tenants: Tenants) -> None:
    start(tenants, "running")
    where = tenants.namespace_of("running")
    web = ObjectRef("apps/v1", "Deployment", where, "odoo-web")
    before = own.kube.live(web)["metadata"]["generation"]
    own.kube.delete(ObjectRef("v1", "Secret", tenants.namespace, "db-ca"))
    tenants.until_condition("running", "DatabaseReady", "False", "SecretMissing")
    assert own.kube.live(web)["metadata"]["generation"] == before
    own.kube.delete(ObjectRef("v1", "Secret", tenants.namespace, "db-admin"))
    tenants.delete("running")  # what was read while it lived is good enough
    assert not own.inventory()["databases"]


def test_too_few_connections_are_told_with_the_arithmetic(own: Stage, tenants: Tenants) -> None:
    create(tenants, "greedy", database={"connectionLimit": 140})
    said = tenants.until_condition("greedy", "DatabaseReady", "False", "ServerConnectionsExceeded")
    assert "needs 289: 140 for Odoo, 140 more while passwords rotate" in said["message"]
    assert "max_connections 250" in said["message"]
    assert not own.inventory()["roles"]
    tenants.change("greedy", database={"connectionLimit": 40})
    tenants.until_ready("greedy")
    tenants.change("greedy", database={"connectionLimit": 150})
    tenants.until_condition("greedy", "DatabaseReady", "False", "ServerConnectionsExceeded")
    assert condition(tenants.live("greedy"), "WorkloadReady")["status"] == "True", "what runs goes on"


def test_an_own_server_that_is_down_hurts_nobody_else_and_heals(own: Stage, tenants: Tenants) -> None:
    start(tenants, "down")
    tenants.create("beside", poolRef={"name": POOL})
    tenants.until_ready("beside")
    own.postgres.stop()
    try:
        tenants.until_condition("down", "DatabaseReady", "False", "PostgresUnreachable")
        live = tenants.live("down")
        assert condition(live, "WorkloadReady")["status"] == "True"
        assert live["status"]["phase"] == "Degraded"
        tenants.create("later", poolRef={"name": POOL})
        tenants.until_ready("later")
        assert tenants.is_ready("beside")
    finally:
        own.postgres.start()
    tenants.until_ready("down")


def test_a_deletion_waits_for_an_own_server_that_is_away(own: Stage, tenants: Tenants) -> None:
    claim = start(tenants, "going")
    own.postgres.stop()
    try:
        own.kube.delete(tenants.ref("going"))
        tenants.until_condition("going", "Ready", "False", "PostgresUnreachable")
    finally:
        own.postgres.start()
    own.kube.until_gone(tenants.ref("going"))
    tenants.made.pop("going")
    assert f"t_{claim}" not in own.databases()


def test_a_pools_server_that_is_down_does_not_stop_it(
    stage: Stage, own: Stage, tenants: Tenants, pools: PostgresProcess
) -> None:
    start(tenants, "own")
    pools.stop()
    try:
        stage.kube.until(
            pool_ref(POOL),
            lambda p: condition(p, "PostgresReady").get("status") == "False",
            "is seen to be away",
        )
        start(tenants, "new")
        tenants.change("own", web={"replicas": 2})
        tenants.until_ready("own")
        rotate(tenants, "new", "1")
        until_rotated(tenants, "new", f"t_{tenants.claim('new')}_b")
        tenants.delete("own")
    finally:
        pools.start()


def test_a_rotation(own: Stage, tenants: Tenants) -> None:
    claim = start(tenants, "turning")
    old = configured(tenants, "turning")
    rotate(tenants, "turning", "1")
    until_rotated(tenants, "turning", f"t_{claim}_b")
    assert may_log_in(own, claim) == {"a": False, "b": True}
    with pytest.raises(psycopg.OperationalError, match=r"not permitted to log in|password authentication"):
        as_configured(own, old)
    as_configured(own, configured(tenants, "turning")).close()


def test_what_is_changed_by_hand_comes_back_and_is_told(own: Stage, tenants: Tenants) -> None:
    claim = start(tenants, "changed")
    own.query(f"ALTER ROLE t_{claim}_a CONNECTION LIMIT 1000")
    limit = "SELECT rolconnlimit FROM pg_roles WHERE rolname = %s"
    eventually(lambda: own.query(limit, f"t_{claim}_a") != [(1000,)], "the limit is back")
    tenants.until_event("changed", "DriftRepaired", "PostgreSQL", "CONNECTION LIMIT")


def test_retain_leaves_it_there_and_adopt_takes_it_back(own: Stage, tenants: Tenants) -> None:
    before = own.inventory()
    claim = start(tenants, "kept", deletion={"policy": "Retain"})
    write_a_note(own, claim, "kept")
    tenants.delete("kept")
    assert f"t_{claim}" in own.databases()
    assert own.query("SELECT bool_or(rolcanlogin) FROM pg_roles WHERE rolname ~ %s", claim) == [(False,)]
    again = start(tenants, "kept", adopt={"claim": claim}, namespace=f"odoo-again-{tenants.namespace}")
    assert again == claim
    assert read_the_note(own, claim) == "kept"
    tenants.delete("kept")
    assert own.inventory() == before


def test_at_rest_it_is_one_statement_a_look_and_no_write(
    own: Stage, tenants: Tenants, looking: OperatorProcess
) -> None:
    start(tenants, "resting")

    def rests() -> bool:
        shown = tenants.live("resting")["status"]["database"]
        measured = {"sizeBytes", "connections"} <= shown.keys()
        return measured and nothing_written_lately(own.plane.audit_log, USER, own.postgres.log, ADMIN)

    eventually(rests, lambda: looking.looks("resting")[-3:])
    looks = further_looks(looking, ["resting"], 4)["resting"]
    measurements = int(looks.seconds / 4) + 1
    logged = Counter(text for at, text in statements(own.postgres.log, ADMIN) if at in looks)
    inventories = sum(count for text, count in logged.items() if "pg_roles" in text)
    assert 0 < inventories <= looks.count + 1, "one a look, and the one with sizes"
    assert logged.total() - inventories <= measurements, (looks, measurements, logged)
    asked = {
        (call.verb, call.resource)
        for call in calls(own.plane.audit_log, USER)
        if call.at in looks and call.namespace in (tenants.namespace, OPERATOR_NAMESPACE)
    }
    assert asked <= {("get", "odootenants"), ("get", "secrets")}, asked

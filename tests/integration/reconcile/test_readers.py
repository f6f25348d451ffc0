"""Who reads a tenant's database: the backup role always, others where ``readOnlyAccess`` lets them."""

from __future__ import annotations

import psycopg
import pytest
from tests.integration.reconcile.stage import OPERATOR_NAMESPACE, Stage, Tenants, secret_ref
from tests.support.operator_process import OperatorProcess
from tests.support.waiting import eventually

from odoo_tenancy.cluster.objects import ObjectRef

Sql = psycopg.Connection[tuple[object, ...]]


def log_in(stage: Stage, database: str, role: str, password: str) -> Sql:
    return psycopg.connect(
        host="127.0.0.1", port=stage.postgres.port, user=role, password=password, dbname=database,
        sslmode="require", autocommit=True,
    )  # fmt: skip


def of_vault(stage: Stage, claim: str, key: str) -> str:
    return stage.value(OPERATOR_NAMESPACE, f"tenant-{claim}", key)


def as_backup(stage: Stage, claim: str, database: str = "") -> Sql:
    password = of_vault(stage, claim, "backup-password")
    return log_in(stage, database or f"t_{claim}", f"t_{claim}_backup", password)


def test_the_backup_role_reads_first_tenants_and_clones(stage: Stage, tenants: Tenants) -> None:
    claims = []
    for name in ("first", "clone"):  # the one is initialised by a Job, the other a clone of it
        tenants.create(name, tenancy="Shared", odoo={"modules": ["base", "web", "backed_up"]})
        claims.append(tenants.until_ready(name)["status"]["claim"])
    assert stage.kubelet.initialized.count(f"t_{claims[0]}") == 1
    assert stage.kubelet.initialized.count(f"t_{claims[1]}") == 0
    for claim in claims:
        with as_backup(stage, claim) as backup:
            assert backup.execute("SELECT count(*) FROM ir_module_module").fetchone() == (3,)
            backup.execute("SET default_transaction_read_only = off")
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                backup.execute("DELETE FROM ir_module_module")
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        as_backup(stage, claims[0], f"t_{claims[1]}")


def as_reporting(stage: Stage, tenants: Tenants, name: str, database: str = "") -> Sql:
    """With what people are given."""
    user, found, password = (
        stage.value(tenants.namespace, f"{name}-readonly", key) for key in ("user", "dbname", "password")
    )
    return log_in(stage, database or found, user, password)


def test_read_only_access(stage: Stage, tenants: Tenants) -> None:
    access = {"enabled": True, "connectionLimit": 2, "peers": [{"namespaceSelector": {}}]}
    tenants.create("read", database={"readOnlyAccess": access})
    tenants.create("other", tenancy="Shared")
    live = tenants.until_ready("read")
    claim, other = live["status"]["claim"], tenants.until_ready("other")["status"]["claim"]
    assert live["status"]["effective"]["readOnlyConnections"] == 2
    uri = stage.value(tenants.namespace, "read-readonly", "uri")
    assert uri.endswith(f"@{stage.postgres.host}:{stage.postgres.port}/t_{claim}?sslmode=verify-full")
    assert stage.value(tenants.namespace, "read-readonly", "ca.crt") == stage.postgres.ca_pem.rstrip()
    with as_reporting(stage, tenants, "read") as reader:
        assert reader.execute("SELECT login FROM res_users WHERE id = 2").fetchone() == ("admin",)
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            reader.execute("DELETE FROM res_users")
        reader.execute("SET default_transaction_read_only = off")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            reader.execute("DELETE FROM res_users")
        assert reader.execute("SHOW statement_timeout").fetchone() == ("1min",)
        with log_in(stage, f"t_{claim}", *odoo_login(stage, tenants, "read")) as odoo:
            odoo.execute("CREATE TABLE made_later (x int); INSERT INTO made_later VALUES (7)")
        assert reader.execute("SELECT x FROM made_later").fetchone() == (7,)
        with (
            as_reporting(stage, tenants, "read"),
            pytest.raises(psycopg.OperationalError, match="too many connections for role"),
        ):
            as_reporting(stage, tenants, "read")
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        as_reporting(stage, tenants, "read", f"t_{other}")
    policy = ObjectRef(
        "networking.k8s.io/v1", "NetworkPolicy", live["status"]["namespace"], "odoo-read-only-0"
    )
    assert stage.kube.live(policy)["spec"]["policyTypes"] == ["Egress"]

    stage.query(f"ALTER ROLE t_{claim}_ro NOLOGIN CONNECTION LIMIT 99")
    tenants.until_event("read", "DriftRepaired", f"t_{claim}_ro", "CONNECTION LIMIT")
    with as_reporting(stage, tenants, "read") as reader:
        tenants.change("read", database={"readOnlyAccess": {"enabled": False}})
        stage.kube.until_gone(secret_ref(tenants.namespace, "read-readonly"))
        with pytest.raises(psycopg.OperationalError):
            reader.execute("SELECT 1")
    assert f"t_{claim}_ro" not in stage.roles()
    stage.kube.until_gone(policy)
    tenants.change("read", database={"readOnlyAccess": {"enabled": True}})
    tenants.until_ready("read")
    as_reporting(stage, tenants, "read").close()
    drift = [e for e in tenants.events("read") if e["reason"] == "DriftRepaired"]
    assert len(drift) == 1, "what the spec asks for is none"


def odoo_login(stage: Stage, tenants: Tenants, name: str) -> tuple[str, str]:
    """As the pods have it: user and password."""
    text = stage.value(tenants.namespace_of(name), "odoo-config", "odoo.conf")
    options = dict(line.split(" = ", 1) for line in text.splitlines() if " = " in line)
    return options["db_user"], options["db_password"]


def test_a_tenant_of_an_earlier_version_gets_one_and_that_is_no_drift(
    stage: Stage, operator: OperatorProcess, tenants: Tenants
) -> None:
    tenants.create("older", tenancy="Shared")
    claim = tenants.until_ready("older")["status"]["claim"]
    operator.close()
    try:
        former = of_vault(stage, claim, "backup-password")
        annotations = {"odootenancy.io/backup-password-set": None}
        data = {"backup-password": None, "read-only-password": None}
        stage.kube.patch(
            secret_ref(OPERATOR_NAMESPACE, f"tenant-{claim}"),
            {"metadata": {"annotations": annotations}, "data": data},
        )
        with stage.postgres.superuser(f"t_{claim}") as connection:
            connection.execute(f"DROP OWNED BY t_{claim}_backup; DROP ROLE t_{claim}_backup".encode())
    finally:
        operator.start()

    def reads() -> bool:
        try:
            with as_backup(stage, claim) as backup:
                return backup.execute("SELECT count(*) FROM ir_module_module").fetchone() is not None
        except (psycopg.Error, KeyError):
            return False

    eventually(reads, "the backup role is there and reads")
    assert of_vault(stage, claim, "backup-password") != former
    tenants.until_ready("older")
    assert not [e for e in tenants.events("older") if e["reason"] == "DriftRepaired"]

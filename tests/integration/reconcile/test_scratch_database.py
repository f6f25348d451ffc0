"""Verification at level Restore through the running operator: what is stored is restored into a database of its own, which
nobody else gets into, and of which nothing stays."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from tests.integration.reconcile.backup_stage import PATIENCE, Backups, attach
from tests.integration.reconcile.stage import OPERATOR_NAMESPACE, Stage, Tenants, condition
from tests.integration.reconcile.test_own_server import external, give_secrets
from tests.support.life import StartProcess, successors
from tests.support.operator_process import Death
from tests.support.s3 import S3Process
from tests.support.waiting import eventually

from odoo_tenancy.api.meta import API_VERSION

SELDOM, OFTEN = "0 0 1 1 *", "* * * * *"
POOL, NAMESPACE = "scratchy", "scratchy"
FAILS_ELSEWHERE = """
DO $do$ BEGIN
  SET LOCAL ROLE {owner};
  CREATE FUNCTION is_known() RETURNS boolean LANGUAGE plpgsql AS $f$
    BEGIN RETURN EXISTS (SELECT FROM ir_module_module); END $f$;
  CREATE TABLE fussy (id integer CHECK (is_known()));
  INSERT INTO fussy VALUES (1);
END $do$"""
"""A dump of it can be read, and isn't restored: there its function finds no table, as pg_restore searches no schema."""


@pytest.fixture
def backups(tenants: Tenants, store: S3Process) -> Iterator[Backups]:
    made = Backups(tenants, store)
    yield made
    for live in tenants.stage.kube.list(API_VERSION, "TenantBackup", made.namespace):
        tenants.stage.kube.delete(made.ref(live["metadata"]["name"]))


def scratch_of(stage: Stage, claim: str) -> set[str]:
    """Database and roles."""
    return {name for name in (*stage.databases(), *stage.roles()) if name.startswith(f"t_{claim}_scratch")}


def check_completed(backups: Backups, name: str, claim: str) -> None:
    live = backups.until_phase(name, "Completed", "Failed")
    assert live["status"]["phase"] == "Completed", live["status"]
    assert live["status"]["verification"]["level"] == "Restore"
    assert scratch_of(backups.stage, claim) == set()


def refused(stage: Stage, user: str, password: str, database: str) -> str:
    """Why it isn't let in; empty: it is."""
    server = stage.postgres
    try:
        psycopg.connect(
            host=server.host,
            port=server.port,
            user=user,
            password=password,
            dbname=database,
            sslmode="require",
        ).close()
    except psycopg.OperationalError as error:
        return str(error)
    return ""


def test_what_is_stored_is_restored_where_nobody_else_gets_in(backups: Backups, stage: Stage) -> None:
    gold = backups.policy(verification={"level": "Restore", "schedule": SELDOM})
    claim = backups.tenant()
    attach(stage, claim, b"a file")
    backups.create("first")
    check_completed(backups, "first", claim)
    eventually(lambda: backups.jobs("first") == [], "its Jobs are gone")
    before = stage.kube.live(backups.ref("first"))["status"]["verification"]["checkedAt"]

    stage.kubelet.slow.add("acme")
    try:
        stage.kube.patch(gold, {"spec": {"verification": {"schedule": OFTEN}}}, manager="gitops")
        job = eventually(
            lambda: [live for live in backups.jobs("first") if live["kind"] == "Secret"],
            "it is verified again",
            PATIENCE,
        )[0]
        metadata = job["metadata"]
        scratch, login = f"t_{claim}_scratch", f"t_{claim}_scratch_in"
        password = stage.value(metadata["namespace"], metadata["name"], "PGPASSWORD")
        own = stage.value(OPERATOR_NAMESPACE, f"tenant-{claim}", "database-password")
        assert scratch_of(stage, claim) == {scratch, login}
        assert refused(stage, login, password, scratch) == ""
        assert refused(stage, f"t_{claim}_a", own, f"t_{claim}") == ""
        assert "permission denied for database" in refused(stage, login, password, f"t_{claim}")
        assert "permission denied for database" in refused(stage, f"t_{claim}_a", own, scratch)
    finally:
        stage.kubelet.slow.discard("acme")
    stage.kube.until(
        backups.ref("first"),
        lambda live: live["status"]["verification"]["checkedAt"] > before,
        "was verified again",
        PATIENCE,
    )
    stage.kube.patch(gold, {"spec": {"verification": {"schedule": SELDOM}}}, manager="gitops")
    eventually(lambda: scratch_of(stage, claim) == set(), "nothing stays", PATIENCE)
    check_completed(backups, "first", claim)


def test_a_server_of_the_tenants_own_is_where_its_dumps_are_restored(backups: Backups, stage: Stage) -> None:
    give_secrets(backups.tenants, stage.postgres.admin_password)
    backups.policy(verification={"level": "Restore", "schedule": SELDOM})
    claim = backups.tenant(database=external(stage.postgres))
    backups.create("first")
    check_completed(backups, "first", claim)


def test_a_dump_that_can_not_be_restored_is_no_backup(backups: Backups, stage: Stage) -> None:
    gold = backups.policy(verification={"level": "Consistency", "schedule": SELDOM})
    claim = backups.tenant()
    stage.query(FAILS_ELSEWHERE.format(owner=f"t_{claim}"), database=f"t_{claim}")
    backups.create("read")
    live = backups.until_phase("read", "Completed", "Failed")
    assert live["status"]["phase"] == "Completed", live["status"]

    stage.kube.patch(gold, {"spec": {"verification": {"level": "Restore"}}}, manager="gitops")
    stage.kube.until(
        gold, lambda p: p["status"]["observedGeneration"] == p["metadata"]["generation"], "is seen", PATIENCE
    )
    backups.create("restored")
    live = backups.until_phase("restored", "Completed", "Failed")
    verification = live["status"]["verification"]
    assert (live["status"]["phase"], verification["level"], verification["result"]) == (
        "Failed", "Restore", "Failed",
    )  # fmt: skip
    assert condition(live, "Verified")["reason"] == "RestoreFailed"
    assert "ir_module_module" in verification["message"]
    said = backups.tenants.until_condition("acme", "BackupHealthy", "False", "NotVerified")
    assert "RestoreFailed" in said["message"]
    assert scratch_of(stage, claim) == set()


@pytest.fixture
def begin(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartProcess]:
    with successors(stage.plane.kubeconfig, POOL, lambda: tmp_path_factory.mktemp("scratchy")) as start:
        yield start


def test_what_a_dead_operator_left_is_gone(stage: Stage, store: S3Process, begin: StartProcess) -> None:
    tenants = Tenants(stage, NAMESPACE)
    backups = Backups(tenants, store)
    stage.namespace(NAMESPACE)
    stage.create_pool(POOL)
    made = Death("after", "postgres database t_#_scratch: open")
    first = begin([made])
    backups.policy(verification={"level": "Restore"})
    claim = backups.tenant(poolRef={"name": POOL})
    backups.create("goes-on")
    assert first.died_at() == made
    assert scratch_of(stage, claim) != set()
    second = begin(())
    check_completed(backups, "goes-on", claim)
    eventually(lambda: backups.jobs("goes-on") == [], "its Jobs are gone")
    second.close()

    third = begin([made])
    backups.create("given-up")
    assert third.died_at() == made
    assert scratch_of(stage, claim) != set()
    stage.kube.delete(backups.ref("given-up"))
    begin(())
    tenants.until_event("acme", "ScratchDatabaseDropped", f"t_{claim}_scratch")
    assert scratch_of(stage, claim) == set()
    tenants.clear()
    stage.drop_pools([POOL])

"""A cluster is lost with all that was in it and on its servers. Git, the store and the recovery key are left, and three
tenants come back at once, through an operator that has never heard of them."""

from __future__ import annotations

import os
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pytest
from tests.integration.reconcile.backup_stage import PATIENCE, Backups
from tests.integration.reconcile.restore_stage import KIND, Restores
from tests.integration.reconcile.stage import OPERATOR_NAMESPACE, Stage, Tenants, condition, namespace_ref
from tests.support.life import StartProcess, successors
from tests.support.s3 import S3Process
from tests.support.waiting import eventually

from odoo_tenancy.api.meta import API_VERSION
from odoo_tenancy.cluster.objects import ObjectRef

POOL = "lostcluster"
NAMES = ("acme", "globex", "initech")
NOBODY = "0" * 32


@dataclass(frozen=True)
class Was:
    """What a tenant was."""

    claim: str
    said: str
    files: set[str]
    parameters: dict[str, str]


@pytest.fixture
def begin(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartProcess]:
    with successors(stage.plane.kubeconfig, POOL, lambda: tmp_path_factory.mktemp(POOL)) as start:
        yield start


@pytest.fixture
def restores(stage: Stage, store: S3Process, begin: StartProcess) -> Iterator[Restores]:
    tenants = Tenants(stage, f"lost-cluster-{secrets.token_hex(3)}")
    made = Restores(Backups(tenants, store))
    yield made
    for kind in ("BackupPolicy", KIND, "TenantBackup"):
        for live in stage.kube.list(API_VERSION, kind, tenants.namespace):
            stage.kube.delete(ObjectRef(API_VERSION, kind, tenants.namespace, live["metadata"]["name"]))
    made.backups.tenants.clear()
    stage.drop_pools([POOL])


def git(restores: Restores, **pool: object) -> None:
    """All that is there of a platform but its tenants."""
    stage = restores.backups.stage
    stage.namespace(restores.backups.namespace)
    stage.create_pool(POOL, **pool)
    restores.backups.policy()


def create(restores: Restores, name: str, **over: object) -> None:
    restores.backups.tenants.create(
        name, tenancy="Shared", poolRef={"name": POOL}, backup={"policyRef": {"name": "gold"}}, **over
    )


def parameters(stage: Stage, claim: str) -> dict[str, str]:
    return dict(stage.query("SELECT key, value FROM ir_config_parameter", database=f"t_{claim}"))


def backed_up(restores: Restores, *names: str, **spec: object) -> None:
    """One backup of each of these, at once."""
    for name in names:
        restores.backups.create(f"{name}-backup", name, **spec)
    for name in names:
        live = restores.backups.until_phase(f"{name}-backup", "Completed", "Failed")
        assert live["status"]["phase"] == "Completed", live["status"]


def destroy(stage: Stage, namespace: str, claims: Mapping[str, str]) -> None:
    """Objects without anybody who would clear up after them; Secrets, databases, roles, volumes."""
    kube = stage.kube
    for kind in ("OdooTenant", "TenantBackup", KIND, "BackupPolicy", "HostingPool"):
        where = "" if kind == "HostingPool" else namespace
        for live in kube.list(API_VERSION, kind, where):
            if kind == "HostingPool" and live["metadata"]["name"] != POOL:
                continue
            ref = ObjectRef(API_VERSION, kind, where, live["metadata"]["name"])
            kube.patch(ref, {"metadata": {"finalizers": None}})
            kube.delete(ref)
    doomed = (namespace, f"odoo-pool-{POOL}")
    for name in doomed:
        kube.delete(namespace_ref(name))
    for claim in claims.values():
        kube.delete(ObjectRef("v1", "Secret", OPERATOR_NAMESPACE, f"tenant-{claim}"))
        stage.query(f"DROP DATABASE t_{claim} WITH (FORCE)")
        for role in sorted(each for each in stage.roles() if claim in each):
            stage.query(f"DROP ROLE {role}")
        shutil.rmtree(stage.kubelet.filestore(claim))
    for name in doomed:
        kube.until_gone(namespace_ref(name))
    assert not [each for each in stage.databases() for claim in claims.values() if claim in each]
    assert not {f"tenant-{claim}" for claim in claims.values()} & stage.vaults()


def test_git_the_store_and_the_recovery_key_are_enough(
    restores: Restores, stage: Stage, begin: StartProcess
) -> None:
    tenants, backups = restores.backups.tenants, restores.backups
    operator = begin(())
    was = _live_and_are_backed_up(restores)
    moment = stage.kube.live(backups.ref("initech-backup"))["status"]["recoveryPoint"]
    _more_of_initech(restores, was["initech"].claim)
    operator.close()
    destroy(stage, backups.namespace, {name: each.claim for name, each in was.items()})

    lost = time.monotonic()
    git(restores)
    how: dict[str, dict[str, object]] = {"globex": {"neutralize": True}, "initech": {"at": moment}}
    claims = {name: each.claim for name, each in was.items()} | {"nobody": NOBODY}
    for name, claim in claims.items():
        source = {"policyRef": {"name": "gold"}, "claim": claim, **how.get(name, {})}
        create(restores, name, bootstrap={"fromRepository": source})
    begin(())
    for name in NAMES:
        tenants.until_ready(name, PATIENCE)
        print(f"{name} was Ready {time.monotonic() - lost:.1f} s after the loss")
    for name, each in was.items():
        _has_come_back(restores, name, each)
    refused = tenants.until_condition("nobody", "DatabaseReady", "False", "ClaimNotFound", PATIENCE)
    assert NOBODY in refused["message"]
    _catalogue_is_there(restores, was)


def _live_and_are_backed_up(restores: Restores) -> dict[str, Was]:
    """Three tenants, each with a record, a file, and something that acts by itself."""
    stage, tenants = restores.backups.stage, restores.backups.tenants
    git(restores)
    for name in NAMES:
        create(restores, name)
    claims = {name: tenants.until_ready(name, PATIENCE)["status"]["claim"] for name in NAMES}
    for name, claim in claims.items():
        restores.write(claim, f"{name} {os.urandom(4).hex()}")
        stage.query("INSERT INTO ir_cron (active) VALUES (true)", database=f"t_{claim}")
    backed_up(restores, *NAMES)
    stage.kube.patch(restores.backups.ref("acme-backup"), {"spec": {"hold": True}}, manager="gitops")
    stage.kube.until(
        restores.backups.ref("acme-backup"),
        lambda live: condition(live, "Held").get("status") == "True",
        "is held in the store",
        PATIENCE,
    )
    return {
        name: Was(claim, restores.said(claim), restores.files(claim)[1], parameters(stage, claim))
        for name, claim in claims.items()
    }


def _more_of_initech(restores: Restores, claim: str) -> None:
    """A later backup, before which it is to come back to."""
    restores.write(claim, "too late")
    restores.backups.create("initech-later", "initech")
    restores.backups.until_phase("initech-later", "Completed")


def _has_come_back(restores: Restores, name: str, was: Was) -> None:
    stage = restores.backups.stage
    claim = restores.backups.tenants.made[name]
    assert claim != was.claim
    named, there = restores.files(claim)
    assert (restores.said(claim), there) == (was.said, was.files)
    assert named == there
    now = parameters(stage, claim)
    ((active,),) = stage.query("SELECT count(*) FROM ir_cron WHERE active", database=f"t_{claim}")
    if name == "globex":  # a rehearsal
        assert (now["database.is_neutralized"], active) == ("true", 0)
        assert now["database.uuid"] != was.parameters["database.uuid"]
        return
    assert active
    for key in ("database.uuid", "database.secret", "database.create_date"):
        assert now[key] == was.parameters[key]


def _catalogue_is_there(restores: Restores, was: Mapping[str, Was]) -> None:
    """Every backup has its object again, with the claim that was; what was held is held."""
    backups = restores.backups
    for name in (*(f"{name}-backup" for name in NAMES), "initech-later"):
        live = backups.until_phase(name, "Completed")
        tenant = name.partition("-")[0]
        assert live["metadata"]["labels"]["odootenancy.io/claim"] == was[tenant].claim
        assert live["spec"].get("hold", False) == (name == "acme-backup")


def test_restores_take_turns_also_after_a_restart(
    restores: Restores, stage: Stage, begin: StartProcess
) -> None:
    """And what one of them restores is neutral before it serves."""
    git(restores, backups={"maxConcurrent": 1})
    operator = begin(())
    for name in NAMES[:2]:
        create(restores, name)
    for name in NAMES[:2]:
        claim = restores.backups.tenants.until_ready(name, PATIENCE)["status"]["claim"]
        restores.write(claim, "before")
        stage.query("INSERT INTO ir_cron (active) VALUES (true)", database=f"t_{claim}")
    backed_up(restores, *NAMES[:2])
    for name, neutralize in (("acme", True), ("globex", False)):
        restores.write(restores.backups.tenants.made[name], "after")
        restores.create(name, {"backupRef": {"name": f"{name}-backup"}}, name, neutralize=neutralize)
    _waits(restores, "globex")
    restores.until_phase("acme", "Running")
    operator.close()
    begin(())

    steps = set()

    def is_over() -> bool:
        other = _status(restores, "globex")[
            "phase"
        ]  # asked first: it may begin as soon as the one before it is over
        status = _status(restores, "acme")
        if status["phase"] != "Running":
            return True
        steps.add(status.get("step"))
        assert other == "Pending"
        return False

    eventually(is_over, lambda: f"acme's restore is over; {_status(restores, 'acme')}", pause=0.2)
    assert _status(restores, "acme")["phase"] == "Completed"
    assert "Stopping" in steps or "Swapping" in steps, steps
    assert restores.until_phase("globex", "Completed", "Failed")["status"]["phase"] == "Completed"
    for name, active in (("acme", 0), ("globex", 1)):
        claim = restores.backups.tenants.made[name]
        assert restores.said(claim) == "before"
        assert stage.query("SELECT count(*) FROM ir_cron WHERE active", database=f"t_{claim}") == [(active,)]


def _status(restores: Restores, name: str) -> dict[str, object]:
    return dict(restores.backups.stage.kube.live(restores.ref(name)).get("status") or {})


def _waits(restores: Restores, name: str) -> None:
    live = restores.backups.stage.kube.until(
        restores.ref(name), lambda r: condition(r, "Ready").get("reason") == "PoolBusy", "waits", PATIENCE
    )
    assert "1 restores run in HostingPool" in live["status"]["message"]

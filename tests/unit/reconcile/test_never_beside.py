"""Nobody is at work in a repository beside the one Job that removes from it, and nobody begins while one is on its way."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from tests.unit.reconcile.objects import known, pool, tenant
from tests.unit.reconcile.test_backup import backup, running

from odoo_tenancy.api.errors import Waiting
from odoo_tenancy.api.meta import Key, Manifest
from odoo_tenancy.cluster.children import Children
from odoo_tenancy.reconcile import backup_begin, restore_begin
from odoo_tenancy.reconcile.backup_memory import Backups
from odoo_tenancy.reconcile.memory import TenantRecord, Tenants
from odoo_tenancy.reconcile.restore_memory import Restores
from odoo_tenancy.reconcile.upkeep import UpkeepReconciler
from odoo_tenancy.reconcile.upkeep_memory import Upkeep

ACME = Key("OdooTenant", "tenants", "acme")
RESTORE: Manifest = {
    "metadata": {"name": "one", "namespace": "tenants", "uid": "one", "resourceVersion": "1"},
    "spec": {"tenantRef": {"name": "acme"}},
    "status": {"phase": "Running", "step": "Restoring"},
}


def another(name: str, phase: str = "Running") -> Manifest:
    """A backup of the other tenant."""
    body = backup(name, phase)
    body["spec"]["tenantRef"]["name"] = "other"
    return body


def world_of(*backups: Manifest, most: int = 4) -> Any:
    """Two tenants of one pool, and what is remembered of their backups."""
    remembered, tenants = Backups(), Tenants()
    for body in backups:
        remembered.saw("ADDED", body)
    for name in ("acme", "other"):
        tenants.remember(known(tenant(name)))
    return SimpleNamespace(
        backups=remembered, tenants=tenants, restores=Restores(), upkeep=Upkeep(), children=Children(),
        pools={"main": pool(backups={"maxConcurrent": most})},
    )  # fmt: skip


def record(world: Any, name: str = "acme") -> TenantRecord:
    found = world.tenants.get(Key("OdooTenant", "tenants", name))
    assert found is not None
    return cast(TenantRecord, found)


def reason_of_care(world: Any, *, verifies: bool = False) -> str:
    """Why a Job for acme's repository waits; empty: it may begin."""
    try:
        UpkeepReconciler(world)._check_room(record(world), verifies=verifies)
    except Waiting as waits:
        return waits.reason
    return ""


@pytest.mark.parametrize("phase", ["Running", "Verifying"])
@pytest.mark.parametrize("verifies", [True, False])
def test_the_care_for_a_repository_waits_for_its_backup(phase: str, verifies: bool) -> None:
    assert reason_of_care(world_of(backup("first", phase)), verifies=verifies) == "BackupRuns"
    assert reason_of_care(world_of(another("first", phase)), verifies=verifies) == ""
    assert reason_of_care(world_of(backup("first")), verifies=verifies) == ""


def test_one_that_has_its_place_and_no_job_yet_is_waited_for() -> None:
    world = world_of(backup("first"))
    backup_begin.admit(world, running())
    assert reason_of_care(world) == "BackupRuns"


def test_the_care_for_a_repository_waits_for_a_restore() -> None:
    world = world_of()
    world.restores.saw("ADDED", RESTORE)
    assert reason_of_care(world) == "RestoreRuns"


def test_neither_a_backup_nor_a_restore_begins_beside_it() -> None:
    world = world_of(backup("first"))
    backup_begin.check_room(world, running())
    world.upkeep.begin(ACME, "main")
    for check in (
        lambda: backup_begin.check_room(world, running()),
        lambda: backup_begin.check_not_maintained(world, record(world)),
    ):
        with pytest.raises(Waiting) as waits:
            check()
        assert waits.value.reason == "RepositoryMaintained"
    world.upkeep.end(ACME)
    backup_begin.check_room(world, running())


async def test_a_restore_asks_before_it_takes_the_tenant(monkeypatch: pytest.MonkeyPatch) -> None:
    world = world_of()
    world.upkeep.begin(ACME, "main")
    world.restores.saw("ADDED", {**RESTORE, "status": {}})
    active: Any = SimpleNamespace(
        owner=SimpleNamespace(key=Key("TenantRestore", "tenants", "one")), tenant=ACME
    )
    with pytest.raises(Waiting) as waits:
        await restore_begin.begin(world, active)
    assert waits.value.reason == "RepositoryMaintained"
    assert world.restores.of(ACME) is None, "nobody else waits for it"


@pytest.mark.parametrize(
    ("status", "going", "waits"),
    [
        ({}, False, True),  # suspended: it may be let go at any moment
        ({"active": 1}, False, True),
        ({"conditions": [{"type": "Complete", "status": "True"}]}, False, False),
        ({"conditions": [{"type": "Failed", "status": "True"}]}, False, False),
        ({"conditions": [{"type": "FailureTarget", "status": "True"}]}, False, True),
        ({"active": 1}, True, False),
    ],
)
async def test_a_job_of_whoever_in_the_repository_is_waited_for(
    status: Manifest, going: bool, waits: bool
) -> None:
    """A copy's that reads it, a former operator's: asked of the API server, and not remembered."""
    live = {"metadata": {"name": "odoo-restore-1", "namespace": "odoo-copy"}, "status": status}
    if going:
        live["metadata"]["deletionTimestamp"] = "2026-11-23T12:00:00Z"
    asked: list[str] = []

    async def listed(_: str, kind: str, *, label_selector: str) -> list[Manifest]:
        asked.append(label_selector)
        return [live] if kind == "Job" else []

    reconciler = UpkeepReconciler(cast(Any, SimpleNamespace(cluster=SimpleNamespace(list=listed))))
    who = cast(Any, SimpleNamespace(claim="0" * 32))
    if waits:
        with pytest.raises(Waiting, match="odoo-copy/odoo-restore-1") as raised:
            await reconciler._pods_at_work(who)
        assert raised.value.reason == "RepositoryInUse"
    else:
        assert await reconciler._pods_at_work(who) == []
    assert set(asked) == {f"odootenancy.io/repository={'0' * 32}"}


@pytest.mark.parametrize(
    ("others", "verifies", "expected"),
    [
        (["a"], True, "PoolBusy"),
        (["a"], False, ""),  # maintenance runs beside the operator, and takes no place where tenants run
        ([], True, ""),
    ],
)
def test_of_a_pool_no_more_run_than_it_allows(others: list[str], verifies: bool, expected: str) -> None:
    assert reason_of_care(world_of(*map(another, others), most=1), verifies=verifies) == expected


def test_a_backup_waits_for_a_place_in_its_pool() -> None:
    with pytest.raises(Waiting, match=r"spec\.backups\.maxConcurrent 2") as waits:
        backup_begin.check_room(world_of(another("a"), another("b"), most=2), running())
    assert waits.value.reason == "PoolBusy"
    backup_begin.check_room(world_of(another("a"), another("b"), most=3), running())
    backup_begin.check_room(world_of(another("a"), another("b", "Completed"), most=2), running())

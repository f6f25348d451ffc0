"""Deleting a TenantBackup, a BackupPolicy or a tenant takes nothing out of the bucket."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.integration.reconcile.backup_stage import Backups, attach
from tests.integration.reconcile.stage import Stage, Tenants
from tests.support.operator_process import OperatorProcess
from tests.support.s3 import LOCKED, S3Process
from tests.support.waiting import eventually

from odoo_tenancy.api.meta import API_VERSION
from odoo_tenancy.cluster.objects import ObjectRef

Inventory = dict[tuple[str, str], bool]


@pytest.fixture
def backups(tenants: Tenants, store: S3Process) -> Iterator[Backups]:
    made = Backups(tenants, store)
    yield made
    for live in tenants.stage.kube.list(API_VERSION, "TenantBackup", made.namespace):
        tenants.stage.kube.delete(made.ref(live["metadata"]["name"]))


def inventory(backups: Backups) -> Inventory:
    """All versions of all objects, delete markers too, and which of them is seen."""
    found: Inventory = {}
    pages = backups.store.client().get_paginator("list_object_versions")
    for page in pages.paginate(Bucket=LOCKED, Prefix=f"{backups.namespace}/"):
        for each in (*page.get("Versions", ()), *page.get("DeleteMarkers", ())):
            found[each["Key"], each["VersionId"]] = each["IsLatest"]
    return found


def delete_and_look(stage: Stage, operator: OperatorProcess, ref: ObjectRef) -> None:
    """It is gone, and the operator has done what it does about that."""
    before = len(operator.looks(ref.name))
    stage.kube.delete(ref)
    stage.kube.until_gone(ref)
    eventually(lambda: len(operator.looks(ref.name)) > before, f"the operator looks at {ref}")


def test_whatever_is_deleted_every_key_stays_as_it_was(
    backups: Backups, stage: Stage, operator: OperatorProcess
) -> None:
    gold = backups.policy(store={"s3": {"bucket": LOCKED}})
    claim = backups.tenant(deletion={"policy": "Retain"})
    attach(stage, claim, b"a file")
    for name in ("deleted", "kept"):
        backups.create(name)
        backups.until_completed(name)
    eventually(lambda: not any(map(backups.jobs, ("deleted", "kept"))), "nothing of their Jobs is left")
    before = inventory(backups)
    seen = {key for (key, _), latest in before.items() if latest}
    assert f"{backups.namespace}/{claim}/manifests/deleted.json" in seen
    assert any(key.startswith(f"{backups.namespace}/{claim}/restic/data/") for key in seen)

    delete_and_look(stage, operator, backups.ref("deleted"))
    assert inventory(backups) == before
    delete_and_look(stage, operator, gold)
    assert inventory(backups) == before
    backups.tenants.delete("acme")
    assert inventory(backups) == before

    backups.tenants.create("acme", adopt={"claim": claim})
    backups.tenants.until_ready("acme")
    assert inventory(backups) == before

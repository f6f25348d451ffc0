"""The care for a repository through the running operator: what isn't kept goes with its object, what is held stays, and
what rots is told."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.integration.reconcile.backup_stage import PATIENCE, Backups, attach
from tests.integration.reconcile.stage import Stage, Tenants, condition
from tests.support.s3 import PLAIN, S3Process
from tests.support.waiting import eventually

from odoo_tenancy.api.meta import API_VERSION

SELDOM, OFTEN = "0 0 1 1 *", "* * * * *"
KEEP_ONE = {"keepWithin": "0s", "keepLast": 1, "keepDaily": 0, "keepWeekly": 0, "keepMonthly": 0}


@pytest.fixture
def backups(tenants: Tenants, store: S3Process) -> Iterator[Backups]:
    made = Backups(tenants, store)
    yield made
    for live in tenants.stage.kube.list(API_VERSION, "TenantBackup", made.namespace):
        tenants.stage.kube.delete(made.ref(live["metadata"]["name"]))


def test_the_life_of_a_repository(backups: Backups, stage: Stage) -> None:
    ref = backups.policy(
        retention=KEEP_ONE, maintenance={"schedule": SELDOM}, verification={"schedule": SELDOM}
    )
    claim = backups.tenant()
    attach(stage, claim, b"a file")
    for name in ("held", "old", "new"):
        backups.create(name, hold=name == "held")
        live = backups.until_phase(name, "Completed", "Failed")
        assert live["status"]["phase"] == "Completed", live["status"]

    def objects() -> set[str]:
        found = stage.kube.list(API_VERSION, "TenantBackup", backups.namespace)
        return {live["metadata"]["name"] for live in found}

    def stored() -> set[str]:
        prefix = f"{backups.namespace}/{claim}/manifests/"
        said = backups.store.client().list_objects_v2(Bucket=PLAIN, Prefix=prefix)
        return {each["Key"].removeprefix(prefix).removesuffix(".json") for each in said.get("Contents", ())}

    stage.kube.patch(ref, {"spec": {"maintenance": {"schedule": OFTEN}}}, manager="gitops")
    eventually(
        lambda: objects() == {"held", "new"},
        lambda: (
            f"the old one goes, not {objects()}; {condition(stage.kube.live(ref), 'RepositoriesMaintained')}"
        ),
        PATIENCE,
    )
    assert stored() == {"held", "new"}
    stage.kube.patch(ref, {"spec": {"maintenance": {"schedule": SELDOM}}}, manager="gitops")
    stage.kube.until(
        ref, lambda p: condition(p, "RepositoriesMaintained").get("reason") == "UpToDate", "is told", PATIENCE
    )
    assert backups.tenants.live("acme")["status"]["backup"]["lastMaintained"]

    held = backups.ref("held")
    key = stage.kube.live(held)["status"]["manifest"]["key"]
    backups.store.client().delete_object(Bucket=PLAIN, Key=key)
    stage.kube.patch(ref, {"spec": {"verification": {"schedule": OFTEN}}}, manager="gitops")
    rotten = stage.kube.until(
        held,
        lambda live: live["status"]["verification"]["result"] == "Failed",
        "is looked at again",
        PATIENCE,
    )
    assert (rotten["status"]["phase"], condition(rotten, "Verified")["reason"]) == (
        "Completed",
        "ManifestMissing",
    )
    backups.tenants.until_condition("acme", "BackupHealthy", "False", "NotVerified")
    stage.kube.patch(ref, {"spec": {"verification": {"schedule": SELDOM}}}, manager="gitops")

"""Restores through the running operator: real Jobs as processes, a real PostgreSQL, restic, and an S3 server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.integration.reconcile.backup_stage import Backups
from tests.integration.reconcile.restore_stage import KIND, Restores
from tests.integration.reconcile.stage import Stage, Tenants, condition
from tests.support.operator_process import OperatorProcess
from tests.support.s3 import PLAIN, S3Process
from tests.support.waiting import eventually

from odoo_tenancy.api.meta import API_VERSION


@pytest.fixture
def restores(tenants: Tenants, store: S3Process) -> Iterator[Restores]:
    backups = Backups(tenants, store)
    made = Restores(backups)
    yield made
    for kind in (KIND, "TenantBackup"):
        for live in tenants.stage.kube.list(API_VERSION, kind, backups.namespace):
            name = live["metadata"]["name"]
            tenants.stage.kube.delete(made.ref(name) if kind == KIND else backups.ref(name))


def test_what_was_comes_back_and_what_fails_leaves_what_lives(
    restores: Restores, stage: Stage, operator: OperatorProcess
) -> None:
    backups = restores.backups
    backups.policy()
    claim = backups.tenant()
    restores.write(claim, "before")
    stage.query("INSERT INTO ir_cron (active) VALUES (true)", database=f"t_{claim}")
    backups.create("good")
    assert backups.until_phase("good", "Completed", "Failed")["status"]["phase"] == "Completed"
    before = restores.files(claim)
    restores.write(claim, "after")
    after = restores.files(claim)

    _comes_to_nothing(restores, claim)
    _brings_back(restores, claim)
    assert restores.files(claim) == before != after

    restores.write(claim, "later")
    later = restores.files(claim)
    _goes_back(restores, stage, claim)
    _is_not_neutral(restores, stage)
    _is_damaged(restores, claim)
    assert (restores.said(claim), restores.files(claim)) == ("later", later)
    assert restores.beside(claim) == set()
    backups.tenants.until_ready("acme")


def _comes_to_nothing(restores: Restores, claim: str) -> None:
    """Expired, refused: nothing is touched, and no safety backup is made."""
    good = {"backupRef": {"name": "good"}}
    restores.backups.create("of-another", "nobody")
    restores.create("expired", good, notAfter="2020-01-01T00:00:00Z")
    restores.create("wrong", {"backupRef": {"name": "of-another"}})
    assert restores.until_phase("expired", "Expired", "Failed", "Completed")["status"]["phase"] == "Expired"
    live = restores.until_phase("wrong", "Failed", "Completed", "Running")
    assert (live["status"]["phase"], live["status"]["reason"]) == ("Failed", "BackupOfAnotherTenant")
    assert "safetyBackup" not in live["status"]
    assert restores.said(claim) == "after"


def _brings_back(restores: Restores, claim: str) -> None:
    backups, kube = restores.backups, restores.backups.stage.kube
    restores.create("undo", {"latest": True})
    kube.until(
        restores.ref("undo"),
        lambda live: (live.get("status") or {}).get("step") == "SafetyBackup",
        "makes a backup first",
    )
    live = restores.until_phase("undo", "Completed", "Failed")
    status = live["status"]
    assert status["phase"] == "Completed", status
    assert status["backup"] == "good"
    safety = kube.live(backups.ref(status["safetyBackup"]))
    assert (safety["spec"]["reason"], safety["status"]["phase"]) == ("PreRestore", "Completed")
    assert restores.said(claim) == "before"
    assert restores.beside(claim) == set()
    tenant = backups.tenants.until_ready("acme")
    assert tenant["status"]["phase"] == "Ready"
    eventually(lambda: restores.left("undo") == [], lambda: f"all is gone but {restores.left('undo')}")
    assert "finalizers" not in kube.live(restores.ref("undo"))["metadata"]


def _goes_back(restores: Restores, stage: Stage, claim: str) -> None:
    """Swapped already, and then the image may not serve what was restored."""
    stage.kubelet.unfit_images["odoo:19.0"] = "the database is of another series"
    try:
        restores.create("unfit", {"backupRef": {"name": "good"}})
        stage.kube.until(
            restores.backups.tenants.ref("acme"),
            lambda live: live["status"]["phase"] == "Restoring",
            "is being restored",
            180,
        )
        status = restores.until_phase("unfit", "Completed", "Failed")["status"]
    finally:
        stage.kubelet.unfit_images.clear()
    assert (status["phase"], status["reason"]) == ("Failed", "NotStarted")
    assert "another series" in status["message"]
    assert restores.said(claim) == "later"
    restores.backups.tenants.until_ready("acme")


def _is_not_neutral(restores: Restores, stage: Stage) -> None:
    """What was to be neutral, and isn't, takes nobody's place: Odoo isn't even stopped."""
    stage.kubelet.half_neutral.add("odoo:19.0")
    try:
        restores.create("neutral", {"backupRef": {"name": "good"}}, neutralize=True)
        status = restores.until_phase("neutral", "Completed", "Failed")["status"]
    finally:
        stage.kubelet.half_neutral.clear()
    assert (status["phase"], status["reason"]) == ("Failed", "NotNeutralized")
    assert "scheduled actions" in status["message"]


def _is_damaged(restores: Restores, claim: str) -> None:
    key = restores.backups.stage.kube.live(restores.backups.ref("good"))["status"]["manifest"]["key"]
    content = restores.backups.document(key)
    restores.backups.store.client().put_object(Bucket=PLAIN, Key=key, Body=content + b" ")
    restores.create("damaged", {"backupRef": {"name": "good"}})
    live = restores.until_phase("damaged", "Completed", "Failed")
    assert (live["status"]["phase"], live["status"]["reason"]) == ("Failed", "ManifestChanged")
    assert condition(live, "Ready")["status"] == "False"
    assert condition(restores.backups.tenants.live("acme"), "Ready")["status"] == "True"

"""``deletion.policy: Backup``: nothing goes before a last backup was read back, and then everything goes."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import subprocess
from pathlib import Path

import pytest
from tests.integration.reconcile.backup_stage import PATIENCE, RECOVERY_KEY, Backups, attach
from tests.integration.reconcile.stage import (
    OPERATOR_NAMESPACE,
    Stage,
    Tenants,
    condition,
    namespace_ref,
    secret_ref,
)
from tests.support.restic import environment
from tests.support.s3 import PLAIN, S3Process
from tests.support.waiting import eventually

from odoo_tenancy.api.meta import API_VERSION, Manifest
from odoo_tenancy.cluster.objects import ObjectRef

WHOLE_BACKUP = 2 * PATIENCE
"""Seconds for all three of its Jobs."""
FILE = b"an invoice that was never printed"
SHA1 = hashlib.sha1(FILE, usedforsecurity=False).hexdigest()


@pytest.fixture
def backups(tenants: Tenants, store: S3Process) -> Backups:
    return Backups(tenants, store)


def begin(backups: Backups, *, file_is_there: bool = True) -> str:
    """A tenant with data, whose vault has what a last backup needs; its claim."""
    backups.policy()
    claim = backups.tenant(deletion={"policy": "Backup"})
    stage = backups.stage
    attach(stage, claim, FILE, written=file_is_there)
    vault = secret_ref(OPERATOR_NAMESPACE, f"tenant-{claim}")
    live = stage.kube.until(vault, lambda v: "last-backup-policy" in v["data"], "has what is needed")
    assert RECOVERY_KEY not in base64.b64decode(live["data"]["last-backup-policy"]).decode()
    return claim


def manifests(backups: Backups, claim: str) -> list[Manifest]:
    """Those in the store, in order of their names."""
    prefix = f"{backups.namespace}/{claim}/manifests/"
    found = backups.store.client().list_objects_v2(Bucket=PLAIN, Prefix=prefix).get("Contents") or []
    return [json.loads(backups.document(each["Key"])) for each in found]


def dump_of(backups: Backups, manifest: Manifest, folder: Path) -> bytes:
    """The dump, with nothing but the store and the recovery key: the tenant's own key is gone."""
    path = manifest["repository"]
    password = hmac.new(RECOVERY_KEY.encode(), path.encode(), hashlib.sha256).hexdigest()
    store = backups.store
    command = [
        "restic", "--repo", f"s3:{store.endpoint}/{PLAIN}/{path}", "--cacert", str(store.ca_file), "--no-cache",
        "dump", manifest["snapshots"]["database"], "/database.dump",
    ]  # fmt: skip
    found = environment(RESTIC_PASSWORD=password, **store.root.environment)
    return subprocess.run(command, env=found, capture_output=True, check=True, cwd=folder).stdout


def test_a_namespace_that_goes_waits_for_the_last_backup_of_its_tenant(
    backups: Backups, stage: Stage, tmp_path: Path
) -> None:
    before = stage.inventory()
    claim = begin(backups)
    try:
        backups.store.stop()
        stage.kube.delete(namespace_ref(backups.namespace))
        said = backups.tenants.until_condition("acme", "Ready", "False", "StoreUnreachable", PATIENCE)
        assert "nothing is deleted" in said["message"]
        assert "spec.deletion.policy" in said["message"]
        assert f"t_{claim}" in stage.databases()
        eventually(
            lambda: stage.kube.list("v1", "Secret", backups.namespace) == [], "what the policy needs is gone"
        )
    finally:
        backups.store.start()
    stage.kube.until_gone(backups.tenants.ref("acme"), WHOLE_BACKUP)
    stage.kube.until_gone(namespace_ref(backups.namespace))
    assert stage.inventory() == before
    (manifest,) = manifests(backups, claim)
    assert (manifest["reason"], manifest["tenant"], manifest["policy"]) == ("Final", "acme", "gold")
    assert manifest["recoveryKeys"] == ["2026a"]
    assert manifest["filestore"]["bytes"] == len(FILE)
    assert SHA1.encode() in dump_of(backups, manifest, tmp_path)


def test_a_last_backup_that_failed_keeps_the_tenant_until_it_is_mended(
    backups: Backups, stage: Stage
) -> None:
    before = stage.inventory()
    claim = begin(backups, file_is_there=False)
    stage.kube.delete(backups.tenants.ref("acme"))
    said = stage.kube.until(
        backups.tenants.ref("acme"),
        lambda live: "next attempt" in condition(live, "Ready")["message"],
        "says when it tries again",
        PATIENCE,
    )
    assert condition(said, "Ready")["reason"] not in ("JobFailed", "Deleting")  # the Job's own
    assert "nothing is deleted" in condition(said, "Ready")["message"]
    assert f"t_{claim}" in stage.databases()
    assert manifests(backups, claim) == []
    file = stage.kubelet.filestore(claim) / "filestore" / f"t_{claim}" / SHA1[:2] / SHA1
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(FILE)
    gold = ObjectRef(API_VERSION, "BackupPolicy", backups.namespace, "gold")
    stage.kube.patch(gold, {"spec": {"timeout": "11m"}}, manager="gitops")
    stage.kube.until_gone(backups.tenants.ref("acme"), WHOLE_BACKUP)
    backups.tenants.until_event("acme", "LastBackupMade", "acme-final-")
    assert stage.inventory() == before
    assert [each["reason"] for each in manifests(backups, claim)] == ["Final"]

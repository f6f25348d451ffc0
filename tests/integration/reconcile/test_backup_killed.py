"""The operator killed before and after its writes of one backup: the next one goes on, and what is Completed was stored
and read back, once. After each death the newest that is Completed is restored and compared."""

from __future__ import annotations

import hashlib
import json
import secrets

import pytest
from tests.integration.reconcile.backup_stage import attach
from tests.integration.reconcile.killed_stage import Victim, victim
from tests.integration.reconcile.stage import Stage
from tests.support.life import Act
from tests.support.s3 import S3Process

OURS = ("TenantBackup", "Job", "Secret crash", "Secret odoo", "NetworkPolicy")


def backup(tenant: Victim) -> Act:
    """One more, of what there is by then."""
    name = f"b-{secrets.token_hex(4)}"

    def do() -> None:
        attach(tenant.stage, tenant.claim, secrets.token_bytes(2000))
        tenant.back_up(name)

    return Act(name, do, lambda: tenant.is_backed_up(name), lambda: check_backup(tenant, name))


def check_backup(tenant: Victim, name: str) -> None:
    """It is what it says: its manifest is in the store, names its own snapshots, and every file of the database."""
    status = tenant.status(name)
    assert status["phase"] == "Completed", status
    assert status["verification"]["result"] == "Passed"
    content = tenant.backups.document(status["manifest"]["key"])
    assert hashlib.sha256(content).hexdigest() == status["manifest"]["sha256"]
    manifest = json.loads(content)
    assert manifest["backup"] == name
    assert manifest["database"]["attachments"]["files"] == len(tenant.taken[name].files)
    assert status["snapshots"]["database"] == manifest["snapshots"]["database"]


def test_killed_at_writes_of_a_backup(
    stage: Stage, store: S3Process, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """``SOAK=1``: at every one of them, before and after."""
    with victim(stage, store, "crash-backup", tmp_path_factory) as tenant:
        written = tenant.live(tenant.creation(), backup(tenant), backup(tenant))
        writes = [write for write in written if any(kind in write for kind in OURS)]
        assert len(writes) >= 10, writes
        tenant.die_at(writes, lambda: backup(tenant))

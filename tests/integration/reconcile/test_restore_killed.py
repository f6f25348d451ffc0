"""The operator killed before and after its writes of one restore: the next one goes on, and the tenant is what the backup
was, whole. After each death the newest backup that is Completed, that of what lived before, is restored and compared."""

from __future__ import annotations

import secrets

import pytest
from tests.integration.reconcile.killed_stage import Victim, victim
from tests.integration.reconcile.restore_stage import Restores
from tests.integration.reconcile.stage import Stage
from tests.support.life import Act
from tests.support.s3 import S3Process

OURS = ("TenantRestore", "create TenantBackup", "Job", "Secret", "NetworkPolicy", "Deployment", "database")
OTHERS = ("odoo-backup-", "odoo-verify-", "odoo-init-")
"""Of the safety backup, which ``test_backup_killed.py`` is about; and the Job that made the database, which the first
restore finds there and clears away: no later one does."""


def backup(tenant: Victim) -> Act:
    """What all restores bring back."""

    def do() -> None:
        Restores(tenant.backups).write(tenant.claim, "before")
        tenant.back_up("good")

    return Act("backup", do, lambda: tenant.is_backed_up("good"))


def restore(tenant: Victim) -> Act:
    """One more, of a tenant that has changed since."""
    restores, name = Restores(tenant.backups), f"r-{secrets.token_hex(4)}"
    safety = f"safety of {name}"

    def do() -> None:
        restores.write(tenant.claim, "after")
        tenant.taken[safety] = tenant.now()
        restores.create(name, {"backupRef": {"name": "good"}})

    def is_over() -> bool:
        """With what was made for it cleared away, and Odoo running: no write of one is counted to the next."""
        status = tenant.stage.kube.live(restores.ref(name)).get("status") or {}
        return (
            status.get("phase") in ("Completed", "Failed") and not restores.left(name) and tenant.is_ready()
        )

    def check() -> None:
        """A restore that a death cut short is no failed one, and nothing is left of what lived before."""
        status = tenant.stage.kube.live(restores.ref(name))["status"]
        assert status["phase"] == "Completed", status
        assert tenant.now() == tenant.taken["good"]
        assert restores.beside(tenant.claim) == set()
        tenant.taken[status["safetyBackup"]] = tenant.taken.pop(safety)
        assert tenant.status(status["safetyBackup"])["phase"] == "Completed"

    return Act(name, do, is_over, check)


def _is_ours(write: str) -> bool:
    return any(kind in write for kind in OURS) and not any(other in write for other in OTHERS)


def test_killed_at_writes_of_a_restore(
    stage: Stage, store: S3Process, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """``SOAK=1``: at every one of them, before and after."""
    with victim(stage, store, "crash-restore", tmp_path_factory) as tenant:
        written = tenant.live(tenant.creation(), backup(tenant), restore(tenant))
        writes = [write for write in written if _is_ours(write)]
        assert len(writes) >= 15, writes
        tenant.die_at(writes, lambda: restore(tenant))

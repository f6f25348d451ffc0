"""The operator killed before and after its writes of one restore: the next one goes on, and the tenant is what the backup
was, whole."""

from __future__ import annotations

import os
import random
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from tests.integration.reconcile.backup_stage import Backups
from tests.integration.reconcile.restore_stage import Restores
from tests.integration.reconcile.stage import Stage, Tenants
from tests.support.life import Act, Life, StartProcess, When, is_anothers, successors
from tests.support.operator_process import Death
from tests.support.s3 import S3Process

SOAK = bool(os.environ.get("SOAK"))
DRAWN = 3
POOL, NAMESPACE = "crashrestore", "crash-restore"
OURS = ("TenantRestore", "create TenantBackup", "Job", "Secret", "NetworkPolicy", "Deployment", "database")
OTHERS = ("odoo-backup-", "odoo-verify-", "odoo-init-")
"""Of the safety backup, which ``test_backup_killed.py`` is about; and the Job that made the database, which the first
restore finds there and clears away: no later one does."""


@dataclass
class Victim:
    """One tenant that is restored again and again."""

    stage: Stage
    restores: Restores
    names: list[str] = field(default_factory=list)
    files: tuple[set[str], set[str]] = (set(), set())

    def acts(self) -> list[Act]:
        return [
            Act("create", self._create, self._is_ready),
            Act("backup", self._back_up, self._is_backed_up),
            Act("again", self._restore, self._is_over, self._check),
            Act("disturbed", self._restore, self._is_over, self._check),
        ]

    def said(self) -> object:
        return [
            (self.stage.kube.get(self.restores.ref(name)) or {}).get("status") for name in self.names[-1:]
        ]

    @property
    def claim(self) -> str:
        return self.restores.backups.tenants.claim("acme")

    def _create(self) -> None:
        self.stage.namespace(NAMESPACE)
        self.stage.create_pool(POOL)
        self.restores.backups.policy()
        self.restores.backups.tenants.create(
            "acme",
            poolRef={"name": POOL},
            namespace="odoo-crash-restore",
            backup={"policyRef": {"name": "gold"}},
        )

    def _is_ready(self) -> bool:
        return self.restores.backups.tenants.is_ready("acme")

    def _back_up(self) -> None:
        self.restores.write(self.claim, "before")
        self.files = self.restores.files(self.claim)
        self.restores.backups.create("good")

    def _is_backed_up(self) -> bool:
        backups = self.restores.backups
        status = self.stage.kube.live(backups.ref("good")).get("status") or {}
        return status.get("phase") in ("Completed", "Failed") and not backups.jobs("good")

    def _restore(self) -> None:
        self.restores.write(self.claim, "after")
        self.names.append(f"r-{secrets.token_hex(4)}")
        self.restores.create(self.names[-1], {"backupRef": {"name": "good"}})

    def _is_over(self) -> bool:
        """With what was made for it cleared away, and Odoo running: no write of one is counted to the next."""
        live = self.stage.kube.live(self.restores.ref(self.names[-1]))
        ended = (live.get("status") or {}).get("phase") in ("Completed", "Failed")
        return ended and not self.restores.left(self.names[-1]) and self._is_ready()

    def _check(self) -> None:
        """A restore that a death cut short is no failed one, and nothing is left of what lived before."""
        status = self.stage.kube.live(self.restores.ref(self.names[-1]))["status"]
        assert status["phase"] == "Completed", status
        assert self.restores.said(self.claim) == "before"
        assert self.restores.files(self.claim) == self.files
        assert self.restores.beside(self.claim) == set()
        safety = self.stage.kube.live(self.restores.backups.ref(status["safetyBackup"]))
        assert safety["status"]["phase"] == "Completed"


def _is_ours(write: str) -> bool:
    if is_anothers(write, NAMESPACE):
        return False
    return any(kind in write for kind in OURS) and not any(other in write for other in OTHERS)


@pytest.fixture
def begin(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartProcess]:
    with successors(stage.plane.kubeconfig, POOL, lambda: tmp_path_factory.mktemp("crash-restore")) as start:
        yield start


def test_killed_at_writes_of_a_restore(stage: Stage, store: S3Process, begin: StartProcess) -> None:
    """``SOAK=1``: at every one of them, before and after."""
    tenants = Tenants(stage, NAMESPACE)
    victim = Victim(stage, Restores(Backups(tenants, store)))
    *calm, disturbed = victim.acts()
    lived = Life(calm, begin, victim.said)
    lived.live()
    writes = list(dict.fromkeys(w for w in lived.writes["again"] if _is_ours(w)))
    assert len(writes) >= 15, writes
    whens: tuple[When, ...] = ("before", "after")
    every = [Death(when, write) for write in writes for when in whens]
    seed = random.randrange(2**32)
    print(f"seed {seed}; {writes}")
    chosen = every if SOAK else sorted(random.Random(seed).sample(every, DRAWN), key=every.index)
    lived = Life([disturbed], begin, victim.said, {disturbed.name: chosen})
    lived.live()
    assert lived.reached, f"none of {chosen}"
    begin(None)
    tenants.made["acme"] = ""
    tenants.clear()
    stage.drop_pools([POOL])

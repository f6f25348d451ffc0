"""The operator killed before and after its writes of one backup: the next one goes on, and what is Completed was stored
and read back, once."""

from __future__ import annotations

import hashlib
import json
import os
import random
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from tests.integration.reconcile.backup_stage import Backups, attach
from tests.integration.reconcile.stage import Stage, Tenants
from tests.support.life import Act, Life, StartProcess, When, is_anothers, successors
from tests.support.operator_process import Death
from tests.support.s3 import S3Process

SOAK = bool(os.environ.get("SOAK"))
DRAWN = 3
POOL, NAMESPACE = "crashbackup", "crash-backup"
OURS = ("TenantBackup", "Job", "Secret crash", "Secret odoo", "NetworkPolicy")


@dataclass
class Victim:
    """One tenant that is backed up twice: undisturbed, and by operators that die."""

    stage: Stage
    backups: Backups
    names: list[str] = field(default_factory=list)

    def acts(self) -> list[Act]:
        return [
            Act("create", self._create, self._is_ready),
            Act("first", self._back_up, self._is_over, self._check),
            Act("again", self._back_up, self._is_over, self._check),
            Act("disturbed", self._back_up, self._is_over, self._check),
        ]

    def said(self) -> object:
        return [(self.stage.kube.get(self.backups.ref(name)) or {}).get("status") for name in self.names[-1:]]

    def _create(self) -> None:
        self.stage.namespace(NAMESPACE)
        self.stage.create_pool(POOL)
        self.backups.policy()
        self.backups.tenants.create(
            "acme",
            poolRef={"name": POOL},
            namespace="odoo-crash-backup",
            backup={"policyRef": {"name": "gold"}},
        )

    def _is_ready(self) -> bool:
        return self.backups.tenants.is_ready("acme")

    def _back_up(self) -> None:
        attach(self.stage, self.backups.tenants.claim("acme"), secrets.token_bytes(2000))
        self.names.append(f"b-{secrets.token_hex(4)}")
        self.backups.create(self.names[-1])

    def _is_over(self) -> bool:
        """With what was made for it cleared away: no write of one backup is counted to the next."""
        live = self.stage.kube.live(self.backups.ref(self.names[-1]))
        ended = (live.get("status") or {}).get("phase") in ("Completed", "Failed")
        return ended and not self.backups.jobs(self.names[-1])

    def _check(self) -> None:
        """It is what it says: its manifest is in the store, names its own snapshots, and every file of the database."""
        status = self.stage.kube.live(self.backups.ref(self.names[-1]))["status"]
        assert status["phase"] == "Completed", status
        assert status["verification"]["result"] == "Passed"
        content = self.backups.document(status["manifest"]["key"])
        assert hashlib.sha256(content).hexdigest() == status["manifest"]["sha256"]
        manifest = json.loads(content)
        assert manifest["backup"] == self.names[-1]
        assert manifest["database"]["attachments"]["files"] == len(self.names)
        assert status["snapshots"]["database"] == manifest["snapshots"]["database"]


@pytest.fixture
def begin(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartProcess]:
    with successors(stage.plane.kubeconfig, POOL, lambda: tmp_path_factory.mktemp("crash-backup")) as start:
        yield start


def _is_ours(write: str) -> bool:
    if is_anothers(write, NAMESPACE):
        return False
    return any(kind in write for kind in OURS)


def test_killed_at_writes_of_a_backup(
    stage: Stage, store: S3Process, begin: StartProcess, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """``SOAK=1``: at every one of them, before and after."""
    tenants = Tenants(stage, NAMESPACE)
    victim = Victim(stage, Backups(tenants, store))
    *calm, disturbed = victim.acts()
    lived = Life(calm, begin, victim.said)
    lived.live()
    writes = list(dict.fromkeys(w for w in lived.writes["again"] if _is_ours(w)))
    assert len(writes) >= 10, writes
    whens: tuple[When, ...] = ("before", "after")
    every = [Death(when, write) for write in writes for when in whens]
    seed = random.randrange(2**32)
    print(f"seed {seed}; {writes}")
    chosen = every if SOAK else sorted(random.Random(seed).sample(every, DRAWN), key=every.index)
    lived = Life([disturbed], begin, victim.said, {disturbed.name: chosen})
    lived.live()
    assert len(lived.reached) >= len(chosen) // 2, f"{lived.reached} of {chosen}"
    begin(None)
    tenants.made["acme"] = ""
    tenants.clear()
    stage.drop_pools([POOL])

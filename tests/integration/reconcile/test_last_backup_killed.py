"""The operator killed before and after its writes while a tenant ends with a backup: the next one goes on, what goes goes
after the backup alone, and nothing stays. ``SOAK=1``: at each of them; otherwise not at all, as it takes minutes."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import pytest
from tests.integration.reconcile.backup_stage import Backups, attach
from tests.integration.reconcile.stage import Stage, Tenants
from tests.integration.reconcile.test_last_backup import manifests
from tests.support.chance import SOAK
from tests.support.life import (
    Act,
    Life,
    StartProcess,
    distinct,
    each_comes,
    everywhere,
    successors,
)
from tests.support.operator_process import Death
from tests.support.s3 import S3Process

IN_ONE_LIFE = 25
POOL, NAMESPACE = "crashgoodbye", "crash-goodbye"

pytestmark = pytest.mark.skipif(not SOAK, reason="takes minutes: SOAK=1")


@dataclass
class Leaving:
    """Tenants that come and go, one after the other."""

    stage: Stage
    backups: Backups
    before: dict[str, set[str]] = field(default_factory=dict)
    claims: list[str] = field(default_factory=list)

    def live(self, begin: StartProcess, deaths: Mapping[str, Sequence[Death]]) -> Life:
        """One of them, to its end."""
        acts = [
            Act("create", self._create, self._is_ready),
            Act("delete", self._delete, self._is_gone, self._check),
        ]
        lived = Life(acts, begin, self.said, deaths)
        lived.live()
        return lived

    def said(self) -> object:
        return (self.stage.kube.get(self.backups.tenants.ref("acme")) or {}).get("status")

    def _create(self) -> None:
        self.before = self.stage.inventory()
        spec = {"poolRef": {"name": POOL}, "backup": {"policyRef": {"name": "gold"}}}
        self.backups.tenants.create(
            "acme", **spec, namespace="odoo-crash-goodbye", deletion={"policy": "Backup"}
        )

    def _is_ready(self) -> bool:
        return self.backups.tenants.is_ready("acme")

    def _delete(self) -> None:
        self.claims.append(self.backups.tenants.claim("acme"))
        attach(self.stage, self.claims[-1], secrets.token_bytes(2000))
        self.stage.kube.delete(self.backups.tenants.ref("acme"))

    def _is_gone(self) -> bool:
        return self.stage.kube.get(self.backups.tenants.ref("acme")) is None

    def _check(self) -> None:
        assert self.stage.inventory() == self.before
        found = manifests(self.backups, self.claims[-1])
        assert [each["reason"] for each in found] == ["Final"], "one, and a whole one"
        assert found[0]["database"]["attachments"]["files"] == 1
        selector = f"odootenancy.io/last-backup,odootenancy.io/tenant-namespace={NAMESPACE}"
        assert self.stage.kube.list("batch/v1", "Job", selector=selector) == []


@pytest.fixture
def begin(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartProcess]:
    with successors(stage.plane.kubeconfig, POOL, lambda: tmp_path_factory.mktemp("crash-goodbye")) as start:
        yield start


def test_killed_at_writes_of_a_goodbye(stage: Stage, store: S3Process, begin: StartProcess) -> None:
    backups = Backups(Tenants(stage, NAMESPACE), store)
    stage.namespace(NAMESPACE)
    stage.create_pool(POOL)
    backups.policy()
    leaving = Leaving(stage, backups)
    writes = distinct(leaving.live(begin, {}).writes)["delete"]
    assert len(writes) >= 12, writes
    places = everywhere({"delete": writes})
    each_comes(lambda deaths: leaving.live(begin, deaths), places, IN_ONE_LIFE)
    begin(())
    stage.drop_pools([POOL])

"""The operator killed before and after its writes while it erases what is stored of a tenant: the next one goes on, and
nothing of that tenant remains, nor is anything of another's touched. ``SOAK=1``: at each of them; otherwise at a few."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import pytest
from tests.integration.reconcile.backup_stage import Backups
from tests.integration.reconcile.stage import Stage, Tenants
from tests.integration.reconcile.stored_stage import former, inventory, put_repository
from tests.support.chance import SOAK, chance
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

from odoo_tenancy.api.meta import API_VERSION
from odoo_tenancy.cluster.objects import ObjectRef

DRAWN = 3
IN_ONE_LIFE = 25
POOL, NAMESPACE, NEIGHBOUR = "crasherase", "crash-erase", "0" * 31 + "2"


@dataclass
class Leaving:
    """Tenants that come, are stored and go, one after the other."""

    stage: Stage
    backups: Backups
    before: dict[str, set[str]] = field(default_factory=dict)
    claim: str = ""
    number: int = 0

    def live(self, begin: StartProcess, deaths: Mapping[str, Sequence[Death]]) -> Life:
        """The next of them, to its end."""
        self.number += 1
        acts = [
            Act("create", self._create, self._is_ready),
            Act("store", self._store, self._is_stored),
            Act("delete", self._delete, self._is_gone, self._check),
        ]
        lived = Life(acts, begin, self.said, deaths)
        lived.live()
        return lived

    def said(self) -> object:
        return (self.stage.kube.get(self.backups.tenants.ref("acme")) or {}).get("status")

    @property
    def _policy(self) -> ObjectRef:
        return ObjectRef(API_VERSION, "BackupPolicy", NAMESPACE, "gold")

    def _create(self) -> None:
        self.before = self.stage.inventory()
        spec = {"poolRef": {"name": POOL}, "backup": {"policyRef": {"name": "gold"}}}
        self.backups.tenants.create("acme", **spec, namespace="odoo-crash-erase")

    def _is_ready(self) -> bool:
        return self.backups.tenants.is_ready("acme")

    def _store(self) -> None:
        """A policy that is new is looked through for what has no object yet."""
        self.claim = self.backups.tenants.claim("acme")
        put_repository(self.backups, self.claim, f"stored-{self.number}")
        self.backups.policy()

    def _is_stored(self) -> bool:
        live = self.stage.kube.get(self.backups.ref(f"stored-{self.number}")) or {}
        return bool((live.get("status") or {}).get("phase") == "Completed")

    def _delete(self) -> None:
        self.stage.kube.delete(self.backups.tenants.ref("acme"))

    def _is_gone(self) -> bool:
        return self.stage.kube.get(self.backups.tenants.ref("acme")) is None

    def _check(self) -> None:
        assert self.stage.inventory() == self.before
        left = inventory(self.backups)
        assert [key for key, _ in left if self.claim in key] == []
        assert [key for key, _ in left if NEIGHBOUR in key], "the neighbour's"
        found = self.stage.kube.list(API_VERSION, "TenantBackup", NAMESPACE)
        assert [b["metadata"]["name"] for b in found if b["metadata"]["name"].startswith("stored-")] == []
        assert self.stage.kube.get(former(self.claim)) is None
        self.stage.kube.delete(self._policy)
        self.stage.kube.until_gone(self._policy)


@pytest.fixture
def begin(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartProcess]:
    with successors(stage.plane.kubeconfig, POOL, lambda: tmp_path_factory.mktemp("crash-erase")) as start:
        yield start


def test_killed_at_writes_of_an_erasure(stage: Stage, store: S3Process, begin: StartProcess) -> None:
    backups = Backups(Tenants(stage, NAMESPACE), store)
    stage.namespace(NAMESPACE)
    stage.create_pool(POOL)
    put_repository(backups, NEIGHBOUR, "of-a-neighbour", "neighbour")
    leaving = Leaving(stage, backups)
    found = distinct(leaving.live(begin, {}).writes)["delete"]
    writes = [write for write in found if "stored-" not in write]
    hidden = [write for write in writes if write.startswith("hide ")]
    assert len(hidden) == 3, f"restic's keys, the rest, the operator's own notes: {writes}"
    places = everywhere({"delete": writes if SOAK else hidden})
    if not SOAK:
        places = sorted(chance().sample(places, DRAWN), key=places.index)
    each_comes(lambda deaths: leaving.live(begin, deaths), places, IN_ONE_LIFE)
    stage.kube.delete(backups.ref("of-a-neighbour"))
    begin(())
    stage.drop_pools([POOL])

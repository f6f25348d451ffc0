"""What the tests act with that kill operators at a backup and a restore: a tenant with a pool of its own, served by one
operator after the other, and what is stored of it, restored and compared.

Real are the operators, the API server, PostgreSQL, the S3 server, and the Jobs of the operator's own image, with restic,
pg_dump and pg_restore, as processes; they live on while the operator dies. The nodes, and Odoo, are faked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.integration.reconcile.backup_stage import RECOVERY_KEY, Backups
from tests.integration.reconcile.stage import Stage, Tenants
from tests.support.chance import SOAK, chance
from tests.support.life import WHENS, Act, Life, StartProcess, is_anothers, successors
from tests.support.operator_process import Death
from tests.support.restic import environment
from tests.support.restored import Held, StoredAt, held
from tests.support.s3 import PLAIN, REGION, S3Process

from odoo_tenancy.api.meta import API_VERSION, Manifest
from odoo_tenancy.api.work import RepositoryPlace, StorePlace
from odoo_tenancy.services.restic import derived_password

DRAWN = 3


@dataclass
class Victim:
    """The tenant ``acme`` of a management namespace, backed up by gold."""

    backups: Backups
    begin: StartProcess
    folder: Path
    taken: dict[str, Held] = field(default_factory=dict)
    """By TenantBackup: what there was when it was made."""

    @property
    def stage(self) -> Stage:
        return self.backups.stage

    @property
    def namespace(self) -> str:
        return self.backups.namespace

    @property
    def pool(self) -> str:
        return self.namespace.replace("-", "")

    @property
    def claim(self) -> str:
        return self.backups.tenants.claim("acme")

    def creation(self) -> Act:
        """From nothing until it is ready."""
        return Act("create", self._create, self.is_ready)

    def _create(self) -> None:
        self.stage.namespace(self.namespace)
        self.stage.create_pool(self.pool)
        self.backups.policy()
        backup = {"policyRef": {"name": "gold"}}
        where = f"odoo-{self.namespace}"
        self.backups.tenants.create("acme", poolRef={"name": self.pool}, namespace=where, backup=backup)

    def is_ready(self) -> bool:
        return self.backups.tenants.is_ready("acme")

    def back_up(self, name: str) -> None:
        """What there is now."""
        self.taken[name] = self.now()
        self.backups.create(name)

    def is_backed_up(self, name: str) -> bool:
        """Well or not, with what was made for it cleared away: no write of one backup is counted to the next."""
        return self.status(name).get("phase") in ("Completed", "Failed") and not self.backups.jobs(name)

    def status(self, backup: str) -> Manifest:
        found: Manifest = self.stage.kube.live(self.backups.ref(backup)).get("status") or {}
        return found

    def now(self) -> Held:
        """What lives."""
        folder = self.stage.kubelet.filestore(self.claim) / "filestore" / f"t_{self.claim}"
        return held(self.stage.postgres, f"t_{self.claim}", folder)

    def check_newest(self) -> None:
        """The newest backup that says Completed is restored, with what a recovery key makes, and is what there was when it
        was made; nobody's lock stays in the repository."""
        live = self.stage.kube.list(API_VERSION, "TenantBackup", self.namespace)
        completed = [each for each in live if (each.get("status") or {}).get("phase") == "Completed"]
        newest = max(completed, key=lambda each: str(each["status"]["recoveryPoint"]))
        manifest = newest["status"]["manifest"]
        stored = self._stored()
        found = asyncio.run(stored.restored(manifest["key"], manifest["sha256"]))
        assert found == self.taken[newest["metadata"]["name"]]
        assert asyncio.run(stored.repository.locks()) == ()

    def _stored(self) -> StoredAt:
        store = self.backups.store
        path = f"{self.namespace}/{self.claim}/restic"
        password = self.folder / f"password-{self.claim}"
        password.write_text(derived_password(RECOVERY_KEY.encode(), path))
        bucket = StorePlace(endpoint=store.endpoint, region=REGION, bucket=PLAIN, ca_file=str(store.ca_file))
        place = RepositoryPlace(store=bucket, path=path, password_file=str(password))
        secret = self.stage.postgres.superuser_password
        return StoredAt(place, environment(PGPASSWORD=secret, **store.root.environment), self.stage.postgres)

    def live(self, *acts: Act) -> list[str]:
        """Through these, undisturbed; what was written during the last one, each once."""
        lived = Life(acts, self.begin, self._said)
        lived.live()
        return list(
            dict.fromkeys(w for w in lived.writes[acts[-1].name] if not is_anothers(w, self.namespace))
        )

    def die_at(self, writes: Sequence[str], act: Callable[[], Act]) -> None:
        """Before and after each of these, each in an act of its own; a short run draws a few, for one act. After each act
        the newest backup is restored and compared.

        Raises:
            AssertionError: some deaths never came.
        """
        every = [Death(when, write) for write in writes for when in WHENS]
        if SOAK:
            missed = [each for death in every for each in self._die([death], act)]
        else:
            missed = self._die(sorted(chance().sample(every, DRAWN), key=every.index), act)
        assert not missed, f"deaths that never came: {', '.join(map(str, missed))}"

    def _die(self, deaths: Sequence[Death], act: Callable[[], Act]) -> list[Death]:
        """One after the other, in one act; those that never came. What one process wrote, its successor finds written, and
        doesn't come to die there: such a death has an act of its own."""
        disturbed = act()
        print(*deaths, sep="; ", flush=True)
        lived = Life([disturbed], self.begin, self._said, {disturbed.name: deaths})
        lived.live()
        self.check_newest()
        came = [death for _, death in lived.reached]
        missed = [death for death in deaths if death not in came]
        return missed if len(deaths) == 1 else [each for death in missed for each in self._die([death], act)]

    def _said(self) -> object:
        kinds = ("TenantBackup", "TenantRestore")
        live = [each for kind in kinds for each in self.stage.kube.list(API_VERSION, kind, self.namespace)]
        return [(each["metadata"]["name"], each.get("status")) for each in live][-4:]

    def end(self) -> None:
        """Nothing stays."""
        self.begin(())
        self.backups.tenants.made["acme"] = ""
        self.backups.tenants.clear()
        self.stage.drop_pools([self.pool])


@contextmanager
def victim(
    stage: Stage, store: S3Process, namespace: str, folders: pytest.TempPathFactory
) -> Iterator[Victim]:
    """One that is not made yet, and is gone at the end of a test that came to it."""
    backups = Backups(Tenants(stage, namespace), store)
    pool = namespace.replace("-", "")
    with successors(stage.plane.kubeconfig, pool, lambda: folders.mktemp(namespace)) as begin:
        made = Victim(backups, begin, folders.mktemp("passwords"))
        yield made
        made.end()

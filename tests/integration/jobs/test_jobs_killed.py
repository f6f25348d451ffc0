"""Jobs killed with SIGKILL before and after each of their outside steps, with restic, pg_dump and pg_restore; then begun
again as their next pod is. What is Completed can be restored and is what was there, no lock stays, what lives lives.

All is real: the Job's module as a process, PostgreSQL, the S3 server, restic. The steps are those that the servers are
asked for at doors before them (``s3_steps.py``, ``postgres_steps.py``) and what is done to names in the filestore
(``file_steps.py``): writes at the store, statements, renames, and of a restore the packs that it reads, as it writes files
between them. First a run says which these are. A short run draws two kinds of Jobs and a death of each; ``SOAK=1`` tries
every death of every kind.
"""

from __future__ import annotations

import json
import shutil
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Protocol, cast

import pytest
from tests.support.backup_world import BackupWorld, backup_world
from tests.support.chance import SOAK, chance
from tests.support.killable_jobs import Disturbance, KillableJobs, killable_jobs
from tests.support.life import WHENS
from tests.support.operator_process import anonymous
from tests.support.postgres import PostgresProcess
from tests.support.restored import Held, StoredAt, files_of, held
from tests.support.s3 import S3Process
from tests.support.steps import DeathAtStep

from odoo_tenancy.api.backup_work import BackupOutcome, PrepareWork, RecoveryPassword
from odoo_tenancy.api.maintain_work import KeepRules, KnownBackup, LockTerms, MaintainWork
from odoo_tenancy.api.restore_work import DiscardWork, RestoreOutcome, RestoreWork, SwapWork
from odoo_tenancy.api.verify_work import VerifyOutcome
from odoo_tenancy.jobs.prepare import prepare
from odoo_tenancy.jobs.restored_filestore import take
from odoo_tenancy.jobs.stored_backup import open_backup
from odoo_tenancy.services.restic import derived_password

HOST = socket.gethostname()
"""What restic takes for the name of its pod."""
DAY = int(timedelta(days=1).total_seconds())
NEW, FORMER = "t_new", "t_former"
DRAWN = 2


@dataclass
class Tenant:
    """A tenant, where it is backed up, and what was there when it was."""

    world: BackupWorld
    jobs: KillableJobs
    numbers: count[int] = field(default_factory=lambda: count(1))
    taken: dict[str, Held] = field(default_factory=dict)
    """By backup."""
    made: dict[str, BackupOutcome] = field(default_factory=dict)

    @property
    def store(self) -> StoredAt:
        return StoredAt(self.world.place, self.world.environment, self.world.postgres)

    @property
    def filestores(self) -> Path:
        return self.world.filestore.parent

    def now(self) -> Held:
        """What lives."""
        return held(self.world.postgres, self.world.database, self.world.filestore)

    def beside(self) -> set[str]:
        """Names beside the living filestore."""
        return {path.name for path in self.filestores.iterdir()} - {self.world.database}

    async def anew(self) -> None:
        """Of another identity, with an empty repository: what a Job finds is the same each time."""
        self.world.move_on()
        self.taken.clear()
        self.made.clear()
        await self.world.repository.init()

    def work(self) -> str:
        """A customer does something; then the name of the next backup, which is to hold what there is now."""
        name = f"acme-{next(self.numbers)}"
        self.world.attach(f"{name:<4000}".encode())
        with self.world.connect() as connection:
            connection.execute("INSERT INTO res_partner (name) VALUES (%s)", [name])
        self.taken[name] = self.now()
        return name

    async def backed_up(self) -> str:
        """One that nobody disturbs."""
        name = self.work()
        self.made[name] = await self.world.backup(name)
        return name

    async def manifests(self) -> dict[str, str]:
        """Of all that counts as a backup: names, by recovery point, the newest last; with their keys."""
        folder, found = f"{self.world.prefix}/manifests/", {}
        async for each in self.world.bucket.objects(folder):
            document = await self.world.bucket.get_document(each.key)
            assert document is not None
            said = json.loads(document.content)
            found[said["recoveryPoint"]] = said["backup"], each.key
        return dict(found[point] for point in sorted(found))

    async def check_stored(self) -> None:
        """Each that has a manifest has all of its snapshots, and all data in the repository can be read."""
        for key in (await self.manifests()).values():
            await open_backup(self.world.repository, self.world.bucket, key, "")
        assert (await self.world.repository.check(100)).sound

    async def check_newest(self) -> None:
        """It is restored and compared with what was there when it was taken."""
        name, key = list((await self.manifests()).items())[-1]
        assert await self.store.restored(key) == self.taken[name]

    async def check_unlocked(self) -> None:
        """No lock stays: those of the dead go with what the operator does before the next backup of a locked repository."""
        work = PrepareWork(repository=self.world.place, pod_prefixes=(HOST,))
        await prepare(work, environment=self.world.environment, bucket=self.world.bucket)
        assert await self.world.repository.locks() == ()


class Scene(Protocol):
    """One kind of Job: all that it finds is laid out, it is run through ``disturbed``, and what is true then is checked."""

    async def __call__(self, tenant: Tenant, disturbed: Disturbance) -> None: ...


async def preparing(tenant: Tenant, disturbed: Disturbance) -> None:
    """A repository is made, and a recovery key added."""
    world = tenant.world
    world.move_on()
    recovery = world.folder / "recovery"
    recovery.write_text(derived_password(b"2026a", world.place.path))
    keys = (RecoveryPassword(id="2026a", password_file=str(recovery)),)
    await disturbed("prepare", PrepareWork(repository=world.place, recovery=keys, pod_prefixes=(HOST,)))
    assert await world.repository.locks() == ()
    assert len(await world.repository.keys()) == 2
    assert await world.repository.opened_by(recovery).exists()
    await tenant.backed_up()
    await tenant.check_newest()


async def backing_up(tenant: Tenant, disturbed: Disturbance) -> None:
    """The second one: what the first one stored is used."""
    await tenant.anew()
    await tenant.backed_up()
    work = tenant.world.backup_work(tenant.work())
    said = BackupOutcome.model_validate_json(await disturbed("backup", work, tenant.check_stored))
    assert list((await tenant.manifests()).values())[-1] == said.manifest_key
    await tenant.check_unlocked()
    await tenant.check_stored()
    await tenant.check_newest()


async def maintaining(tenant: Tenant, disturbed: Disturbance) -> None:
    """One of two backups goes with its data; locks of the other are made longer. Whenever it died, the one that stays
    can be restored at once: the next maintenance may come a week later."""
    await tenant.anew()
    names = [await tenant.backed_up(), await tenant.backed_up()]
    world, claim = tenant.world, tenant.world.claim
    work = MaintainWork(
        repository=world.place, prefix="eu", claim=claim, keep=KeepRules(last=1), pod_prefixes=(HOST,),
        backups={n: KnownBackup(sha256=tenant.made[n].manifest_sha256, verified=True) for n in names},
        immutability=LockTerms(mode="Governance", period_seconds=30 * DAY, soon_seconds=15 * DAY),
    )  # fmt: skip
    await disturbed("maintain", work, tenant.check_newest)
    assert list(await tenant.manifests()) == names[-1:]
    assert await world.repository.locks() == ()
    await tenant.check_stored()
    await tenant.check_newest()
    left = {each.id for each in await world.repository.snapshots()}
    stored = tenant.made[names[-1]].snapshots
    assert stored is not None
    assert left == {stored.database, *stored.filestore}


async def verifying(tenant: Tenant, disturbed: Disturbance) -> None:
    """With all that a verification can do: into a database of its own, which is empty again at its end."""
    await tenant.anew()
    made = tenant.made[await tenant.backed_up()]
    before, world = tenant.now(), tenant.world
    world.create_database(NEW)
    work = world.verify_work(made, "Restore").model_copy(update={"database": world.database_place(NEW)})
    said = VerifyOutcome.model_validate_json(await disturbed("verify", work, tenant.check_stored))
    assert said.result == "Passed"
    assert held(world.postgres, NEW, world.filestore).rows == {}
    drop(world, NEW)
    assert tenant.now() == before
    assert await world.repository.locks() == ()


async def restoring(tenant: Tenant, disturbed: Disturbance) -> None:
    """Beside what lives, of which nothing is touched."""
    await tenant.anew()
    name = await tenant.backed_up()
    tenant.work()
    before, world = tenant.now(), tenant.world
    world.create_database(NEW)
    made = tenant.made[name]
    work = RestoreWork(
        restore="restore-1", backup=name, repository=world.place, manifest_key=made.manifest_key,
        manifest_sha256=made.manifest_sha256, database=world.database_place(NEW),
        filestores=str(tenant.filestores), folder=NEW, scratch=str(world.scratch),
    )  # fmt: skip

    async def untouched() -> None:
        assert tenant.now() == before

    said = RestoreOutcome.model_validate_json(await disturbed("restore", work, untouched))
    assert said.result == "Ready"
    assert held(world.postgres, NEW, tenant.filestores / NEW) == tenant.taken[name]
    assert tenant.beside() == {NEW}
    await untouched()
    assert await world.repository.locks() == ()
    drop(world, NEW)
    shutil.rmtree(tenant.filestores / NEW)


async def swapping(tenant: Tenant, disturbed: Disturbance) -> None:
    """Of the two filestores each is whole at each moment, and in the end each has its place."""
    living = tenant.world.filestore
    new = shutil.copytree(living, tenant.filestores / NEW)
    (new / "ab" / "restored").parent.mkdir(exist_ok=True)
    (new / "ab" / "restored").write_text("restored")
    before, after = files_of(living), files_of(new)
    work = SwapWork(filestores=str(tenant.filestores), living=living.name, new=NEW, former=FORMER)

    async def whole() -> None:
        found = [files_of(each) for each in (living, new, tenant.filestores / FORMER) if each.is_dir()]
        assert sorted(found, key=len) == [before, after]

    await disturbed("filestore_swap", work, whole)
    assert (files_of(living), files_of(tenant.filestores / FORMER)) == (after, before)
    assert tenant.beside() == {FORMER}
    shutil.rmtree(living)
    (tenant.filestores / FORMER).rename(living)


async def discarding(tenant: Tenant, disturbed: Disturbance) -> None:
    """A filestore that a restore was given up with goes, and with it what says whose it was."""
    living = tenant.world.filestore
    before = files_of(living)
    take(tenant.filestores / NEW, "restore-1")
    shutil.copytree(living, tenant.filestores / NEW, dirs_exist_ok=True)

    async def untouched() -> None:
        assert files_of(living) == before

    work = DiscardWork(filestores=str(tenant.filestores), folders=(NEW,))
    await disturbed("filestore_discard", work, untouched)
    assert tenant.beside() == set()
    await untouched()


def drop(world: BackupWorld, name: str) -> None:
    """A database that nobody needs."""
    with world.postgres.superuser() as connection:
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())


SCENES: tuple[Scene, ...] = (
    preparing, backing_up, maintaining, verifying, restoring, swapping, discarding,
)  # fmt: skip


def name_of(scene: Scene) -> str:
    return cast(Callable[..., object], scene).__name__


async def steps_of(tenant: Tenant, scene: Scene) -> list[str]:
    """As a run that nobody disturbs takes them."""
    calm = Disturbance(tenant.jobs)
    await scene(tenant, calm)
    print(f"{name_of(scene)}:", *map(anonymous, calm.steps), sep="\n  ")
    return calm.steps


async def die(tenant: Tenant, scene: Scene, death: DeathAtStep, steps: list[str]) -> None:
    print(f"{name_of(scene)}: {death}, {anonymous(steps[death.number - 1])}", flush=True)
    disturbed = Disturbance(tenant.jobs, death)
    await scene(tenant, disturbed)
    assert disturbed.came, f"{name_of(scene)}: {death} never came; its steps were {disturbed.steps}"


@pytest.fixture
async def tenant(database_server: PostgresProcess, s3: S3Process, tmp_path: Path) -> AsyncIterator[Tenant]:
    """With few files: each that is removed is a step."""
    with backup_world(database_server, s3, tmp_path) as world:
        world.make(files=4)
        async with killable_jobs(world, tmp_path / "jobs") as jobs:
            yield Tenant(world, jobs)


@pytest.mark.skipif(SOAK, reason="all of them are tried one by one")
async def test_killed_at_a_few_outside_steps(tenant: Tenant) -> None:
    drawn = chance()
    for scene in drawn.sample(SCENES, DRAWN):
        steps = await steps_of(tenant, scene)
        death = DeathAtStep(drawn.choice(WHENS), drawn.randint(1, len(steps)))
        await die(tenant, scene, death, steps)


@pytest.mark.skipif(not SOAK, reason="takes an hour: make soak")
@pytest.mark.parametrize("scene", SCENES, ids=name_of)
async def test_killed_at_every_outside_step(tenant: Tenant, scene: Scene) -> None:
    steps = await steps_of(tenant, scene)
    for number in range(1, len(steps) + 1):
        for when in WHENS:
            await die(tenant, scene, DeathAtStep(when, number), steps)

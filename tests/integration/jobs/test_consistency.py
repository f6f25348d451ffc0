"""Database and files belong together, while attachments are made, deleted and collected: by our order, and not by the
naive ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from tests.support.backups import Storage, backup_work, contents, job_environment
from tests.support.small_odoo import SmallOdoo, churning

from odoo_tenancy.api.errors import Refused, Unavailable
from odoo_tenancy.jobs.backup import Backup

Happening = Callable[[SmallOdoo], None]


@dataclass
class Between:
    """A hook by which something happens right after a step, so many times."""

    odoo: SmallOdoo
    step: str
    happen: Happening
    times: int = 1
    happened: list[str] = field(default_factory=list)

    def before_write(self, description: str) -> None:
        """Nothing."""

    def after_write(self, description: str) -> None:
        if self.step in description and len(self.happened) < self.times:
            self.happened.append(description)
            self.happen(self.odoo)


def a_file_is_collected(odoo: SmallOdoo) -> None:
    """Of an attachment that the dump still names."""
    row = odoo.connection.execute("SELECT max(store_fname) FROM ir_attachment").fetchone()
    assert row is not None
    odoo.detach(row[0])
    assert odoo.collect() == 1


def a_file_is_made(odoo: SmallOdoo) -> None:
    odoo.attach(b"made in between")


@pytest.fixture
async def ready(storage: Storage) -> Storage:
    await storage.repository().init()
    return storage


def job(odoo: SmallOdoo, storage: Storage, hook: Between | None = None, attempts: int = 3) -> Backup:
    return Backup(
        backup_work(odoo, storage, attempts=attempts),
        environment=job_environment(odoo, storage),
        bucket=storage.bucket,
        hook=hook,
    )


async def test_a_file_collected_in_between_is_found_and_all_is_done_again(
    odoo: SmallOdoo, ready: Storage
) -> None:
    hook = Between(odoo, "/database.dump", a_file_is_collected)
    outcome = await job(odoo, ready, hook).run()
    assert hook.happened
    assert outcome.attempts == 2
    assert outcome.snapshots is not None
    stored = await contents(odoo, ready, outcome.snapshots.database, outcome.snapshots.filestore)
    assert len(stored.named) == 19
    assert stored.missing == set()


async def test_a_file_collected_in_each_attempt_is_in_the_snapshot_of_before(
    odoo: SmallOdoo, ready: Storage
) -> None:
    hook = Between(odoo, "/database.dump", a_file_is_collected, times=2)
    outcome = await job(odoo, ready, hook).run()
    assert len(hook.happened) == outcome.attempts == 2
    assert outcome.snapshots is not None
    assert len(outcome.snapshots.filestore) == 2
    *_, newest = outcome.snapshots.filestore
    stored = await contents(odoo, ready, outcome.snapshots.database, outcome.snapshots.filestore)
    assert stored.missing == set()
    assert (await contents(odoo, ready, outcome.snapshots.database, (newest,))).missing


async def test_files_made_meanwhile_do_no_harm(odoo: SmallOdoo, ready: Storage) -> None:
    outcome = await job(odoo, ready, Between(odoo, "/database.dump", a_file_is_made)).run()
    assert outcome.attempts == 1


@pytest.mark.parametrize(
    ("order", "happen"),
    [("files, then dump", a_file_is_made), ("dump, then files, without comparing", a_file_is_collected)],
)
async def test_a_naive_order_lacks_a_file(
    odoo: SmallOdoo, ready: Storage, order: str, happen: Happening
) -> None:
    """By which the tests above show something: what is done in between is done to these orders too."""
    files_first = order.startswith("files")
    naive = job(odoo, ready, Between(odoo, str(odoo.filestore) if files_first else "/database.dump", happen))
    if files_first:
        files = await naive.store_files()
        database = await naive.store_database()
    else:
        database = await naive.store_database()
        files = await naive.store_files()
    assert files is not None
    stored = await contents(odoo, ready, database.snapshot.id, (files.id,))
    assert len(stored.missing) == 1


async def test_a_backup_of_a_busy_odoo_is_one_set(odoo: SmallOdoo, ready: Storage) -> None:
    odoo.grow(8)
    with churning(odoo) as first_round:
        assert first_round.wait(60)
        outcome = await job(odoo, ready, attempts=5).run()
    assert outcome.snapshots is not None
    stored = await contents(odoo, ready, outcome.snapshots.database, outcome.snapshots.filestore)
    assert stored.named
    assert stored.missing == set()
    print(f"{outcome.attempts} attempts, {len(stored.named)} files named")


async def test_a_file_that_always_goes_is_a_failure(odoo: SmallOdoo, ready: Storage) -> None:
    def made_and_collected(site: SmallOdoo) -> None:
        a_file_is_collected(site)
        site.attach_many(1)

    hook = Between(odoo, "/database.dump", made_and_collected, times=9)
    with pytest.raises(Unavailable) as failed:
        await job(odoo, ready, hook, attempts=1).run()
    assert failed.value.reason == "AttachmentsMissing"
    assert await no_manifest(ready)


async def test_a_file_lost_before_is_told_as_that(odoo: SmallOdoo, ready: Storage) -> None:
    lost = odoo.attach(b"lost")
    (odoo.filestore / lost).unlink()
    with pytest.raises(Refused) as failed:
        await job(odoo, ready).run()
    assert failed.value.reason == "AttachmentsLost"
    assert lost in failed.value.message
    assert await no_manifest(ready)


async def no_manifest(storage: Storage) -> bool:
    return not [each async for each in storage.bucket.objects(f"{storage.prefix}/manifests/")]

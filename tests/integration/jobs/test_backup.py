"""A backup on real servers: whole when it says so, and a failure with its reason when it isn't."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

import pytest
from tests.support.backups import Storage, backup_work, contents, job_environment, manifest_of
from tests.support.small_odoo import SmallOdoo
from tests.support.writes import Writes

from odoo_tenancy.api.backup_work import BackupOutcome, BackupWork
from odoo_tenancy.jobs.backup import Backup


@pytest.fixture
async def ready(storage: Storage) -> Storage:
    """With a repository."""
    await storage.repository().init()
    return storage


async def run(
    odoo: SmallOdoo, storage: Storage, work: BackupWork | None = None, **options: object
) -> BackupOutcome:
    job = Backup(
        work or backup_work(odoo, storage),
        environment=job_environment(odoo, storage),
        bucket=storage.bucket,
        **options,  # type: ignore[arg-type]
    )
    return await job.run()


async def test_a_backup_holds_what_its_manifest_says(odoo: SmallOdoo, ready: Storage) -> None:
    before = datetime.now(UTC)
    outcome = await run(odoo, ready)
    manifest = await manifest_of(outcome, ready)
    assert outcome.reason == "Done"
    assert outcome.snapshots is not None
    stored = await contents(odoo, ready, outcome.snapshots.database, outcome.snapshots.filestore)
    assert stored.rows == odoo.rows() == manifest.database.row_counts
    assert len(stored.named) == 20
    assert stored.named <= stored.files
    digest = hashlib.sha256("".join(f"{name}\n" for name in sorted(stored.named)).encode())
    assert manifest.database.attachments.digest == digest.hexdigest()
    assert manifest.database.attachments.files == 20
    assert manifest.database.modules == {"base": "19.0.1.3", "web": "19.0.1.0"}
    assert manifest.odoo_series == "19.0"
    assert manifest.database.server_version.startswith(f"{odoo.postgres.major}.")
    newest = odoo.connection.execute("SELECT max(write_date) FROM ir_attachment").fetchone()
    assert newest is not None
    assert manifest.database.newest_record == newest[0].replace(tzinfo=UTC)
    assert before <= manifest.recovery_point <= datetime.now(UTC)
    assert manifest.filestore.files == 20
    assert manifest.filestore.bytes == 20 * 200
    assert manifest.uploaded_bytes == outcome.uploaded_bytes > 0
    assert abs((manifest.store_clock - manifest.completed_at).total_seconds()) < 60


async def test_the_second_backup_sends_only_what_is_new(odoo: SmallOdoo, ready: Storage) -> None:
    """What changed are two pieces of at most 8 MiB, restic's largest: a small part of so much."""
    odoo.grow(64)
    first = await run(odoo, ready)
    odoo.attach_many(1)
    second = await run(odoo, ready, backup_work(odoo, ready, "acme-2"))
    assert first.uploaded_bytes > 1_000_000
    assert second.uploaded_bytes < first.uploaded_bytes / 4


async def test_every_write_is_announced(odoo: SmallOdoo, ready: Storage) -> None:
    writes = Writes()
    await run(odoo, ready, hook=writes)
    assert [each.split(f" {ready.prefix}")[0] for each in writes.descriptions] == [
        "restic backup /database.dump",
        f"restic backup {odoo.filestore}",
    ]


async def test_an_odoo_without_files_yet_is_backed_up(odoo: SmallOdoo, ready: Storage) -> None:
    odoo.connection.execute("DELETE FROM ir_attachment")
    work = backup_work(odoo, ready).model_copy(update={"filestore": f"{odoo.filestore}-never-made"})
    outcome = await run(odoo, ready, work)
    assert outcome.snapshots is not None
    assert outcome.snapshots.filestore == ()

"""A backup of the real Odoo, while its users make and delete attachments and its own garbage collection runs; and what
comes back of it with the store and the recovery key alone."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import secrets
import shutil
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from psycopg import sql
from tests.support import recovery_page
from tests.support.backups import Storage, backup_work, contents, job_environment, manifest_of
from tests.support.odoo_process import GID, UID, Database, OdooProcess, odoo
from tests.support.odoo_site import OdooSite, browse
from tests.support.postgres import PostgresProcess
from tests.support.small_odoo import SmallOdoo
from tests.support.waiting import eventually

from odoo_tenancy.jobs.backup import Backup

RECOVERY_KEY = b"a recovery key of thirty-two bytes, or a few more"

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="Odoo runs out of its image")


@pytest.fixture
def database(postgres: PostgresProcess, storage: Storage) -> Iterator[Database]:
    """By the claim, as the operator names it."""
    name, password = f"t_{storage.prefix.rpartition('/')[2]}", secrets.token_hex(16)
    role, literal = sql.Identifier(name), sql.Literal(password)
    with postgres.superuser() as admin:
        admin.execute(sql.SQL("CREATE ROLE {} LOGIN CREATEDB PASSWORD {}").format(role, literal))
        admin.execute(sql.SQL("CREATE DATABASE {0} OWNER {0} TEMPLATE template0").format(role))
    yield Database(postgres.host, postgres.port, name, name, password, postgres.ca_pem)
    with postgres.superuser() as admin:
        admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(role))
        admin.execute(f"DROP DATABASE IF EXISTS {recovery_page.DATABASE} WITH (FORCE)".encode())
        admin.execute(sql.SQL("DROP ROLE {}").format(role))


@pytest.fixture
def running(database: Database) -> Iterator[OdooProcess]:
    """Initialised, and serving."""
    with odoo(database, "-i", "base,web", library=None, subcommand=()) as process:
        process.start()
        # Asked meanwhile, it would run out of connections.
        eventually(
            lambda: "Modules loaded." in process.log or process.exit_status is not None,
            lambda: f"Odoo is initialised:\n{process.log[-3000:]}",
            seconds=300,
        )
        process.wait_until_ready()
        yield process


async def churn(site: OdooSite, first_round: asyncio.Event) -> None:
    """What users and Odoo's own vacuum do, until cancelled."""
    (vacuum,) = await site.call("ir.cron", "search", [["cron_name", "ilike", "Auto-vacuum"]])
    while True:
        made = [await attach(site) for _ in range(4)]
        await site.call("ir.attachment", "unlink", made[:3])
        await site.call("ir.cron", "method_direct_trigger", [vacuum])
        first_round.set()


async def attach(site: OdooSite) -> int:
    content = base64.b64encode(secrets.token_bytes(300)).decode()
    identifier: int = await site.call("ir.attachment", "create", {"name": "made by a user", "datas": content})
    return identifier


@pytest.fixture
async def site(running: OdooProcess) -> AsyncIterator[OdooSite]:
    async with browse(running.url) as browser:
        assert await browser.log_in("admin", "admin")
        yield browser


async def check_it_comes_back(postgres: PostgresProcess, database: Database, storage: Storage) -> None:
    """By ``docs/recovery.md``, out of the store with the recovery key; and a user logs in and opens a file."""
    folder = storage.folder / "recovered"
    folder.mkdir()
    (folder / "kept.key").write_bytes(RECOVERY_KEY)
    given = recovery_page.what_is_left(storage.s3, postgres, "kept.key", database.user, database.password)
    given["CLAIM"] = storage.prefix.rpartition("/")[2]
    said = recovery_page.follow(folder, given, recovery_page.at_hand(storage.s3, postgres))
    assert "missing" not in said
    assert "rows, not" not in said
    again = replace(database, name=recovery_page.DATABASE)
    with odoo(again, library=None, subcommand=()) as process:
        files = process.directory / "data" / "filestore" / again.name
        shutil.copytree(folder / "filestore" / again.name, files)
        for path in (files.parent, files, *files.rglob("*")):
            os.chown(path, UID, GID)
        process.start()
        process.wait_until_ready()
        async with browse(process.url) as browser:
            assert await browser.log_in("admin", "admin")
            domain = [["name", "=", "made by a user"]]
            found = await browser.call("ir.attachment", "search_read", domain, ["datas", "checksum"])
    assert found
    for each in found:
        content = base64.b64decode(each["datas"])
        assert hashlib.sha1(content, usedforsecurity=False).hexdigest() == each["checksum"]


async def test_a_backup_while_odoo_works(
    postgres: PostgresProcess, database: Database, running: OdooProcess, site: OdooSite, storage: Storage
) -> None:
    files = running.directory / "data" / "filestore" / database.name
    with postgres.superuser(database.name) as connection:
        tenant = SmallOdoo(postgres, database.name, Path(files), database.user, database.password, connection)
        await recovery_page.open_with(RECOVERY_KEY, storage.place, storage.environment)
        job = Backup(
            backup_work(tenant, storage, attempts=5),
            environment=job_environment(tenant, storage),
            bucket=storage.bucket,
        )
        first_round = asyncio.Event()
        churning = asyncio.create_task(churn(site, first_round))
        await asyncio.wait({churning, asyncio.create_task(first_round.wait())}, return_when="FIRST_COMPLETED")
        outcome = await job.run()
        assert not churning.done(), churning
        churning.cancel()
        assert outcome.snapshots is not None
        stored = await contents(tenant, storage, outcome.snapshots.database, outcome.snapshots.filestore)
    manifest = await manifest_of(outcome, storage)
    assert manifest.odoo_series == "19.0"
    assert {"base", "web"} <= set(manifest.database.modules)
    assert stored.rows == manifest.database.row_counts
    assert stored.missing == set()
    assert len(stored.named) == manifest.database.attachments.files > 0
    running.stop()
    (storage.folder / "tenant.key").unlink()
    await check_it_comes_back(postgres, database, storage)
    print(f"{outcome.attempts} attempts, {len(stored.named)} files named, {outcome.seconds} s")

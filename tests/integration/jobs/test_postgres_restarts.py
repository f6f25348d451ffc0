"""PostgreSQL restarts while it is dumped: nothing of that backup counts, and the next one is as good as any."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import psycopg
import pytest
from tests.support.backup_world import BackupWorld, backup_world
from tests.support.postgres import PostgresProcess, installed_versions, running_postgres
from tests.support.s3 import S3Process

from odoo_tenancy.api.backup_work import BackupOutcome
from odoo_tenancy.api.errors import Unavailable
from odoo_tenancy.jobs.verify import Verification

BULK = """
CREATE TABLE bulk AS SELECT string_agg(md5(random()::text), '') AS payload
    FROM generate_series(1, 49152) row, generate_series(1, 32) part GROUP BY row
"""
"""48 MiB, dumped before the other tables."""


@pytest.fixture
async def world(s3: S3Process, tmp_path: Path) -> AsyncIterator[BackupWorld]:
    """On a server of its own: it restarts."""
    with (
        running_postgres(max(installed_versions().items())[1]) as server,
        backup_world(server, s3, tmp_path) as found,
    ):
        found.make()
        with found.connect() as connection:
            connection.execute(BULK.encode())
        await found.repository.init()
        yield found


async def restart_while_dumping(world: BackupWorld, backup: asyncio.Task[BackupOutcome]) -> None:
    """As soon as pg_dump is in the middle of a table."""
    dumping = "SELECT pid FROM pg_stat_activity WHERE query LIKE 'COPY public.bulk%' AND state = 'active'"
    async with await psycopg.AsyncConnection.connect(world.superuser_dsn, autocommit=True) as connection:
        while not await (await connection.execute(dumping.encode())).fetchone():
            assert not backup.done(), f"it ended before: {backup}"
            await asyncio.sleep(0.005)
    await asyncio.to_thread(_restart, world.postgres)


def _restart(server: PostgresProcess) -> None:
    server.stop()
    server.start()


async def test_it_fails_for_that_reason_and_the_next_one_is_good(world: BackupWorld) -> None:
    backup = asyncio.create_task(world.backup("cut-off"))
    await restart_while_dumping(world, backup)
    with pytest.raises(Unavailable) as caught:  # so that the Job's other attempt may succeed
        await backup
    failed = caught.value
    assert failed.reason == "PostgresUnreachable", failed
    assert world.database in failed.message
    assert not [each async for each in world.bucket.objects(f"{world.prefix}/manifests/")]
    assert await world.repository.snapshots() == ()
    assert await world.repository.locks() == ()

    made = await world.backup("next")
    world.create_database("t_scratch")
    work = world.verify_work(made, "Restore")
    work = work.model_copy(update={"database": world.database_place("t_scratch")})
    found = await Verification(work, world.repository, world.bucket, world.environment).run()
    assert (found.reason, found.result) == ("Done", "Passed"), found.message
    assert found.figures.rows == 3 + 40 + 500 + 2 + 49152

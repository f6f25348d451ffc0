"""What must end a backup as a failure, with a reason that says what to do: each with the real thing broken."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from tests.support.backups import Storage, backup_work, job_environment
from tests.support.postgres import PostgresProcess
from tests.support.s3 import S3Process, running_s3
from tests.support.small_odoo import SmallOdoo, small_odoo

from odoo_tenancy.api.backup_work import BackupWork
from odoo_tenancy.api.errors import OperatorError, Refused
from odoo_tenancy.jobs.backup import Backup
from odoo_tenancy.services.restic import Repository

UNPRIVILEGED = 65534
Connection = psycopg.AsyncConnection[tuple[object, ...]]
Deed = Callable[[Connection, int], Awaitable[None]]


@pytest.fixture
async def ready(storage: Storage) -> Storage:
    await storage.repository().init()
    return storage


async def failure_of(
    odoo: SmallOdoo, storage: Storage, work: BackupWork | None = None, **options: object
) -> OperatorError:
    """How a backup fails, after which nothing looks like a backup."""
    given = {"environment": job_environment(odoo, storage), **options}
    job = Backup(work or backup_work(odoo, storage), bucket=storage.bucket, **given)  # type: ignore[arg-type]
    with pytest.raises(OperatorError) as failed:
        await job.run()
    assert odoo.password not in failed.value.message
    return failed.value


async def nothing_counts(storage: Storage) -> None:
    assert not [each async for each in storage.bucket.objects(f"{storage.prefix}/manifests/")]


async def while_dumping(odoo: SmallOdoo, do: Deed) -> None:
    """Do something once pg_dump is in the middle of a table."""
    async with await psycopg.AsyncConnection.connect(
        odoo.postgres.superuser_dsn, autocommit=True
    ) as connection:
        while True:
            cursor = await connection.execute(
                "SELECT pid FROM pg_stat_activity WHERE datname = %s AND query LIKE 'COPY public.bulk%%'"
                " AND state = 'active'",
                [odoo.name],
            )
            if row := await cursor.fetchone():
                await do(connection, int(str(row[0])))
                return
            await asyncio.sleep(0.005)


async def test_the_server_ends_pg_dump_in_the_middle(odoo: SmallOdoo, ready: Storage) -> None:
    odoo.grow(48)

    async def kill(connection: Connection, pid: int) -> None:
        await connection.execute("SELECT pg_terminate_backend(%s)", [pid])

    failed, _ = await asyncio.gather(failure_of(odoo, ready), while_dumping(odoo, kill))
    assert failed.reason == "CommandFailed"
    assert "pg_dump" in failed.message
    assert "terminating connection" in failed.message or "closed the connection" in failed.message
    assert await ready.repository().snapshots() == ()
    await nothing_counts(ready)


async def test_the_store_goes_in_the_middle(odoo: SmallOdoo, tmp_path: Path) -> None:
    odoo.grow(48)
    with running_s3() as s3:
        storage = Storage.new(s3, tmp_path)
        await storage.repository().init()

        async def stop(*_: object) -> None:
            await asyncio.to_thread(s3.stop, True)

        failed, _ = await asyncio.gather(
            failure_of(odoo, storage, repository=storage.repository(patience=3)), while_dumping(odoo, stop)
        )
        assert failed.reason == "StoreUnreachable"
        assert "it is tried again" in failed.message
        s3.start()
        assert await storage.repository().snapshots() == ()
        await nothing_counts(storage)


async def test_a_wrong_password_of_the_database(odoo: SmallOdoo, ready: Storage) -> None:
    environment = {**job_environment(odoo, ready), "PGPASSWORD": "something else"}
    failed = await failure_of(odoo, ready, environment=environment)
    assert failed.reason == "PostgresPasswordRejected"
    assert "something else" not in failed.message


async def test_a_wrong_key_of_the_repository(odoo: SmallOdoo, ready: Storage) -> None:
    other = ready.key("other.key")
    place = ready.place.model_copy(update={"password_file": str(other)})
    work = backup_work(odoo, ready).model_copy(update={"repository": place})
    failed = await failure_of(odoo, ready, work)
    assert failed.reason == "RepositoryPasswordWrong"
    assert isinstance(failed, Refused)


async def test_no_repository(odoo: SmallOdoo, storage: Storage) -> None:
    assert (await failure_of(odoo, storage)).reason == "RepositoryMissing"


async def test_a_bucket_that_is_gone(odoo: SmallOdoo, s3: S3Process, tmp_path: Path) -> None:
    """It isn't made anew, as nobody would look for what was in it."""
    storage = Storage.new(s3, tmp_path, "gone")
    failed = await failure_of(odoo, storage)
    assert failed.reason in ("BucketMissing", "RepositoryMissing")
    assert "bucket" in failed.message
    assert "gone" not in [each["Name"] for each in s3.client().list_buckets()["Buckets"]]


@pytest.fixture
def outside() -> Iterator[Path]:
    """A folder that others may enter: pytest closes its own again and again."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


async def test_a_file_that_cannot_be_read(postgres: PostgresProcess, s3: S3Process, outside: Path) -> None:
    storage = Storage.new(s3, outside)
    await storage.repository().init()
    with small_odoo(postgres, outside) as odoo:
        unreadable = odoo.filestore / odoo.attach(b"not for everybody")
        unreadable.chmod(0)
        environment = job_environment(odoo, storage)
        with unprivileged(environment, storage, odoo) as path:
            failed = await failure_of(odoo, storage, environment={**environment, "PATH": path})
    assert failed.reason == "SourceUnreadable"
    assert unreadable.name in failed.message
    await nothing_counts(storage)


def unprivileged(environment: dict[str, str], storage: Storage, odoo: SmallOdoo) -> _Unprivileged:
    """restic as somebody who may not read everything, as in a pod: root may."""
    return _Unprivileged(environment, storage, odoo)


class _Unprivileged:
    def __init__(self, environment: dict[str, str], storage: Storage, odoo: SmallOdoo) -> None:
        self._path, self._storage, self._odoo = environment["PATH"], storage, odoo

    def __enter__(self) -> str:
        if os.geteuid() != 0:
            return self._path
        real = shutil.which("restic", path=self._path)
        assert real is not None
        folder = self._storage.folder / "unprivileged"
        folder.mkdir()
        shutil.copy(real, folder / "restic-itself")
        # Of files alone: pg_dump's own are not opened for everybody here.
        who = f"setpriv --reuid={UNPRIVILEGED} --regid={UNPRIVILEGED} --clear-groups"
        (folder / "restic").write_text(
            f'#!/bin/sh\ncase " $* " in *--stdin-from-command*) ;; *) set -- {who} {folder}/restic-itself "$@"\n'
            f'exec "$@";; esac\nexec {folder}/restic-itself "$@"\n'
        )
        (folder / "restic").chmod(0o755)
        opened = (self._storage.folder, self._storage.s3.directory)
        for each in opened:
            each.chmod(each.stat().st_mode | 0o055)
        self._storage.folder.joinpath("tenant.key").chmod(0o644)
        return f"{folder}:{self._path}"

    def __exit__(self, *_: object) -> None:
        return None


async def test_the_filestore_is_gone(odoo: SmallOdoo, ready: Storage) -> None:
    shutil.rmtree(odoo.filestore)
    failed = await failure_of(odoo, ready)
    assert failed.reason == "FilestoreGone"
    await nothing_counts(ready)


@pytest.fixture
def nothing(postgres: PostgresProcess, tmp_path: Path) -> Iterator[SmallOdoo]:
    with small_odoo(postgres, tmp_path, empty=True) as made:
        yield made


async def test_an_empty_database(nothing: SmallOdoo, ready: Storage) -> None:
    failed = await failure_of(nothing, ready)
    assert failed.reason == "NotAnOdooDatabase"
    assert isinstance(failed, Refused)
    await nothing_counts(ready)


async def test_a_store_that_is_gone_when_the_manifest_is_written(odoo: SmallOdoo, tmp_path: Path) -> None:
    """All is stored, and the backup does not count."""
    with running_s3() as s3:
        storage = Storage.new(s3, tmp_path)
        await storage.repository().init()
        failed = await failure_of(odoo, storage, repository=_StopsAfterFiles(storage, s3))
        assert failed.reason == "StoreUnreachable"
        s3.start()
        await nothing_counts(storage)
        assert len(await storage.repository().snapshots()) == 2


class _StopsAfterFiles(Repository):
    """The store is stopped once the files were compared."""

    def __init__(self, storage: Storage, s3: S3Process) -> None:
        super().__init__(storage.place, environment=storage.environment)
        self._s3 = s3

    async def list_files(self, snapshot: str):
        async for each in super().list_files(snapshot):
            yield each
        self._s3.stop(kill=True)

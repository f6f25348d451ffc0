"""Real servers for Jobs: PostgreSQL, an S3 server with Object Lock, restic."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tests.support.backup_world import BackupWorld, backup_world
from tests.support.backups import Storage
from tests.support.postgres import PostgresProcess, installed_versions, running_postgres
from tests.support.s3 import S3Process, running_s3
from tests.support.small_odoo import SmallOdoo, small_odoo


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresProcess]:
    with running_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Process]:
    with running_s3() as server:
        yield server


@pytest.fixture
def storage(s3: S3Process, tmp_path: Path) -> Storage:
    """A place in the locked bucket, with nothing in it."""
    return Storage.new(s3, tmp_path)


@pytest.fixture
def odoo(postgres: PostgresProcess, tmp_path: Path) -> Iterator[SmallOdoo]:
    """A tenant with some attachments."""
    with small_odoo(postgres, tmp_path) as made:
        made.attach_many(20)
        yield made


@pytest.fixture(scope="session")
def database_server() -> Iterator[PostgresProcess]:
    """Of the version whose programs are on this machine, for Jobs that run them on files."""
    with running_postgres(max(installed_versions().items())[1]) as process:
        yield process


@pytest.fixture
async def world(
    database_server: PostgresProcess, s3: S3Process, tmp_path: Path
) -> AsyncIterator[BackupWorld]:
    """A tenant to be backed up and restored, and its empty repository."""
    with backup_world(database_server, s3, tmp_path) as found:
        found.make()
        await found.repository.init()
        yield found

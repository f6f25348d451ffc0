"""Recovery by ``docs/recovery.md`` alone: store and recovery key are left, operator, API server and the tenant's key are
not."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.jobs.test_restore import contents, digest
from tests.support.backup_world import BackupWorld, backup_world
from tests.support.postgres import ADMIN, PostgresProcess
from tests.support.recovery_page import (
    DATABASE,
    EVERY,
    LOOK_WHETHER_IT_IS_WHOLE,
    at_hand,
    follow,
    open_with,
    what_is_left,
)
from tests.support.s3 import S3Process

from odoo_tenancy.jobs.recoverable import recoverable
from odoo_tenancy.services.object_store.catalogue import read_manifest
from odoo_tenancy.services.restic import RepositoryPasswordWrong


@pytest.fixture
def world(database_server: PostgresProcess, s3: S3Process, tmp_path: Path) -> Iterator[BackupWorld]:
    (tmp_path / "before").mkdir()
    with backup_world(database_server, s3, tmp_path / "before") as world:
        world.make()
        yield world
    with database_server.superuser() as connection:
        connection.execute(f'DROP DATABASE IF EXISTS "{DATABASE}" WITH (FORCE)'.encode())


async def back_up(world: BackupWorld, key: bytes) -> None:
    """Two backups, to a repository that the recovery key opens too."""
    await open_with(key, world.place, world.environment)
    await world.backup("acme-1")
    world.attach(b"a file that only the second one has")
    await world.backup("acme-2")


def lose(world: BackupWorld) -> None:
    """Key, files and database."""
    shutil.rmtree(world.folder)
    with world.postgres.superuser() as connection:
        connection.execute(f'DROP DATABASE "{world.database}"'.encode())


async def test_the_store_and_the_recovery_key_are_enough(world: BackupWorld, tmp_path: Path) -> None:
    key, folder = secrets.token_bytes(33), tmp_path / "after"
    folder.mkdir()
    (folder / "kept.key").write_bytes(key)
    await back_up(world, key)
    rows, files = contents(world, world.database), digest(world.filestore)
    bucket, place, variables = world.bucket, world.place, world.environment
    lose(world)

    newest, oldest = await recoverable(bucket, place, key, variables)
    assert (newest.manifest.backup, oldest.manifest.backup) == ("acme-2", "acme-1")
    assert (await read_manifest(bucket, newest.key, newest.sha256)) == newest
    with pytest.raises(RepositoryPasswordWrong):
        await recoverable(bucket, place, b"another key", variables)

    login = (ADMIN, world.postgres.admin_password)
    given = what_is_left(world.s3, world.postgres, "kept.key", *login) | {"CLAIM": world.claim}
    programs = at_hand(world.s3, world.postgres)
    said = follow(folder, given, programs, EVERY)
    assert f'{world.claim}/manifests/acme-2.json is of "namespace": "tenants", "tenant": "acme",' in said
    assert "missing" not in said
    assert "rows, not" not in said
    assert contents(world, DATABASE) == rows
    recovered = folder / "filestore" / DATABASE
    named = {name: sha for name, sha in files.items() if not name.startswith("checklist")}
    assert digest(recovered) == named
    assert len(named) == 41

    victim = sorted(each for each in recovered.rglob("*") if each.is_file())[0]
    victim.unlink()
    with world.connect(DATABASE) as connection:
        connection.execute("DELETE FROM res_partner WHERE id = 500")
    assert follow(folder, given, programs, LOOK_WHETHER_IT_IS_WHOLE).splitlines() == [
        f"missing: {victim.relative_to(recovered)}",
        "public.res_partner has 499 rows, not 500",
    ]

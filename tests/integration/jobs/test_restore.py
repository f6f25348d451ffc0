"""A backup comes back beside what lives: whole, compared, killed anywhere and begun again; never over somebody's data."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from pathlib import Path

import psycopg
import pytest
from tests.support.backup_world import BackupWorld

from odoo_tenancy.api.backup_work import BackupOutcome
from odoo_tenancy.api.observe import NoHook, WriteHook
from odoo_tenancy.api.restore_work import RestoreOutcome, RestoreWork
from odoo_tenancy.jobs.new_database import MARK
from odoo_tenancy.jobs.restore import Restore
from odoo_tenancy.services.restic import Repository

NEW = "t_new"


def work_of(world: BackupWorld, made: BackupOutcome, restore: str = "restore-1") -> RestoreWork:
    return RestoreWork(
        restore=restore,
        backup="acme-1",
        repository=world.place,
        manifest_key=made.manifest_key,
        manifest_sha256=made.manifest_sha256,
        database=world.database_place(NEW),
        filestores=str(world.filestore.parent),
        folder=NEW,
        scratch=str(world.scratch),
    )


async def restore(world: BackupWorld, work: RestoreWork, hook: WriteHook | None = None) -> RestoreOutcome:
    repository = Repository(world.place, environment=world.environment)
    return await Restore(work, repository, world.bucket, world.environment, hook=hook or NoHook()).run()


def digest(folder: Path) -> dict[str, str]:
    return {
        str(each.relative_to(folder)): hashlib.sha256(each.read_bytes()).hexdigest()
        for each in folder.rglob("*")
        if each.is_file()
    }


def contents(world: BackupWorld, name: str) -> dict[str, object]:
    with world.connect(name) as connection:
        tables = connection.execute(
            "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname NOT LIKE 'pg\\_%'"
            " AND schemaname <> 'information_schema'"
        ).fetchall()
        return {
            str(table): Counter(
                str(row)
                for (row,) in connection.execute(f"SELECT t::text FROM {table} t".encode()).fetchall()
            )
            for (table,) in tables
        }


async def test_what_comes_back_is_what_was(world: BackupWorld) -> None:
    made = await world.backup()
    world.create_database(NEW)
    before = digest(world.filestore), contents(world, world.database)
    found = await restore(world, work_of(world, made))
    assert (found.reason, found.result, found.database, found.folder) == ("Done", "Ready", NEW, NEW), (
        found.message
    )
    assert (found.figures.rows, found.figures.files) == (545, 40)
    new = world.filestore.parent / NEW
    kept = {name: value for name, value in before[0].items() if not name.startswith("checklist")}
    assert (digest(new), contents(world, NEW)) == (kept, before[1])
    assert (digest(world.filestore), contents(world, world.database)) == before
    assert list(world.scratch.iterdir()) == []
    assert sorted(each.name for each in new.parent.iterdir()) == sorted([NEW, world.database])


async def test_extensions_are_the_admins(world: BackupWorld) -> None:
    """The role that restores may not make them, and they are there."""
    with world.connect() as connection:
        connection.execute(
            "CREATE EXTENSION pg_trgm; CREATE INDEX ON res_partner USING gin (name gin_trgm_ops)"
        )
    made = await world.backup()
    world.create_database(NEW)
    with world.connect(NEW) as connection:
        connection.execute("CREATE EXTENSION pg_trgm")
        connection.execute(
            "DROP ROLE IF EXISTS x_restorer; CREATE ROLE x_restorer LOGIN PASSWORD 'x';"
            "GRANT USAGE, CREATE ON SCHEMA public TO x_restorer; GRANT CREATE ON DATABASE t_new TO x_restorer"
        )
    work = work_of(world, made).model_copy(update={"database": world.database_place(NEW, "x_restorer")})
    environment = {**world.environment, "PGPASSWORD": "x"}
    found = await Restore(work, world.repository, world.bucket, environment).run()
    assert found.reason == "Done", found.message
    with world.connect(NEW) as connection:
        owners = connection.execute(
            "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'"
        ).fetchall()
        assert owners == [("x_restorer",)]
        connection.execute("DROP OWNED BY x_restorer CASCADE; DROP ROLE x_restorer")


class KilledError(Exception):
    """Stands for a pod that ends."""


class Killer:
    """Ends the restore at a certain one of its writes, before or after it."""

    def __init__(self, at: int) -> None:
        self.left = at
        self.descriptions: list[str] = []

    def before_write(self, description: str) -> None:
        self._count(f"before {description}")

    def after_write(self, description: str) -> None:
        self._count(f"after {description}")

    def _count(self, description: str) -> None:
        self.descriptions.append(description)
        self.left -= 1
        if self.left < 0:
            raise KilledError(description)


async def test_killed_anywhere_it_is_begun_again(world: BackupWorld) -> None:
    made = await world.backup()
    for at in range(100):
        world.create_database(NEW)
        killer = Killer(at)
        try:
            await restore(world, work_of(world, made), killer)
        except KilledError:
            pass
        else:
            assert at >= 8, killer.descriptions
            break
        found = await restore(world, work_of(world, made))
        assert found.reason == "Done", (killer.descriptions, found.message)
        assert contents(world, NEW) == contents(world, world.database)
        again = await restore(world, work_of(world, made))
        assert again.reason == "Done", again.message
        with world.postgres.superuser() as connection:
            connection.execute(f"DROP DATABASE {NEW} WITH (FORCE)".encode())
        for each in sorted((world.filestore.parent / NEW).rglob("*"), reverse=True):
            each.rmdir() if each.is_dir() else each.unlink()
        (world.filestore.parent / NEW).rmdir()


async def test_a_session_that_an_attempt_left_is_ended(world: BackupWorld) -> None:
    """Its node was lost, so that the server waits for what it would say next, with a table locked. It is of a login that
    acts as another role, as a tenant's does."""
    made = await world.backup()
    world.create_database(NEW)
    with world.connect(NEW) as connection:
        connection.execute(
            "DROP ROLE IF EXISTS x_login, x_owner; CREATE ROLE x_owner; CREATE ROLE x_login LOGIN PASSWORD 'x' IN ROLE"
            " x_owner; ALTER ROLE x_login SET role = x_owner; GRANT USAGE, CREATE ON SCHEMA public TO x_owner;"
            "GRANT CREATE ON DATABASE t_new TO x_owner"
        )
    dsn = f"host=127.0.0.1 port={world.postgres.port} user=x_login password=x dbname={NEW} sslmode=require"
    left = psycopg.connect(dsn)
    left.execute(f"CREATE TABLE {MARK} AS SELECT 'restore-1'::text AS work".encode())
    left.execute("CREATE TABLE res_partner (id int)")
    left.commit()
    left.execute("LOCK TABLE res_partner")
    work = work_of(world, made).model_copy(update={"database": world.database_place(NEW, "x_login")})
    job = Restore(work, world.repository, world.bucket, {**world.environment, "PGPASSWORD": "x"})
    found = await asyncio.wait_for(job.run(), 60)
    assert found.reason == "Done", found.message
    assert contents(world, NEW) == contents(world, world.database)
    with pytest.raises(psycopg.OperationalError):
        left.execute("SELECT 1")
    with world.connect(NEW) as connection:
        connection.execute("DROP OWNED BY x_owner CASCADE; DROP ROLE x_login, x_owner")


async def test_somebodys_database_is_left_alone(world: BackupWorld) -> None:
    made = await world.backup()
    world.create_database(NEW)
    with world.connect(NEW) as connection:
        connection.execute("CREATE TABLE precious AS SELECT 1 AS x")
    found = await restore(world, work_of(world, made))
    assert (found.reason, found.result, found.again) == ("DatabaseNotEmpty", "Failed", False)
    assert contents(world, NEW) == {"public.precious": Counter(["(1)"])}


async def test_another_restores_database_is_left_alone(world: BackupWorld) -> None:
    made = await world.backup()
    world.create_database(NEW)
    with world.connect(NEW) as connection:
        connection.execute(f"CREATE TABLE {MARK} AS SELECT 'another'::text AS work".encode())
    found = await restore(world, work_of(world, made))
    assert found.reason == "DatabaseNotEmpty"


async def test_the_living_tenant_is_never_restored_over(world: BackupWorld) -> None:
    """Whoever names the living database and folder by mistake."""
    made = await world.backup()
    world.attach(b"made after the backup")
    before = digest(world.filestore), contents(world, world.database)
    work = work_of(world, made).model_copy(
        update={"database": world.database_place(), "folder": world.database}
    )
    found = await restore(world, work)
    assert (found.reason, found.result) == ("DatabaseNotEmpty", "Failed")
    assert (digest(world.filestore), contents(world, world.database)) == before


async def test_somebodys_folder_is_left_alone(world: BackupWorld) -> None:
    made = await world.backup()
    world.create_database(NEW)
    folder = world.filestore.parent / NEW
    folder.mkdir()
    (folder / "precious").write_text("x")
    found = await restore(world, work_of(world, made))
    assert (found.reason, found.result) == ("FolderNotEmpty", "Failed"), found.message
    assert digest(folder).keys() == {"precious"}


async def test_any_error_of_pg_restore_is_a_failure(world: BackupWorld) -> None:
    """An extension that the new database lacks, say: what needs it can't be made."""
    with world.connect() as connection:
        connection.execute(
            "CREATE EXTENSION pg_trgm; CREATE INDEX ON res_partner USING gin (name gin_trgm_ops)"
        )
    made = await world.backup()
    world.create_database(NEW)
    found = await restore(world, work_of(world, made))
    assert (found.reason, found.again) == ("RestoreFailed", False)
    assert "gin_trgm_ops" in found.message


@pytest.mark.parametrize("what", ["rows", "file"])
async def test_what_differs_from_the_manifest_is_a_failure(world: BackupWorld, what: str) -> None:
    made = await world.backup()
    assert made.snapshots is not None
    if what == "file":
        next(world.filestore.glob("[0-9a-f]?/*")).write_bytes(b"something else")
        snapshot = await world.repository.backup_files(world.filestore, ["x"])
        change = {"filestore": (snapshot.id,)}
    else:
        with world.connect() as connection:
            connection.execute("DELETE FROM res_partner WHERE id = 7")
        other = await world.backup("other")
        assert other.snapshots is not None
        change = {"database": other.snapshots.database}  # type: ignore[dict-item]
    work = await world.with_other_snapshots(made, change)
    world.create_database(NEW)
    found = await restore(world, work_of(world, work))
    assert (found.reason, found.result) == ("RowsDiffer" if what == "rows" else "FileChanged", "Failed")


async def test_what_the_newest_snapshot_lacks_comes_from_an_older_one(world: BackupWorld) -> None:
    older = await world.repository.backup_files(world.filestore, ["x"])
    made = await world.backup()
    assert made.snapshots is not None
    next(world.filestore.glob("[0-9a-f]?/*")).unlink()
    newer = await world.repository.backup_files(world.filestore, ["x"])
    work = await world.with_other_snapshots(made, {"filestore": (older.id, newer.id)})
    world.create_database(NEW)
    found = await restore(world, work_of(world, work))
    assert (found.reason, found.figures.files) == ("Done", 40), found.message

"""What customers bring is loaded as it is, and what does harm isn't: each trick, with a real server."""

from __future__ import annotations

import io
import json
import stat
import struct
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.support.backup_world import BackupWorld, backup_world
from tests.support.postgres import PostgresProcess
from tests.support.s3 import PLAIN, S3Process

from odoo_tenancy.api.observe import NoHook, WriteHook
from odoo_tenancy.api.restore_work import ArchiveWork, RestoreOutcome
from odoo_tenancy.jobs import script_loader
from odoo_tenancy.jobs.archive import ArchiveLoad
from odoo_tenancy.services.object_store import Bucket, BucketAddress

NEW = "t_new"
OWNER, LOGIN = "x_owner", "x_login"
KEY = "acme.zip"
MANIFEST = {"odoo_dump": "1", "db_name": "acme", "version": "19.0", "major_version": "19.0", "modules": {}}


@pytest.fixture
def world(database_server: PostgresProcess, s3: S3Process, tmp_path: Path) -> Iterator[BackupWorld]:
    """A tenant of somebody else's; nothing is backed up here."""
    with backup_world(database_server, s3, tmp_path) as found:
        found.make()
        yield found


@pytest.fixture
def target(world: BackupWorld) -> Iterator[BackupWorld]:
    """A new database as the operator makes it: of the admin, its objects of an owner that can't log in."""
    world.create_database(NEW)
    with world.connect(NEW) as connection:
        connection.execute(
            f"""
            CREATE ROLE {OWNER} NOLOGIN; CREATE ROLE {LOGIN} LOGIN PASSWORD 'x' IN ROLE {OWNER};
            ALTER ROLE {LOGIN} SET role = {OWNER};
            GRANT USAGE, CREATE ON SCHEMA public TO {OWNER}; GRANT CREATE ON DATABASE {NEW} TO {OWNER};
            CREATE EXTENSION pg_trgm
            """.encode()
        )
    yield world
    with world.connect(NEW) as connection:
        connection.execute(f"DROP OWNED BY {OWNER}, {LOGIN} CASCADE".encode())
    with world.connect() as connection:
        connection.execute(f"DROP ROLE {LOGIN}, {OWNER}".encode())


def script_of(world: BackupWorld, *options: str) -> bytes:
    """As Odoo's own backup makes it (odoo/service/db.py), with ``--no-owner`` or without."""
    command = world.postgres.program("pg_dump", *options, world.superuser_dsn)
    return subprocess.run(command, check=True, capture_output=True).stdout


def zipped(world: BackupWorld, script: bytes, manifest: object = MANIFEST) -> io.BytesIO:
    """As Odoo's own backup: files without folders' entries."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for each in sorted(world.filestore.rglob("*")):
            if each.is_file():
                archive.write(each, f"filestore/{each.relative_to(world.filestore)}")
        archive.writestr("manifest.json", json.dumps(manifest))
        archive.writestr("dump.sql", script)
    return made


def work_of(world: BackupWorld, **change: object) -> ArchiveWork:
    work = ArchiveWork(
        restore="archive-1",
        store=world.place.store.model_copy(update={"bucket": PLAIN}),
        key=KEY,
        database=world.database_place(NEW, LOGIN),
        filestores=str(world.filestore.parent),
        folder=NEW,
        odoo_series="19.0",
        largest_archive_bytes=10 << 20,
        largest_database_bytes=10 << 20,
        largest_filestore_bytes=10 << 20,
        scratch=str(world.scratch),
    )
    return work.model_copy(update=change)


async def load(
    world: BackupWorld, archive: bytes, hook: WriteHook | None = None, **change: object
) -> RestoreOutcome:
    world.s3.client().put_object(Bucket=PLAIN, Key=KEY, Body=archive)
    work = work_of(world, **change)
    environment = {**world.environment, "PGPASSWORD": "x"}
    bucket = Bucket(BucketAddress.of(work.store, environment))
    found = await ArchiveLoad(work, bucket, environment, hook=hook or NoHook()).run()
    assert list(world.scratch.iterdir()) == []
    return found


def tables(world: BackupWorld) -> list[tuple[object, ...]]:
    with world.connect(NEW) as connection:
        return connection.execute(
            "SELECT tablename, tableowner FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
            " ORDER BY 1"
        ).fetchall()


def names(folder: Path) -> list[str]:
    return sorted(str(each.relative_to(folder)) for each in folder.rglob("*") if each.is_file())


EVERYTHING = ['a "table" here', "ir_attachment", "ir_module_module", "res_partner"]


def assert_loaded(world: BackupWorld) -> None:
    assert tables(world) == [(name, OWNER) for name in EVERYTHING]
    query = "SELECT * FROM res_partner ORDER BY id"
    with world.connect(NEW) as new, world.connect() as old:
        assert new.execute(query).fetchall() == old.execute(query).fetchall()
        assert new.execute("SELECT last_value, twice(2) FROM res_partner_id_seq").fetchall() == [(500, 4)]


@pytest.mark.parametrize(
    "options", [("--no-owner",), (), ("--inserts",), ("--no-owner", "--rows-per-insert=7")]
)
async def test_an_odoo_backup_is_loaded(target: BackupWorld, options: tuple[str, ...]) -> None:
    found = await load(target, zipped(target, script_of(target, *options)).getvalue())
    assert (found.reason, found.result) == ("Done", "Ready"), found.message
    assert_loaded(target)
    kept = [name for name in names(target.filestore) if not name.startswith("checklist")]
    assert names(target.filestore.parent / NEW) == kept
    assert found.figures.files == 40


async def test_a_dump_in_custom_format_is_loaded(target: BackupWorld) -> None:
    found = await load(target, script_of(target, "-Fc"))
    assert found.reason == "Done", found.message
    assert_loaded(target)
    assert "lacks 40 files" in found.message


async def test_lines_of_a_patched_pg_dump_are_fine(target: BackupWorld) -> None:
    script = b"\\restrict abc123\n" + script_of(target) + b"\n\\unrestrict abc123\n"
    found = await load(target, zipped(target, script).getvalue())
    assert found.reason == "Done", found.message


async def test_an_extension_that_is_there_is_passed_by(target: BackupWorld) -> None:
    with target.connect() as connection:
        connection.execute(
            "CREATE EXTENSION pg_trgm; CREATE INDEX ON res_partner USING gin (name gin_trgm_ops)"
        )
    found = await load(target, zipped(target, script_of(target)).getvalue())
    assert found.reason == "Done", found.message


async def test_an_extension_that_is_lacking_is_named(target: BackupWorld) -> None:
    with target.connect() as connection:
        connection.execute("CREATE EXTENSION citext")
    found = await load(target, zipped(target, script_of(target)).getvalue())
    assert found.reason == "ExtensionMissing"
    assert "citext" in found.message
    assert tables(target) == []


@pytest.mark.parametrize(
    "line",
    [
        "\\! touch {trace}",
        "\\connect postgres",
        "\\copy ir_module_module from '/etc/passwd'",
        "\\i {trace}",
        "COPY public.ir_module_module (name) FROM PROGRAM 'touch {trace}';",
        "COPY public.ir_module_module (name) TO PROGRAM 'touch {trace}';",
        "COPY public.ir_module_module (name) FROM '/etc/passwd';",
        "ALTER ROLE x_login PASSWORD 'mine';",
        "ALTER ROLE x_login RESET role;",
        "SET ROLE NONE;",
        "SELECT pg_catalog.lo_import('/etc/passwd');",
        "CREATE EXTENSION IF NOT EXISTS dblink;",
        "DO $$ BEGIN EXECUTE 'ALTER ROLE x_login PASSWORD ''mine'''; END $$;",
        "ALTER SYSTEM SET archive_command = 'touch {trace}';",
    ],
)
async def test_what_does_harm_is_refused(target: BackupWorld, tmp_path: Path, line: str) -> None:
    trace = tmp_path / "trace"
    script = script_of(target) + f"\n{line}\n".format(trace=trace).encode()
    found = await load(target, zipped(target, script).getvalue())
    assert (found.reason, found.result, found.again) == ("ArchiveUnsafe", "Failed", False), found.message
    assert not trace.exists()
    assert tables(target) == []


@pytest.mark.parametrize(
    "body",
    [
        "COPY public.ir_module_module (name) FROM PROGRAM ''touch {trace}''",
        "ALTER ROLE postgres PASSWORD ''mine''",
        "CREATE ROLE x_more SUPERUSER",
        "SET SESSION AUTHORIZATION postgres",
    ],
)
async def test_what_hides_in_a_function_has_no_rights(target: BackupWorld, tmp_path: Path, body: str) -> None:
    """pg_dump writes functions, and an index or a default may call one while it is loaded."""
    trace = tmp_path / "trace"
    script = (
        script_of(target)
        + (
            "CREATE FUNCTION public.evil() RETURNS integer LANGUAGE plpgsql AS $$ BEGIN EXECUTE '"
            + body.format(trace=trace)
            + "'; RETURN 1; END $$;\nCREATE TABLE public.t (x integer DEFAULT public.evil());\n"
            "INSERT INTO public.t VALUES (DEFAULT);\n"
        ).encode()
    )
    found = await load(target, zipped(target, script).getvalue())
    assert (found.reason, found.result) == ("ArchiveRejected", "Failed"), found.message
    assert not trace.exists()
    assert tables(target) == []


async def test_two_statements_are_never_taken_for_one(target: BackupWorld) -> None:
    """If we and the server disagreed where a statement ends, the server would refuse the text."""

    class Undivided:
        def __init__(self, *_: object) -> None: ...
        def __iter__(self) -> Iterator[bytes]:
            yield b"CREATE TABLE public.a (); CREATE ROLE x_more"

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(script_loader, "SqlScript", Undivided)
        found = await load(target, zipped(target, script_of(target)).getvalue())
    assert found.reason == "ArchiveRejected"
    assert "multiple commands" in found.message


def with_entry(name: str, content: bytes = b"x", mode: int = 0o100644) -> Callable[[zipfile.ZipFile], None]:
    def add(archive: zipfile.ZipFile) -> None:
        entry = zipfile.ZipInfo(name)
        entry.external_attr = mode << 16
        entry.compress_type = zipfile.ZIP_DEFLATED
        archive.writestr(entry, content)

    return add


NAME = "filestore/ab/ab" + "0" * 38


@pytest.mark.parametrize(
    ("add", "reason"),
    [
        (with_entry("../../../../tmp/evil"), "ArchiveUnsafe"),
        (with_entry("filestore/../../evil"), "ArchiveUnsafe"),
        (with_entry("filestore/ab/../../../evil"), "ArchiveUnsafe"),
        (with_entry("/etc/evil"), "ArchiveUnsafe"),
        (with_entry("filestore\\..\\evil"), "ArchiveUnsafe"),
        (with_entry(NAME, b"/etc/passwd", stat.S_IFLNK | 0o777), "ArchiveUnsafe"),
        (with_entry("filestore/ab", b"/etc", stat.S_IFLNK | 0o777), "ArchiveUnsafe"),
        (with_entry(NAME, b"", stat.S_IFIFO | 0o644), "ArchiveUnsafe"),
        (with_entry("filestore/evil.sh"), "ArchiveUnsafe"),
        (with_entry("evil.sql"), "ArchiveUnsafe"),
        (with_entry(NAME, b"not what the name says"), "ArchiveDamaged"),
        (with_entry(NAME, bytes(50 << 20)), "ArchiveTooLarge"),
    ],
)
async def test_what_leaves_the_folder_or_is_too_large_is_refused(
    target: BackupWorld, add: Callable[[zipfile.ZipFile], None], reason: str
) -> None:
    made = zipped(target, script_of(target))
    with zipfile.ZipFile(made, "a", zipfile.ZIP_DEFLATED) as archive:
        add(archive)
    before = set(target.folder.rglob("*"))
    found = await load(target, made.getvalue())
    assert (found.reason, found.result) == (reason, "Failed"), found.message
    assert set(target.folder.rglob("*")) - before <= {target.scratch}
    assert tables(target) == []


async def test_an_archive_that_lies_about_its_sizes_is_stopped(target: BackupWorld) -> None:
    """Declared small, large when it comes."""
    made = bytearray(zipped(target, b"SELECT 1;\n" * 3_000_000).getvalue())
    small = struct.pack("<I", 1000)
    # The size unpacked, in the local header and in the table of contents.
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        at = -1
        while (at := made.find(signature, at + 1)) >= 0:
            name_at = at + (30 if signature == b"PK\x03\x04" else 46)
            if made[name_at : name_at + 8] == b"dump.sql":
                made[at + offset : at + offset + 4] = small
    found = await load(target, bytes(made))
    assert (found.reason, found.result) == ("ArchiveDamaged", "Failed"), found.message


async def test_an_archive_that_is_too_large_or_not_there_is_refused(target: BackupWorld) -> None:
    archive = zipped(target, script_of(target)).getvalue()
    found = await load(target, archive, largest_archive_bytes=1000)
    assert (found.reason, found.result) == ("DocumentUnusable", "Failed")
    found = await load(target, archive, key="another.zip")
    assert (found.reason, found.result) == ("DocumentUnusable", "Failed")


async def test_a_dump_larger_than_the_database_may_be_is_refused(target: BackupWorld) -> None:
    with target.connect() as connection:
        connection.execute(
            "CREATE TABLE zeros AS SELECT repeat('0', 1000000) AS x FROM generate_series(1, 30)"
        )
    found = await load(target, zipped(target, script_of(target)).getvalue())
    assert found.reason == "ArchiveTooLarge"
    # In custom format it isn't known before it comes.
    found = await load(target, script_of(target, "-Fc"))
    assert found.reason == "ArchiveTooLarge"
    assert tables(target) == []


@pytest.mark.parametrize(
    ("archive", "reason"),
    [
        (b"", "ArchiveUnknown"),
        (b"hello", "ArchiveUnknown"),
        (b"PK\x03\x04 and no more", "ArchiveDamaged"),
        (b"PGDMP and no more", "ArchiveDamaged"),
    ],
)
async def test_what_is_no_archive_is_refused(target: BackupWorld, archive: bytes, reason: str) -> None:
    found = await load(target, archive)
    assert (found.reason, found.result) == (reason, "Failed"), found.message


@pytest.mark.parametrize("kind", ["zip", "script", "custom"])
async def test_an_archive_that_is_cut_off_is_refused(target: BackupWorld, kind: str) -> None:
    if kind == "zip":
        archive = zipped(target, script_of(target)).getvalue()[:-3000]
    elif kind == "script":
        archive = zipped(target, script_of(target)[:-30_000]).getvalue()
    else:
        archive = script_of(target, "-Fc")[:-3000]
    found = await load(target, archive)
    assert (found.reason, found.result) == ("ArchiveDamaged", "Failed"), found.message
    assert tables(target) == []


async def test_another_series_of_odoo_is_refused(target: BackupWorld) -> None:
    archive = zipped(target, script_of(target), {**MANIFEST, "major_version": "17.0"}).getvalue()
    assert (await load(target, archive)).reason == "OdooSeriesDiffers"
    with target.connect() as connection:
        connection.execute("UPDATE ir_module_module SET latest_version = '17.0.1.3' WHERE name = 'base'")
    assert (await load(target, script_of(target, "-Fc"))).reason == "OdooSeriesDiffers"
    assert tables(target) == []


async def test_a_database_that_is_none_of_odoo_is_refused(target: BackupWorld) -> None:
    found = await load(target, zipped(target, b"CREATE TABLE public.x (a integer);\n").getvalue())
    assert found.reason == "NotAnOdooDatabase"
    assert tables(target) == []


async def test_somebodys_folder_is_left_alone(target: BackupWorld) -> None:
    folder = target.filestore.parent / NEW
    folder.mkdir()
    (folder / "precious").touch()
    found = await load(target, zipped(target, script_of(target)).getvalue())
    assert found.reason == "TargetNotEmpty"
    assert names(folder) == ["precious"]
    assert tables(target) == []


class KilledError(Exception):
    """Stands for a pod that ends."""


class KilledWithin(NoHook):
    """Ends the load after its script."""

    def after_write(self, description: str) -> None:
        if description.startswith("load archive"):
            raise KilledError


async def test_killed_it_is_begun_again(target: BackupWorld) -> None:
    archive = zipped(target, script_of(target)).getvalue()
    with pytest.raises(KilledError):
        await load(target, archive, KilledWithin())
    assert len(tables(target)) > 1
    found = await load(target, archive)
    assert found.reason == "Done", found.message
    assert_loaded(target)
    # Somebody else's now.
    assert (await load(target, archive, restore="archive-2")).reason == "TargetNotEmpty"
    assert_loaded(target)

"""A verification that passes, and one for each thing that can be wrong: each fails with exactly its reason."""

from __future__ import annotations

import asyncio
import hashlib
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.backup_world import BackupWorld
from tests.support.s3 import LOCKED

from odoo_tenancy.api.backup_work import DUMP, BackupOutcome
from odoo_tenancy.api.verify_work import VerificationLevel, VerifyOutcome, VerifyWork
from odoo_tenancy.jobs.new_database import MARK
from odoo_tenancy.jobs.verify import Verification
from odoo_tenancy.services.object_store import Bucket, BucketAddress


async def verify(world: BackupWorld, work: VerifyWork) -> VerifyOutcome:
    return await Verification(work, world.repository, world.bucket, world.environment).run()


@pytest.mark.parametrize("level", ["Integrity", "Consistency", "Restore"])
async def test_a_good_backup_passes(world: BackupWorld, level: VerificationLevel) -> None:
    work = world.verify_work(await world.backup(), level)
    if level == "Restore":
        world.create_database("t_scratch")
        work = work.model_copy(update={"database": world.database_place("t_scratch")})
    found = await verify(world, work)
    assert (found.reason, found.result) == ("Done", "Passed"), found.message
    assert list(world.scratch.iterdir()) == []
    if level == "Integrity":
        return
    assert found.figures.files == found.figures.files_read == 40
    assert (found.figures.tables, found.figures.rows) == (4, 3 + 40 + 500 + 2)
    if level == "Restore":
        with world.connect("t_scratch") as connection:
            left = connection.execute(
                "SELECT relname FROM pg_class WHERE relnamespace NOT IN (SELECT oid FROM pg_namespace WHERE nspname LIKE"
                " 'pg\\_%' OR nspname = 'information_schema')"
            ).fetchall()
        assert left == []


async def test_what_was_proven_is_not_read_again(world: BackupWorld) -> None:
    assert (await verify(world, world.verify_work(await world.backup("a")))).figures.files_read == 40
    world.attach(b"one more")
    again = await world.backup("b")
    found = await verify(world, world.verify_work(again, percent=0))
    assert (found.result, found.figures.files, found.figures.files_read) == ("Passed", 41, 1), found.message
    work = world.verify_work(again, percent=0)
    known = await world.bucket.get_document(work.ledger_key)
    found = await verify(world, work)
    assert (found.result, found.figures.files_read) == ("Passed", 0)
    still = await world.bucket.get_document(work.ledger_key)
    assert known is not None
    assert still is not None
    assert known.version == still.version, "what is known is not written again"


async def test_a_proof_does_not_outlive_the_content(world: BackupWorld) -> None:
    """A file whose content changes after it was proven is read again, and found out; time and size stay the same."""
    file = world.attach(b"will be changed")
    assert (await verify(world, world.verify_work(await world.backup("a")))).result == "Passed"
    file.write_bytes(b"WILL BE CHANGED")
    found = await verify(world, world.verify_work(await world.backup("b")))
    assert (found.reason, found.figures.files_read) == ("FileChanged", 1), found.message


async def test_a_half_written_file_that_no_row_names_does_no_harm(world: BackupWorld) -> None:
    stray = world.filestore / "ab" / ("ab" + "0" * 38)
    stray.parent.mkdir(exist_ok=True)
    stray.write_bytes(b"not yet all of it")
    assert (await verify(world, world.verify_work(await world.backup("a")))).result == "Passed"
    with world.connect() as connection:
        connection.execute("INSERT INTO ir_attachment (store_fname) VALUES (%s)", [f"ab/ab{'0' * 38}"])
    # Now a row names it: what is known of the first snapshot says that it is bad.
    found = await verify(world, world.verify_work(await world.backup("b")))
    assert (found.reason, found.result) == ("FileChanged", "Failed")


Break = Callable[[BackupWorld, BackupOutcome], Awaitable[VerifyWork]]


async def _other_manifest(
    world: BackupWorld, made: BackupOutcome, change: Callable[[Any], None]
) -> VerifyWork:
    return world.verify_work(await world.with_other_manifest(made, change))


async def _filestore_again(world: BackupWorld, made: BackupOutcome) -> VerifyWork:
    """The manifest names a new snapshot of the filestore, as it is now."""
    snapshot = await world.repository.backup_files(world.filestore, ["x"])
    return await _other_manifest(world, made, lambda m: m["snapshots"].update(filestore=[snapshot.id]))


async def file_missing(world: BackupWorld, made: BackupOutcome) -> VerifyWork:
    next(world.filestore.glob("[0-9a-f]?/*")).unlink()
    return await _filestore_again(world, made)


async def file_changed(world: BackupWorld, made: BackupOutcome) -> VerifyWork:
    next(world.filestore.glob("[0-9a-f]?/*")).write_bytes(b"something else")
    return await _filestore_again(world, made)


async def dump_truncated(world: BackupWorld, made: BackupOutcome) -> VerifyWork:
    assert made.snapshots is not None
    whole = world.folder / "whole"
    await world.repository.restore(made.snapshots.database, whole)
    cut = world.folder / "cut"
    cut.write_bytes((whole / DUMP).read_bytes()[:-20_000])
    snapshot = await world.repository.backup_command(["cat", str(cut)], DUMP, ["x"])
    return await _other_manifest(world, made, lambda m: m["snapshots"].update(database=snapshot.id))


async def fewer_rows(world: BackupWorld, made: BackupOutcome) -> VerifyWork:
    """The dump is of another moment than the manifest."""
    with world.connect() as connection:
        connection.execute("DELETE FROM res_partner WHERE id = 7")
    other = await world.backup("other")
    assert other.snapshots is not None
    database = other.snapshots.database
    return await _other_manifest(world, made, lambda m: m["snapshots"].update(database=database))


async def other_attachment(world: BackupWorld, made: BackupOutcome) -> VerifyWork:
    """As many rows, but one names another file."""
    digest = hashlib.sha256(b"x").hexdigest()
    return await _other_manifest(world, made, lambda m: m["database"]["attachments"].update(digest=digest))


def _stored(world: BackupWorld, kind: str) -> list[Path]:
    found = (world.s3.directory / "data" / LOCKED / world.prefix / "restic" / kind).rglob("*")
    return sorted((each for each in found if each.is_file()), key=lambda each: -each.stat().st_size)


async def pack_damaged(world: BackupWorld, made: BackupOutcome) -> VerifyWork:
    """Behind the store's back: bits rot."""
    pack = _stored(world, "data")[0]
    content = bytearray(pack.read_bytes())
    content[len(content) // 2] ^= 0xFF
    pack.write_bytes(content)
    return world.verify_work(made)


async def pack_gone(world: BackupWorld, made: BackupOutcome) -> VerifyWork:
    _stored(world, "data")[0].unlink()
    return world.verify_work(made)


async def index_missing(world: BackupWorld, made: BackupOutcome) -> VerifyWork:
    for each in _stored(world, "index"):
        each.unlink()
    return world.verify_work(made)


async def manifest_altered(world: BackupWorld, made: BackupOutcome) -> VerifyWork:
    await _other_manifest(world, made, lambda m: m.update(tenant="other"))
    return world.verify_work(made)


async def manifest_deleted(world: BackupWorld, made: BackupOutcome) -> VerifyWork:
    world.s3.client().delete_object(Bucket=LOCKED, Key=made.manifest_key)
    return world.verify_work(made)


async def manifest_moved(world: BackupWorld, made: BackupOutcome) -> VerifyWork:
    return await _other_manifest(world, made, lambda m: m.update(repository="eu/other/restic"))


async def snapshot_forgotten(world: BackupWorld, made: BackupOutcome) -> VerifyWork:
    assert made.snapshots is not None
    await world.repository.forget(snapshots=[made.snapshots.database])
    return world.verify_work(made)


async def wrong_key(world: BackupWorld, made: BackupOutcome) -> VerifyWork:
    world.password_file.write_text("another")
    return world.verify_work(made)


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (file_missing, "FileMissing"),
        (file_changed, "FileChanged"),
        (dump_truncated, "DumpUnreadable"),
        (fewer_rows, "RowsDiffer"),
        (other_attachment, "AttachmentsDiffer"),
        (pack_damaged, "RepositoryDamaged"),
        (pack_gone, "RepositoryDamaged"),
        (index_missing, "RepositoryDamaged"),
        (manifest_altered, "ManifestChanged"),
        (manifest_deleted, "ManifestMissing"),
        (manifest_moved, "ManifestChanged"),
        (snapshot_forgotten, "SnapshotMissing"),
        (wrong_key, "RepositoryPasswordWrong"),
    ],
)
async def test_what_is_wrong_fails_with_its_reason(world: BackupWorld, broken: Break, reason: str) -> None:
    work = await broken(world, await world.backup())
    found = await verify(world, work)
    assert (found.reason, found.result) == (reason, "Failed"), found.message
    assert list(world.scratch.iterdir()) == []


async def test_a_store_that_does_not_answer_says_nothing_of_the_backup(world: BackupWorld) -> None:
    work = world.verify_work(await world.backup())
    unreachable = work.repository.store.model_copy(update={"endpoint": "https://localhost:1"})
    bucket = Bucket(BucketAddress.of(unreachable, world.environment))
    found = await Verification(work, world.repository, bucket, world.environment).run()
    assert (found.reason, found.result, found.again) == ("StoreUnreachable", "Error", True)


class LosingAfterRestore:
    """Takes a row out of what was just restored, as no server does by itself."""

    def __init__(self, world: BackupWorld) -> None:
        self.world = world

    def before_write(self, description: str) -> None:
        """Nothing yet."""

    def after_write(self, description: str) -> None:
        if description.startswith("pg_restore into"):
            with self.world.connect("t_scratch") as connection:
                connection.execute("DELETE FROM res_partner WHERE id = 7")


def restore_work(world: BackupWorld, made: BackupOutcome) -> VerifyWork:
    world.create_database("t_scratch")
    return world.verify_work(made, "Restore").model_copy(
        update={"database": world.database_place("t_scratch")}
    )


async def test_what_is_restored_is_counted_there(world: BackupWorld) -> None:
    work = restore_work(world, await world.backup())
    found = await Verification(
        work, world.repository, world.bucket, world.environment, hook=LosingAfterRestore(world)
    ).run()
    assert (found.reason, found.result) == ("RowsDiffer", "Failed"), found.message
    assert "t_scratch" in found.message
    assert "public.res_partner" in found.message


async def test_what_can_be_read_and_not_restored_fails(world: BackupWorld) -> None:
    with world.connect() as connection:
        connection.execute(
            "CREATE FUNCTION is_known() RETURNS boolean LANGUAGE plpgsql AS"
            " $f$ BEGIN RETURN EXISTS (SELECT FROM res_partner); END $f$"
        )
        connection.execute("CREATE TABLE fussy AS SELECT 1 AS id")
        connection.execute("ALTER TABLE fussy ADD CHECK (is_known())")
    made = await world.backup()
    assert (await verify(world, world.verify_work(made))).result == "Passed"
    found = await verify(world, restore_work(world, made))
    assert (found.reason, found.result) == ("RestoreFailed", "Failed"), found.message


async def test_a_scratch_database_of_somebody_else_is_left_alone(world: BackupWorld) -> None:
    world.create_database("t_scratch")
    with world.connect("t_scratch") as connection:
        connection.execute("CREATE TABLE precious AS SELECT 1 AS x")
    work = world.verify_work(await world.backup(), "Restore")
    work = work.model_copy(update={"database": world.database_place("t_scratch")})
    found = await verify(world, work)
    assert (found.reason, found.result) == ("DatabaseNotEmpty", "Error")
    with world.connect("t_scratch") as connection:
        assert connection.execute("SELECT x FROM precious").fetchall() == [(1,)]
        assert connection.execute("SELECT to_regclass(%s)", [MARK]).fetchall() == [(None,)]


@pytest.mark.parametrize("good", [True, False])
async def test_the_job_says_by_its_exit_status_whether_it_passed(world: BackupWorld, good: bool) -> None:
    made = await world.backup()
    work = world.verify_work(made, percent=0)
    if not good:
        work = work.model_copy(update={"manifest_sha256": "0" * 64})
    file, termination = world.folder / "work.json", world.folder / "termination"
    await asyncio.to_thread(file.write_text, work.model_dump_json(by_alias=True))
    program = (
        "import sys; from pathlib import Path; from odoo_tenancy.jobs.entry import run_job;"
        "from odoo_tenancy.jobs.verify import VerifyWork, verify;"
        "sys.exit(run_job(VerifyWork, verify, work_file=Path(sys.argv[1]), termination=Path(sys.argv[2])))"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, str(file), str(termination),
        env={**world.environment, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    status = await process.wait()
    said = VerifyOutcome.model_validate_json(await asyncio.to_thread(termination.read_bytes))
    assert (status, said.result) == ((0, "Passed") if good else (1, "Failed"))
    assert (said.reason, said.level) == ("Done" if good else "ManifestChanged", "Consistency")

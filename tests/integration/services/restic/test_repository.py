"""A repository in a real, locked bucket: what each method does, and what is left of one that is cut short."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from tests.support.backups import Storage
from tests.support.s3 import S3Process, running_s3
from tests.support.waiting import eventually

from odoo_tenancy.api.errors import OperatorError
from odoo_tenancy.services.object_store import StoreAccessDenied, StoreUnreachable
from odoo_tenancy.services.restic import (
    CommandFailed,
    Keep,
    Repository,
    RepositoryLocked,
    RepositoryMissing,
    RepositoryPasswordWrong,
    Snapshot,
    SourceUnreadable,
)


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Process]:
    with running_s3() as server:
        yield server


@pytest.fixture
def storage(s3: S3Process, tmp_path: Path) -> Storage:
    return Storage.new(s3, tmp_path)


@pytest.fixture
async def repository(storage: Storage) -> Repository:
    made = storage.repository()
    await made.init()
    return made


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A small tree."""
    folder = tmp_path / "files"
    for number in range(20):
        path = folder / f"{number % 4:02x}" / f"file-{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(secrets.token_bytes(1000 + number))
    return folder


async def test_the_life_of_a_repository(storage: Storage, files: Path, tmp_path: Path) -> None:
    repository = storage.repository()
    assert not await repository.exists()
    await repository.init()
    assert await repository.exists()
    told: list[tuple[int, int]] = []
    database = await repository.backup_command(
        ["sh", "-c", "seq 1 100000; sleep 6"],
        "database.dump",
        ["a", "b"],
        None,
        lambda *each: told.append(each),
    )
    stored = await repository.backup_files(files, ["a"])
    assert await repository.snapshots() == await repository.snapshots(["a"]) == (database, stored)
    assert await repository.snapshots(["a", "b"]) == (database,)
    assert (database.bytes, database.files, database.paths) == (588_895, 1, ("/database.dump",))
    assert 0 < database.uploaded_bytes < database.bytes / 2
    assert told
    listed = {each.path: each.size async for each in repository.list_files(stored.id)}
    assert listed == {str(files / name): len(content) for name, content in _contents(files).items()}
    async with repository.dump(database.id, "/database.dump") as stream:
        content = b"".join([chunk async for chunk in stream])
    assert content == "".join(f"{number}\n" for number in range(1, 100_001)).encode()
    target = tmp_path / "restored"
    assert (await repository.restore(stored.id, target, folder=str(files))).bytes == stored.bytes
    assert _contents(target) == _contents(files)
    assert (await repository.check(100)).sound
    assert (await repository.forget(Keep(last=1), dry_run=True)).removed == (database,)
    await repository.forget(snapshots=[database.id])
    await repository.prune()
    assert await repository.snapshots() == (stored,)
    assert await repository.locks() == ()


async def test_a_command_that_fails_leaves_no_snapshot_and_its_last_words(repository: Repository) -> None:
    script = "seq 1 1000; echo the last word of $SOME_SECRET >&2; exit 3"
    with pytest.raises(CommandFailed, match=r"the last word of \*\*\*") as failed:
        await repository.backup_command(["sh", "-c", script], "x", ["a"], {"SOME_SECRET": "hush-hush"})
    assert "hush-hush" not in failed.value.message
    assert await repository.snapshots() == ()


async def test_a_command_that_says_nothing_is_no_backup(repository: Repository) -> None:
    with pytest.raises(SourceUnreadable):
        await repository.backup_command(["true"], "x", ["a"])
    with pytest.raises(CommandFailed):
        await repository.backup_command(["/nowhere/pg_dump"], "x", ["a"])


async def test_a_directory_that_is_not_there(repository: Repository, tmp_path: Path) -> None:
    with pytest.raises(SourceUnreadable):
        await repository.backup_files(tmp_path / "none", ["a"])


async def test_a_file_that_is_deleted_while_it_is_read_spoils_nothing(
    repository: Repository, tmp_path: Path
) -> None:
    """restic reads two at once: while these are long, the third is open and waits."""
    folder = tmp_path / "deleted"
    folder.mkdir()
    for name in ("long-1", "long-2"):
        with (folder / name).open("wb") as sparse:
            sparse.truncate(1 << 30)
    (folder / "short").write_bytes(b"collected")
    storing = asyncio.create_task(repository.backup_files(folder, ["a"]))
    await asyncio.to_thread(eventually, lambda: _is_open(folder / "short"), "restic has it open", pause=0.001)
    (folder / "short").unlink()
    stored = await storing
    assert stored.vanished == 1
    listed = [each.path async for each in repository.list_files(stored.id)]
    assert {str(folder / "long-1"), str(folder / "long-2")} <= set(listed)


def _is_open(path: Path) -> bool:
    """By any process."""
    for descriptor in Path("/proc").glob("[0-9]*/fd/*"):
        with suppress(OSError):
            if descriptor.readlink() == path:
                return True
    return False


async def test_who_may_not_is_told_so(storage: Storage, repository: Repository) -> None:
    with pytest.raises(RepositoryPasswordWrong):
        await repository.opened_by(storage.key("other")).exists()
    stranger = {**storage.environment, "AWS_SECRET_ACCESS_KEY": "wrong" * 8}
    with pytest.raises(StoreAccessDenied, match="credentialsSecretRef"):
        await Repository(storage.place, environment=stranger, patience=10).snapshots()
    nowhere = storage.place.model_copy(update={"path": "eu/none/restic"})
    with pytest.raises(RepositoryMissing):
        await Repository(nowhere, environment=storage.environment).snapshots()


async def test_another_password_opens_it_too(storage: Storage, repository: Repository) -> None:
    await repository.add_key("a derived one", user="recovery", host="2026a")
    (storage.folder / "second").write_text("a derived one")
    second = repository.opened_by(storage.folder / "second")
    assert await second.exists()
    ours = [each for each in await second.keys() if each.current]
    assert [(each.user, each.host) for each in ours] == [("recovery", "2026a")]


async def test_a_cancelled_backup_leaves_no_process_and_no_lock(
    repository: Repository, tmp_path: Path
) -> None:
    begun = tmp_path / "begun"
    task = asyncio.create_task(
        repository.backup_command(["sh", "-c", f"echo $$ > {begun}; exec sleep 600"], "x", ["a"])
    )
    pid = await asyncio.to_thread(_written, begun)
    (lock,) = await repository.locks()
    assert lock.pid
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not _runs(pid)
    assert await repository.locks() == ()


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.glob("*/*")}


def _runs(pid: str) -> bool:
    return Path(f"/proc/{pid}").exists()


def _written(path: Path) -> str:
    return eventually(lambda: path.exists() and path.read_text().strip(), "the command begins", 60) or ""


async def test_a_lock_is_removed_by_its_name_alone(storage: Storage, repository: Repository) -> None:
    """Locks of two who died: one goes, the other stays, and keeps prune out."""
    for _ in range(2):
        await _die_with_a_lock(repository)
    first, second = await repository.locks()
    assert first.host
    assert not first.exclusive
    await repository.unlock([first.id], storage.bucket.hide)
    assert await repository.locks() == (second,)
    await repository.unlock([second.id], storage.bucket.hide)
    assert await repository.locks() == ()
    await repository.prune()


async def _die_with_a_lock(repository: Repository) -> None:
    before = {each.id for each in await repository.locks()}
    command = ["sh", "-c", "kill -KILL $PPID; sleep 600"]
    with pytest.raises(OperatorError, match="ResticKilled"):
        await repository.backup_command(command, "x", ["a"])
    assert len({each.id for each in await repository.locks()} - before) == 1


async def test_what_is_damaged_is_found(storage: Storage, repository: Repository, files: Path) -> None:
    stored = await repository.backup_files(files, ["a"])
    assert isinstance(stored, Snapshot)
    s3 = storage.s3.client()
    listed = s3.list_objects_v2(Bucket=storage.bucket_name, Prefix=f"{storage.place.path}/data/")["Contents"]
    pack = max(listed, key=lambda each: each["Size"])
    content = bytearray(s3.get_object(Bucket=storage.bucket_name, Key=pack["Key"])["Body"].read())
    content[len(content) // 2] ^= 1
    await storage.bucket.put_document(pack["Key"], bytes(content))
    checked = await repository.check(100)
    assert not checked.sound
    assert checked.errors
    with pytest.raises(OperatorError):
        await _read_all(repository, stored.id, files)


async def _read_all(repository: Repository, snapshot: str, files: Path) -> None:
    for name in _contents(files):
        async with repository.dump(snapshot, str(files / name)) as stream:
            async for _ in stream:
                pass


async def test_a_store_that_does_not_answer_is_given_up(tmp_path: Path) -> None:
    with running_s3() as s3:
        storage = Storage.new(s3, tmp_path)
        s3.stop(kill=True)
        with pytest.raises(StoreUnreachable):
            await storage.repository(patience=2).snapshots()


async def test_locked_by_another(
    storage: Storage, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("odoo_tenancy.services.restic.place.LOCK_PATIENCE", "1s")
    await _die_with_a_lock(repository)
    with pytest.raises(RepositoryLocked):
        await repository.prune()

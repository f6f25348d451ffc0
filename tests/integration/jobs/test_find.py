"""Which backup a lost tenant comes back from, found in a real repository with nothing but the store and a recovery key."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.support.backups import Storage
from tests.support.recovery_page import open_with
from tests.support.stored_sets import NOW, Sets

from odoo_tenancy.api.backup_work import RecoveryPassword
from odoo_tenancy.api.errors import Refused
from odoo_tenancy.api.find_work import FindOutcome, FindWork
from odoo_tenancy.jobs.find import choose, find
from odoo_tenancy.jobs.recoverable import Contents
from odoo_tenancy.services.object_store.catalogue import StoredManifest
from odoo_tenancy.services.object_store.stored import StoredObject
from odoo_tenancy.services.restic import derived_password

KEY, OTHER = b"a recovery key of thirty-two bytes", b"another one of thirty-two bytes.."
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture
async def sets(storage: Storage) -> Sets:
    """Two backups; the tenant's own key is gone."""
    await open_with(KEY, storage.place, storage.environment)
    made = Sets(storage)
    await made.make("older", 2 * DAY)
    await made.make("newer", HOUR)
    return made


async def found(sets: Sets, at: str = "latest", key: bytes = KEY, claim: str = "") -> FindOutcome:
    """Of what the Job is told, with two recovery keys, only one of which may fit."""
    storage, recovery = sets.storage, []
    place = storage.place.model_copy(update={"password_file": "/nowhere"})
    if claim:
        place = place.model_copy(update={"path": f"eu/{claim}/restic"})
    for id_, each in (("2025a", b"an old key that opens nothing now"), ("2026a", key)):
        file = Path(storage.folder) / f"recovery-{id_}"
        file.write_text(derived_password(each, place.path))
        recovery.append(RecoveryPassword(id=id_, password_file=str(file)))
    work = FindWork(repository=place, claim=claim or sets.claim, recovery=tuple(recovery), at=at)
    return await find(work, environment=storage.environment, bucket=storage.bucket)


async def refused(sets: Sets, *words: str, **how: object) -> str:
    with pytest.raises(Refused) as raised:
        await found(sets, **how)  # type: ignore[arg-type]
    assert [word for word in words if word not in raised.value.message] == [], raised.value.message
    return raised.value.reason


def text(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


async def test_the_newest_until_a_moment(sets: Sets) -> None:
    newest = await found(sets)
    assert (newest.backup, newest.namespace, newest.recovery_key) == ("newer", "tenants", "2026a")
    assert newest.manifest_sha256 == sets.known["newer"].sha256
    assert newest.recovery_point == NOW - HOUR
    assert (await found(sets, text(NOW - HOUR))).backup == "newer"
    assert (await found(sets, text(NOW - HOUR - timedelta(seconds=1)))).backup == "older"
    assert await refused(sets, "the oldest is as of", at=text(NOW - 3 * DAY)) == "NothingBefore"
    assert await refused(sets, at="2026-02-30T00:00:00Z") == "MomentInvalid"


async def test_what_keeps_a_repository_shut_is_told_apart(sets: Sets) -> None:
    assert await refused(sets, "2025a, 2026a", "byte for byte", key=OTHER) == "RecoveryKeyWrong"
    assert await refused(sets, "prefix of the BackupPolicy", claim="0" * 32) == "ClaimNotFound"
    await sets.storage.bucket.hide(f"{sets.storage.place.path}/config")
    assert await refused(sets, "config", "former version") == "RepositoryDamaged"


async def test_what_is_damaged_is_passed_by_and_told_and_what_may_be_newer_is_not(sets: Sets) -> None:
    await sets.make("damaged", 0 * HOUR)
    opened = sets.storage.repository().opened_by(sets.storage.folder / "recovery-2026a")
    await found(sets)  # for the password's file
    await opened.forget(snapshots=[sets.snapshots["damaged"][1]])
    newest = await found(sets)
    assert newest.backup == "newer"
    assert "without all of their snapshots: damaged" in newest.message

    bucket, key = sets.storage.bucket, sets.key("unreadable")
    await bucket.put_document(key, b"{}")
    assert await refused(sets, key, f"set at to {text(NOW - HOUR)}") == "ManifestUnreadable"
    assert (await found(sets, text(NOW - HOUR))).backup == "newer"
    await bucket.hide(key)
    assert (await found(sets)).backup == "newer"


def test_a_recovery_point_is_named_to_the_second_and_what_is_older_stands_in_nobodys_way(
    storage: Storage,
) -> None:
    moment = datetime(2026, 11, 22, 18, 0, 5, tzinfo=UTC)
    manifest = Sets(storage).manifest("a", moment + timedelta(milliseconds=400), "1")
    precise = StoredManifest("eu/0/manifests/a.json", "", manifest)
    assert choose(Contents((precise,)), moment, "there") is precise
    old = StoredObject("eu/0/manifests/old.json", 2, moment - DAY)
    assert choose(Contents((precise,), unreadable=(old,)), None, "there") is precise
    with pytest.raises(Refused, match="NoBackup"):
        choose(Contents((), damaged=(precise,)), None, "there")

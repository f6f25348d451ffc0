"""Documents, lists, versions and clocks, on both servers."""

from __future__ import annotations

import asyncio
import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.integration.services.object_store.conftest import MakeBucket, moment_between
from tests.support.s3 import LOCKED, S3Process
from tests.support.writes import Writes

from odoo_tenancy.services.object_store import (
    Bucket,
    DocumentUnusable,
    ObjectLocked,
    Retention,
    StoreAccessDenied,
)

CONTENT = json.dumps({"backup": "acme-x7k2p", "name": "Müller"}).encode()


def in_days(days: float) -> datetime:
    """From now, to the second: stores keep no more."""
    return datetime.now(UTC).replace(microsecond=0) + timedelta(days=days)


async def test_what_was_written_is_read(bucket: Bucket, prefix: str, writes: Writes) -> None:
    key = f"{prefix}/manifests/acme-x7k2p.json"
    written = await bucket.put_document(key, CONTENT)
    read = await bucket.get_document(key, sha256=written.sha256)
    assert read is not None
    assert (read.content, read.version) == (CONTENT, written.version)
    assert written.sha256 == read.sha256 == hashlib.sha256(CONTENT).hexdigest()
    assert writes.descriptions == [f"put {key} in bucket backups"]
    assert writes.calls == 2


async def test_a_bucket_without_versions_serves_too(plain: Bucket, prefix: str) -> None:
    written = await plain.put_document(f"{prefix}/a.json", CONTENT)
    read = await plain.get_document(f"{prefix}/a.json", sha256=written.sha256)
    assert read is not None
    assert (read.content, written.version, read.version) == (CONTENT, "null", "null")


async def test_nothing_is_none(bucket: Bucket, root: Any, prefix: str) -> None:
    assert await bucket.get_document(f"{prefix}/never.json") is None
    await bucket.put_document(f"{prefix}/hidden.json", CONTENT)
    root.delete_object(Bucket=LOCKED, Key=f"{prefix}/hidden.json")
    assert await bucket.get_document(f"{prefix}/hidden.json") is None


async def test_what_is_taken_away(bucket: Bucket, plain: Bucket, prefix: str, writes: Writes) -> None:
    key = f"{prefix}/restic/locks/ab"
    for each in (bucket, plain):
        await each.put_document(key, CONTENT)
        await each.hide(key)
        assert await each.get_document(key) is None
        await each.hide(f"{key}c")
    assert f"hide {key} in bucket backups" in writes.descriptions
    assert [each.hides async for each in bucket.versions(key)].count(False) == 1


async def test_a_changed_document_is_told_and_the_former_one_is_there(bucket: Bucket, prefix: str) -> None:
    key = f"{prefix}/a.json"
    first = await bucket.put_document(key, CONTENT)
    await bucket.put_document(key, b"{}")
    with pytest.raises(DocumentUnusable, match=first.sha256):
        await bucket.get_document(key, sha256=first.sha256)
    former = await bucket.get_document(key, sha256=first.sha256, version=first.version)
    assert former is not None
    assert former.content == CONTENT


async def test_a_document_is_bounded(bucket: Bucket, prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("odoo_tenancy.services.object_store.bucket.LARGEST_DOCUMENT", len(CONTENT) - 1)
    await bucket.put_document(f"{prefix}/a.json", CONTENT)
    with pytest.raises(DocumentUnusable, match="more than"):
        await bucket.get_document(f"{prefix}/a.json")


async def test_a_document_is_locked_at_once(bucket: Bucket, prefix: str) -> None:
    key, wanted = f"{prefix}/a.json", Retention("Governance", in_days(3))
    written = await bucket.put_document(key, CONTENT, wanted)
    assert await bucket.retention(key, written.version) == wanted


async def test_a_lock_gets_longer_and_not_shorter(bucket: Bucket, prefix: str) -> None:
    key = f"{prefix}/a.json"
    written = await bucket.put_document(key, CONTENT, Retention("Governance", in_days(1)))
    longer = Retention("Governance", in_days(9))
    await bucket.retain(key, written.version, longer)
    assert await bucket.retention(key, written.version) == longer
    with pytest.raises((ObjectLocked, StoreAccessDenied)):
        await bucket.retain(key, written.version, Retention("Governance", in_days(2)))
    assert await bucket.retention(key, written.version) == longer


async def test_the_lock_that_a_bucket_gives(minio: S3Process, make_bucket: MakeBucket, prefix: str) -> None:
    bucket = make_bucket(minio)
    written = await bucket.put_document(f"{prefix}/a.json", CONTENT)
    default = await bucket.retention(f"{prefix}/a.json", written.version)
    assert default is not None
    assert abs(default.until - in_days(1)) < timedelta(minutes=5)


async def test_the_lock_that_versitygw_does_not_give(
    versitygw: S3Process, make_bucket: MakeBucket, prefix: str
) -> None:
    """Its default counts from when it was set, and not from when an object is written (1.8): a reason more that a
    bucket there is not good for ``immutability``."""
    bucket = make_bucket(versitygw)
    written = await bucket.put_document(f"{prefix}/a.json", CONTENT)
    assert await bucket.retention(f"{prefix}/a.json", written.version) is None


async def test_lists(bucket: Bucket, prefix: str) -> None:
    keys = sorted(f"{prefix}/{name}" for name in ("a/1.json", "a/2.json", "b/1.json", "c.json"))
    for key in keys:
        await bucket.put_document(key, CONTENT)
    found = [each async for each in bucket.objects(f"{prefix}/")]
    assert [each.key for each in found] == keys
    assert {each.bytes for each in found} == {len(CONTENT)}
    assert await bucket.folders(f"{prefix}/") == ("a", "b")
    assert [each.key async for each in bucket.objects(f"{prefix}/a/")] == keys[:2]
    assert await bucket.folders(f"{prefix}/none/") == ()


async def test_lists_of_many_pages(bucket: Bucket, prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages of two instead of a thousand: asked of the server, which pages as ever."""
    keys = [f"{prefix}/{n}/{n}.json" for n in range(5)]
    for key in keys * 2:
        await bucket.put_document(key, CONTENT)
    s3 = bucket._connection._made()
    for name in ("list_objects_v2", "list_object_versions"):
        whole = getattr(s3, name)
        monkeypatch.setattr(s3, name, lambda whole=whole, **arguments: whole(**{**arguments, "MaxKeys": 2}))
    assert [each.key async for each in bucket.objects(f"{prefix}/")] == keys
    assert await bucket.folders(f"{prefix}/") == tuple("01234")
    versions = [each async for each in bucket.versions(f"{prefix}/")]
    assert [each.key for each in versions] == sorted(keys * 2)
    assert [each.newest for each in versions] == [True, False] * 5


async def test_versions_are_the_newest_first(bucket: Bucket, root: Any, prefix: str) -> None:
    key = f"{prefix}/a.json"
    first = await bucket.put_document(key, b"1")
    second = await bucket.put_document(key, b"22")
    root.delete_object(Bucket=LOCKED, Key=key)
    found = [each async for each in bucket.versions(f"{prefix}/")]
    assert [(each.hides, each.newest, each.bytes) for each in found] == [
        (True, True, 0),
        (False, False, 2),
        (False, False, 1),
    ]
    assert [each.version for each in found[1:]] == [second.version, first.version]


async def test_a_version_keeps_the_moment_when_it_was_written(bucket: Bucket, root: Any, prefix: str) -> None:
    """And not that of what came over it."""
    key = f"{prefix}/a.json"
    before = await moment_between(bucket)
    await bucket.put_document(key, b"1")
    between = await moment_between(bucket)
    await bucket.put_document(key, b"2")
    later = await moment_between(bucket)
    root.delete_object(Bucket=LOCKED, Key=key)
    hidden, second, first = [each async for each in bucket.versions(f"{prefix}/")]
    assert before < first.written < between < second.written < later < hidden.written


async def test_the_store_s_clock_stands_beside_ours(
    server: S3Process, make_bucket: MakeBucket, prefix: str
) -> None:
    ours = make_bucket(server)
    clocks = await ours.clock(f"{prefix}/")
    assert abs(clocks.ahead) < timedelta(seconds=3)
    slow = make_bucket(server, now=lambda: datetime.now(UTC) - timedelta(hours=1))
    assert abs((await slow.clock()).ahead - timedelta(hours=1)) < timedelta(seconds=3)
    written = await ours.put_document(f"{prefix}/a.json", CONTENT)
    assert abs(written.store_clock - clocks.store) < timedelta(minutes=1)


async def test_many_at_once(bucket: Bucket, prefix: str) -> None:
    keys = [f"{prefix}/{n:02}.json" for n in range(20)]
    await asyncio.gather(*(bucket.put_document(key, key.encode()) for key in keys))
    read = await asyncio.gather(*(bucket.get_document(key) for key in keys))
    assert [each.content.decode() for each in read if each] == keys


async def test_a_copy_is_of_that_version(bucket: Bucket, prefix: str) -> None:
    await bucket.put_document(f"{prefix}/a ü+%.json", b"first")
    await bucket.put_document(f"{prefix}/a ü+%.json", b"second")
    former = [each async for each in bucket.versions(f"{prefix}/")][1]
    await bucket.copy(former, f"{prefix}/copied.json")
    read = await bucket.get_document(f"{prefix}/copied.json")
    assert read is not None
    assert read.content == b"first"

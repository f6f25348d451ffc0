"""A prefix as it was, on both servers."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from tests.integration.services.object_store.conftest import MakeBucket, moment_between
from tests.support.s3 import LOCKED, S3Process
from tests.support.writes import Killed, Writes

from odoo_tenancy.services.object_store import Bucket, copy_as_of

NAMES = ("config", "data/ab", "data/cd", "index/01")


async def contents(bucket: Bucket, prefix: str) -> dict[str, bytes]:
    found = {}
    async for each in bucket.objects(prefix):
        document = await bucket.get_document(each.key)
        assert document is not None
        found[each.key.removeprefix(prefix)] = document.content
    return found


@pytest.fixture
async def before(bucket: Bucket, prefix: str) -> datetime:
    """A repository was written, and its moment."""
    for name in (*NAMES, "locks/04"):
        await bucket.put_document(f"{prefix}/restic/{name}", name.encode())
    return await moment_between(bucket)


GOOD = {name: name.encode() for name in NAMES}


async def test_what_was_overwritten_hidden_or_added(
    bucket: Bucket, root: Any, prefix: str, before: datetime
) -> None:
    repository, other = f"{prefix}/restic/", f"{prefix}/as-of/"
    await bucket.put_document(f"{repository}data/ab", b"overwritten")
    root.delete_object(Bucket=LOCKED, Key=f"{repository}data/cd")
    await bucket.put_document(f"{repository}index/01", b"overwritten")
    root.delete_object(Bucket=LOCKED, Key=f"{repository}index/01")
    await bucket.put_document(f"{repository}data/ff", b"added")
    copied = await copy_as_of(bucket, repository, other, before)
    assert await contents(bucket, other) == GOOD
    assert (copied.objects, copied.already) == (len(NAMES), 0)
    assert copied.bytes == sum(len(name) for name in NAMES)


async def test_what_had_been_deleted_by_then_stays_so(
    bucket: Bucket, root: Any, prefix: str, before: datetime
) -> None:
    repository, other = f"{prefix}/restic/", f"{prefix}/as-of/"
    root.delete_object(Bucket=LOCKED, Key=f"{repository}data/cd")
    later = await moment_between(bucket)
    await bucket.put_document(f"{repository}data/cd", b"back again")
    await copy_as_of(bucket, repository, other, later)
    assert await contents(bucket, other) == {name: name.encode() for name in NAMES if name != "data/cd"}


async def test_the_source_stays_as_it_is(bucket: Bucket, prefix: str, before: datetime) -> None:
    repository = f"{prefix}/restic/"
    there = [each async for each in bucket.versions(repository)]
    await copy_as_of(bucket, repository, f"{prefix}/as-of/", before)
    assert [each async for each in bucket.versions(repository)] == there


async def test_again_it_copies_what_is_missing(
    bucket: Bucket, server: S3Process, make_bucket: MakeBucket, prefix: str, before: datetime
) -> None:
    repository, other = f"{prefix}/restic/", f"{prefix}/as-of/"
    with pytest.raises(Killed):
        await copy_as_of(make_bucket(server, hook=Writes(die_at=4)), repository, other, before)
    there = len(await contents(bucket, other))
    found = await copy_as_of(bucket, repository, other, before)
    assert (found.objects, found.already) == (len(NAMES) - there, there)
    assert await contents(bucket, other) == GOOD
    assert (await copy_as_of(bucket, repository, other, before)).already == len(NAMES)


async def test_never_into_itself(bucket: Bucket, prefix: str, before: datetime) -> None:
    for target in (f"{prefix}/restic/as-of/", f"{prefix}/", f"{prefix}/restic/", f"{prefix}/as-of"):
        with pytest.raises(ValueError, match=r"lie in each other|slash"):
            await copy_as_of(bucket, f"{prefix}/restic/", target, before)

"""A prefix as it was at a moment, copied to another one: after somebody overwrote or deleted what lies in a locked bucket.

Nothing is taken away: what was overwritten or hidden is still there as a former version, and a copy of it to a new prefix
is a repository that restic opens with the same keys. Taking delete markers away would not be enough, as a version that
was written over another stays above it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime

from odoo_tenancy.services.object_store.bucket import Bucket
from odoo_tenancy.services.object_store.connection import THREADS
from odoo_tenancy.services.object_store.stored import StoredVersion

_LOCKS = "/locks/"
"""restic's own, of whoever was at work at that moment."""


@dataclass(frozen=True, slots=True)
class Copied:
    """What one run did."""

    objects: int = 0
    bytes: int = 0
    already: int = 0
    """Objects that an earlier run had copied."""


async def copy_as_of(bucket: Bucket, source: str, target: str, moment: datetime) -> Copied:
    """Copy what was visible below ``source`` at ``moment`` to ``target``, inside the store; restic's locks are left out.

    Run again after it was cut short, it copies what is missing. ``moment`` is compared with the time at which the store
    says that a version was written, which may be a whole second: take one that is well before what went wrong.

    Args:
        source, target: with a slash at their ends; neither lies in the other.

    Raises:
        ValueError: they do.
    """
    if not (source.endswith("/") and target.endswith("/")):
        raise ValueError("prefixes end with a slash")
    if source.startswith(target) or target.startswith(source):
        raise ValueError(f"{source} and {target} lie in each other")
    there = {each.key: each.bytes async for each in bucket.objects(target)}
    copied = _Counts()
    under_way: list[StoredVersion] = []
    async for version in visible(bucket, source, moment):
        if there.get(_moved(version.key, source, target)) == version.bytes:
            copied.already += 1
            continue
        under_way.append(version)
        if len(under_way) == THREADS:
            await copied.copy(bucket, source, target, under_way)
    await copied.copy(bucket, source, target, under_way)
    return Copied(copied.objects, copied.bytes, copied.already)


async def visible(bucket: Bucket, prefix: str, moment: datetime) -> AsyncIterator[StoredVersion]:
    """Of each key the version that a reader saw at ``moment``, if any; without restic's locks."""
    decided = ""
    async for each in bucket.versions(prefix):
        if each.key == decided or each.written > moment:
            continue
        decided = each.key
        if not each.hides and _LOCKS not in f"/{each.key.removeprefix(prefix)}":
            yield each


@dataclass
class _Counts:
    objects: int = 0
    bytes: int = 0
    already: int = 0

    async def copy(self, bucket: Bucket, source: str, target: str, versions: list[StoredVersion]) -> None:
        """All at once; ends when all have ended, and empties the list."""
        work = [bucket.copy(each, _moved(each.key, source, target)) for each in versions]
        for outcome in await asyncio.gather(*work, return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome
        self.objects += len(versions)
        self.bytes += sum(each.bytes for each in versions)
        versions.clear()


def _moved(key: str, source: str, target: str) -> str:
    return target + key.removeprefix(source)

"""restic's own locks that somebody left behind who is gone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from odoo_tenancy.services.object_store import Bucket
from odoo_tenancy.services.restic import Repository, RepositoryLock, RepositoryLocked

ABANDONED = timedelta(hours=1)
"""For which a lock was not refreshed, by the store's clock, so that nobody holds it. restic refreshes each five minutes,
stops its work where it could not for half an hour, and goes on only if its lock is still there
(https://github.com/restic/restic/pull/4374)."""


@dataclass(frozen=True, slots=True)
class Locks:
    """What stands in a repository."""

    removed: int
    """Of those who are gone."""
    living: tuple[RepositoryLock, ...]
    """Of those who are, or may be, at work there."""


async def remove_stale_locks(
    repository: Repository, bucket: Bucket, alive: Sequence[str], prefixes: Sequence[str], now: datetime
) -> Locks:
    """Take away the locks of pods of ours that are gone, and of strangers that have long stopped.

    Args:
        alive: names of pods; a lock's host is its pod's name.
        prefixes: how names of our pods begin.
        now: by the store's clock.
    """
    locks = await repository.locks()
    if not locks:
        return Locks(0, ())
    written = {
        each.key.rpartition("/")[2]: each.modified
        async for each in bucket.objects(f"{repository.place.path}/locks/")
    }
    stale = [lock for lock in locks if _is_stale(lock, alive, prefixes, written, now)]
    await repository.unlock([lock.id for lock in stale], bucket.hide)
    return Locks(len(stale), tuple(lock for lock in locks if lock not in stale))


def locked_by(lock: RepositoryLock, path: str) -> RepositoryLocked:
    """Why a repository can't be maintained."""
    return RepositoryLocked(
        f"{lock.host} (user {lock.user}, process {lock.pid}) works in the repository {path} since"
        f" {lock.time:%Y-%m-%d %H:%M}, so nothing can be removed from it now. If nobody is at work there, it is taken for"
        " abandoned an hour after its last sign of life."
    )


def _is_stale(
    lock: RepositoryLock,
    alive: Sequence[str],
    prefixes: Sequence[str],
    written: Mapping[str, datetime],
    now: datetime,
) -> bool:
    if lock.host in alive:
        return False
    if any(lock.host.startswith(prefix) for prefix in prefixes):
        return True
    return now - written.get(lock.id, now) > ABANDONED

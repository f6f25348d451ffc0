"""restic's own locks that somebody left behind who is gone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from odoo_tenancy.services.object_store import Bucket
from odoo_tenancy.services.restic import Repository, RepositoryLock, RepositoryLocked

ABANDONED = timedelta(hours=1)
"""For which a lock was not refreshed, by the store's clock, so that nobody holds it. restic refreshes each five minutes,
stops its work where it could not for half an hour, and goes on only if its lock is still there
(https://github.com/restic/restic/pull/4374)."""


async def remove_stale_locks(
    repository: Repository, bucket: Bucket, alive: Sequence[str], prefixes: Sequence[str], now: datetime
) -> int:
    """Take away the locks of pods of ours that are gone, and of strangers that have long stopped; how many.

    Args:
        alive: names of pods; a lock's host is its pod's name.
        prefixes: how names of our pods begin.
        now: by the store's clock.

    Raises:
        RepositoryLocked: somebody is at work there.
    """
    locks = await repository.locks()
    if not locks:
        return 0
    written = {
        each.key.rpartition("/")[2]: each.modified
        async for each in bucket.objects(f"{repository.place.path}/locks/")
    }
    for lock in locks:
        if not _is_stale(lock, alive, prefixes, written, now):
            raise RepositoryLocked(
                f"{lock.host} (user {lock.user}, process {lock.pid}) works in the repository {repository.place.path}"
                f" since {lock.time:%Y-%m-%d %H:%M}, so it can't be maintained now. If nobody is at work there, it is"
                " taken for abandoned an hour after its last sign of life."
            )
    await repository.unlock([lock.id for lock in locks], bucket.hide)
    return len(locks)


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

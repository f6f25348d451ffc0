"""Locks that run out are made longer, for what kept backups need.

A repository that deduplicates lets new backups lean on old objects, whose lock is of the day when they were written. The
store can't be asked for many locks at once, so a ledger remembers them: each object costs one question in its life, and
a write when its lock runs out soon. The ledger is a memory and no proof: where it is lost, the questions are asked again.

It also pins versions. restic writes an object once and never again (all but ``config`` are named by their own SHA-256), so
that of several versions the oldest is restic's own; one that came later, or a delete marker over what a kept backup needs,
is somebody else's work, and is told.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice

from odoo_tenancy.services.object_store.bucket import Bucket
from odoo_tenancy.services.object_store.connection import THREADS
from odoo_tenancy.services.object_store.errors import (
    DocumentUnusable,
    ObjectLocked,
    StoreAccessDenied,
)
from odoo_tenancy.services.object_store.stored import Mode, Retention, StoredVersion

SAVE_EVERY = 1000
"""Objects, between two saves of the ledger."""
_LOCKS = "locks/"
"""restic's own locks, which must be removable."""


@dataclass(frozen=True, slots=True)
class Pinned:
    """The version that a kept backup needs, and its lock as last seen or set."""

    version: str
    retention: Retention | None


@dataclass(frozen=True, slots=True)
class Ledger:
    """What is known of the locks of one repository's objects."""

    pinned: Mapping[str, Pinned] = field(default_factory=dict)

    def dump(self) -> bytes:
        """As JSON: ``[key, version, mode, until]`` for each."""
        rows = [[key, each.version, *_row(each.retention)] for key, each in sorted(self.pinned.items())]
        return json.dumps({"schemaVersion": "1", "pinned": rows}, separators=(",", ":")).encode()

    @classmethod
    def load(cls, content: bytes) -> Ledger:
        """
        Raises:
            DocumentUnusable: it is no ledger.
        """
        try:
            rows = json.loads(content)["pinned"]
            return cls({key: Pinned(version, _retention(*lock)) for key, version, *lock in rows})
        except (ValueError, TypeError, KeyError) as error:
            raise DocumentUnusable(
                "A ledger of locks can't be read. Delete it: it is made anew from the bucket itself."
            ) from error


@dataclass(frozen=True, slots=True)
class Extension:
    """What one pass found and did."""

    ledger: Ledger
    extended: int = 0
    long_enough: int = 0
    asked: int = 0
    """Objects whose lock the ledger didn't know."""
    overwritten: tuple[str, ...] = ()
    """Needed, and another version lies over the pinned one."""
    hidden: tuple[str, ...] = ()
    """Needed, and a delete marker lies over it."""
    missing: tuple[str, ...] = ()
    """Needed, and no version of it is there, or none that is restic's own."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """How long locks shall last."""

    mode: Mode
    until: datetime
    soon: datetime
    """A lock that lasts at least until then is long enough."""


Save = Callable[[Ledger], Awaitable[object]]


async def extend(
    bucket: Bucket,
    prefix: str,
    needed: Collection[str],
    ledger: Ledger,
    wanted: Wanted,
    save: Save,
    versions: Mapping[str, str] | None = None,
) -> Extension:
    """Make the locks of what is needed last. Never shortens one, and never touches restic's own locks.

    Done again after it was cut short, it goes on where the ledger was last saved.

    Args:
        prefix: of the repository, with a slash at its end; all keys lie below it.
        needed: keys of what kept backups need.
        save: called with the ledger now and then, and at the end where it changed.
        versions: by key, those that were seen to be what they should be. Of all other keys the oldest is taken for that.

    Raises:
        ObjectLocked, StoreAccessDenied: the store refuses to make a lock longer.
    """
    outside = [key for key in needed if not key.startswith(prefix)]
    if outside:
        raise ValueError(f"{outside[0]} isn't below {prefix}")
    keys = sorted(key for key in needed if not key.startswith(f"{prefix}{_LOCKS}"))
    there = await _versions(bucket, prefix, frozenset(keys))
    work = _Pass(bucket, there, ledger, wanted, versions or {})
    for some in _chunks([key for key in keys if there.get(key)], SAVE_EVERY):
        for few in _chunks(some, THREADS):
            await _together([work.look_at(key) for key in few])
        if work.changed:
            await save(work.ledger())
            work.changed = False
    final = work.ledger(among=frozenset(keys))
    if final.pinned.keys() != work.pinned.keys():
        await save(final)
    return Extension(
        final,
        work.extended,
        work.long_enough,
        work.asked,
        tuple(key for key in keys if work.is_overwritten(key)),
        tuple(key for key in keys if there.get(key) and there[key][0].hides),
        tuple(key for key in keys if work.is_gone(key)),
    )


class _Pass:
    """One pass over a repository: what is there, what was known, what was done."""

    def __init__(
        self,
        bucket: Bucket,
        there: Mapping[str, Sequence[StoredVersion]],
        ledger: Ledger,
        wanted: Wanted,
        seen: Mapping[str, str],
    ) -> None:
        self.bucket, self.there, self.wanted, self.seen = bucket, there, wanted, seen
        self.pinned: dict[str, Pinned] = {
            key: each for key, each in ledger.pinned.items() if seen.get(key, each.version) == each.version
        }
        self.extended = self.long_enough = self.asked = 0
        self.changed = False

    def ledger(self, among: frozenset[str] | None = None) -> Ledger:
        if among is None:
            return Ledger(dict(self.pinned))
        return Ledger({key: each for key, each in self.pinned.items() if key in among})

    def contents(self, key: str) -> list[StoredVersion]:
        """Its versions that have content, newest first."""
        return [each for each in self.there.get(key, ()) if not each.hides]

    def is_overwritten(self, key: str) -> bool:
        contents = self.contents(key)
        return bool(contents) and key in self.pinned and contents[0].version != self.pinned[key].version

    def is_gone(self, key: str) -> bool:
        """Nothing of it is there, or not the version that was pinned: what is there instead is somebody else's."""
        versions = [each.version for each in self.contents(key)]
        return not versions or (key in self.pinned and self.pinned[key].version not in versions)

    async def look_at(self, key: str) -> None:
        """Pin it, and make its lock longer where it runs out soon."""
        if self.is_gone(key):
            return
        version = self.seen.get(key) or self.contents(key)[-1].version
        known = self.pinned.get(key) or await self._ask(key, version)
        if known.retention is not None and known.retention.until >= self.wanted.soon:
            self.long_enough += 1
            return
        await self._extend(key, known)

    async def _ask(self, key: str, version: str) -> Pinned:
        self.asked += 1
        return self._note(key, Pinned(version, await self.bucket.retention(key, version)))

    async def _extend(self, key: str, known: Pinned) -> None:
        # Another mode than the one that holds is refused without the right to lift locks, which nobody here should have.
        mode = known.retention.mode if known.retention else self.wanted.mode
        longer = Retention(mode, self.wanted.until)
        try:
            await self.bucket.retain(key, known.version, longer)
        except (ObjectLocked, StoreAccessDenied):
            # A ledger that is behind: it may be locked for longer already, or in another mode.
            seen = await self._ask(key, known.version)
            if seen.retention is None or seen.retention == known.retention:
                raise
            if seen.retention.until < self.wanted.soon:
                longer = Retention(seen.retention.mode, self.wanted.until)
                await self.bucket.retain(key, known.version, longer)
            else:
                self.long_enough += 1
                return
        self._note(key, Pinned(known.version, longer))
        self.extended += 1

    def _note(self, key: str, pinned: Pinned) -> Pinned:
        self.pinned[key] = pinned
        self.changed = True
        return pinned


async def _versions(bucket: Bucket, prefix: str, keys: frozenset[str]) -> dict[str, list[StoredVersion]]:
    found: dict[str, list[StoredVersion]] = {}
    async for each in bucket.versions(prefix):
        if each.key in keys:
            found.setdefault(each.key, []).append(each)
    return found


async def _together(work: Sequence[Awaitable[None]]) -> None:
    """All at once; the first error once all have ended, so that none goes on unseen."""
    for outcome in await asyncio.gather(*work, return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome


def _chunks(keys: Sequence[str], size: int) -> Iterator[list[str]]:
    rest = iter(keys)
    while chunk := list(islice(rest, size)):
        yield chunk


def _row(retention: Retention | None) -> tuple[str, str]:
    return ("", "") if retention is None else (retention.mode, retention.until.isoformat())


def _retention(mode: Mode, until: str) -> Retention | None:
    return Retention(mode, datetime.fromisoformat(until)) if mode else None

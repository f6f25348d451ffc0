"""All that is stored of one tenant, taken away for good, as far as locks and the key's own rights let it.

Manifests go first, so that nothing looks like a backup any more; then restic's keys, without which nobody reads what is
left; then the rest, and what the operator remembers of it; last the parts of uploads that never came to their end. Of what
has to stay the newest version is hidden, by which it becomes a former version that the bucket's own lifecycle rule ends.

Nothing is remembered beyond the process: killed anywhere, it is run again, and passes by what is gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import dropwhile, islice, takewhile, zip_longest
from typing import TypeVar

from odoo_tenancy.services.object_store.bucket import Bucket
from odoo_tenancy.services.object_store.connection import THREADS
from odoo_tenancy.services.object_store.errors import ObjectLocked, StoreAccessDenied
from odoo_tenancy.services.object_store.ledger_store import FOLDER
from odoo_tenancy.services.object_store.stored import StoredUpload, StoredVersion

T = TypeVar("T")

KEYS = "/restic/keys/"
"""In a tenant's part: what its passwords open."""
_AT_ONCE = 250
"""Keys. S3 takes a thousand by one request; where all of these are locked, each is asked for its lock besides, and a look
should end within seconds."""
_UPLOADS_A_PASS = 100
"""That are aborted; whatever more there are, the next pass sees."""


@dataclass(frozen=True, slots=True)
class Remains:
    """What had to stay, all of it hidden. Versions, without the delete markers that hide them."""

    objects: int = 0
    bytes: int = 0
    locked: int = 0
    until: datetime | None = None
    """When the last of these locks ends, as it is now."""
    on_hold: int = 0
    """Under a legal hold: until somebody takes that away."""
    refused: int = 0
    """Without a lock that could be seen: the key may only hide, or the bucket's default retention holds."""
    keys: int = 0
    """Of restic's keys: with one of them, and its password, the rest can be read."""
    uploads: int = 0
    """That never came to their end, and that the key may not abort. None of these objects."""
    are_uploads_seen: bool = True
    """The key may list such."""


@dataclass(frozen=True, slots=True)
class Gone:
    """What was taken away so far."""

    objects: int = 0
    bytes: int = 0
    """Of these objects."""
    uploads: int = 0
    """That never came to their end; how many bytes they had, nobody asked."""

    def __str__(self) -> str:
        more = f" and {self.uploads} unfinished uploads" if self.uploads else ""
        return f"{self.objects} objects with {self.bytes} bytes{more}"


class Erasure:
    """Goes on from call to call.

    Args:
        prefix: of the policy, without a slash at either end; may be empty.
        claim: of the tenant; nothing is touched whose key doesn't have it as a whole part.
        now: a lock that has ended is none.
    """

    def __init__(self, bucket: Bucket, prefix: str, claim: str, now: Callable[[], datetime]) -> None:
        if not claim:
            raise ValueError("whose is it? Without a claim all tenants' would go")
        below = f"{prefix}/{claim}" if prefix else claim
        ledgers = "/".join(part for part in (prefix, FOLDER, f"{claim}.") if part)
        self._folders = (f"{below}/manifests/", f"{below}{KEYS}", f"{below}/", ledgers)
        self._bucket = bucket
        self._now = now
        self._stays: dict[tuple[str, str], Remains] = {}
        """By key and version, what was found to have to: it is not tried again."""
        self._found: dict[tuple[str, str], Remains] = {}
        """The same, as far as this pass saw it."""
        self._coming: list[str] = []
        """Folders that this pass has not come to yet. One is done before the next is listed."""
        self._groups: AsyncGenerator[list[StoredVersion], None] | None = None
        self._changed = False
        """In this pass: another one has to look whether that was all."""
        self._uploads_left: frozenset[StoredUpload] = frozenset()
        """That the key may not abort: they are not tried again."""
        self._are_uploads_seen = True
        self.gone = Gone()

    @property
    def remains(self) -> Remains:
        """As the last pass saw it."""
        return replace(
            _together(self._found.values()),
            uploads=len(self._uploads_left),
            are_uploads_seen=self._are_uploads_seen,
        )

    async def go_on(self, is_enough: Callable[[], bool]) -> bool:
        """Whether all is done: a whole pass found nothing to do. ``is_enough`` is asked between any few hundred keys, to
        come back later.

        Raises:
            OperatorError: of the store; the next call begins with the first key again.
        """
        try:
            while not is_enough():
                if self._groups is None:
                    self._begin_pass()
                elif some := await _take(self._groups, _AT_ONCE):
                    await self._erase(some)
                elif self._coming:
                    self._groups = self._keys_below(self._coming.pop(0))
                else:
                    await self._abort_uploads()
                    if not self._changed:
                        return True
                    self._groups = None
        except BaseException:
            self._groups = None
            raise
        return False

    def _begin_pass(self) -> None:
        first, *self._coming = self._folders
        self._groups, self._changed, self._found = self._keys_below(first), False, {}

    async def _keys_below(self, folder: str) -> AsyncGenerator[list[StoredVersion], None]:
        """All versions of each key, the newest first."""
        group: list[StoredVersion] = []
        async for each in self._bucket.versions(folder):
            if group and group[0].key != each.key:
                yield group
                group = []
            group.append(each)
        if group:
            yield group

    async def _erase(self, groups: Sequence[list[StoredVersion]]) -> None:
        """Of each key the oldest version first, so that none that was hidden is seen again, and marks last."""
        groups = await self._without_the_unversioned(groups)
        for some in _one_of_each(map(self._until_one_stays, groups)):
            await self._remove(some)
        left = [group for group in groups if self._is_left(group)]
        emptied = [group for group in groups if not self._is_left(group)]
        seen = [newest for newest, *_ in left if not newest.hides and newest.version != "null"]
        await self._hide([each.key for each in seen])
        for some in _one_of_each(map(self._from_one_that_stays, left)):
            await self._remove(some)
        for some in _one_of_each([each for each in group if each.hides] for group in emptied):
            await self._remove(some)

    def _until_one_stays(self, group: Sequence[StoredVersion]) -> Iterator[StoredVersion]:
        """Each once it is known of those before it; what comes after one that stays may hide it."""
        return takewhile(lambda _: not self._is_left(group), _contents(group))

    def _from_one_that_stays(self, group: Sequence[StoredVersion]) -> Iterator[StoredVersion]:
        return dropwhile(lambda each: _name(each) not in self._stays, _contents(group))

    async def _without_the_unversioned(
        self, groups: Sequence[list[StoredVersion]]
    ) -> Sequence[list[StoredVersion]]:
        """Where there are no versions hiding is all, and AWS asks for no right to delete versions."""
        plain = [group[0] for group in groups if group[0].version == "null" and not group[0].hides]
        hidden = await self._hide([each.key for each in plain])
        gone = {each.key for each in plain if not hidden[each.key]}
        for each in plain:
            if each.key in gone:
                self._count(each)
        return [group for group in groups if group[0].key not in gone]

    async def _hide(self, keys: Sequence[str]) -> dict[str, bool]:
        """Whether there is a mark now, of each."""
        if not keys:
            return {}
        self._changed = True
        hidden = await self._bucket.hide_all(keys)
        others = [key for key in keys if key not in hidden]
        return hidden | dict(zip(others, await _all(map(self._bucket.hide, others)), strict=True))

    async def _remove(self, versions: Sequence[StoredVersion]) -> None:
        """Then each of them is gone, or has to stay."""
        fresh = [each for each in versions if _name(each) not in self._stays]
        if fresh:
            found = await self._bucket.remove_all(fresh)
            for each in found.gone:
                self._count(each)
            await _all(self._ask_why(each) for each in found.refused)
            told = found.gone | found.refused
            await _all(self._remove_alone(each) for each in fresh if each not in told)
        for each in versions:
            if _name(each) in self._stays:
                self._found[_name(each)] = self._stays[_name(each)]

    async def _remove_alone(self, version: StoredVersion) -> None:
        try:
            await self._bucket.remove(version)
        except (ObjectLocked, StoreAccessDenied):
            await self._ask_why(version)
        else:
            self._count(version)

    async def _ask_why(self, version: StoredVersion) -> None:
        self._stays[_name(version)] = Remains() if version.hides else await self._why(version)

    def _is_left(self, group: Sequence[StoredVersion]) -> bool:
        """Of its contents, one at least has to stay."""
        return any(not each.hides and _name(each) in self._stays for each in group)

    async def _abort_uploads(self) -> None:
        try:
            found = frozenset(await self._bucket.uploads(self._folders[2]))
        except StoreAccessDenied:
            self._are_uploads_seen = False
            return
        self._uploads_left &= found
        some = sorted(found - self._uploads_left, key=lambda each: each.key)[:_UPLOADS_A_PASS]
        await _all(map(self._abort, some))

    async def _abort(self, upload: StoredUpload) -> None:
        try:
            await self._bucket.abort(upload)
        except StoreAccessDenied:
            self._uploads_left |= {upload}
        else:
            self._changed = True
            self.gone = replace(self.gone, uploads=self.gone.uploads + 1)

    def _count(self, version: StoredVersion) -> None:
        self._changed = True
        if not version.hides:
            gone = self.gone
            self.gone = replace(gone, objects=gone.objects + 1, bytes=gone.bytes + version.bytes)

    async def _why(self, version: StoredVersion) -> Remains:
        """A store says the same of a lock and of a right that is missing, so the lock is asked for."""
        one = Remains(objects=1, bytes=version.bytes, keys=int(version.key.startswith(self._folders[1])))
        lock = await self._bucket.retention(version.key, version.version)
        if lock is not None and lock.until > self._now():
            one = replace(one, locked=1, until=lock.until)
        if await self._is_on_hold(version):
            return replace(one, on_hold=1)
        return one if one.locked else replace(one, refused=1)

    async def _is_on_hold(self, version: StoredVersion) -> bool:
        """As far as the key may ask: the policy's own needs that for nothing else."""
        try:
            return await self._bucket.legal_hold(version.key, version.version)
        except StoreAccessDenied:
            return False


async def days_until_cleaned(bucket: Bucket, below: str) -> int | None:
    """Days after which the bucket's lifecycle removes former versions below this; ``None``: it doesn't, or the key may not
    ask."""
    try:
        has = await bucket.protection()
    except StoreAccessDenied:
        return None
    days = [
        rule.noncurrent_days
        for rule in has.lifecycle or ()
        if rule.cleans(below) and rule.noncurrent_days is not None
    ]
    return min(days, default=None)


def _name(version: StoredVersion) -> tuple[str, str]:
    return version.key, version.version


def _contents(group: Sequence[StoredVersion]) -> Iterator[StoredVersion]:
    """Without marks, the oldest first."""
    return (each for each in reversed(group) if not each.hides)


def _one_of_each(several: Iterable[Iterable[StoredVersion]]) -> Iterator[list[StoredVersion]]:
    """The first of each, then the second of each that has one, and so on."""
    for some in zip_longest(*several):
        yield [each for each in some if each is not None]


async def _all(several: Iterable[Coroutine[None, None, T]]) -> list[T]:
    """As many at once as the bucket's threads; where one fails none is begun after it, so that a store that went away is
    not waited for by each.

    Raises:
        BaseException: the first that one of them raised, when those beside it have ended.
    """
    found: list[T] = []
    waiting = iter(several)
    while some := tuple(islice(waiting, THREADS)):
        for outcome in await asyncio.gather(*some, return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome
            found.append(outcome)
    return found


async def _take(groups: AsyncGenerator[list[StoredVersion], None], number: int) -> list[list[StoredVersion]]:
    """The next so many of them; fewer at the end."""
    found: list[list[StoredVersion]] = []
    async for group in groups:
        found.append(group)
        if len(found) == number:
            break
    return found


def _together(several: Iterable[Remains]) -> Remains:
    every = tuple(several)
    return Remains(
        objects=sum(each.objects for each in every),
        bytes=sum(each.bytes for each in every),
        locked=sum(each.locked for each in every),
        until=max((each.until for each in every if each.until is not None), default=None),
        on_hold=sum(each.on_hold for each in every),
        refused=sum(each.refused for each in every),
        keys=sum(each.keys for each in every),
    )

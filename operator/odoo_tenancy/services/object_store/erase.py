"""All that is stored of one tenant, taken away for good, as far as locks and the key's own rights let it.

Manifests go first, so that nothing looks like a backup any more; then restic's keys, without which nobody reads what is
left; then the rest, and what the operator remembers of it; last the parts of uploads that never came to their end. Of what
has to stay the newest version is hidden, by which it becomes a former version that the bucket's own lifecycle rule ends.

Nothing is remembered beyond the process: killed anywhere, it is run again, and passes by what is gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from odoo_tenancy.services.object_store.bucket import Bucket
from odoo_tenancy.services.object_store.connection import THREADS
from odoo_tenancy.services.object_store.errors import ObjectLocked, StoreAccessDenied
from odoo_tenancy.services.object_store.ledger_store import FOLDER
from odoo_tenancy.services.object_store.stored import StoredUpload, StoredVersion

KEYS = "/restic/keys/"
"""In a tenant's part: what its passwords open."""
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
        """Whether all is done: a whole pass found nothing to do. Asked between any few keys whether to come back later.

        Raises:
            OperatorError: of the store; the next call begins with the first key again.
        """
        try:
            while not is_enough():
                if self._groups is None:
                    self._begin_pass()
                elif some := await _take(self._groups, THREADS):
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
        """All at once; ends when all have ended."""
        for outcome in await asyncio.gather(*map(self._erase_key, groups), return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome

    async def _erase_key(self, versions: list[StoredVersion]) -> None:
        """The oldest first, so that none that was hidden is seen again, and marks last."""
        newest = versions[0]
        if newest.version == "null" and not newest.hides:
            # Where there are no versions this is all, and AWS asks for no right to delete versions.
            self._changed = True
            if not await self._bucket.hide(newest.key):
                self._count(newest)
                return
        contents = [each for each in reversed(versions) if not each.hides]
        left = [each for each in contents if not await self._is_removed(each)]
        if not left:
            for mark in versions:
                if mark.hides:
                    await self._is_removed(mark)
        elif not newest.hides and newest.version != "null":
            self._changed = True
            await self._bucket.hide(newest.key)

    async def _abort_uploads(self) -> None:
        try:
            found = frozenset(await self._bucket.uploads(self._folders[2]))
        except StoreAccessDenied:
            self._are_uploads_seen = False
            return
        self._uploads_left &= found
        some = sorted(found - self._uploads_left, key=lambda each: each.key)[:_UPLOADS_A_PASS]
        for upload, outcome in zip(
            some, await asyncio.gather(*map(self._bucket.abort, some), return_exceptions=True), strict=True
        ):
            if isinstance(outcome, StoreAccessDenied):
                self._uploads_left |= {upload}
            elif outcome is not None:
                raise outcome
            else:
                self._changed = True
                self.gone = replace(self.gone, uploads=self.gone.uploads + 1)

    async def _is_removed(self, version: StoredVersion) -> bool:
        """Or it has to stay."""
        name = (version.key, version.version)
        if name not in self._stays:
            try:
                await self._bucket.remove(version)
            except (ObjectLocked, StoreAccessDenied):
                self._stays[name] = Remains() if version.hides else await self._why(version)
            else:
                self._count(version)
                return True
        self._found[name] = self._stays[name]
        return False

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

"""What was proven of a filestore's files before, written down beside the backups, so that it isn't read again.

A snapshot is entered when every file in it was read, or was equal to that of a snapshot entered before. "Equal" is what
``restic diff`` says, which compares the ids of contents (SHA-256) and not times or sizes: so a proof holds for as long as
the repository keeps what it was given, and that is what ``restic check --read-data`` is for. The document says only what
need not be read: without it everything is read again.
"""

from __future__ import annotations

import logging
from datetime import datetime
from typing import Final, Literal

from pydantic import ValidationError

from odoo_tenancy.api.meta import ApiModel
from odoo_tenancy.services.object_store import Bucket, DocumentUnusable, StoreAccessDenied
from odoo_tenancy.services.restic import Snapshot

log = logging.getLogger(__name__)

_KEPT: Final = 64
_MOST_BAD: Final = 1000
"""Files of a snapshot that aren't what their names say; with more it isn't entered."""


class ProvenSnapshot(ApiModel):
    """Every file in it has the SHA-1 that its name says, but for a few."""

    id: str
    """In the restic repository."""
    folder: str
    """Of the filestore in it."""
    time: datetime
    """Of the snapshot."""
    bad: tuple[str, ...] = ()
    """Those that have another; half written when they were copied, say, and named by no row."""


class ProvenSnapshots(ApiModel):
    """All that is known."""

    schema_version: Literal["1"] = "1"
    snapshots: tuple[ProvenSnapshot, ...] = ()

    def of(self, snapshot: str) -> ProvenSnapshot | None:
        """What was proven of it."""
        return next((each for each in self.snapshots if each.id == snapshot), None)

    def nearest(self, snapshot: Snapshot, there: frozenset[str]) -> ProvenSnapshot | None:
        """The one that is nearest in time, of those that the repository still has."""
        candidates = [each for each in self.snapshots if each.id in there]
        return min(candidates, key=lambda each: abs(each.time - snapshot.time), default=None)

    def with_snapshot(self, proven: ProvenSnapshot, there: frozenset[str]) -> ProvenSnapshots:
        """And this one, without those that are gone; the newest entries only."""
        if len(proven.bad) > _MOST_BAD:
            return self
        others = [each for each in self.snapshots if each.id in there and each.id != proven.id]
        return self.model_copy(update={"snapshots": (*others, proven)[-_KEPT:]})


async def load(bucket: Bucket, key: str) -> ProvenSnapshots:
    """Nothing is known where there is no such document, or one that can't be read, or may not: AWS refuses what isn't there
    to who may not list it."""
    try:
        document = await bucket.get_document(key)
        return ProvenSnapshots.model_validate_json(document.content) if document else ProvenSnapshots()
    except (DocumentUnusable, StoreAccessDenied, ValidationError):
        return ProvenSnapshots()


async def save(bucket: Bucket, key: str, proven: ProvenSnapshots) -> None:
    """The last to write wins; what another wrote meanwhile is proven again, and so is all where the store lets nobody write
    it down."""
    try:
        await bucket.put_document(key, proven.model_dump_json(by_alias=True).encode())
    except StoreAccessDenied as error:
        log.warning(
            "what was proven is not remembered, so that all is read again next time: %s", error.message
        )

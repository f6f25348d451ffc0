"""What lies in a bucket: objects, versions, documents, locks."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

Mode = Literal["Governance", "Compliance"]


@dataclass(frozen=True, slots=True)
class Retention:
    """A lock: until then nobody removes this version."""

    mode: Mode
    until: datetime


@dataclass(frozen=True, slots=True)
class StoredObject:
    """The newest version of an object that isn't hidden."""

    key: str
    bytes: int
    modified: datetime


@dataclass(frozen=True, slots=True)
class StoredVersion:
    """One version of an object, or a mark that hides those before it."""

    key: str
    version: str
    """``null`` where the bucket has no versions."""
    written: datetime
    """When it was, by the store's clock; of some stores to the second."""
    newest: bool
    hides: bool
    """A delete marker: it has no content."""
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class Removal:
    """What came of several versions that were to be removed; of those in neither set nobody knows."""

    gone: frozenset[StoredVersion]
    refused: frozenset[StoredVersion]
    """By a lock, or because the key may not."""


@dataclass(frozen=True, slots=True)
class StoredUpload:
    """An object that came in parts and was never put together: stored and paid for, and in no list of objects."""

    key: str
    id: str


@dataclass(frozen=True, slots=True)
class Document:
    """A document, read or just written."""

    key: str
    sha256: str
    """Of its bytes, in hexadecimal digits."""
    version: str
    """``null`` where the bucket has no versions."""
    store_clock: datetime
    """The store's, when it answered."""
    content: bytes = field(default=b"", repr=False)
    """Empty of one just written."""


@dataclass(frozen=True, slots=True)
class Clocks:
    """The store's clock beside ours."""

    store: datetime
    """To the second, as an answer's ``Date`` said; some servers (versitygw) renew that once a second, and are late."""
    ours: datetime
    """Half-way between question and answer."""

    @property
    def ahead(self) -> timedelta:
        """How far the store's clock is ahead of ours; within a second it may be none."""
        return self.store - self.ours

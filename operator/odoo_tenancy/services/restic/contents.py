"""What a repository says is in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

OnProgress = Callable[[int, int], None]
"""Called every few seconds with the bytes that are done, and all bytes (0: not known)."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One restic snapshot."""

    id: str
    """64 hexadecimal digits."""
    time: datetime
    """When it was begun, by the clock of whoever made it."""
    tags: tuple[str, ...]
    paths: tuple[str, ...]
    """Absolute paths that it was made of; of a command's output ``/<filename>``."""
    bytes: int
    """Of the files in it."""
    uploaded_bytes: int
    """What it added to the repository, compressed and encrypted."""
    files: int = 0
    vanished: int = 0
    """Files that were deleted while it was made, as far as restic minded; known only of one that was just made."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A regular file in a snapshot."""

    path: str
    """Absolute, as in the snapshot."""
    size: int
    """Bytes."""


@dataclass(frozen=True, slots=True)
class Change:
    """A file that another snapshot hasn't, or has with other contents."""

    path: str
    """Below the folders that were compared, with a slash at its beginning."""
    how: str
    """In restic's signs: ``+`` new, ``M`` other contents, ``T`` another kind, ``?`` other contents and nothing else."""


@dataclass(frozen=True, slots=True)
class RepositoryKey:
    """A password that opens the repository, without the password."""

    id: str
    user: str
    host: str
    created: str
    """As restic writes it: ``2026-11-23 02:24:00`` in its local time."""
    current: bool
    """The one that we opened it with."""


@dataclass(frozen=True, slots=True)
class RepositoryLock:
    """Somebody is at work in the repository, or died there."""

    id: str
    time: datetime
    """When it was last refreshed by the clock of its holder, which does so every five minutes."""
    exclusive: bool
    host: str
    """In a pod: the pod's name."""
    user: str
    pid: int


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore wrote."""

    files: int
    bytes: int
    skipped_files: int
    """Were there already, as they should be."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check found."""

    errors: int
    broken_packs: tuple[str, ...]
    messages: tuple[str, ...]
    """The first of the errors, in restic's words."""

    @property
    def sound(self) -> bool:
        """Nothing is wrong."""
        return self.errors == 0 and not self.broken_packs


@dataclass(frozen=True, slots=True)
class Keep:
    """What :meth:`Repository.forget` keeps; what several say is kept by any of them. Durations in restic's words:
    ``2d``, ``1y5m``."""

    within: str = ""
    last: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    yearly: int = 0
    tags: tuple[str, ...] = ()
    """Snapshots with any of these tags."""


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What a :meth:`Repository.forget` by rules did, or would do."""

    kept: tuple[Snapshot, ...]
    removed: tuple[Snapshot, ...]


def snapshot_of(document: dict[str, Any]) -> Snapshot:
    """One of ``restic snapshots --json``."""
    summary = document.get("summary") or {}
    return Snapshot(
        document["id"],
        datetime.fromisoformat(document["time"]),
        tuple(document.get("tags") or ()),
        tuple(document.get("paths") or ()),
        int(summary.get("total_bytes_processed", 0)),
        int(summary.get("data_added_packed", 0)),
        int(summary.get("total_files_processed", 0)),
    )


def snapshot_of_summary(summary: dict[str, Any], tags: tuple[str, ...], paths: tuple[str, ...]) -> Snapshot:
    """Of the last line of ``restic backup --json``."""
    return Snapshot(
        summary["snapshot_id"],
        datetime.fromisoformat(summary["backup_start"]),
        tags,
        paths,
        int(summary["total_bytes_processed"]),
        int(summary["data_added_packed"]),
        int(summary["total_files_processed"]),
    )


def lock_of(identifier: str, document: dict[str, Any]) -> RepositoryLock:
    """Of ``restic cat lock``."""
    return RepositoryLock(
        identifier,
        datetime.fromisoformat(document["time"]),
        bool(document.get("exclusive")),
        document.get("hostname", ""),
        document.get("username", ""),
        int(document.get("pid", 0)),
    )

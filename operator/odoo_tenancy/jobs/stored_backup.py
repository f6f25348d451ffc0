"""One backup as it lies in the store: its manifest, and the snapshots that it names."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import ValidationError

from odoo_tenancy.api.errors import Refused
from odoo_tenancy.api.manifest import BackupManifest
from odoo_tenancy.services.object_store import Bucket, DocumentUnusable
from odoo_tenancy.services.restic import Repository, Snapshot


@dataclass(frozen=True)
class StoredBackup:
    """What a manifest says, and that its snapshots are there."""

    manifest: BackupManifest
    database: Snapshot
    filestore: tuple[Snapshot, ...]
    """The oldest first."""
    others: frozenset[str]
    """Ids of all snapshots of the repository."""


async def open_backup(repository: Repository, bucket: Bucket, key: str, sha256: str) -> StoredBackup:
    """Read the manifest and find its snapshots.

    Raises:
        Refused: ``ManifestMissing``, ``ManifestChanged``, ``ManifestUnreadable`` or ``SnapshotMissing``.
    """
    manifest = await _manifest(bucket, key, sha256)
    if manifest.repository != repository.place.path:
        raise Refused(
            "ManifestChanged",
            f"The manifest {key} is of the repository {manifest.repository}, not of {repository.place.path}: "
            "somebody moved it. Name the manifest that the backup wrote.",
        )
    found = {snapshot.id: snapshot for snapshot in await repository.snapshots()}
    named = [manifest.snapshots.database, *manifest.snapshots.filestore]
    if missing := [identifier for identifier in named if identifier not in found]:
        raise Refused(
            "SnapshotMissing",
            f"The repository {repository.place.path} has no snapshot {', '.join(each[:12] for each in missing)}, which "
            f"{key} names: it was forgotten, or deleted by somebody. Use another backup.",
        )
    filestore = sorted((found[each] for each in manifest.snapshots.filestore), key=lambda each: each.time)
    return StoredBackup(manifest, found[manifest.snapshots.database], tuple(filestore), frozenset(found))


async def _manifest(bucket: Bucket, key: str, sha256: str) -> BackupManifest:
    try:
        document = await bucket.get_document(key, sha256=sha256)
    except DocumentUnusable as error:
        raise Refused("ManifestChanged", error.message) from error
    if document is None:
        raise Refused(
            "ManifestMissing",
            f"There is no manifest {key} in bucket {bucket.name}: it was deleted or hidden. In a bucket with versions "
            "the former one is still there.",
        )
    try:
        return BackupManifest.model_validate_json(document.content)
    except ValidationError as error:
        fields = ", ".join(".".join(map(str, each["loc"])) for each in error.errors()[:5])
        raise Refused(
            "ManifestUnreadable",
            f"The manifest {key} isn't one that this operator reads: {fields}. A later operator may have written it.",
        ) from error

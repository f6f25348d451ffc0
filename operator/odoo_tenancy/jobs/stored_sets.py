"""All backups of a repository, as manifests and snapshots tell, and what of it can't be believed."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from pydantic import ValidationError

from odoo_tenancy.api.maintain_work import KnownBackup, MaintainWork
from odoo_tenancy.api.manifest import BackupManifest
from odoo_tenancy.jobs.retention import StoredSet
from odoo_tenancy.services.object_store import Bucket, Document
from odoo_tenancy.services.restic import Snapshot

_SUFFIX = ".json"


@dataclass(frozen=True)
class StoredSets:
    """What is there."""

    sets: tuple[StoredSet, ...]
    """With a manifest that can be believed."""
    changed: tuple[str, ...]
    """Names whose manifest isn't what was written, can't be read, or is of another repository."""
    hidden: tuple[str, ...]
    """Names of backups that the operator knows, and whose manifest is gone."""
    snapshots: tuple[Snapshot, ...]
    """All of the repository."""

    @property
    def doubtful(self) -> bool:
        """Whether a snapshot that no manifest names may belong to a backup all the same."""
        return bool(self.changed or self.hidden)

    def without(self, names: Collection[str]) -> StoredSets:
        """What is left when these are gone."""
        return replace(self, sets=tuple(each for each in self.sets if each.name not in names))

    def strays(self, now: datetime, age: timedelta) -> frozenset[str]:
        """Snapshots that belong to no backup, and are old enough that none is in the making."""
        named = {identifier for each in self.sets for identifier in each.snapshots}
        old = {each.id for each in self.snapshots if now - each.time > age}
        return frozenset() if self.doubtful else frozenset(old - named)


async def read_sets(
    bucket: Bucket,
    work: MaintainWork,
    snapshots: Sequence[Snapshot],
    forgotten: Mapping[str, str],
    held: Collection[str],
) -> StoredSets:
    """Read every manifest.

    Args:
        forgotten: names of backups that went on purpose, with the SHA-256 of their manifests.
        held: names of backups that are to stay, as the store has it: where there is no TenantBackup to say it, or it said
            so after this Job was made.
    """
    there, found, changed, seen = {each.id for each in snapshots}, [], [], set()
    async for each in bucket.objects(work.manifests):
        name = each.key[len(work.manifests) :].removesuffix(_SUFFIX)
        document = await bucket.get_document(each.key)
        if document is None:  # hidden just now
            continue
        seen.add(name)
        known = work.backups.get(name)
        stored = _believed(document, name, known, work.repository.path)
        if stored is None:
            changed.append(name)
        else:
            hold = name in held or (known is not None and known.hold)
            found.append(_set(name, document, stored, known, there, hold=hold))
    hidden = [
        name
        for name, known in work.backups.items()
        if name not in seen and forgotten.get(name) != known.sha256
    ]
    return StoredSets(tuple(found), tuple(changed), tuple(sorted(hidden)), tuple(snapshots))


def _believed(
    document: Document, name: str, known: KnownBackup | None, repository: str
) -> BackupManifest | None:
    """What it says; ``None`` where it can't be believed."""
    if known is not None and known.sha256 != document.sha256:
        return None
    try:
        manifest = BackupManifest.model_validate_json(document.content)
    except ValidationError:
        return None
    return manifest if manifest.repository == repository and manifest.backup == name else None


def _set(
    name: str,
    document: Document,
    manifest: BackupManifest,
    known: KnownBackup | None,
    there: Collection[str],
    *,
    hold: bool,
) -> StoredSet:
    named = frozenset({manifest.snapshots.database, *manifest.snapshots.filestore})
    missing = frozenset(each for each in named if each not in there)
    return StoredSet(
        name=name,
        sha256=document.sha256,
        recovery_point=manifest.recovery_point,
        snapshots=named,
        missing=missing,
        counts=known is not None and known.verified and not missing,
        hold=hold,
        version=document.version,
    )

"""What can be recovered of a tenant with nothing but its store and a recovery key. Nothing of a cluster is asked."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from odoo_tenancy.api.errors import Refused
from odoo_tenancy.api.work import RepositoryPlace
from odoo_tenancy.services.object_store import Bucket, StoredObject
from odoo_tenancy.services.object_store.catalogue import StoredManifest, manifests, read_manifest
from odoo_tenancy.services.restic import Repository, derived_password


@dataclass(frozen=True)
class Contents:
    """All backups of a repository."""

    whole: tuple[StoredManifest, ...]
    """Those whose snapshots are there, the newest recovery point first."""
    damaged: tuple[StoredManifest, ...] = ()
    """Those that lack a snapshot, in the same order."""
    unreadable: tuple[StoredObject, ...] = ()
    """Manifests that can't be read, or are of another repository."""


async def contents(bucket: Bucket, repository: Repository) -> Contents:
    """What is there, each manifest with the SHA-256 by which it is to be read from then on.

    Raises:
        OperatorError: of restic and the store.
    """
    path = repository.place.path
    there = {snapshot.id for snapshot in await repository.snapshots()}
    whole, damaged = list[StoredManifest](), list[StoredManifest]()
    unreadable = list[StoredObject]()
    async for each in manifests(bucket, path.rpartition("/")[0]):
        try:
            stored = await read_manifest(bucket, each.key)
        except Refused:
            unreadable.append(each)
            continue
        if stored is None:  # hidden just now
            continue
        if stored.manifest.repository != path:
            unreadable.append(each)
            continue
        named = stored.manifest.snapshots
        (whole if there.issuperset((named.database, *named.filestore)) else damaged).append(stored)
    return Contents(_newest_first(whole), _newest_first(damaged), tuple(unreadable))


async def recoverable(
    bucket: Bucket, place: RepositoryPlace, recovery_key: bytes, environment: Mapping[str, str]
) -> tuple[StoredManifest, ...]:
    """The manifests of all backups whose snapshots are in the repository, the newest recovery point first.

    Args:
        place: of the repository, as its policy and the claim say; its password file isn't used.
        environment: restic's, with the store's credentials.

    Raises:
        Refused: restic's: the key doesn't open the repository, or there is none.
    """
    with tempfile.TemporaryDirectory() as folder:
        password = Path(folder) / "password"
        password.touch(0o600)
        password.write_text(derived_password(recovery_key, place.path))
        opened = place.model_copy(update={"password_file": str(password)})
        return (await contents(bucket, Repository(opened, environment=environment))).whole


def _newest_first(found: list[StoredManifest]) -> tuple[StoredManifest, ...]:
    return tuple(sorted(found, key=lambda each: each.manifest.recovery_point, reverse=True))

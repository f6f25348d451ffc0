"""What can be recovered of a tenant with nothing but its store and a recovery key: what ``bootstrap.fromRepository`` needs
to choose from. Nothing of a cluster is asked."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from odoo_tenancy.api.errors import Refused
from odoo_tenancy.api.work import RepositoryPlace
from odoo_tenancy.services.object_store import Bucket
from odoo_tenancy.services.object_store.catalogue import StoredManifest, manifest_keys, read_manifest
from odoo_tenancy.services.restic import Repository, derived_password


async def recoverable(
    bucket: Bucket, place: RepositoryPlace, recovery_key: bytes, environment: Mapping[str, str]
) -> tuple[StoredManifest, ...]:
    """The manifests of all backups whose snapshots are in the repository, the newest recovery point first, each with the
    SHA-256 by which it is to be read from then on. What can't be read, and what is of another repository, is left out.

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
        there = {snapshot.id for snapshot in await Repository(opened, environment=environment).snapshots()}
    found = []
    for key in (await manifest_keys(bucket, place.path.rpartition("/")[0])).values():
        try:
            stored = await read_manifest(bucket, key)
        except Refused:
            continue
        if stored is None or stored.manifest.repository != place.path:
            continue
        snapshots = stored.manifest.snapshots
        if there.issuperset((snapshots.database, *snapshots.filestore)):
            found.append(stored)
    return tuple(sorted(found, key=lambda each: each.manifest.recovery_point, reverse=True))

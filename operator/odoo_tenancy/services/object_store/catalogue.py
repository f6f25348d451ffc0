"""What the bucket itself says of the backups in it: its manifests, without a cluster and without opening a repository."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass

from pydantic import ValidationError

from odoo_tenancy.api.errors import Refused
from odoo_tenancy.api.manifest import BackupManifest
from odoo_tenancy.services.object_store.bucket import Bucket
from odoo_tenancy.services.object_store.errors import DocumentUnusable
from odoo_tenancy.services.object_store.stored import StoredObject

_CLAIM = re.compile(r"[0-9a-f]{32}")
_SUFFIX = ".json"


@dataclass(frozen=True, slots=True)
class StoredManifest:
    """One backup's, as it was read."""

    key: str
    sha256: str
    """Whoever reads it again by this reads the same."""
    manifest: BackupManifest


async def claims(bucket: Bucket, prefix: str) -> tuple[str, ...]:
    """Of all tenants that ever were below a policy's prefix: one request for a thousand."""
    found = await bucket.folders(f"{prefix}/" if prefix else "")
    return tuple(name for name in found if _CLAIM.fullmatch(name))


async def manifests(bucket: Bucket, tenant_prefix: str) -> AsyncIterator[StoredObject]:
    """A tenant's, as the bucket lists them: one request for a thousand, none for each."""
    folder = f"{tenant_prefix}/manifests/"
    async for stored in bucket.objects(folder):
        name = stored.key[len(folder) :].removesuffix(_SUFFIX)
        if stored.key.endswith(_SUFFIX) and name and "/" not in name:
            yield stored


async def manifest_keys(bucket: Bucket, tenant_prefix: str) -> dict[str, str]:
    """Names of a tenant's backups, with their manifests' keys."""
    keys = [stored.key async for stored in manifests(bucket, tenant_prefix)]
    return {key.rpartition("/")[2].removesuffix(_SUFFIX): key for key in keys}


async def read_manifest(bucket: Bucket, key: str, sha256: str = "") -> StoredManifest | None:
    """One of them; ``None`` where it isn't there.

    Raises:
        Refused: ``ManifestUnreadable``; it is not what its key says, or not what it was.
    """
    try:
        document = await bucket.get_document(key, sha256=sha256)
    except DocumentUnusable as error:
        raise Refused("ManifestUnreadable", error.message) from error
    if document is None:
        return None
    try:
        manifest = BackupManifest.model_validate_json(document.content)
    except ValidationError as error:
        raise Refused(
            "ManifestUnreadable",
            f"{key} in bucket {bucket.name} is no manifest that this version can read ({error.error_count()} faults): see "
            "who wrote it. In a bucket with versions the former one is still there.",
        ) from error
    if not key.endswith(f"{manifest.claim}/manifests/{manifest.backup}{_SUFFIX}"):
        raise Refused(
            "ManifestUnreadable",
            f"{key} in bucket {bucket.name} is of backup {manifest.backup} of claim {manifest.claim}: somebody moved it.",
        )
    return StoredManifest(key, document.sha256, manifest)

"""The manifest of a backup: what is in it, written down beside it when it is made, and compared when it is read.

It lies in the store as JSON; its SHA-256 is in the TenantBackup's status. Whoever has git, the store and a recovery key
can make the tenant again from it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from odoo_tenancy.api.meta import ApiModel


class Attachments(ApiModel):
    """The files that the database names, by ``ir_attachment.store_fname``."""

    files: int
    """Different names."""
    digest: str
    """SHA-256, in hexadecimal digits, over these names sorted, each followed by a newline. A name is the SHA-1 of the
    file's content (odoo/addons/base/models/ir_attachment.py)."""


class DatabaseContents(ApiModel):
    """What was seen in the very snapshot of the database that was dumped."""

    server_version: str
    """``server_version`` of PostgreSQL, such as 17.6."""
    modules: dict[str, str]
    """Installed modules, and the versions of their data."""
    row_counts: dict[str, int]
    """Rows of each table, by its name as ``schema.table``."""
    newest_record: datetime | None = None
    """The newest ``write_date`` of all tables that have one."""
    attachments: Attachments
    dump_bytes: int
    """Bytes of the dump, in PostgreSQL's custom format, uncompressed."""


class FilestoreContents(ApiModel):
    """Of the newest of the filestore's snapshots."""

    files: int
    bytes: int


class StoredSnapshots(ApiModel):
    """Ids in the restic repository."""

    database: str
    """Holds one file, ``/database.dump``."""
    filestore: tuple[str, ...]
    """Oldest first. What the database names is in at least one of them; all files of the newest and what it lacks of
    the older. None where there is no file yet."""


class BackupManifest(ApiModel):
    """One consistent set: database, files, and what is needed to make the tenant again."""

    schema_version: Literal["1"] = "1"
    backup: str
    """Name of the TenantBackup."""
    namespace: str
    tenant: str
    """Name of the OdooTenant, and the namespace of both."""
    claim: str
    reason: str
    """As in the TenantBackup's spec."""
    repository: str
    """Its path below the bucket, of which its passwords are derived."""
    policy: str
    """Name of the BackupPolicy."""
    recovery_keys: tuple[str, ...]
    """Ids of the recovery keys that open the repository."""
    recovery_point: datetime
    """The moment of the database's snapshot, by PostgreSQL's clock."""
    started_at: datetime
    completed_at: datetime
    """By the Job's clock."""
    store_clock: datetime
    """The store's, at ``completed_at``: the ``Date`` of an answer."""
    image: str
    """Of Odoo, with its digest."""
    odoo_series: str = ""
    """Such as 19.0."""
    database: DatabaseContents
    filestore: FilestoreContents
    snapshots: StoredSnapshots
    uploaded_bytes: int
    custom_resources: tuple[dict[str, Any], ...] = ()
    """OdooTenant, BackupPolicy and HostingPool as they were: metadata's name, namespace, labels and annotations, and the
    spec."""
    odoo_conf: str = ""
    """As rendered, without values that are secret."""
    secrets: tuple[str, ...] = ()
    """Names, never values, of the Secrets that the custom resources refer to."""

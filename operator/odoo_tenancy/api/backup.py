"""``TenantBackup``: one backup, an immutable record."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, ClassVar, Literal

from odoo_tenancy.api.meta import ApiModel, ApiObject, Column, Definition, Status
from odoo_tenancy.api.rules import Rule, Schema
from odoo_tenancy.api.shared import LocalRef
from odoo_tenancy.api.types import Amount, Line, Message

CLOCKS_DIFFER = timedelta(minutes=5)
"""By which PostgreSQL's clock, of which a recovery point is, may be ahead of ours. What is further ahead counts nowhere, as
it would be the newest until then."""


class TenantBackupSpec(ApiModel):
    """Which backup is wanted; it never changes after creation, ``hold`` aside."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.tenantRef == oldSelf.tenantRef && self.reason == oldSelf.reason && "
            "has(self.policyRef) == has(oldSelf.policyRef) && "
            "(!has(self.policyRef) || self.policyRef == oldSelf.policyRef)",
            "a backup is a record: nothing but hold can change; make a new TenantBackup",
        ),
    )

    tenant_ref: LocalRef
    """An OdooTenant beside this object."""
    policy_ref: LocalRef | None = None
    """A BackupPolicy beside this object; default: the tenant's."""
    reason: Literal["Scheduled", "OnDemand", "PreRestore", "PreUpgrade", "Final"] = "OnDemand"
    """Why it is made."""
    hold: bool = False
    """Whether retention passes it by. May change. The store knows of it too, so that it outlasts the cluster: see the
    condition ``Held``."""


class Snapshots(ApiModel):
    """What the repository has."""

    database: Line = ""
    """Id of the snapshot with the dump."""
    filestore: Annotated[tuple[Line, ...], Schema(maxItems=8, **{"x-kubernetes-list-type": "atomic"})] = ()
    """Ids of the snapshots with the files."""


class Verification(ApiModel):
    """The last check of this backup."""

    level: Literal["Integrity", "Consistency", "Restore"] | None = None
    """What was checked."""
    result: Literal["Passed", "Failed"] | None = None
    """What came out."""
    checked_at: datetime | None = None
    """When."""
    message: Message = ""
    """What is wrong, and what to do."""


class StoredDocument(ApiModel):
    """A document in the store."""

    key: Annotated[str, Schema(maxLength=1024)] = ""
    """Its key in the bucket."""
    sha256: Annotated[str, Schema(maxLength=64)] = ""
    """SHA-256 of its bytes, in hexadecimal digits."""
    bucket: Annotated[str, Schema(maxLength=63)] = ""
    """In which bucket it was written; empty where an earlier version wrote it."""


class BackupProgress(ApiModel):
    """How far a backup is that runs; written a few times a minute at most, and ever more rarely."""

    step: Line = ""
    """What it does: ``database``, ``filestore``, ``check``, …"""
    done_bytes: Amount | None = None
    """Bytes of this step that are done."""
    total_bytes: Amount | None = None
    """Bytes that it has in all, where that is known."""
    percent: Annotated[int, Schema(minimum=0, maximum=100, format="int32")] | None = None
    """The same as percent."""


class TenantBackupStatus(Status):
    """What became of the backup."""

    phase: Literal["Pending", "Running", "Verifying", "Completed", "Failed"] | None = None
    """One word for people; machines read conditions."""
    start_time: datetime | None = None
    """When it was started."""
    completion_time: datetime | None = None
    """When it was done, or failed."""
    recovery_point: datetime | None = None
    """The moment of the database snapshot that was dumped."""
    snapshots: Snapshots = Snapshots()
    """What the repository has."""
    database_bytes: Amount | None = None
    """Bytes of the dump."""
    filestore_bytes: Amount | None = None
    """Bytes of the files."""
    uploaded_bytes: Amount | None = None
    """Bytes that were sent to the store."""
    duration_seconds: Amount | None = None
    """How long it took to store it, without waiting and verification, in seconds."""
    upload_bytes_per_second: Amount | None = None
    """``uploadedBytes`` over that time."""
    progress: BackupProgress = BackupProgress()
    """How far it is; empty once it is stored."""
    verification: Verification = Verification()
    """The last check."""
    manifest: StoredDocument = StoredDocument()
    """The list of everything in the backup, with checksums."""


class TenantBackup(ApiObject):
    """One backup of one tenant: an immutable record."""

    definition: ClassVar[Definition] = Definition(
        plural="tenantbackups",
        short_name="otb",
        scope="Namespaced",
        selectable=(".spec.tenantRef.name", ".status.phase"),
        columns=(
            Column("Tenant", ".spec.tenantRef.name"),
            Column("Phase", ".status.phase"),
            Column("Recovery-Point", ".status.recoveryPoint", "date"),
            Column("Verified", ".status.verification.result"),
            Column("Reason", ".spec.reason"),
            Column("Hold", ".spec.hold", "boolean"),
            Column("Age", ".metadata.creationTimestamp", "date"),
            Column("Uploaded", ".status.uploadedBytes", "integer", wide=True),
            Column("Message", '.status.conditions[?(@.type=="Ready")].message', wide=True),
        ),
    )

    kind: Literal["TenantBackup"] = "TenantBackup"
    spec: TenantBackupSpec
    """Which backup is wanted."""
    status: TenantBackupStatus = TenantBackupStatus()
    """What became of it."""

"""``TenantRestore``: one restore into a tenant."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar, Literal

from odoo_tenancy.api.backup import BackupProgress
from odoo_tenancy.api.meta import ApiModel, ApiObject, Column, Definition, Status
from odoo_tenancy.api.rules import Rule
from odoo_tenancy.api.shared import LocalRef
from odoo_tenancy.api.types import Line, Message, ObjectName


class BackupSource(ApiModel):
    """Which backup."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.latest != has(self.backupRef)",
            "name one backup: set either latest: true or backupRef, not both",
        ),
    )

    latest: bool = False
    """The tenant's newest backup that completed, looked up when the run starts."""
    backup_ref: LocalRef | None = None
    """A TenantBackup beside this object."""


class TenantRestoreSpec(ApiModel):
    """What is overwritten with what; it never changes after creation."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self == oldSelf", "a restore can't change after creation: delete it and make a new TenantRestore"
        ),
        Rule(
            "self.confirm == self.tenantRef.name",
            "must equal tenantRef.name: write the name of the tenant that is to be overwritten",
            field=".confirm",
        ),
    )

    tenant_ref: LocalRef
    """The OdooTenant beside this object that is overwritten."""
    source: BackupSource
    """With what."""
    neutralize: bool = False
    """Whether mail servers, scheduled actions and payment providers are switched off afterwards."""
    confirm: ObjectName
    """The tenant's name once more."""
    not_after: datetime
    """Later than this it expires instead of running: a manifest that comes back from git must not overwrite a
    customer."""


RestoreStep = Literal[
    "SafetyBackup",
    "Restoring",
    "Neutralizing",
    "Stopping",
    "Swapping",
    "Starting",
    "ClearingAway",
    "GoingBack",
    "GivingUp",
]
"""Where a restore is that runs; each is written down before it begins, and a new operator goes on from it."""


class TenantRestoreStatus(Status):
    """What became of the restore."""

    phase: Literal["Pending", "Running", "Completed", "Failed", "Expired"] | None = None
    """One word for people; machines read conditions."""
    start_time: datetime | None = None
    """When it was started."""
    completion_time: datetime | None = None
    """When it was done, or failed, or expired."""
    step: RestoreStep | None = None
    """Where it is: until ``Stopping`` Odoo runs, and serves what lived before until ``Starting``. ``GoingBack`` and
    ``GivingUp``: it failed, and what lived before is brought back, and what was restored removed."""
    step_time: datetime | None = None
    """Since when."""
    backup: Line = ""
    """The TenantBackup that is restored, as it was looked up when the run began."""
    recovery_point: datetime | None = None
    """Of that backup: as of when the data is."""
    progress: BackupProgress = BackupProgress()
    """How far the present step is."""
    safety_backup: Line = ""
    """The TenantBackup that was made before anything was overwritten."""
    reason: Line = ""
    """Why it failed: CamelCase, the same as Ready's when it is over."""
    message: Message = ""
    """What is wrong, and what to do."""


class TenantRestore(ApiObject):
    """One restore of a backup into a tenant, which is overwritten."""

    definition: ClassVar[Definition] = Definition(
        plural="tenantrestores",
        short_name="otr",
        scope="Namespaced",
        columns=(
            Column("Tenant", ".spec.tenantRef.name"),
            Column("Phase", ".status.phase"),
            Column("Step", ".status.step"),
            Column("Backup", ".status.backup"),
            Column("Safety-Backup", ".status.safetyBackup"),
            Column("Age", ".metadata.creationTimestamp", "date"),
            Column("Not-After", ".spec.notAfter", wide=True),
            Column("Message", ".status.message", wide=True),
        ),
    )

    kind: Literal["TenantRestore"] = "TenantRestore"
    spec: TenantRestoreSpec
    """What is overwritten with what."""
    status: TenantRestoreStatus = TenantRestoreStatus()
    """What became of it."""

"""A backup that is not finished, as it was last read or written."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from odoo_tenancy.api.backup import TenantBackup
from odoo_tenancy.api.meta import API_VERSION, Manifest
from odoo_tenancy.cluster.objects import ObjectRef, Owner
from odoo_tenancy.reconcile.backup_work import BackupPlan


@dataclass
class ActiveBackup:
    """Grows from look to look; gone when the backup is finished."""

    manifest: Manifest
    """As the API server last returned it."""
    backup: TenantBackup
    plan: BackupPlan | None = None
    """Made once: what runs is not changed by a spec that changes meanwhile."""
    pod: str = ""
    """Whose log says how far it is."""
    progress_at: float = 0.0
    """Seconds of a clock that never goes back: no sooner than then is the log read again."""

    stuck: float | None = None
    """Since when what it was begun with can't be found any more, in seconds of a clock that never goes back."""
    prepares: bool | None = None
    """Whether a lock stood in its repository when it began, so that it is made ready first; ``None``: not looked yet."""

    keep: Callable[[Manifest], Awaitable[None]] | None = None
    """Of a tenant's last backup, of which there is no object: writes it down where the operator finds it again."""
    unsaid: Manifest = field(default_factory=dict)
    """Of its status, what is written with the next word on it."""

    @classmethod
    def of(cls, manifest: Manifest) -> ActiveBackup:
        """Of one that was just read."""
        return cls(manifest, TenantBackup.parse(manifest))

    def became(self, manifest: Manifest) -> None:
        """It was written."""
        self.manifest, self.backup = manifest, TenantBackup.parse(manifest)

    @property
    def ref(self) -> ObjectRef:
        """Of the TenantBackup."""
        metadata = self.backup.metadata
        return ObjectRef(API_VERSION, "TenantBackup", metadata.namespace, metadata.name)

    @property
    def owner(self) -> Owner:
        """It as the owner of its children."""
        metadata = self.backup.metadata
        if self.keep is not None:
            return Owner("OdooTenant", metadata.namespace, self.backup.spec.tenant_ref.name, metadata.uid)
        return Owner("TenantBackup", metadata.namespace, metadata.name, metadata.uid)

"""A restore that is not finished, as it was last read or written."""

from __future__ import annotations

from dataclasses import dataclass

from odoo_tenancy.api.meta import API_VERSION, Key, Manifest
from odoo_tenancy.api.restore import TenantRestore
from odoo_tenancy.cluster.objects import ObjectRef, Owner
from odoo_tenancy.desired import names
from odoo_tenancy.desired.context import TenantContext
from odoo_tenancy.desired.restore_jobs import MadeFor
from odoo_tenancy.reconcile.server_state import ServerState
from odoo_tenancy.services.postgres import PostgresServer, TenantDatabase


class RestoreEnded(Exception):
    """It failed for good: what was begun is undone, and a person makes a new one."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message


@dataclass(frozen=True)
class RestorePlace:
    """Where a restore works: the tenant, its server, and the names of what lies beside what lives."""

    context: TenantContext
    postgres: ServerState
    server: PostgresServer
    wanted: TenantDatabase
    """What lives."""
    new: str
    """Of a database, and of a folder of files."""
    former: str
    """The same."""

    @property
    def names(self) -> tuple[str, ...]:
        """All on the server."""
        return (*self.wanted.names, self.new, self.former)


@dataclass
class ActiveRestore:
    """Grows from look to look; gone when the restore is finished."""

    manifest: Manifest
    """As the API server last returned it."""
    restore: TenantRestore
    pod: str = ""
    """Whose log says how far it is."""
    progress_at: float = 0.0
    """Seconds of a clock that never goes back: no sooner than then is the log read again."""

    @classmethod
    def of(cls, manifest: Manifest) -> ActiveRestore:
        """Of one that was just read."""
        return cls(manifest, TenantRestore.parse(manifest))

    def became(self, manifest: Manifest) -> None:
        """It was written."""
        self.manifest, self.restore = manifest, TenantRestore.parse(manifest)

    @property
    def uid(self) -> str:
        """Of the TenantRestore: everything that is made for it has its name from this."""
        return self.restore.metadata.uid

    @property
    def tenant(self) -> Key:
        """Into which it restores."""
        return Key("OdooTenant", self.restore.metadata.namespace, self.restore.spec.tenant_ref.name)

    @property
    def going(self) -> bool:
        """Somebody deleted it."""
        return self.restore.metadata.deletion_timestamp is not None

    @property
    def ref(self) -> ObjectRef:
        """Of the TenantRestore."""
        metadata = self.restore.metadata
        return ObjectRef(API_VERSION, "TenantRestore", metadata.namespace, metadata.name)

    @property
    def owner(self) -> Owner:
        """It as the owner of its children."""
        metadata = self.restore.metadata
        return Owner("TenantRestore", metadata.namespace, metadata.name, metadata.uid)

    @property
    def made_for(self) -> MadeFor:
        """The same, for the builders of its Jobs."""
        return MadeFor("TenantRestore", self.restore.metadata.name, self.uid)

    @property
    def safety_backup(self) -> str:
        """Name of the TenantBackup that is made before anything else."""
        return names.safety_backup(self.tenant.name, self.uid)

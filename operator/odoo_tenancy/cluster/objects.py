"""Names for things: an object, and the tenant or pool that it was made for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from sys import intern

from odoo_tenancy.api.meta import GROUP, Key, Manifest

TENANT = intern(f"{GROUP}/tenant")
TENANT_NAMESPACE = intern(f"{GROUP}/tenant-namespace")
TENANT_UID = intern(f"{GROUP}/tenant-uid")
BACKUP = intern(f"{GROUP}/backup")
BACKUP_UID = intern(f"{GROUP}/backup-uid")
RESTORE = intern(f"{GROUP}/restore")
RESTORE_UID = intern(f"{GROUP}/restore-uid")
UPKEEP = intern(f"{GROUP}/upkeep")
UPKEEP_UID = intern(f"{GROUP}/upkeep-uid")
LAST_BACKUP = intern(f"{GROUP}/last-backup")
POOL = intern(f"{GROUP}/pool")
POOL_UID = intern(f"{GROUP}/pool-uid")
_BESIDE_A_TENANT = (
    ("TenantBackup", BACKUP, BACKUP_UID),
    ("TenantRestore", RESTORE, RESTORE_UID),
    ("RepositoryUpkeep", UPKEEP, UPKEEP_UID),
)
"""What has children of its own beside a tenant's, with the labels that name it. The last is no kind of the API: it is
the care for the tenant's repository, by the tenant's name and its claim."""


@dataclass(frozen=True, slots=True)
class ObjectRef:
    """One object; ``namespace`` is empty where its kind has none."""

    api_version: str
    kind: str
    namespace: str
    name: str

    @classmethod
    def of(cls, manifest: Manifest) -> ObjectRef:
        """The reference to a manifest, or to a live object."""
        metadata = manifest["metadata"]
        return cls(
            intern(manifest["apiVersion"]),
            intern(manifest["kind"]),
            intern(metadata.get("namespace") or ""),
            intern(metadata["name"]),
        )

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True)
class Owner:
    """Whom a child was made for. Labels say it: owner references don't cross namespaces."""

    kind: str
    namespace: str
    name: str
    uid: str

    @property
    def key(self) -> Key:
        """The queue's word for it."""
        return Key(self.kind, self.namespace, self.name)

    @classmethod
    def of(cls, manifest: Manifest) -> Owner | None:
        """The owner that the labels of a child name; ``None`` where they name none, or not wholly."""
        return cls.from_labels(manifest["metadata"].get("labels") or {})

    @classmethod
    def from_labels(cls, labels: Mapping[str, str]) -> Owner | None:
        """A tenant's child carries the tenant's labels; a pool's own the pool's UID, and no tenant's; what was made for
        one of a tenant's backups or restores, which are beside it, that one's too. Of its last backup there is no object:
        the tenant is told, and the UID keeps it apart from the tenant's other children."""
        for kind, named, by_uid in _BESIDE_A_TENANT:
            if uid := labels.get(by_uid):
                last = LAST_BACKUP in labels
                name, namespace = labels.get(TENANT if last else named), labels.get(TENANT_NAMESPACE)
                if not name or not namespace:
                    return None
                return cls("OdooTenant" if last else kind, intern(namespace), intern(name), intern(uid))
        if uid := labels.get(TENANT_UID):
            name, namespace = labels.get(TENANT), labels.get(TENANT_NAMESPACE)
            if not name or not namespace:
                return None
            return cls("OdooTenant", intern(namespace), intern(name), intern(uid))
        if (uid := labels.get(POOL_UID)) and (name := labels.get(POOL)):
            return cls("HostingPool", "", intern(name), intern(uid))
        return None

    def owns(self, manifest: Manifest) -> bool:
        """Whether the labels of a live object name this very owner, by UID."""
        other = Owner.of(manifest)
        return other is not None and other.uid == self.uid and other.kind == self.kind

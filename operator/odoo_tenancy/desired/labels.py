"""Labels of everything made: what watches, prunes and NetworkPolicies select by. Never taken from a CR's
metadata."""

from __future__ import annotations

from typing import Literal

from odoo_tenancy.api.meta import GROUP, Manifest
from odoo_tenancy.api.tenant import OdooTenant

TENANT = f"{GROUP}/tenant"
TENANT_NAMESPACE = f"{GROUP}/tenant-namespace"
TENANT_UID = f"{GROUP}/tenant-uid"
POOL = f"{GROUP}/pool"
POOL_UID = f"{GROUP}/pool-uid"
BACKUP = f"{GROUP}/backup"
BACKUP_UID = f"{GROUP}/backup-uid"
"""On what is made for one TenantBackup: it is that one's child, and not the tenant's."""
RESTORE = f"{GROUP}/restore"
RESTORE_UID = f"{GROUP}/restore-uid"
"""The same of one TenantRestore."""
UPKEEP = f"{GROUP}/upkeep"
UPKEEP_UID = f"{GROUP}/upkeep-uid"
"""On the Jobs that maintain a tenant's repository, or verify again what is in it: the tenant's name, and its claim."""
REPOSITORY = f"{GROUP}/repository"
"""On each Job and pod that is at work in a repository: the claim that the repository is of."""
LAST_BACKUP = f"{GROUP}/last-backup"
"""On what is made for the backup that a tenant ends with: of that one there is no TenantBackup."""
CLAIM = f"{GROUP}/claim"
"""On a namespace and on a volume: what outlives the CR says whose it was."""
MOUNTS_FILESTORE = f"{GROUP}/mounts-filestore"
"""On pods that mount the filestore, so that a volume of one node brings them onto that node."""

BACKUP_COMPONENTS = ("backup", "restore", "swap", "verify")
"""Of the Jobs that have policies of their own: what Odoo may reach, they may not."""

OwnerKind = Literal["TenantBackup", "TenantRestore", "RepositoryUpkeep", "OdooTenant"]
"""What such a Job is made for."""
UID_OF: dict[OwnerKind, str] = {
    "TenantBackup": BACKUP_UID,
    "TenantRestore": RESTORE_UID,
    "RepositoryUpkeep": UPKEEP_UID,
    "OdooTenant": TENANT_UID,
}
"""The label that says it."""

NAME = "app.kubernetes.io/name"
INSTANCE = "app.kubernetes.io/instance"
COMPONENT = "app.kubernetes.io/component"
PART_OF = "app.kubernetes.io/part-of"
MANAGED_BY = "app.kubernetes.io/managed-by"

OPERATOR = "odoo-tenancy"


def for_tenant(tenant: OdooTenant, component: str) -> dict[str, str]:
    """All labels of a tenant's child."""
    return {
        NAME: "odoo",
        INSTANCE: tenant.metadata.name,
        COMPONENT: component,
        PART_OF: OPERATOR,
        MANAGED_BY: OPERATOR,
        TENANT: tenant.metadata.name,
        TENANT_NAMESPACE: tenant.metadata.namespace,
        TENANT_UID: tenant.metadata.uid,
        POOL: tenant.spec.pool_ref.name,
    }


def for_backup(
    tenant: OdooTenant, backup: str, uid: str, component: str, *, last: bool = False
) -> dict[str, str]:
    """All labels of what is made for one backup: the tenant's, and whose it is."""
    marks = {**for_tenant(tenant, component), BACKUP: backup, BACKUP_UID: uid}
    return {**marks, LAST_BACKUP: "true"} if last else marks


def for_restore(tenant: OdooTenant, restore: str, uid: str, component: str) -> dict[str, str]:
    """The same for one TenantRestore."""
    return {**for_tenant(tenant, component), RESTORE: restore, RESTORE_UID: uid}


def for_run(
    tenant: OdooTenant, kind: OwnerKind, name: str, uid: str, component: str, *, last: bool = False
) -> dict[str, str]:
    """All labels of a Job that is made for an object of this kind; of the tenant itself they are its own."""
    if kind == "TenantBackup":
        return for_backup(tenant, name, uid, component, last=last)
    if kind == "TenantRestore":
        return for_restore(tenant, name, uid, component)
    if kind == "RepositoryUpkeep":
        about = {BACKUP: name} if name else {}
        return {**for_tenant(tenant, component), UPKEEP: tenant.metadata.name, UPKEEP_UID: uid, **about}
    return for_tenant(tenant, component)


def for_pool(pool_name: str, pool_uid: str, component: str) -> dict[str, str]:
    """All labels of a pool's own child: no tenant's."""
    return {
        NAME: "odoo",
        COMPONENT: component,
        PART_OF: OPERATOR,
        MANAGED_BY: OPERATOR,
        POOL: pool_name,
        POOL_UID: pool_uid,
    }


def of_tenant(uid: str) -> dict[str, str]:
    """Selects all pods of one tenant, wherever they run."""
    return {TENANT_UID: uid}


def of_component(uid: str, component: str) -> dict[str, str]:
    """Selects the pods of one part of a tenant."""
    return {COMPONENT: component, TENANT_UID: uid}


def of_operator() -> dict[str, str]:
    """Selects the operator's own pods, in its namespace: as ``manifests/base/deployment.yaml`` labels them."""
    return {NAME: "odoo-tenancy-operator"}


def manifest(
    api_version: str, kind: str, name: str, namespace: str | None, labels: dict[str, str], **body: object
) -> Manifest:
    """A manifest with its metadata; ``body`` are the other top-level fields (``spec``, ``data``, …)."""
    metadata: Manifest = {"name": name, "labels": labels}
    if namespace is not None:
        metadata["namespace"] = namespace
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **body}

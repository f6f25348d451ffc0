"""Labels of everything made: what watches, prunes and NetworkPolicies select by. Never taken from a CR's
metadata."""

from __future__ import annotations

from odoo_tenancy.api.meta import GROUP, Manifest
from odoo_tenancy.api.tenant import OdooTenant

TENANT = f"{GROUP}/tenant"
TENANT_NAMESPACE = f"{GROUP}/tenant-namespace"
TENANT_UID = f"{GROUP}/tenant-uid"
POOL = f"{GROUP}/pool"
POOL_UID = f"{GROUP}/pool-uid"
CLAIM = f"{GROUP}/claim"
"""On a namespace and on a volume: what outlives the CR says whose it was."""
MOUNTS_FILESTORE = f"{GROUP}/mounts-filestore"
"""On pods that mount the filestore, so that a volume of one node brings them onto that node."""

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


def manifest(
    api_version: str, kind: str, name: str, namespace: str | None, labels: dict[str, str], **body: object
) -> Manifest:
    """A manifest with its metadata; ``body`` are the other top-level fields (``spec``, ``data``, …)."""
    metadata: Manifest = {"name": name, "labels": labels}
    if namespace is not None:
        metadata["namespace"] = namespace
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **body}

"""A tenant's own namespace, with what fences it in: Pod Security, quotas, limits, and a ServiceAccount
without a token."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal

from odoo_tenancy.api.meta import Manifest
from odoo_tenancy.api.shared import QuotaSpec
from odoo_tenancy.api.types import parse_quantity
from odoo_tenancy.desired import labels, names
from odoo_tenancy.desired.context import TenantContext
from odoo_tenancy.desired.effective import BACKUP_RESOURCES, Resources

SERVICE_ACCOUNT = "odoo"
POD_SECURITY = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "audit", "warn")}


def build(ctx: TenantContext) -> list[Manifest]:
    """The namespace of a Dedicated tenant and its fences."""
    namespace = of(ctx)
    quota = ctx.tenant.spec.quota
    marks = labels.for_tenant(ctx.tenant, "namespace")
    return [
        labels.manifest(
            "v1", "Namespace", namespace, None, {**marks, **POD_SECURITY, labels.CLAIM: ctx.claim}
        ),
        limit_range(namespace, marks),
        service_account(namespace, labels.for_tenant(ctx.tenant, "identity")),
        running_quota(namespace, marks, quota),
        jobs_quota(namespace, marks, {ctx.effective.job: 1, BACKUP_RESOURCES: 1}),
        objects_quota(namespace, marks, quota),
    ]


def of(ctx: TenantContext) -> str:
    """Where this tenant runs."""
    return names.namespace(ctx.tenant, ctx.pool.pool.spec.namespace)


def running_quota(namespace: str, marks: dict[str, str], quota: QuotaSpec) -> Manifest:
    """Limits of what runs for good: pods without an activeDeadlineSeconds. What the spec leaves open is not
    limited."""
    asked = {
        "limits.cpu": quota.cpu,
        "limits.memory": quota.memory,
        "pods": None if quota.pods is None else str(quota.pods),
    }
    hard = {resource: limit for resource, limit in asked.items() if limit is not None}
    return _quota(namespace, "odoo-running", marks, hard, ["NotTerminating"])


def jobs_quota(namespace: str, marks: dict[str, str], jobs: Mapping[Resources, int]) -> Manifest:
    """Limits of Jobs, which all have an activeDeadlineSeconds: apart, so that a full tenant can still be
    backed up.

    Args:
        jobs: how many of which size may run at once: say a backup, and the installation of a module.
    """
    cpu = sum((count * parse_quantity(job.cpu_limit) for job, count in jobs.items()), Decimal())
    memory = sum((count * parse_quantity(job.memory_limit) for job, count in jobs.items()), Decimal())
    hard = {
        "limits.cpu": f"{cpu.normalize():f}",
        "limits.memory": f"{math.ceil(memory / Decimal(1024) ** 2)}Mi",
        "pods": str(sum(jobs.values())),
    }
    return _quota(namespace, "odoo-jobs", marks, hard, ["Terminating"])


def objects_quota(namespace: str, marks: dict[str, str], quota: QuotaSpec) -> Manifest:
    """Storage, and no way around the router. Scopes are for pods only, hence a quota without one."""
    hard = {"services.loadbalancers": "0", "services.nodeports": "0"}
    if quota.storage is not None:
        hard["requests.storage"] = quota.storage
    return _quota(namespace, "odoo-objects", marks, hard, [])


def _quota(
    namespace: str, name: str, marks: dict[str, str], hard: dict[str, str], scopes: list[str]
) -> Manifest:
    spec: Manifest = {"hard": hard}
    if scopes:
        spec["scopes"] = scopes
    return labels.manifest("v1", "ResourceQuota", name, namespace, marks, spec=spec)


def limit_range(namespace: str, marks: dict[str, str]) -> Manifest:
    """Defaults for containers that name none: a quota refuses pods whose containers have no limits."""
    default = {
        "type": "Container",
        "default": {"cpu": "500m", "memory": "512Mi"},
        "defaultRequest": {"cpu": "50m", "memory": "128Mi"},
    }
    return labels.manifest("v1", "LimitRange", "odoo", namespace, marks, spec={"limits": [default]})


def service_account(namespace: str, marks: dict[str, str]) -> Manifest:
    """What the pods run as: nobody, to the API server."""
    return labels.manifest(
        "v1", "ServiceAccount", SERVICE_ACCOUNT, namespace, marks, automountServiceAccountToken=False
    )

"""Arithmetic before anything is made: does what a tenant may run fit into its quota, and its connections into
the pool's.

In a Shared namespace no ResourceQuota can tell tenants apart, so the tenant's own quota is held here; in a
Dedicated one the ResourceQuota would hold it, but only as pods that never appear. Both are told by a sentence
with the numbers instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal

from odoo_tenancy.api.errors import Refused, Waiting
from odoo_tenancy.api.pool import HostingPool
from odoo_tenancy.api.tenant import OdooTenant
from odoo_tenancy.api.types import parse_quantity
from odoo_tenancy.desired.effective import Effective, Resources

_GIBI = Decimal(1024) ** 3


@dataclass(frozen=True)
class Need:
    """What a tenant may use at most: cores, bytes, bytes, pods; and how that was reckoned, for people."""

    cpu: Decimal
    memory: Decimal
    storage: Decimal
    pods: int
    cpu_terms: str
    memory_terms: str
    pods_terms: str


def need(tenant: OdooTenant, effective: Effective) -> Need:
    """Replicas at their maximum and one more while a change rolls out, cron, and, where they share the quota,
    one Job.

    In a Dedicated namespace Jobs have a ResourceQuota of their own, so that a full tenant can still be backed
    up.
    """
    parts = [("web", effective.rolling_pods, effective.web), ("cron", 1, effective.cron)]
    if tenant.spec.tenancy == "Shared":
        parts.append(("Job", 1, effective.job))
    return Need(
        cpu=sum((count * parse_quantity(part.cpu_limit) for _, count, part in parts), Decimal(0)),
        memory=sum((count * parse_quantity(part.memory_limit) for _, count, part in parts), Decimal(0)),
        storage=parse_quantity(tenant.spec.filestore.size),
        pods=sum(count for _, count, _ in parts),
        cpu_terms=_terms(parts, "cpu_limit"),
        memory_terms=_terms(parts, "memory_limit"),
        pods_terms=" + ".join(f"{name} {count}" for name, count, _ in parts),
    )


def _terms(parts: list[tuple[str, int, Resources]], attribute: str) -> str:
    return " + ".join(
        f"{name} {count} × {value}" if count > 1 else f"{name} {value}"
        for name, count, part in parts
        for value in [getattr(part, attribute)]
    )


def check_quota(tenant: OdooTenant, effective: Effective) -> None:
    """Hold what the tenant may run against its quota.

    Raises:
        Refused: ``QuotaTooSmall``, with every resource that does not fit and its arithmetic.
    """
    quota, wants = tenant.spec.quota, need(tenant, effective)
    excess = []
    if quota.cpu is not None and wants.cpu > parse_quantity(quota.cpu):
        excess.append(f"cpu: {wants.cpu_terms} = {_cores(wants.cpu)} of {quota.cpu}")
    if quota.memory is not None and wants.memory > parse_quantity(quota.memory):
        excess.append(f"memory: {wants.memory_terms} = {_gibi(wants.memory)} of {quota.memory}")
    if quota.storage is not None and wants.storage > parse_quantity(quota.storage):
        excess.append(f"storage: filestore {tenant.spec.filestore.size} of {quota.storage}")
    if quota.pods is not None and wants.pods > quota.pods:
        excess.append(f"pods: {wants.pods_terms} = {wants.pods} of {quota.pods}")
    if excess:
        extra = (
            ""
            if effective.single_node
            else ", and one more web pod than the replicas while a change rolls out"
        )
        raise Refused(
            "QuotaTooSmall",
            f"spec.quota does not hold what may run at once ({'; '.join(excess)}). Counted are limits at the "
            f"most replicas{extra}. Raise spec.quota, or lower replicas, autoscaling.maxReplicas or "
            "resources.",
        )


def _cores(value: Decimal) -> str:
    return f"{value.normalize():f}"


def _gibi(value: Decimal) -> str:
    return f"{(value / _GIBI).quantize(Decimal('0.01')).normalize():f}Gi"


def reservation(tenant: OdooTenant, effective: Effective) -> int:
    """Connections of the pool's budget that a tenant takes; none where its database is elsewhere."""
    if effective.database_placement != "Pool":
        return 0
    read_only = tenant.spec.database.read_only_access
    return effective.connections.limit + (read_only.connection_limit if read_only.enabled else 0)


def check_connections(pool: HostingPool, *, wanted: int, reserved: int) -> None:
    """Hold a tenant's connections against what the pool has left.

    Args:
        wanted: connections of this tenant, from :func:`reservation`.
        reserved: the other tenants' together, without this one's.

    Raises:
        Waiting: ``ConnectionBudgetExceeded``, with the arithmetic: another tenant may leave or shrink.
    """
    postgres = pool.spec.postgres
    budget = int(
        (postgres.connection_budget * Decimal(str(postgres.overcommit))).to_integral_value(ROUND_FLOOR)
    )
    if reserved + wanted <= budget:
        return
    raise Waiting(
        "ConnectionBudgetExceeded",
        f"HostingPool {pool.metadata.name} has {budget} connections (connectionBudget "
        f"{postgres.connection_budget} × overcommit {postgres.overcommit}), other tenants reserve "
        f"{reserved}, this one needs {wanted}: {reserved + wanted - budget} too many. Lower "
        "spec.database.connectionLimit, raise the pool's connectionBudget as far as the server's "
        "max_connections allows, or choose another pool.",
        retry_after=60.0,
    )

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
from odoo_tenancy.desired.effective import BACKUP_RESOURCES, Effective, Resources

_GIBI = Decimal(1024) ** 3

CONNECTIONS_OF_A_BACKUP = 5
"""CONNECTION LIMIT of each tenant's backup role (``services.postgres``, where a test compares them), and of the login that
fills a scratch database: both never run at once."""


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
    the Jobs that may run beside them: one of Odoo's (modules, a look at an image), and one that backs up, verifies
    or restores. There are never two of either: ``reconcile.jobs`` and ``reconcile.backup_begin`` see to it.

    In a Dedicated namespace Jobs have a ResourceQuota of their own (the same two), so that a full tenant can still
    be backed up.
    """
    parts = [("web", effective.rolling_pods, effective.web), ("cron", 1, effective.cron)]
    if tenant.spec.tenancy == "Shared":
        parts += [("Job", 1, effective.job), ("backup", 1, BACKUP_RESOURCES)]
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


def check_redis_memory(pool: HostingPool, *, wanted: int, reserved: int) -> None:
    """Hold a tenant's ``redis.maxMemory`` against what the pool has left. All in bytes.

    Raises:
        Waiting: ``RedisBudgetExceeded``, with the arithmetic: another tenant may leave or shrink.
    """
    redis = pool.spec.redis
    budget = int(parse_quantity(redis.memory_budget)) if redis else 0
    if reserved + wanted <= budget:
        return
    raise Waiting(
        "RedisBudgetExceeded",
        f"HostingPool {pool.metadata.name} has {_mebi(budget)} of Redis memory (redis.memoryBudget), other tenants "
        f"reserve {_mebi(reserved)}, this one needs {_mebi(wanted)}: {_mebi(reserved + wanted - budget)} too many. "
        "Lower spec.redis.maxMemory, raise the pool's memoryBudget as far as the server's memory allows, or choose "
        "another pool.",
        retry_after=60.0,
    )


def _mebi(value: int) -> str:
    return f"{(Decimal(value) / 1024**2).quantize(Decimal('0.1')).normalize():f}Mi"


def reservation(effective: Effective) -> int:
    """Connections of the pool's budget that a tenant takes always; none where its database is elsewhere.

    What comes and goes is set aside once a pool: see :func:`connections_left`.
    """
    if effective.database_placement != "Pool":
        return 0
    return effective.connections.limit + effective.read_only_connections


OPERATOR_CONNECTIONS = 4
"""That the operator holds at most on one server."""


@dataclass(frozen=True)
class ServerNeed:
    """Connections that a tenant needs on a server of its own, and how that was reckoned."""

    total: int
    terms: str


def own_server_need(effective: Effective) -> ServerNeed:
    """All that may be open at once: both logins during a rotation, readers, a backup or the verification of one, and the
    operator."""
    limit, readers = effective.connections.limit, effective.read_only_connections
    total = 2 * limit + readers + CONNECTIONS_OF_A_BACKUP + OPERATOR_CONNECTIONS
    return ServerNeed(
        total,
        f"{limit} for Odoo, {limit} more while passwords rotate, {readers} for readers, "
        f"{CONNECTIONS_OF_A_BACKUP} for a backup or its verification",
    )


def connections_left(pool: HostingPool, reserved: int) -> int:
    """Of the budget, without what is reserved, and without what backups take: as many run at once as the pool lets."""
    return _connection_budget(pool) - _set_aside_for_backups(pool) - reserved


def _connection_budget(pool: HostingPool) -> int:
    postgres = pool.spec.postgres
    exact = postgres.connection_budget * Decimal(str(postgres.overcommit))
    return int(exact.to_integral_value(ROUND_FLOOR))


def _set_aside_for_backups(pool: HostingPool) -> int:
    return pool.spec.backups.max_concurrent * CONNECTIONS_OF_A_BACKUP


def check_connections(pool: HostingPool, *, wanted: int, reserved: int, overlap: int) -> None:
    """Hold a tenant's connections against what the pool has left.

    Args:
        wanted: connections of this tenant, from :func:`reservation`.
        reserved: the other tenants' together, without this one's.
        overlap: what rotations of passwords take while both logins of a tenant are open: set aside, so that a full
            pool can still rotate.

    Raises:
        Waiting: ``ConnectionBudgetExceeded``, with the arithmetic: another tenant may leave or shrink.
    """
    missing = wanted + overlap - connections_left(pool, reserved)
    if missing <= 0:
        return
    postgres, backups = pool.spec.postgres, pool.spec.backups.max_concurrent
    raise Waiting(
        "ConnectionBudgetExceeded",
        f"HostingPool {pool.metadata.name} has {_connection_budget(pool)} connections (connectionBudget "
        f"{postgres.connection_budget} × overcommit {postgres.overcommit}); set aside are "
        f"{_set_aside_for_backups(pool)} for backups ({backups} at once × {CONNECTIONS_OF_A_BACKUP}) and {overlap} "
        f"for the rotation of passwords (the largest tenant's connections once more); other tenants "
        f"reserve {reserved}, this one needs {wanted}: {missing} too many. Lower "
        "spec.database.connectionLimit, raise the pool's connectionBudget as far as the server's "
        "max_connections allows, or choose another pool.",
        retry_after=60.0,
    )

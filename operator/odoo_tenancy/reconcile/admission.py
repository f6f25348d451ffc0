"""Whether a pool takes a tenant: decided from memory in one go, so that two tenants never get the same place."""

from __future__ import annotations

from odoo_tenancy.api.errors import Refused, Waiting
from odoo_tenancy.api.tenant import OdooTenant
from odoo_tenancy.desired.budget import check_connections, check_quota, check_redis_memory, reservation
from odoo_tenancy.desired.effective import Effective
from odoo_tenancy.reconcile.memory import Pools, PoolState, Reservation, TenantRecord, Tenants

LOOK_AGAIN = 60.0
"""Seconds: a pool that changes wakes its tenants by itself; this is for what no watch tells."""


def find_pool(pools: Pools, tenant: OdooTenant) -> PoolState:
    """The tenant's pool.

    Raises:
        Refused: ``PoolNotFound``.
    """
    name = tenant.spec.pool_ref.name
    state = pools.get(name)
    if state is None:
        raise Refused(
            "PoolNotFound",
            f"HostingPool {name} (spec.poolRef) does not exist: create it, or name another.",
            LOOK_AGAIN,
        )
    return state


def admit(tenants: Tenants, pool: PoolState, tenant: OdooTenant, effective: Effective) -> None:
    """Give the tenant its place and reserve its share of the servers. No await between the check and the reservation.

    Raises:
        Refused: ``PoolDeleted``, ``PoolCordoned``, ``PoolFull``, ``QuotaTooSmall``.
        Waiting: ``ConnectionBudgetExceeded``, ``RedisBudgetExceeded``; who is in already is told only when it asks for
            more than it holds.
    """
    record = tenants.get(tenant.key)
    admitted = record is not None and record.admitted
    spec = pool.facts.pool.spec
    name = pool.facts.pool.metadata.name
    if not admitted:
        if pool.facts.pool.metadata.deletion_timestamp is not None:
            raise Refused(
                "PoolDeleted",
                f"HostingPool {name} was deleted and goes with its last tenant: choose another.",
                LOOK_AGAIN,
            )
        if spec.cordoned:
            raise Refused(
                "PoolCordoned",
                f"HostingPool {name} takes no new tenants (spec.cordoned): uncordon it, or choose another.",
                LOOK_AGAIN,
            )
        places = sum(1 for r in tenants.of_pool(name) if r.admitted)
        if places >= spec.max_tenants:
            raise Refused(
                "PoolFull",
                f"HostingPool {name} has {places} tenants of maxTenants {spec.max_tenants}: raise it, or choose another.",
                LOOK_AGAIN,
            )
    check_quota(tenant, effective)
    wanted = Reservation(reservation(effective), effective.redis_max_bytes)
    held, others = tenants.held(tenant.key), tenants.reserved(name, but=tenant.key)
    if wanted.connections > held.connections:
        overlap = max(
            wanted.connections, tenants.largest(name, but=tenant.key), sum(pool.postgres.rotating.values())
        )
        check_connections(
            pool.facts.pool, wanted=wanted.connections, reserved=others.connections, overlap=overlap
        )
    if wanted.redis_bytes > held.redis_bytes:
        check_redis_memory(pool.facts.pool, wanted=wanted.redis_bytes, reserved=others.redis_bytes)
    tenants.admit(tenant.key, wanted)


def grant_hosts(tenants: Tenants, tenant: OdooTenant) -> tuple[str, ...]:
    """The tenant's host names, where no other tenant has one of them.

    Whoever is routed already keeps a name; among those who wait for one the oldest gets it.

    Raises:
        Refused: ``HostTaken``.
    """
    record = tenants.get(tenant.key)
    if record is None:
        raise Waiting("NotKnownYet", f"OdooTenant {tenant.key} is not in the operator's memory yet.", 1.0)
    for host in record.hosts:
        for other in tenants.with_host(host):
            if other.key != record.key and _goes_first(other, record, host):
                raise Refused(
                    "HostTaken",
                    f"Host name {host} (spec.routing.hosts) belongs to OdooTenant {other.key.namespace}/{other.key.name}: "
                    "remove it here or there.",
                    LOOK_AGAIN,
                )
    return record.hosts


def _goes_first(other: TenantRecord, record: TenantRecord, host: str) -> bool:
    if host in other.granted:
        return True
    return host not in record.granted and other.seniority < record.seniority

"""RedisReady: the tenant's user on its pool's Redis, with its keys and channels and no others; or a Redis of its own
(``redis_own.py``)."""

from __future__ import annotations

from odoo_tenancy.api.errors import Refused, Waiting
from odoo_tenancy.api.tenant import OdooTenant
from odoo_tenancy.desired import names
from odoo_tenancy.desired.context import RedisAccess
from odoo_tenancy.reconcile import redis_own
from odoo_tenancy.reconcile.credentials import Vault
from odoo_tenancy.reconcile.look import Look
from odoo_tenancy.reconcile.memory import PoolRedis, PoolState
from odoo_tenancy.services.redis import (
    RedisServer,
    TenantUser,
    differences,
    hash_password,
    is_full,
)

LOOK_AGAIN = 60.0
"""Seconds until a full tenant is looked at again; a measurement that finds it smaller wakes it at once."""


async def stage(look: Look) -> None:
    """One look at the tenant's user.

    Raises:
        OperatorError: what stops it.
    """
    if look.context.effective.redis_placement == "Dedicated":
        await redis_own.stage(look)
        return
    if look.context.redis is None or look.pool.redis is None:
        _say_that_there_is_none(look)
        return
    _say_what_is_used(look, look.pool.redis, await ensure_user(look, look.pool.redis))


def can_be_told(look: Look) -> bool:
    """Whether the tenant's Redis, if it has one, is there to be told of another password, as this look found it."""
    if look.context.effective.redis_placement == "Dedicated":
        found = look.report.findings.get("RedisReady")
        return found is not None and found.status == "True"
    return look.context.redis is None or look.pool.redis is None or look.pool.redis.problem is None


async def let_in(look: Look) -> None:
    """Make the tenant's Redis, if it has one, take the passwords of the vault.

    Raises:
        OperatorError: what stops it.
    """
    if look.context.effective.redis_placement == "Dedicated":
        await redis_own.let_in(look)
    elif look.context.redis is not None and look.pool.redis is not None:
        await ensure_user(look, look.pool.redis)


async def ensure_user(look: Look, redis: PoolRedis) -> TenantUser:
    """Make the tenant's user, or repair it; two passwords let it in while they change.

    Raises:
        OperatorError: what stops it.
    """
    server = _server(redis, look.pool)
    claim, limit = look.context.claim, look.context.effective.redis_max_bytes
    hashes = tuple(map(hash_password, look.vault.redis_passwords))
    wanted = TenantUser(claim, hashes, _is_over_quota(redis, claim))
    as_before = redis.wanted.get(look.key) == wanted
    redis.wanted[look.key], redis.limits[look.key] = wanted, limit
    found = differences(redis.inventory, wanted) if redis.inventory else ()
    if found and await server.ensure_user(wanted):
        look.changes.append(f"applied redis user {wanted.name}")
        redis.inventory = await server.inventory()
        if as_before:
            await look.report_drift_of("Redis", found)
    return wanted


def _is_over_quota(redis: PoolRedis, claim: str) -> bool:
    """As measured; by an operator that has not measured yet, as it was left."""
    if claim in redis.quota.tenants or redis.inventory is None:
        return redis.quota.level(claim) == "Full"
    user = redis.inventory.users.get(names.redis_user(claim))
    return user is not None and is_full(user)


def _say_what_is_used(look: Look, redis: PoolRedis, user: TenantUser) -> None:
    """Raises ``RedisQuotaExceeded`` where the limit is reached."""
    known, limit = redis.quota.tenants.get(user.claim), redis.limits[look.key]
    used = known.usage.used_bytes if known is not None and known.usage is not None else None
    if used is not None:
        redis.told[look.key] = used
        look.redis_used = used
        look.world.redis_used(look.key, used)
    share = f"{_mebi(used or 0)} of spec.redis.maxMemory {look.tenant.spec.redis.max_memory}"
    if user.full:
        raise Refused(
            "RedisQuotaExceeded",
            f"{user.name} uses {share}: it reads, lets expire and deletes, but writes nothing until it is below 90 %. "
            "Nobody can log in meanwhile. Raise spec.redis.maxMemory, or delete what the tenant's addons keep there.",
            LOOK_AGAIN,
        )
    if redis.quota.level(user.claim) == "Warned":
        message = f"{user.name} uses {share}; at {_mebi(limit)} it can't write any more"
        look.report.good("RedisReady", "NearQuota", message)
    else:
        look.report.good("RedisReady", "Ready", f"User {user.name} is as it should be")


def _mebi(count: int) -> str:
    return f"{count / (1 << 20):.1f} MiB"


async def leave_behind(look: Look) -> None:
    """What the tenant had before ``redis.placement`` was changed goes, once its pods run without it.

    Raises:
        OperatorError: the pool's Redis doesn't answer.
    """
    placement, redis, claim = look.context.effective.redis_placement, look.pool.redis, look.context.claim
    if placement != "Dedicated":
        await redis_own.give_back(look)
    if placement == "None":
        look.world.redis_used(look.key, None)
    if placement == "Pool" or redis is None:
        return
    redis.forget(look.key)
    if redis.inventory is None or names.redis_user(claim) not in redis.inventory.users:
        return
    server = _server(redis, look.pool)
    if not await server.drop_user(claim, unused=True):
        look.changes.append(f"dropped redis user {names.redis_user(claim)}")
    redis.inventory = await server.inventory()


def access(tenant: OdooTenant, pool: PoolState, vault: Vault, placement: str) -> RedisAccess | None:
    """How the tenant's pods reach its Redis; ``None`` where they have none."""
    if placement == "Dedicated":
        return redis_own.access(tenant, pool, vault)
    spec, claim = pool.facts.pool.spec.redis, vault.claim
    if placement != "Pool" or spec is None:
        return None
    ca = pool.redis.ca if pool.redis is not None else None
    return RedisAccess(
        host=spec.host,
        port=spec.port,
        tls=spec.tls.mode,
        ca=ca,
        username=names.redis_user(claim),
        prefix=names.redis_prefix(claim),
        peers=pool.facts.redis_peers,
    )


def _say_that_there_is_none(look: Look) -> None:
    files = "sessions are files on the filestore's volume"
    if look.tenant.spec.redis.placement == "None":
        look.report.good("RedisReady", "NotUsed", f"spec.redis.placement is None: {files}")
    else:
        pool = look.pool.facts.pool.metadata.name
        look.report.found("RedisReady", "Unknown", "NotProvided", f"HostingPool {pool} has no Redis: {files}")


def _server(redis: PoolRedis, pool: PoolState) -> RedisServer:
    if redis.problem is not None:
        raise redis.problem
    if redis.server is None:
        raise Waiting(
            "PoolNotReady", f"HostingPool {pool.facts.pool.metadata.name} was not looked at yet.", 2.0
        )
    return redis.server

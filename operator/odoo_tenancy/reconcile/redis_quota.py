"""Holds tenants to their ``redis.maxMemory``, which Redis itself can't: beside the reconciles, as a pass over the keys
takes seconds."""

from __future__ import annotations

import asyncio

from odoo_tenancy.api.errors import OperatorError
from odoo_tenancy.api.meta import Key
from odoo_tenancy.reconcile.memory import PoolRedis
from odoo_tenancy.reconcile.world import World
from odoo_tenancy.services.redis import QuotaState, RedisServer, is_full, look_at_quotas
from odoo_tenancy.services.redis.quota import LOOK_EVERY

NEWS = 0.05
"""Of a tenant's limit: a smaller change of what it uses is written nowhere."""


def begin(world: World, redis: PoolRedis, pool: Key) -> None:
    """Start a look where it is time for one and none is going on.

    Raises:
        OperatorError: the last one failed.
    """
    if redis.measuring is not None and redis.measuring.done():
        task, redis.measuring = redis.measuring, None
        task.result()
    if redis.measuring is not None or redis.server is None or redis.inventory is None or not redis.wanted:
        return
    looked = redis.quota.looked_at
    if looked is not None and world.seconds() - looked < LOOK_EVERY:
        return
    redis.measuring = asyncio.create_task(_look(world, redis, redis.server, pool), name=f"quota {pool}")


async def end(redis: PoolRedis) -> None:
    """Stop what is going on; what was measured so far is forgotten."""
    if redis.measuring is not None:
        redis.measuring.cancel()
        await asyncio.gather(redis.measuring, return_exceptions=True)
        redis.measuring = None


async def _look(world: World, redis: PoolRedis, server: RedisServer, pool: Key) -> None:
    limits = {user.claim: redis.limits[key] for key, user in redis.wanted.items() if key in redis.limits}
    users = redis.inventory.users if redis.inventory else {}
    full = [u.claim for u in redis.wanted.values() if u.name in users and is_full(users[u.name])]
    try:
        redis.quota = await look_at_quotas(server, redis.quota, limits, world.seconds, full)
    except OperatorError:
        world.enqueue(pool)  # it says so
        raise
    for key, user in redis.wanted.items():
        if _is_news(redis, key, user.claim, redis.quota):
            world.enqueue(key)


def _is_news(redis: PoolRedis, key: Key, claim: str, quota: QuotaState) -> bool:
    known, told = quota.tenants.get(claim), redis.told.get(key)
    if known is None:
        return False
    if (known.level == "Full") != redis.wanted[key].full:
        return True
    used = known.usage.used_bytes if known.usage else 0
    return told is None or abs(used - told) >= NEWS * redis.limits[key]

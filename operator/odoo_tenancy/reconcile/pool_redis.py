"""A pool's Redis: where it is, whether it answers, and one look at it for all of the pool's tenants."""

from __future__ import annotations

from dataclasses import replace

from odoo_tenancy.api.errors import OperatorError
from odoo_tenancy.api.pool import HostingPool, PoolRedisSpec
from odoo_tenancy.reconcile import redis_quota
from odoo_tenancy.reconcile.memory import PoolRedis, PoolState
from odoo_tenancy.reconcile.references import peers_of, read_login
from odoo_tenancy.reconcile.report import Report
from odoo_tenancy.reconcile.world import World
from odoo_tenancy.services.redis import RedisAddress, check, differences


async def look_at(world: World, state: PoolState, pool: HostingPool, report: Report) -> None:
    """RedisReady of the pool; nothing is said where it has no Redis."""
    spec = pool.spec.redis
    if spec is None:
        await forget(state)
        state.facts = replace(state.facts, redis_peers=())
        return
    redis = state.redis = state.redis or PoolRedis()
    try:
        field = f"spec.redis of HostingPool {pool.metadata.name}"
        peers = await peers_of(world.cluster, spec.host, spec.port, spec.peers, field)
        address = await _address(world, pool, spec)
        state.facts, redis.ca = replace(state.facts, redis_peers=peers), address.ca_pem
        if redis.server is None or redis.server.address != address:
            if redis.server is not None:
                await redis_quota.end(redis)
                await redis.server.close()
            redis.server = world.connect_redis(address)
        redis.inventory = await redis.server.inventory()
        check(redis.inventory)
        redis_quota.begin(world, redis, pool.key)
    except OperatorError as error:
        redis.problem = error
        report.failed("RedisReady", error)
        return
    redis.problem = None
    report.good("RedisReady", "Answers", f"Redis at {address} answers, as {address.username}")


def wake_drifted(world: World, state: PoolState) -> None:
    """The tenants whose user is not as it should be: among them all, where the server forgot them at a restart."""
    if state.redis is None or state.redis.inventory is None or state.redis.problem is not None:
        return
    for key, wanted in state.redis.wanted.items():
        if differences(state.redis.inventory, wanted):
            world.enqueue(key)


async def forget(state: PoolState) -> None:
    """Close what is open to it."""
    redis, state.redis = state.redis, None
    if redis is None:
        return
    await redis_quota.end(redis)
    if redis.server is not None:
        await redis.server.close()


async def _address(world: World, pool: HostingPool, spec: PoolRedisSpec) -> RedisAddress:
    login = await read_login(
        world.cluster,
        f"HostingPool {pool.metadata.name}",
        "spec.redis",
        world.options.namespace,
        spec.admin_secret_ref,
        spec.tls,
    )
    return RedisAddress(
        host=spec.host,
        port=spec.port,
        username=login.username,
        password=login.password,
        tls=spec.tls.mode,
        ca_pem=login.ca,
    )

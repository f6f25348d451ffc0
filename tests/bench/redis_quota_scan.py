"""The quota of a shared Redis with a million keys of others beside: what the scans cost the server, and how long after
an overrun a tenant's writes stop.

The server, the users, the scans and the overrun are real. An hour of ordinary growth is a model, with the costs of
passes that were measured here: nobody would wait for it.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import threading
import time
from collections.abc import Mapping
from typing import Any

import redis
from tests.bench.figures import Figure
from tests.support.quota_world import LIMIT, MIB, World, grower, tenants
from tests.support.redis import ADMIN, RedisProcess, running_redis

from odoo_tenancy.services.redis import (
    LOOK_EVERY,
    QuotaState,
    RedisAddress,
    RedisServer,
    TenantUser,
    hash_password,
    key_prefix,
    look_at_quotas,
    user_name,
)

TENANTS, KEYS, VALUE_BYTES = 200, 5000, 600
OVERRUNS = 3
RUNAWAY_LIMIT = 24 * MIB
RUNAWAY_RATE = MIB
"""Bytes a second."""
PASSWORD = secrets.token_hex(16)
ORDINARY = 100 * MIB
"""Bytes by which all tenants together grow in an hour of the model."""


def run() -> list[Figure]:
    """About four minutes."""
    return asyncio.run(_run())


async def _run() -> list[Figure]:
    with running_redis("enable-debug-command yes") as process, process.client() as root:
        address = RedisAddress(
            process.host, process.port, ADMIN, process.admin_password, ca_pem=process.ca_pem
        )
        server = RedisServer(address, "bench")
        others = [secrets.token_hex(16) for _ in range(TENANTS)]
        for claim in others:
            root.execute_command("DEBUG", "POPULATE", KEYS, key_prefix(claim) + "session", VALUE_BYTES)
        try:
            whole = await _pass(server, root, [])
            single = await _pass(server, root, others[:1])
            reactions = [await _overrun(server, process, others, number) for number in range(OVERRUNS)]
        finally:
            await server.close()
    facts: dict[str, Any] = {"foreignKeys": TENANTS * KEYS, "bytesEach": VALUE_BYTES}
    return [
        Figure("redis-quota-scan/pass-over-all", whole["cpu"], "s of the server", None, {**facts, **whole}),
        Figure("redis-quota-scan/pass-over-one", single["cpu"], "s of the server", None, {**facts, **single}),
        Figure("redis-quota-scan/longest-page", whole["longest"] * 1000, "ms", None, facts),
        _hour(whole["cpu"], single["cpu"], facts),
        Figure("redis-quota-scan/reaction", max(reactions), "s", 60, {**facts, "overruns": reactions}),
    ]


async def _pass(server: RedisServer, root: redis.Redis, claims: list[str]) -> dict[str, float]:
    """By the server's own words: the script's microseconds, and all processor time (TLS included)."""
    root.config_resetstat()
    root.slowlog_reset()
    before, began = _cpu(root), time.perf_counter()
    measurement = await server.measure(claims)
    wall, cpu = time.perf_counter() - began, _cpu(root) - before
    stats: Mapping[str, Any] = root.info("commandstats")
    scripts = sum(each["usec"] for name, each in stats.items() if name in ("cmdstat_evalsha", "cmdstat_eval"))
    keys = sum(usage.keys for usage in measurement.usage.values())
    if keys != (KEYS * TENANTS if not claims else KEYS * len(claims)):
        raise RuntimeError(f"the pass saw {keys} keys")
    longest = max((entry["duration"] for entry in root.slowlog_get(128)), default=10_000)
    return {
        "cpu": cpu, "scripts": scripts / 1e6, "charged": measurement.busy_seconds, "wall": wall,
        "share": cpu / wall, "longest": longest / 1e6,
    }  # fmt: skip


def _cpu(root: redis.Redis) -> float:
    info = root.info("cpu")
    return float(info["used_cpu_user_main_thread"]) + float(info["used_cpu_sys_main_thread"])


async def _overrun(server: RedisServer, process: RedisProcess, others: list[str], number: int) -> float:
    """Seconds from the write that went over the limit to the first that was refused."""
    claim = secrets.token_hex(16)
    wanted = TenantUser(claim, (hash_password(PASSWORD),))
    await server.ensure_user(wanted)
    limits = {claim: RUNAWAY_LIMIT, **dict.fromkeys(others, LIMIT)}
    state, clock = QuotaState(), time.monotonic
    state = await look_at_quotas(server, state, limits, clock)  # the pass over all of a new operator
    writer = _Runaway(process, claim, delay=number * LOOK_EVERY / OVERRUNS)
    writer.start()
    while writer.is_alive():
        began = clock()
        state = await look_at_quotas(server, state, limits, clock)
        if state.level(claim) == "Full":
            await server.ensure_user(TenantUser(claim, wanted.password_hashes, full=True))
        await asyncio.sleep(max(0.0, LOOK_EVERY - (clock() - began)))
    await server.drop_user(claim)
    if not writer.over or not writer.refused:
        raise RuntimeError("the runaway was never stopped")
    return writer.refused - writer.over


class _Runaway(threading.Thread):
    """A tenant that writes until it may not."""

    def __init__(self, process: RedisProcess, claim: str, delay: float) -> None:
        super().__init__(daemon=True)
        self._client = process.client(user_name(claim), PASSWORD)
        self._prefix, self._delay = key_prefix(claim), delay
        with process.client() as root:
            root.set(f"{self._prefix}0000000", "x" * VALUE_BYTES)
            self._each = int(root.memory_usage(f"{self._prefix}0000000") or 0)
        self.over = self.refused = 0.0

    def run(self) -> None:
        began, number = time.monotonic() + self._delay, 0
        while time.monotonic() < began + 600:
            due = int((time.monotonic() - began) * RUNAWAY_RATE / self._each)
            if number >= due:
                time.sleep(0.02)  # it keeps its rate
                continue
            writes = self._client.pipeline(transaction=False)
            for each in range(number, min(due, number + 100)):
                writes.set(f"{self._prefix}{each:07d}", "x" * VALUE_BYTES)
            try:
                number += len(writes.execute())
            except redis.exceptions.NoPermissionError:
                self.refused = time.monotonic()
                return
            if not self.over and number * self._each > RUNAWAY_LIMIT:
                self.over = time.monotonic()


def _hour(cost_all: float, cost_some: float, facts: Mapping[str, Any]) -> Figure:
    """The model's hour: 200 tenants between 5 and 79 % of their limit, growing by 100 MiB together."""
    chance = random.Random(7)
    world = World({}, cost_all=cost_all, cost_some=cost_some)
    world.used = {c: int(chance.uniform(0.05, 0.79) * LIMIT) for c in tenants(TENANTS, 0)}
    grow = grower(world, dict.fromkeys(world.used, ORDINARY / TENANTS / 3600), chance)
    while world.now < 3600:
        world.step(grow)
    passes = {"overAll": world.passes.count(()), "overSome": len(world.passes) - world.passes.count(())}
    details = {**facts, "passes": passes, "model": "an hour of growth by 100 MiB; costs as measured here"}
    return Figure("redis-quota-scan/share-of-an-hour", 100 * world.busy / 3600, "%", 2, details)

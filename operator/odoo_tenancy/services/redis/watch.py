"""One look at a server's quotas: its memory, and a pass over the keys where that says so."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from odoo_tenancy.services.redis.quota import QuotaState, look, measured
from odoo_tenancy.services.redis.server import RedisServer


async def look_at_quotas(
    server: RedisServer,
    state: QuotaState,
    limits: Mapping[str, int],
    clock: Callable[[], float],
    found_full: Collection[str] = (),
) -> QuotaState:
    """To be called every :data:`odoo_tenancy.services.redis.quota.LOOK_EVERY` seconds, once for each server.

    Costs one command, or a pass of seconds. Whose level differs afterwards needs ``ensure_user``.

    Args:
        server: of the pool.
        state: of the last look; at first an empty one.
        limits: bytes by claim, of all tenants of the server.
        clock: seconds, never going back.
        found_full: as :func:`odoo_tenancy.services.redis.quota.look` wants it.

    Raises:
        OperatorError: what :class:`RedisServer` raises; ``state`` holds on.
    """
    state, due = look(state, limits, await server.data_memory(), clock(), found_full)
    if due is None:
        return state
    return measured(state, due, await server.measure(due.claims), limits, clock())

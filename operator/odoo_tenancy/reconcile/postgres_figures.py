"""Measures all databases of a server at once, by one query each for their sizes and for what goes on in them: beside the
reconciles, as a server with many large databases takes its time."""

from __future__ import annotations

import asyncio

from odoo_tenancy.api.errors import OperatorError
from odoo_tenancy.api.meta import Manifest
from odoo_tenancy.reconcile.database_quota import is_news
from odoo_tenancy.reconcile.figures import PoolFigures, TenantFigures
from odoo_tenancy.reconcile.server_state import ServerState
from odoo_tenancy.reconcile.world import World
from odoo_tenancy.services.postgres import PostgresAddress, PostgresServer, replay_lag


def begin(world: World, state: ServerState, replica: PostgresAddress | None = None) -> None:
    """Start a measurement where it is time for one and none is going on.

    Args:
        replica: where those who only read are sent: how far it is behind is measured too.
    """
    figures, server = state.figures, state.server
    if figures.measuring is not None and not figures.measuring.done():
        return
    figures.measuring = None
    if server is None or not state.wanted:
        return
    now = world.seconds()
    sizes = figures.sized_at is None or now - figures.sized_at >= world.options.sizes_every
    activity = figures.looked_at is None or now - figures.looked_at >= world.options.activity_every
    if sizes or activity:
        work = _measure(world, state, server, sizes=sizes, activity=activity, replica=replica)
        figures.measuring = asyncio.create_task(work, name=f"figures {state.whose}")


async def say_what_failed(world: World, state: ServerState, manifest: Manifest) -> None:
    """One event of the pool, or of the tenant whose own server it is."""
    problem, state.figures.problem = state.figures.problem, None
    if problem is not None:
        message = (
            f"Sizes and activity of the databases, or the lag of the replica: {problem.message} Tried again when it is due "
            "again."
        )
        await world.events.publish(manifest, "Warning", "NotMeasured", message)


async def _measure(
    world: World,
    state: ServerState,
    server: PostgresServer,
    *,
    sizes: bool,
    activity: bool,
    replica: PostgresAddress | None,
) -> None:
    """What can't be measured now is tried again when it is due again; meanwhile what is known counts."""
    figures = state.figures
    try:
        if sizes:
            figures.sized_at = world.seconds()
            databases = (await server.inventory(sizes=True)).databases
            found = {name: d.size_bytes for name, d in databases.items() if d.size_bytes is not None}
            figures.sizes = found
        if activity:
            figures.looked_at = world.seconds()
            figures.activity, figures.replica_lag_seconds = await server.activity(), None
            if replica is not None:
                figures.replica_lag_seconds = await replay_lag(replica)
    except OperatorError as error:
        figures.problem = error
    show(world, state)
    for key, told in tuple(figures.told.items()):
        if is_news(figures, told):
            world.enqueue(key)


def show(world: World, state: ServerState) -> None:
    """Take what is known to ``/metrics``."""
    figures, activity = state.figures, state.figures.activity
    lag = activity.replay_lag_seconds if activity else None
    tenants = {
        key: TenantFigures(figures.sizes.get(wanted.database), figures.activity_of(wanted.database))
        for key, wanted in state.wanted.items()
    }
    shown = PoolFigures(
        tenants,
        replay_lag_seconds=figures.replica_lag_seconds if lag is None else lag,
        slot_lag_bytes=activity.slot_lag_bytes if activity else {},
        standbys=activity.standbys if activity else 0,
    )
    world.databases.measured(state.whose, state.pool, shown)

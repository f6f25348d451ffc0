"""A VACUUM FULL on request, by an annotation: rows that were deleted give their room back. It may take minutes, so it
runs beside the reconciles, one at a time on a server."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from odoo_tenancy.api.errors import OperatorError
from odoo_tenancy.api.meta import Key
from odoo_tenancy.reconcile.figures import Vacuum
from odoo_tenancy.reconcile.look import Look
from odoo_tenancy.reconcile.server_state import ServerState
from odoo_tenancy.reconcile.world import World
from odoo_tenancy.services.postgres import PostgresServer, Reclaimed, TenantDatabase

ANNOTATION = "odootenancy.io/vacuum-full"


async def on_request(look: Look, server: PostgresServer, wanted: TenantDatabase) -> None:
    """Begin what is asked for, or tell what it came to. Cut short by an end of the operator, it begins anew."""
    request, vacuums = look.tenant.metadata.annotations.get(ANNOTATION, ""), look.postgres.figures.vacuums
    running = vacuums.get(look.key)
    if running is not None:
        if running.task.done():
            del vacuums[look.key]
            await _tell(look, wanted, running)
        return
    if not request or request == look.vault.vacuumed:
        return
    if vacuums:
        look.look_again(look.world.options.look_again * 5)
        return
    work = _run(look.world, look.postgres, server, wanted, look.key)
    vacuums[look.key] = Vacuum(request, asyncio.create_task(work, name=f"vacuum {look.key}"))


async def _run(
    world: World, state: ServerState, server: PostgresServer, wanted: TenantDatabase, tenant: Key
) -> Reclaimed:
    try:
        result = await server.vacuum_full(wanted)
        state.figures.sizes = {**state.figures.sizes, wanted.database: result.after_bytes}
        return result
    finally:
        world.enqueue(tenant, 0.1)  # when this task is done


async def _tell(look: Look, wanted: TenantDatabase, vacuum: Vacuum) -> None:
    """One event, and a note that this value of the annotation was served: first the one, so that it is never lost."""
    try:
        result = vacuum.task.result()
    except OperatorError as error:
        message = f"{error.message} Annotate with another value to try again."
        await look.world.events.publish(look.manifest, "Warning", "VacuumFailed", message)
    else:
        message = (
            f"Database {wanted.database} had {_mebi(result.before_bytes)} and has {_mebi(result.after_bytes)} after "
            "VACUUM FULL"
        )
        if result.skipped:
            message += (
                f"; in use and left as they were: {', '.join(result.skipped[:5])}. Annotate again for them"
            )
        await look.world.events.publish(look.manifest, "Normal", "Vacuumed", message)
    await look.store(replace(look.vault, vacuumed=vacuum.request))


def _mebi(count: int) -> str:
    return f"{count / (1 << 20):.1f} MiB"

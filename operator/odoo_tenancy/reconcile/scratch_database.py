"""The database that a verification at level Restore fills: made for one Job, and dropped when that has ended, however.

Owner and login are roles of its own. So the Job can connect to nothing of the tenant's, and nobody of the tenant's to what
it restores. Where an operator died in between, the tenant's own look finds what is left, and drops it.
"""

from __future__ import annotations

from odoo_tenancy.api.errors import OperatorError, Refused, Waiting
from odoo_tenancy.api.meta import Key
from odoo_tenancy.api.types import parse_quantity
from odoo_tenancy.desired import names
from odoo_tenancy.desired.context import TenantContext
from odoo_tenancy.reconcile.backup_begin import NOBODY
from odoo_tenancy.reconcile.database import refreshed, server_of
from odoo_tenancy.reconcile.look import Look
from odoo_tenancy.reconcile.server_state import ServerState
from odoo_tenancy.reconcile.tenant_database import scratch_of
from odoo_tenancy.reconcile.upkeep_memory import upkeep_runs
from odoo_tenancy.reconcile.world import World


async def make(world: World, context: TenantContext, postgres: ServerState) -> str:
    """A new, empty one; the password of its login. What an earlier attempt left goes first.

    Raises:
        Refused: ``ScratchNoRoom``, ``DatabaseNotOurs`` and the like: this server can't.
        OperatorError: it doesn't answer.
    """
    claim = context.claim
    if claim in world.sweeping:
        raise Waiting("SweepingScratch", "What an earlier verification left is being dropped.", 2.0)
    _check_room(context, postgres)
    server, _ = server_of(postgres)
    wanted, password = scratch_of(claim), world.token(32)
    await drop(postgres, claim)
    await server.ensure_roles(wanted, password)
    await server.ensure_database(wanted)
    await refreshed(postgres, server, wanted.names)
    return password


def _check_room(context: TenantContext, postgres: ServerState) -> None:
    """On a volume whose size is known. It is the living database that would suffer.

    Raises:
        Refused: ``ScratchNoRoom``.
    """
    dedicated = context.tenant.spec.database.dedicated
    size = postgres.figures.sizes.get(names.database(context.claim))
    if context.effective.database_placement != "Dedicated" or dedicated is None or size is None:
        return
    if 2 * size > parse_quantity(dedicated.storage):
        raise Refused(
            "ScratchNoRoom",
            f"Database {names.database(context.claim)} has {size >> 20} MiB, and a restored copy has no room beside it in "
            f"spec.database.dedicated.storage {dedicated.storage}: raise that, or set verification.level of the "
            "BackupPolicy to Consistency.",
        )


async def drop(postgres: ServerState, claim: str) -> bool:
    """Whether there was something: database, roles, or either.

    Raises:
        OperatorError: the server doesn't answer; a stranger is connected.
    """
    server, _ = server_of(postgres)
    wanted = scratch_of(claim)
    found = await server.inventory_of(wanted.names)
    if not found.databases and not found.roles:
        return False
    left = await server.drop(wanted)
    await refreshed(postgres, server, wanted.names)
    if left:
        raise Refused(
            "DatabaseNotOurs", f"Not this tenant's, and left alone in PostgreSQL: {', '.join(left)}."
        )
    return True


async def sweep(look: Look) -> None:
    """Drop what an operator that died, or a server that was away, left. Nothing is asked where memory has none."""
    world, postgres, claim = look.world, look.postgres, look.context.claim
    if not _is_seen(postgres, claim) or is_used(world, look.key) or claim in world.sweeping:
        return
    world.sweeping.add(claim)
    try:
        dropped = await drop(postgres, claim)
    except OperatorError as error:
        message = f"{names.scratch_database(claim)} of a verification can't be dropped yet: {error.message}"
        await world.events.publish(look.manifest, "Warning", "ScratchDatabaseLeft", message)
        return
    finally:
        world.sweeping.discard(claim)
    if dropped:
        message = f"{names.scratch_database(claim)}, which a verification left, was dropped"
        await world.events.publish(look.manifest, "Normal", "ScratchDatabaseDropped", message)
        look.changes.append(f"dropped {names.scratch_database(claim)}")


def _is_seen(postgres: ServerState, claim: str) -> bool:
    inventory, wanted = postgres.inventory, scratch_of(claim)
    if inventory is None:
        return False
    return wanted.database in inventory.databases or any(name in inventory.roles for name in wanted.roles)


def is_used(world: World, tenant: Key) -> bool:
    """Whether a verification may be at work: a backup of the tenant that has begun, or a Job in its repository."""
    for other, _ in world.backups.running(but=NOBODY):
        known = world.backups.get(other)
        if known is not None and known.tenant == tenant:
            return True
    record = world.tenants.get(tenant)
    return world.upkeep.works(tenant) or (record is not None and upkeep_runs(world.children, record))

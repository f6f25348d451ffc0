"""A restored database takes the living one's place, which is kept beside it; and back again.

Both renames are one transaction: there is never a moment without a living database, and never a doubt which one it is.
Nobody may be connected to either, so the living one is closed first; whoever is cut short here opens it again by going on.
"""

from __future__ import annotations

from dataclasses import replace

from psycopg.sql import SQL, Composed, Identifier, Literal

from odoo_tenancy.api.errors import Refused, Waiting
from odoo_tenancy.services.postgres import statements
from odoo_tenancy.services.postgres.inventory import Inventory
from odoo_tenancy.services.postgres.ownership import check_database, is_ours_half_made
from odoo_tenancy.services.postgres.wanted import TenantDatabase
from odoo_tenancy.services.postgres.writer import Writer


async def swap(writer: Writer, wanted: TenantDatabase, new: str, former: str) -> None:
    """``new`` becomes the living database, which becomes ``former`` and lets nobody in.

    Raises:
        Refused: ``NothingToSwap``; ``DatabaseNotOurs``.
        Waiting: ``DatabaseInUse``.
    """
    found = await _look(writer, wanted, new, former)
    if former in found.databases and new not in found.databases:
        return
    if new not in found.databases or wanted.database not in found.databases:
        raise Refused(
            "NothingToSwap",
            f"PostgreSQL at {writer.address} lacks {new} or {wanted.database}: restore again.",
        )
    found = await _close(writer, wanted, new, former)
    mark = found.databases[new].mark
    assert mark is not None
    await writer.write(
        f"database {wanted.database}: swap with {new}",
        [
            _rename(wanted.database, former),
            _rename(new, wanted.database),
            statements.comment_on_database(wanted.database, replace(mark, stage="ready")),
        ],
    )


async def swap_back(writer: Writer, wanted: TenantDatabase, new: str, former: str) -> None:
    """What lived before lives again and lets its tenant in; nothing but that where it was never swapped.

    Raises:
        Waiting: ``DatabaseInUse``.
    """
    found = await _look(writer, wanted, new, former)
    if former in found.databases:
        if new in found.databases or wanted.database not in found.databases:
            raise Waiting("SwapUnclear", f"PostgreSQL at {writer.address} has {former} beside {new}.", 60)
        await _close(writer, wanted, new, former)
        await writer.write(
            f"database {wanted.database}: swap back with {former}",
            [
                _rename(wanted.database, new),
                _rename(former, wanted.database),
                _open(wanted.database),
            ],
        )
        return
    living = found.databases.get(wanted.database)
    if living is not None and not living.allow_connections:
        await writer.write(f"database {wanted.database}: open", [_open(wanted.database)])


async def drop_beside(writer: Writer, wanted: TenantDatabase, name: str) -> None:
    """Drop a database that a restore made or left, while the tenant goes on in its own.

    Raises:
        Refused: ``DatabaseNotOurs``.
        Waiting: ``DatabaseInUse``.
    """
    if name == wanted.database:
        raise ValueError(f"{name} is what lives")
    found = await writer.look((*wanted.names, name))
    database = found.databases.get(name)
    if database is None:
        return
    if not is_ours_half_made(found, database, wanted.owner_role, wanted.claim):
        check_database(found, wanted.claim, database)
    await writer.write(f"database {name}: close", [statements.close_database(database)])
    await _end_sessions(writer, found, wanted, name)
    await writer.write_alone(f"database {name}: drop", statements.drop_database(name))


async def _look(writer: Writer, wanted: TenantDatabase, *others: str) -> Inventory:
    """All of them are this tenant's, or nothing is touched."""
    names = (wanted.database, *others)
    found = await writer.look((*wanted.names, *others))
    for name in names:
        if name in found.databases:
            check_database(found, wanted.claim, found.databases[name])
    return found


async def _close(writer: Writer, wanted: TenantDatabase, new: str, former: str) -> Inventory:
    """Nobody is connected any more to what is renamed next, and nobody comes."""
    found = await _look(writer, wanted, new, former)
    living = found.databases[wanted.database]
    if living.allow_connections:
        await writer.write(f"database {living.name}: close", [statements.close_database(living)])
        found = await _look(writer, wanted, new, former)
    await _end_sessions(writer, found, wanted, wanted.database, new, former)
    return found


async def _end_sessions(writer: Writer, found: Inventory, wanted: TenantDatabase, *names: str) -> None:
    """In these databases alone: Odoo may be running on another one."""
    used = [name for name in names if name in found.databases and found.databases[name].connections]
    if not used:
        return
    statement = SQL(
        "SELECT pg_catalog.pg_terminate_backend(pid, 5000) FROM pg_catalog.pg_stat_activity"
        " WHERE pid <> pg_catalog.pg_backend_pid() AND datname = ANY ({})"
        " AND (usename = ANY ({}) OR usename = current_user)"
    ).format(Literal(used), Literal(list(wanted.roles)))
    await writer.write(f"sessions in {', '.join(used)}: end", [statement])


def _rename(name: str, other: str) -> Composed:
    return SQL("ALTER DATABASE {} RENAME TO {}").format(Identifier(name), Identifier(other))


def _open(name: str) -> Composed:
    return SQL("ALTER DATABASE {} WITH ALLOW_CONNECTIONS true").format(Identifier(name))

"""Making a database's files smaller after rows were deleted."""

from __future__ import annotations

from dataclasses import dataclass

import psycopg
from psycopg.sql import SQL, Identifier, Literal

from odoo_tenancy.services.postgres.connections import Connection
from odoo_tenancy.services.postgres.errors import translated
from odoo_tenancy.services.postgres.wanted import TenantDatabase
from odoo_tenancy.services.postgres.writer import WHOLE_DATABASE_TIMEOUT, Writer

LOCK_TIMEOUT = 5
"""Seconds to wait for a table; meanwhile everybody else waits behind us."""


@dataclass(frozen=True, slots=True)
class Reclaimed:
    """What a VACUUM FULL came to."""

    before_bytes: int
    """Of the whole database."""
    after_bytes: int
    skipped: tuple[str, ...]
    """Tables that were in use: call again."""


async def vacuum_full(writer: Writer, wanted: TenantDatabase) -> Reclaimed:
    """Rewrite each of the tenant's tables, one after the other, the smallest first: what they free helps the next.

    A table is locked altogether while it is rewritten, and the disk needs room for a second copy of it. The admin
    may, as a member of the owner; PostgreSQL runs what an index computes as the table's owner. A call that is cut
    short has done what it has done.
    """
    what = f"database {wanted.database}: vacuum full"
    writer.hook.before_write(f"postgres {what}")
    with translated(writer.address, what):
        async with writer.connections.elsewhere(
            wanted.database, seconds=WHOLE_DATABASE_TIMEOUT
        ) as connection:
            await connection.execute(f"SET statement_timeout = '{WHOLE_DATABASE_TIMEOUT}s'".encode())
            await connection.execute(f"SET lock_timeout = '{LOCK_TIMEOUT}s'".encode())
            before = await _size(connection)
            skipped = [
                name for name in await _tables(connection, wanted) if not await _rewrite(connection, name)
            ]
            after = await _size(connection)
    writer.hook.after_write(f"postgres {what}")
    return Reclaimed(before, after, tuple(skipped))


async def _rewrite(connection: Connection, table: str) -> bool:
    """Whether it could be had."""
    try:
        await connection.execute(SQL("VACUUM (FULL, ANALYZE) public.{}").format(Identifier(table)))
    except (psycopg.errors.LockNotAvailable, psycopg.errors.UndefinedTable):
        return False
    return True


async def _tables(connection: Connection, wanted: TenantDatabase) -> list[str]:
    query = SQL(
        "SELECT c.relname::text FROM pg_catalog.pg_class c WHERE c.relkind IN ('r', 'm')"
        " AND c.relnamespace = 'public'::pg_catalog.regnamespace"
        " AND pg_catalog.pg_get_userbyid(c.relowner) = ANY ({})"
        " ORDER BY c.relpages, c.relname"
    ).format(Literal(list(wanted.roles)))
    return [row[0] for row in await (await connection.execute(query)).fetchall()]


async def _size(connection: Connection) -> int:
    query = "SELECT pg_catalog.pg_database_size(pg_catalog.current_database())"
    row = await (await connection.execute(query)).fetchone()
    assert row is not None
    return int(row[0])

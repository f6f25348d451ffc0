"""A database that a Job fills, and may clear and fill again, but only if it was this very work that filled it before.

A table marks it from the first moment to the last. Whatever has tables and not this mark is somebody's, and is left alone.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, Literal

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from odoo_tenancy.api.observe import NoHook, WriteHook
from odoo_tenancy.api.work import DatabasePlace
from odoo_tenancy.jobs.database_snapshot import address_of
from odoo_tenancy.services.postgres.errors import of_connection, translated

MARK: Final = "odoo_tenancy_restore"
"""In the schema public."""

Found = Literal["Empty", "Ours", "Full"]

_ANYTHING: Final = sql.SQL("""
SELECT EXISTS (
  SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
   WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%'
     AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
                        AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'))
""")
_OURS: Final = sql.SQL("""
WITH me AS (SELECT oid AS role FROM pg_roles WHERE rolname = current_user),
     place AS (SELECT oid AS schema, nspname, nspowner FROM pg_namespace
                WHERE nspname NOT LIKE 'pg\\_%' AND nspname <> 'information_schema')
SELECT 1, format('DROP SCHEMA IF EXISTS %I CASCADE', nspname) FROM place, me WHERE nspowner = role AND nspname <> 'public'
 UNION ALL
SELECT 2, format('DROP %s IF EXISTS %s CASCADE',
                 CASE relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'f' THEN 'FOREIGN TABLE'
                              WHEN 'S' THEN 'SEQUENCE' WHEN 'c' THEN 'TYPE' ELSE 'TABLE' END, c.oid::regclass)
  FROM pg_class c JOIN place ON schema = relnamespace JOIN me ON role = relowner
 WHERE relkind IN ('r', 'p', 'v', 'm', 'f', 'S', 'c') AND NOT relispartition
   AND NOT (relname = {mark} AND nspname = 'public')
   AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')
 UNION ALL
SELECT 3, format('DROP %s IF EXISTS %s CASCADE', CASE prokind WHEN 'a' THEN 'AGGREGATE' ELSE 'ROUTINE' END,
                 p.oid::regprocedure)
  FROM pg_proc p JOIN place ON schema = pronamespace JOIN me ON role = proowner
 WHERE NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')
 UNION ALL
SELECT 4, format('DROP TYPE IF EXISTS %s CASCADE', t.oid::regtype)
  FROM pg_type t JOIN place ON schema = typnamespace JOIN me ON role = typowner
 WHERE typtype IN ('e', 'd', 'r') AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = t.oid AND d.deptype = 'e')
 UNION ALL
SELECT 5, format('SELECT lo_unlink(%s)', large.oid) FROM pg_largeobject_metadata large JOIN me ON role = lomowner
 ORDER BY 1
""")
"""What a dump of Odoo makes, as statements that remove it; extensions are the admin's and stay."""

_SESSIONS_LEFT: Final = b"""
SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
 WHERE datname = current_database() AND usename = session_user AND pid <> pg_backend_pid()
"""
"""Of an attempt that is gone: where its node was lost, the server waits for it for hours, and holds its locks."""


class NewDatabase:
    """Every method connects anew, as the role of ``place``.

    Args:
        work: an id of what is being done; another's leftovers are never touched.
        hook: called around each write.
    """

    def __init__(self, place: DatabasePlace, password: str, work: str, hook: WriteHook | None = None) -> None:
        self.place = place
        self._password = password
        self._work = work
        self._hook: WriteHook = hook or NoHook()

    async def take(self) -> Found:
        """Mark it as being filled: ``Empty`` it was, ``Ours`` it was from an attempt before and is empty now. A ``Full``
        one is left as it is."""
        async with self.connection("see whether it is empty") as connection:
            found = await self._look(connection)
            if found == "Empty":
                await self._mark(connection)
            elif found == "Ours":
                await self._clear(connection)
        return found

    async def release(self) -> None:
        """It is filled: take the mark away."""
        await self._write(f"unmark database {self.place.name}", [f"DROP TABLE IF EXISTS public.{MARK}"])

    async def clear(self) -> None:
        """Remove all that belongs to our role, and the mark: until then it says whose the rest is, if this is cut short."""
        async with self.connection("clear it") as connection:
            await self._mark(connection)
            await self._clear(connection)
        await self.release()

    @asynccontextmanager
    async def connection(self, doing: str) -> AsyncIterator[psycopg.AsyncConnection[tuple[Any, ...]]]:
        """In autocommit; its errors are ours.

        Raises:
            OperatorError: of :mod:`odoo_tenancy.services.postgres.errors`.
        """
        address = address_of(self.place, self._password)
        parameters = address.connection_parameters(self.place.ca_file or None, 0)
        try:
            connection = await psycopg.AsyncConnection.connect(make_conninfo(**parameters), autocommit=True)
        except psycopg.Error as error:
            raise of_connection(address, error) from error
        try:
            with translated(address, f"database {self.place.name}: {doing}"):
                yield connection
        finally:
            await connection.close()

    async def _look(self, connection: psycopg.AsyncConnection[tuple[Any, ...]]) -> Found:
        marked = await (
            await connection.execute("SELECT to_regclass(%s) IS NOT NULL", [f"public.{MARK}"])
        ).fetchone()
        if marked == (True,):
            query = sql.SQL("SELECT work FROM public.{}").format(sql.Identifier(MARK))
            row = await (await connection.execute(query)).fetchone()
            return "Ours" if row == (self._work,) else "Full"
        anything = await (await connection.execute(_ANYTHING)).fetchone()
        return "Full" if anything == (True,) else "Empty"

    async def _mark(self, connection: psycopg.AsyncConnection[tuple[Any, ...]]) -> None:
        self._hook.before_write(f"mark database {self.place.name}")
        await connection.execute(
            sql.SQL("CREATE TABLE IF NOT EXISTS public.{} (work) AS SELECT {}::text").format(
                sql.Identifier(MARK), sql.Literal(self._work)
            )
        )
        self._hook.after_write(f"mark database {self.place.name}")

    async def _clear(self, connection: psycopg.AsyncConnection[tuple[Any, ...]]) -> None:
        self._hook.before_write(f"clear database {self.place.name}")
        # Sessions are the login's own, not those of the role that it acts as.
        await connection.execute("SET ROLE NONE")
        await connection.execute(_SESSIONS_LEFT)
        await connection.execute("RESET ROLE")
        rows = await (await connection.execute(_OURS.format(mark=sql.Literal(MARK)))).fetchall()
        # One by one: all at once may need more locks than the server has.
        for _, statement in rows:
            await connection.execute(statement)
        self._hook.after_write(f"clear database {self.place.name}")

    async def _write(self, what: str, statements: list[str]) -> None:
        async with self.connection(what) as connection:
            self._hook.before_write(what)
            for statement in statements:
                await connection.execute(statement.encode())
            self._hook.after_write(what)

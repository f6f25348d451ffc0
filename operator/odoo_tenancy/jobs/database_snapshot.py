"""What a backup knows of a database: one snapshot, exported for pg_dump, and read by queries that see just what the dump
will hold."""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from odoo_tenancy.api.errors import Refused
from odoo_tenancy.api.manifest import Attachments
from odoo_tenancy.api.work import DatabasePlace
from odoo_tenancy.services.postgres.address import PostgresAddress
from odoo_tenancy.services.postgres.errors import of_connection, translated

Connection = psycopg.AsyncConnection[tuple[Any, ...]]

LOCK_PATIENCE = "60s"
"""How long a table that is being changed is waited for, here and by pg_dump; others wait behind us meanwhile."""
_AT_ONCE = 10_000
"""Rows in memory."""
_TABLES = """
SELECT n.nspname, c.relname,
       EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'write_date'
                  AND a.atttypid IN ('timestamp'::regtype, 'timestamptz'::regtype) AND NOT a.attisdropped)
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind = 'r' AND c.relpersistence <> 't'
   AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%'
   AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
                      AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e')
 ORDER BY 1, 2
"""
"""Those whose rows a dump has: an extension's own tables come with the extension."""
_SIZE = """
SELECT coalesce(sum(pg_table_size(c.oid)), 0)::bigint FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind = 'r' AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%'
"""
_SETTINGS = """
SELECT set_config(name, CASE name WHEN 'lock_timeout' THEN %s WHEN 'TimeZone' THEN 'UTC' WHEN 'search_path' THEN 'public'
                        ELSE '0' END, false)
  FROM pg_settings WHERE name IN ('lock_timeout', 'TimeZone', 'search_path', 'statement_timeout',
                                  'idle_in_transaction_session_timeout', 'transaction_timeout')
"""
"""Those that this version has: transaction_timeout is of 17 and later."""
_FILES = """
SELECT DISTINCT store_fname COLLATE "C" FROM ir_attachment WHERE store_fname IS NOT NULL AND store_fname <> '' ORDER BY 1
"""


@dataclass(frozen=True)
class Server:
    """What serves the database."""

    version: str
    """Such as 17.6."""
    major: int


@dataclass(frozen=True)
class Counted:
    """Rows of all tables, and the newest change."""

    rows: Mapping[str, int]
    newest: datetime | None


@dataclass(frozen=True)
class NamedFiles:
    """The files that attachments name."""

    paths: frozenset[str]
    """Below the filestore's directory."""
    digest: Attachments


class DatabaseSnapshot:
    """A database at one moment. Every method sees that moment, for as long as the context of :func:`exported` lasts."""

    def __init__(
        self,
        connection: Connection,
        address: PostgresAddress,
        identifier: str,
        moment: datetime,
        server: Server,
    ) -> None:
        self._connection = connection
        self._address = address
        self.identifier = identifier
        """For ``pg_dump --snapshot``."""
        self.moment = moment
        """When it was, by PostgreSQL's clock; what was committed later isn't in it."""
        self.server = server

    async def modules(self) -> dict[str, str]:
        """Installed modules with the versions of their data.

        Raises:
            Refused: it is no database of Odoo.
        """
        with translated(self._address, f"database {self._address.database}: read its modules"):
            there = await self._one("SELECT to_regclass('ir_module_module'), to_regclass('ir_attachment')")
            if None in there:
                raise self._not_odoo("it has no table ir_module_module or no table ir_attachment")
            rows = await self._all(
                "SELECT name, coalesce(latest_version, '') FROM ir_module_module"
                " WHERE state IN ('installed', 'to upgrade', 'to remove') ORDER BY name"
            )
        if not any(name == "base" for name, _ in rows):
            raise self._not_odoo("the module base isn't installed")
        return dict(rows)

    async def size(self) -> int:
        """Bytes of its tables without indexes: about what a dump will have."""
        with translated(self._address, f"database {self._address.database}: read its size"):
            (size,) = await self._one(_SIZE)
        return int(size)

    async def check_held(self) -> None:
        """Whether the server still holds it.

        Raises:
            OperatorError: ``PostgresUnreachable``: it restarted, or went.
        """
        with translated(
            self._address, f"database {self._address.database}: hold the snapshot that is dumped"
        ):
            await self._one("SELECT 1")

    async def count(self) -> Counted:
        """Count the rows of every table."""
        rows: dict[str, int] = {}
        newest: datetime | None = None
        with translated(self._address, f"database {self._address.database}: count its rows"):
            tables = await self._all(_TABLES)
            for schema, table, dated in tables:
                question = sql.SQL("SELECT count(*), {} FROM ONLY {}").format(
                    sql.SQL("max(write_date)" if dated else "NULL"), sql.Identifier(schema, table)
                )
                rows[f"{schema}.{table}"], found = await self._one(question)
                if found is not None:
                    newest = max(newest, _utc(found)) if newest else _utc(found)
        return Counted(rows, newest)

    async def named_files(self) -> NamedFiles:
        """What the attachments name, read a few thousand at a time."""
        digest = hashlib.sha256()
        paths: set[str] = set()
        files = 0
        with translated(self._address, f"database {self._address.database}: read its attachments"):
            async with self._connection.cursor("named_files") as cursor:
                cursor.itersize = _AT_ONCE
                await cursor.execute(_FILES)
                while rows := await cursor.fetchmany(_AT_ONCE):
                    files += len(rows)
                    digest.update("".join(f"{name}\n" for (name,) in rows).encode())
                    paths.update(map(path_of, (name for (name,) in rows)))
        return NamedFiles(frozenset(paths), Attachments(files=files, digest=digest.hexdigest()))

    async def _one(self, question: sql.Composed | str) -> tuple[Any, ...]:
        row = await (await self._connection.execute(_query(question))).fetchone()
        assert row is not None
        return row

    async def _all(self, question: str) -> list[tuple[Any, ...]]:
        return await (await self._connection.execute(_query(question))).fetchall()

    def _not_odoo(self, why: str) -> Refused:
        return Refused(
            "NotAnOdooDatabase",
            f"The database {self._address.database} on {self._address} is none of Odoo ({why}), so there is nothing to"
            " back up. Look whether it was emptied, and restore it; a new tenant is initialised first.",
        )


def path_of(store_fname: str) -> str:
    """Where a file is below the filestore, as ``_full_path`` of odoo/addons/base/models/ir_attachment.py has it."""
    if "." in store_fname or ":" in store_fname:
        store_fname = re.sub("[.:]", "", store_fname)
    return store_fname.strip("/\\")


def address_of(place: DatabasePlace, password: str) -> PostgresAddress:
    """As whom, at which server and database."""
    return PostgresAddress(place.host, place.port, place.user, password, place.ssl_mode, None, place.name)


@asynccontextmanager
async def exported(place: DatabasePlace, password: str) -> AsyncIterator[DatabaseSnapshot]:
    """Take a snapshot, and hold it.

    The connection is read only, and no timeout of the server's ends it while a dump takes its time.

    Raises:
        OperatorError: of :mod:`odoo_tenancy.services.postgres.errors`.
    """
    address = address_of(place, password)
    conninfo = make_conninfo(**address.connection_parameters(place.ca_file or None, 0))
    try:
        connection = await psycopg.AsyncConnection.connect(conninfo, autocommit=True)
    except psycopg.Error as error:
        raise of_connection(address, error) from error
    try:
        with translated(address, f"database {place.name}: export a snapshot"):
            await connection.execute(_SETTINGS, [LOCK_PATIENCE])
            await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            cursor = await connection.execute("SELECT pg_export_snapshot(), now()")
            row = await cursor.fetchone()
        assert row is not None
        number = connection.info.server_version
        said = connection.info.parameter_status("server_version") or ""
        server = Server(said.split()[0] if said else str(number // 10_000), number // 10_000)
        yield DatabaseSnapshot(connection, address, row[0], row[1].astimezone(UTC), server)
    finally:
        await connection.close()


def _query(question: sql.Composed | str) -> sql.Composed | sql.SQL:
    return sql.SQL(question) if isinstance(question, str) else question


def _utc(moment: datetime) -> datetime:
    """Odoo writes UTC without saying so."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)

"""The one place from which a server is read and changed: each change a transaction, announced before and
after."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field

from psycopg.sql import SQL, Composed

from odoo_tenancy.api.observe import WriteHook
from odoo_tenancy.services.postgres import inventory
from odoo_tenancy.services.postgres.connections import Connection, Connections
from odoo_tenancy.services.postgres.errors import translated
from odoo_tenancy.services.postgres.inventory import Inventory

WHOLE_DATABASE_TIMEOUT = 1800
"""Seconds for a statement that copies or removes a database."""


@dataclass(frozen=True, slots=True)
class Session:
    """Where, and as whom, other than as the admin in its own database."""

    database: str
    username: str | None = None
    """``None``: the admin."""
    password: str | None = field(default=None, repr=False)


class Writer:
    """Reads and changes one server. Concurrent calls are fine; each change is all or nothing."""

    def __init__(self, connections: Connections, operator: str, hook: WriteHook) -> None:
        self.connections = connections
        self.operator = operator
        self.address = connections.address
        self.hook = hook
        self._answer: inventory.Answer | None = None

    async def look_at_all(self) -> Inventory:
        """One query. The same object as the last time where the server says the same."""
        with translated(self.address, "inventory"):
            async with self.connections.admin() as connection:
                self._answer = await inventory.read_all(connection, self.operator, self._answer)
        return self._answer.inventory

    async def look(self, names: Collection[str] | None, deep: bool = False) -> Inventory:
        """One query. ``names``: these roles and databases only. ``deep``: with sizes, and what readers miss."""
        with translated(self.address, "inventory"):
            async with self.connections.admin() as connection:
                return await inventory.read(connection, self.operator, names, deep)

    async def write(self, what: str, statements: Sequence[Composed], session: Session | None = None) -> None:
        """Run the statements in one transaction and one round trip: the server makes one of several in one message.

        Args:
            what: names the object and the change; in the error's message, and what the hook is told.
            statements: where there are none, nothing happens.
            session: where, when not as the admin in its own database.
        """
        if not statements:
            return
        self.hook.before_write(f"postgres {what}")
        with translated(self.address, what):
            async with self._connect(session) as connection:
                await connection.execute(SQL("; ").join(statements))
        self.hook.after_write(f"postgres {what}")

    async def write_alone(self, what: str, statement: Composed) -> None:
        """Run CREATE DATABASE or DROP DATABASE, which no transaction may hold and which take their time."""
        self.hook.before_write(f"postgres {what}")
        with translated(self.address, what):
            async with self.connections.admin(WHOLE_DATABASE_TIMEOUT) as connection:
                await connection.execute(
                    SQL("SET statement_timeout = {}").format(f"{WHOLE_DATABASE_TIMEOUT}s")
                )
                try:
                    await connection.execute(statement)
                finally:
                    if not connection.broken:
                        await connection.execute("RESET statement_timeout")
        self.hook.after_write(f"postgres {what}")

    def _connect(self, session: Session | None) -> AbstractAsyncContextManager[Connection]:
        if session is None:
            return self.connections.admin()
        return self.connections.elsewhere(session.database, session.username, session.password)

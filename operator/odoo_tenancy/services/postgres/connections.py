"""Connections: a few to the admin's database, kept open; others for as long as they are used."""

from __future__ import annotations

import asyncio
import os
import select
import socket
import tempfile
import weakref
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo

from odoo_tenancy.api.errors import OperatorError
from odoo_tenancy.services.postgres import errors
from odoo_tenancy.services.postgres.address import PostgresAddress

Connection = psycopg.AsyncConnection[tuple[Any, ...]]

STATEMENT_TIMEOUT = 30.0
"""Seconds for each statement; what copies or removes a whole database asks for more."""
GRACE = 5.0
"""Seconds that a server has beyond that to say so itself. One that is frozen says nothing, and its kernel goes on
answering keepalives: then we hang up."""


class Connections:
    """At most ``limit`` at a time on the server, opened when first needed, all in autocommit.

    What may take longer than a statement leaves one of them to the others, and is waited for only as long as the server
    answers on that one: nobody waits half an hour for a server that has fallen silent.

    Raises:
        PostgresUnreachable, PostgresPasswordRejected, PostgresCertificateRefused, PostgresLoginRefused: on
        opening one.
    """

    def __init__(self, address: PostgresAddress, limit: int, statement_timeout: float) -> None:
        self.address = address
        self._statement_timeout = statement_timeout
        self._idle: list[Connection] = []
        self._free = asyncio.Semaphore(limit)
        self._free_for_long = asyncio.Semaphore(max(1, limit - 1))
        self._long: set[Connection] = set()
        self._closed = False
        self._ca_file = None if address.ca_pem is None else _nameless_file(self, address.ca_pem)

    @asynccontextmanager
    async def admin(self, seconds: float = 0) -> AsyncIterator[Connection]:
        """A connection to the admin's own database: an idle one, or a new one.

        ``seconds``: how long it may be needed, where that is more than a statement may take.
        """
        async with self._place(seconds):
            connection = self._take_idle() or await self._open(self.address)
            try:
                async with self._waited_for(connection, seconds):
                    yield connection
            except (OperatorError, psycopg.Error):
                await self._keep(connection)
                raise
            except BaseException:
                await connection.close()  # cancelled half-way: what it is doing is not known
                raise
            else:
                await self._keep(connection)

    @asynccontextmanager
    async def elsewhere(
        self,
        database: str,
        username: str | None = None,
        password: str | None = None,
        seconds: float = 0,
    ) -> AsyncIterator[Connection]:
        """A connection to another database, or of another role, closed after use."""
        address = replace(
            self.address,
            database=database,
            username=self.address.username if username is None else username,
            password=self.address.password if password is None else password,
        )
        async with self._place(seconds):
            connection = await self._open(address)
            try:
                async with self._waited_for(connection, seconds):
                    yield connection
            finally:
                await connection.close()

    async def close(self) -> None:
        """Close what is idle now, and what is in use when it is given back."""
        self._closed = True
        while self._idle:
            await self._idle.pop().close()

    @asynccontextmanager
    async def _place(self, seconds: float) -> AsyncIterator[None]:
        """Among those that there may be at once."""
        if seconds <= self._statement_timeout:
            async with self._free:
                yield
        else:
            async with self._free_for_long, self._free:
                yield

    @asynccontextmanager
    async def _waited_for(self, connection: Connection, seconds: float) -> AsyncIterator[None]:
        """Whoever still waits for the server then finds the connection broken."""
        if seconds <= self._statement_timeout:
            with _hung_up_after(connection, self._statement_timeout + GRACE):
                yield
            return
        self._long.add(connection)
        watch = asyncio.create_task(self._hang_up_when_silent(), name=f"watch {self.address}")
        try:
            with _hung_up_after(connection, seconds + GRACE):
                yield
        finally:
            self._long.discard(connection)
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)

    async def _hang_up_when_silent(self) -> None:
        """Ask the server something now and then, until it gives no answer; that it refuses is one."""
        while True:
            await asyncio.sleep(self._statement_timeout)
            if not await self._answers():
                break
        for connection in self._long:
            _hang_up(connection)

    async def _answers(self) -> bool:
        try:
            async with self.admin() as connection:
                await connection.execute("SELECT 1")
        except OperatorError as error:
            return error.reason != "PostgresUnreachable"
        except psycopg.Error as error:
            return error.sqlstate is not None
        return True

    async def _open(self, address: PostgresAddress) -> Connection:
        conninfo = make_conninfo(**address.connection_parameters(self._ca_file, self._statement_timeout))
        try:
            return await psycopg.AsyncConnection.connect(conninfo, autocommit=True)
        except psycopg.Error as error:
            raise errors.of_connection(address, error) from error

    def _take_idle(self) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if _is_alive(connection):
                return connection
        return None

    async def _keep(self, connection: Connection) -> None:
        usable = connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
        if self._closed or not usable:
            await connection.close()
        else:
            self._idle.append(connection)


@contextmanager
def _hung_up_after(connection: Connection, seconds: float) -> Iterator[None]:
    """Not ``asyncio.timeout``: a psycopg that is cancelled waits once more, for the server to confirm that."""
    timer = asyncio.get_running_loop().call_later(seconds, _hang_up, connection)
    try:
        yield
    finally:
        timer.cancel()


def _hang_up(connection: Connection) -> None:
    """The socket is shut down and not closed, or its number could be another's while libpq still uses it."""
    with (
        suppress(OSError, psycopg.OperationalError),
        socket.socket(fileno=os.dup(connection.fileno())) as line,
    ):
        line.shutdown(socket.SHUT_RDWR)


def _is_alive(connection: Connection) -> bool:
    """What can be read from an idle connection is the server's farewell. Costs no round trip."""
    if connection.closed:
        return False
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    if poll.poll(0):
        connection.pgconn.finish()
        return False
    return True


def _nameless_file(owner: Connections, pem: str) -> str:
    """libpq reads certificates from files only: one that nobody else sees and that no crash leaves behind."""
    file = tempfile.TemporaryFile("w")  # noqa: SIM115 - open for as long as its owner lives
    file.write(pem)
    file.flush()
    weakref.finalize(owner, file.close)
    return f"/proc/self/fd/{file.fileno()}"

"""Connections: a few for the admin, kept open; one for a tenant's login as long as it is used."""

from __future__ import annotations

import asyncio
import select
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from redis.asyncio import Connection, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ResponseError

from odoo_tenancy.services.redis import address as timeouts
from odoo_tenancy.services.redis.address import RedisAddress
from odoo_tenancy.services.redis.errors import translated

Command = Sequence[str | int]


class Connections:
    """At most ``limit`` at a time, opened when first needed.

    Nothing is tried again here: an error is the queue's to come back to. What takes longer than the timeouts of
    ``address.py`` is given up, waiting for a free connection included, and its connection closed.
    """

    def __init__(self, address: RedisAddress, limit: int) -> None:
        self.address = address
        self._idle: list[Connection] = []
        self._free = asyncio.Semaphore(limit)
        self._closed = False

    async def call(self, doing: str, *commands: Command) -> list[Any]:
        """The answers, in one round trip, as text. The first error among them is raised, once all were read.

        Raises:
            RedisUnreachable, RedisPasswordRejected, RedisCertificateRefused, RedisPrivilegeMissing,
            RedisOutOfMemory, RedisReadOnly: and ``Unavailable`` with ``RedisError``.
        """
        answers = await self.try_call(doing, *commands)
        with translated(self.address, doing):
            for answer in answers:
                if isinstance(answer, ResponseError):
                    raise answer
        return answers

    async def try_call(self, doing: str, *commands: Command) -> list[Any]:
        """The same, with the server's errors among the answers instead of raised."""
        cancellations = _cancellations()
        whole = timeouts.CONNECT_TIMEOUT + 2 * timeouts.ANSWER_TIMEOUT
        with translated(self.address, doing):
            async with asyncio.timeout(whole), self._free:
                connection = await self._take_idle() or await self._open(self.address)
                try:
                    answers = await _ask(connection, commands)
                except BaseException:
                    # Broken or cancelled half-way: an answer that comes later must not be taken for another's.
                    await connection.disconnect(nowait=True)
                    raise
                await self._keep(connection)
        if _cancellations() > cancellations:
            # asyncio.wait_for, inside redis-py, loses a cancellation that comes with the answer (CPython up to 3.11).
            raise asyncio.CancelledError
        return answers

    @asynccontextmanager
    async def logged_in(self, username: str, password: str) -> AsyncIterator[Connection]:
        """A connection of another user, closed after use."""
        address = replace(self.address, username=username, password=password)
        with translated(address, "log in"):
            connection = await self._open(address)
            try:
                yield connection
            finally:
                await connection.disconnect(nowait=True)

    async def close(self) -> None:
        """Close the idle ones now, and what is in use when it is done."""
        self._closed = True
        while self._idle:
            await self._idle.pop().disconnect(nowait=True)

    async def _open(self, address: RedisAddress) -> Connection:
        kind = Connection if address.tls == "disable" else SSLConnection
        connection = kind(
            decode_responses=True, retry=Retry(NoBackoff(), 0), **address.connection_parameters()
        )
        try:
            if isinstance(connection, SSLConnection):
                connection.ssl_context.context = address.tls_context()
            await connection.connect()  # type: ignore[no-untyped-call]
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        return connection

    async def _take_idle(self) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if _is_alive(connection):
                return connection
            await connection.disconnect(nowait=True)
        return None

    async def _keep(self, connection: Connection) -> None:
        if self._closed:
            await connection.disconnect(nowait=True)
        else:
            self._idle.append(connection)


async def _ask(connection: Connection, commands: Sequence[Command]) -> list[Any]:
    await connection.send_packed_command(connection.pack_commands(commands))
    answers: list[Any] = []
    for _ in commands:
        try:
            answers.append(await connection.read_response())
        except ResponseError as error:
            answers.append(error)
    return answers


def _cancellations() -> int:
    task = asyncio.current_task()
    return 0 if task is None else task.cancelling()


def _is_alive(connection: Connection) -> bool:
    """What can be read from an idle connection is the server's farewell. Costs no round trip. (redis-py's own way asks
    the event loop, which may not have heard it yet.)"""
    writer = connection._writer
    if writer is None or writer.is_closing():
        return False
    poll = select.poll()
    poll.register(writer.get_extra_info("socket").fileno(), select.POLLIN)
    return not poll.poll(0)

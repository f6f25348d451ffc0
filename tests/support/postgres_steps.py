"""PostgreSQL's door at which a Job's steps are counted: the statements that change something, and the end of each COPY.

It speaks TLS to both sides with the server's own certificate, so that a login is bound to the same one at both, and passes
every message as it is (https://www.postgresql.org/docs/current/protocol-message-formats.html)."""

from __future__ import annotations

import asyncio
import re
import ssl
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.support.postgres import PostgresProcess
from tests.support.steps import JobDeadError, Steps

_SSL, _GSS, _CANCEL = (number.to_bytes(4, "big") for number in (80877103, 80877104, 80877102))
_ASK_FOR_TLS = (8).to_bytes(4, "big") + _SSL
_CHANGES = re.compile(
    r"\s*(ALTER|CALL|COMMENT|COMMIT|CREATE|DELETE|DO|DROP|END|GRANT|INSERT|REFRESH|REVOKE|TRUNCATE|UPDATE"
    r"|COPY\b[^;]*\bFROM\b|SELECT pg_catalog\.(?:setval|lo_)|SELECT lo_)",
    re.IGNORECASE,
)
_SHOWN = 60


@dataclass
class _Session:
    """One connection of a Job."""

    steps: Steps | None
    open: list[int] = field(default_factory=list)
    """Asked for and not answered."""


@dataclass
class PostgresSteps:
    """``steps``: of the Job that is at work."""

    postgres: PostgresProcess
    steps: Steps | None = None
    port: int = 0

    async def _serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        server_writer: StreamWriter | None = None
        try:
            first = await self._begun(reader, writer)
            server_reader, server_writer = await self._connected()
            server_writer.write(first)
            session = _Session(self.steps)
            ways = (
                self._ask(reader, server_writer, session),
                self._answer(server_reader, writer, session),
            )
            tasks = [asyncio.ensure_future(way) for way in ways]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                task.cancel()
            for ended in await asyncio.gather(*tasks, return_exceptions=True):
                if not isinstance(
                    ended, (OSError, asyncio.IncompleteReadError, JobDeadError, asyncio.CancelledError)
                ):
                    raise RuntimeError("a message that is none") from ended
        except (OSError, asyncio.IncompleteReadError):
            pass  # whoever is killed leaves without a word
        finally:
            for each in (writer, server_writer):
                if each is not None:
                    each.close()

    async def _begun(self, reader: StreamReader, writer: StreamWriter) -> bytes:
        """The first packet that is for the server, behind TLS."""
        while True:
            length = await reader.readexactly(4)
            packet = length + await reader.readexactly(int.from_bytes(length, "big") - 4)
            if packet[4:8] == _SSL:
                writer.write(b"S")
                context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
                folder = self.postgres.directory
                context.load_cert_chain(folder / "server.crt", folder / "server.key")
                await writer.start_tls(context)
            elif packet[4:8] == _GSS:
                writer.write(b"N")
            else:
                return packet

    async def _connected(self) -> tuple[StreamReader, StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.postgres.port)
        writer.write(_ASK_FOR_TLS)
        if await reader.readexactly(1) != b"S":
            raise RuntimeError("the server has no TLS")
        trusted = ssl.create_default_context(cafile=str(self.postgres.directory / "ca.crt"))
        await writer.start_tls(trusted, server_hostname="127.0.0.1")
        return reader, writer

    async def _ask(self, client: StreamReader, server: StreamWriter, session: _Session) -> None:
        while True:
            kind, message = await _message(client)
            step = _step(kind, message)
            if session.steps is not None and step:
                session.open.append(session.steps.before(step))
            server.write(message)
            await server.drain()

    async def _answer(self, server: StreamReader, client: StreamWriter, session: _Session) -> None:
        while True:
            kind, message = await _message(server)
            # Ready for the next one, or for the rows of a COPY.
            while session.steps is not None and kind in (b"Z", b"G") and session.open:
                session.steps.after(session.open.pop(0))
            client.write(message)
            await client.drain()


async def _message(reader: StreamReader) -> tuple[bytes, bytes]:
    head = await reader.readexactly(5)
    return head[:1], head + await reader.readexactly(int.from_bytes(head[1:], "big") - 4)


def _step(kind: bytes, message: bytes) -> str:
    """What is counted of a message; empty: it isn't."""
    if kind == b"c":
        return "end of COPY"
    if kind not in (b"Q", b"P"):
        return ""
    words = message[5:].split(b"\0")[0 if kind == b"Q" else 1].decode(errors="replace")
    return " ".join(words.split())[:_SHOWN] if _CHANGES.match(words) else ""


@asynccontextmanager
async def postgres_steps(postgres: PostgresProcess) -> AsyncIterator[PostgresSteps]:
    """One that listens."""
    door = PostgresSteps(postgres)
    server = await asyncio.start_server(door._serve, "127.0.0.1", 0)
    door.port = server.sockets[0].getsockname()[1]
    try:
        yield door
    finally:
        server.close()

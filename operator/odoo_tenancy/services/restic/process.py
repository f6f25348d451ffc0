"""restic as a child process: its output read as it comes, its end told truly, and nothing of it left behind.

restic gives its locks back when it is told to stop (SIGINT), so it is asked first and killed only if it doesn't go.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pydantic_core

from odoo_tenancy.services.object_store.errors import StoreUnreachable
from odoo_tenancy.services.restic.errors import of_exit

_STOP_SECONDS = 10.0
_CHUNK = 1 << 16
_LINES, _LINE = 24, 1000
"""Of standard error, what is kept: restic says at its end what matters."""
_RETRY = re.compile(r"returned error, retrying after")
_RETRIED = re.compile(r"operation successful after")
_UNREAD = 3
"""Exit status of a backup whose snapshot was made without what could not be read."""
_VANISHED = re.compile(r"no such file or directory$")
_SECRET_LENGTH = 6
_SECRETS = re.compile(r"PASSWORD|SECRET|TOKEN|KEY")

Document = dict[str, Any]


@dataclass
class _Said:
    """The end of what a process wrote to its standard error, since when the store fails it, and which files did."""

    hidden: tuple[str, ...] = field(repr=False)
    lines: deque[str] = field(default_factory=lambda: deque(maxlen=_LINES))
    failing_since: float | None = None
    unread: int = 0
    """Files that could not be read, those that vanished apart."""
    vanished: int = 0
    """Files that were there when their directory was read, and were deleted before they were."""

    def take(self, line: str) -> None:
        for secret in self.hidden:
            line = line.replace(secret, "***")
        if _RETRY.search(line):
            self.failing_since = self.failing_since or time.monotonic()
        elif _RETRIED.search(line):
            self.failing_since = None
        document = _document(line)
        words = _words(document, line)
        if document.get("message_type") == "error" and _VANISHED.search(words):
            self.vanished += 1
        elif document.get("message_type") == "error":
            self.unread += 1
        self.lines.append(words[:_LINE])

    def summary(self) -> str:
        """On one line; what is said twice, once."""
        said = list(dict.fromkeys(line for line in self.lines if line))
        return " | ".join(line for line in said if not any(line in other for other in said if other != line))


@dataclass
class Running:
    """A restic that runs."""

    process: asyncio.subprocess.Process
    said: _Said
    doing: str
    where: str
    _errors: asyncio.Task[None]

    async def lines(self) -> AsyncIterator[bytes]:
        """Of its standard output, in memory one piece at a time, until it is closed."""
        assert self.process.stdout is not None
        rest = b""
        while chunk := await self.process.stdout.read(_CHUNK):
            *whole, rest = (rest + chunk).split(b"\n")
            for line in whole:
                yield line
        if rest:
            yield rest

    async def documents(self) -> AsyncIterator[Document]:
        """Of its standard output, one a line; what is no JSON is text for people."""
        async for line in self.lines():
            if line.startswith(b"{"):
                yield pydantic_core.from_json(line)

    async def ended(self, *fine: int) -> int:
        """Its exit status: 0 or one of ``fine``.

        Raises:
            OperatorError: it was another one.
        """
        code = await self.process.wait()
        await self._errors
        if code and code not in fine:
            raise of_exit(code, self.doing, self.where, self.said.summary())
        return code

    async def ended_but_for_vanished(self) -> int:
        """As :meth:`ended`, where files may be deleted while it reads: how many were, as far as restic minds.

        It leaves out without a word what is gone when it comes to it; but one that goes between its being opened and
        the reading of its attributes is an error to it: https://github.com/restic/restic/pull/5145.
        """
        code = await self.ended(_UNREAD)
        if code and (self.said.unread or not self.said.vanished):
            raise of_exit(code, self.doing, self.where, self.said.summary())
        return self.said.vanished


@dataclass(frozen=True)
class Restic:
    """How it is started: what every command has in common.

    Args:
        options: of every command.
        environment: all of it.
        where: the repository, as people know it.
        patience: seconds for which the store may fail at a stretch; restic itself goes on for 15 minutes a request.
    """

    options: tuple[str, ...]
    environment: Mapping[str, str] = field(repr=False)
    where: str
    patience: float

    @asynccontextmanager
    async def running(
        self,
        doing: str,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
        stdout: int | None = None,
    ) -> AsyncIterator[Running]:
        """restic at work; when the context is left in any way, it and its children have ended.

        Args:
            doing: the command, for messages.
            arguments: with the command.
            environment: beside its own.
            stdout: a file descriptor for its output instead of :meth:`Running.lines`.

        Raises:
            StoreUnreachable: the store failed for longer than ``patience``.
        """
        variables = {**self.environment, **(environment or {})}
        process = await asyncio.create_subprocess_exec(
            "restic", *self.options, *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE if stdout is None else stdout,
            stderr=asyncio.subprocess.PIPE,
            env=variables, limit=1 << 20, start_new_session=True,
        )  # fmt: skip
        said = _Said(_secrets(variables))
        errors = asyncio.create_task(_read_errors(process, said))
        watch = asyncio.create_task(self._watch(process, said))
        try:
            yield Running(process, said, doing, self.where, errors)
        except Exception as error:
            if (impatience := _result(watch)) is not None:
                raise impatience from error
            raise
        finally:
            watch.cancel()
            await _stop(process)
            await asyncio.gather(errors, watch, return_exceptions=True)

    async def documents(
        self,
        doing: str,
        *arguments: str,
        each: Callable[[Document], None] | None = None,
        fine: Sequence[int] = (),
    ) -> list[Document]:
        """What a command that says little says, one a line. ``each`` is called with it as it comes."""
        found = []
        async with self.running(doing, *arguments) as restic:
            async for document in restic.documents():
                if each is not None:
                    each(document)
                if document.get("message_type") != "status":
                    found.append(document)
            await restic.ended(*fine)
        return found

    async def text(self, doing: str, *arguments: str) -> str:
        """What a command that says little says."""
        async with self.running(doing, *arguments) as restic:
            said = [line async for line in restic.lines()]
            await restic.ended()
        return b"\n".join(said).decode()

    def words_of(self, errors: Path, environment: Mapping[str, str] | None = None) -> str:
        """The end of what a command wrote to a file, on one line, without secrets."""
        said = _Said(_secrets({**self.environment, **(environment or {})}))
        with suppress(FileNotFoundError), errors.open("rb") as file:
            file.seek(max(0, errors.stat().st_size - _LINES * _LINE))
            for line in file.read().splitlines():
                said.take(line.decode(errors="replace"))
        return said.summary()

    async def _watch(self, process: asyncio.subprocess.Process, said: _Said) -> StoreUnreachable | None:
        """End a restic whose store fails for too long."""
        while process.returncode is None:
            since = said.failing_since
            if since is not None and time.monotonic() - since > self.patience:
                error = StoreUnreachable(
                    f"The store of {self.where} failed for {self.patience:.0f} s at a stretch"
                    f" ({said.summary()}). Check the policy's endpoint, that the store runs and has room, and the"
                    " NetworkPolicies in between; it is tried again."
                )
                _signal(process, signal.SIGKILL)
                return error
            await asyncio.sleep(min(1.0, self.patience / 4))
        return None


def _secrets(variables: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(
        value for name, value in variables.items() if len(value) >= _SECRET_LENGTH and _SECRETS.search(name)
    )


async def _read_errors(process: asyncio.subprocess.Process, said: _Said) -> None:
    assert process.stderr is not None
    rest = b""
    while chunk := await process.stderr.read(_CHUNK):
        *whole, rest = (rest + chunk).split(b"\n")
        rest = rest[-_CHUNK:]
        for line in whole:
            said.take(line.decode(errors="replace"))
    if rest:
        said.take(rest.decode(errors="replace"))


def _document(line: str) -> Document:
    """What a line of standard error is in JSON; empty where it is text."""
    if line.startswith("{"):
        with suppress(ValueError):
            found: Document = pydantic_core.from_json(line)
            return found
    return {}


def _words(document: Document, line: str) -> str:
    """What a line of standard error says: of a message in JSON, the message."""
    said = str(document.get("message") or document.get("error", {}).get("message") or line)
    return " ".join(said.split()).removeprefix("Fatal: ")


def _result(watch: asyncio.Task[StoreUnreachable | None]) -> StoreUnreachable | None:
    """What the watch found, if it was it who ended the process."""
    if not watch.done():
        return None
    return watch.result() if not watch.cancelled() and watch.exception() is None else None


async def _stop(process: asyncio.subprocess.Process) -> None:
    """Ask, then kill it; and what it started, which its death alone would leave."""
    try:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGINT)
            with suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), _STOP_SECONDS)
    finally:
        _signal(process, signal.SIGKILL)
    await process.wait()


def _signal(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    """To it and its children: it leads a process group."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)

"""Read a dump in pg_dump's custom format as it streams by, without a server: ``pg_restore`` turns it into a script.

Memory is bounded by a few chunks and the names of the files.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
from asyncio.subprocess import PIPE, Process
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from odoo_tenancy.api.errors import Refused
from odoo_tenancy.jobs.dump_script import DumpContents, ScriptReader

Writes = Callable[[int], Awaitable[None]]
"""Writes a whole dump into a descriptor, which it leaves open, or raises."""

CHUNK: Final = 1 << 20
_LONGEST_SAID: Final = 1500
_ERROR: Final = re.compile(
    r"^(?:pg_restore|pg_dump): (?:error: |fatal: |detail: )?(?!hint: )(.*)$", re.MULTILINE
)


async def read_dump(writes: Writes, program: str = "pg_restore") -> DumpContents:
    """What is in it.

    Args:
        writes: what it raises is raised here, whatever ``pg_restore`` makes of what came before.
        program: of the version that wrote the dump, or a later one.

    Raises:
        Refused: ``DumpUnreadable``: ``pg_restore`` can't read it to its end.
    """
    # Both ends stay open here: the program sees the stream's end only after the writer was heard, and the writer never
    # sees a program that is gone. So each is known to have failed by itself, and not by the other.
    out, into = os.pipe()
    fcntl.fcntl(into, fcntl.F_SETPIPE_SZ, CHUNK)
    writing = asyncio.create_task(_write(writes, into))
    try:
        process = await asyncio.create_subprocess_exec(
            program, "--data-only", "--no-owner", "--file=-",
            stdin=out, stdout=PIPE, stderr=PIPE, limit=CHUNK, pipesize=CHUNK,
        )  # fmt: skip
        try:
            contents = await _understand(process, writing)
        finally:
            await end(process)
        await asyncio.gather(writing, asyncio.to_thread(_drain, out))
        return contents
    finally:
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
        os.close(out)


def what_it_said(stderr: bytes) -> str:
    """The errors of ``pg_restore`` without details, context and statements, which may quote a customer's rows."""
    errors = [line.strip() for line in _ERROR.findall(stderr.decode("utf-8", "replace"))]
    return "; ".join(errors)[-_LONGEST_SAID:] or "it said nothing"


async def complaints(process: Process) -> bytes:
    """The end of what it writes to its standard error."""
    assert process.stderr is not None
    said = b""
    while part := await process.stderr.read(CHUNK):
        said = (said + part)[-64 * 1024 :]
    return said


async def end(process: Process) -> None:
    """Whatever happened, it doesn't run any more."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def _write(writes: Writes, into: int) -> None:
    try:
        await writes(into)
    finally:
        os.close(into)


async def _understand(process: Process, writing: asyncio.Task[None]) -> DumpContents:
    assert process.stdout is not None
    said = asyncio.create_task(complaints(process))
    try:
        reader = ScriptReader()
        while chunk := await process.stdout.read(CHUNK):
            reader.feed(chunk)
        status = await process.wait()
        if status and writing.done():
            await writing
        if status:
            raise Refused(
                "DumpUnreadable",
                f"pg_restore can't read the dump to its end (exit status {status}): {what_it_said(await said)}. The "
                "dump is damaged or cut off, or a later version wrote it: restore from another backup.",
            )
        return reader.contents()
    finally:
        said.cancel()


def _drain(out: int) -> None:
    """``pg_restore`` doesn't read what follows the last table."""
    while os.read(out, CHUNK):
        pass

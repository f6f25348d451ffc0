"""A stored dump into a new database, by ``pg_restore -j`` from a file, and compared with the manifest.

A pipe would do without the file, but not in parallel. Extensions are left out: the admin made them before, and the role
that restores may not.
"""

from __future__ import annotations

import asyncio
import re
import shutil
from asyncio.subprocess import PIPE
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from odoo_tenancy.api.backup_work import DUMP
from odoo_tenancy.api.errors import OperatorError, Refused, Unavailable
from odoo_tenancy.api.manifest import BackupManifest
from odoo_tenancy.api.observe import NoHook, WriteHook
from odoo_tenancy.api.work import DatabasePlace
from odoo_tenancy.jobs import postgres_clients
from odoo_tenancy.jobs.database_snapshot import NamedFiles, exported
from odoo_tenancy.jobs.dump_reader import complaints, end, what_it_said
from odoo_tenancy.jobs.manifest_comparison import compare_attachments, compare_modules, compare_rows
from odoo_tenancy.jobs.new_database import MARK, NewDatabase
from odoo_tenancy.jobs.stored_backup import StoredBackup
from odoo_tenancy.services.restic import Repository

_NOT_OURS: Final = re.compile(
    r"^\d+; \d+ \d+ (?:EXTENSION - |COMMENT - EXTENSION |SCHEMA - public |COMMENT - SCHEMA public )"
)
"""Of ``pg_restore --list``: what a new database has already. The schema public is there in every one."""
_AGAIN: Final = re.compile(
    r"connection to server|server closed the connection|terminating connection|SSL SYSCALL|the database system is"
    r"|could not connect|No space left|could not extend file|too many connections|out of (?:shared )?memory",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class RestoredContents:
    """What the server says is in it."""

    tables: int
    rows: int
    files: NamedFiles


class RestoredDatabase:
    """The database of ``place``, which is new.

    Args:
        environment: with ``PGPASSWORD``, and the ``PATH`` to find programs by.
        work: an id of this restore; see :class:`NewDatabase`.
        hook: called around each write.
    """

    def __init__(
        self,
        place: DatabasePlace,
        environment: Mapping[str, str],
        work: str,
        hook: WriteHook | None = None,
    ) -> None:
        self._place = place
        self._environment = environment
        self._password = environment.get("PGPASSWORD", "")
        self._hook: WriteHook = hook or NoHook()
        self.new = NewDatabase(place, self._password, work, hook)

    async def restore(
        self,
        repository: Repository,
        backup: StoredBackup,
        scratch: Path,
        parallel: int,
        progress: Callable[[int, int], None] | None = None,
    ) -> RestoredContents:
        """Fill it, or fill it anew, and compare. One that is full is only compared: an attempt before may have ended.

        Args:
            scratch: an existing folder with room for the dump.
            parallel: connections.

        Raises:
            Refused: ``DatabaseNotEmpty``, ``RestoreFailed``; ``RowsDiffer`` and the like.
            Unavailable: ``RestoreInterrupted``: the server went away, or had no room.
        """
        if await self.new.take() == "Full":
            try:
                return await self.compare(backup.manifest)
            except Refused as error:
                raise self._not_empty(error) from error
        # Always the same folder: what a killed attempt left there is used.
        folder = scratch / f"dump-{backup.database.id[:16]}"
        try:
            await repository.restore(backup.database.id, folder, progress=progress)
            await self._load(folder / DUMP, parallel)
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, True)
        contents = await self.compare(backup.manifest)
        await self.new.release()
        return contents

    async def compare(self, manifest: BackupManifest) -> RestoredContents:
        """Rows, modules and attachments, as the server says.

        Raises:
            Refused: ``RowsDiffer``, ``ModulesDiffer``, ``AttachmentsDiffer`` or ``NotAnOdooDatabase``.
        """
        where = f"Database {self._place.name}"
        expected = manifest.database
        async with exported(self._place, self._password) as snapshot:
            counted = dict((await snapshot.count()).rows)
            counted.pop(f"public.{MARK}", None)
            compare_rows(expected.row_counts, counted, where)
            compare_modules(expected.modules, await snapshot.modules(), where)
            files = await snapshot.named_files()
        compare_attachments(expected.attachments, files.digest, where)
        return RestoredContents(len(counted), sum(counted.values()), files)

    async def _load(self, dump: Path, parallel: int) -> None:
        async with exported(self._place, self._password) as snapshot:
            major = snapshot.server.major
        program = postgres_clients.program("pg_restore", major, self._environment.get("PATH"))
        listing = await self._run(program, "--list", str(dump))
        wanted = dump.with_suffix(".list")
        lines = listing.decode("utf-8", "surrogateescape").splitlines()
        kept = "\n".join(line for line in lines if not _NOT_OURS.match(line)) + "\n"
        await asyncio.to_thread(wanted.write_text, kept, "utf-8", "surrogateescape")
        self._hook.before_write(f"pg_restore into {self._place.name}")
        await self._run(
            program, f"--jobs={parallel}", "--no-owner", "--no-privileges", "--exit-on-error", "--no-password",
            f"--use-list={wanted}", f"--dbname={self._place.name}", str(dump),
        )  # fmt: skip
        self._hook.after_write(f"pg_restore into {self._place.name}")

    async def _run(self, program: str, *arguments: str) -> bytes:
        login = postgres_clients.environment(self._place, self._password)
        process = await asyncio.create_subprocess_exec(
            program, *arguments, stdout=PIPE, stderr=PIPE, env={**self._environment, **login}
        )
        try:
            assert process.stdout is not None
            out, said = await asyncio.gather(process.stdout.read(), complaints(process))
            if status := await process.wait():
                raise self._failed(status, said)
            return out
        finally:
            await end(process)

    def _failed(self, status: int, said: bytes) -> OperatorError:
        what = f"pg_restore into database {self._place.name} on {self._place.host}: {what_it_said(said)} (exit {status})."
        if status < 0 or _AGAIN.search(what):
            return Unavailable(
                "RestoreInterrupted",
                f"{what} The server went away or had no room, or the Job lacked memory; it is tried again from the "
                "beginning.",
            )
        return Refused(
            "RestoreFailed",
            f"{what} Nothing that lives was touched. If an extension is lacking, let the admin create it; else use "
            "another backup.",
        )

    def _not_empty(self, error: Refused) -> Refused:
        return Refused(
            "DatabaseNotEmpty",
            f"Database {self._place.name} isn't empty, and not this backup either ({error.reason}): it is left as it is. "
            "Name a new one.",
        )

"""Load what a customer brings into a new database and folder: ``python -m odoo_tenancy.jobs.archive``.

The archive is an Odoo backup (zip) or a dump in pg_dump's custom format, and nobody trusts it: see :mod:`archive_file` for
its files, :mod:`script_loader` for its statements. Of a custom dump ``pg_restore`` makes a script first. Killed anywhere,
the Job clears away what it loaded and begins again.

Exit status: 0 only if all is ready; the outcome is in the termination message.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

import psycopg
from psycopg.conninfo import make_conninfo

from odoo_tenancy.api.errors import OperatorError, Refused, Unavailable
from odoo_tenancy.api.observe import NoHook, WriteHook
from odoo_tenancy.api.restore_work import ArchiveWork, RestoreFigures, RestoreOutcome
from odoo_tenancy.api.work import DONE
from odoo_tenancy.jobs import postgres_clients
from odoo_tenancy.jobs.archive_file import ArchivedFiles, kind_of, odoo_backup
from odoo_tenancy.jobs.database_snapshot import NamedFiles, address_of, exported
from odoo_tenancy.jobs.dump_reader import what_it_said
from odoo_tenancy.jobs.entry import run_job
from odoo_tenancy.jobs.new_database import NewDatabase
from odoo_tenancy.jobs.report import ProgressLines, timed
from odoo_tenancy.jobs.restored_filestore import discard, look, release, take
from odoo_tenancy.jobs.script_loader import Loaded, load_script
from odoo_tenancy.services.object_store import Bucket, BucketAddress
from odoo_tenancy.services.postgres.errors import of_connection, translated

_NAME: Final = "archive"


@dataclass(frozen=True)
class Contents:
    """What lies ready."""

    loaded: Loaded
    files: ArchivedFiles
    missing: int
    """Files that the database names and the archive didn't have."""


@dataclass
class ArchiveLoad:
    """One load of one archive."""

    work: ArchiveWork
    bucket: Bucket
    environment: Mapping[str, str] = field(repr=False)
    progress: ProgressLines = field(default_factory=ProgressLines)
    hook: WriteHook = field(default_factory=NoHook)
    seconds: dict[str, float] = field(default_factory=dict)

    async def run(self) -> RestoreOutcome:
        """What is ready then, or why it isn't."""
        try:
            contents = await self._load()
        except OperatorError as error:
            return RestoreOutcome(
                reason=error.reason,
                message=f"Archive {self.work.key}: {error.message}",
                again=not isinstance(error, Refused),
                result="Failed",
                figures=RestoreFigures(seconds=self.seconds),
            )
        lost = f" It lacks {contents.missing} files that its database names." if contents.missing else ""
        return RestoreOutcome(
            reason=DONE,
            message=f"Archive {self.work.key} lies ready in database {self.work.database.name} and folder "
            f"{self.work.folder}.{lost}",
            result="Ready",
            database=self.work.database.name,
            folder=self.work.folder,
            figures=RestoreFigures(
                seconds=self.seconds,
                tables=contents.loaded.tables,
                rows=contents.loaded.rows,
                files=contents.files.files,
                bytes=contents.files.bytes,
            ),
        )

    async def _load(self) -> Contents:
        archive = Path(self.work.scratch) / _NAME
        try:
            with self._step("download"):
                await self.bucket.download(
                    self.work.key, archive, self.work.largest_archive_bytes, self.progress.of("download")
                )
            return await self._load_file(archive)
        finally:
            await asyncio.to_thread(archive.unlink, True)

    async def _load_file(self, archive: Path) -> Contents:
        work = self.work
        new = NewDatabase(work.database, self._password, work.restore, self.hook)
        folder = Path(work.filestores) / work.folder
        kind = await asyncio.to_thread(kind_of, archive)
        await self._take(new, folder)
        try:
            load = self._odoo_backup if kind == "OdooBackup" else self._custom_dump
            loaded, files = await asyncio.to_thread(load, archive, folder)
            named = await self._named_files()
        except Refused:
            await new.clear()
            await asyncio.to_thread(discard, folder)
            raise
        found = await asyncio.to_thread(look, folder)
        await new.release()
        await asyncio.to_thread(release, folder)
        return Contents(loaded, files, len(named.paths - found.good))

    async def _take(self, new: NewDatabase, folder: Path) -> None:
        empty = await new.take() != "Full"
        if empty and await asyncio.to_thread(take, folder, self.work.restore):
            return
        if empty:
            await new.release()
        raise Refused(
            "TargetNotEmpty",
            f"Database {self.work.database.name} or folder {self.work.folder} has something of somebody else in it: it is "
            "left as it is. Name new ones.",
        )

    def _odoo_backup(self, archive: Path, folder: Path) -> tuple[Loaded, ArchivedFiles]:
        limits = self.work.largest_database_bytes, self.work.largest_filestore_bytes
        with odoo_backup(archive, *limits) as backup:
            self._check_series(backup.series())
            with self._step("database"), backup.dump() as script:
                loaded = self._script(script)
            with self._step("filestore"):
                return loaded, backup.unpack_files(folder)

    def _custom_dump(self, archive: Path, folder: Path) -> tuple[Loaded, ArchivedFiles]:
        """By pg_restore as a script: it is read by the same rules."""
        del folder
        with self._connection() as connection:
            major = connection.info.server_version // 10_000
        program = postgres_clients.program("pg_restore", major, self.environment.get("PATH"))
        with self._step("database"), _script_of(program, archive) as script:
            return self._script(script), ArchivedFiles(0, 0)

    def _script(self, script: IO[bytes]) -> Loaded:
        self.hook.before_write(f"load archive into {self.work.database.name}")
        with self._connection() as connection:
            loaded = load_script(script, connection, self.work.largest_database_bytes)
        self.hook.after_write(f"load archive into {self.work.database.name}")
        return loaded

    def _check_series(self, series: str) -> None:
        if series and self.work.odoo_series and series != self.work.odoo_series:
            raise Refused(
                "OdooSeriesDiffers",
                f"The archive was made by Odoo {series}, and this tenant runs {self.work.odoo_series}: use an image of "
                f"{series}, or upgrade the database before.",
            )

    async def _named_files(self) -> NamedFiles:
        async with exported(self.work.database, self._password) as snapshot:
            self._check_series(".".join((await snapshot.modules())["base"].split(".")[:2]))
            return await snapshot.named_files()

    @contextmanager
    def _connection(self) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
        place = self.work.database
        address = address_of(place, self._password)
        conninfo = make_conninfo(**address.connection_parameters(place.ca_file or None, 0))
        try:
            connection = psycopg.connect(conninfo, autocommit=True)
        except psycopg.Error as error:
            raise of_connection(address, error) from error
        with connection, translated(address, f"database {place.name}: load the archive"):
            yield connection

    @property
    def _password(self) -> str:
        return self.environment.get("PGPASSWORD", "")

    def _step(self, name: str) -> AbstractContextManager[None]:
        return timed(name, self.progress, self.seconds)


@contextmanager
def _script_of(program: str, archive: Path) -> Iterator[IO[bytes]]:
    """What pg_restore makes of it; its failure shows when the context is left."""
    command = [program, "--no-owner", "--no-privileges", "--file=-", str(archive)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, pipesize=1 << 20
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            yield process.stdout
        except BaseException:
            process.kill()
            raise
        said = process.stderr.read()
        if status := process.wait():
            raise _unreadable(status, said)


def _unreadable(status: int, said: bytes) -> OperatorError:
    if status < 0:
        return Unavailable(
            "RestoreInterrupted", f"pg_restore was ended by signal {-status}; it is tried again."
        )
    return Refused(
        "ArchiveDamaged",
        f"pg_restore can't read the dump: {what_it_said(said)}. It is damaged, or a later version than the server's wrote "
        "it: make or upload it again.",
    )


async def load_archive(work: ArchiveWork) -> RestoreOutcome:
    """As a Job does it."""
    bucket = Bucket(BucketAddress.of(work.store, os.environ))
    return await ArchiveLoad(work, bucket, os.environ).run()


if __name__ == "__main__":
    sys.exit(run_job(ArchiveWork, load_archive))

"""Make one backup: ``python -m odoo_tenancy.jobs.backup``.

The order makes it one set, while Odoo works on. A snapshot of the database is exported and dumped; the files are stored
after it, as a file is written before the row that names it. What Odoo's garbage collection took away in between is found
by comparing, and then all is done again: the files of the first attempt were stored before the second dump, so that only
a file that came and went between two of them is still missing. Nothing counts before the manifest is written.

Exit status: 0 if all is well, else 1 with the reason in the termination message.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from odoo_tenancy.api.backup_work import DUMP, BackupOutcome, BackupWork
from odoo_tenancy.api.errors import Refused, Unavailable
from odoo_tenancy.api.manifest import (
    BackupManifest,
    DatabaseContents,
    FilestoreContents,
    StoredSnapshots,
)
from odoo_tenancy.api.observe import WriteHook
from odoo_tenancy.jobs import postgres_clients
from odoo_tenancy.jobs.database_snapshot import Counted, DatabaseSnapshot, NamedFiles, exported
from odoo_tenancy.jobs.entry import run_job
from odoo_tenancy.jobs.report import ProgressLines, timed
from odoo_tenancy.services.object_store import Bucket, BucketAddress
from odoo_tenancy.services.restic import CommandFailed, Repository, Snapshot

_SHOWN = 5
_MARKS = "checklist"
"""What Odoo's garbage collection keeps beside the files: names of those to look at, without content."""


@dataclass(frozen=True)
class StoredDatabase:
    """A dump in the repository, and what was seen in the snapshot that it was made of."""

    snapshot: Snapshot
    moment: datetime
    server_version: str
    modules: Mapping[str, str]
    counted: Counted
    named: NamedFiles


@dataclass
class _Attempts:
    """What all attempts stored so far."""

    number: int = 0
    uploaded: int = 0
    filestore: list[Snapshot] = field(default_factory=list)
    """Oldest first."""
    missing: frozenset[str] = frozenset()
    """Of the last one."""


class Backup:
    """One backup.

    Args:
        work: what is wanted.
        environment: restic's and pg_dump's, with ``PGPASSWORD`` and the store's credentials.
        bucket: where the manifest goes.
        progress: where to say how far it is.
        hook: called around each write.
        repository: instead of the one that ``work`` names.
    """

    def __init__(
        self,
        work: BackupWork,
        *,
        environment: Mapping[str, str],
        bucket: Bucket,
        progress: ProgressLines | None = None,
        hook: WriteHook | None = None,
        repository: Repository | None = None,
    ) -> None:
        self._work = work
        self._environment = environment
        self._password = environment.get("PGPASSWORD", "")
        self._bucket = bucket
        self._progress = progress or ProgressLines()
        without = {name: value for name, value in environment.items() if name != "PGPASSWORD"}
        cache = Path(work.cache) if work.cache else None
        self._repository = repository or Repository(
            work.repository, environment=without, cache=cache, hook=hook
        )
        self._tags = (work.about.backup,)
        self._steps: dict[str, float] = {}

    async def run(self) -> BackupOutcome:
        """Make it.

        Raises:
            OperatorError: it could not be made; nothing of it counts.
        """
        begun, started_at = time.monotonic(), datetime.now(UTC)
        attempts = _Attempts()
        while True:
            attempts.number += 1
            with self._step("database"):
                database = await self.store_database()
            attempts.uploaded += database.snapshot.uploaded_bytes
            with self._step("filestore"):
                files = await self.store_files()
            if files is not None:
                attempts.filestore.append(files)
                attempts.uploaded += files.uploaded_bytes
            elif database.named.paths:
                raise self._filestore_gone(database.named)
            with self._step("check"):
                missing, needed = await self._compare(database.named, attempts.filestore)
            if not missing:
                return await self._finish(database, needed, attempts, begun, started_at)
            self._give_up_on(missing, attempts)
            attempts.missing = missing

    def _step(self, name: str) -> AbstractContextManager[None]:
        return timed(name, self._progress, self._steps)

    async def store_database(self) -> StoredDatabase:
        """Dump one snapshot of the database, and read what it holds."""
        report = self._progress.of("database")
        async with exported(self._work.database, self._password) as snapshot:
            program = postgres_clients.program(
                "pg_dump", snapshot.server.major, self._environment.get("PATH")
            )
            modules = await snapshot.modules()
            named = await snapshot.named_files()
            size = await snapshot.size()
            dump = self._dump(program, snapshot, lambda done, _: report(done, max(done, size)))
            try:
                stored, counted = await _both(dump, snapshot.count())
            except CommandFailed:
                await snapshot.check_held()  # a server that restarted says more than pg_dump that was cut off
                raise
            return StoredDatabase(stored, snapshot.moment, snapshot.server.version, modules, counted, named)

    async def _dump(
        self, program: str, snapshot: DatabaseSnapshot, progress: Callable[[int, int], None]
    ) -> Snapshot:
        command = [
            program, "--format=custom", "--compress=0", f"--snapshot={snapshot.identifier}", "--no-password",
            "--lock-wait-timeout=60000",
        ]  # fmt: skip
        login = postgres_clients.environment(self._work.database, self._password)
        return await self._repository.backup_command(command, DUMP, self._tags, login, progress)

    async def store_files(self) -> Snapshot | None:
        """Store the filestore; ``None`` where there is none: Odoo makes it with the first file."""
        directory = Path(self._work.filestore)
        report = self._progress.of("filestore")
        if not await asyncio.to_thread(directory.is_dir):
            return None
        marks = str(directory / _MARKS)
        return await self._repository.backup_files(directory, self._tags, exclude=(marks,), progress=report)

    def _filestore_gone(self, named: NamedFiles) -> Refused:
        return Refused(
            "FilestoreGone",
            f"The database names {named.digest.files} files, and the directory {self._work.filestore} isn't there. Look"
            " at the volume; bring the files back from an earlier backup.",
        )

    async def _compare(
        self, named: NamedFiles, filestore: Sequence[Snapshot]
    ) -> tuple[frozenset[str], list[Snapshot]]:
        """What the database names and no snapshot has; and the snapshots that have it all, oldest first."""
        missing = set(named.paths)
        needed: list[Snapshot] = []
        for snapshot in reversed(filestore):
            if needed and not missing:
                break
            before = len(missing)
            await self._strike_out(missing, snapshot)
            if not needed or len(missing) < before:
                needed.insert(0, snapshot)
        return frozenset(missing), needed

    async def _strike_out(self, missing: set[str], snapshot: Snapshot) -> None:
        beginning = len(self._work.filestore.rstrip("/")) + 1
        async for file in self._repository.list_files(snapshot.id):
            missing.discard(file.path[beginning:])

    def _give_up_on(self, missing: frozenset[str], attempts: _Attempts) -> None:
        """Unless another attempt may help: what is missing twice over was not collected in between, but lost before."""
        names = ", ".join(sorted(missing)[:_SHOWN]) + (" …" if len(missing) > _SHOWN else "")
        directory = Path(self._work.filestore)
        if lost := [each for each in missing & attempts.missing if not (directory / each).exists()]:
            raise Refused(
                "AttachmentsLost",
                f"The database names {len(lost)} files that the filestore does not have ({names}), and did not have"
                " before this backup began. Bring them back from an earlier backup, or delete their attachments in"
                " Odoo (ir_attachment.store_fname).",
            )
        if attempts.number >= self._work.attempts:
            raise Unavailable(
                "AttachmentsMissing",
                f"In each of {attempts.number} attempts files that the database names were collected before they were"
                f" stored ({names}). It is tried again; a quieter hour helps.",
            )

    async def _finish(
        self,
        database: StoredDatabase,
        filestore: Sequence[Snapshot],
        attempts: _Attempts,
        begun: float,
        started_at: datetime,
    ) -> BackupOutcome:
        """Write the manifest: from here on the backup exists."""
        snapshots = StoredSnapshots(
            database=database.snapshot.id, filestore=tuple(each.id for each in filestore)
        )
        newest = filestore[-1] if filestore else None
        contents = FilestoreContents(files=newest.files if newest else 0, bytes=newest.bytes if newest else 0)
        key = self._work.manifest_key
        clock = await self._bucket.clock(key.rpartition("/")[0] + "/")
        manifest = self._manifest(database, contents, snapshots, attempts.uploaded, started_at, clock.store)
        text = manifest.model_dump_json(by_alias=True, indent=1).encode()
        stored = await self._bucket.put_document(key, text)
        return BackupOutcome(
            reason="Done",
            message=f"Stored {database.snapshot.bytes} bytes of database and {contents.files} files.",
            snapshots=snapshots,
            recovery_point=database.moment,
            database_bytes=database.snapshot.bytes,
            filestore_bytes=contents.bytes,
            filestore_files=contents.files,
            uploaded_bytes=attempts.uploaded,
            manifest_key=key,
            manifest_sha256=stored.sha256,
            seconds=round(time.monotonic() - begun, 1),
            steps=self._steps,
            attempts=attempts.number,
        )

    def _manifest(
        self,
        database: StoredDatabase,
        filestore: FilestoreContents,
        snapshots: StoredSnapshots,
        uploaded: int,
        started_at: datetime,
        store_clock: datetime,
    ) -> BackupManifest:
        about = self._work.about
        base = database.modules["base"].split(".")
        return BackupManifest(
            **about.model_dump(),
            repository=self._work.repository.path,
            recovery_point=database.moment,
            started_at=started_at,
            completed_at=datetime.now(UTC),
            store_clock=store_clock,
            odoo_series=".".join(base[:2]),
            database=DatabaseContents(
                server_version=database.server_version,
                modules=dict(database.modules),
                row_counts=dict(database.counted.rows),
                newest_record=database.counted.newest,
                attachments=database.named.digest,
                dump_bytes=database.snapshot.bytes,
            ),
            filestore=filestore,
            snapshots=snapshots,
            uploaded_bytes=uploaded,
        )


async def _both(
    dump: Coroutine[None, None, Snapshot], count: Coroutine[None, None, Counted]
) -> tuple[Snapshot, Counted]:
    """At the same time: counting reads what the dump reads, so the server reads it once. If one fails the other ends,
    and that failure is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            dumping, counting = group.create_task(dump), group.create_task(count)
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from failed
    return dumping.result(), counting.result()


async def make(work: BackupWork) -> BackupOutcome:
    """As a Job does it. With a cache of its own, unless it has one: what restic has just stored it need not fetch again
    to compare it."""
    bucket = Bucket(BucketAddress.of(work.repository.store, os.environ))
    with tempfile.TemporaryDirectory() as cache:
        work = work.model_copy(update={"cache": work.cache or cache})
        return await Backup(work, environment=os.environ, bucket=bucket).run()


if __name__ == "__main__":
    sys.exit(run_job(BackupWork, make))

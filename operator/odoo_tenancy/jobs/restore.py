"""Lay a backup beside what lives: ``python -m odoo_tenancy.jobs.restore``.

Database and files are restored at once, into a new database and a new folder, and compared with the manifest. Nothing
that lives is touched, and nothing is swapped: the outcome says what is ready, and the operator renames it. Killed
anywhere, the Job begins again where it can; done already, it only compares again.

Exit status: 0 only if all is ready; the outcome is in the termination message.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from odoo_tenancy.api.errors import OperatorError, Refused
from odoo_tenancy.api.observe import WriteHook
from odoo_tenancy.api.restore_work import RestoreFigures, RestoreOutcome, RestoreWork
from odoo_tenancy.api.work import DONE
from odoo_tenancy.jobs.entry import run_job
from odoo_tenancy.jobs.report import ProgressLines, timed
from odoo_tenancy.jobs.restored_database import RestoredContents, RestoredDatabase
from odoo_tenancy.jobs.restored_filestore import RestoredFiles, release, restore_files
from odoo_tenancy.jobs.stored_backup import StoredBackup, open_backup
from odoo_tenancy.services.object_store import Bucket, BucketAddress
from odoo_tenancy.services.restic import Repository


@dataclass
class Restore:
    """One restore."""

    work: RestoreWork
    repository: Repository
    bucket: Bucket
    environment: Mapping[str, str] = field(repr=False)
    progress: ProgressLines = field(default_factory=ProgressLines)
    hook: WriteHook | None = None
    seconds: dict[str, float] = field(default_factory=dict)

    async def run(self) -> RestoreOutcome:
        """What is ready then, or why it isn't."""
        try:
            contents, files = await self._restore()
        except OperatorError as error:
            return RestoreOutcome(
                reason=error.reason,
                message=f"Backup {self.work.backup}: {error.message}",
                again=not isinstance(error, Refused),
                result="Failed",
                figures=RestoreFigures(seconds=self.seconds),
            )
        return RestoreOutcome(
            reason=DONE,
            message=f"Backup {self.work.backup} lies ready in database {self.work.database.name} and folder "
            f"{self.work.folder}.",
            result="Ready",
            database=self.work.database.name,
            folder=self.work.folder,
            figures=RestoreFigures(
                seconds=self.seconds,
                tables=contents.tables,
                rows=contents.rows,
                files=len(files.good),
                bytes=files.bytes,
            ),
        )

    async def _restore(self) -> tuple[RestoredContents, RestoredFiles]:
        with self._step("manifest"):
            backup = await open_backup(
                self.repository, self.bucket, self.work.manifest_key, self.work.manifest_sha256
            )
        contents, files = await _both(self._database(backup), self._files(backup))
        files.check(contents.files.paths)
        await asyncio.to_thread(release, files.folder)
        return contents, files

    async def _database(self, backup: StoredBackup) -> RestoredContents:
        database = RestoredDatabase(self.work.database, self.environment, self.work.restore, self.hook)
        with self._step("database"):
            return await database.restore(
                self.repository,
                backup,
                Path(self.work.scratch),
                self.work.parallel,
                self.progress.of("database"),
            )

    async def _files(self, backup: StoredBackup) -> RestoredFiles:
        folder = Path(self.work.filestores) / self.work.folder
        with self._step("filestore"):
            return await restore_files(
                self.repository,
                backup.filestore,
                folder,
                self.work.restore,
                self.progress.of("filestore"),
                self.hook,
            )

    def _step(self, name: str) -> AbstractContextManager[None]:
        return timed(name, self.progress, self.seconds)


async def _both(database: Any, files: Any) -> tuple[RestoredContents, RestoredFiles]:
    """At once; the first that fails ends the other, and its error is the one that is told."""
    tasks = [asyncio.ensure_future(database), asyncio.ensure_future(files)]
    try:
        contents, restored = await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return contents, restored


async def restore(work: RestoreWork) -> RestoreOutcome:
    """As a Job does it."""
    without = {name: value for name, value in os.environ.items() if name != "PGPASSWORD"}
    repository = Repository(work.repository, environment=without)
    bucket = Bucket(BucketAddress.of(work.repository.store, os.environ))
    return await Restore(work, repository, bucket, os.environ).run()


if __name__ == "__main__":
    sys.exit(run_job(RestoreWork, restore))

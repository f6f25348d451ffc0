"""Look at one stored backup from the store alone: ``python -m odoo_tenancy.jobs.verify``.

In a new pod, without a cache: what is read is what a restore would read. A backup that fails says by its reason what is
wrong; that the store could not be asked says nothing of the backup.

Exit status: 0 only if it passed; the outcome is in the termination message.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from odoo_tenancy.api.backup_work import DUMP
from odoo_tenancy.api.errors import OperatorError, Refused
from odoo_tenancy.api.observe import WriteHook
from odoo_tenancy.api.verify_work import VerifyFigures, VerifyOutcome, VerifyWork
from odoo_tenancy.api.work import DONE
from odoo_tenancy.jobs import postgres_clients, proven
from odoo_tenancy.jobs.database_snapshot import path_of
from odoo_tenancy.jobs.dump_reader import read_dump
from odoo_tenancy.jobs.dump_script import DumpContents
from odoo_tenancy.jobs.entry import run_job
from odoo_tenancy.jobs.filestore_proof import FilestoreProof, prove
from odoo_tenancy.jobs.manifest_comparison import attachments_of, compare_attachments, compare_rows
from odoo_tenancy.jobs.report import ProgressLines, timed
from odoo_tenancy.jobs.restored_database import RestoredDatabase
from odoo_tenancy.jobs.stored_backup import StoredBackup, open_backup
from odoo_tenancy.services.object_store import Bucket, BucketAddress
from odoo_tenancy.services.restic import Repository

_FINDINGS = frozenset(
    {
        "AttachmentsDiffer", "DumpUnreadable", "FileChanged", "FileMissing", "FilestoreUnreadable", "ManifestChanged",
        "ManifestMissing", "ManifestUnreadable", "ModulesDiffer", "NotAnOdooDatabase", "RepositoryDamaged",
        "RepositoryMissing", "RepositoryPasswordWrong", "RestoreFailed", "RowsDiffer", "SnapshotMissing",
    }
)  # fmt: skip
"""What is wrong with a backup. Every other reason says that it could not be looked at."""


@dataclass
class Verification:
    """One look at one backup."""

    work: VerifyWork
    repository: Repository
    bucket: Bucket
    environment: Mapping[str, str] = field(repr=False)
    progress: ProgressLines = field(default_factory=ProgressLines)
    hook: WriteHook | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    _figures: VerifyFigures = field(default_factory=VerifyFigures)

    async def run(self) -> VerifyOutcome:
        """Everything that the level asks for; whatever comes out of it."""
        try:
            await self._look()
        except OperatorError as error:
            return self._outcome(
                reason=error.reason,
                message=f"Backup {self.work.backup}: {error.message}",
                again=not isinstance(error, Refused),
                result="Failed" if error.reason in _FINDINGS else "Error",
            )
        return self._outcome(
            reason=DONE,
            message=f"Backup {self.work.backup} passed at level {self.work.level}.",
            result="Passed",
        )

    def _outcome(self, **fields: object) -> VerifyOutcome:
        figures = self._figures.model_copy(update={"seconds": self.seconds})
        return VerifyOutcome.model_validate({"level": self.work.level, "figures": figures, **fields})

    async def _look(self) -> None:
        with self._step("manifest"):
            backup = await open_backup(
                self.repository, self.bucket, self.work.manifest_key, self.work.manifest_sha256
            )
        with self._step("integrity"):
            await self._integrity()
        if self.work.level == "Integrity":
            return
        with self._step("consistency"):
            await self._consistency(backup)
        if self.work.level == "Restore":
            with self._step("restore"):
                await self._restore(backup)

    async def _integrity(self) -> None:
        checked = await self.repository.check(self.work.read_data_percent)
        if not checked.sound:
            raise Refused(
                "RepositoryDamaged",
                f"restic finds {checked.errors} errors in the repository {self.repository.place.path}: "
                f"{' | '.join(checked.messages) or 'it said nothing'}. Objects in the store are damaged or gone: bring "
                "back their earlier versions, see the runbook of a damaged repository.",
            )

    async def _consistency(self, backup: StoredBackup) -> None:
        """Dump and files are read at once; what is wrong with the dump is said first, as it says more."""
        dump, proof = await asyncio.gather(self._dump(backup), self._files(backup), return_exceptions=True)
        for each in (dump, proof):
            if isinstance(each, BaseException):
                raise each
        assert isinstance(dump, DumpContents)
        assert isinstance(proof, FilestoreProof)
        proof.check({path_of(name) for name in dump.stored_files})

    async def _dump(self, backup: StoredBackup) -> DumpContents:
        expected = backup.manifest.database
        major = int(expected.server_version.partition(".")[0])
        program = postgres_clients.program("pg_restore", major, self.environment.get("PATH"))
        snapshot = backup.database
        contents = await read_dump(
            lambda into: self.repository.dump_into(snapshot.id, f"/{DUMP}", into), program
        )
        self._found(
            tables=len(contents.row_counts),
            rows=contents.rows,
            dump_bytes=snapshot.bytes,
            files=len(contents.stored_files),
        )
        compare_rows(expected.row_counts, contents.row_counts, "The dump")
        compare_attachments(expected.attachments, attachments_of(contents.stored_files), "The dump")
        return contents

    async def _files(self, backup: StoredBackup) -> FilestoreProof:
        known = await proven.load(self.bucket, self.work.ledger_key)
        scratch = Path(self.work.scratch)
        proof = await prove(self.repository, backup.filestore, known, backup.others, scratch)
        self._found(files_read=proof.files_read, bytes_read=proof.bytes_read)
        if proof.known != known:
            await proven.save(self.bucket, self.work.ledger_key, proof.known)
        return proof

    async def _restore(self, backup: StoredBackup) -> None:
        if self.work.database is None:
            raise Refused("WorkIncomplete", "Level Restore needs a scratch database, and none was named.")
        database = RestoredDatabase(self.work.database, self.environment, self._id, self.hook)
        report = self.progress.of("restore")
        await database.restore(self.repository, backup, Path(self.work.scratch), self.work.parallel, report)
        await database.new.clear()

    @property
    def _id(self) -> str:
        return f"verification of {self.work.manifest_sha256}"

    def _found(self, **figures: int) -> None:
        self._figures = self._figures.model_copy(update=figures)

    def _step(self, name: str) -> AbstractContextManager[None]:
        return timed(name, self.progress, self.seconds)


async def verify(work: VerifyWork) -> VerifyOutcome:
    """As a Job does it."""
    without = {name: value for name, value in os.environ.items() if name != "PGPASSWORD"}
    repository = Repository(work.repository, environment=without)
    bucket = Bucket(BucketAddress.of(work.repository.store, os.environ))
    return await Verification(work, repository, bucket, os.environ).run()


if __name__ == "__main__":
    sys.exit(run_job(VerifyWork, verify))

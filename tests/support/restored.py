"""What a stored backup holds: restored by the Job that a restore has, into a database and a folder that nobody uses, and
read; and what a tenant holds, read in the same way."""

from __future__ import annotations

import hashlib
import secrets
import shutil
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from psycopg import sql
from tests.support.postgres import PostgresProcess

from odoo_tenancy.api.restore_work import RestoreWork
from odoo_tenancy.api.work import DatabasePlace, RepositoryPlace
from odoo_tenancy.jobs.restore import Restore
from odoo_tenancy.services.object_store import Bucket, BucketAddress
from odoo_tenancy.services.restic import Repository

_TABLES = """
SELECT schemaname, tablename FROM pg_tables WHERE schemaname NOT LIKE 'pg\\_%' AND schemaname <> 'information_schema'
"""


@dataclass(frozen=True)
class Held:
    """Every row of every table, as text, and the SHA-1 of every file of a filestore, whatever its name says."""

    rows: Mapping[str, Counter[str]]
    files: Mapping[str, str]


def held(postgres: PostgresProcess, database: str, filestore: Path) -> Held:
    """What is there now."""
    rows = {}
    with postgres.superuser(database) as connection:
        for table in connection.execute(_TABLES.encode()).fetchall():
            name = sql.Identifier(*map(str, table))
            found = connection.execute(sql.SQL("SELECT t::text FROM {} t").format(name)).fetchall()
            rows[".".join(map(str, table))] = Counter(str(row) for (row,) in found)
    return Held(rows, files_of(filestore))


def files_of(filestore: Path) -> dict[str, str]:
    """But for the marks of Odoo's garbage collection, which have no content."""
    return {
        str(path.relative_to(filestore)): hashlib.sha1(path.read_bytes(), usedforsecurity=False).hexdigest()
        for path in filestore.glob("??/*")
    }


@dataclass(frozen=True)
class StoredAt:
    """A tenant's repository, and a server on which it may be restored.

    Args:
        environment: restic's, with the store's credentials and the superuser's ``PGPASSWORD``.
    """

    place: RepositoryPlace
    environment: Mapping[str, str]
    postgres: PostgresProcess

    @property
    def repository(self) -> Repository:
        return Repository(self.place, environment=self.environment)

    @property
    def bucket(self) -> Bucket:
        return Bucket(BucketAddress.of(self.place.store, self.environment))

    def database_place(self, name: str) -> DatabasePlace:
        """As superuser."""
        ca_file = str(self.postgres.directory / "ca.crt")
        host = self.postgres.host
        return DatabasePlace(host=host, port=self.postgres.port, user="postgres", name=name, ca_file=ca_file)

    async def restored(self, manifest_key: str, sha256: str = "") -> Held:
        """What the backup of that manifest holds. Everything that was made for it is gone again."""
        name = f"restored_{secrets.token_hex(6)}"
        folder = Path(tempfile.mkdtemp(prefix="restored-"))
        (folder / "scratch").mkdir()
        self._say(f'CREATE DATABASE "{name}" TEMPLATE template0')
        work = RestoreWork(
            restore=name, backup=manifest_key, repository=self.place, manifest_key=manifest_key,
            manifest_sha256=sha256, database=self.database_place(name), filestores=str(folder / "filestore"),
            folder=name, scratch=str(folder / "scratch"),
        )  # fmt: skip
        try:
            done = await Restore(work, self.repository, self.bucket, self.environment).run()
            assert done.reason == "Done", done.message
            return held(self.postgres, name, folder / "filestore" / name)
        finally:
            self._say(f'DROP DATABASE "{name}" WITH (FORCE)')
            shutil.rmtree(folder)

    def _say(self, statement: str) -> None:
        with self.postgres.superuser() as connection:
            connection.execute(statement.encode())

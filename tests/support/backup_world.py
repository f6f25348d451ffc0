"""A tenant as a backup sees it: a database like Odoo's, its filestore, a bucket, a repository; and real backups of it."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from tests.support.postgres import PostgresProcess
from tests.support.restic import environment as restic_environment
from tests.support.s3 import LOCKED, REGION, S3Process

from odoo_tenancy.api.backup_work import BackupOutcome, BackupWork, Circumstances
from odoo_tenancy.api.verify_work import VerificationLevel, VerifyWork, proven_key
from odoo_tenancy.api.work import DatabasePlace, RepositoryPlace, StorePlace
from odoo_tenancy.jobs.backup import Backup
from odoo_tenancy.services.object_store import Bucket, BucketAddress
from odoo_tenancy.services.restic import Repository

LIKE_ODOO = """
CREATE TABLE ir_module_module (id serial PRIMARY KEY, name varchar, state varchar, latest_version varchar);
INSERT INTO ir_module_module (name, state, latest_version) VALUES
    ('base', 'installed', '19.0.1.3'), ('web', 'installed', '19.0.1.0'), ('sale', 'uninstalled', NULL);
CREATE TABLE ir_attachment (id serial PRIMARY KEY, name varchar, store_fname varchar, index_content text,
    write_date timestamp DEFAULT (now() AT TIME ZONE 'UTC'));
CREATE TABLE res_partner (id serial PRIMARY KEY, name varchar, parent_id int REFERENCES res_partner,
    write_date timestamp DEFAULT (now() AT TIME ZONE 'UTC'));
INSERT INTO res_partner (name) SELECT 'partner ' || n || E'\\n\\t\\\\ COPY public.x (y) FROM stdin;'
    FROM generate_series(1, 500) n;
CREATE INDEX ON res_partner (name);
CREATE VIEW partners AS SELECT name FROM res_partner;
CREATE FUNCTION twice(n int) RETURNS int LANGUAGE sql AS $$
/*
COPY public.never (x) FROM stdin;
*/
SELECT n * 2 $$;
CREATE TYPE mood AS ENUM ('good', 'bad');
CREATE SCHEMA "Odd Schema";
CREATE TABLE "Odd Schema"."a ""table"" here" (x int);
INSERT INTO "Odd Schema"."a ""table"" here" VALUES (1), (2);
"""


@dataclass
class BackupWorld:
    """One tenant, and where it is backed up."""

    postgres: PostgresProcess
    s3: S3Process
    folder: Path
    claim: str = field(default_factory=lambda: secrets.token_hex(16))

    @property
    def database(self) -> str:
        return f"t_{self.claim}"

    @property
    def filestore(self) -> Path:
        return self.folder / "filestore" / self.database

    @property
    def prefix(self) -> str:
        return f"eu/{self.claim}"

    @property
    def scratch(self) -> Path:
        scratch = self.folder / "scratch"
        scratch.mkdir(exist_ok=True)
        return scratch

    @property
    def environment(self) -> dict[str, str]:
        return restic_environment(PGPASSWORD=self.postgres.superuser_password, **self.s3.root.environment)

    @property
    def password_file(self) -> Path:
        """Of the repository."""
        file = self.folder / "repository-password"
        if not file.exists():
            file.write_text(secrets.token_hex(16))
        return file

    @property
    def place(self) -> RepositoryPlace:
        store = StorePlace(
            endpoint=self.s3.endpoint, region=REGION, bucket=LOCKED, ca_file=str(self.s3.ca_file)
        )
        return RepositoryPlace(
            store=store, path=f"{self.prefix}/restic", password_file=str(self.password_file)
        )

    @property
    def repository(self) -> Repository:
        return Repository(self.place, environment=self.environment)

    @property
    def bucket(self) -> Bucket:
        return Bucket(BucketAddress.of(self.place.store, self.environment))

    @property
    def superuser_dsn(self) -> str:
        """Of the tenant's database."""
        return self.postgres.superuser_dsn.replace("dbname=postgres", f"dbname={self.database}")

    def database_place(self, name: str = "", user: str = "postgres") -> DatabasePlace:
        return DatabasePlace(
            host="localhost",
            port=self.postgres.port,
            user=user,
            name=name or self.database,
            ca_file=str(self.postgres.directory / "ca.crt"),
        )

    def connect(self, name: str = "") -> psycopg.Connection[tuple[object, ...]]:
        return self.postgres.superuser(name or self.database)

    def create_database(self, name: str) -> None:
        with self.postgres.superuser() as connection:
            connection.execute(f'CREATE DATABASE "{name}" TEMPLATE template0'.encode())

    def attach(self, content: bytes) -> Path:
        """As Odoo does: the file, then the row."""
        digest = hashlib.sha1(content, usedforsecurity=False).hexdigest()
        file = self.filestore / digest[:2] / digest
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        with self.connect() as connection:
            connection.execute(
                "INSERT INTO ir_attachment (name, store_fname, index_content) VALUES ('file', %s, %s)",
                [f"{digest[:2]}/{digest}", "some\ttext\\n"],
            )
        return file

    def make(self, files: int = 40) -> None:
        """Database and files."""
        self.create_database(self.database)
        with self.connect() as connection:
            connection.execute(LIKE_ODOO.encode())
        for number in range(files):
            self.attach(f"file {number} ".encode() * (number + 1) * 20)
        (self.filestore / "checklist" / "ab").mkdir(parents=True)
        (self.filestore / "checklist" / "ab" / "ab12").touch()
        assert self.password_file.exists()

    def move_on(self) -> None:
        """The same tenant with another identity: where it is backed up now, nothing is stored yet."""
        before, filestore, self.claim = self.database, self.filestore, secrets.token_hex(16)
        with self.postgres.superuser() as connection:
            connection.execute(f'ALTER DATABASE "{before}" RENAME TO "{self.database}"'.encode())
        filestore.rename(self.filestore)

    def backup_work(self, name: str = "acme-1") -> BackupWork:
        return BackupWork(
            repository=self.place,
            database=self.database_place(),
            filestore=str(self.filestore),
            manifest_key=f"{self.prefix}/manifests/{name}.json",
            about=Circumstances(
                backup=name,
                namespace="tenants",
                tenant="acme",
                claim=self.claim,
                reason="OnDemand",
                policy="gold",
            ),
        )

    async def backup(self, name: str = "acme-1") -> BackupOutcome:
        work = self.backup_work(name)
        return await Backup(work, environment=self.environment, bucket=self.bucket).run()

    async def with_other_snapshots(
        self, made: BackupOutcome, change: Mapping[str, str | tuple[str, ...]]
    ) -> BackupOutcome:
        """As if the backup's manifest had named these."""
        assert made.snapshots is not None
        return await self.with_other_manifest(
            made, lambda m: m["snapshots"].update({name: _plain(value) for name, value in change.items()})
        )

    async def with_other_manifest(self, made: BackupOutcome, change: Callable[[Any], None]) -> BackupOutcome:
        """As if the backup had written another manifest, with a checksum that fits."""
        document = await self.bucket.get_document(made.manifest_key)
        assert document is not None
        manifest = json.loads(document.content)
        change(manifest)
        written = await self.bucket.put_document(made.manifest_key, json.dumps(manifest).encode())
        return made.model_copy(update={"manifest_sha256": written.sha256})

    def verify_work(
        self, made: BackupOutcome, level: VerificationLevel = "Consistency", percent: int = 100
    ) -> VerifyWork:
        return VerifyWork(
            backup="acme-1",
            level=level,
            read_data_percent=percent,
            repository=self.place,
            manifest_key=made.manifest_key,
            manifest_sha256=made.manifest_sha256,
            ledger_key=proven_key("eu", self.claim),
            scratch=str(self.scratch),
        )


def _plain(value: str | tuple[str, ...]) -> str | list[str]:
    return list(value) if isinstance(value, tuple) else value


@contextmanager
def backup_world(postgres: PostgresProcess, s3: S3Process, folder: Path) -> Iterator[BackupWorld]:
    """A new tenant on servers that many share; its databases are gone afterwards."""
    world = BackupWorld(postgres, s3, folder)
    try:
        yield world
    finally:
        with postgres.superuser() as connection:
            names = connection.execute(
                "SELECT datname FROM pg_database WHERE datname LIKE 't\\_%'"
            ).fetchall()
            for (name,) in names:
                connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())

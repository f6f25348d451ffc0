"""Backups in tests: work for a Job on real servers, and what a backup must hold to be one."""

from __future__ import annotations

import asyncio
import re
import secrets
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support import restic
from tests.support.postgres import PostgresProcess
from tests.support.s3 import LOCKED, REGION, S3Process
from tests.support.small_odoo import SmallOdoo

from odoo_tenancy.api.backup_work import DUMP, BackupOutcome, BackupWork, Circumstances
from odoo_tenancy.api.manifest import BackupManifest
from odoo_tenancy.api.work import DatabasePlace, RepositoryPlace, StorePlace
from odoo_tenancy.services.object_store import Bucket, BucketAddress
from odoo_tenancy.services.restic import Repository


@dataclass(frozen=True)
class Storage:
    """A tenant's part of a bucket."""

    s3: S3Process
    prefix: str
    folder: Path
    bucket_name: str = LOCKED

    @classmethod
    def new(cls, s3: S3Process, folder: Path, bucket: str = LOCKED) -> Storage:
        """A place that nobody has used, and a tenant's key."""
        storage = cls(s3, f"eu/{secrets.token_hex(16)}", folder, bucket)
        storage.key("tenant.key")
        return storage

    def key(self, name: str) -> Path:
        """A file with a new password."""
        path = self.folder / name
        path.touch(0o600)
        path.write_text(secrets.token_hex(32))
        return path

    @property
    def place(self) -> RepositoryPlace:
        store = StorePlace(
            endpoint=self.s3.endpoint, region=REGION, bucket=self.bucket_name, ca_file=str(self.s3.ca_file)
        )
        return RepositoryPlace(
            store=store, path=f"{self.prefix}/restic", password_file=str(self.folder / "tenant.key")
        )

    @property
    def environment(self) -> dict[str, str]:
        return restic.environment(**self.s3.root.environment)

    @property
    def bucket(self) -> Bucket:
        return Bucket(BucketAddress.of(self.place.store, self.environment))

    def repository(self, **options: object) -> Repository:
        return Repository(self.place, environment=self.environment, **options)  # type: ignore[arg-type]


def postgres_programs(postgres: PostgresProcess, folder: Path) -> Path:
    """A directory with the version's own clients, wherever they run."""
    folder.mkdir(exist_ok=True)
    for name in ("pg_dump", "pg_restore"):
        words = " ".join(f"'{word}'" if "'" not in word else _quoted(word) for word in postgres.program(name))
        (folder / name).write_text(f'#!/bin/sh\nexec {words} "$@"\n')
        (folder / name).chmod(0o755)
    return folder


def _quoted(word: str) -> str:
    return "'" + word.replace("'", "'\\''") + "'"


def backup_work(odoo: SmallOdoo, storage: Storage, name: str = "acme-x7k2p", **further: object) -> BackupWork:
    """As the operator would write it."""
    about = Circumstances(
        backup=name, namespace="tenants", tenant="acme", claim=storage.prefix.rpartition("/")[2],
        reason="OnDemand", policy="gold", recovery_keys=("2026a",), image="odoo@sha256:0",
        odoo_conf="[options]\n", secrets=("gold-s3",),
    )  # fmt: skip
    database = DatabasePlace(
        host=odoo.postgres.host, port=odoo.postgres.port, user=odoo.user, name=odoo.name,
        ca_file=str(odoo.postgres.directory / "ca.crt"),
    )  # fmt: skip
    return BackupWork(
        repository=storage.place, database=database, filestore=str(odoo.filestore),
        manifest_key=f"{storage.prefix}/manifests/{name}.json", about=about, **further,  # type: ignore[arg-type]
    )  # fmt: skip


def job_environment(odoo: SmallOdoo, storage: Storage) -> dict[str, str]:
    """What the Job has."""
    programs = postgres_programs(odoo.postgres, storage.folder / "programs")
    given = storage.environment
    return {**given, "PATH": f"{programs}:{given['PATH']}", "PGPASSWORD": odoo.password}


async def manifest_of(outcome: BackupOutcome, storage: Storage) -> BackupManifest:
    """As whoever restores reads it: with its checksum."""
    document = await storage.bucket.get_document(outcome.manifest_key, sha256=outcome.manifest_sha256)
    assert document is not None
    return BackupManifest.model_validate_json(document.content)


@dataclass(frozen=True)
class Contents:
    """What is stored, read out of the store and out of the dump itself."""

    rows: Mapping[str, int]
    named: frozenset[str]
    """By rows of the dump."""
    files: frozenset[str]
    """Of the filestore's snapshots together."""

    @property
    def missing(self) -> frozenset[str]:
        return self.named - self.files


async def contents(odoo: SmallOdoo, storage: Storage, database: str, filestore: tuple[str, ...]) -> Contents:
    """Look into snapshots."""
    repository = storage.repository()
    with _folder_for_all(odoo.postgres.directory) as folder:
        dump = folder / "dump"
        with dump.open("wb") as target:
            await repository.dump_into(database, f"/{DUMP}", target.fileno())
        said = await asyncio.to_thread(_script_of, odoo.postgres, dump)
    files = set()
    for snapshot in filestore:
        async for stored in repository.list_files(snapshot):
            files.add(stored.path.removeprefix(f"{odoo.filestore}/"))
    rows, named = _read(said)
    return Contents(rows, named, frozenset(files))


@contextmanager
def _folder_for_all(parent: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=parent) as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def _script_of(postgres: PostgresProcess, dump: Path) -> str:
    dump.chmod(0o644)
    command = postgres.program("pg_restore", "--data-only", "--file=-", str(dump))
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _read(script: str) -> tuple[dict[str, int], frozenset[str]]:
    rows: dict[str, int] = {}
    named: set[str] = set()
    for table, columns, data in re.findall(
        r"^COPY (\S+) \(([^)]*)\) FROM stdin;\n(.*?)^\\\.$", script, re.MULTILINE | re.DOTALL
    ):
        lines = data.splitlines()
        rows[table] = len(lines)
        if table == "public.ir_attachment":
            at = columns.split(", ").index("store_fname")
            # Those that lie in the database, or elsewhere by URL, have none.
            named = {line.split("\t")[at] for line in lines} - {r"\N", ""}
    return rows, frozenset(named)

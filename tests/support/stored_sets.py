"""Backups in a repository as maintenance finds them, of any age, without a database: snapshots and a manifest."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.support.backups import Storage
from tests.support.waiting import eventually

from odoo_tenancy.api.maintain_work import (
    ForgottenBackups,
    KeepRules,
    KnownBackup,
    MaintainOutcome,
    MaintainWork,
)
from odoo_tenancy.api.manifest import (
    Attachments,
    BackupManifest,
    DatabaseContents,
    FilestoreContents,
    StoredSnapshots,
)
from odoo_tenancy.jobs.maintain import maintain

NOW = datetime.now(UTC).replace(microsecond=0)


@dataclass
class Sets:
    """A repository, its backups, and what the operator would know of them."""

    storage: Storage
    known: dict[str, KnownBackup] = field(default_factory=dict)
    snapshots: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def claim(self) -> str:
        return self.storage.prefix.rpartition("/")[2]

    def key(self, name: str) -> str:
        return f"{self.storage.prefix}/manifests/{name}.json"

    async def make(self, name: str, age: timedelta, **known: bool) -> None:
        """A backup of two snapshots: they are made now, its recovery point is older."""
        made = []
        for part in ("database", "filestore"):
            folder = self.storage.folder / part
            folder.mkdir(exist_ok=True)
            (folder / "content").write_bytes(f"{part} of {name}".encode() + os.urandom(20_000))
            made.append((await self.storage.repository().backup_files(folder, [name])).id)
        self.snapshots[name] = tuple(made)
        content = self.manifest(name, NOW - age, *made).model_dump_json(by_alias=True).encode()
        written = await self.storage.bucket.put_document(self.key(name), content)
        self.known[name] = KnownBackup(sha256=written.sha256, **{"verified": True, **known})

    def manifest(self, name: str, point: datetime, database: str, *files: str) -> BackupManifest:
        attachments = Attachments(files=0, digest="")
        contents = DatabaseContents(
            server_version="17.6", modules={}, row_counts={}, attachments=attachments, dump_bytes=1
        )
        return BackupManifest(
            backup=name, namespace="tenants", tenant="acme", claim=self.claim, reason="Scheduled",
            repository=self.storage.place.path, policy="gold", recovery_keys=(), recovery_point=point,
            started_at=point, completed_at=point, store_clock=point, image="odoo", database=contents,
            filestore=FilestoreContents(files=1, bytes=1),
            snapshots=StoredSnapshots(database=database, filestore=files), uploaded_bytes=1,
        )  # fmt: skip

    def work(self, keep: Mapping[str, int], **more: object) -> MaintainWork:
        return MaintainWork(
            repository=self.storage.place, prefix="eu", claim=self.claim, keep=KeepRules(**keep),  # type: ignore[arg-type]
            backups=self.known, **more,  # type: ignore[arg-type]
        )  # fmt: skip

    async def maintain(self, keep: Mapping[str, int], **more: object) -> MaintainOutcome:
        return await maintain(
            self.work(keep, **more), environment=self.storage.environment, bucket=self.storage.bucket
        )

    async def names(self) -> set[str]:
        """Of the manifests that are there."""
        folder = f"{self.storage.prefix}/manifests/"
        found = [each.key async for each in self.storage.bucket.objects(folder)]
        return {key.removeprefix(folder).removesuffix(".json") for key in found}

    async def check_whole(self, *names: str) -> None:
        """These backups and no others are there, each with all of its snapshots, and all data can be read."""
        assert await self.names() == set(names)
        wanted = {identifier for name in names for identifier in self.snapshots[name]}
        assert {each.id for each in await self.storage.repository().snapshots()} == wanted
        assert (await self.storage.repository().check(100)).sound
        assert await self.storage.repository().locks() == ()

    async def forgotten(self) -> dict[str, str]:
        """As the operator reads it."""
        document = await self.storage.bucket.get_document(f"eu/ledgers/{self.claim}.forgotten.json")
        return ForgottenBackups.model_validate_json(document.content).backups if document else {}

    def without(self, name: str, **known: bool) -> None:
        """The operator knows something else of it from now on."""
        self.known[name] = self.known[name].model_copy(update=known)

    def restic(self, *words: str) -> subprocess.Popen[bytes]:
        """restic itself, beside us."""
        place = self.storage.place
        command = [
            "restic", "--repo", f"s3:{place.store.endpoint}/{place.store.bucket}/{place.path}", "--no-cache",
            "--password-file", place.password_file, "--cacert", place.store.ca_file, *words,
        ]  # fmt: skip
        return subprocess.Popen(
            command, env=self.storage.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    async def killed_with_a_lock(self, *words: str) -> None:
        """restic is killed as soon as it has locked the repository."""
        process, client = self.restic(*words), self.storage.s3.client()
        where = {"Bucket": self.storage.bucket_name, "Prefix": f"{self.storage.place.path}/locks/"}

        def locked() -> bool:
            process.send_signal(signal.SIGSTOP)
            found = bool(client.list_objects_v2(**where).get("Contents"))
            if not found:
                assert process.poll() is None, "it ended before it was killed"
                process.send_signal(signal.SIGCONT)
                time.sleep(0.01)  # its turn
            return found

        eventually(locked, lambda: "it locks the repository")
        process.kill()
        process.wait()

    def somewhere_else(self, bucket: str) -> Sets:
        return replace(self, storage=replace(self.storage, bucket_name=bucket))


def new_sets(storage: Storage) -> Sets:
    """Nothing is stored yet."""
    return Sets(storage)


def a_file(folder: Path) -> Path:
    """Something to store."""
    path = folder / "something"
    path.write_bytes(os.urandom(1000))
    return path

"""One bucket: documents, lists, versions, locks. The one place from which the operator itself reads and writes it; what
is in repositories is restic's."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, TypeVar

from odoo_tenancy.api.observe import NoHook, WriteHook
from odoo_tenancy.services.object_store import errors, protection
from odoo_tenancy.services.object_store.address import BucketAddress
from odoo_tenancy.services.object_store.connection import Connection
from odoo_tenancy.services.object_store.protection import Protection
from odoo_tenancy.services.object_store.stored import (
    Clocks,
    Document,
    Mode,
    Removal,
    Retention,
    StoredObject,
    StoredUpload,
    StoredVersion,
)
from odoo_tenancy.services.object_store.version_ids import time_of_ulid

T = TypeVar("T")
Answer = Mapping[str, Any]

LARGEST_DOCUMENT = 64 * 2**20
"""Bytes. What is larger is none of ours: a manifest has some hundred kilobytes."""
_MODES: dict[str, Mode] = {"GOVERNANCE": "Governance", "COMPLIANCE": "Compliance"}


def _utc() -> datetime:
    return datetime.now(UTC)


class Bucket:
    """Concurrent calls are fine. Every method raises the errors of ``errors.py``.

    Args:
        hook: called around each write.
        now: our clock, for :meth:`clock`.
    """

    def __init__(
        self, address: BucketAddress, hook: WriteHook | None = None, *, now: Callable[[], datetime] = _utc
    ) -> None:
        self.address = address
        self.name = address.bucket
        self._hook = hook or NoHook()
        self._now = now
        self._connection = Connection(address, "s3")

    def close(self) -> None:
        """End what is idle."""
        self._connection.close()

    # --- Documents ----------------------------------------------------------------------------------------------------

    async def put_document(self, key: str, content: bytes, retention: Retention | None = None) -> Document:
        """Write it, locked at once where a retention is given; without one the bucket's default holds."""
        # AWS takes nothing with a lock without a checksum, and this is the one that every store knows.
        md5 = base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode()
        arguments: dict[str, Any] = {"ContentMD5": md5, "ContentType": "application/json", **_lock(retention)}
        answer = await self._write(
            f"put {key}", lambda s3: s3.put_object(Bucket=self.name, Key=key, Body=content, **arguments)
        )
        digest = hashlib.sha256(content).hexdigest()
        return Document(key, digest, answer.get("VersionId", "null"), _date(answer))

    async def hide(self, key: str) -> bool:
        """Take it away: in a bucket with versions they stay behind a delete marker, else it is gone. Fine if there is
        none. Whether there is such a marker now."""
        answer = await self._write(f"hide {key}", lambda s3: s3.delete_object(Bucket=self.name, Key=key))
        return bool(answer.get("DeleteMarker") or answer.get("VersionId"))

    async def remove(self, version: StoredVersion) -> None:
        """This version, or this delete marker, for good; never by bypassing a lock. Fine if it is gone.

        Raises:
            ObjectLocked, StoreAccessDenied: a lock is in the way, or the key may only hide. Stores say either.
        """
        described = f"remove {version.key} version {version.version} in bucket {self.name}"
        self._hook.before_write(described)
        await self._ask(
            f"remove a version of {version.key}",
            lambda s3: s3.delete_object(Bucket=self.name, Key=version.key, VersionId=version.version),
            missing=errors.is_missing_key,
        )
        self._hook.after_write(described)

    async def hide_all(self, keys: Sequence[str]) -> dict[str, bool]:
        """The same of up to a thousand, by one request, as far as the store takes that: of each that it took, whether
        there is a delete marker now. The others :meth:`hide` hides, or says why not."""
        answer = await self._delete_objects(f"hide {len(keys)} objects", [{"Key": key} for key in keys])
        return {
            each["Key"]: bool(each.get("DeleteMarker") or each.get("DeleteMarkerVersionId"))
            for each in answer.get("Deleted", ())
        }

    async def remove_all(self, versions: Sequence[StoredVersion]) -> Removal:
        """The same of up to a thousand, by one request, as far as the store takes that."""
        wanted = [{"Key": each.key, "VersionId": each.version} for each in versions]
        answer = await self._delete_objects(f"remove {len(versions)} versions", wanted)
        gone = {(each["Key"], each.get("VersionId")) for each in answer.get("Deleted", ())}
        refused = {
            (each.get("Key"), each.get("VersionId"))
            for each in answer.get("Errors", ())
            if errors.is_refusal(each.get("Code", ""))
        }
        return Removal(
            gone=frozenset(each for each in versions if (each.key, each.version) in gone),
            refused=frozenset(each for each in versions if (each.key, each.version) in refused),
        )

    async def _delete_objects(self, doing: str, wanted: Sequence[Mapping[str, str]]) -> Answer:
        """What the store says of each; of none, where it doesn't take several at once, or refuses all for one's sake."""
        doing = f"{doing}, the first of them {wanted[0]['Key']}"
        described = f"{doing}, in bucket {self.name}"
        self._hook.before_write(described)
        answer = await self._ask(
            doing,
            lambda s3: s3.delete_objects(Bucket=self.name, Delete={"Objects": wanted}),
            missing=errors.is_of_the_request,
        )
        self._hook.after_write(described)
        return answer or {}

    async def abort(self, upload: StoredUpload) -> None:
        """Take away its parts for good: no lock holds them. Fine if it is gone."""
        described = f"abort an upload of {upload.key} in bucket {self.name}"
        self._hook.before_write(described)
        await self._ask(
            f"abort an upload of {upload.key}",
            lambda s3: s3.abort_multipart_upload(Bucket=self.name, Key=upload.key, UploadId=upload.id),
            missing=errors.is_missing_key,
        )
        self._hook.after_write(described)

    async def get_document(self, key: str, *, sha256: str = "", version: str = "") -> Document | None:
        """Read it; ``None`` where there is none, or a delete marker hides it.

        Args:
            sha256: what its bytes must have; empty: whatever is there.
            version: a certain one; empty: the newest.

        Raises:
            DocumentUnusable: it has another SHA-256, or more than ``LARGEST_DOCUMENT`` bytes.
        """
        chosen = {"VersionId": version} if version else {}

        def read(s3: Any) -> tuple[Answer, bytes]:
            answer = s3.get_object(Bucket=self.name, Key=key, **chosen)
            with answer["Body"] as body:
                return answer, body.read(LARGEST_DOCUMENT + 1)

        found = await self._ask(f"get {key}", read, missing=errors.is_missing_key)
        if found is None:
            return None
        answer, content = found
        digest = hashlib.sha256(content).hexdigest()
        self._check(key, content, digest, sha256)
        return Document(key, digest, answer.get("VersionId", "null"), _date(answer), content)

    def _check(self, key: str, content: bytes, digest: str, wanted: str) -> None:
        if len(content) > LARGEST_DOCUMENT:
            raise errors.DocumentUnusable(
                f"{key} in bucket {self.address} has more than {LARGEST_DOCUMENT} bytes: it is no document of the"
                " operator's. See who wrote it."
            )
        if wanted and digest != wanted:
            raise errors.DocumentUnusable(
                f"{key} in bucket {self.address} has the SHA-256 {digest}, not {wanted}: it isn't what was written."
                " See who changed it; in a bucket with versions the former one is still there."
            )

    async def download(
        self, key: str, target: Path, largest: int, progress: Callable[[int, int], None] | None = None
    ) -> int:
        """Write an object of any kind to a file; gives its bytes. ``progress`` is called by another thread.

        Raises:
            DocumentUnusable: there is none, or it has more than ``largest`` bytes.
        """

        def read(s3: Any) -> int:
            answer = s3.get_object(Bucket=self.name, Key=key)
            total, done = int(answer["ContentLength"]), 0
            with answer["Body"] as body, target.open("wb") as file:
                while total <= largest and (chunk := body.read(1 << 20)):
                    done += file.write(chunk)
                    if progress:
                        progress(done, total)
            return total

        size = await self._ask(f"get {key}", read, missing=errors.is_missing_key)
        if size is None:
            raise errors.DocumentUnusable(
                f"There is no {key} in bucket {self.address}: upload it, or correct its key."
            )
        if size > largest:
            raise errors.DocumentUnusable(
                f"{key} in bucket {self.address} has {size} bytes, more than the {largest} that are allowed here."
            )
        return size

    # --- Lists --------------------------------------------------------------------------------------------------------

    async def objects(self, prefix: str) -> AsyncIterator[StoredObject]:
        """What lies below ``prefix``, by key, a thousand for each request."""
        token: dict[str, str] = {}
        while True:
            page = await self._list_page(prefix, **token)
            for each in page.get("Contents", ()):
                yield StoredObject(each["Key"], each["Size"], each["LastModified"])
            if not page.get("IsTruncated"):
                return
            token = {"ContinuationToken": page["NextContinuationToken"]}

    async def folders(self, prefix: str) -> tuple[str, ...]:
        """The names, without slash, that keys have between ``prefix`` and the next slash."""
        found: list[str] = []
        token: dict[str, str] = {}
        while True:
            page = await self._list_page(prefix, Delimiter="/", **token)
            found += [each["Prefix"][len(prefix) : -1] for each in page.get("CommonPrefixes", ())]
            if not page.get("IsTruncated"):
                return tuple(found)
            token = {"ContinuationToken": page["NextContinuationToken"]}

    async def versions(self, prefix: str) -> AsyncIterator[StoredVersion]:
        """Every version and every delete marker below ``prefix``: of each key the newest first."""
        marker: dict[str, str] = {}
        while True:
            page = await self._versions_page(prefix, marker)
            found = [_version(each, hides=False) for each in page.get("Versions", ())]
            found += [_version(each, hides=True) for each in page.get("DeleteMarkers", ())]
            # The answer has them apart. Sorting is stable, so that what one list says of an order stays.
            found.sort(key=lambda each: (each.key, not each.newest, -each.written.timestamp()))
            for each in found:
                yield each
            if not page.get("IsTruncated"):
                return
            marker = {"KeyMarker": page["NextKeyMarker"]}
            if page.get("NextVersionIdMarker"):
                marker["VersionIdMarker"] = page["NextVersionIdMarker"]

    async def uploads(self, prefix: str) -> list[StoredUpload]:
        """What came in parts below ``prefix`` and was never put together; of a key with many of these, maybe only some.

        The whole bucket is listed, by key alone. MinIO lists a bucket or one key and nothing in between, and of a bucket
        what was begun since it last started (https://github.com/minio/minio/issues/20989); the older ones it takes away
        itself, after a day. versitygw takes no marker of its own but that of a key.

        Raises:
            StoreAccessDenied: the key may not ask.
        """
        found: list[StoredUpload] = []
        marker: dict[str, str] = {}
        while True:
            page = await self._uploads_page(prefix, marker)
            found += [StoredUpload(each["Key"], each["UploadId"]) for each in page.get("Uploads", ())]
            if not page.get("IsTruncated"):
                return [each for each in found if each.key.startswith(prefix)]
            marker = {"KeyMarker": page["NextKeyMarker"]}

    async def _uploads_page(self, prefix: str, marker: Mapping[str, str]) -> Answer:
        """Nothing, where the store doesn't have such a list."""
        answer = await self._ask(
            f"list uploads below {prefix}",
            lambda s3: s3.list_multipart_uploads(Bucket=self.name, **marker),
            missing=errors.is_unsupported,
        )
        return answer or {}

    async def _list_page(self, prefix: str, **more: Any) -> Answer:
        return await self._ask_some(
            f"list {prefix}", lambda s3: s3.list_objects_v2(Bucket=self.name, Prefix=prefix, **more)
        )

    async def _versions_page(self, prefix: str, marker: Mapping[str, str]) -> Answer:
        return await self._ask_some(
            f"list versions of {prefix}",
            lambda s3: s3.list_object_versions(Bucket=self.name, Prefix=prefix, **marker),
        )

    # --- The store itself ---------------------------------------------------------------------------------------------

    async def clock(self, prefix: str = "") -> Clocks:
        """The store's clock and ours, by one request that whoever may list ``prefix`` may make."""
        before = self._now()
        answer = await self._list_page(prefix, MaxKeys=1)
        return Clocks(_date(answer), before + (self._now() - before) / 2)

    async def protection(self) -> Protection:
        """What keeps this bucket's content from being lost: three requests."""
        versioning = await self._ask_some(
            "read versioning", lambda s3: s3.get_bucket_versioning(Bucket=self.name)
        )
        lock = await self._ask(
            "read object lock",
            lambda s3: s3.get_object_lock_configuration(Bucket=self.name),
            missing=lambda error: (
                errors.code_of(error) == "ObjectLockConfigurationNotFoundError"
                or errors.is_unsupported(error)
            ),
        )
        lifecycle = await self._ask("read lifecycle rules", self._lifecycle, missing=errors.is_unsupported)
        return protection.parse(versioning, lock, lifecycle)

    def _lifecycle(self, s3: Any) -> Answer:
        try:
            answer: Answer = s3.get_bucket_lifecycle_configuration(Bucket=self.name)
        except Exception as error:
            if errors.code_of(error) == "NoSuchLifecycleConfiguration":
                return {"Rules": []}
            raise
        return answer

    # --- Locks and copies ---------------------------------------------------------------------------------------------

    async def retention(self, key: str, version: str) -> Retention | None:
        """The lock of a version; ``None`` where it has none.

        Raises:
            Unavailable: with ``StoreError`` where there is no such version.
        """
        answer = await self._ask(
            f"read the lock of {key}",
            lambda s3: s3.get_object_retention(Bucket=self.name, Key=key, VersionId=version),
            missing=errors.is_without_lock,
        )
        said = (answer or {}).get("Retention", {})
        if not said.get("RetainUntilDate"):
            return None
        return Retention(_MODES[said["Mode"]], said["RetainUntilDate"])

    async def legal_hold(self, key: str, version: str) -> bool:
        """Whether somebody put this version under a legal hold, which has no end of its own; a policy never does.

        Raises:
            StoreAccessDenied: the key may not ask.
        """
        answer = await self._ask(
            f"read the legal hold of {key}",
            lambda s3: s3.get_object_legal_hold(Bucket=self.name, Key=key, VersionId=version),
            missing=errors.is_without_lock,
        )
        return bool((answer or {}).get("LegalHold", {}).get("Status") == "ON")

    async def retain(self, key: str, version: str, retention: Retention) -> None:
        """Lock a version, or lock it for longer; never by bypassing the lock that it has.

        Raises:
            ObjectLocked, StoreAccessDenied: it is locked for longer already, or in another mode. Stores say either.
        """
        wanted = {"Mode": retention.mode.upper(), "RetainUntilDate": retention.until}
        await self._write(
            f"lock {key}",
            lambda s3: s3.put_object_retention(
                Bucket=self.name, Key=key, VersionId=version, Retention=wanted
            ),
        )

    async def copy(self, source: StoredVersion, key: str) -> None:
        """A version to another key of this bucket, inside the store; up to 5 GiB, which nothing of restic's reaches."""
        which = {"Bucket": self.name, "Key": source.key, "VersionId": source.version}
        await self._write(
            f"copy {source.key} to {key}",
            lambda s3: s3.copy_object(Bucket=self.name, Key=key, CopySource=which),
        )

    # --- How --------------------------------------------------------------------------------------------------------

    async def _write(self, doing: str, work: Callable[[Any], Answer]) -> Answer:
        described = f"{doing} in bucket {self.name}"
        self._hook.before_write(described)
        answer = await self._ask_some(doing, work)
        self._hook.after_write(described)
        return answer

    async def _ask_some(self, doing: str, work: Callable[[Any], T]) -> T:
        with errors.translated(self.address, doing):
            return await self._connection.call(work)

    async def _ask(
        self, doing: str, work: Callable[[Any], T], missing: Callable[[BaseException], bool]
    ) -> T | None:
        """``None`` for the errors that say that there is nothing."""
        with errors.translated(self.address, doing):
            try:
                return await self._connection.call(work)
            except Exception as error:
                if missing(error):
                    return None
                raise


def _lock(retention: Retention | None) -> dict[str, Any]:
    if retention is None:
        return {}
    return {"ObjectLockMode": retention.mode.upper(), "ObjectLockRetainUntilDate": retention.until}


def _version(said: Answer, *, hides: bool) -> StoredVersion:
    version = said.get("VersionId") or "null"
    written = time_of_ulid(version) or said["LastModified"]
    return StoredVersion(
        said["Key"], version, written, bool(said.get("IsLatest")), hides, said.get("Size") or 0
    )


def _date(answer: Answer) -> datetime:
    """The ``Date`` of an answer: HTTP asks each server with a clock for it (RFC 9110, 6.6.1)."""
    return parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"]).astimezone(UTC)

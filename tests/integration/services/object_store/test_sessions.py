"""A session of one tenant, on MinIO's STS: what is its own it has, what is another's it neither reads, lists, hides nor
overwrites. Each is done as the administrator too, to show that it does something."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.integration.services.object_store.conftest import MakeBucket, restic
from tests.support.s3 import LOCKED, Login, S3Process

from odoo_tenancy.services.object_store import (
    BucketAddress,
    SessionRefused,
    StoreAccessDenied,
    assume_role,
    session_policy,
)
from odoo_tenancy.services.object_store.sessions import Purpose

PAGE = (Path(__file__).parents[4] / "docs" / "security-backups.md").read_text(encoding="utf-8")
ROLE = "arn:aws:iam::000000000000:role/odoo-backups"
CONTENT = b"what is in it"


@dataclass(frozen=True)
class Tenant:
    """Somebody with something in the bucket."""

    prefix: str
    version: str

    @property
    def key(self) -> str:
        return f"{self.prefix}/restic/data/ab"


async def session(address: BucketAddress, tenant_prefix: str, purpose: Purpose) -> Login:
    made = await assume_role(address, ROLE, tenant_prefix, purpose, timedelta(hours=1), "acme-x7k2p")
    assert made.expires
    assert timedelta(minutes=55) < made.expires - datetime.now(UTC) < timedelta(minutes=65)
    assert made.secret_access_key not in repr(made)
    assert made.session_token not in repr(made)
    return Login(made.access_key_id, made.secret_access_key, made.session_token)


@pytest.fixture
def address(minio: S3Process, make_bucket: MakeBucket) -> BucketAddress:
    return make_bucket(minio).address


@pytest.fixture
async def tenants(minio: S3Process, make_bucket: MakeBucket, prefix: str) -> tuple[Tenant, Tenant]:
    """Two, of whom the second's claim begins as the first's."""
    bucket, found = make_bucket(minio), []
    claim = secrets.token_hex(16)
    for each in (claim, f"{claim}0"):
        tenant = Tenant(f"{prefix}/{each}", "")
        written = await bucket.put_document(tenant.key, CONTENT)
        found.append(replace(tenant, version=written.version))
    return found[0], found[1]


def refused(work: Callable[[], Any]) -> str:
    with pytest.raises(ClientError) as caught:
        work()
    return str(caught.value.response["Error"]["Code"])


def listed(s3: Any, **arguments: Any) -> list[str]:
    return [each["Key"] for each in s3.list_objects_v2(Bucket=LOCKED, **arguments).get("Contents", ())]


def versions(s3: Any, **arguments: Any) -> list[str]:
    found = s3.list_object_versions(Bucket=LOCKED, **arguments)
    return [each["Key"] for each in (*found.get("Versions", ()), *found.get("DeleteMarkers", ()))]


READS: dict[str, Callable[[Any, Tenant, Tenant], object]] = {
    "read": lambda s3, own, other: s3.get_object(Bucket=LOCKED, Key=other.key)["Body"].read() == CONTENT,
    "read a version": lambda s3, own, other: (
        s3.get_object(Bucket=LOCKED, Key=other.key, VersionId=other.version)["Body"].read() == CONTENT
    ),
    "ask for its size": lambda s3, own, other: s3.head_object(Bucket=LOCKED, Key=other.key)["ContentLength"],
    "ask for its lock": lambda s3, own, other: s3.get_object_retention(Bucket=LOCKED, Key=other.key),
    "list": lambda s3, own, other: other.key in listed(s3, Prefix=f"{other.prefix}/"),
    "list by a shorter prefix": lambda s3, own, other: other.key in listed(s3, Prefix=own.prefix),
    "list the tenants": lambda s3, own, other: s3.list_objects_v2(
        Bucket=LOCKED, Prefix=f"{own.prefix.rpartition('/')[0]}/", Delimiter="/"
    )["CommonPrefixes"],
    "list everything": lambda s3, own, other: s3.list_objects_v2(Bucket=LOCKED)["Contents"],
    "list versions": lambda s3, own, other: other.key in versions(s3, Prefix=f"{other.prefix}/"),
}
WRITES: dict[str, Callable[[Any, Tenant, Tenant], object]] = {
    "copy to its own": lambda s3, own, other: s3.copy_object(
        Bucket=LOCKED, Key=f"{own.prefix}/stolen", CopySource={"Bucket": LOCKED, "Key": other.key}
    ),
    "hide": lambda s3, own, other: s3.delete_object(Bucket=LOCKED, Key=other.key)["DeleteMarker"],
    "overwrite": lambda s3, own, other: s3.put_object(Bucket=LOCKED, Key=other.key, Body=b"nothing"),
    "overwrite in parts": lambda s3, own, other: s3.create_multipart_upload(Bucket=LOCKED, Key=other.key),
    "write beside": lambda s3, own, other: s3.put_object(
        Bucket=LOCKED, Key=f"{other.prefix}/restic/locks/ab", Body=b"nothing"
    ),
    "overwrite by a copy": lambda s3, own, other: s3.copy_object(
        Bucket=LOCKED, Key=other.key, CopySource={"Bucket": LOCKED, "Key": own.key}
    ),
    "lock": lambda s3, own, other: s3.put_object_retention(
        Bucket=LOCKED,
        Key=other.key,
        Retention={"Mode": "GOVERNANCE", "RetainUntilDate": datetime.now(UTC) + timedelta(days=9)},
    ),
    "delete a version": lambda s3, own, other: s3.delete_object(
        Bucket=LOCKED, Key=other.key, VersionId=other.version, BypassGovernanceRetention=True
    ),
}


@pytest.mark.parametrize("name", [*READS, *WRITES])
@pytest.mark.parametrize("purpose", ["Backup", "Read"])
async def test_what_is_another_s(
    name: str, purpose: Purpose, minio: S3Process, address: BucketAddress, tenants: tuple[Tenant, Tenant]
) -> None:
    attempt = {**READS, **WRITES}[name]
    own, other = tenants
    s3 = minio.client(await session(address, own.prefix, purpose))
    before = minio.client().list_object_versions(Bucket=LOCKED, Prefix=own.prefix)
    assert refused(lambda: attempt(s3, own, other)) in ("AccessDenied", "403")
    after = minio.client().list_object_versions(Bucket=LOCKED, Prefix=own.prefix)
    for what in ("Versions", "DeleteMarkers"):
        assert after.get(what) == before.get(what)
    assert attempt(minio.client(), own, other)


async def test_many_are_not_hidden_at_once(
    minio: S3Process, address: BucketAddress, tenants: tuple[Tenant, Tenant]
) -> None:
    """DeleteObjects answers 200 whatever it did: what it says of each key counts."""
    own, other = tenants
    which = {"Objects": [{"Key": other.key}, {"Key": own.key}]}
    s3 = minio.client(await session(address, own.prefix, "Backup"))
    said = s3.delete_objects(Bucket=LOCKED, Delete=which)
    assert {each["Code"] for each in said["Errors"]} == {"AccessDenied"}
    assert len(said["Errors"]) == 2
    assert listed(minio.client(), Prefix=f"{other.prefix}/") == [other.key]
    minio.client().delete_objects(Bucket=LOCKED, Delete=which)
    assert listed(minio.client(), Prefix=own.prefix) == []


async def test_what_is_its_own(
    minio: S3Process, address: BucketAddress, tenants: tuple[Tenant, Tenant], make_bucket: MakeBucket
) -> None:
    own, _ = tenants
    login = await session(address, own.prefix, "Backup")
    s3, bucket = minio.client(login), make_bucket(minio, login=login)
    lock = f"{own.prefix}/restic/locks/ab"
    await bucket.put_document(lock, b"{}")
    assert [each.key async for each in bucket.objects(f"{own.prefix}/")] == [own.key, lock]
    assert abs((await bucket.clock(f"{own.prefix}/")).ahead) < timedelta(seconds=3)
    assert s3.delete_object(Bucket=LOCKED, Key=lock)["DeleteMarker"]
    assert refused(lambda: s3.delete_object(Bucket=LOCKED, Key=own.key)) == "AccessDenied"
    until = datetime.now(UTC) + timedelta(days=9)
    longer = {"Mode": "GOVERNANCE", "RetainUntilDate": until}
    assert (
        refused(lambda: s3.put_object_retention(Bucket=LOCKED, Key=own.key, Retention=longer))
        == "AccessDenied"
    )
    assert s3.get_bucket_location(Bucket=LOCKED)


async def test_who_only_reads(
    minio: S3Process, address: BucketAddress, tenants: tuple[Tenant, Tenant], make_bucket: MakeBucket
) -> None:
    own, _ = tenants
    login = await session(address, own.prefix, "Read")
    s3, bucket = minio.client(login), make_bucket(minio, login=login)
    found = await bucket.get_document(own.key)
    assert found is not None
    assert found.content == CONTENT
    with pytest.raises(StoreAccessDenied):
        await bucket.put_document(f"{own.prefix}/restic/locks/ab", b"{}")
    assert refused(lambda: s3.delete_object(Bucket=LOCKED, Key=own.key)) == "AccessDenied"


async def test_a_session_makes_no_other(address: BucketAddress, tenants: tuple[Tenant, Tenant]) -> None:
    own, other = tenants
    made = await assume_role(address, ROLE, own.prefix, "Backup", timedelta(hours=1), "acme")
    with pytest.raises(StoreAccessDenied):
        await assume_role(
            replace(address, credentials=made), ROLE, other.prefix, "Backup", timedelta(0), "acme"
        )


async def test_a_wrong_key_gets_none(address: BucketAddress) -> None:
    wrong = replace(address.credentials, secret_access_key="0" * 40)
    with pytest.raises(StoreAccessDenied, match="secret"):
        await assume_role(replace(address, credentials=wrong), ROLE, "eu/a", "Read", timedelta(0), "acme")


async def test_more_than_the_store_gives(address: BucketAddress) -> None:
    with pytest.raises(SessionRefused, match="timeout"):
        await assume_role(address, ROLE, "eu/a", "Read", timedelta(days=4000), "acme")


async def test_a_role_that_is_none(address: BucketAddress) -> None:
    with pytest.raises(SessionRefused, match="roleArn"):
        await assume_role(address, "any", "eu/a", "Read", timedelta(0), "acme")


async def test_a_store_without_sessions(versitygw: S3Process, make_bucket: MakeBucket) -> None:
    address = make_bucket(versitygw).address
    with pytest.raises(SessionRefused, match="Static"):
        await assume_role(address, ROLE, "eu/a", "Read", timedelta(0), "acme")


def test_a_key_of_a_tenants_own_may_do_what_a_session_may() -> None:
    """As docs/security-backups.md says it, for who makes one: so what holds of a session here holds of it."""
    _, block = re.findall(r"```json\n(.*?)```", PAGE, re.S)
    said = block.replace("BUCKET", LOCKED).replace("PREFIX/CLAIM", "eu/acme")
    assert json.loads(said) == json.loads(session_policy(LOCKED, "eu/acme", "Backup"))


async def test_restic_in_a_session(
    minio: S3Process, address: BucketAddress, tenants: tuple[Tenant, Tenant], tmp_path: Path
) -> None:
    """Makes a repository, backs up twice, and leaves no lock; removes nothing; reads with less."""
    own, other = tenants
    path, another = f"{own.prefix}/restic", f"{other.prefix}/restic"
    writes, reads = await session(address, own.prefix, "Backup"), await session(address, own.prefix, "Read")
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "a").write_bytes(CONTENT)
    restic(minio, writes, path, "init", folder=tmp_path)
    for _ in range(2):
        restic(minio, writes, path, "backup", "files", folder=tmp_path)
    assert listed(minio.client(), Prefix=f"{path}/locks/") == []
    # restic 0.18 says that it was refused, and still exits with 0.
    restic(minio, writes, path, "forget", "--keep-last", "1", folder=tmp_path)
    assert len(listed(minio.client(), Prefix=f"{path}/snapshots/")) == 2
    restic(minio, reads, path, "check", "--read-data", "--no-lock", folder=tmp_path)
    restic(minio, reads, path, "restore", "latest", "--no-lock", "--target", "restored", folder=tmp_path)
    assert (tmp_path / "restored" / "files" / "a").read_bytes() == CONTENT
    with pytest.raises(AssertionError):
        restic(minio, reads, path, "backup", "files", folder=tmp_path)
    with pytest.raises(AssertionError):
        restic(minio, writes, another, "init", folder=tmp_path)
    assert listed(minio.client(), Prefix=f"{another}/keys/") == []

"""What somebody can do with the credentials that a Job holds. The tables of docs/security-backups.md are what is
expected, and the policy in it is what is granted."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.integration.services.object_store.conftest import MakeBucket, moment_between, restic
from tests.support.s3 import LOCKED, Login, S3Process
from tests.support.security_page import own_key_policy, table
from tests.support.waiting import eventually

from odoo_tenancy.api.verify_work import proven_key
from odoo_tenancy.services.object_store import Purpose, session_policy

REFUSED = {
    "AccessDenied",
    "403",
    "ObjectLocked",
    "InvalidBucketState",
    "InvalidRequest",
    "NotImplemented",
    "MethodNotAllowed",
    "WORMProtected",
}


def in_days(days: float) -> datetime:
    return datetime.now(UTC).replace(microsecond=0) + timedelta(days=days)


@dataclass(frozen=True)
class Victim:
    """A locked object of one tenant, and one of another; by the administrator's hands."""

    root: Any
    prefix: str
    mode: str = "GOVERNANCE"
    until: datetime = field(default_factory=lambda: in_days(3))
    claims: tuple[str, str] = field(default_factory=lambda: (secrets.token_hex(16), secrets.token_hex(16)))

    def key(self, other: bool = False) -> str:
        return f"{self.prefix}/{self.claims[other]}/restic/data/ab"

    def put(self) -> tuple[str, str]:
        """Its versions, of each."""
        lock = {"ObjectLockMode": self.mode, "ObjectLockRetainUntilDate": self.until}
        first, second = (
            self.root.put_object(Bucket=LOCKED, Key=self.key(other), Body=b"backup", ContentMD5=_MD5, **lock)
            for other in (False, True)
        )
        return first["VersionId"], second["VersionId"]

    def state(self, other: bool, version: str) -> tuple[str, object]:
        """What became of it: one word, and its lock."""
        said = self.root.list_object_versions(Bucket=LOCKED, Prefix=self.key(other))
        there = {each["VersionId"]: each for each in said.get("Versions", ())}
        if version not in there:
            return "gone", None
        lock = self.root.get_object_retention(Bucket=LOCKED, Key=self.key(other), VersionId=version)[
            "Retention"
        ]
        content = self.root.get_object(Bucket=LOCKED, Key=self.key(other), VersionId=version)["Body"].read()
        assert content == b"backup"
        if any(each["IsLatest"] for each in said.get("DeleteMarkers", ())):
            return "hidden", lock["RetainUntilDate"]
        return "done" if there[version]["IsLatest"] else "written over", lock["RetainUntilDate"]


_MD5 = base64.b64encode(hashlib.md5(b"backup").digest()).decode()  # noqa: S324 - what S3 asks for


@dataclass(frozen=True)
class Attempt:
    """One row of the table."""

    work: Callable[[Any, str, str], object]
    """With whose client, on which key and version."""
    other: bool = False
    mode: str = "GOVERNANCE"
    ended: bool = False
    """Its lock has run out."""
    lock: bool = False
    """It is about the lock, which is another afterwards."""


def shorten(mode: str = "GOVERNANCE", **more: Any) -> Callable[[Any, str, str], object]:
    def work(s3: Any, key: str, version: str) -> object:
        lock = {"Mode": mode, "RetainUntilDate": in_days(1)}
        return s3.put_object_retention(Bucket=LOCKED, Key=key, VersionId=version, Retention=lock, **more)

    return work


def lengthen(s3: Any, key: str, version: str) -> object:
    lock = {"Mode": "GOVERNANCE", "RetainUntilDate": in_days(9)}
    return s3.put_object_retention(Bucket=LOCKED, Key=key, VersionId=version, Retention=lock)


def lengthen_by_years(s3: Any, key: str, version: str) -> object:
    lock = {"Mode": "GOVERNANCE", "RetainUntilDate": in_days(3000)}
    return s3.put_object_retention(Bucket=LOCKED, Key=key, VersionId=version, Retention=lock)


def remove_former(s3: Any, key: str, version: str) -> object:
    rule = {
        "ID": "attack",
        "Status": "Enabled",
        "Filter": {"Prefix": key},
        "NoncurrentVersionExpiration": {"NoncurrentDays": 1},
    }
    return s3.put_bucket_lifecycle_configuration(Bucket=LOCKED, LifecycleConfiguration={"Rules": [rule]})


def lock_for_less(s3: Any, key: str, version: str) -> object:
    rule = {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 1}}
    lock = {"ObjectLockEnabled": "Enabled", "Rule": rule}
    return s3.put_object_lock_configuration(Bucket=LOCKED, ObjectLockConfiguration=lock)


def read(s3: Any, key: str, version: str) -> object:
    return s3.get_object(Bucket=LOCKED, Key=key)["Body"].read()


def listing(s3: Any, key: str, version: str) -> object:
    [found] = s3.list_objects_v2(Bucket=LOCKED, Prefix=key.rpartition("/")[0] + "/")["Contents"]
    return found


def delete(s3: Any, key: str, version: str) -> object:
    return s3.delete_object(Bucket=LOCKED, Key=key)


def write_over(s3: Any, key: str, version: str) -> object:
    return s3.put_object(Bucket=LOCKED, Key=key, Body=b"nothing")


def delete_version(s3: Any, key: str, version: str) -> object:
    return s3.delete_object(Bucket=LOCKED, Key=key, VersionId=version)


def delete_bypassing(s3: Any, key: str, version: str) -> object:
    return s3.delete_object(Bucket=LOCKED, Key=key, VersionId=version, BypassGovernanceRetention=True)


def switch_versions_off(s3: Any, key: str, version: str) -> object:
    return s3.put_bucket_versioning(Bucket=LOCKED, VersioningConfiguration={"Status": "Suspended"})


ATTEMPTS = {
    "read another tenant's object": Attempt(read, other=True),
    "list another tenant's objects": Attempt(listing, other=True),
    "write over another tenant's object": Attempt(write_over, other=True),
    "delete another tenant's object": Attempt(delete, other=True),
    "write over an own object": Attempt(write_over),
    "delete an own object": Attempt(delete),
    "delete a locked version": Attempt(delete_version),
    "delete a locked version, bypassing Governance": Attempt(delete_bypassing),
    "delete a version locked by Compliance, asking to bypass": Attempt(delete_bypassing, mode="COMPLIANCE"),
    "delete a version whose lock has ended": Attempt(delete_version, ended=True),
    "shorten a lock": Attempt(shorten(), lock=True),
    "shorten a lock, bypassing Governance": Attempt(shorten(BypassGovernanceRetention=True), lock=True),
    "shorten a lock of Compliance, asking to bypass": Attempt(
        shorten(BypassGovernanceRetention=True, mode="COMPLIANCE"), mode="COMPLIANCE"
    ),
    "lengthen a lock": Attempt(lengthen, lock=True),
    "lengthen a lock by years": Attempt(lengthen_by_years, lock=True),
    "remove former versions by a lifecycle rule": Attempt(remove_former),
    "switch versions off": Attempt(switch_versions_off),
    "lock new objects for less time": Attempt(lock_for_less),
}
WHO = ("session of the tenant", "policy's own key", "administrator's key")


def expected() -> dict[str, dict[str, str]]:
    """The table of the page: attempt, who, outcome."""
    return table("attempt")


def login(server: S3Process, who: str, victim: Victim) -> Login:
    if who == "administrator's key":
        return server.root
    if who == "session of the tenant":
        own = f"{victim.prefix}/{victim.claims[0]}"
        return server.assume(json.loads(session_policy(LOCKED, own, "Backup")))
    if server.program == "minio":
        return server.assume(own_key_policy(victim.prefix))
    policy = own_key_policy(victim.prefix, server.writer.access_key_id)
    server.client().put_bucket_policy(Bucket=LOCKED, Policy=json.dumps(policy))
    return server.writer


def outcome(server: S3Process, who: str, attempt: Attempt, victim: Victim) -> str:
    versions = victim.put()
    version, key = versions[attempt.other], victim.key(attempt.other)
    s3 = server.client(login(server, who, victim))
    if attempt.ended:
        eventually(
            lambda: datetime.now(UTC) > victim.until + timedelta(seconds=1), "the lock ends", pause=0.2
        )
    before = victim.state(attempt.other, version)
    refusal = refusal_of(lambda: attempt.work(s3, key, version))
    settle(server)
    word, lock = victim.state(attempt.other, version)
    if refusal:
        assert refusal in REFUSED
        assert (word, lock) == before
        return "refused"
    assert (lock != before[1]) == (attempt.lock or word == "gone")
    return word


def refusal_of(work: Callable[[], object]) -> str:
    """The server's code, or nothing where it did it."""
    try:
        work()
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return ""


def settle(server: S3Process) -> None:
    """The bucket's settings as they were."""
    root = server.client()
    lock_for_less(root, "", "")
    if server.program == "minio":
        root.delete_bucket_lifecycle(Bucket=LOCKED)


def test_the_page_has_a_row_for_each_attempt() -> None:
    assert list(expected()) == list(ATTEMPTS)
    assert all(tuple(row) == WHO for row in expected().values())


@pytest.mark.parametrize("name", list(ATTEMPTS))
@pytest.mark.parametrize("who", WHO)
def test_minio(name: str, who: str, minio: S3Process, prefix: str) -> None:
    assert (
        outcome(minio, who, ATTEMPTS[name], make_victim(minio, ATTEMPTS[name], prefix))
        == expected()[name][who]
    )


@pytest.mark.parametrize(
    "name", [name for name in ATTEMPTS if "lifecycle" not in name and "years" not in name]
)
@pytest.mark.parametrize("who", WHO[1:])
def test_versitygw(name: str, who: str, versitygw: S3Process, prefix: str) -> None:
    attempt = ATTEMPTS[name]
    assert outcome(versitygw, who, attempt, make_victim(versitygw, attempt, prefix)) == expected()[name][who]


def make_victim(server: S3Process, attempt: Attempt, prefix: str) -> Victim:
    until = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=3) if attempt.ended else in_days(3)
    return Victim(server.client(), prefix, attempt.mode, until)


def test_only_a_verification_says_what_was_proven(minio: S3Process, prefix: str) -> None:
    """Who takes over a backup's Job can't have rotten files passed by; who takes over a verification's, changes none."""
    victim = Victim(minio.client(), prefix)
    victim.put()
    own, other = (proven_key(prefix, claim) for claim in victim.claims)

    def refused(purpose: Purpose, key: str, work: Callable[[Any, str, str], object]) -> bool:
        policy = session_policy(LOCKED, f"{prefix}/{victim.claims[0]}", purpose)
        code = refusal_of(lambda: work(minio.client(minio.assume(json.loads(policy))), key, ""))
        assert code in {"", *REFUSED}
        return bool(code)

    assert not refused("Verify", own, write_over)
    assert not refused("Verify", own, read)
    assert not refused("Verify", victim.key(), read)
    assert all(refused("Backup", key, work) for key in (own, other) for work in (read, write_over, delete))
    assert all(refused("Verify", key, write_over) for key in (other, victim.key(), f"{own}.more"))
    assert refused("Verify", own, delete)
    assert refused("Verify", other, read)


# --- And yet it is restored -------------------------------------------------------------------------------------------


async def test_yesterday_s_backup_after_an_attack(
    server: S3Process, make_bucket: MakeBucket, prefix: str, tmp_path: Path
) -> None:
    victim = Victim(server.client(), prefix)
    own, copy = f"{prefix}/{victim.claims[0]}", f"{prefix}/as-of/{victim.claims[0]}"
    path, saved = f"{own}/restic", f"{copy}/restic"
    key, bucket = login(server, "policy's own key", victim), make_bucket(server)
    files = tmp_path / "filestore"
    files.mkdir()
    for n in range(20):
        (files / f"{n}").write_bytes(secrets.token_bytes(100_000))
    restic(server, key, path, "init", folder=tmp_path)
    restic(server, key, path, "backup", "filestore", folder=tmp_path)
    moment = await moment_between(bucket)
    attack(server.client(key), f"{path}/")
    with pytest.raises(AssertionError):
        restic(server, server.root, path, "snapshots", folder=tmp_path)
    copy_by_command(server, own, copy, moment)
    restic(server, server.root, saved, "check", "--read-data", folder=tmp_path)
    restic(server, server.root, saved, "restore", "latest", "--target", "restored", folder=tmp_path)
    for n in range(20):
        assert (tmp_path / "restored" / "filestore" / f"{n}").read_bytes() == (files / f"{n}").read_bytes()


def copy_by_command(server: S3Process, path: str, target: str, moment: datetime) -> None:
    """As the page says."""
    command = [
        sys.executable, "-m", "odoo_tenancy.jobs.as_of", "--endpoint", server.endpoint, "--bucket", LOCKED,
        "--ca-file", str(server.ca_file), "--from", path, "--to", target, "--at", moment.isoformat(),
    ]  # fmt: skip
    told = {**os.environ, **server.root.environment}
    done = subprocess.run(command, env=told, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "; 0 were there already" in done.stdout


def attack(s3: Any, prefix: str) -> None:
    """Everything that the key can: some objects written over, some deleted, some both."""
    for n, each in enumerate(s3.list_objects_v2(Bucket=LOCKED, Prefix=prefix)["Contents"]):
        if n % 3 != 0:
            s3.put_object(Bucket=LOCKED, Key=each["Key"], Body=b"not yours any more")
        if n % 3 != 1:
            s3.delete_object(Bucket=LOCKED, Key=each["Key"])
        for version in s3.list_object_versions(Bucket=LOCKED, Prefix=each["Key"]).get("Versions", ()):
            with pytest.raises(ClientError):
                delete_version(s3, each["Key"], version["VersionId"])

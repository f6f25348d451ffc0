"""What somebody can do who has taken over a backup's Job: with its credentials, the repository's password, and restic. The
table of docs/security-backups.md is what is expected. And yesterday's backup is brought back as that page says."""

from __future__ import annotations

import json
import secrets
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.integration.jobs.test_restore import contents, digest
from tests.integration.services.object_store.conftest import moment_between
from tests.integration.services.object_store.test_attacker import copy_by_command
from tests.support.backup_world import BackupWorld, backup_world
from tests.support.postgres import ADMIN, PostgresProcess
from tests.support.recovery_page import DATABASE, EVERY, at_hand, follow, open_with, what_is_left
from tests.support.restic import environment
from tests.support.s3 import LOCKED, REGION, Login, S3Process, running_minio
from tests.support.security_page import own_key_policy, table

from odoo_tenancy.api.errors import OperatorError
from odoo_tenancy.api.manifest import BackupManifest
from odoo_tenancy.jobs.prepare import RECOVERY_USER
from odoo_tenancy.services.object_store import session_policy

SESSION, OWN_KEY = "session of the tenant", "policy's own key"
RECOVERY_KEY = secrets.token_bytes(33)
Versions = dict[tuple[str, str], bool]
"""By key and version: whether it is what a reader sees."""


@pytest.fixture(scope="module")
def minio() -> Iterator[S3Process]:
    """As it has sessions."""
    with running_minio() as server:
        yield server


@pytest.fixture
async def world(database_server: PostgresProcess, minio: S3Process, tmp_path: Path) -> Any:
    """A tenant, and yesterday's backup of it."""
    (tmp_path / "tenant").mkdir()
    with backup_world(database_server, minio, tmp_path / "tenant") as found:
        found.make()
        await open_with(RECOVERY_KEY, found.place, found.environment)
        await found.backup("yesterday")
        yield found
    with database_server.superuser() as connection:
        connection.execute(f'DROP DATABASE IF EXISTS "{DATABASE}" WITH (FORCE)'.encode())


@dataclass(frozen=True)
class Attacker:
    """Somebody with a login, the repository's password, and a machine of their own."""

    world: BackupWorld
    login: Login
    folder: Path
    other: str = field(default_factory=lambda: f"eu/{secrets.token_hex(16)}/restic")
    """Another tenant's repository."""

    def restic(
        self, *words: str, path: str = "", password_file: str = ""
    ) -> subprocess.CompletedProcess[str]:
        place = self.world.place
        command = [
            "restic", "--repo", f"s3:{place.store.endpoint}/{LOCKED}/{path or place.path}", "--no-cache",
            "--cacert", place.store.ca_file, "--password-file", password_file or place.password_file, *words,
        ]  # fmt: skip
        told = environment(AWS_DEFAULT_REGION=REGION, **self.login.environment)
        return subprocess.run(command, env=told, capture_output=True, text=True, check=False, timeout=120)

    def a_password(self) -> str:
        """A file with one of the attacker's own."""
        file = self.folder / "attacker-password"
        file.write_text("mine now")
        return str(file)


def attacker(world: BackupWorld, who: str, folder: Path) -> Attacker:
    policies = {
        SESSION: json.loads(session_policy(LOCKED, world.prefix, "Backup")),
        OWN_KEY: own_key_policy("eu"),
    }
    return Attacker(world, world.s3.assume(policies[who]), folder)


def forget_all(by: Attacker) -> None:
    by.restic("forget", "--unsafe-allow-remove-all", "--tag", "yesterday", "--prune")


def empty_all(by: Attacker) -> None:
    by.restic("rewrite", "--forget", "--exclude", "*")


def remove_recovery_key(by: Attacker) -> None:
    keys = json.loads(by.restic("key", "list", "--json", "--no-lock").stdout)
    (recovery,) = (each["id"] for each in keys if each["userName"] == RECOVERY_USER)
    by.restic("key", "remove", recovery)


def change_password(by: Attacker) -> None:
    by.restic("key", "passwd", "--new-password-file", by.a_password())


def add_key(by: Attacker) -> None:
    by.restic("key", "add", "--new-password-file", by.a_password())


def open_another(by: Attacker) -> None:
    """Which has a password of its own."""
    file = by.folder / "another-tenants-password"
    file.write_text(secrets.token_hex(16))
    owner = Attacker(by.world, by.world.s3.root, by.folder)
    made = owner.restic("init", path=by.other, password_file=str(file))
    assert made.returncode == 0, made.stderr
    opened = by.restic("snapshots", "--no-lock", path=by.other)
    assert opened.returncode != 0, opened.stdout


ATTEMPTS: dict[str, Callable[[Attacker], None]] = {
    "open another tenant's repository": open_another,
    "add a key": add_key,
    "remove the recovery key": remove_recovery_key,
    "rewrite all snapshots without their contents": empty_all,
    "forget all snapshots, and prune": forget_all,
    "change the password": change_password,
}
"""In an order in which each leaves the next something to destroy."""


def versions(world: BackupWorld) -> Versions:
    """Of all that the tenant has, but for restic's locks, which come and go."""
    found: Versions = {}
    pages = world.s3.client().get_paginator("list_object_versions")
    for page in pages.paginate(Bucket=LOCKED, Prefix=f"{world.prefix}/"):
        for each in page.get("Versions", ()):
            if "/locks/" not in each["Key"]:
                found[each["Key"], each["VersionId"]] = each["IsLatest"]
    return found


def outcome(before: Versions, after: Versions) -> str:
    """In the page's words. Nothing ever goes."""
    assert before.keys() <= after.keys()
    if any(seen and not after[version] for version, seen in before.items()):
        return "hidden"
    return "added" if after.keys() - before.keys() else "refused"


def test_the_page_has_a_row_for_each_attempt() -> None:
    assert list(table("attempt with restic and the password")) == list(ATTEMPTS)


@pytest.mark.parametrize("who", [SESSION, OWN_KEY])
async def test_everything_is_tried_and_yesterdays_backup_comes_back(
    world: BackupWorld, who: str, tmp_path: Path
) -> None:
    rows, files = contents(world, world.database), digest(world.filestore)
    yesterday, saved_at = versions(world), await moment_between(world.bucket)
    by, said = attacker(world, who, tmp_path), dict[str, str]()
    for name, attempt in ATTEMPTS.items():
        before = versions(world)
        attempt(by)
        said[name] = outcome(before, versions(world))
    expected = table("attempt with restic and the password")
    assert said == {name: expected[name][who] for name in ATTEMPTS}

    destroy(by, yesterday)
    assert yesterday.keys() <= versions(world).keys()
    with pytest.raises(OperatorError):
        await world.repository.snapshots()

    copy_by_command(world.s3, world.prefix, f"eu/as-of/{world.claim}", saved_at)
    folder = tmp_path / "after"
    folder.mkdir()
    (folder / "kept.key").write_bytes(RECOVERY_KEY)
    told = follow(folder, given(world), at_hand(world.s3, world.postgres), EVERY)
    assert "missing" not in told
    assert "rows, not" not in told
    assert contents(world, DATABASE) == rows
    recovered = digest(folder / "filestore" / DATABASE)
    assert recovered == {name: sha for name, sha in files.items() if not name.startswith("checklist")}
    manifest = BackupManifest.model_validate_json((folder / "manifest.json").read_bytes())
    assert (manifest.backup, manifest.claim) == ("yesterday", world.claim)
    with world.connect(DATABASE) as connection:
        for name, count in manifest.database.row_counts.items():
            schema, _, relation = name.partition(".")
            found = connection.execute(
                f'SELECT count(*) FROM "{schema}"."{_quoted(relation)}"'.encode()
            ).fetchone()
            assert found == (count,), name


def _quoted(name: str) -> str:
    return name.replace('"', '""')


def given(world: BackupWorld) -> dict[str, str]:
    """What a person fills in who follows the page of recovery in a copy."""
    login = (ADMIN, world.postgres.admin_password)
    left = what_is_left(world.s3, world.postgres, "kept.key", *login)
    return left | {"PREFIX": "eu/as-of", "CLAIM": world.claim}


def destroy(by: Attacker, there: Versions) -> None:
    """Whatever the store lets do with the bare objects: written over, hidden, and none of it gone."""
    s3 = by.world.s3.client(by.login)
    for key, version in there:
        where = {"Bucket": LOCKED, "Key": key}
        _allows(s3.put_object, **where, Body=b"not yours any more")
        _allows(s3.delete_object, **where)
        assert not _allows(s3.delete_object, **where, VersionId=version, BypassGovernanceRetention=True)
        assert not _allows(s3.delete_object, **where, VersionId=version)
    rule = {
        "ID": "attack",
        "Status": "Enabled",
        "Filter": {},
        "NoncurrentVersionExpiration": {"NoncurrentDays": 1},
    }
    rules = {"Rules": [rule]}
    assert not _allows(s3.put_bucket_lifecycle_configuration, Bucket=LOCKED, LifecycleConfiguration=rules)


def _allows(work: Callable[..., object], **what: Any) -> bool:
    try:
        work(**what)
    except ClientError:
        return False
    return True
